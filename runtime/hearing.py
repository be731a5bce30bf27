"""What each projection hears of a batch: the events of its classes alone; and what it makes of them, in one go where it can say that.

To ask all of them about each event would cost as much as what most events change.
"""

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import Protocol

from sqlalchemy import Table

from runtime.records import Change, Event, Recorded

_position = attrgetter("position")


class Projection(Protocol):
    """What every module in `projections/` offers; `NAME` changes whenever the shape of its tables or their meaning does.

    A module may have more. `HEARS`, a set, names the classes of the events that it is made of: it is asked about no others. And
    `apply_all(batch)` says of many events what `apply` says of each, in fewer changes. Which events are in one batch is chance: whatever
    is, the tables must hold the same.
    """

    @property
    def NAME(self) -> str: ...

    @property
    def TABLES(self) -> tuple[Table, ...]: ...

    def apply(self, recorded: Recorded, /) -> Sequence[Change]: ...


class Batch:
    """Events in the order of the log."""

    def __init__(self, events: Sequence[Recorded]) -> None:
        self.events = events
        self.first = events[0].position if events else 0
        self.last = events[-1].position if events else 0
        self._by_class: dict[type[Event], list[Recorded]] = {}
        for recorded in events:
            kind = type(recorded.event)
            if kind in self._by_class:
                self._by_class[kind].append(recorded)
            else:
                self._by_class[kind] = [recorded]

    def heard_by(self, projection: Projection) -> Sequence[Recorded]:
        """Those that a projection hears, in order."""
        hears = getattr(projection, "HEARS", None)
        if hears is None:
            return self.events
        heard = [events for kind, events in self._by_class.items() if kind in hears]
        if len(heard) == 1:
            return heard[0]
        return sorted(chain.from_iterable(heard), key=_position)


def changes_of(projection: Projection, events: Sequence[Recorded]) -> Sequence[Change]:
    """What a projection makes of events."""
    apply_all = getattr(projection, "apply_all", None)
    if apply_all is not None:
        made: Sequence[Change] = apply_all(events)
        return made
    return [change for recorded in events for change in projection.apply(recorded)]

"""Names within one call, for what has no id yet: in which order things can be made that need each other, and where that is a circle."""

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter


def doubled(names: Sequence[str]) -> list[int]:
    """The places of names that stood before already; an empty name is none."""
    seen: set[str] = set()
    found = []
    for number, name in enumerate(names):
        if name and name in seen:
            found.append(number)
        seen.add(name)
    return found


def order_of(needs: Mapping[int, Sequence[int]]) -> list[int]:
    """An order in which each comes after what it needs, otherwise as they stand. Raises CycleError."""
    sorter = TopologicalSorter(needs)
    sorter.prepare()
    order: list[int] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order += ready
        sorter.done(*ready)
    return order


def circle_in(needs: Mapping[int, Sequence[int]]) -> list[int]:
    """A circle, from its smallest number to that same again: each needs the next. Empty where there is none."""
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        circle: list[int] = list(reversed(error.args[1][1:]))
        start = circle.index(min(circle))
        return [*circle[start:], *circle[:start], circle[start]]
    return []

"""Earlier shapes of what is recorded, and how each is read today: chains of pure functions over what a record says in plain values.

A kind on disk is a name and the number of its shape: `task.BidPlaced` is the first, `task.BidPlaced/2` the second. The number is part of
the record, so the proof covers it, and what the store holds is told by the kinds alone. Nothing on disk is ever changed: a record stays
one event at its position, and only how it is read moves on.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from runtime.records import Upcast, name_of


class NotUpcast(Exception):
    """An upcast failed at what a record says."""


class Step(NamedTuple):
    """What is done to one kind on disk, and the kinds that it may become."""

    change: Callable[[dict[str, Any]], Any]
    into: tuple[str, ...]


class Upcasts:
    """The upcasts of all aggregates, by kind on disk."""

    def __init__(self) -> None:
        self._step_by_kind: dict[str, Step] = {}

    def add(self, noun: str, upcasts: Sequence[Upcast], names: Collection[str], retired: Collection[str]) -> None:
        """Takes an aggregate's table, where `names` is what it has today. Raises ValueError, naming each fault."""
        faults = [f"{name} is in use and in RETIRED" for name in sorted({*names} & {*retired})]
        steps: dict[str, Step] = {}
        for name, version, change, into in upcasts:
            kind = kind_of(name, version)
            if kind in steps:
                faults.append(f"two upcasts of {kind}")
            steps[kind] = Step(change, into or (kind_of(name, version + 1),))
        today = {kind_of(name, shape_of(name, upcasts)) for name in names}
        faults += [
            f"{kind} becomes {target}, which is no shape of anything"
            for kind, step in steps.items()
            for target in step.into
            if target not in steps and target not in today and name_of(target) not in retired
        ]
        faults += [f"{kind} is what is written today, and has an upcast" for kind in sorted(today & {*steps})]
        faults += [f"{kind} comes back to itself" for kind in steps if _goes_round(kind, steps)]
        faults += [f"no upcast reads {kind}" for kind in _gaps(upcasts) if kind not in steps]
        if faults:
            raise ValueError(f"the upcasts of {noun}: {'; '.join(faults)}")
        for kind, step in steps.items():
            self._step_by_kind[f"{noun}.{kind}"] = Step(step.change, tuple(f"{noun}.{target}" for target in step.into))

    def __contains__(self, kind: str) -> bool:
        return kind in self._step_by_kind

    def apply(self, kind: str, said: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The kind that a record would have today, and what it would say. Raises NotUpcast."""
        while (step := self._step_by_kind.get(kind)) is not None:
            try:
                if len(step.into) == 1:
                    target, said = step.into[0], step.change(said)
                else:
                    name, said = step.change(said)
                    target = f"{kind.partition('.')[0]}.{name}"
            except Exception as error:
                raise NotUpcast(f"the upcast of {kind} fails: {type(error).__name__}: {error}") from error
            if target not in step.into:
                raise NotUpcast(f"the upcast of {kind} makes {target}, and promises {' or '.join(step.into)}")
            kind = target
        return kind, said


def kind_of(name: str, version: int) -> str:
    """A name on disk in one of its shapes."""
    return name if version == 1 else f"{name}/{version}"


def shape_of(name: str, upcasts: Sequence[Upcast]) -> int:
    """The number of the shape that is written today: one more than there are upcasts from earlier ones."""
    return 1 + sum(upcast.name == name for upcast in upcasts)


def _goes_round(kind: str, steps: dict[str, Step]) -> bool:
    reached, waiting = set[str](), list(steps[kind].into)
    while waiting:
        target = waiting.pop()
        if target not in reached and target in steps:
            reached.add(target)
            waiting += steps[target].into
    return kind in reached


def _gaps(upcasts: Sequence[Upcast]) -> list[str]:
    """Every shape below the newest that has an upcast has to have one, too."""
    newest = {upcast.name: max(one.version for one in upcasts if one.name == upcast.name) for upcast in upcasts}
    return [kind_of(name, version) for name, most in newest.items() for version in range(1, most)]

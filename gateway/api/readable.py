"""What can be read of a body that has faults, so that the house tells in the same answer what else is wrong with it."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from gateway.api.problems import BadRequest

T = TypeVar("T")


def rest_of(
    bad: BadRequest,
    kind: type[T],
    *,
    levels: int,
    stand_ins: Mapping[str, Any],
    companions: Mapping[str, Sequence[str]],
) -> T | None:
    """The body as it would be without those of its members, so many levels down, that have faults; None where that is none either.

    A member that has to be there is replaced by its stand-in, about which nothing may be asked. `companions` go with a member: without it
    they would seem to be wrong.
    """
    places = [_steps(fault["pointer"]) for fault in bad.faults]
    if any(len(steps) < levels for steps in places):
        return None
    rest = _copied(bad.said, levels)
    for steps in places:
        holder = _at(rest, steps[: levels - 1])
        if not isinstance(holder, dict):  # so many faults were found that it was not told that this is no object
            return None
        for name in (steps[levels - 1], *companions.get(steps[levels - 1], ())):
            holder.pop(name, None)
    for holder in _holders(rest, levels):
        holder.update({name: value for name, value in stand_ins.items() if name not in holder})
    try:
        return msgspec.convert(rest, kind, str_keys=True)
    except (msgspec.ValidationError, TypeError, RecursionError):
        return None


def _steps(pointer: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _copied(tree: Any, levels: int) -> Any:
    """A copy so many levels down; what lies below, which may be of any size and depth, is the same."""
    if not levels or not isinstance(tree, (dict, list)):
        return tree
    if isinstance(tree, dict):
        return {name: _copied(value, levels - 1) for name, value in tree.items()}
    return [_copied(value, levels - 1) for value in tree]


def _at(tree: Any, steps: Sequence[str]) -> Any:
    """What stands there; None where that is in no object, or under a name that is no text."""
    for step in steps:
        match tree:
            case list():
                tree = tree[int(step)]
            case dict():
                tree = tree.get(step)
            case _:
                return None
    return tree


def _holders(tree: Any, levels: int) -> list[dict[str, Any]]:
    """The objects whose members are so many levels down."""
    found = [tree]
    for _ in range(levels - 1):
        inner = [list(held.values()) if isinstance(held, dict) else held for held in found]
        found = [one for held in inner if isinstance(held, list) for one in held]
    return [held for held in found if isinstance(held, dict)]

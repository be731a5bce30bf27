"""Versions and ranges of them: dotted numbers, compared number by number, where what is not written is 0 (2.1 is 2.1.0, and before 2.10).

A range is up to eight comparisons with commas between them, all of which hold: `>=2.1,<3`. They are `==`, `!=`, `>=`, `<=`, `>` and `<`.
"""

import operator
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

from msgspec import Meta

COMPARISONS_MAX = 8
RANGES_KEPT_MAX = 1024
SHOWN_MAX = 100

DOTTED = r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,7}"
Version = Annotated[str, Meta(pattern=rf"^(?:{DOTTED})?$(?!\n)")]
"""Up to eight numbers with dots between them; empty where there is none to tell."""
VersionRange = Annotated[str, Meta(max_length=256, pattern=r"^[^\x00]*$")]

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
COMPARISON = re.compile(rf"\s*(==|!=|>=|<=|>|<)\s*({DOTTED})\s*")
Numbers = tuple[int, ...]


class Comparison(NamedTuple):
    """One part of a range."""

    operator: str
    numbers: Numbers


def numbers(version: str) -> Numbers:
    """What versions are compared by: two that mean the same have the same."""
    found = [int(part) for part in version.split(".")]
    while len(found) > 1 and not found[-1]:
        found.pop()
    return tuple(found)


def contains(wanted: str, version: str) -> bool:
    """Whether a version lies in a range that has no faults; where none is told, it lies in no range but the empty one."""
    if not wanted:
        return True
    if not version:
        return False
    own = numbers(version)
    return all(OPERATORS[one.operator](own, one.numbers) for one in _comparisons(wanted))


def range_faults(wanted: str) -> list[str]:
    """All that is wrong with a range, one sentence a fault."""
    parts = wanted.split(",") if wanted else []
    if len(parts) > COMPARISONS_MAX:
        return [f"has {len(parts)} comparisons; {COMPARISONS_MAX} is the most"]
    found = [
        f"has {part.strip()[:SHOWN_MAX]!r}, which is no comparison such as >=2.1"
        for part in parts
        if COMPARISON.fullmatch(part) is None
    ]
    return found or ([] if _may_hold(_comparisons(wanted)) else [f"{wanted[:SHOWN_MAX]} fits no version"])


@lru_cache(RANGES_KEPT_MAX)
def _comparisons(wanted: str) -> tuple[Comparison, ...]:
    matches = [COMPARISON.fullmatch(part) for part in wanted.split(",")] if wanted else []
    return tuple(Comparison(match[1], numbers(match[2])) for match in matches if match is not None)


def _may_hold(comparisons: tuple[Comparison, ...]) -> bool:
    """Whether any version could pass: one of those that are named, or one just beside it."""
    named = [one.numbers for one in comparisons]
    beside = [(*one, *(0,) * 8, 1) for one in named]  # no real version is nearer above
    tried = [*named, *beside, (0,)]
    return all(False for _ in comparisons) or any(
        all(OPERATORS[one.operator](version, one.numbers) for one in comparisons) for version in tried
    )

"""What follows when a book finds no winner: the task waits, fails, or is offered to more agents and for longer."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

DOUBLINGS_MAX = 20
"""Twice as many and twice as long so often, at most: nothing is left to double long before."""


class NoWinner(StrEnum):
    """What a task does after a round without a winner; each time it rests first."""

    WAIT = "wait"
    FAIL = "fail"
    WIDEN = "widen"


class NoBidPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`then` is what follows a round without a winner. After `rounds_max` of them in a row the task fails; where it is to `fail` and none
    are named, after the first. At most `call_max` agents are called at first; where it is to `widen`, each next round calls twice as
    many, and is open twice as long, up to what the node allows. Skills, regions and exclusions are never widened."""

    then: NoWinner = NoWinner.WAIT
    rounds_max: Annotated[int, Meta(ge=1, le=1000)] | None = None
    call_max: Annotated[int, Meta(ge=1, le=512)] | None = None

    @property
    def fails_after(self) -> int | None:
        """After how many rounds in a row without a winner the task fails; None: it does not for that."""
        return 1 if self.rounds_max is None and self.then is NoWinner.FAIL else self.rounds_max

    def called(self, widening: int, usual: int) -> int:
        """How many agents are called after so many widenings, where so many usually are."""
        first = usual if self.call_max is None else self.call_max
        return first << min(widening, DOUBLINGS_MAX)

    def seconds(self, first: float, widening: int, most: float) -> float:
        """How long a round is open after so many widenings."""
        return min(first * 2.0 ** min(widening, DOUBLINGS_MAX), max(first, most))


WAITS = NoBidPolicy()

"""In which order the parts of a batch go on: each sees what those before it did, and still many share a commit.

What is decided by one actor is decided in the order in which it was sent there, so the next part need not wait until the one before is on
disk: it is sent as soon as that one was. Whatever goes elsewhere waits until nothing is under way. Reads share a lane, and wait for writes.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import trio

READING = "reading"
ALONE = "alone"


class Turns:
    """The parts that are under way, all in one lane."""

    def __init__(self) -> None:
        self._lane: object = None
        self._going = 0
        self._free = trio.Event()

    async def take(self, lane: object) -> None:
        """Waits until this lane is the one that is used, or none is."""
        while self._going and (lane is ALONE or lane is not self._lane):
            await self._free.wait()
        self._lane = lane
        self._going += 1

    def leave(self) -> None:
        """A part that had a lane has ended."""
        self._going -= 1
        if not self._going:
            self._free.set()
            self._free = trio.Event()


class Turn:
    """One part's place in the order: it takes a lane once, before it does anything that others could see or that others did."""

    def __init__(self, turns: Turns, check: Callable[[], Awaitable[None]], *, is_alone: bool) -> None:
        """`check` raises what the part is refused for when its turn has come."""
        self.passed = trio.Event()
        """Set when the part after this one may begin."""
        self._turns = turns
        self._check = check
        self.is_alone = is_alone
        self._lane: Any = None

    async def take(self, lane: object) -> None:
        """Waits for the lane that is named, or for all others to end where this part goes alone."""
        if self._lane is None:
            self._lane = ALONE if self.is_alone else lane
            await self._turns.take(self._lane)
            await self._check()

    def go_on(self) -> None:
        """What this part does has its place in the order: the next may follow, unless this one goes alone."""
        if self._lane is not ALONE:
            self.passed.set()

    def end(self) -> None:
        """The part has ended."""
        if self._lane is not None:
            self._turns.leave()
        self.passed.set()

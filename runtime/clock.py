"""The time that the runtime stamps: it never goes back, and follows the machine's clock only forward."""

import time
from collections.abc import Callable
from typing import Protocol

import trio


class Clock(Protocol):
    """Seconds since the epoch (UTC), never below what was told before."""

    def now(self) -> float: ...

    async def sleep_until(self, at: float) -> None: ...

    def not_before(self, at: float) -> None:
        """What was written already lies in the past: from now on the clock tells no less than `at`."""


class SystemClock:
    """Wall time taken once, carried on by the monotonic clock: a clock that is set back or forth changes no lease and no deadline.

    `wall` and `monotonic` read other clocks than the machine's, in seconds.
    """

    def __init__(self, wall: Callable[[], float] | None = None, monotonic: Callable[[], float] | None = None) -> None:
        self._wall = wall or time.time
        self._monotonic = monotonic or time.monotonic
        self._origin = self._wall() - self._monotonic()

    def now(self) -> float:
        return (
            int((self._origin + self._monotonic()) * 1e6 + 0.5) / 1e6
        )  # what `round` gives, for a quarter of its price

    def catch_up(self, seconds_min: float = 5.0) -> float:
        """After a suspended machine wakes: moves forward to wall time when it is ahead by more than `seconds_min`; returns by how much."""
        ahead = self._wall() - self.now()
        if ahead < seconds_min:
            return 0.0
        self._origin += ahead
        return ahead

    def not_before(self, at: float) -> None:
        self._origin += max(0.0, at - self.now())

    async def sleep_until(self, at: float) -> None:
        await trio.sleep(max(0.0, at - self.now()))


class FixedClock:
    """A clock that stands where it is put: for tests and for records that must come out byte for byte."""

    def __init__(self, at: float = 1_700_000_000.0) -> None:
        self.at = at

    def now(self) -> float:
        return self.at

    def not_before(self, at: float) -> None:
        self.at = max(self.at, at)

    async def sleep_until(self, at: float) -> None:
        self.not_before(at)
        await trio.lowlevel.checkpoint()

"""Timers of actors, by key, and what the runtime itself does later: one heap and one task for all."""

import heapq
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import enable_ki_protection

from runtime.delivery import WAITING, WITHDRAWN, Cause, Delivery

if TYPE_CHECKING:
    from runtime.life import Life

KEYS_BEFORE_PURGE = 32
EVERY_SECONDS_MIN = 0.001

Entry = tuple[float, int, "Alarm"]


class Alarm:
    """One timer. `every` 0: it rings once. `queued` is its message while that waits in the mailbox."""

    __slots__ = ("act", "cause", "cell", "every", "fixed_rate", "has_rung", "key", "message", "queued")

    def __init__(
        self,
        act: Callable[[], None] | None,
        cell: "Life | None",
        key: Any,
        message: Any,
        every: float,
        fixed_rate: bool,
        cause: Cause | None = None,
    ) -> None:
        self.act = act
        self.cause = cause
        self.cell = cell
        self.key = key
        self.message = message
        self.every = every
        self.fixed_rate = fixed_rate
        self.queued: Delivery | None = None
        self.has_rung = False

    @property
    def is_over(self) -> bool:
        """Whether it will not ring any more and its last message has begun."""
        return self.has_rung and (self.queued is None or self.queued.state != WAITING)


class Alarms:
    """All timers of a system, in Trio's time."""

    def __init__(self) -> None:
        self._heap: list[Entry] = []
        self._order = 0
        self._rearmed = trio.Event()

    def __len__(self) -> int:
        return len(self._heap)

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Calls `act` after so many seconds."""
        self._set(trio.current_time() + seconds, Alarm(act, None, None, None, 0.0, False))

    @enable_ki_protection
    def start(
        self,
        cell: "Life",
        key: Any,
        message: Any,
        seconds: float,
        every: float,
        fixed_rate: bool,
        cause: Cause | None = None,
    ) -> None:
        """Sends the message after `seconds`; an older timer of that key, and its message where that waits already, are void.

        What it sends follows from `cause`: the message at which the timer was started.
        Raises ValueError for a time that can't be kept: it would ring without end, and nothing else would be done.
        """
        if not (seconds >= 0 and (every == 0 or every >= EVERY_SECONDS_MIN)):
            raise ValueError(f"a timer after {seconds} s, every {every} s: at least 0, and every {EVERY_SECONDS_MIN} s")
        if not cell.alive:
            return
        timers = cell._extra().timers
        self._void(timers.pop(key, None))
        if len(timers) >= KEYS_BEFORE_PURGE:
            for old in [key for key, one in timers.items() if one.is_over]:
                del timers[old]
        alarm = timers[key] = Alarm(None, cell, key, message, every, fixed_rate, cause)
        self._set(trio.current_time() + seconds, alarm)

    @enable_ki_protection
    def cancel(self, cell: "Life", key: Any) -> bool:
        """Ends a timer; returns whether there was one."""
        alarm = cell._extra().timers.pop(key, None)
        was_set = alarm is not None and not alarm.is_over
        self._void(alarm)
        return was_set

    def forget(self, cell: "Life") -> None:
        """Ends all timers of an actor: they end with its incarnation."""
        extras = cell._extras
        if extras is not None and extras.timers:
            for alarm in extras.timers.values():
                self._void(alarm)
            extras.timers.clear()

    def _void(self, alarm: Alarm | None) -> None:
        if alarm is None:
            return
        alarm.cell = None
        if alarm.queued is not None and alarm.queued.state == WAITING:
            alarm.queued.state = WITHDRAWN
            alarm.queued.cell.withdrew()

    def _set(self, at: float, alarm: Alarm) -> None:
        self._order += 1
        heapq.heappush(self._heap, (at, self._order, alarm))
        if self._heap[0][2] is alarm:
            self._rearmed.set()
        if len(self._heap) > 64 and self._order % 64 == 0:
            self._compact()

    def _compact(self) -> None:
        """Voided timers would stay until they are due."""
        living = [entry for entry in self._heap if entry[2].cell is not None or entry[2].act is not None]
        if len(living) * 2 < len(self._heap):
            self._heap = living
            heapq.heapify(self._heap)

    @enable_ki_protection
    async def run(self) -> None:
        """Rings what is due, until cancelled."""
        while True:
            self._rearmed = trio.Event()
            with trio.CancelScope(deadline=self._heap[0][0] if self._heap else float("inf")):
                await self._rearmed.wait()
            now = trio.current_time()
            while self._heap and self._heap[0][0] <= now:
                at, _, alarm = heapq.heappop(self._heap)
                self._ring(at, now, alarm)

    def _ring(self, at: float, now: float, alarm: Alarm) -> None:
        if alarm.act is not None:
            alarm.act()
            return
        cell = alarm.cell
        if cell is None:
            return
        if alarm.queued is None or alarm.queued.state != WAITING:  # else the one before waits still
            alarm.queued = cell._tick(alarm.message, alarm.cause)
        if alarm.every:
            # At a fixed rate the beat is kept: beats that were missed are left out, the next one is when it would have been.
            missed = (now - at) // alarm.every if alarm.fixed_rate else 0
            self._set(at + (missed + 1) * alarm.every if alarm.fixed_rate else now + alarm.every, alarm)
        else:
            alarm.has_rung = True

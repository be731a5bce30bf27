"""When actors want to be woken: one task and one heap for all of them, and a watch for times when the whole process stood still."""

import heapq
from typing import TYPE_CHECKING

import structlog
import trio

from runtime.clock import SystemClock

if TYPE_CHECKING:
    from runtime.durable import DurableCell
    from runtime.system import System

log = structlog.get_logger()

BEAT_SECONDS = 0.5
PAUSE_SECONDS_MIN = 1.0


class Timers:
    """Asks each actor after each of its steps when it is due, and wakes it then, behind the messages that came before.

    A pause (a stopped process, a suspended machine, a stalled disk under the loop) is told to every actor before anything that fell due
    meanwhile: nobody is declared dead because we were asleep.
    """

    def __init__(self, system: "System") -> None:
        self._system = system
        self._heap: list[tuple[float, int, DurableCell]] = []
        self._order = 0
        self._rearmed = trio.Event()

    def refresh(self, cell: "DurableCell") -> None:
        """Takes note of when the cell's actor is due now."""
        due = cell.actor.due() if cell.actor is not None and not cell.waking else None
        if due == cell.due:
            return
        cell.due = due
        if due is not None:
            self._order += 1
            heapq.heappush(self._heap, (due, self._order, cell))
            if self._heap[0][2] is cell:
                self._rearmed.set()

    async def run(self) -> None:
        """Wakes actors as they fall due, until cancelled."""
        clock = self._system.clock
        while True:
            due = self._heap[0][0] if self._heap else float("inf")
            asleep_at = trio.current_time()
            wait = min(BEAT_SECONDS, max(0.0, due - clock.now()))
            self._rearmed = trio.Event()
            with trio.move_on_after(wait):
                await self._rearmed.wait()
            # One more tick, so that input which arrived before this moment is read before anything is decided about its absence.
            await trio.lowlevel.checkpoint()
            self._notice_pause(trio.current_time() - asleep_at - wait)
            self._wake_due(clock.now())

    def _notice_pause(self, late_seconds: float) -> None:
        clock = self._system.clock
        if isinstance(clock, SystemClock):
            late_seconds += clock.catch_up()
        if late_seconds < PAUSE_SECONDS_MIN:
            return
        log.warning("the process stood still", seconds=round(late_seconds, 3))
        self.tell_pause(late_seconds)

    def tell_pause(self, seconds: float) -> None:
        """Tells every actor that nothing could be heard for so long."""
        at = self._system.clock.now()
        for cell in list(self._system.cells.values()):
            if cell.actor is not None:
                cell.guard(cell.actor.paused, at, seconds)
                self.refresh(cell)

    def _wake_due(self, at: float) -> None:
        while self._heap and self._heap[0][0] <= at:
            due, _, cell = heapq.heappop(self._heap)
            if cell.due == due:
                # Forgotten until the wake has been handled: then the actor is asked again.
                cell.due = None
                cell.waking = True
                cell.wake(at)

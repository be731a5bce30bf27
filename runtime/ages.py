"""How old a message is, told by its number: a stamp on each would cost as much as a third of a tell.

Messages are numbered in the order in which they are sent. A few times a second it is noted how many there were by then, as long as there
are more each time; then nothing beats until another message has to wait.
"""

from bisect import bisect_left
from collections.abc import Callable

import trio
from trio.lowlevel import enable_ki_protection

from runtime.dispatcher import ANOTHER_THREAD

NOTE_SECONDS = 0.25
NOTES_MAX = 4096


class Ages:
    """Moments and how many messages had been sent by then; the older half grows coarser where there are too many."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._at: list[float] = []
        self.rests = True
        """Whether somebody whose message has to wait must `wake` it."""
        self._sleeper: trio.lowlevel.Task | None = None

    @enable_ki_protection
    async def run(self, sent: Callable[[], int]) -> None:
        """Notes how many were sent, until cancelled; rests while no more are."""
        while True:
            while (number := sent()) != (self._numbers[-1] if self._numbers else 0):
                self.note(number, trio.current_time())
                await trio.sleep(NOTE_SECONDS)
            self._sleeper, self.rests = trio.lowlevel.current_task(), True
            await trio.lowlevel.wait_task_rescheduled(self._abort_sleep)

    def _abort_sleep(self, _: object) -> trio.lowlevel.Abort:
        self._sleeper = None
        return trio.lowlevel.Abort.SUCCEEDED

    def wake(self) -> None:
        """A message has to wait. Raises RuntimeError in a thread that is not Trio's, before anything has changed."""
        if self._sleeper is not None:
            try:
                trio.lowlevel.reschedule(self._sleeper)
            except RuntimeError:
                raise RuntimeError(ANOTHER_THREAD) from None
            self._sleeper = None
        self.rests = False

    def note(self, number: int, now: float) -> None:
        """By `now`, all messages up to this number were sent."""
        if self._numbers and self._numbers[-1] == number:
            return
        self._numbers.append(number)
        self._at.append(now)
        if len(self._numbers) > NOTES_MAX:
            del self._numbers[: NOTES_MAX // 2 : 2]
            del self._at[: NOTES_MAX // 2 : 2]

    def age(self, number: int, now: float) -> float:
        """For how many seconds at least the message of this number has been under way."""
        place = bisect_left(self._numbers, number)
        return max(0.0, now - self._at[place]) if place < len(self._at) else 0.0

"""Islands that run side by side: each paced into calls of some milliseconds, and meeting its neighbor at counted places.

Island k reads what island k + 1 showed at its meeting before the present one, so it seldom waits; and where it does,
it waits for counted work and never takes what happens to be there. So two threads give the same bits as one thread
that runs both islands in turn.
"""

from collections.abc import Callable, Sequence
from threading import Condition, Event
from time import perf_counter

from solvers.strategy import Island, Meeting, Spins

SLICE_SECONDS_MAX = 0.05
CALLS_PER_SLICE = 4  # one kernel call aims at this part of a slice, so that none overshoots it by much
WAIT_SECONDS = 0.01


class Exchange:
    """What islands have shown, until their one reader has taken it."""

    def __init__(self, islands: int) -> None:
        self._shown: list[dict[int, Spins]] = [{} for _ in range(islands)]
        self._ended = [False] * islands
        self._changed = Condition()

    def show(self, island: int, meeting: Meeting) -> None:
        with self._changed:
            self._shown[island][meeting.number] = meeting.spins
            self._changed.notify_all()

    def end(self, island: int) -> None:
        """It shows nothing any more."""
        with self._changed:
            self._ended[island] = True
            self._changed.notify_all()

    def take(self, island: int, number: int) -> tuple[bool, Spins | None]:
        """Whether it is known what the island's neighbor showed at the meeting before this one, and what; waits a moment."""
        neighbor = (island + 1) % len(self._shown)
        if number == 1:
            return True, None
        with self._changed:
            if number - 1 not in self._shown[neighbor] and not self._ended[neighbor]:
                self._changed.wait(WAIT_SECONDS)
            shown = self._shown[neighbor].pop(number - 1, None)
            return shown is not None or self._ended[neighbor], shown


class Runner:
    """Runs one island's course in slices."""

    def __init__(self, island: Island, number: int, exchange: Exchange) -> None:
        self.island = island
        self._number = number
        self._exchange = exchange
        self._course = island.course()
        self._waiting: Meeting | None = None
        self._has_begun = False

    def run_slice(self, seconds_max: float = SLICE_SECONDS_MAX, is_over: Callable[[], bool] = lambda: False) -> bool:
        """Works for about that time, at least one kernel call; `is_over` ends it after each. False: there is nothing left to do."""
        island = self.island
        started = before = perf_counter()
        while before - started < seconds_max:
            work = island.work
            if work >= island.work_max:
                return False
            if not self._step():
                return False
            if self._waiting is not None or is_over():
                return True
            now = perf_counter()
            self._pace(max(1, island.work - work) / max(now - before, 1e-9), seconds_max / CALLS_PER_SLICE)
            before = now
        return True

    def close(self) -> None:
        self._exchange.end(self._number)

    def _step(self) -> bool:
        """One kernel call, or a look whether the neighbor has shown what is waited for; false at the course's end."""
        work = self.island.work
        told: Spins | None = None
        if self._waiting is not None:
            is_known, told = self._exchange.take(self._number, self._waiting.number)
            if not is_known:
                return True
            self._waiting = None
        try:
            if not self._has_begun:
                self._has_begun = True
                met = next(self._course)
            else:
                met = self._course.send(told)
        except StopIteration:
            return False
        if self.island.work <= work:
            raise AssertionError("a course has to count work between two places to leave it")
        if met is not None:
            self._exchange.show(self._number, met)
            self._waiting = met
        return True

    def _pace(self, work_per_second: float, seconds: float) -> None:
        """The size of a call changes where a run can stop, not where it goes."""
        island = self.island
        island.work_per_call = max(1, min(int(work_per_second * seconds), 2 * island.work_per_call))


def run_beside(
    lead: Callable[[], None], others: Sequence[Callable[[], None]], report: Callable[[], None], halt: Event
) -> None:
    """The first on this thread, which reports until all are done; the others each on one of its own."""
    from concurrent.futures import ThreadPoolExecutor, wait  # brings logging along, which one island does without

    with ThreadPoolExecutor(len(others), "island") as pool:
        running = [pool.submit(other) for other in others]
        try:
            lead()
            while wait(running, SLICE_SECONDS_MAX).not_done:
                report()
        finally:
            if any(not one.done() for one in running):
                halt.set()
        for one in running:
            one.result()

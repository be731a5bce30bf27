"""Trio as a simulation needs it: a seed gives the order of tasks, and time passes only when nobody has anything to do.

The one place that touches what Trio calls private, for what its public side does not offer:

- tasks that are ready run in an order drawn from a seed (Trio's own random generator is not to be seeded);
- of scopes that end at the same moment the first made ends first (Trio goes by their addresses, which differ between two runs);
- tasks of a cancelled scope are cancelled in the order in which they were started (Trio keeps them in sets, by their addresses).
"""

import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from heapq import heappush
from itertools import count
from math import inf
from typing import Any, TypeVar

import trio
from trio._core import _run

T = TypeVar("T")

TURNS_WITHOUT_TIME_MAX = 200_000
"""So many turns of the loop at one moment are one that never ends."""

IDLE_TURNS_MAX = 8

NEEDED: dict[Any, tuple[str, ...]] = {
    _run: ("_ALLOW_DETERMINISTIC_SCHEDULING", "_r", "unrolled_run"),
    _run.Deadlines: ("add", "_heap", "_active"),
    _run.CancelStatus: ("__attrs_post_init__", "_children", "_tasks"),
    _run.Task: ("_counter",),
}
"""What is used of Trio beside its public names; tested with 0.35."""


class Stuck(Exception):
    """Everybody waits for somebody else, and no time will change that."""


class VirtualClock(trio.abc.Clock, trio.abc.Instrument):
    """Time that jumps to the next deadline as soon as all tasks wait: a thousand days of sleep take no longer than one."""

    def __init__(self) -> None:
        self.time = 0.0
        self.stuck: Stuck | None = None
        """Why the run was ended, where nothing could happen in it any more."""
        self.scope = trio.CancelScope()
        self._turns = 0
        self._turn_of_last_jump = 0
        self._idle_turns: list[int] = []

    def start_clock(self) -> None:
        """Starts at 0."""

    def current_time(self) -> float:
        return self.time

    def deadline_to_sleep_time(self, deadline: float) -> float:
        if deadline == inf:
            self._expect_a_signal()
        elif deadline > self.time:
            self.time = deadline
            self._turn_of_last_jump = self._turns
        return 0.0

    def _expect_a_signal(self) -> None:
        """Trio ends its run by a byte that it sends to itself: only who is idle for some turns on end waits in vain."""
        self._idle_turns = [turn for turn in self._idle_turns if turn >= self._turns - IDLE_TURNS_MAX] + [self._turns]
        if len(self._idle_turns) > IDLE_TURNS_MAX:
            self._end(Stuck("every task waits for another one, and nothing is due"))

    def before_io_wait(self, timeout: float) -> None:
        self._turns += 1
        if self._turns - self._turn_of_last_jump == TURNS_WITHOUT_TIME_MAX:
            self._end(Stuck(f"tasks go on for {TURNS_WITHOUT_TIME_MAX} turns, and no time passes"))

    def _end(self, stuck: Stuck) -> None:
        """Cancels the run, so that everything in it is closed in order; what can't be cancelled ends it with a crash of Trio itself."""
        if self.stuck is not None:
            raise self.stuck
        self.stuck = stuck
        self._idle_turns.clear()
        self.scope.cancel()

    def stand_still(self, seconds: float) -> None:
        """The process does nothing for so long, as one that was stopped: what falls due meanwhile is late."""
        self.time += seconds


class Ordered(dict[Any, None]):
    """What Trio asks of a set, in the order in which things were put into it."""

    def add(self, item: Any) -> None:
        self[item] = None

    def remove(self, item: Any) -> None:
        del self[item]

    def discard(self, item: Any) -> None:
        self.pop(item, None)


def run(main: Callable[[], Awaitable[T]], seed: int, clock: VirtualClock) -> T:
    """Runs `main` as `trio.run` does, with a schedule that the seed alone decides.

    Raises Stuck where nothing can happen any more, and RuntimeError for a version of Trio that works otherwise inside.
    """
    _check_version()

    async def within_scope() -> T:
        with clock.scope:
            return await main()
        raise clock.stuck or AssertionError("only who is stuck is cancelled")

    with _deterministic(seed):
        try:
            return trio.run(within_scope, clock=clock, instruments=[clock])
        except BaseException as error:
            if clock.stuck is not None and clock.stuck is not error:
                raise clock.stuck from error
            raise


def _check_version() -> None:
    missing = [f"{owner.__name__}.{name}" for owner, names in NEEDED.items() for name in names if not _has(owner, name)]
    if missing:
        raise RuntimeError(f"Trio {trio.__version__} can't be simulated: it has no {', '.join(missing)}")


def _has(owner: Any, name: str) -> bool:
    return hasattr(owner, name) or name in getattr(owner, "__slots__", ())


@contextmanager
def _deterministic(seed: int) -> Iterator[None]:
    order = count()

    def add(deadlines: Any, deadline: float, scope: trio.CancelScope) -> None:
        heappush(deadlines._heap, (deadline, next(order), scope))
        deadlines._active += 1

    def began(status: Any) -> None:
        status._children, status._tasks = Ordered(), Ordered()
        before[_run.CancelStatus, "__attrs_post_init__"](status)

    changes: dict[tuple[Any, str], Any] = {
        (_run, "_ALLOW_DETERMINISTIC_SCHEDULING"): True,
        (_run, "_r"): random.Random(seed),
        (_run.Deadlines, "add"): add,
        (_run.CancelStatus, "__attrs_post_init__"): began,
    }
    before = {(owner, name): getattr(owner, name) for owner, name in changes}
    for (owner, name), value in changes.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for (owner, name), value in before.items():
            setattr(owner, name, value)

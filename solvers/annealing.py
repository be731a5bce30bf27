"""Annealing with partition crossover: the solver for any QUBO, in slices, anytime, a function of seed and counted work.

One best solution is kept. Round k anneals a fresh random state for `sweeps_first · 2^k` sweeps and crosses it with
the best; then, with as many sweeps in all, the best is reheated to a random moderate temperature `reheats` times,
annealed, and crossed with its old self. Lengths double because no one length suits both an easy problem and a hard
one. On the public graphs of 800 to 20,000 spins, 8 long reheats a round gave 99.66 % of the best known cut of the
largest grid in 4 s, 32 short ones 99.9 %.

Time only decides when to stop. A run stops where a kernel call ended; the work counted there is its record, and
`replay` of that work gives the same bits.
"""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from threading import Event
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from solvers.ising import Ising, to_ising
from solvers.qubo import Qubo
from solvers.search import AnnealingOptions, Search, schedule, temperature_range
from solvers.spins import CURSOR_SIZE, WORK, _random, _randomize, seeded_state

SLICE_SECONDS_MAX = 0.05
CALLS_PER_SLICE = 4  # one kernel call aims at this part of a slice, so that none overshoots it by much
WORK_PER_CALL_FIRST = 100_000
WORK_MAX = 2**62
SWEEPS_MAX = 1 << 20  # of one anneal, where the doubling ends
THREADS_MAX = 64
SEED_MAX = 2**64 - 1
ALGORITHM = "annealing"
DESCENT_SWEEPS_MAX = 64  # at T = 0 nearly all is done after three
DESCENT = np.zeros(1, np.float32)  # the schedule of one such sweep


@dataclass(frozen=True, eq=False)
class Best:
    """The best solution so far, and the work after which it was found."""

    value: int | float
    assignment: NDArray[np.uint8]
    work: int


@dataclass(frozen=True, eq=False)
class Solution:
    """An answer, and all that is needed to compute it again: `replay(qubo, seed, work, island=island)`."""

    value: int | float
    assignment: NDArray[np.uint8]
    work: int  # of the island that found it
    works: tuple[int, ...]  # of all islands
    island: int
    seconds: float
    algorithm: str
    seed: int
    trace: list[tuple[int, int | float]]  # (work, value) at each improvement of that island


class Annealing:
    """One run. Memory: about 40 bytes a variable and 24 a coupling beside the problem itself."""

    def __init__(
        self,
        qubo: Qubo,
        seed: int,
        *,
        stream: int = 0,
        work_max: int = WORK_MAX,
        options: AnnealingOptions | None = None,
    ) -> None:
        self.qubo = qubo
        self.work_max = work_max
        self.options = options or AnnealingOptions()
        nothing = np.zeros(qubo.variables, np.uint8)
        self.best = Best(qubo.value(nothing), nothing, 0)
        self.trace: list[tuple[int, int | float]] = [(0, self.best.value)]
        self._state = seeded_state(seed, stream)
        self._cursor = np.zeros(CURSOR_SIZE, np.int64)
        self._work_per_call = WORK_PER_CALL_FIRST
        self._ising = to_ising(qubo)
        self._nothing_value = self.best.value
        self._course = self._run(self._ising)

    @property
    def best_value(self) -> int | float:
        return self.best.value

    @property
    def best_assignment(self) -> NDArray[np.uint8]:
        return self.best.assignment

    @property
    def work(self) -> int:
        """Spins visited and neighbors looked at so far."""
        return int(self._cursor[WORK])

    def run_slice(self, seconds_max: float = SLICE_SECONDS_MAX) -> bool:
        """Works for about that time (at least one kernel call); false when there is nothing left to do."""
        started = before = perf_counter()
        while before - started < seconds_max:
            work = self.work
            if work >= self.work_max or next(self._course, None) is None:
                return False
            now = perf_counter()
            self._pace((self.work - work) / max(now - before, 1e-9), seconds_max / CALLS_PER_SLICE)
            before = now
        return True

    def _pace(self, work_per_second: float, seconds: float) -> None:
        """The size of a call changes where a run can stop, not where it goes."""
        wanted = int(work_per_second * seconds)
        self._work_per_call = max(1, min(wanted, 2 * self._work_per_call))

    def _run(self, ising: Ising) -> Generator[bool, None, None]:
        """The whole endless course; each yield, with more work counted than the last, is a place to leave it."""
        if self.qubo.variables == 0:
            return
        search = Search(ising, self._state, self._cursor)
        hottest, coldest = temperature_range(ising, self.options)
        options = self.options
        sweeps = options.sweeps_first
        while True:
            _randomize(search.spins, self._state)
            yield from self._round(search, schedule(hottest, coldest, sweeps))
            for _ in range(options.reheats):
                drawn = (int(_random(self._state)) >> 11) * 2.0**-53
                heat = hottest * (options.reheat_low + (options.reheat_high - options.reheat_low) * drawn)
                search.spins[:] = search.best
                length = max(options.sweeps_first, sweeps // options.reheats)
                yield from self._round(search, schedule(max(heat, coldest), coldest, length))
            sweeps = min(2 * sweeps, SWEEPS_MAX)

    def _round(self, search: Search, temperatures: NDArray[np.float32]) -> Generator[bool, None, None]:
        """One anneal of the search's spins, a descent to a local optimum, and the crossing with the best."""
        first = not search.has_best
        yield from self._finish(search, search.load)
        yield from self._finish(search, partial(search.anneal, temperatures))
        for _ in range(DESCENT_SWEEPS_MAX):
            if not search.can_gain():
                break
            yield from self._finish(search, partial(search.anneal, DESCENT))
        yield from self._finish(search, search.load)
        gained = search.keep_better()
        if not first:
            yield from self._finish(search, search.cross)
            gained = search.keep_crossed() or gained
        if gained:
            self._record(search)

    def _finish(self, search: Search, step: Callable[[int], bool]) -> Generator[bool, None, None]:
        """A step of the search to its end, left after each kernel call."""
        search.begin()
        done = False
        while not done:
            done = step(min(self.work + self._work_per_call, self.work_max))
            yield True

    def _record(self, search: Search) -> None:
        """Integers need no second sum: it takes longer than a slice on large dense problems. `solve` makes it once."""
        assignment = (search.best > 0).astype(np.uint8)
        if self._ising.is_exact:
            value = self._nothing_value + self._ising.gained(int(search.best_twice))
        else:
            value = self.qubo.value(assignment)
        if self.qubo.better(value, self.best.value):
            self.best = Best(value, assignment, self.work)
            self.trace.append((self.work, value))


def solve(
    qubo: Qubo,
    *,
    seconds: float,
    seed: int,
    threads: int = 1,
    work_max: int | None = None,
    target: float | None = None,
    should_stop: Callable[[], bool] | None = None,
    on_improvement: Callable[[Best], None] | None = None,
    options: AnnealingOptions | None = None,
) -> Solution:
    """Blocks until the time is up (one slice at least), each island's work is done, the target is reached or `should_stop` says so.

    It is asked between slices of 50 ms, on the calling thread, as is `on_improvement` told. With `work_max` and
    enough seconds the answer depends on nothing but the arguments. Two threads are two islands, each a run of its own
    stream of the seed.
    """
    _check(seconds, seed, threads)
    started = perf_counter()
    limit = WORK_MAX if work_max is None else work_max
    islands = [Annealing(qubo, seed, stream=k, work_max=limit, options=options) for k in range(threads)]
    halt = Event()
    reported = islands[0].best

    def finished(island: Annealing) -> bool:
        if target is not None and not qubo.better(target, island.best.value):
            halt.set()
        # Where loading the kernel took all the time, one slice is still done: who gave time gets an answer.
        is_due = (island.work > 0 or not seconds) and perf_counter() - started >= seconds
        return halt.is_set() or is_due

    def report() -> None:
        nonlocal reported
        best = islands[_leader(qubo, islands)].best
        if qubo.better(best.value, reported.value):
            reported = best
            if on_improvement is not None:
                on_improvement(best)
        if should_stop is not None and should_stop():
            halt.set()

    def run(island: Annealing) -> None:
        while not finished(island) and island.run_slice():
            pass

    with ThreadPoolExecutor(max(1, threads - 1), "island") as pool:
        others = [pool.submit(run, island) for island in islands[1:]]
        try:
            while not finished(islands[0]) and islands[0].run_slice():
                report()
            while wait(others, SLICE_SECONDS_MAX).not_done:
                report()
        finally:
            if any(not other.done() for other in others):
                halt.set()
        for other in others:
            other.result()
    report()
    return _solution(qubo, islands, perf_counter() - started, seed)


def replay(
    qubo: Qubo, seed: int, work: int, *, island: int = 0, options: AnnealingOptions | None = None
) -> tuple[int | float, NDArray[np.uint8]]:
    """The value and assignment that the same seed and counted work gave."""
    run = Annealing(qubo, seed, stream=island, work_max=work, options=options)
    while run.run_slice():
        pass
    return run.best.value, run.best.assignment


def _check(seconds: float, seed: int, threads: int) -> None:
    if not seconds >= 0:
        raise ValueError(f"seconds must be zero or more, not {seconds}")
    if not 0 <= seed <= SEED_MAX:
        raise ValueError(f"a seed is between 0 and {SEED_MAX}, not {seed}")
    if not 1 <= threads <= THREADS_MAX:
        raise ValueError(f"between 1 and {THREADS_MAX} threads are possible, not {threads}")


def _leader(qubo: Qubo, islands: list[Annealing]) -> int:
    """The island with the best value; of equals the first."""
    values = [island.best.value for island in islands]
    return values.index(min(values) if qubo.sense == "min" else max(values))


def _solution(qubo: Qubo, islands: list[Annealing], seconds: float, seed: int) -> Solution:
    leader = _leader(qubo, islands)
    winner = islands[leader]
    works = tuple(island.work for island in islands)
    best = winner.best
    if qubo.value(best.assignment) != best.value:
        raise AssertionError("the value of the best assignment is not what was kept for it")
    return Solution(
        best.value, best.assignment, works[leader], works, leader, seconds, ALGORITHM, seed, list(winner.trace)
    )

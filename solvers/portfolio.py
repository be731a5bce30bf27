"""Solving any QUBO: reduce it, choose a strategy by what was measured in it, run islands of it, lift back what they find.

Time only decides when to stop. A run stops where a kernel call ended; the work counted there, of each island, is its
record, and `replay` of that work gives the same bits. So a `Solution` has all that is needed to compute it again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from threading import Event
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers.features import Features, measure
from solvers.ising import to_ising
from solvers.islands import Exchange, Runner, run_beside
from solvers.qubo import BYTES_PER_COUPLING, BYTES_PER_VARIABLE, MEMORY_BYTES_MAX, Qubo, check_assignment, check_memory
from solvers.reduction import Reduced, reduce, unreduced
from solvers.strategies import choose, island_bytes_max, named
from solvers.strategy import WORK_MAX, Island, Number, Spins, Start, Strategy

THREADS_MAX = 64
SEED_MAX = 2**64 - 1
TRACE_BYTES_PER_ISLAND = 2**20

Assignment = NDArray[np.uint8]
Trace = list[tuple[int, Number]]


@dataclass(frozen=True)
class Plan:
    """What was measured and chosen before the first step."""

    algorithm: str
    """The name of the strategy."""
    features: dict[str, int | float | bool]
    memory_bytes: int
    """The estimate for all that the run allocates."""


class Best:
    """The best solution so far, and the work after which its island found it; lifted when somebody looks at it."""

    def __init__(
        self, value: Number, work: int, assign: Callable[[], Assignment], island: int = 0, seconds: float = 0.0
    ) -> None:
        self.value = value
        self.work = work
        self.island = island
        self.seconds = seconds
        self._assign = assign

    @cached_property
    def assignment(self) -> Assignment:
        return self._assign()


@dataclass(frozen=True, eq=False)
class Solution:
    """An answer, and all that is needed to compute it again with `replay`."""

    value: Number
    """In the file's terms, computed from the original problem."""
    assignment: Assignment
    work: int
    """Of the island that found it."""
    works: tuple[int, ...]
    """Of all islands."""
    island: int
    seconds: float
    algorithm: str
    """The name of the strategy."""
    seed: int
    trace: Trace
    """(work, value) at each improvement of that island."""
    traces: tuple[Trace, ...]
    """Of all islands."""
    times: tuple[tuple[float, ...], ...]
    """The seconds after which each point of `traces` was there: measured, so no replay gives them again."""
    features: dict[str, int | float | bool]
    parameters: dict[str, int | float | str]
    """What the strategy set itself, of that island."""
    counts: tuple[dict[str, int], ...]
    """What each island did."""

    @property
    def proven(self) -> bool:
        """Whether the strategy has shown that nothing is better; of floats, up to rounding."""
        return self.parameters.get("proven") == 1


def solve(
    qubo: Qubo,
    *,
    seconds: float,
    seed: int,
    threads: int = 1,
    work_max: int | None = None,
    target: float | None = None,
    stagnation_work: int | None = None,
    tolerance: float = 0.0,
    should_stop: Callable[[], bool] | None = None,
    on_plan: Callable[[Plan], None] | None = None,
    on_improvement: Callable[[Best], None] | None = None,
    warm: ArrayLike | None = None,
    strategy: str | None = None,
    memory_bytes_max: int = MEMORY_BYTES_MAX,
) -> Solution:
    """Blocks until the time is up (one slice at least), each island's work is done, the target is reached or `should_stop` says so.

    It is asked between kernel calls, on the calling thread; `on_improvement` is told between slices of 50 ms there,
    `on_plan` once, before the first. With `work_max` and enough seconds the answer depends on nothing but the
    arguments. Each thread is an island of its own stream of the seed; it ends as well when it has done
    `stagnation_work` without bettering its value by more than `tolerance` times that value. `warm` is an assignment to
    begin from: the answer is at least as good. `strategy` names one of the table instead of the one that suits. A
    `ValueError` tells wrong arguments, and a problem that would need more than `memory_bytes_max`, before anything is
    allocated for it.
    """
    _check(seconds, seed, threads)
    works_max = (WORK_MAX if work_max is None else work_max,) * threads
    run = _Run(qubo, seed, works_max, warm, strategy, memory_bytes_max, should_stop)
    if on_plan is not None:
        on_plan(run.plan)
    run.tolerance = tolerance
    stagnation = WORK_MAX if stagnation_work is None else stagnation_work
    with run:
        return run.until(_Ends(seconds, target, stagnation), should_stop, on_improvement)


def replay(
    qubo: Qubo,
    *,
    seed: int,
    works: Sequence[int],
    algorithm: str,
    warm: ArrayLike | None = None,
    should_stop: Callable[[], bool] | None = None,
    memory_bytes_max: int = MEMORY_BYTES_MAX,
) -> Solution:
    """The solution that the same strategy, seed and counted work of each island gave.

    On the same build and, where floats are computed, the same class of processor.
    """
    _check(0, seed, len(works))
    run = _Run(qubo, seed, works, warm, algorithm, memory_bytes_max, None)
    with run:
        return run.until(_Ends(float("inf"), None, WORK_MAX), should_stop, None)


def least_memory_bytes(variables: int, couplings: int, threads: int) -> int:
    """What any run on such a problem takes, to read it included: for who has to say no before anything is read."""
    run = _reduction_bytes(variables, couplings) + threads * (_island_bytes(variables) + variables)
    return problem_bytes(variables, couplings) + run


def most_memory_bytes(variables: int, couplings: int, threads: int, strategy: str = "") -> int:
    """What a run on such a problem may take, to read it included: for who has to know before anything is read."""
    each = island_bytes_max(variables, couplings, strategy) + _island_bytes(variables) + variables
    return problem_bytes(variables, couplings) + _reduction_bytes(variables, couplings) + threads * each


def problem_bytes(variables: int, couplings: int) -> int:
    """What a problem takes while it is read, which is more than it takes then."""
    return BYTES_PER_VARIABLE * (1 + variables) + BYTES_PER_COUPLING * couplings


class _Ends(NamedTuple):
    """What ends a run beside its work."""

    seconds: float
    target: float | None
    stagnation_work: int


def features_of(qubo: Qubo) -> Features:
    """What a strategy is chosen by: measured in the reduced problem."""
    return measure(reduce(to_ising(qubo)).problem, qubo.variables, qubo.couplings)


class _Run:
    """The islands of one problem, and what they have found of it, in the file's terms."""

    def __init__(
        self,
        qubo: Qubo,
        seed: int,
        works_max: Sequence[int],
        warm: ArrayLike | None,
        strategy: str | None,
        memory_bytes_max: int,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self.began_at = perf_counter()
        self.qubo = qubo
        self.seed = seed
        check_memory(_reduction_bytes(qubo.variables, qubo.couplings), memory_bytes_max)
        asked = None if strategy is None else named(strategy)
        ising = to_ising(qubo)
        self.reduced = reduce(ising, should_stop) if asked is None or asked.reduces else unreduced(ising)
        self.features = measure(self.reduced.problem, qubo.variables, qubo.couplings)
        self.strategy = asked or choose(self.features)
        if not self.strategy.takes(self.features):
            features = self.features.recorded()
            raise ValueError(f"{self.strategy.name} takes {self.strategy.limits}, not such a problem: {features}")
        needed = _memory_bytes(qubo, self.strategy, self.features, len(works_max))
        check_memory(needed, memory_bytes_max)
        self.plan = Plan(self.strategy.name, self.features.recorded(), needed)
        known = _known(qubo, warm)
        start = qubo.value(known)
        begin = None if warm is None else self.reduced.restrict(_spins(known))
        self.bests = [Best(start, 0, lambda: known, stream) for stream in range(len(works_max))]
        self.traces: list[Trace] = [[(0, start)] for _ in works_max]
        self.times = [[perf_counter() - self.began_at] for _ in works_max]
        self.tolerance = 0.0
        self.moved_at = [0 for _ in works_max]
        """The work after which each island was last better by more than the tolerance."""
        self.exchange = Exchange(len(works_max))
        shared: dict[str, NDArray[Any]] = {}
        self.runners = [
            self._runner(stream, Start(self.reduced.problem, seed, stream, len(works_max), begin, shared), work_max)
            for stream, work_max in enumerate(works_max)
        ]
        self._scale = _Scale(qubo, self.reduced)
        if self.features.variables == 0:  # the reduction has solved it
            for runner in self.runners:
                runner.island.keep(runner.island.best, 0)

    def __enter__(self) -> None:
        """At the end its islands and what they have found are let go, for they hold the run as it holds them: arrays of hundreds of
        megabytes would stay until somebody looks for garbage."""

    def __exit__(self, *raised: object) -> None:
        for runner in self.runners:
            runner.island.on_keep = _keep_nothing
        self.runners.clear()
        self.bests.clear()

    def _runner(self, stream: int, start: Start, work_max: int) -> Runner:
        island = self.strategy.start(start)
        island.work_max = work_max
        island.on_keep = lambda: self._record(stream, island)
        return Runner(island, stream, self.exchange)

    def _record(self, stream: int, island: Island) -> None:
        """On the island's thread, at a count that comes again in a replay."""
        spins = island.best.copy()
        value = self._scale.value(island.best_twice, spins)
        before = self.bests[stream].value
        if self.qubo.better(value, before):
            if abs(value - before) > self.tolerance * abs(before):
                self.moved_at[stream] = island.work
            seconds = perf_counter() - self.began_at
            self.traces[stream].append((island.work, value))
            self.times[stream].append(seconds)
            self.bests[stream] = Best(
                value, island.work, lambda: _assignment(self.reduced.lift(spins)), stream, seconds
            )

    def until(
        self,
        ends: _Ends,
        should_stop: Callable[[], bool] | None,
        on_improvement: Callable[[Best], None] | None,
    ) -> Solution:
        """Runs all islands, the first on this thread, until there is a reason to stop."""
        halt = Event()
        reported = self.traces[0][0][1]

        def is_over(stream: int) -> bool:
            if ends.target is not None and not self.qubo.better(ends.target, self.bests[stream].value):
                halt.set()
            return halt.is_set()

        def finished(stream: int) -> bool:
            work = self.runners[stream].island.work
            if work - self.moved_at[stream] >= ends.stagnation_work:
                return True
            # Where loading the kernels took all the time, the run goes on to its first answer: who gave time gets one.
            has_answer = self.runners[stream].island.has_answer or not ends.seconds
            return is_over(stream) or (has_answer and perf_counter() - self.began_at >= ends.seconds)

        def report() -> None:
            nonlocal reported
            best = self.bests[self._leader()]
            if self.qubo.better(best.value, reported):
                reported = best.value
                if on_improvement is not None:
                    on_improvement(best)
            stopped()

        def stopped() -> bool:
            if should_stop is not None and should_stop():
                halt.set()
            return is_over(0)

        def lead() -> None:
            while not finished(0) and self.runners[0].run_slice(is_over=stopped):
                report()
            self.runners[0].close()

        def follow(stream: int) -> None:
            while not finished(stream) and self.runners[stream].run_slice(is_over=partial(is_over, stream)):
                pass
            self.runners[stream].close()

        if len(self.runners) == 1:
            lead()
        else:
            run_beside(lead, [partial(follow, stream) for stream in range(1, len(self.runners))], report, halt)
        report()
        return self._solution(perf_counter() - self.began_at)

    def _leader(self) -> int:
        """The island with the best value; of equals the first."""
        values = [best.value for best in self.bests]
        return values.index(min(values) if self.qubo.sense == "min" else max(values))

    def _solution(self, seconds: float) -> Solution:
        leader = self._leader()
        best = self.bests[leader]
        if self.qubo.value(best.assignment) != best.value:
            raise AssertionError("the value of the best assignment is not what was kept for it")
        islands = [runner.island for runner in self.runners]
        works = tuple(island.work for island in islands)
        return Solution(
            value=best.value,
            assignment=best.assignment,
            work=works[leader],
            works=works,
            island=leader,
            seconds=seconds,
            algorithm=self.strategy.name,
            seed=self.seed,
            trace=list(self.traces[leader]),
            traces=tuple(map(list, self.traces)),
            times=tuple(map(tuple, self.times)),
            features=self.features.recorded(),
            parameters=dict(islands[leader].parameters),
            counts=tuple(dict(island.counts) for island in islands),
        )


class _Scale:
    """Values in the file's terms from objectives of the reduced problem.

    Integers need one sum only, of the first solution: it takes longer than a slice on large problems.
    """

    def __init__(self, qubo: Qubo, reduced: Reduced) -> None:
        self._qubo = qubo
        self._reduced = reduced
        self._origin: tuple[Number, int] | None = None

    def value(self, twice: Number, spins: Spins) -> Number:
        if self._origin is None or not self._reduced.problem.is_exact:
            value = self._qubo.value(_assignment(self._reduced.lift(spins)))
            if self._reduced.problem.is_exact:
                self._origin = value, int(twice)
            return value
        value, twice_then = self._origin
        return value + self._reduced.gained(int(twice) - twice_then)


def _memory_bytes(qubo: Qubo, strategy: Strategy, features: Features, islands: int) -> int:
    """The reduction's arrays, those of the reduced problem, and those of each island; the problem itself stands already."""
    each = strategy.memory_bytes(features) + _island_bytes(features.variables)
    return _reduction_bytes(qubo.variables, qubo.couplings) + islands * each


def _reduction_bytes(variables: int, couplings: int) -> int:
    return 104 * variables + 80 * couplings


def _island_bytes(variables: int) -> int:
    return 16 * variables + TRACE_BYTES_PER_ISLAND


def _keep_nothing() -> None:
    """What an island of a run that is over tells of what it keeps."""


def _known(qubo: Qubo, warm: ArrayLike | None) -> Assignment:
    if warm is None:
        return np.zeros(qubo.variables, np.uint8)
    return check_assignment(warm, qubo.variables).astype(np.uint8)


def _spins(assignment: Assignment) -> Spins:
    return (2 * assignment.astype(np.int8) - 1).astype(np.int8)


def _assignment(spins: Spins) -> Assignment:
    return (spins > 0).astype(np.uint8)


def _check(seconds: float, seed: int, threads: int) -> None:
    if not seconds >= 0:
        raise ValueError(f"seconds must be zero or more, not {seconds}")
    if not 0 <= seed <= SEED_MAX:
        raise ValueError(f"a seed is between 0 and {SEED_MAX}, not {seed}")
    if not 1 <= threads <= THREADS_MAX:
        raise ValueError(f"between 1 and {THREADS_MAX} threads are possible, not {threads}")

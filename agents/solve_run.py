"""A solve job on its worker thread: the problem is read, solved, measured against a baseline, and what is to be recorded made of it.

All of numbers is imported here and not at the head of the module: a thread waits for the kernels to load, and nobody else.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Event as ThreadEvent
from typing import TYPE_CHECKING, Any

from structlog.typing import FilteringBoundLogger

from aggregates.solve_job import CompleteSolve, PlanSolve, ProblemFacts, ReportSolve, SolveQueued
from aggregates.values.solving import POINTS_MAX, Baseline, BaselineRun, Measures, Point
from runtime.blobs import WrongDigest
from solvers.backends import LOCAL, Backend, NotReady, WrongValue, run_on

if TYPE_CHECKING:
    from solvers.portfolio import Best, Plan, Solution, Trace
    from solvers.qubo import Qubo

ReadBlob = Callable[[str], bytes]
Solve = Callable[..., "Solution"]
"""A local solve of one problem, within the job's memory and for as long as nobody has cancelled it."""


class Progress:
    """What is seen of a job while it runs: written by its thread, read by the event loop."""

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._plan: Plan | None = None
        self._news: list[Best] = []

    def planned(self, plan: "Plan") -> None:
        self._plan = plan

    def improved(self, best: "Best") -> None:
        self._news[:] = [best]

    def plan(self) -> PlanSolve | None:
        """What was measured and chosen, once it was."""
        if (plan := self._plan) is None:
            return None
        from solvers.build import build

        return PlanSolve(
            job_id=self._job_id,
            algorithm=plan.algorithm,
            features=plain(plan.features),
            memory_bytes=plan.memory_bytes,
            build=build(),
        )

    def report(self) -> ReportSolve | None:
        """The best value, where it has not been told."""
        if not self._news:
            return None
        best = self._news.pop()
        return ReportSolve(
            job_id=self._job_id, value=float(best.value), work=best.work, seconds=best.seconds, island=best.island
        )


def most_bytes(queued: SolveQueued, unknown: int) -> int:
    """What a job may take at most; `unknown` where nobody noted how large its problem is. The first call loads the solvers' libraries."""
    from solvers.portfolio import most_memory_bytes

    problem, baseline = queued.problem, queued.baseline
    if problem.couplings is None:
        return unknown
    own = most_memory_bytes(problem.variables, problem.couplings, queued.threads, queued.strategy)
    return own if baseline is None else max(own, _baseline_bytes(queued.problem, baseline))


def planned_bytes(queued: SolveQueued, plan: PlanSolve, unknown: int) -> int:
    """The same, once it was measured what its own run takes; its baseline may still take as much as ever."""
    from solvers.portfolio import problem_bytes

    problem, baseline = queued.problem, queued.baseline
    if problem.couplings is None:
        return unknown
    own = problem_bytes(problem.variables, problem.couplings) + plan.memory_bytes
    return own if baseline is None else max(own, _baseline_bytes(queued.problem, baseline))


def _baseline_bytes(problem: ProblemFacts, baseline: Baseline) -> int:
    from solvers.portfolio import most_memory_bytes

    return most_memory_bytes(problem.variables, problem.couplings or 0, 1, baseline.strategy)


def run(
    queued: SolveQueued,
    backend: Backend,
    read_blob: ReadBlob,
    stop: ThreadEvent,
    progress: Progress,
    memory_bytes_max: int,
    log: FilteringBoundLogger,
) -> CompleteSolve | str:
    """The result of a job, or why there is none.

    What somebody's file does to the reader or the kernel is that job's failure and nobody else's: let through, it would make the
    actor anew, and a few such jobs would end the node for everybody. What is not foreseen here is logged whole.
    """
    try:
        return _run(queued, backend, read_blob, stop, progress, memory_bytes_max)
    except Exception as error:
        log.exception("solve_failed", job_id=queued.job_id)
        return f"{queued.problem.name} can't be solved: {type(error).__name__}: {error}"


def _run(
    queued: SolveQueued,
    backend: Backend,
    read_blob: ReadBlob,
    stop: ThreadEvent,
    progress: Progress,
    memory_bytes_max: int,
) -> CompleteSolve | str:
    from solvers import formats
    from solvers.build import build

    build()  # looked up once, and here, where it keeps nobody else
    problem = queued.problem
    try:
        content = read_blob(problem.blob)
        qubo = formats.parse(content, problem.name, format=problem.format.value, memory_bytes_max=memory_bytes_max)
        warm = _warm(queued)
    except (ValueError, LookupError, OSError, MemoryError, WrongDigest) as error:
        return f"{problem.name} can't be read: {error}"
    del content
    try:
        bounds = {"should_stop": stop.is_set, "memory_bytes_max": memory_bytes_max - qubo.bytes}
        bounded = partial(run_on, LOCAL, qubo, **bounds)
        if queued.baseline is not None:
            ours = (queued.strategy,) if backend is LOCAL else ()
            _load(bounded, *ours, queued.baseline.strategy)
        solution = run_on(
            backend,
            qubo,
            **bounds,
            seconds=queued.seconds,
            seed=queued.seed,
            threads=queued.threads,
            work_max=queued.work_max,
            target=queued.target,
            stagnation_work=queued.stagnation_work,
            tolerance=queued.tolerance,
            on_plan=progress.planned,
            on_improvement=progress.improved,
            warm=warm,
            strategy=queued.strategy or None,
        )
        measured = None
        if queued.baseline is not None and not stop.is_set():
            measured = _measure(queued.baseline, qubo, solution, bounded)
    except (ValueError, MemoryError, NotReady, WrongValue) as error:
        return f"{problem.name} can't be solved: {error or 'there is not enough memory'}"
    return "it was cancelled" if stop.is_set() else _completion(queued, solution, measured)


def _warm(queued: SolveQueued) -> Any:
    """The assignment to begin with; None where there is none."""
    from solvers.verify import decode_assignment

    return None if queued.known is None else decode_assignment(queued.known.assignment, queued.problem.variables)


def _load(solve: Solve, *strategies: str) -> None:
    """Has the kernels of both runs in memory before either is timed: the first one would pay for what they share.

    A baseline that can't run on such a problem fails the job here, and not when its result is there.
    """
    for strategy in strategies:
        solve(seconds=1.0, seed=0, work_max=1, strategy=strategy or None)


def _measure(baseline: Baseline, qubo: "Qubo", ours: "Solution", solve: Solve) -> BaselineRun:
    """Runs the baseline on one thread until it is as good or its time is up."""
    other = solve(seconds=baseline.seconds, seed=ours.seed, target=ours.value, strategy=baseline.strategy)
    target = ours.value if qubo.better(other.value, ours.value) else other.value
    return BaselineRun(
        strategy=other.algorithm,
        value=float(other.value),
        work=other.work,
        seconds=other.seconds,
        target=float(target),
        target_seconds=_seconds_to(target, qubo, other),
        own_target_seconds=_seconds_to(target, qubo, ours),
        trace=thinned(other.trace, other.times[other.island]),
    )


def _seconds_to(target: float, qubo: "Qubo", solution: "Solution") -> float:
    """When the first of its islands was as good; 0 where it began so, and nothing had to be found."""
    return min(
        seconds if work else 0.0
        for trace, times in zip(solution.traces, solution.times, strict=True)
        for (work, value), seconds in zip(trace, times, strict=True)
        if not qubo.better(target, value)
    )


def thinned(trace: "Trace", times: Sequence[float], points_max: int = POINTS_MAX) -> tuple[Point, ...]:
    """The points of a trace, of too many as many as are kept: the first, the last, and others at even distances between."""
    last = len(trace) - 1
    kept = range(last + 1) if last < points_max else [k * last // (points_max - 1) for k in range(points_max)]
    return tuple(Point(trace[k][0], float(trace[k][1]), times[k]) for k in kept)


def _completion(queued: SolveQueued, solution: "Solution", measured: BaselineRun | None) -> CompleteSolve:
    from solvers.build import build
    from solvers.verify import encode_assignment

    return CompleteSolve(
        job_id=queued.job_id,
        value=float(solution.value),
        assignment=encode_assignment(solution.assignment),
        work=solution.work,
        seconds=solution.seconds,
        algorithm=solution.algorithm,
        seed=solution.seed,
        input_digest=queued.problem.blob,
        build=build(),
        island=solution.island,
        works=solution.works,
        counts=solution.counts,
        parameters=plain(solution.parameters),
        trace=thinned(solution.trace, solution.times[solution.island]),
        bound=_bound(solution),
        baseline=measured,
    )


def _bound(solution: "Solution") -> float | None:
    """What nothing is better than: the value itself, where the strategy has proved it or the reduction alone has found it."""
    is_proved = solution.proven or solution.features["variables"] == 0
    return float(solution.value) if is_proved else None


def plain(measures: Mapping[str, Any]) -> Measures:
    """Numbers as a record takes them, whatever type the kernels have left them in."""
    return {name: value.item() if hasattr(value, "item") else value for name, value in measures.items()}

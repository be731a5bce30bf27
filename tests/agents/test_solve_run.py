"""A job on its thread: what it records of its course, what it is measured against, and how it fails."""

from hashlib import sha256
from threading import Event

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agents.solve_run import Progress, plain, run, thinned
from aggregates.solve_job import CompleteSolve, SolveQueued
from aggregates.values.qubo import Format, Sense
from aggregates.values.solving import POINTS_MAX, Baseline, Known
from solvers.backends import LOCAL
from solvers.formats import parse, write_rudy
from solvers.generators import sparse_random
from solvers.portfolio import replay
from solvers.verify import decode_assignment, recompute
from tests.examples import PROBLEM, event_by_type

GRAPH = write_rudy(sparse_random(400, 5.0, 2))
QUEUED = replace(
    event_by_type[SolveQueued],
    problem=replace(PROBLEM, blob=sha256(GRAPH).hexdigest(), sense=Sense.MAX, variables=400),
    seconds=600.0,
    work_max=2_000_000,
    stagnation_work=None,
    tolerance=0.0,
    known=None,
    warm_start=None,
    baseline=None,
)
MEMORY_BYTES_MAX = 2**30


def done(queued: SolveQueued, progress: Progress | None = None) -> CompleteSolve:
    found = run(
        queued, LOCAL, lambda _: GRAPH, Event(), progress or Progress("j1"), MEMORY_BYTES_MAX, structlog.get_logger()
    )
    assert isinstance(found, CompleteSolve), found
    return found


@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_recorded_is_enough_to_compute_the_run_again(threads: int) -> None:
    found = done(replace(QUEUED, threads=threads))
    assert recompute(GRAPH, decode_assignment(found.assignment, 400), format="rudy") == found.value
    again = replay(parse(GRAPH), seed=QUEUED.seed, works=found.works, algorithm=found.algorithm)
    assert (float(again.value), again.works, again.island) == (found.value, found.works, found.island)
    assert (again.counts, plain(again.parameters)) == (found.counts, found.parameters)
    points = [(work, float(value)) for work, value in again.trace]
    assert [(point.work, point.value) for point in found.trace] == points[:POINTS_MAX]


def test_a_run_begins_with_what_is_known() -> None:
    first = done(QUEUED)
    second = done(replace(QUEUED, known=Known(assignment=first.assignment), seed=8, work_max=1))
    assert second.trace[0].value == first.value
    assert second.value >= first.value


def test_a_baseline_is_run_and_timed_on_the_same_problem() -> None:
    found = done(replace(QUEUED, baseline=Baseline(seconds=600.0, strategy="annealing")))
    measured = found.baseline
    assert measured is not None
    assert measured.value >= found.value == measured.target  # with all the time it needed
    assert (measured.trace[-1].value, measured.trace[-1].seconds) == (measured.value, measured.target_seconds)
    assert measured.own_target_seconds == found.trace[-1].seconds
    alone = replay(parse(GRAPH), seed=QUEUED.seed, works=[measured.work], algorithm="annealing")
    assert float(alone.value) == measured.value


def test_a_baseline_that_has_no_time_is_measured_at_the_best_value_that_both_reached() -> None:
    found = done(replace(QUEUED, baseline=Baseline(seconds=0.05), work_max=20_000_000))
    measured = found.baseline
    assert measured is not None
    assert measured.target == min(found.value, measured.value)
    assert 0 < measured.own_target_seconds <= found.seconds
    assert measured.advantage == measured.target_seconds / measured.own_target_seconds


def test_nothing_is_claimed_where_nothing_had_to_be_found() -> None:
    first = done(QUEUED)
    known = Known(assignment=first.assignment)
    found = done(replace(QUEUED, known=known, seed=8, work_max=1, baseline=Baseline(seconds=600.0)))
    assert found.baseline is not None
    assert found.baseline.advantage is None


def test_a_bound_is_told_where_the_value_is_proved_and_nowhere_else() -> None:
    tree = b"4 3\n1 2 2\n2 3 -1\n3 4 5\n"
    queued = replace(QUEUED, problem=replace(QUEUED.problem, variables=4))
    found = run(queued, LOCAL, lambda _: tree, Event(), Progress("j1"), MEMORY_BYTES_MAX, structlog.get_logger())
    assert isinstance(found, CompleteSolve)
    assert found.bound == found.value == 7
    assert done(QUEUED).bound is None


def test_a_job_that_was_cancelled_has_no_result_and_runs_no_baseline() -> None:
    stop = Event()
    stop.set()
    queued = replace(QUEUED, baseline=Baseline(seconds=600.0))
    assert isinstance(
        run(queued, LOCAL, lambda _: GRAPH, stop, Progress("j1"), MEMORY_BYTES_MAX, structlog.get_logger()), str
    )


def test_progress_tells_the_plan_and_the_newest_value_once() -> None:
    progress = Progress("j1")
    assert (progress.plan(), progress.report()) == (None, None)
    found = done(QUEUED, progress)
    plan, report = progress.plan(), progress.report()
    assert plan is not None
    assert (plan.algorithm, plan.build, plan.features["original_variables"]) == (found.algorithm, found.build, 400)
    assert plan.memory_bytes > 0
    assert report is not None
    assert (report.value, report.island) == (found.value, found.island)
    assert (report.work, report.value) in [(point.work, point.value) for point in found.trace]
    assert progress.report() is None


def test_a_job_past_its_memory_fails_with_the_estimate() -> None:
    for bytes_max, says in ((100_000, "can't be read"), (900_000, "can't be solved")):
        why = run(QUEUED, LOCAL, lambda _: GRAPH, Event(), Progress("j1"), bytes_max, structlog.get_logger())
        assert isinstance(why, str)
        assert says in why
        assert "bytes" in why


def test_a_strategy_that_does_not_take_the_problem_fails_the_job_and_says_so() -> None:
    halves = b'{"format": "gavel-qubo/1", "sense": "min", "variables": 1, "linear": [[0, 0.5]]}'
    queued = replace(QUEUED, strategy="multi-spin", problem=replace(QUEUED.problem, format=Format.JSON, variables=1))
    why = run(queued, LOCAL, lambda _: halves, Event(), Progress("j1"), MEMORY_BYTES_MAX, structlog.get_logger())
    assert "multi-spin takes whole numbers" in str(why)


def test_a_baseline_that_can_not_run_fails_the_job_before_its_own_run() -> None:
    halves = b'{"format": "gavel-qubo/1", "sense": "min", "variables": 1, "linear": [[0, 0.5]]}'
    facts = replace(QUEUED.problem, format=Format.JSON, variables=1)
    queued = replace(QUEUED, problem=facts, baseline=Baseline(seconds=1.0, strategy="multi-spin"))
    progress = Progress("j1")
    why = run(queued, LOCAL, lambda _: halves, Event(), progress, MEMORY_BYTES_MAX, structlog.get_logger())
    assert "multi-spin takes whole numbers" in str(why)
    assert progress.plan() is None


@given(st.integers(1, 1_000), st.integers(2, 200))
def test_a_thinned_trace_keeps_its_ends_and_its_order(size: int, points_max: int) -> None:
    trace: list[tuple[int, int | float]] = [(work, work * work) for work in range(size)]
    points = thinned(trace, [work / 2 for work, _ in trace], points_max)
    assert len(points) == min(size, points_max)
    assert (points[0].work, points[-1].work) == (0, size - 1)
    works = [point.work for point in points]
    assert works == sorted(set(works))
    assert all((point.value, point.seconds) == (point.work**2, point.work / 2) for point in points)

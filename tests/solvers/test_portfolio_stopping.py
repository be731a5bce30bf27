"""What ends a solve beside time and target, and what it says before its first step."""

import gc
import itertools
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.features import measure
from solvers.generators import sparse_random, toroidal_grid
from solvers.ising import to_ising
from solvers.islands import Runner
from solvers.portfolio import Best, Plan, least_memory_bytes, most_memory_bytes, problem_bytes, replay, solve
from solvers.qubo import BYTES_PER_COUPLING, BYTES_PER_VARIABLE, Qubo
from solvers.strategies import STRATEGIES, named
from solvers.strategy import Island

LONG_SECONDS = 3600.0
STAGNATION = 2_000_000


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_that_gets_no_better_ends_and_its_work_replays_it(threads):
    qubo = toroidal_grid(12, 12, 3)
    solution = solve(qubo, seconds=LONG_SECONDS, seed=1, threads=threads, stagnation_work=STAGNATION)
    for work, trace in zip(solution.works, solution.traces, strict=True):
        assert work - trace[-1][0] >= STAGNATION
    again = replay(qubo, seed=1, works=solution.works, algorithm=solution.algorithm)
    assert (again.works, again.traces) == (solution.works, solution.traces)
    assert again.assignment.tobytes() == solution.assignment.tobytes()


def test_what_is_better_by_less_than_the_tolerance_keeps_no_run_going():
    qubo = sparse_random(2_000, 6.0, 1)
    solution = solve(
        qubo, seconds=LONG_SECONDS, seed=1, strategy="annealing", stagnation_work=STAGNATION, tolerance=0.1
    )
    moved_at = [
        work
        for (_, before), (work, value) in itertools.pairwise(solution.trace)
        if abs(value - before) > 0.1 * abs(before)
    ]
    assert solution.work - moved_at[-1] >= STAGNATION
    assert len(moved_at) < len(solution.trace) - 1  # it got better by less, too
    assert solution.trace[-1][0] > moved_at[-1]


def test_every_point_of_a_trace_has_its_time():
    solution = solve(sparse_random(300, 4.0, 1), seconds=LONG_SECONDS, seed=1, work_max=3_000_000, threads=2)
    assert solution.trace == solution.traces[solution.island]
    for trace, times in zip(solution.traces, solution.times, strict=True):
        assert len(trace) == len(times)
        assert list(times) == sorted(times)
        assert 0 < times[-1] <= solution.seconds


def test_what_is_told_of_an_improvement_stands_in_the_trace_of_its_island():
    told: list[Best] = []
    qubo = sparse_random(500, 4.0, 1)
    solution = solve(qubo, seconds=LONG_SECONDS, seed=1, work_max=5_000_000, threads=2, on_improvement=told.append)
    assert told
    for best in told:
        point = solution.traces[best.island].index((best.work, best.value))
        assert solution.times[best.island][point] == best.seconds


@pytest.mark.parametrize("strategy", [strategy.name for strategy in STRATEGIES])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_that_is_over_leaves_no_garbage_behind(strategy, threads):
    """Its arrays are freed at once, however seldom a node looks for cycles."""
    qubo = sparse_random(150 if named(strategy).reduces else 12, 6.0, 1)
    gc.collect()
    gc.disable()
    try:
        solve(qubo, seconds=LONG_SECONDS, seed=1, work_max=1_000_000, strategy=strategy, threads=threads)
        assert [type(left).__name__ for left in gc.get_objects() if isinstance(left, Island | Runner)] == []
    finally:
        gc.enable()


@pytest.mark.parametrize("strategy", [None, *(strategy.name for strategy in STRATEGIES)])
def test_the_plan_says_what_then_runs(strategy):
    plans: list[Plan] = []
    qubo = sparse_random(200 if strategy is None or named(strategy).reduces else 12, 4.0, 1)
    solution = solve(qubo, seconds=LONG_SECONDS, seed=1, work_max=100_000, strategy=strategy, on_plan=plans.append)
    (plan,) = plans
    assert (plan.algorithm, plan.features) == (solution.algorithm, solution.features)
    assert strategy in (None, plan.algorithm)
    problem = BYTES_PER_VARIABLE * qubo.variables + BYTES_PER_COUPLING * qubo.couplings
    assert plan.memory_bytes + problem >= least_memory_bytes(qubo.variables, 0, 1)


@given(st.integers(0, 400), st.floats(0, 60), st.integers(1, 3), st.sampled_from([1, 90, 0.3]), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_what_a_run_may_take_is_known_from_its_size_alone(variables, degree, threads, scale, seed):
    graph = sparse_random(variables, min(degree, max(0, variables - 1)), seed)
    rows, columns, weights = graph.terms()
    qubo = Qubo.from_terms(variables, (rows, columns, weights * scale), convention=graph.convention, sense="max")
    for strategy in ("", "exact", "dense", "multi-spin", "annealing", "tempering", "tabu", "qaoa"):
        plans: list[Plan] = []
        with suppress(ValueError):  # where the strategy does not take it
            solve(qubo, seconds=0, seed=1, threads=threads, strategy=strategy or None, on_plan=plans.append)
        for plan in plans:
            assert qubo.bytes <= problem_bytes(variables, qubo.couplings)
            whole = problem_bytes(variables, qubo.couplings) + plan.memory_bytes
            assert whole <= most_memory_bytes(variables, qubo.couplings, threads, strategy)


def test_a_job_past_its_memory_is_refused_with_the_estimate():
    with pytest.raises(ValueError, match="bytes"):
        solve(Qubo.from_dense([[1.0]]), seconds=1, seed=1, memory_bytes_max=1000)


def test_a_strategy_is_refused_for_a_problem_that_it_can_not_run_on():
    halves = Qubo.from_dense([[0.5, 1.5], [0.0, -2.5]])
    for strategy in STRATEGIES:
        if strategy.takes(measure(to_ising(halves), halves.variables, halves.couplings)):
            assert solve(halves, seconds=LONG_SECONDS, seed=1, work_max=1000, strategy=strategy.name).value == -2.5
        else:
            with pytest.raises(ValueError, match=f"{strategy.name} takes {strategy.limits}, not such a problem"):
                solve(halves, seconds=LONG_SECONDS, seed=1, work_max=1000, strategy=strategy.name)

"""The bridge to HiGHS: its optimum is that of brute force, and its bound holds when time is short."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.generators import palubeckis
from solvers.milp import bounded
from solvers.portfolio import solve
from tests.solvers.twins import brute_force, problems


@given(problems(variables_max=6, weights=st.one_of(st.integers(-50, 50), st.floats(-9, 9).map(lambda x: round(x, 3)))))
@settings(max_examples=60, deadline=None)
def test_what_highs_proves_is_the_best_of_all_assignments(problem):
    qubo, _, _ = problem
    found = bounded(qubo, seconds=60)
    assert found.proven
    assert found.value == pytest.approx(brute_force(qubo), rel=1e-6, abs=1e-6)
    assert found.value == qubo.value(found.assignment)
    assert not qubo.better(brute_force(qubo), found.bound + (-1e-5 if qubo.sense == "min" else 1e-5))


def test_a_bound_from_too_little_time_holds():
    qubo = palubeckis(60, 100, 1)
    found = bounded(qubo, seconds=0.2)
    best = solve(qubo, seconds=600, seed=1)
    assert best.proven
    assert not found.proven
    assert found.bound >= best.value
    assert found.value is None or found.value <= best.value


def test_a_problem_past_the_memory_bound_is_refused():
    with pytest.raises(ValueError, match="bytes of memory"):
        bounded(palubeckis(60, 100, 1), seconds=1, memory_bytes_max=1000)

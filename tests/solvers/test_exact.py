"""Exact search: the optimum by brute force on small problems, and proofs that end on larger ones."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers import exact
from solvers.exact import ExactSearch
from solvers.features import measure
from solvers.generators import palubeckis, toroidal_grid
from solvers.ising import to_ising
from solvers.milp import bounded
from solvers.portfolio import replay, solve
from solvers.qubo import Convention, Qubo
from solvers.strategies import named
from solvers.strategy import Start
from solvers.tabu_rows import TabuRows
from tests.solvers.twins import problems


def best_of_all(qubo):
    """The best value of all assignments, by matrices."""
    listed = (np.arange(2**qubo.variables)[:, None] >> np.arange(qubo.variables)) & 1
    values = ((listed @ qubo.to_dense()) * listed).sum(axis=1) + qubo.value(np.zeros(qubo.variables))
    return (values.min() if qubo.sense == "min" else values.max()).item()


@st.composite
def larger(draw):
    """Dense and sparse ones of 8 to 13 variables, with and without linear terms, whole and not."""
    size = draw(st.integers(4, 11))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    matrix = np.triu(rng.integers(-9, 10, (size, size)) * (rng.random((size, size)) < draw(st.floats(0.05, 1))))
    scale = draw(st.sampled_from([1, 1, 10**7, 0.1, 1e-6 / 3]))
    convention = draw(st.sampled_from(list(Convention)))
    rows, columns = np.nonzero(matrix)
    terms = (rows, columns, matrix[rows, columns] * scale)
    return Qubo.from_terms(size, terms, convention=convention, sense=draw(st.sampled_from(["min", "max"])))


@given(larger(), st.integers(0, 2**32), st.integers(1, 300))
@settings(max_examples=120, deadline=None)
def test_what_is_proven_is_the_best_of_all_assignments(qubo, seed, work_per_call):
    problem = to_ising(qubo)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "ENUMERATED_MAX", 3)
        patch.setattr(exact, "STARTS", 1)
        patch.setattr(TabuRows, "run", lambda *_: None)  # so that the tree has something left to find
        island = ExactSearch(Start(problem, seed))
        for _ in island.course():
            island.work_per_call = work_per_call
    assert island.parameters["proven"] == 1
    value = qubo.value((island.best + 1) // 2)
    if qubo.is_integer:
        assert value == best_of_all(qubo)
    else:
        assert value == pytest.approx(best_of_all(qubo), rel=1e-9, abs=1e-12)


@given(problems(variables_max=6))
@settings(max_examples=150, deadline=None)
def test_the_smallest_problems_are_enumerated(problem):
    qubo, _, _ = problem
    solution = solve(qubo, seconds=60, seed=1)
    best = best_of_all(qubo)
    assert solution.value == (best if qubo.is_integer else pytest.approx(best, rel=1e-12))
    if solution.algorithm == "exact":
        assert solution.proven


@pytest.mark.parametrize("density", [5, 20, 100])
def test_random_problems_of_sixty_variables_are_proven(density):
    for seed in range(3):
        solution = solve(palubeckis(60, density, seed + 1), seconds=600, seed=seed)
        assert solution.proven
        assert solution.algorithm == "exact"


def test_a_proof_agrees_with_that_of_another_solver():
    for qubo in (palubeckis(30, 20, 5), toroidal_grid(4, 5, 3), palubeckis(25, 10, 6).negated()):
        solution, other = solve(qubo, seconds=600, seed=1), bounded(qubo, seconds=600)
        assert other.proven
        assert solution.value == other.value == other.bound


def test_a_proof_is_replayed_with_the_same_nodes():
    qubo = palubeckis(60, 50, 9)
    solution = solve(qubo, seconds=600, seed=3, threads=2)
    again = replay(qubo, seed=3, works=solution.works, algorithm="exact")
    assert (again.value, again.counts, again.works) == (solution.value, solution.counts, solution.works)
    assert (again.assignment == solution.assignment).all()
    assert again.proven


def test_a_search_that_is_stopped_says_that_nothing_is_proven():
    solution = solve(palubeckis(60, 50, 9), seconds=600, seed=3, work_max=1000)
    assert solution.algorithm == "exact"
    assert not solution.proven


def test_a_known_solution_is_where_it_begins():
    qubo = palubeckis(60, 50, 9)
    known = solve(qubo, seconds=600, seed=1)
    warm = solve(qubo, seconds=600, seed=2, warm=known.assignment, work_max=1)
    assert warm.value == known.value


def test_its_memory_is_estimated_from_above():
    strategy = named("exact")
    problem = to_ising(palubeckis(90, 100, 1))
    island = strategy.start(Start(problem, 1))
    next(island.course())
    tracemalloc.start()
    try:
        course = strategy.start(Start(problem, 1)).course()
        for _ in range(60):
            next(course, None)
        assert tracemalloc.get_traced_memory()[1] < strategy.memory_bytes(measure(problem, 90, 4005))
    finally:
        tracemalloc.stop()

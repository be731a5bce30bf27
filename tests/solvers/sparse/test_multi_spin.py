"""Multi-spin annealing finds optima, takes in what it is shown, and doesn't care how a problem is written down."""

from statistics import median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.generators import sparse_random, toroidal_grid
from solvers.ising import Ising, to_ising
from solvers.portfolio import solve
from solvers.qubo import Convention, Qubo
from solvers.seeding import seeded_state
from solvers.sparse.bonds import lay_out
from solvers.sparse.crossing import _cross_lanes
from solvers.sparse.multi_spin import MultiSpin
from solvers.sparse.words import LANES, _random_words
from solvers.spins import CROSSED, CURSOR_SIZE, SEEN, SWEEP, WORK
from solvers.strategy import Start
from tests.solvers.sparse.twins import dense, small_integer_problems, spins_of
from tests.solvers.twins import brute_force, obvious_cross, obvious_objective

LONG_SECONDS = 3600.0


@given(small_integer_problems(variables_max=9), st.integers(0, 2**64 - 1), st.integers(1, 30), st.booleans())
@settings(max_examples=300)
def test_crossing_with_the_replicas_is_crossing_with_one_after_the_other(problem, seed, call, mirrored):
    bonds, matrix = lay_out(problem), dense(problem)
    size = len(problem.fields)
    fields = 0 * problem.fields if mirrored else problem.fields
    words = np.zeros(size, np.uint64)
    _random_words(words, seeded_state(seed))
    best = np.random.default_rng(seed).choice(np.array([-1, 1], np.int8), size)
    expected, before = best.astype(np.int64), obvious_objective(matrix, fields, best.astype(np.int64))
    for replica in spins_of(words, bonds.order)[3:40]:
        expected = obvious_cross(matrix, fields, expected, replica)
    mark, stack = np.zeros(size, np.uint8), np.zeros(size, np.int32)
    cursor, sums = np.zeros(CURSOR_SIZE, np.int64), np.zeros(3, np.int64)
    cursor[SEEN] = -1
    arrays = (problem.indptr, problem.indices, problem.weights, fields, not fields.any(), mark, stack)
    while cursor[SWEEP] < 37:
        _cross_lanes(best, words, bonds.order, 3, 40, *arrays, cursor, sums, cursor[WORK] + call)
    assert (best == expected).all()
    assert 2 * sums[CROSSED] == obvious_objective(matrix, fields, expected) - before
    assert LANES == 64


@given(small_integer_problems(variables_max=9), st.integers(0, 2**64 - 1))
@settings(max_examples=25)
def test_small_problems_are_solved_to_the_optimum(problem, seed):
    matrix = dense(problem)
    island = MultiSpin(Start(problem, seed))
    course = island.course()
    while island.work < 300_000:
        next(course)
    best = max(obvious_objective(matrix, problem.fields, x) for x in all_spins(len(problem.fields)))
    assert island.best_twice == 2 * best
    assert obvious_objective(matrix, problem.fields, island.best.astype(np.int64)) == best


def all_spins(size):
    return 1 - 2 * (np.arange(2**size)[:, None] >> np.arange(size) & 1)


def test_what_a_neighbor_shows_is_crossed_with_the_best(monkeypatch):
    monkeypatch.setattr(MultiSpin, "meeting_work", 1)
    problem = to_ising(toroidal_grid(40, 40, 3))
    good = to_solution(problem, 20_000_000)
    island = MultiSpin(Start(problem, 1, islands=2))
    course = island.course()
    met = next(course)
    while met is None:
        met = next(course)
    assert met.twice < good.best_twice
    assert (met.number, (met.spins == island.best).all()) == (1, True)
    course.send(good.best)
    next(course)
    assert island.best_twice >= good.best_twice


def to_solution(problem: Ising, work: int) -> MultiSpin:
    island = MultiSpin(Start(problem, 5))
    course = island.course()
    while island.work < work:
        next(course)
    return island


def mirrored(qubo: Qubo, turned: np.ndarray) -> Qubo:
    """The same problem with some spins turned over: a gauge transformation."""
    rows, columns, weights = qubo.terms()
    sign = 1 - 2 * turned.astype(np.int64)
    terms = (rows, columns, weights.astype(np.int64) * sign[rows] * sign[columns])
    return Qubo.from_terms(qubo.variables, terms, convention=Convention.MAX_CUT, sense="max")


@pytest.mark.parametrize("qubo", [toroidal_grid(30, 30, 4), sparse_random(600, 6.0, 2)], ids=["grid", "random"])
def test_the_order_of_variables_and_turned_spins_don_t_matter_to_the_median_value(qubo):
    rng = np.random.default_rng(3)
    rows, columns, weights = qubo.terms()
    names = rng.permutation(qubo.variables)
    terms = (names[rows], names[columns], weights)
    permuted = Qubo.from_terms(qubo.variables, terms, convention=Convention.MAX_CUT, sense="max")
    turned = rng.integers(0, 2, qubo.variables)
    cut = int(weights[turned[rows] != turned[columns]].sum())  # what the turned problem's value is shifted by
    medians = []
    for each, shift in ((qubo, 0), (permuted, 0), (mirrored(qubo, turned), cut)):
        found = [solve(each, seconds=LONG_SECONDS, seed=seed, work_max=3_000_000) for seed in range(7)]
        assert {solution.algorithm for solution in found} == {"multi-spin"}
        medians.append(median(solution.value + shift for solution in found))
    assert medians == pytest.approx([medians[0]] * 3, rel=0.004)


def test_three_spins_in_a_ring_are_cut_twice():
    ring = Qubo.from_terms(3, ([0, 1, 2], [1, 2, 0], [1, 1, 1]), convention=Convention.MAX_CUT, sense="max")
    assert solve(ring, seconds=LONG_SECONDS, seed=1, work_max=100_000, strategy="multi-spin").value == 2
    assert brute_force(ring) == 2

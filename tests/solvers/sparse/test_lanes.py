"""Annealing in vectors of floats finds optima, replays, and doesn't care how a problem is written down."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.generators import sparse_random
from solvers.ising import Ising
from solvers.portfolio import replay, solve
from solvers.qubo import Convention, Qubo
from solvers.seeding import seeded_state
from solvers.sparse.lanes import Lanes
from solvers.sparse.multi_spin import VectorAnnealing
from solvers.sparse.words import LANES, _random_words
from solvers.spins import CURSOR_SIZE, WORK
from solvers.strategy import Start
from tests.solvers.sparse.twins import dense, small_integer_problems
from tests.solvers.twins import brute_force, obvious_objective

FULL = 2**62
LONG_SECONDS = 3600.0


@st.composite
def small_problems(draw) -> Ising:
    """Some whole, some of floats, with fields and without."""
    problem: Ising = draw(small_integer_problems(fields=draw(st.booleans())))
    if draw(st.booleans()):
        return problem
    by = draw(st.sampled_from([0.1, 1 / 3, 1e-3]))
    return Ising(problem.indptr, problem.indices, problem.weights * by, problem.fields * by, problem.unit)


def annealed(problem, schedule, seed, *, call=FULL):
    """The words after an anneal and after a descent, the state, and the work."""
    state = seeded_state(seed)
    words = np.zeros(len(problem.fields) + 1, np.uint64)
    _random_words(words[:-1], state)
    lanes, cursor, after = Lanes(problem, state), np.zeros(CURSOR_SIZE, np.int64), []
    hottest, coldest, sweeps = schedule
    lanes.prepare(hottest, coldest, sweeps, cursor)
    for step in (lanes.anneal, lanes.descend):
        cursor[:WORK] = 0
        while not step(words, cursor, cursor[WORK] + call):
            pass
        after.append(words[:-1].tolist())
    return after, state.tolist(), int(cursor[WORK])


@given(small_problems(), st.integers(0, 2**32), st.integers(1, 60))
@settings(max_examples=200)
def test_how_calls_are_cut_changes_nothing(problem, seed, call):
    assert annealed(problem, (3.0, 0.5, 7), seed) == annealed(problem, (3.0, 0.5, 7), seed, call=call)


@given(small_problems(), st.integers(0, 2**64 - 1))
@settings(max_examples=25)
def test_small_problems_are_solved_to_the_optimum(problem, seed):
    island = VectorAnnealing(Start(problem, seed))
    course = island.course()
    while island.work < 200_000:
        next(course)
    every = 1 - 2 * (np.arange(2 ** len(problem.fields))[:, None] >> np.arange(len(problem.fields)) & 1)
    best = max(obvious_objective(dense(problem), problem.fields, x) for x in every)
    assert island.best_twice == pytest.approx(2 * best)


def weighted(variables: int, seed: int) -> Qubo:
    """A max-cut on a random graph of mean degree 6 with normal weights."""
    rows, columns, _ = sparse_random(variables, 6.0, seed).terms()
    weights = np.random.default_rng(seed).normal(size=len(rows))
    return Qubo.from_terms(variables, (rows, columns, weights), convention=Convention.MAX_CUT, sense="max")


def test_weights_of_any_kind_are_annealed_in_vectors_and_a_replay_gives_the_same_bits():
    qubo = weighted(1_000, 4)
    found = solve(qubo, seconds=LONG_SECONDS, seed=3, work_max=8_000_000, threads=2)
    assert found.algorithm == "vector-annealing"
    again = replay(qubo, seed=3, works=found.works, algorithm=found.algorithm)
    assert (again.value, again.traces) == (found.value, found.traces)
    assert (again.assignment == found.assignment).all()
    one_by_one = solve(qubo, seconds=LONG_SECONDS, seed=3, work_max=8_000_000, threads=2, strategy="annealing")
    assert found.value > one_by_one.value


def test_the_order_of_variables_and_turned_spins_don_t_matter_to_the_median_value():
    qubo = weighted(400, 2)
    rng = np.random.default_rng(3)
    rows, columns, weights = qubo.terms()
    names, turned = rng.permutation(qubo.variables), rng.integers(0, 2, qubo.variables)
    sign = 1 - 2 * turned
    cut = weights[turned[rows] != turned[columns]].sum()  # what the turned problem's value is shifted by
    medians = []
    for terms, shift in (
        ((rows, columns, weights), 0.0),
        ((names[rows], names[columns], weights), 0.0),
        ((rows, columns, weights * sign[rows] * sign[columns]), cut),
    ):
        each = Qubo.from_terms(qubo.variables, terms, convention=Convention.MAX_CUT, sense="max")
        found = [solve(each, seconds=LONG_SECONDS, seed=seed, work_max=4_000_000) for seed in range(5)]
        assert {solution.algorithm for solution in found} == {"vector-annealing"}
        medians.append(float(np.median([solution.value + shift for solution in found])))
    assert medians == pytest.approx([medians[0]] * 3, rel=0.004)


def test_whole_weights_too_large_for_counters_are_exact():
    ring = Qubo.from_terms(
        3, ([0, 1, 2], [1, 2, 0], [2**20, 2**20 + 1, 2**20 + 2]), convention=Convention.MAX_CUT, sense="max"
    )
    found = solve(ring, seconds=LONG_SECONDS, seed=1, work_max=100_000, strategy="vector-annealing")
    assert found.value == 2**21 + 3 == brute_force(ring)
    assert LANES == 64

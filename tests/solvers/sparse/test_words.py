"""Sweeps of 64 replicas in words do what one replica after the other would."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from solvers.generators import toroidal_grid
from solvers.ising import to_ising
from solvers.seeding import seeded_state
from solvers.sparse.bonds import lay_out
from solvers.sparse.counters import thresholds_of
from solvers.sparse.words import (
    LANES,
    POOL_ROWS,
    POOL_WORDS,
    PROBABILITY_BITS,
    STRENGTH_MAX,
    _anneal_words,
    _put,
    _random_words,
    _renew,
    _spread,
)
from solvers.spins import CURSOR_SIZE, SWEEP, WORK
from tests.solvers.sparse.twins import dense, obvious_renew, obvious_sweep, small_integer_problems, spins_of

FULL = 2**62


def pools_of(state, thresholds):
    pools = np.zeros((POOL_ROWS, POOL_WORDS), np.uint64)
    _renew(pools, 0, POOL_WORDS, thresholds, state)
    return pools


def annealed(bonds, words, sweeps, thresholds, pools, state, *, renewed=0, call=FULL):
    """Sweeps to their end in calls of so much work; returns the work."""
    cursor = np.zeros(CURSOR_SIZE, np.int64)
    layout = (bonds.is_grid, bonds.near, bonds.signs, bonds.indptr, bonds.pairs, bonds.fours)
    while cursor[SWEEP] < sweeps:
        stop = cursor[WORK] + call
        _anneal_words(words, *layout, sweeps, thresholds, pools, renewed, state, cursor, stop)
    return cursor[WORK]


@given(small_integer_problems(), st.integers(0, 2**64 - 1), st.floats(0.3, 30), st.integers(1, 3))
@settings(max_examples=250)
def test_a_sweep_is_that_of_each_replica_alone(problem, seed, temperature, sweeps):
    bonds = lay_out(problem)
    state = seeded_state(seed)
    words = np.zeros(len(problem.fields) + 1, np.uint64)
    _random_words(words[:-1], state)
    thresholds = thresholds_of(temperature, temperature, 1)
    pools = pools_of(state, thresholds[0])
    spins, other = spins_of(words, bonds.order), [int(word) for word in state]
    annealed(bonds, words, sweeps, thresholds, pools, state)
    listed = pools.tolist()
    for _ in range(sweeps):
        obvious_sweep(dense(problem), problem.fields, bonds.order, spins, listed, other, bonds.is_grid)
    assert (spins_of(words, bonds.order) == spins).all()
    assert other == state.tolist()
    assert words[-1] == 0


@pytest.mark.parametrize("seed", range(5))
def test_a_sweep_of_a_grid_is_that_of_each_replica_alone(seed):
    problem = to_ising(toroidal_grid(3, 4, seed))
    bonds = lay_out(problem)
    assert bonds.is_grid
    state = seeded_state(seed)
    words = np.zeros(13, np.uint64)
    _random_words(words[:-1], state)
    thresholds = thresholds_of(1.5, 1.5, 1)
    pools = pools_of(state, thresholds[0])
    spins, other = spins_of(words, bonds.order), [int(word) for word in state]
    annealed(bonds, words, 1, thresholds, pools, state)
    obvious_sweep(dense(problem), problem.fields, bonds.order, spins, pools.tolist(), other, True)
    assert (spins_of(words, bonds.order) == spins).all()


@given(st.lists(st.integers(0, 2**PROBABILITY_BITS - 1), min_size=1, max_size=4), st.integers(0, 2**64 - 1))
@settings(max_examples=200)
def test_random_words_have_their_probability_bit_by_bit(thresholds, seed):
    state = seeded_state(seed)
    pools = np.zeros((len(thresholds), 6), np.uint64)
    listed = [[0] * 6 for _ in thresholds]
    other = state.tolist()
    _renew(pools, 2, 5, np.array(thresholds), state)
    obvious_renew(listed, 2, 5, thresholds, other)
    assert pools.tolist() == listed
    assert state.tolist() == other


@pytest.mark.parametrize("chance", [1e-3, 0.2, 0.5, 0.97])
def test_random_words_are_as_often_one_as_they_should_be(chance):
    pools = np.zeros((1, POOL_WORDS), np.uint64)
    _renew(pools, 0, POOL_WORDS, np.array([int(chance * 2**PROBABILITY_BITS)]), seeded_state(3))
    ones = np.bitwise_count(pools).sum() / (64 * POOL_WORDS)
    assert abs(ones - chance) < 5 * (chance * (1 - chance) / (64 * POOL_WORDS)) ** 0.5 + 2e-6


def test_what_a_flip_loses_is_taken_with_its_exponential_chance():
    for loss in range(1, 31):
        for temperature in (0.5, 2.0, 9.0):
            row = thresholds_of(temperature, temperature, 1)[0] / 2**PROBABILITY_BITS
            rest = (loss - 2) // 2 if loss % 2 == 0 else (loss - 1) // 2
            chance = row[1 if loss % 2 == 0 else 0]
            for bit in range(4):
                chance *= row[1 + bit] if rest >> bit & 1 else 1.0
            assert chance == pytest.approx(np.exp(-loss / temperature), abs=2e-5)


@given(small_integer_problems(variables_max=12), st.integers(0, 2**32), st.integers(1, 60))
@settings(max_examples=100)
def test_how_calls_are_cut_changes_nothing(problem, seed, call):
    bonds = lay_out(problem)
    results = []
    for work in (FULL, call):
        state = seeded_state(seed)
        words = np.zeros(len(problem.fields) + 1, np.uint64)
        _random_words(words[:-1], state)
        thresholds = thresholds_of(3.0, 0.5, 5)
        pools = pools_of(state, thresholds[0])
        done = annealed(bonds, words, 9, thresholds, pools, state, renewed=16, call=work)
        results.append((words.tolist(), state.tolist(), done))
    assert results[0] == results[1]


@given(small_integer_problems(weight_max=30))
@settings(max_examples=500)
def test_the_entries_of_a_row_are_its_couplings_and_its_field(problem):
    matrix = dense(problem)
    assume((np.abs(matrix).sum(axis=1) + np.abs(problem.fields)).max() <= STRENGTH_MAX)
    bonds = lay_out(problem)
    size = len(problem.fields)
    found = np.zeros((size, size + 1), np.int64)
    for row, spin in enumerate(bonds.order):
        for k in range(bonds.indptr[row], bonds.indptr[row + 1]):
            weight = 1 if k < bonds.pairs[row] else 2 if k < bonds.fours[row] else 4
            sign = {0: -1, 2**64 - 1: 1}[int(bonds.signs[k])]
            column = bonds.near[k]
            found[spin, size if column == size else bonds.order[column]] += sign * weight
    assert (found[:, :size] == matrix).all()
    assert (found[:, size] == problem.fields).all()
    assert (np.diff(np.diff(bonds.indptr)) >= 0).all()


def test_a_spin_too_strong_for_the_counters_is_not_laid_out():
    strong = toroidal_grid(3, 3, 1)
    problem = to_ising(strong)
    too_strong = type(problem)(problem.indptr, problem.indices, 32 * problem.weights, problem.fields, problem.unit)
    with pytest.raises(AssertionError, match="127 strong"):
        lay_out(too_strong)


def test_replicas_take_spins_all_or_one():
    spins = np.array([1, -1, -1, 1], np.int8)
    words = np.zeros(5, np.uint64)
    _spread(spins, words)
    assert (spins_of(words, range(4)) == spins).all()
    _put(-spins, 5, words)
    assert (spins_of(words, range(4))[5] == -spins).all()
    assert (np.delete(spins_of(words, range(4)), 5, axis=0) == spins).all()
    assert len(spins_of(words, range(4))) == LANES


def test_temperatures_of_long_anneals_are_as_many_as_of_shorter_ones():
    thresholds = thresholds_of(2.0, 0.1, 10**6)
    assert len(thresholds) == 1024
    assert (np.diff(thresholds, axis=0) <= 0).all()

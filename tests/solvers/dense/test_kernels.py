"""Dense kernels against their slow twins, each on thousands of cases; how calls cut a kernel changes nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.dense.kernels import (
    CURSOR_SIZE,
    POSITION,
    WORK,
    _anneal,
    _fill,
    _flip_all,
    _halve,
    _load,
)
from solvers.dense.problem import Dense, Point
from solvers.dense.sizes import CHUNK, POINTS, memory_bytes, row_type
from solvers.ising import to_ising
from solvers.seeding import seeded_state
from solvers.vectors import LEVELS, LOGS, WINDOW, aligned
from tests.solvers.dense.twins import as_qubo, dense_problems, obvious_anneal, obvious_slopes, obvious_twice
from tests.solvers.twins import random_word

FOREVER = 2**62
WORKS = st.lists(st.integers(1, 100), min_size=1, max_size=5)
STARTS = 8  # cases of one problem, which takes longer to make than a kernel runs


class Bench:
    """A dense problem, a point and a cursor; each kernel is run in calls of the given works, then to its end."""

    def __init__(self, problem, works):
        self.problem = to_ising(as_qubo(*problem))
        self.dense = Dense(self.problem)
        self.point = Point.of(self.dense)
        self.cursor = np.zeros(CURSOR_SIZE, np.int64)
        self._works = works
        problem = self.problem
        self.run(
            lambda stop: (
                _fill(self.dense.rows, problem.indptr, problem.indices, problem.weights, self.cursor, stop)
                or self.cursor[POSITION] == self.dense.size
            )
        )

    def begin(self, spins):
        """A point at these spins."""
        self.point.spins[: self.dense.size] = spins
        self.load()

    def run(self, step):
        self.cursor[:WORK] = 0
        works = iter(self._works)
        while True:
            before = int(self.cursor[WORK])
            if step(before + next(works, FOREVER)):
                return
            assert self.cursor[WORK] > before

    def load(self):
        point, dense = self.point, self.dense
        point.sums[:] = 0
        self.run(
            lambda stop: (
                _load(dense.rows, dense.fields, point.spins, point.slopes, self.cursor, point.sums, stop)
                or self.cursor[POSITION] == dense.size
            )
        )

    def check(self, matrix, fields, spins):
        """The point is what the definitions say of these spins."""
        size = len(spins)
        assert self.point.spins[:size].tolist() == list(spins)
        expected = obvious_slopes(matrix, fields, np.array(spins))
        twice = obvious_twice(matrix, fields, np.array(spins))
        assert self.point.slopes[:size].tolist() == expected.tolist()
        assert self.point.twice == twice
        assert not self.point.spins[size:].any()
        assert not self.point.slopes[size:].any()


def in_kernel_units(bench):
    """The matrix and fields that the kernel runs on: the same up to a factor."""
    size = bench.dense.size
    return bench.dense.rows[:, :size].astype(bench.problem.weights.dtype.kind + "8"), bench.problem.fields.astype(
        bench.problem.fields.dtype.kind + "8"
    )


@given(dense_problems(), WORKS, st.integers(0, 2**32))
@settings(max_examples=250, deadline=None)
def test_rows_slopes_and_objective_are_what_the_definitions_say(problem, works, seed):
    bench = Bench(problem, works)
    matrix, fields = in_kernel_units(bench)
    size = len(fields)
    assert (bench.dense.rows[:, size:] == 0).all()
    assert bench.dense.rows.ctypes.data % 64 == 0
    largest = np.abs(problem[0]).max(initial=0)
    if largest:
        factor = np.abs(matrix).max() / largest
        np.testing.assert_allclose(matrix, problem[0] * factor, rtol=1e-12)
        np.testing.assert_allclose(fields, problem[1] * factor, rtol=1e-12, atol=1e-12 * np.abs(matrix).max())
    for spins in np.random.default_rng(seed).choice([-1, 1], (STARTS, size)):
        bench.begin(spins)
        bench.check(matrix, fields, spins)


@given(dense_problems(), WORKS, st.integers(0, 2**32))
@settings(max_examples=250, deadline=None)
def test_flips_change_slopes_and_objective_as_loading_afresh_would(problem, works, seed):
    bench = Bench(problem, works)
    matrix, fields = in_kernel_units(bench)
    rng = np.random.default_rng(seed)
    point, dense = bench.point, bench.dense
    for spins in rng.choice([-1, 1], (STARTS, len(fields))):
        bench.begin(spins)
        chosen = np.flatnonzero(rng.random(len(fields)) < 0.3)
        if len(chosen):
            fixed = (dense.rows, point.spins, point.slopes, chosen, bench.cursor, point.sums)
            bench.run(lambda stop: _flip_all(*fixed, stop) or bench.cursor[POSITION] == len(chosen))  # noqa: B023
        spins[chosen] *= -1
        bench.check(matrix, fields, spins)


@given(
    dense_problems(),
    WORKS,
    st.integers(0, 2**64 - 1),
    st.lists(st.floats(0.0, 2.0, width=32), max_size=3),
    st.integers(1, 2),
)
@settings(max_examples=250, deadline=None)
def test_annealing_takes_the_moves_that_its_slow_twin_takes(problem, works, seed, heats, hold):
    bench = Bench(problem, works)
    matrix, fields = in_kernel_units(bench)
    strength = float(np.sqrt((matrix**2).sum(axis=1)).max(initial=0))
    temperatures = np.array([heat * strength for heat in heats], np.float32)
    state = seeded_state(seed)
    twin_state = [int(word) for word in state]
    point, dense = bench.point, bench.dense
    fixed = (dense.rows, point.spins, point.slopes, temperatures, hold, dense.is_whole, LOGS, dense.thresholds)
    for spins in np.random.default_rng(seed).choice([-1, 1], (STARTS, len(fields))):
        bench.begin(spins)
        bench.run(lambda stop: _anneal(*fixed, state, bench.cursor, point.sums, stop))
        obvious_anneal(matrix, fields, spins, temperatures, hold, twin_state, LOGS)
        bench.check(matrix, fields, spins)
        assert [int(word) for word in state] == twin_state
        assert (spins * obvious_slopes(matrix, fields, spins)).max() <= 0


@given(st.integers(1, 100), st.integers(0, 2**64 - 1), st.booleans())
@settings(max_examples=250, deadline=None)
def test_a_random_half_of_what_two_solutions_disagree_on_is_listed(size, seed, symmetric):
    state, chosen = seeded_state(seed), np.zeros(size, np.int64)
    twin_state = [int(word) for word in state]
    for one, other in np.random.default_rng(seed).choice([-1, 1], (STARTS, 2, size)).astype(np.int8):
        count = _halve(one, other, symmetric, state, chosen)
        differing = one != other
        if symmetric and 2 * np.count_nonzero(differing) > size:
            differing = ~differing
        assert chosen[:count].tolist() == [i for i in np.flatnonzero(differing) if random_word(twin_state) >> 63]


def test_thresholds_are_logarithms_of_evenly_spaced_numbers_each_once():
    assert np.sort(np.exp(LOGS[:LEVELS].astype(np.float64))) == pytest.approx(
        (np.arange(LEVELS) + 0.5) / LEVELS, rel=1e-5
    )
    assert (LOGS[LEVELS:] == LOGS[:WINDOW]).all()
    assert WINDOW >= CHUNK
    correlation = np.corrcoef(LOGS[:-1], LOGS[1:])[0, 1]
    assert abs(correlation) < 0.05


@pytest.mark.parametrize(
    ("largest", "kind"), [(0, np.int8), (127, np.int8), (128, np.int16), (32_767, np.int16), (32_768, np.int32)]
)
def test_rows_are_of_the_smallest_type_that_holds_the_weights(largest, kind):
    assert row_type(largest, True) == kind
    assert row_type(largest, False) == np.float64


def test_memory_is_what_the_arrays_take():
    for kind in (np.int64, np.float64):
        qubo = as_qubo(np.ones((100, 100), kind) - np.eye(100, dtype=kind), np.zeros(100, kind))
        dense = Dense(to_ising(qubo))
        point = Point.of(dense)
        arrays = dense.rows.nbytes + POINTS * (point.spins.nbytes + point.slopes.nbytes)
        assert memory_bytes(100, 1.0, dense.is_whole) == arrays + 16 * 100
    assert aligned((3, 64), np.int16).ctypes.data % 64 == 0

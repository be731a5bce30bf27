"""Kernels against their slow twins, bit for bit on the same random stream."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from solvers.seeding import seeded_state
from solvers.spins import (
    CROSSED,
    CURSOR_SIZE,
    LOG_TABLE,
    TWICE,
    WORK,
    _anneal,
    _cross,
    _differ,
    _load,
    _random,
    _randomize,
    _settle,
)
from tests.solvers.twins import obvious_anneal, obvious_cross, obvious_gains, obvious_objective, random_word

FOREVER = 2**62


@st.composite
def spin_problems(draw, variables_max=9):
    """A symmetric matrix with a zero diagonal, fields (or none), and spins."""
    n = draw(st.integers(1, variables_max))
    weight = st.integers(-4, 4) if draw(st.booleans()) else st.sampled_from([0, 0, 1, -1])
    upper = np.triu(np.array(draw(st.lists(weight, min_size=n * n, max_size=n * n)), int).reshape(n, n), 1)
    fields = np.array(draw(st.lists(st.integers(-3, 3), min_size=n, max_size=n)), int) * draw(st.integers(0, 1))
    return upper + upper.T, fields, random_spins(draw, n)


def random_spins(draw, n):
    return np.array(draw(st.lists(st.sampled_from([-1, 1]), min_size=n, max_size=n)), np.int8)


def csr(matrix, kind) -> tuple[Any, Any, Any]:
    rows = sparse.csr_array(matrix)
    return rows.indptr.astype(np.int64), rows.indices.astype(np.uint32), rows.data.astype(kind)


def sums_of(kind):
    return np.zeros(3, np.int64 if kind is np.int32 else np.float64)


def loaded(spins: Any, arrays: tuple[Any, Any, Any], fields: Any, kind: Any, stops: Any = ()) -> tuple[Any, Any]:
    """(gains, twice the objective), computed in calls that stop after so much work each."""
    gains, cursor, sums = np.zeros(len(spins), kind), np.zeros(CURSOR_SIZE, np.int64), sums_of(kind)
    for stop in (*stops, FOREVER):
        _load(spins, gains, *arrays, fields.astype(kind), cursor, sums, min(int(cursor[WORK]) + stop, FOREVER))
    return gains, sums[TWICE].item()


@given(spin_problems(), st.sampled_from([np.int32, np.float64]), st.integers(0, 2**64 - 1), st.integers(1, 12))
@settings(max_examples=400, deadline=None)
def test_the_annealing_kernel_is_its_twin(problem, kind, seed, sweeps):
    matrix, fields, spins = problem
    arrays = csr(matrix, kind)
    temperatures = np.linspace(3.0, 0.0, sweeps).astype(np.float32)
    state, cursor = seeded_state(seed), np.zeros(CURSOR_SIZE, np.int64)
    twin_spins, twin_state = spins.astype(int), [int(word) for word in state]
    gains, _ = loaded(spins, arrays, fields, kind)
    _anneal(spins, gains, *arrays, LOG_TABLE, state, temperatures, cursor, FOREVER)
    work = obvious_anneal(matrix, fields, twin_spins, temperatures, twin_state, LOG_TABLE)
    assert spins.tolist() == twin_spins.tolist()
    assert [int(word) for word in state] == twin_state
    assert cursor[WORK] == work
    assert gains.tolist() == obvious_gains(matrix, fields, twin_spins).tolist()


@given(spin_problems(), st.sampled_from([np.int32, np.float64]), st.integers(1, 30))
@settings(max_examples=150, deadline=None)
def test_settling_flips_what_gains_in_order_until_nothing_does(problem, kind, cut):
    matrix, fields, spins = problem
    twin, cursor, work, has_flipped = spins.astype(int), np.zeros(CURSOR_SIZE, np.int64), 0, True
    while has_flipped:
        has_flipped = False
        for i in range(len(twin)):
            work += 1 + int(np.count_nonzero(matrix[i]))
            if obvious_gains(matrix, fields, twin)[i] > 0:
                twin[i] *= -1
                has_flipped = True
    while not _settle(spins, *csr(matrix, kind), fields.astype(kind), cursor, int(cursor[WORK]) + cut):
        pass
    assert spins.tolist() == twin.tolist()
    assert cursor[WORK] == work


STOPS = st.lists(st.integers(1, 40), max_size=30)


@given(spin_problems(), st.sampled_from([np.int32, np.float64]), STOPS)
@settings(max_examples=200, deadline=None)
def test_loading_gives_the_gains_and_twice_the_objective(problem, kind, stops):
    matrix, fields, spins = problem
    gains, twice = loaded(spins, csr(matrix, kind), fields, kind, stops)
    wide = spins.astype(int)
    assert gains.tolist() == obvious_gains(matrix, fields, wide).tolist()
    assert twice == 2 * obvious_objective(matrix, fields, wide)


@given(spin_problems(variables_max=14), st.sampled_from([np.int32, np.float64]), STOPS, st.data())
@settings(max_examples=400, deadline=None)
def test_the_crossover_is_its_twin_and_never_loses(problem, kind, stops, data):
    matrix, fields, best = problem
    other = random_spins(data.draw, len(best))
    child, arrays = best.copy(), csr(matrix, kind)
    mark, stack = np.zeros(len(best), np.uint8), np.zeros(len(best), np.int32)
    cursor, sums = np.zeros(CURSOR_SIZE, np.int64), sums_of(kind)
    _differ(child, other, not fields.any(), mark)
    for stop in (*stops, FOREVER):
        until = min(int(cursor[WORK]) + stop, FOREVER)
        _cross(child, *arrays, fields.astype(kind), mark, stack, cursor, sums, until)
    wide_best, wide_child = best.astype(int), child.astype(int)
    assert child.tolist() == obvious_cross(matrix, fields, wide_best, other.astype(int)).tolist()
    before, after = (obvious_objective(matrix, fields, spins) for spins in (wide_best, wide_child))
    assert after - before == 2 * sums[CROSSED] >= 0


@given(spin_problems(), st.integers(0, 2**64 - 1), STOPS)
@settings(max_examples=100, deadline=None)
def test_where_the_kernel_is_cut_changes_nothing(problem, seed, stops):
    matrix, fields, spins = problem
    arrays, kind = csr(matrix, np.int32), np.int32
    temperatures = np.linspace(3.0, 0.5, 10).astype(np.float32)

    def run(stops):
        own, state, cursor = spins.copy(), seeded_state(seed), np.zeros(CURSOR_SIZE, np.int64)
        gains, _ = loaded(own, arrays, fields, kind)
        for stop in [*stops, FOREVER]:
            _anneal(own, gains, *arrays, LOG_TABLE, state, temperatures, cursor, min(int(cursor[WORK]) + stop, FOREVER))
        return own.tobytes(), gains.tobytes(), state.tobytes(), cursor.tobytes()

    assert run(stops) == run([])


@given(st.integers(0, 2**64 - 1), st.integers(0, 100))
def test_the_random_stream_is_its_twin(seed, stream):
    state = seeded_state(seed, stream)
    twin = [int(word) for word in state]
    words = [int(_random(state)) for _ in range(20)]
    assert words == [random_word(twin) for _ in range(20)]


def test_streams_of_one_seed_differ_and_random_spins_are_balanced():
    spins = [np.zeros(10_000, np.int8) for _ in range(2)]
    for stream, own in enumerate(spins):
        _randomize(own, seeded_state(1, stream))
        assert abs(int(own.sum())) < 500
    assert abs(int((spins[0] == spins[1]).sum()) - 5_000) < 250

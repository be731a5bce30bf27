"""Every kernel on two thousand random problems, against the definitions: what no list of examples has thought of.

Hypothesis draws seeds, and numpy fifty problems of each, which takes a twentieth of the time that fifty examples would. A failure names
its seed and case; `CHECKS[name](rng_of(seed, case))` runs it alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from solvers.bounds import order_of, without_first
from solvers.enumeration import best_of_all, spectrum, twice_objective
from solvers.ising import Ising
from solvers.matrices import inverse
from solvers.quantum.states import _expectation, _join_neighbors, _mix, _spread_evenly, _turn, _turn_phases
from solvers.reduction import reduce
from solvers.search import schedule
from solvers.seeding import seeded_state
from solvers.sparse.bonds import Bonds, lay_out
from solvers.sparse.counters import thresholds_of
from solvers.sparse.crossing import _cross_lanes
from solvers.sparse.lanes import Lanes
from solvers.sparse.words import LANES, POOL_ROWS, POOL_WORDS, _anneal_words, _put, _random_words, _renew, _spread
from solvers.spins import (
    CROSSED,
    CURSOR_SIZE,
    LOG_TABLE,
    SEEN,
    SWEEP,
    TWICE,
    WORK,
    _anneal,
    _cross,
    _differ,
    _load,
    _settle,
)
from solvers.tabu import BEST, _search
from solvers.tabu import CURSOR_SIZE as TABU_CURSOR_SIZE
from solvers.tabu_rows import TabuRows
from solvers.tempering import Ensemble, _descend_fields, _feel
from solvers.vectors import LEVEL_SHIFT, LOGS
from tests.solvers.test_elimination import agree
from tests.solvers.test_spins import csr
from tests.solvers.test_tabu import obvious_search
from tests.solvers.test_tempering import obvious_tempering
from tests.solvers.twins import obvious_anneal, obvious_cross, obvious_gains, obvious_objective, random_word

SEEDS, CASES = 40, 50
FOREVER = 2**62
VARIABLES_MAX = 7
EIGHTH = 0.125
"""Floats are eighths: their sums are exact, so that a kernel and its twin agree to the last bit."""


@dataclass
class Case:
    """A random problem in spins, whole or not, with the arrays that kernels take."""

    matrix: Any
    fields: Any
    kind: Any
    rng: np.random.Generator

    @property
    def size(self) -> int:
        return len(self.fields)

    @property
    def arrays(self) -> tuple[Any, Any, Any]:
        return csr(self.matrix, self.kind)

    @property
    def ising(self) -> Ising:
        return Ising(*self.arrays, self.fields.astype(self.kind), 1)

    def spins(self) -> Any:
        return self.rng.choice(np.array([-1, 1], np.int8), self.size)

    def stop(self, cursor: Any) -> int:
        """Where a call leaves: soon, or never."""
        return int(cursor[WORK]) + int(self.rng.choice([1, 2, 5, 20, 10**9]))

    def sums(self) -> Any:
        return np.zeros(3, np.int64 if self.kind is np.int32 else np.float64)


def rng_of(seed: int, case: int) -> np.random.Generator:
    return np.random.default_rng([seed, case])


def case_of(rng: np.random.Generator, variables_max: int = VARIABLES_MAX) -> Case:
    size = int(rng.integers(1, variables_max + 1))
    largest = int(rng.choice([1, 2, 9, 60]))
    half = rng.integers(-largest, largest + 1, (size, size)) * (rng.random((size, size)) < rng.random())
    upper = np.triu(half, 1)
    fields = rng.integers(-largest, largest + 1, size) * int(rng.integers(0, 2))
    if rng.random() < 0.5:
        return Case(upper + upper.T, fields, np.int32, rng)
    return Case((upper + upper.T) * EIGHTH, fields * EIGHTH, np.float64, rng)


def every(size: int) -> Any:
    """All assignments as rows of spins; bit i of a row's number is spin i."""
    return 2 * ((np.arange(2**size)[:, None] >> np.arange(size)) & 1) - 1


def objectives(case: Case) -> Any:
    spins = every(case.size)
    return ((spins @ case.matrix) * spins).sum(axis=1) / 2 + spins @ case.fields


# ---- one case of each kernel


def check_load(rng: np.random.Generator) -> None:
    case = case_of(rng)
    spins, gains, sums, cursor = (
        case.spins(),
        np.zeros(case.size, case.kind),
        case.sums(),
        np.zeros(CURSOR_SIZE, np.int64),
    )
    while cursor[1] < case.size:
        _load(spins, gains, *case.arrays, case.fields.astype(case.kind), cursor, sums, case.stop(cursor))
    wide = spins.astype(int)
    assert gains.tolist() == obvious_gains(case.matrix, case.fields, wide).tolist()
    assert sums[TWICE] == 2 * obvious_objective(case.matrix, case.fields, wide)


def check_anneal(rng: np.random.Generator) -> None:
    case = case_of(rng)
    spins = case.spins()
    gains, twin = obvious_gains(case.matrix, case.fields, spins.astype(int)).astype(case.kind), spins.astype(int)
    temperatures = np.linspace(rng.random() * 9, 0.0, int(rng.integers(1, 5))).astype(np.float32)
    state, cursor = seeded_state(int(rng.integers(2**63))), np.zeros(CURSOR_SIZE, np.int64)
    words = [int(word) for word in state]
    while cursor[SWEEP] < len(temperatures):
        _anneal(spins, gains, *case.arrays, LOG_TABLE, state, temperatures, cursor, case.stop(cursor))
    work = obvious_anneal(case.matrix, case.fields, twin, temperatures, words, LOG_TABLE)
    assert spins.tolist() == twin.tolist()
    assert ([int(word) for word in state], cursor[WORK]) == (words, work)


def check_settle(rng: np.random.Generator) -> None:
    case = case_of(rng)
    spins, cursor = case.spins(), np.zeros(CURSOR_SIZE, np.int64)
    before = obvious_objective(case.matrix, case.fields, spins.astype(int))
    other = spins.copy()
    while not _settle(spins, *case.arrays, case.fields.astype(case.kind), cursor, case.stop(cursor)):
        pass
    assert (obvious_gains(case.matrix, case.fields, spins.astype(int)) <= 0).all()
    assert obvious_objective(case.matrix, case.fields, spins.astype(int)) >= before
    _descend_fields(other, *case.arrays, case.fields.astype(case.kind))  # ten sweeps, enough for so few spins
    assert other.tolist() == spins.tolist()


def check_feel(rng: np.random.Generator) -> None:
    case = case_of(rng)
    spins, felt = case.spins(), np.zeros(case.size)
    objective = _feel(spins, felt, *case.arrays, case.fields.astype(np.float64))
    assert felt.tolist() == (case.matrix @ spins + case.fields).tolist()
    assert objective == obvious_objective(case.matrix, case.fields, spins.astype(int))


def check_cross(rng: np.random.Generator) -> None:
    case = case_of(rng, 9)
    best, other, sums, cursor = case.spins(), case.spins(), case.sums(), np.zeros(CURSOR_SIZE, np.int64)
    before, expected = best.astype(int), obvious_cross(case.matrix, case.fields, best.astype(int), other.astype(int))
    mark, stack = np.zeros(case.size, np.uint8), np.zeros(case.size, np.int32)
    _differ(best, other, not case.fields.any(), mark)
    while cursor[1] < case.size:
        _cross(best, *case.arrays, case.fields.astype(case.kind), mark, stack, cursor, sums, case.stop(cursor))
    assert best.tolist() == expected.tolist()
    gained = obvious_objective(case.matrix, case.fields, expected) - obvious_objective(case.matrix, case.fields, before)
    assert 2 * sums[CROSSED] == gained


def check_cross_lanes(rng: np.random.Generator) -> None:
    case = case_of(rng, 9)
    problem, size = case.ising, case.size
    words, best = np.zeros(size, np.uint64), case.spins()
    order, expected = rng.permutation(size).astype(np.int32), best.astype(int)
    _random_words(words, seeded_state(int(rng.integers(2**63))))
    replicas = [case.spins() for _ in range(3)]
    for lane, replica in enumerate(replicas):
        _put(replica[order], 20 + lane, words)
        expected = obvious_cross(case.matrix, case.fields, expected, replica.astype(int))
    mark, stack, cursor, sums = (
        np.zeros(size, np.uint8),
        np.zeros(size, np.int32),
        np.zeros(CURSOR_SIZE, np.int64),
        case.sums(),
    )
    cursor[SEEN] = -1
    matrix = (problem.indptr, problem.indices, problem.weights, problem.fields, problem.is_symmetric)
    while cursor[SWEEP] < 3:
        _cross_lanes(best, words, order, 20, 23, *matrix, mark, stack, cursor, sums, case.stop(cursor))
    assert best.tolist() == expected.tolist()


def check_words(rng: np.random.Generator) -> None:
    size = int(rng.integers(1, 40))
    words, spins, lane = (
        np.zeros(size, np.uint64),
        rng.choice(np.array([-1, 1], np.int8), (2, size)),
        int(rng.integers(LANES)),
    )
    _spread(spins[0], words)
    _put(spins[1], lane, words)
    listed = lanes_of(words)
    assert (listed[lane] == spins[1]).all()
    assert (np.delete(listed, lane, axis=0) == spins[0]).all()


def check_bonds(rng: np.random.Generator) -> None:
    case = case_of(rng, 12)
    if case.kind is not np.int32 or (np.abs(case.matrix).sum(axis=1) + np.abs(case.fields)).max() > 127:
        return
    bonds, size = lay_out(case.ising), case.size
    rows = np.repeat(np.arange(size), np.diff(bonds.indptr))
    places = np.arange(len(rows))
    weights = np.where(places < bonds.pairs[rows], 1, np.where(places < bonds.fours[rows], 2, 4))
    columns = np.append(bonds.order, size)[bonds.near]
    found = np.zeros((size, size + 1), np.int64)
    np.add.at(found, (bonds.order[rows], columns), np.where(bonds.signs == 0, -1, 1) * weights)
    assert (found[:, :size] == case.matrix).all()
    assert (found[:, size] == case.fields).all()


def check_sweep(rng: np.random.Generator) -> None:
    case = case_of(rng, 5)
    if case.kind is not np.int32 or (np.abs(case.matrix).sum(axis=1) + np.abs(case.fields)).max() > 127:
        return
    bonds, state = lay_out(case.ising), seeded_state(int(rng.integers(2**63)))
    words, pools = np.zeros(case.size + 1, np.uint64), np.zeros((POOL_ROWS, POOL_WORDS), np.uint64)
    _random_words(words[:-1], state)
    thresholds = thresholds_of(rng.random() * 20 + 0.3, 0.3, 1)
    _renew(pools, 0, POOL_WORDS, thresholds[0], state)
    spins, drawing = np.empty((LANES, case.size), np.int64), [int(word) for word in state]
    spins[:, bonds.order] = lanes_of(words[:-1])
    obvious_lanes(case, bonds, spins, pools, drawing)
    cursor, layout = np.zeros(CURSOR_SIZE, np.int64), (bonds.near, bonds.signs, bonds.indptr, bonds.pairs, bonds.fours)
    while cursor[SWEEP] < 1:
        _anneal_words(words, bonds.is_grid, *layout, 1, thresholds, pools, 0, state, cursor, case.stop(cursor))
    assert (lanes_of(words[:-1]) == spins[:, bonds.order]).all()
    assert [int(word) for word in state] == drawing


def check_vectors(rng: np.random.Generator) -> None:
    """What vectors keep around each spin is added up anew here: of whole numbers and eighths single precision loses nothing."""
    case = case_of(rng)
    state, hottest = seeded_state(int(rng.integers(2**63))), rng.random() * 20 + 0.1
    words = np.zeros(case.size + 1, np.uint64)
    _random_words(words[:-1], state)
    spins, drawing = lanes_of(words[:-1]), [int(word) for word in state]
    lanes, cursor = Lanes(case.ising, state), np.zeros(CURSOR_SIZE, np.int64)
    lanes.prepare(hottest, hottest / 4, 2, cursor)
    for temperature in schedule(hottest, hottest / 4, 2):
        for i in range(case.size):
            place = random_word(drawing) >> LEVEL_SHIFT
            gains = -spins[:, i] * (spins @ case.matrix[i] + case.fields[i])
            spins[:, i] *= np.where(gains > temperature * LOGS[place : place + LANES], -1, 1)
    while not lanes.anneal(words, cursor, case.stop(cursor)):
        pass
    assert (lanes_of(words[:-1]) == spins).all()
    assert [int(word) for word in state] == drawing


def lanes_of(words: Any) -> Any:
    """The spins of each replica, a row each."""
    return np.where((words[None, :] >> np.arange(LANES, dtype=np.uint64)[:, None]) & np.uint64(1), -1, 1)


def obvious_lanes(case: Case, bonds: Bonds, spins: Any, pools: Any, drawing: list[int]) -> None:
    """`obvious_sweep`, all replicas at once."""
    for spin in bonds.order:
        drawn = random_word(drawing)

        def says(row: int, shift: int, drawn: int = drawn) -> Any:
            return (pools[row, drawn >> shift & (POOL_WORDS - 1)] >> np.arange(LANES, dtype=np.uint64)) & np.uint64(
                1
            ) > 0

        loss = spins[:, spin] * (spins @ case.matrix[spin] + case.fields[spin])
        if bonds.is_grid:
            is_taken = np.where(loss == 2, says(1, 12), says(2, 24))
        else:
            rest = (loss - 2 + loss % 2) // 2
            is_taken = np.where(loss % 2 == 0, says(1, 54), says(0, 54)) & (rest < 16)
            for row, shift in ((1, 12), (2, 22), (3, 32), (4, 42)):
                is_taken &= says(row, shift) | (rest >> (row - 1) & 1 == 0)
        spins[(loss <= 0) | is_taken, spin] *= -1


def check_tabu(rng: np.random.Generator) -> None:
    case = case_of(rng)
    spins = case.spins()
    twin, steps, tenure = spins.astype(int), int(rng.integers(0, 9)), int(rng.integers(0, 4))
    gains = obvious_gains(case.matrix, case.fields, twin).astype(case.kind)
    state, cursor = seeded_state(int(rng.integers(2**63))), np.zeros(TABU_CURSOR_SIZE, np.int64)
    words, found, free_at, sums = (
        [int(word) for word in state],
        spins.copy(),
        np.zeros(case.size, np.int64),
        case.sums(),
    )
    sums[[TWICE, BEST]] = 2 * obvious_objective(case.matrix, case.fields, twin)
    while cursor[-1] < steps:
        _search(spins, gains, *case.arrays, free_at, found, state, cursor, sums, steps, tenure, case.stop(cursor))
    best = obvious_search(case.matrix, case.fields, twin, words, steps, tenure)
    assert (spins.tolist(), found.tolist()) == (twin.tolist(), best.tolist())


def check_temper(rng: np.random.Generator) -> None:
    case = case_of(rng, 4)
    rungs = int(rng.integers(1, 4))
    betas = np.linspace(0.01, 0.4, rungs)
    ensemble = Ensemble(case.ising, betas, int(rng.integers(2**63)))
    spins, order, state = ensemble.spins.astype(np.int64), list(range(rungs)), [int(word) for word in ensemble._state]
    obvious_tempering(case.matrix, case.fields, spins, order, betas, state, 2)
    ensemble.begin()
    while not ensemble.sweep(2, case.stop([0, 0, 0, 0, ensemble.work]), np.zeros(0)):
        pass
    assert (ensemble.spins.tolist(), ensemble.rungs.tolist()) == (spins.tolist(), order)
    assert ensemble._state.tolist() == state


def check_enumeration(rng: np.random.Generator) -> None:
    case = case_of(rng)
    worth = objectives(case)
    assert spectrum(case.ising).tolist() == worth.tolist()
    spins, twice = best_of_all(case.ising)
    assert twice == 2 * worth.max() == twice_objective(case.ising, spins)


def check_reduction(rng: np.random.Generator) -> None:
    case = case_of(rng, 9)
    assert agree(case.ising)
    reduced = reduce(case.ising)
    best, _ = best_of_all(reduced.problem)
    lifted = reduced.lift(best).astype(int)
    assert obvious_objective(case.matrix, case.fields, lifted) == pytest.approx(objectives(case).max(), abs=1e-9)


def check_bounds(rng: np.random.Generator) -> None:
    size = int(rng.integers(1, 9))
    half = np.triu(rng.normal(size=(size, size)), 1)
    matrix = np.diag(np.abs(half + half.T).sum(axis=1) + 0.5) - half - half.T
    inverted = inverse(matrix)
    assert inverted is not None
    np.testing.assert_allclose(inverted @ matrix, np.eye(size), atol=1e-9)
    if size > 1:
        np.testing.assert_allclose(without_first(inverted) @ matrix[1:, 1:], np.eye(size - 1), atol=1e-9)
    order = order_of(inverted)
    assert sorted(order.tolist()) == list(range(size))
    assert order[0] == np.diag(inverted).argmin()


def check_tabu_rows(rng: np.random.Generator) -> None:
    case = case_of(rng)
    couplings, fields = case.matrix.astype(float), case.fields.astype(float)
    starts = np.array([case.spins() for _ in range(3)], float)
    rows = TabuRows(couplings, fields, starts)
    rows.run(int(rng.integers(0, 20)))
    for start, best, worth in zip(starts, rows.bests, rows.best_objectives, strict=True):
        assert worth == obvious_objective(couplings, fields, best) >= obvious_objective(couplings, fields, start)


def check_circuit(rng: np.random.Generator) -> None:
    case = case_of(rng, 5)
    worth, (real, imaginary) = objectives(case), np.zeros((2, 2**case.size))
    _spread_evenly(real, imaginary)
    state = np.full([2] * case.size, 2.0 ** (-case.size / 2), complex)
    for phase, mix in product(rng.normal(size=2), rng.normal(size=1)):
        _turn_phases(real, imaginary, worth, phase)
        _mix(real, imaginary, mix, 0, case.size)
        state = state * np.exp(-1j * phase * worth).reshape(state.shape)
        for axis in range(case.size):
            state = np.cos(mix) * state - 1j * np.sin(mix) * np.flip(state, axis)
    flat, largest = state.reshape(-1), 1.0 + np.abs(worth).max()
    np.testing.assert_allclose(real + 1j * imaginary, flat, atol=1e-9 * largest)
    assert _expectation(real, imaginary, worth) == pytest.approx((np.abs(flat) ** 2) @ worth, abs=1e-9 * largest**2)


def check_ansatz(rng: np.random.Generator) -> None:
    size, angle = int(rng.integers(1, 8)), float(rng.normal())
    qubit, state = int(rng.integers(size)), rng.normal(size=2**size)
    real = state.copy()
    _turn(real, angle, qubit)
    pairs = np.moveaxis(state.reshape([2] * size), size - 1 - qubit, 0)
    turned = np.array([[np.cos(angle / 2), -np.sin(angle / 2)], [np.sin(angle / 2), np.cos(angle / 2)]])
    expected = np.moveaxis(np.tensordot(turned, pairs, 1), 0, size - 1 - qubit).reshape(-1)
    np.testing.assert_allclose(real, expected, atol=1e-12)
    _join_neighbors(real)
    up = every(size) > 0
    signs = (-1.0) ** (up[:, 1:] & up[:, :-1]).sum(axis=1)
    np.testing.assert_allclose(real, signs * expected, atol=1e-12)


CHECKS: dict[str, Callable[[np.random.Generator], None]] = {
    name.removeprefix("check_"): check for name, check in globals().items() if name.startswith("check_")
}


@pytest.mark.parametrize("name", CHECKS)
@given(seed=st.integers(0, 2**63))
@settings(max_examples=SEEDS, deadline=None)
def test_a_kernel_is_its_definition_on_thousands_of_problems(name: str, seed: int) -> None:
    for case in range(CASES):
        try:
            CHECKS[name](rng_of(seed, case))
        except Exception:
            note(f"CHECKS[{name!r}](rng_of({seed}, {case}))")
            raise

"""Sixty-four replicas in words, and the kernels applied to them: each goes on from the cursor until a count is reached."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.ising import Ising
from solvers.sparse.bonds import lay_out
from solvers.sparse.crossing import _cross_lanes
from solvers.sparse.words import (
    POOL_ROWS,
    POOL_WORDS,
    PROBABILITY_BITS,
    RENEWED_STEPS,
    RENEWED_WORDS_MAX,
    RENEWED_WORDS_MIN,
    _anneal_words,
    _put,
    _random_words,
    _renew,
    _spread,
)
from solvers.spins import CROSSED, CURSOR_SIZE, POSITION, SEEN, SWEEP, TWICE, WORK, _load, _settle

Array = NDArray[Any]
Spins = NDArray[np.int8]

LEVELS_MAX = 1024  # temperatures of one anneal: more of them change nothing


class Replicas:
    """The arrays of a run. `begin` comes before each piece of work; a piece is called again until it says that it is done."""

    def __init__(self, problem: Ising, state: NDArray[np.uint64]) -> None:
        size = len(problem.fields)
        self.bonds = lay_out(problem)
        self.cursor = np.zeros(CURSOR_SIZE, np.int64)
        self.best = np.ones(size, np.int8)
        self.best_twice = 0
        self._matrix = (problem.indptr, problem.indices, problem.weights, problem.fields)
        self._symmetric = problem.is_symmetric
        self._state = state
        self._words = np.zeros(size + 1, np.uint64)  # the last is the spin that fields are couplings to
        self._pools = np.zeros((POOL_ROWS, POOL_WORDS), np.uint64)
        self._no_pools = np.zeros((POOL_ROWS, POOL_WORDS), np.uint64)
        self._row = np.empty(size, np.int8)
        self._renewed = min(RENEWED_WORDS_MAX, max(RENEWED_WORDS_MIN, size // 64))
        self._sums = np.zeros(3, np.int64)
        self._mark = np.zeros(size, np.uint8)
        self._stack = np.zeros(size, np.int32)

    @property
    def steps(self) -> int:
        """Words visited and neighbors' words looked at so far."""
        return int(self.cursor[WORK])

    @property
    def _spins(self) -> Array:
        return self._words[:-1]

    def begin(self) -> None:
        self.cursor[:WORK] = 0
        self.cursor[SEEN] = -1

    def randomize(self) -> None:
        _random_words(self._spins, self._state)

    def spread(self, spins: Spins) -> None:
        """All replicas begin from these."""
        np.take(spins, self.bonds.order, out=self._row)
        _spread(self._row, self._words)

    def put(self, spins: Spins, lane: int) -> None:
        """One replica takes these spins."""
        np.take(spins, self.bonds.order, out=self._row)
        _put(self._row, lane, self._words)

    def heat(self, thresholds: NDArray[np.int64]) -> None:
        """Fills the pools for the first of these."""
        _renew(self._pools, 0, POOL_WORDS, thresholds[0], self._state)
        self.cursor[WORK] += POOL_WORDS * RENEWED_STEPS

    def anneal(self, sweeps: int, thresholds: NDArray[np.int64], work_stop: int) -> bool:
        """So many sweeps, cooler and cooler; true when done."""
        return self._sweep(sweeps, thresholds, self._pools, self._renewed, work_stop)

    def descend(self, sweeps: int, work_stop: int) -> bool:
        """Sweeps that never lose; true when done."""
        return self._sweep(sweeps, NOTHING, self._no_pools, 0, work_stop)

    def _sweep(self, sweeps: int, thresholds: Array, pools: Array, renewed: int, work_stop: int) -> bool:
        bonds = self.bonds
        layout = (bonds.is_grid, bonds.near, bonds.signs, bonds.indptr, bonds.pairs, bonds.fours)
        _anneal_words(self._words, *layout, sweeps, thresholds, pools, renewed, self._state, self.cursor, work_stop)
        return bool(self.cursor[SWEEP] == sweeps)

    def settle(self, work_stop: int) -> bool:
        """`best` goes down to a local optimum; true when done."""
        if self.cursor[SEEN] < 0:
            self.cursor[SEEN] = 0
        return bool(_settle(self.best, *self._matrix, self.cursor, work_stop))

    def load(self, work_stop: int) -> bool:
        """Twice the objective of `best`, computed afresh; true when done."""
        if self.cursor[POSITION] == 0:
            self._sums[TWICE] = 0
        gains = np.empty(len(self.best), np.int32)
        _load(self.best, gains, *self._matrix, self.cursor, self._sums, work_stop)
        self.best_twice = int(self._sums[TWICE])
        return bool(self.cursor[POSITION] == len(self.best))

    def cross(self, first: int, end: int, work_stop: int) -> bool:
        """`best` is improved by the better parts of these replicas, one after the other; true when done."""
        self._sums[CROSSED] = 0
        lanes = (self.best, self._spins, self.bonds.order, first, end)
        arrays = (self._mark, self._stack, self.cursor, self._sums)
        _cross_lanes(*lanes, *self._matrix, self._symmetric, *arrays, work_stop)
        self.best_twice += 4 * int(self._sums[CROSSED])
        return bool(self.cursor[SWEEP] == end - first)


def thresholds_of(hottest: float, coldest: float, sweeps: int) -> NDArray[np.int64]:
    """Of `exp(-2^k/2T)` in units of 2^-20, for temperatures that fall linearly; one row for each, at most 1,024."""
    levels = min(sweeps, LEVELS_MAX)
    rows = np.zeros((levels, POOL_ROWS), np.int64)
    for level in range(levels):
        temperature = hottest + (coldest - hottest) * level / max(1, levels - 1)
        chance = math.exp(-1 / temperature)
        for row in range(POOL_ROWS):
            rows[level, row] = min((1 << PROBABILITY_BITS) - 1, int(chance * (1 << PROBABILITY_BITS)))
            chance *= chance
    return rows


NOTHING = np.zeros((1, POOL_ROWS), np.int64)

"""Sweeps of 64 replicas whose spins are bits of words, by adders of words: see `solvers.sparse.words`."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.ising import Ising
from solvers.sparse.bonds import lay_out
from solvers.sparse.words import (
    POOL_ROWS,
    POOL_WORDS,
    PROBABILITY_BITS,
    RENEWED_STEPS,
    RENEWED_WORDS_MAX,
    RENEWED_WORDS_MIN,
    _anneal_words,
    _renew,
)
from solvers.spins import SWEEP, WORK

Array = NDArray[Any]

LEVELS_MAX = 1024  # temperatures of one anneal: more of them change nothing
DESCENT_SWEEPS = 3  # that never lose, after each anneal


class Counters:
    """For whole weights that add up to at most 127 around each spin. The words hold one spin more, to which fields are couplings."""

    def __init__(self, problem: Ising, state: NDArray[np.uint64]) -> None:
        self._bonds = lay_out(problem)
        self.order = self._bonds.order
        self._state = state
        self._pools = np.zeros((POOL_ROWS, POOL_WORDS), np.uint64)
        self._no_pools = np.zeros((POOL_ROWS, POOL_WORDS), np.uint64)
        self._renewed = min(RENEWED_WORDS_MAX, max(RENEWED_WORDS_MIN, len(problem.fields) // 64))
        self._sweeps = 0
        self._thresholds = NOTHING

    def prepare(self, hottest: float, coldest: float, sweeps: int, cursor: Array) -> None:
        """Fills the pools for the first temperature."""
        self._sweeps = sweeps
        self._thresholds = thresholds_of(hottest, coldest, sweeps)
        _renew(self._pools, 0, POOL_WORDS, self._thresholds[0], self._state)
        cursor[WORK] += POOL_WORDS * RENEWED_STEPS

    def anneal(self, words: Array, cursor: Array, work_stop: int) -> bool:
        return self._sweep(words, self._sweeps, self._thresholds, self._pools, self._renewed, cursor, work_stop)

    def descend(self, words: Array, cursor: Array, work_stop: int) -> bool:
        return self._sweep(words, DESCENT_SWEEPS, NOTHING, self._no_pools, 0, cursor, work_stop)

    def _sweep(
        self,
        words: Array,
        sweeps: int,
        thresholds: Array,
        pools: Array,
        renewed: int,
        cursor: Array,
        work_stop: int,
    ) -> bool:
        bonds = self._bonds
        layout = (bonds.is_grid, bonds.near, bonds.signs, bonds.indptr, bonds.pairs, bonds.fours)
        _anneal_words(words, *layout, sweeps, thresholds, pools, renewed, self._state, cursor, work_stop)
        return bool(cursor[SWEEP] == sweeps)


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

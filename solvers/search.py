"""What a run of annealing works on: its arrays, the kernels applied to them, and temperatures found in the problem.

Temperatures come from the fields: the hottest is half the field that a spin's couplings would make at random,
`sqrt(Σ_j J_ij²)` (in a mean field, order sets in at that value), the coldest a fraction of the small couplings, below
which nothing moves any more.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solvers.ising import Ising
from solvers.qubo import row_sums
from solvers.spins import LOG_TABLE, WORK, _anneal, _cross, _load

CURVED_RATIO = 64.0  # hottest over coldest, above which the temperature falls geometrically and not linearly


@dataclass(frozen=True)
class AnnealingOptions:
    """All as fractions of what is measured in the problem; nothing here depends on its size or name."""

    hottest: float = 0.5  # of the larger fields (their 90th percentile)
    coldest_field: float = 0.03  # of the median field: right for dense problems, whose single couplings are tiny
    coldest_coupling: float = 0.2  # of the smaller couplings (their 10th percentile): right for sparse ones
    reheat_low: float = 0.35  # of the hottest temperature
    reheat_high: float = 0.9
    sweeps_first: int = 32
    reheats: int = 32


class Search:
    """The arrays of a run, and the kernels applied to them."""

    def __init__(self, ising: Ising, state: NDArray[np.uint64], cursor: NDArray[np.int64]) -> None:
        size = len(ising.fields)
        self._matrix = (ising.indptr, ising.indices, ising.weights)
        self._fields = ising.fields
        self._symmetric = ising.is_symmetric
        self._state = state
        self._cursor = cursor
        self._gains = np.zeros(size, ising.fields.dtype)
        self._mark = np.zeros(size, np.uint8)
        self._stack = np.zeros(size, np.int32)
        self._pass = size + len(ising.indices)  # the work of looking at everything once
        self._best_twice: int | float = -math.inf
        self.spins = np.ones(size, np.int8)
        self.best = np.ones(size, np.int8)

    def load(self) -> int | float:
        self._cursor[WORK] += self._pass
        twice: int | float = _load(self.spins, self._gains, *self._matrix, self._fields)
        return twice

    def anneal(self, temperatures: NDArray[np.float32], work_stop: int) -> None:
        _anneal(self.spins, self._gains, *self._matrix, LOG_TABLE, self._state, temperatures, self._cursor, work_stop)

    def can_gain(self) -> bool:
        return bool(self._gains.max() > 0)

    def keep_better(self) -> bool:
        """The better of spins and best, improved by the other's better parts, becomes the best; true if that gained."""
        before = self._best_twice
        found = self.load()
        if found > before:
            self.spins, self.best = self.best, self.spins
            self._best_twice = found
        if before > -math.inf:
            self._cursor[WORK] += self._pass
            cross = _cross(self.best, self.spins, *self._matrix, self._fields, self._symmetric, self._mark, self._stack)
            self._best_twice += 4 * cross
        return self._best_twice > before


def temperature_range(ising: Ising, options: AnnealingOptions) -> tuple[float, float]:
    """The hottest and the coldest temperature, in the units of a gain."""
    strengths = np.sqrt(row_sums(ising.indptr, ising.weights.astype(np.float64) ** 2))
    strengths = strengths[strengths > 0]
    if len(strengths) == 0:
        return 0.0, 0.0  # no couplings: each spin follows its field
    couplings = np.abs(ising.weights[ising.weights != 0]).astype(np.float64)
    coldest = max(
        options.coldest_field * float(np.quantile(strengths, 0.5)),
        options.coldest_coupling * float(np.quantile(couplings, 0.1)),
    )
    return max(options.hottest * float(np.quantile(strengths, 0.9)), 2 * coldest), coldest


def schedule(hottest: float, coldest: float, sweeps: int) -> NDArray[np.float32]:
    """Temperatures that fall linearly, or geometrically where they span orders of magnitude."""
    if coldest > 0 and hottest > CURVED_RATIO * coldest:
        ratio = math.log(coldest / hottest)
        steps = max(1, sweeps - 1)
        return np.array([hottest * math.exp(ratio * step / steps) for step in range(sweeps)], np.float32)
    return np.linspace(hottest, coldest, sweeps).astype(np.float32)

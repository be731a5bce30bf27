"""What a run of annealing works on: its arrays, the kernels applied to them, and temperatures found in the problem.

Temperatures come from the fields: the hottest is half the field that a spin's couplings would make at random,
`sqrt(Σ_j J_ij²)` (in a mean field, order sets in at that value), the coldest a fraction of the small couplings, below
which nothing moves any more.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solvers.csr import row_sums
from solvers.ising import Ising
from solvers.spins import CROSSED, LOG_TABLE, POSITION, SWEEP, TWICE, WORK, _anneal, _cross, _differ, _load, _settle

SAMPLE = 1_000_000  # couplings that are enough to know their quantiles
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
    """The arrays of a run, and the kernels applied to them.

    `load`, `anneal` and `cross` work until the count reaches a given one, and are called again until they are done;
    each call counts some work. `begin` comes before the first.
    """

    def __init__(self, ising: Ising, state: NDArray[np.uint64], cursor: NDArray[np.int64]) -> None:
        size = len(ising.fields)
        self._matrix = (ising.indptr, ising.indices, ising.weights)
        self._fields = ising.fields
        self._symmetric = ising.is_symmetric
        self._state = state
        self._cursor = cursor
        self._sums = np.zeros(3, np.int64 if ising.fields.dtype.kind == "i" else np.float64)
        self._gains = np.zeros(size, ising.fields.dtype)
        self._mark = np.zeros(size, np.uint8)
        self._stack = np.zeros(size, np.int32)
        self._best_twice: int | float = -math.inf
        self.spins = np.ones(size, np.int8)
        self.best = np.ones(size, np.int8)

    @property
    def has_best(self) -> bool:
        return self.best_twice > -math.inf

    @property
    def best_twice(self) -> int | float:
        return self._best_twice

    def begin(self) -> None:
        self._cursor[:WORK] = 0

    def settle(self, work_stop: int) -> bool:
        """The spins go down to a local optimum; true when done."""
        return bool(_settle(self.spins, *self._matrix, self._fields, self._cursor, work_stop))

    def load(self, work_stop: int) -> bool:
        """Gains and objective of the spins; true when done."""
        if self._cursor[POSITION] == 0:
            self._sums[TWICE] = 0
        _load(self.spins, self._gains, *self._matrix, self._fields, self._cursor, self._sums, work_stop)
        return bool(self._cursor[POSITION] == len(self.spins))

    def anneal(self, temperatures: NDArray[np.float32], work_stop: int) -> bool:
        """One sweep for each temperature; true when done."""
        _anneal(self.spins, self._gains, *self._matrix, LOG_TABLE, self._state, temperatures, self._cursor, work_stop)
        return bool(self._cursor[SWEEP] == len(temperatures))

    def can_gain(self) -> bool:
        return bool(self._gains.max() > 0)

    def keep_better(self) -> bool:
        """The better of best and spins, just loaded, becomes the best, the other the spins; true if that gained."""
        found = self._sums[TWICE].item()
        if found <= self._best_twice:
            return False
        self.spins, self.best = self.best, self.spins
        self._best_twice = found
        return True

    def cross(self, work_stop: int) -> bool:
        """The best is improved by the better parts of the spins; true when done."""
        if self._cursor[SWEEP] == 0:  # once, however little the first call may do
            self._cursor[SWEEP] = 1
            self._cursor[WORK] += len(self.best)
            self._sums[CROSSED] = 0
            _differ(self.best, self.spins, self._symmetric, self._mark)
        cursor, sums = self._cursor, self._sums
        _cross(self.best, *self._matrix, self._fields, self._mark, self._stack, cursor, sums, work_stop)
        return bool(cursor[POSITION] == len(self.best))

    def keep_crossed(self) -> bool:
        """After a crossing: true if it gained."""
        self._best_twice += 4 * self._sums[CROSSED].item()
        return bool(self._sums[CROSSED] > 0)


def temperature_range(ising: Ising, options: AnnealingOptions) -> tuple[float, float]:
    """The hottest and the coldest temperature, in the units of a gain."""
    strengths = np.sqrt(row_sums(ising.indptr, ising.weights.astype(np.float64) ** 2))
    every = len(ising.weights) // SAMPLE + 1
    return temperatures(strengths, np.abs(ising.weights[::every]).astype(np.float64), options)


def temperatures(
    strengths: NDArray[np.float64], couplings: NDArray[np.float64], options: AnnealingOptions
) -> tuple[float, float]:
    """The same from fields that spins' couplings make at random, and from magnitudes of couplings."""
    strengths = strengths[strengths > 0]
    if len(strengths) == 0:
        return 0.0, 0.0  # no couplings: each spin follows its field
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

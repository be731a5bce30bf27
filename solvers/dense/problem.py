"""A problem as dense rows in the smallest number type that holds its couplings, padded to what vector code likes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.dense.sizes import CHUNK, padded, row_type
from solvers.ising import Ising
from solvers.vectors import LOGS, aligned

Array = NDArray[Any]

ROWS_SAMPLED = 256  # of which temperatures are found: all took a tenth of a second for 5,000 spins


class Dense:
    """`maximize Σ_{i<j} J_ij s_i s_j + Σ_i h_i s_i`; `rows` holds zeros until `_fill` has spread the couplings over them."""

    def __init__(self, problem: Ising, shared: dict[str, Array] | None = None) -> None:
        """All who come with the same `shared` have one copy of the rows, which stays in the cache that they share, too."""
        size = len(problem.fields)
        self.size = size
        self.is_whole = problem.is_exact
        shared = {} if shared is None else shared
        if "rows" not in shared:
            kind = row_type(float(np.abs(problem.weights).max(initial=0)), self.is_whole)
            shared["rows"] = aligned((size, padded(size)), kind)
        self.rows = shared["rows"]
        self.fields = problem.fields
        self.slope_type = problem.fields.dtype
        self.thresholds = aligned((len(LOGS),), self.slope_type)

    def strengths(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of a sample of the spins: the field that its couplings make at random, `sqrt(Σ_j J_ij²)`; and the couplings' magnitudes."""
        sample = self.rows[:: self.size // ROWS_SAMPLED + 1].astype(np.float64)
        return np.sqrt((sample**2).sum(axis=1)), np.abs(sample[sample != 0])

    def sums(self) -> Array:
        return np.zeros(1, np.int64 if self.is_whole else np.float64)


@dataclass(eq=False)
class Point:
    """A solution with all its slopes, from which a search goes on."""

    spins: NDArray[np.int8]
    slopes: Array
    sums: Array
    size: int

    @classmethod
    def of(cls, dense: Dense) -> "Point":
        """Room for one."""
        places = padded(dense.size) + CHUNK
        return cls(aligned((places,), np.int8), aligned((places,), dense.slope_type), dense.sums(), dense.size)

    @property
    def twice(self) -> int | float:
        """Twice the objective."""
        twice: int | float = self.sums[0].item()
        return twice

    @property
    def solution(self) -> NDArray[np.int8]:
        return self.spins[: self.size]

    def become(self, other: "Point") -> None:
        self.spins[:] = other.spins
        self.slopes[:] = other.slopes
        self.sums[:] = other.sums

"""What is measured in a problem before a strategy is chosen for it; recorded with each solution, for a learner to choose by."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.csr import row_sums
from solvers.ising import Ising

LEVELS_MAX = 256
SAMPLE = 2**20  # couplings whose magnitudes are told apart


@dataclass(frozen=True)
class Features:
    """Of a problem in spins; all but the first two of the reduced one, which is searched."""

    original_variables: int
    original_couplings: int
    variables: int
    couplings: int
    density: float
    """Of all possible couplings, how many there are."""
    degree_mean: float
    degree_max: int
    is_integer: bool
    """Whether the kernels run on whole numbers."""
    has_fields: bool
    weight_max: float
    """The largest magnitude of a coupling, in units of their greatest common divisor where they are whole."""
    strength_max: float
    """The largest sum of magnitudes around a spin, its field included."""
    levels: int
    """Different magnitudes of couplings, counted up to 256."""

    def recorded(self) -> dict[str, int | float | bool]:
        return asdict(self)


def measure(problem: Ising, original_variables: int, original_couplings: int) -> Features:
    """Features of the reduced problem, and the size that it had before."""
    size, couplings = len(problem.fields), len(problem.indices) // 2
    degrees = np.diff(problem.indptr)
    largest = max(float(problem.weights.max(initial=0)), -float(problem.weights.min(initial=0)))
    strengths = row_sums(problem.indptr, problem.weights, magnitudes=True) + np.abs(problem.fields)
    return Features(
        original_variables=original_variables,
        original_couplings=original_couplings,
        variables=size,
        couplings=couplings,
        density=2 * couplings / max(1, size * (size - 1)),
        degree_mean=2 * couplings / max(1, size),
        degree_max=int(degrees.max(initial=0)),
        is_integer=problem.is_exact,
        has_fields=not problem.is_symmetric,
        weight_max=largest,
        strength_max=float(strengths.max(initial=0)),
        levels=min(LEVELS_MAX, _different(np.abs(problem.weights[:SAMPLE]))),
    )


def _different(numbers: NDArray[Any]) -> int:
    """How many different ones there are; `np.unique` begins by importing masked arrays."""
    return int(np.count_nonzero(np.diff(np.sort(numbers)))) + (len(numbers) > 0)

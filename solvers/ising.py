"""A QUBO as spins to maximize over, in the number type that the kernels run fastest on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.qubo import Convention, Qubo, row_sums

Array = NDArray[Any]

KERNEL_INTEGER_MAX = 2**29  # of a row's magnitudes: a gain and its doubled change then fit an int32


@dataclass(frozen=True, eq=False)
class Ising:
    """`maximize Σ_{i<j} J_ij s_i s_j + Σ_i h_i s_i`, where x = (1 + s) / 2; both arrays int32 or float64."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.uint32]
    weights: Array
    fields: Array
    unit: int  # what the objective was multiplied by, signed, to give four times the value
    exponent: int = 0  # of the power of two that a float problem was multiplied by beside

    @property
    def is_exact(self) -> bool:
        return self.fields.dtype.kind == "i"

    def gained(self, twice: int) -> int:
        """By how much the value differs from that of all x = 0, where twice the objective is known and whole."""
        nothing = int(self.weights.sum(dtype=np.int64)) - 2 * int(self.fields.sum(dtype=np.int64))
        return self.unit * (twice - nothing) // 8

    @property
    def is_symmetric(self) -> bool:
        """Whether flipping all spins changes nothing."""
        return not self.fields.any()


def to_ising(qubo: Qubo) -> Ising:
    """Four times the value, without its constant, divided by the common divisor, signed to be maximized.

    With x = (1 + s) / 2: `4 x_i x_j = 1 + s_i + s_j + s_i s_j` and `4 [x_i ≠ x_j] = 2 - 2 s_i s_j`.
    """
    sign = 1 if qubo.sense == "max" else -1
    wide = np.int64 if qubo.is_integer else np.float64
    couplings, linear = qubo.weights.astype(wide), qubo.linear.astype(wide)
    if qubo.convention is Convention.MAX_CUT:
        weights, fields = -2 * sign * couplings, 0 * linear
    elif qubo.convention is Convention.SPINS:
        weights, fields = 4 * sign * couplings, 4 * sign * linear
    else:
        weights = sign * (2 if qubo.convention is Convention.COUNTED_TWICE else 1) * couplings
        fields = 2 * sign * linear + row_sums(qubo.indptr, weights)
    divisor = 1
    if qubo.is_integer:
        divisor = max(1, int(np.gcd(np.gcd.reduce(weights, initial=0), np.gcd.reduce(fields, initial=0))))
        weights, fields = weights // divisor, fields // divisor
    largest = (row_sums(qubo.indptr, np.abs(weights)) + np.abs(fields)).max(initial=0)
    scale = 0
    if not qubo.is_integer:  # by a power of two, which rounds nothing: temperatures are single precision
        scale = -int(np.frexp(largest)[1])
        weights, fields = np.ldexp(weights, scale), np.ldexp(fields, scale)
    kind = np.int32 if qubo.is_integer and largest < KERNEL_INTEGER_MAX else np.float64
    return Ising(
        qubo.indptr, qubo.indices.view(np.uint32), weights.astype(kind), fields.astype(kind), sign * divisor, scale
    )

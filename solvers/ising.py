"""A QUBO as spins to maximize over, in the number type that the kernels run fastest on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.csr import row_sums
from solvers.qubo import Convention, Qubo

Array = NDArray[Any]

BLOCK = 2**12  # numbers whose common divisor is looked for at once
FACTORS = {Convention.MAX_CUT: -2, Convention.SPINS: 4, Convention.COUNTED_TWICE: 2, Convention.COUNTED_ONCE: 1}
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
    linear = qubo.linear.astype(np.int64 if qubo.is_integer else np.float64)
    factor = sign * FACTORS[qubo.convention]
    if qubo.convention is Convention.MAX_CUT:
        fields = 0 * linear
    elif qubo.convention is Convention.SPINS:
        fields = factor * linear
    else:
        fields = 2 * sign * linear + factor * row_sums(qubo.indptr, qubo.weights)
    largest = (abs(factor) * row_sums(qubo.indptr, qubo.weights, magnitudes=True) + np.abs(fields)).max(initial=0)
    indices = qubo.indices.view(np.uint32)
    if not qubo.is_integer:  # by a power of two, which rounds nothing: temperatures are single precision
        scale = -int(np.frexp(largest)[1])
        weights, fields = np.ldexp(factor * qubo.weights, scale), np.ldexp(fields, scale)
        return Ising(qubo.indptr, indices, weights, fields, sign, scale)
    common = _common_divisor(qubo.weights)
    divisor = max(1, _common_divisor(fields, factor * common))
    kind = np.int32 if largest < KERNEL_INTEGER_MAX * divisor else np.float64
    weights = (qubo.weights // common if common > 1 else qubo.weights).astype(kind)
    if factor * common != divisor:
        weights *= factor * common // divisor
    return Ising(qubo.indptr, indices, weights, (fields // divisor).astype(kind), sign * divisor)


def _common_divisor(numbers: Array, divisor: int = 0) -> int:
    """Of all numbers and the given one; block by block, for it is often 1 after the first."""
    for begin in range(0, len(numbers), BLOCK):
        if abs(divisor) == 1:
            break
        divisor = int(np.gcd(divisor, np.gcd.reduce(numbers[begin : begin + BLOCK].astype(np.int64))))
    return abs(divisor)

"""Products and inverses that stay on the thread that asks for them.

BLAS and LAPACK begin threads of their own for larger matrices: they would take cores that a job was not given, and on a
busy machine they wait for each other (one of 100 rows took sixty times as long as one of 95). So work is cut into pieces below
the sizes at which OpenBLAS, which numpy brings along, begins to share it.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PRODUCT_MAX = 2**18
"""Multiplications of one product that OpenBLAS does alone."""
INVERTED_MAX = 63
"""Rows of a matrix that LAPACK factors alone."""


def product(one: Floats, other: Floats) -> Floats:
    """`one @ other`, in strips of rows."""
    strip = max(1, PRODUCT_MAX // max(1, other.size))
    if strip >= len(one):
        return one @ other
    whole = np.empty((len(one), other.shape[1]))
    for begin in range(0, len(one), strip):
        np.matmul(one[begin : begin + strip], other, out=whole[begin : begin + strip])
    return whole


def inverse(matrix: Floats) -> Floats | None:
    """Of a symmetric positive definite matrix; None where it is not. Halves meet in the Schur complement of the first."""
    size = len(matrix)
    if size <= INVERTED_MAX:
        try:
            np.linalg.cholesky(matrix)
            return np.linalg.inv(matrix).astype(np.float64, copy=False)
        except np.linalg.LinAlgError:
            return None
    half = size // 2
    head = inverse(matrix[:half, :half])
    if head is None:
        return None
    side = product(matrix[half:, :half], head)
    tail = inverse(matrix[half:, half:] - product(side, matrix[:half, half:]))
    if tail is None:
        return None
    corner = product(tail, side)
    whole = np.empty((size, size))
    whole[:half, :half] = head + product(side.T, corner)
    whole[half:, :half] = -corner
    whole[:half, half:] = -corner.T
    whole[half:, half:] = tail
    return whole

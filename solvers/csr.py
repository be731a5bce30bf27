"""Symmetric sparse rows out of single terms, in time linear in them: no sort, two passes of scattering at most.

Scattering terms in order into the rows of both their ends leaves each row sorted where the terms were (and in much
else). Where it does not, one more scattering of the rows found, each entry into the row of its column, does, because
rows are then visited in ascending order; equal entries keep their order, so sums of floats are defined.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]


def symmetric_rows(
    variables: int, rows: Array, columns: Array, weights: Array, *, diagonal: bool
) -> tuple[NDArray[np.int64], NDArray[np.int32], Array, Array]:
    """`(indptr, indices, weights, linear)` of terms (row, column, weight): both triangles, sorted, repeated ones summed.

    Terms on the diagonal add up in `linear`, or are left out where `diagonal` is false. What sums up to zero is gone.
    Indices are within range, weights int64 or float64 and checked: no sum of them overflows.
    """
    indptr = np.zeros(variables + 1, np.int64)
    linear = np.zeros(variables, weights.dtype)
    _degrees(rows, columns, weights, diagonal, indptr, linear)
    size = int(indptr[variables])
    indices, values = np.empty(size, np.int32), np.empty(size, weights.dtype)
    _scatter(rows, columns, weights, indptr[:-1].copy(), indices, values)
    if _is_clean(indptr, indices, values):
        return indptr, indices, values, linear
    turned, turned_values = np.empty_like(indices), np.empty_like(values)
    _transpose(indptr, indices, values, indptr[:-1].copy(), turned, turned_values)
    if _is_clean(indptr, turned, turned_values):
        return indptr, turned, turned_values, linear
    left = _merge(indptr, turned, turned_values)
    return indptr, turned[:left].copy(), turned_values[:left].copy(), linear


@njit(cache=True, nogil=True)
def _degrees(rows: Array, columns: Array, weights: Array, diagonal: bool, indptr: Array, linear: Array) -> None:
    """The rows' bounds, and the diagonal."""
    for k in range(rows.shape[0]):
        i = rows[k]
        j = columns[k]
        if i != j:
            indptr[i + 1] += 1
            indptr[j + 1] += 1
        elif diagonal:
            linear[i] += weights[k]
    for i in range(indptr.shape[0] - 1):
        indptr[i + 1] += indptr[i]


@njit(cache=True, nogil=True)
def _scatter(rows: Array, columns: Array, weights: Array, free: Array, indices: Array, values: Array) -> None:
    for k in range(rows.shape[0]):
        i = rows[k]
        j = columns[k]
        if i != j:
            indices[free[i]] = j
            values[free[i]] = weights[k]
            free[i] += 1
            indices[free[j]] = i
            values[free[j]] = weights[k]
            free[j] += 1


@njit(cache=True, nogil=True)
def _is_clean(indptr: Array, indices: Array, values: Array) -> bool:
    """Whether every row ascends strictly, without zeros."""
    for i in range(indptr.shape[0] - 1):
        last = np.int32(-1)
        for k in range(indptr[i], indptr[i + 1]):
            if indices[k] <= last or values[k] == 0:
                return False
            last = indices[k]
    return True


@njit(cache=True, nogil=True)
def _transpose(indptr: Array, indices: Array, values: Array, free: Array, turned: Array, turned_values: Array) -> None:
    for i in range(indptr.shape[0] - 1):
        for k in range(indptr[i], indptr[i + 1]):
            j = indices[k]
            turned[free[j]] = i
            turned_values[free[j]] = values[k]
            free[j] += 1


@njit(cache=True, nogil=True)
def _merge(indptr: Array, indices: Array, values: Array) -> int:
    """Sums equal neighbors in sorted rows and closes the gaps, in place; returns how many entries are left."""
    left = 0
    low = indptr[0]
    for i in range(indptr.shape[0] - 1):
        high = indptr[i + 1]
        k = low
        while k < high:
            j = indices[k]
            value = values[k]
            k += 1
            while k < high and indices[k] == j:
                value += values[k]
                k += 1
            if value != 0:
                indices[left] = j
                values[left] = value
                left += 1
        low = high
        indptr[i + 1] = left
    return left

"""Kernels of `solvers.csr`: rows in time linear in the terms, by no sort but two passes of scattering at most.

Scattering terms in order into the rows of both their ends leaves each row sorted where the terms were (and in much
else). Where it does not, one more scattering of the rows found, each entry into the row of its column, does, because
rows are then visited in ascending order; equal entries keep their order, so sums of floats are defined.
"""

from typing import Any

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

Array = NDArray[Any]
ONE, TWO = np.uint64(1), np.uint64(2)


def scatter(
    variables: int, rows: Array, columns: Array, weights: Array, *, diagonal: bool
) -> tuple[NDArray[np.int64], NDArray[np.int32], Array, Array]:
    """As `solvers.csr.symmetric_rows` has it."""
    # Unsigned, or the kernels would test each index for counting from the end. Where the rows begin is counted one place
    # further on than it will stand: scattering moves it there.
    bounds = np.zeros(variables + 2, np.uint64)
    linear = np.zeros(variables if diagonal else 0, np.int64 if weights.dtype.kind == "i" else np.float64)
    ends = rows.view(np.uint32), columns.view(np.uint32)
    _degrees(*ends, weights, diagonal, bounds, linear)
    size = int(bounds[-1])
    indices, values = np.empty(size, np.uint32), np.empty(size, weights.dtype)
    _scatter(*ends, weights, bounds[1:], indices, values)
    indptr = bounds[:-1]
    if not _is_clean(indptr, indices, values):
        turned, turned_values = np.empty_like(indices), np.empty_like(values)
        _transpose(indptr, indices, values, indptr[:-1].copy(), turned, turned_values)
        indices, values = turned, turned_values
        if not _is_clean(indptr, indices, values):
            values = values.astype(linear.dtype, copy=False)  # of narrow numbers sums may be wide
            left = _merge(indptr, indices, values)
            indices, values = indices[:left].copy(), values[:left].copy()
    return indptr.view(np.int64), indices.view(np.int32), values, linear


def sum_rows(indptr: NDArray[np.int64], weights: Array, *, magnitudes: bool) -> NDArray[np.int64]:
    """As `solvers.csr.row_sums` has it, of whole numbers."""
    sums = np.empty(len(indptr) - 1, np.int64)
    _sum_rows(indptr.view(np.uint64), _of_few_types(weights), magnitudes, sums)
    return sums


def sum_pairs(
    indptr: NDArray[np.int64], indices: NDArray[np.int32], weights: Array, chosen: NDArray[np.bool_]
) -> tuple[int, int]:
    """The whole weights between rows that are chosen, each as often as it is stored, and those between them and the others."""
    among, across = _sum_pairs(
        indptr.view(np.uint64), indices.view(np.uint32), _of_few_types(weights), chosen.view(np.uint8)
    )
    return int(among), int(across)


def _of_few_types(weights: Array) -> Array:
    """A kernel is compiled for each type that it meets."""
    return weights.astype(np.int32) if weights.dtype == np.int16 else weights


@njit(cache=True, nogil=True)
def _sum_rows(indptr: Array, weights: Array, magnitudes: bool, sums: Array) -> None:
    for i in range(sums.shape[0]):
        total = np.int64(0)
        if magnitudes:
            for k in range(indptr[i], indptr[i + 1]):
                total += abs(np.int64(weights[k]))
        else:
            for k in range(indptr[i], indptr[i + 1]):
                total += np.int64(weights[k])
        sums[i] = total


@njit(cache=True, nogil=True)
def _sum_pairs(indptr: Array, indices: Array, weights: Array, chosen: Array) -> Any:
    among = np.int64(0)
    whole = np.int64(0)
    for i in range(indptr.shape[0] - 1):
        if chosen[i]:
            for k in range(indptr[i], indptr[i + 1]):
                weight = np.int64(weights[k])
                whole += weight
                among += weight * np.int64(chosen[indices[k]])
    return among, whole - among


@njit(cache=True, nogil=True)
def _degrees(rows: Array, columns: Array, weights: Array, diagonal: bool, bounds: Array, linear: Array) -> None:
    """Where row i begins, in `bounds[i + 1]`, and the diagonal."""
    for k in range(rows.shape[0]):
        i = rows[k]
        j = columns[k]
        if i != j:
            bounds[i + TWO] += ONE
            bounds[j + TWO] += ONE
        elif diagonal:
            linear[i] += weights[k]
    total = bounds[0]
    for i in range(bounds.shape[0]):
        total += bounds[i]
        bounds[i] = total


@njit(cache=True, nogil=True)
def _scatter(rows: Array, columns: Array, weights: Array, free: Array, indices: Array, values: Array) -> None:
    """Each term into the first free place of both its rows, which is the end of the row when all are in."""
    for k in range(rows.shape[0]):
        i = rows[k]
        j = columns[k]
        if i != j:
            here, there = free[i], free[j]
            indices[here] = j
            values[here] = weights[k]
            free[i] = here + ONE
            indices[there] = i
            values[there] = weights[k]
            free[j] = there + ONE


@njit(cache=True, nogil=True)
def _is_clean(indptr: Array, indices: Array, values: Array) -> bool:
    """Whether every row ascends strictly, without zeros."""
    for i in range(indptr.shape[0] - 1):
        for k in range(indptr[i], indptr[i + 1]):
            if values[k] == 0 or (k > indptr[i] and indices[k] <= indices[k - ONE]):
                return False
    return True


@njit(cache=True, nogil=True)
def _transpose(indptr: Array, indices: Array, values: Array, free: Array, turned: Array, turned_values: Array) -> None:
    for i in range(indptr.shape[0] - 1):
        for k in range(indptr[i], indptr[i + 1]):
            j = indices[k]
            there = free[j]
            turned[there] = i
            turned_values[there] = values[k]
            free[j] = there + ONE


@njit(cache=True, nogil=True)
def _merge(indptr: Array, indices: Array, values: Array) -> Any:
    """Sums equal neighbors in sorted rows and closes the gaps, in place; returns how many entries are left."""
    left = uint64(0)
    low = indptr[0]
    for i in range(indptr.shape[0] - 1):
        high = indptr[i + 1]
        k = low
        while k < high:
            j = indices[k]
            value = values[k]
            k += ONE
            while k < high and indices[k] == j:
                value += values[k]
                k += ONE
            if value != 0:
                indices[left] = j
                values[left] = value
                left += ONE
        low = high
        indptr[i + 1] = left
    return left

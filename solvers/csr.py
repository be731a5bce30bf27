"""Symmetric sparse rows out of single terms."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SORTED_MAX = 10_000
"""Terms that numpy sorts in less time than loading the kernels takes; both give the same bits."""


class Rows(NamedTuple):
    """Both triangles, sorted, without zeros, and the diagonal."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    weights: Array
    linear: Array


def symmetric_rows(variables: int, rows: Array, columns: Array, weights: Array, *, diagonal: bool) -> Rows:
    """From terms (row, column, weight); repeated ones are summed in their order.

    Terms on the diagonal add up in `linear`, or are left out where `diagonal` is false. What sums up to zero is gone.
    Indices are within range, weights whole or float64 and checked: no sum of them overflows an int64. The rows may keep
    the weights' own type where none is repeated.
    """
    found = _rows(variables, rows, columns, weights, diagonal=diagonal)
    if diagonal:
        return found
    return found._replace(linear=np.zeros(variables, np.int8 if weights.dtype.kind == "i" else np.float64))


def _rows(variables: int, rows: Array, columns: Array, weights: Array, *, diagonal: bool) -> Rows:
    """`linear` is empty where the diagonal is left out."""
    if len(rows) <= SORTED_MAX:
        return sort(variables, rows, columns, weights, diagonal=diagonal)
    from solvers.csr_kernels import scatter

    return Rows(*scatter(variables, rows, columns, weights, diagonal=diagonal))


def sort(variables: int, rows: Array, columns: Array, weights: Array, *, diagonal: bool) -> Rows:
    """The same by one sort; `np.add.at` sums in order, what `np.add.reduceat` does not promise of floats."""
    weights = weights.astype(np.int64 if weights.dtype.kind == "i" else np.float64, copy=False)
    linear = np.zeros(variables if diagonal else 0, weights.dtype)
    off = rows != columns
    if diagonal:
        np.add.at(linear, rows[~off], weights[~off])
    ends = np.stack((rows[off], columns[off]), axis=1)
    places = (ends.astype(np.int64) @ np.array([[variables, 1], [1, variables]])).ravel()  # of both triangles, in turn
    order = places.argsort(kind="stable")
    places = places[order]
    is_new = np.diff(places, prepend=-1) > 0
    found = places[is_new]
    sums = np.zeros(len(found), weights.dtype)
    np.add.at(sums, np.cumsum(is_new) - 1, np.repeat(weights[off], 2)[order])
    found, sums = found[sums != 0], sums[sums != 0]
    counts = np.bincount(found // max(1, variables), minlength=variables)
    indptr = np.concatenate(([0], np.cumsum(counts)))
    return Rows(indptr, (found % max(1, variables)).astype(np.int32), sums, linear)


def row_sums(indptr: NDArray[np.int64], weights: Array, *, magnitudes: bool = False) -> Array:
    """The sum of each row's weights, or of their magnitudes: int64 or float64; `add.reduceat` alone is wrong for empty rows."""
    is_whole = weights.dtype.kind == "i"
    if is_whole and len(weights) > SORTED_MAX:
        from solvers.csr_kernels import sum_rows

        return sum_rows(indptr, weights, magnitudes=magnitudes)
    weights = np.abs(weights) if magnitudes else weights
    kind = np.int64 if is_whole else np.float64
    sums = np.zeros(len(indptr) - 1, kind)
    filled = np.diff(indptr) > 0
    if filled.any():
        sums[filled] = np.add.reduceat(weights, indptr[:-1][filled], dtype=kind)
    return sums


def pair_sums(
    indptr: NDArray[np.int64], indices: NDArray[np.int32], weights: Array, chosen: NDArray[np.bool_]
) -> tuple[int, int]:
    """Of whole weights those between chosen rows, each counted as often as it is stored, and those between them and the others."""
    if len(weights) > SORTED_MAX:
        from solvers.csr_kernels import sum_pairs

        return sum_pairs(indptr, indices, weights, chosen)
    left, right = np.repeat(chosen, np.diff(indptr)), chosen[indices]
    among, across = (int(weights[left & other].sum(dtype=np.int64)) for other in (right, ~right))
    return among, across

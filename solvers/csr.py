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
    Indices are within range, weights int64 or float64 and checked: no sum of them overflows.
    """
    if len(rows) <= SORTED_MAX:
        return sort(variables, rows, columns, weights, diagonal=diagonal)
    from solvers.csr_kernels import scatter

    return Rows(*scatter(variables, rows, columns, weights, diagonal=diagonal))


def sort(variables: int, rows: Array, columns: Array, weights: Array, *, diagonal: bool) -> Rows:
    """The same by one sort; `np.add.at` sums in order, what `np.add.reduceat` does not promise of floats."""
    linear = np.zeros(variables, weights.dtype)
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

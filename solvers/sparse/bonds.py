"""A problem laid out for the sweeps of words: each spin's couplings as words to be added to a counter at weights 1, 2 and 4.

A coupling of magnitude 7 is three entries (1 + 2 + 4), one of 12 is three of four. A field is a coupling to one more
spin that never turns. Rows stand in the order of their lengths, so that a processor foresees where each ends: on
random graphs a quarter faster than in the order of the file. A grid keeps its order, in which neighbors are near.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

from solvers.ising import Ising
from solvers.sparse.words import STRENGTH_MAX

Array = NDArray[Any]

WORD_BYTES = 8


@dataclass(frozen=True, eq=False)
class Bonds:
    """Row i of the words is spin `order[i]`; its entries lie between `indptr[i]` and `indptr[i + 1]`."""

    order: NDArray[np.int32]
    near: NDArray[np.uint32]
    signs: NDArray[np.uint64]
    indptr: NDArray[np.int64]
    pairs: NDArray[np.int64]
    fours: NDArray[np.int64]
    is_grid: bool
    """Whether each row is four entries of one."""


def lay_out(problem: Ising) -> Bonds:
    """Of a whole problem whose spins are at most `STRENGTH_MAX` strong. Linear in its couplings."""
    size = len(problem.fields)
    counts = np.zeros((3, size), np.int64)
    _count(problem.indptr, problem.weights, problem.fields, counts)
    if (counts[0] + 2 * counts[1] + 4 * counts[2]).max(initial=0) > STRENGTH_MAX:
        raise AssertionError(f"a spin is more than {STRENGTH_MAX} strong: another strategy is for such")
    lengths = counts.sum(axis=0)
    is_grid = bool((counts[0] == 4).all() and (lengths == 4).all())
    order = np.argsort(lengths.astype(np.int16), kind="stable").astype(np.int32)
    row = np.empty(size, np.int32)
    row[order] = np.arange(size, dtype=np.int32)
    indptr = np.concatenate(([0], np.cumsum(lengths[order])))
    pairs = indptr[:-1] + counts[0, order]
    fours = pairs + counts[1, order]
    near = np.empty(indptr[-1], np.uint32)
    signs = np.empty(indptr[-1], np.uint64)
    _fill(
        problem.indptr, problem.indices, problem.weights, problem.fields, order, row, indptr, pairs, fours, near, signs
    )
    return Bonds(order, near, signs, indptr, pairs, fours, is_grid)


@njit(cache=True, nogil=True)
def _count(indptr: Array, weights: Array, fields: Array, counts: Array) -> None:
    """How many entries of one, two and four each spin has."""
    for i in range(fields.shape[0]):
        for k in range(indptr[i], indptr[i + 1] + 1):
            size = abs(weights[k]) if k < indptr[i + 1] else abs(fields[i])
            counts[0, i] += size & 1
            counts[1, i] += (size >> 1) & 1
            counts[2, i] += size >> 2


@njit(cache=True, nogil=True)
def _fill(
    indptr: Array,
    indices: Array,
    weights: Array,
    fields: Array,
    order: Array,
    row: Array,
    begin: Array,
    pairs: Array,
    fours: Array,
    near: Array,
    signs: Array,
) -> None:
    """Entries of a positive coupling are satisfied where the spins agree, so their sign is all ones."""
    for r in range(order.shape[0]):
        i = order[r]
        one, two, four = begin[r], pairs[r], fours[r]
        for k in range(indptr[i], indptr[i + 1] + 1):
            is_field = k == indptr[i + 1]
            weight = fields[i] if is_field else weights[k]
            other = order.shape[0] if is_field else row[indices[k]]
            sign = ~uint64(0) if weight > 0 else uint64(0)
            size = abs(weight)
            if size & 1:
                near[one], signs[one] = other, sign
                one += 1
            if size & 2:
                near[two], signs[two] = other, sign
                two += 1
            for _ in range(size >> 2):
                near[four], signs[four] = other, sign
                four += 1

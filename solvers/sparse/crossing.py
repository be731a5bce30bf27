"""Crossing one solution with all replicas of the words, one after the other."""

from typing import Any

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

from solvers.spins import POSITION, SEEN, SIZE, SWEEP, WORK, _cross

Array = NDArray[Any]


@njit(cache=True, nogil=True)
def _differ_lane(best: Array, words: Array, order: Array, lane: int, symmetric: bool, mark: Array) -> None:
    """Marks with 1 where a replica disagrees, or where a mirrored one does, if that is closer and as good."""
    n = best.shape[0]
    shift = uint64(lane)
    differing: Any = 0
    for r in range(n):
        i = order[r]
        differs = np.uint8((words[r] >> shift) & uint64(1)) ^ np.uint8(best[i] < 0)
        mark[i] = differs
        differing += differs
    if symmetric and 2 * differing > n:
        for i in range(n):
            mark[i] ^= np.uint8(1)


@njit(cache=True, nogil=True)
def _cross_lanes(
    best: Array,
    words: Array,
    order: Array,
    first: int,
    end: int,
    indptr: Array,
    indices: Array,
    weights: Array,
    fields: Array,
    symmetric: bool,
    mark: Array,
    stack: Array,
    cursor: Array,
    sums: Array,
    work_stop: int,
) -> None:
    """Partition crossover of `best` with the replicas from first to end; the child is at least as good as each of them.

    So no replica's objective is ever needed. Whether a replica's spins are marked already, which counts as work, is
    `SEEN` below zero before it.
    """
    n = best.shape[0]
    while cursor[SWEEP] < end - first and cursor[WORK] < work_stop:
        if cursor[SEEN] < 0:
            _differ_lane(best, words, order, first + cursor[SWEEP], symmetric, mark)
            cursor[WORK] += 1 + n // 8
            cursor[POSITION] = 0
            cursor[SEEN] = 0
            cursor[SIZE] = 0
        _cross(best, indptr, indices, weights, fields, mark, stack, cursor, sums, work_stop)
        if cursor[POSITION] == n:
            cursor[SWEEP] += 1
            cursor[SEEN] = -1

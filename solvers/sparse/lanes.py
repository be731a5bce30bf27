"""Sweeps of 64 replicas whose spins and fields are floats side by side, for weights of any kind.

Spin i of all replicas is 64 numbers in a row, and so is the field `h_i + Σ_j J_ij s_j` around it: four vectors of a
processor with AVX-512. All 64 chances to flip are compared at once with draws that lie side by side in a table of
logarithms (`solvers.vectors.LOGS`, from a random place); where any replica flips, each neighbor's fields change by one
multiply and add. On one core of 2026 a visit takes 7 ns where nothing flips, and 4 ns more a neighbor where something
does: 64 replicas for what two spins of one cost in `solvers.annealing`.

Single precision is enough to search by: what is found is crossed into the best by the problem's own numbers. Only
sums, products and comparisons are computed, one after the other, so the bits are the same on every processor.

A pass unpacks the words' bits to spins, one adds up the fields, sweeps follow, and a last one packs the bits. Work
counts a step for each spin visited and for each neighbor changed, for all replicas together.
"""

from typing import Any

import numpy as np
from numba import float32, int32, njit, uint64
from numpy.typing import NDArray

from solvers.ising import Ising
from solvers.search import schedule
from solvers.sparse.words import LANES
from solvers.spins import BLOCK, POSITION, SWEEP, WORK
from solvers.vectors import LEVEL_SHIFT, LOGS, aligned

Array = NDArray[Any]

PACKING_STEPS = 8  # that a spin takes to be unpacked or packed
PASSES = 3  # beside the sweeps
DESCENT_SWEEPS = 5  # that never lose, after each anneal


class Lanes:
    """Memory: 520 bytes a variable and 4 a coupling and direction, beside the problem."""

    def __init__(self, problem: Ising, state: NDArray[np.uint64]) -> None:
        size = len(problem.fields)
        self.order = np.arange(size, dtype=np.int32)
        self._state = state
        self._spins = aligned((size * LANES,), np.float32)
        self._around = aligned((size * LANES,), np.float32)
        self._matrix = (problem.indptr, problem.indices, problem.weights.astype(np.float32))
        self._fields = problem.fields.astype(np.float32)
        self._thresholds = aligned((len(LOGS),), np.float32)
        self._changes = aligned((LANES,), np.float32)
        self._temperatures = DESCENT

    def prepare(self, hottest: float, coldest: float, sweeps: int, cursor: Array) -> None:
        self._temperatures = schedule(hottest, coldest, sweeps)

    def anneal(self, words: Array, cursor: Array, work_stop: int) -> bool:
        return self._sweep(words, self._temperatures, cursor, work_stop)

    def descend(self, words: Array, cursor: Array, work_stop: int) -> bool:
        return self._sweep(words, DESCENT, cursor, work_stop)

    def _sweep(self, words: Array, temperatures: Array, cursor: Array, work_stop: int) -> bool:
        arrays = (self._spins, self._around, *self._matrix, self._fields, LOGS, self._thresholds, self._changes)
        _anneal_lanes(words, *arrays, temperatures, self._state, cursor, work_stop)
        return bool(cursor[SWEEP] == len(temperatures) + PASSES)


DESCENT = np.zeros(DESCENT_SWEEPS, np.float32)


@njit(cache=True, nogil=True)
def _unpack(words: Array, spins: Array, begin: int, end: int) -> None:
    for i in range(begin, end):
        word = words[i]
        for lane in range(LANES):
            spins[LANES * i + lane] = float32(1) - float32(2) * float32((word >> uint64(lane)) & uint64(1))


@njit(cache=True, nogil=True)
def _pack(spins: Array, words: Array, begin: int, end: int) -> None:
    for i in range(begin, end):
        word = uint64(0)
        for lane in range(LANES):
            word |= uint64(spins[LANES * i + lane] < 0) << uint64(lane)
        words[i] = word


@njit(cache=True, nogil=True)
def _add_up(
    spins: Array, around: Array, indptr: Array, indices: Array, weights: Array, fields: Array, begin: int, end: int
) -> None:
    for i in range(begin, end):
        row = uint64(LANES) * uint64(i)
        for lane in range(LANES):
            around[row + uint64(lane)] = fields[i]
        for k in range(uint64(indptr[i]), uint64(indptr[i + 1])):
            weight = weights[k]
            near = uint64(LANES) * uint64(indices[k])
            for lane in range(LANES):
                around[row + uint64(lane)] += weight * spins[near + uint64(lane)]


@njit(cache=True, nogil=True)
def _sweep_lanes(
    spins: Array,
    around: Array,
    indptr: Array,
    indices: Array,
    weights: Array,
    thresholds: Array,
    changes: Array,
    state: Array,
    begin: int,
    end: int,
) -> int:
    """Visits spins; how many neighbors were changed. A flip is taken where its gain is above its threshold."""
    x = state[0]
    y = state[1]
    changed = 0
    for i in range(begin, end):
        drawn = x + y
        y ^= x
        x = ((x << uint64(24)) | (x >> uint64(40))) ^ y ^ (y << uint64(16))
        y = (y << uint64(37)) | (y >> uint64(27))
        place = drawn >> uint64(LEVEL_SHIFT)
        row = uint64(LANES) * uint64(i)
        flips = int32(0)  # as wide as the floats, or the loop is no vector code
        for lane in range(LANES):
            spin = spins[row + uint64(lane)]
            flipped = -spin * around[row + uint64(lane)] > thresholds[place + uint64(lane)]
            changes[lane] = float32(-2) * spin if flipped else float32(0)
            flips += int32(flipped)
        if flips == 0:
            continue
        for lane in range(LANES):
            spins[row + uint64(lane)] += changes[lane]
        low, high = uint64(indptr[i]), uint64(indptr[i + 1])
        for k in range(low, high):
            weight = weights[k]
            near = uint64(LANES) * uint64(indices[k])
            for lane in range(LANES):
                around[near + uint64(lane)] += weight * changes[lane]
        changed += int(high - low)
    state[0] = x
    state[1] = y
    return changed


@njit(cache=True, nogil=True)
def _anneal_lanes(
    words: Array,
    spins: Array,
    around: Array,
    indptr: Array,
    indices: Array,
    weights: Array,
    fields: Array,
    logs: Array,
    thresholds: Array,
    changes: Array,
    temperatures: Array,
    state: Array,
    cursor: Array,
    work_stop: int,
) -> None:
    """Passes on from the cursor until they are done or the work reaches `work_stop`; `thresholds` are a sweep's own."""
    n = fields.shape[0]
    last = temperatures.shape[0] + 2
    work = cursor[WORK]
    at = cursor[SWEEP]
    position = cursor[POSITION]
    while at <= last and work < work_stop:
        end = min(n, position + BLOCK)
        if at == 0:
            _unpack(words, spins, position, end)
            work += PACKING_STEPS * (end - position)
        elif at == 1:
            _add_up(spins, around, indptr, indices, weights, fields, position, end)
            work += end - position + indptr[end] - indptr[position]
        elif at < last:
            if position == 0:
                temperature = temperatures[at - 2]
                for k in range(logs.shape[0]):
                    thresholds[k] = temperature * logs[k]
            work += end - position
            work += _sweep_lanes(spins, around, indptr, indices, weights, thresholds, changes, state, position, end)
        else:
            _pack(spins, words, position, end)
            work += PACKING_STEPS * (end - position)
        position = end
        if position == n:
            position = 0
            at += 1
    cursor[WORK] = work
    cursor[SWEEP] = at
    cursor[POSITION] = position

"""Kernels on dense rows: loading, flipping and annealing a whole row of fields at a time.

A problem is `maximize Σ_{i<j} J_ij s_i s_j + Σ_i h_i s_i` over s ∈ {-1, +1}. All kernels keep `slopes[i] = -(h_i +
Σ_j J_ij s_j)`, so that `s_i · slopes[i]` is half of what flipping spin i gains, and a flip changes all slopes by a
multiple of one row, a loop that the compiler turns into vector code: rows of int8 and slopes of int32 where the
weights allow, about 50 ns per thousand spins.

Arrays are padded (`solvers.dense.problem`): a row to whole cache lines, spins and slopes to whole chunks. Pads hold
zeros and are looked at but never flipped.

Work is counted in chunks: one for each chunk of spins looked at or of slopes changed, about 3 ns. A kernel leaves at
the first chunk or row where the count has reached a given one, and goes on from its cursor.
"""

import math
from typing import Any

import numpy as np
from numba import int32, njit, uint64
from numpy.typing import NDArray

from solvers.dense.sizes import CHUNK
from solvers.spins import _random
from solvers.vectors import LEVEL_SHIFT

Array = NDArray[Any]

DESCENT_SWEEPS_MAX = 64  # float slopes drift: without a bound, two flips could each seem to gain for ever
SWEEP, POSITION, FROM, FLIPS, WORK = range(5)  # what a cursor array holds
CURSOR_SIZE = 5
TWICE = 0  # what an array of sums holds: twice the objective
FLIP_WORK = 4  # what a flip costs beside its row: finding it, and a branch that nobody foresees


@njit(cache=True, nogil=True)
def _fill(rows: Array, indptr: Array, indices: Array, weights: Array, cursor: Array, work_stop: int) -> None:
    """Spreads a sparse matrix over dense rows that hold zeros."""
    work = cursor[WORK]
    i = cursor[POSITION]
    while i < rows.shape[0] and work < work_stop:
        row = rows[i]
        for k in range(indptr[i], indptr[i + 1]):
            row[indices[k]] = weights[k]
        work += rows.shape[1] // CHUNK
        i += 1
    cursor[POSITION] = i
    cursor[WORK] = work


@njit(cache=True, nogil=True)
def _load(rows: Array, fields: Array, spins: Array, slopes: Array, cursor: Array, sums: Array, work_stop: int) -> None:
    """Computes all slopes afresh, which also removes the drift of floats, and adds twice the objective to `sums[TWICE]`."""
    kind = slopes.dtype.type
    work = cursor[WORK]
    twice = sums[TWICE]
    i = cursor[POSITION]
    while i < rows.shape[0] and work < work_stop:
        row = rows[i]
        coupled = kind(0)
        for j in range(row.shape[0]):
            coupled = kind(coupled + kind(row[j]) * kind(spins[j]))
        slopes[i] = -(coupled + fields[i])
        twice += spins[i] * (coupled + 2 * fields[i])
        work += row.shape[0] // CHUNK
        i += 1
    cursor[POSITION] = i
    cursor[WORK] = work
    sums[TWICE] = twice


@njit(cache=True, nogil=True)
def _flip(row: Array, slopes: Array, twice_spin: int) -> None:
    """The slopes after a spin, of which twice the old value is given, has turned over."""
    kind = slopes.dtype.type
    factor = kind(twice_spin)
    for j in range(row.shape[0]):
        slopes[j] = kind(slopes[j] + kind(factor * kind(row[j])))


@njit(cache=True, nogil=True)
def _flip_all(
    rows: Array, spins: Array, slopes: Array, chosen: Array, cursor: Array, sums: Array, work_stop: int
) -> None:
    """Flips the chosen spins one after another, whatever they gain."""
    work = cursor[WORK]
    twice = sums[TWICE]
    k = cursor[POSITION]
    while k < chosen.shape[0] and work < work_stop:
        i = chosen[k]
        twice += 4 * (spins[i] * slopes[i])
        _flip(rows[i], slopes, 2 * spins[i])
        spins[i] = -spins[i]
        work += rows.shape[1] // CHUNK + FLIP_WORK
        k += 1
    cursor[POSITION] = k
    cursor[WORK] = work
    sums[TWICE] = twice


@njit(cache=True, nogil=True)
def _set_thresholds(thresholds: Array, temperature: float, logs: Array, is_whole: bool) -> None:
    """`T ln u` of each level; a whole gain is above it if and only if it is above its floor."""
    for k in range(logs.shape[0]):
        level = np.float32(temperature) * logs[k]
        thresholds[k] = math.floor(level) if is_whole else level


@njit(cache=True, nogil=True)
def _taken(spins: Array, slopes: Array, thresholds: Array, first: int) -> Any:
    """The place in a chunk of the first spin, not before `first`, whose gain is above its threshold; CHUNK where none is.

    As a minimum over the whole chunk, which is vector code without a branch, a third of the time of a loop over cold spins.
    """
    kind = slopes.dtype.type
    found = int32(CHUNK)
    for j in range(CHUNK):
        is_taken = (kind(slopes[j] * spins[j]) > thresholds[j]) & (int32(j) >= int32(first))
        found = min(found, int32(j) if is_taken else int32(CHUNK))
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def _anneal(
    rows: Array,
    spins: Array,
    slopes: Array,
    temperatures: Array,
    hold: int,
    is_whole: bool,
    logs: Array,
    thresholds: Array,
    state: Array,
    cursor: Array,
    sums: Array,
    work_stop: int,
) -> bool:
    """`hold` sweeps at each temperature, then sweeps that take gains only until one flips nothing; true when done.

    Metropolis: a move is taken where its gain is above T ln(u). The thresholds of all levels of u are computed once
    for a temperature, in the type of the slopes, and each look at a chunk takes a window of them at a random place:
    one random word for 64 spins. After a flip the rest of its chunk is looked at anew, with another window. Chunks
    begin at multiples of their size: a load across two stores that are still under way took 100 ns.
    """
    size = rows.shape[0]
    work = cursor[WORK]
    flips = cursor[FLIPS]
    position = cursor[POSITION]
    first = cursor[FROM]
    anneals = temperatures.shape[0] * hold
    resumed = cursor[SWEEP]
    for sweep in range(resumed, anneals + DESCENT_SWEEPS_MAX):
        if sweep % hold == 0 or sweep == resumed:
            _set_thresholds(thresholds, temperatures[sweep // hold] if sweep < anneals else 0.0, logs, is_whole)
        while position < size:
            if work >= work_stop:
                cursor[SWEEP] = sweep
                cursor[POSITION] = position
                cursor[FROM] = first
                cursor[FLIPS] = flips
                cursor[WORK] = work
                return False
            end = position + CHUNK
            place = np.int64(_random(state) >> uint64(LEVEL_SHIFT))
            found = _taken(spins[position:end], slopes[position:end], thresholds[place : place + CHUNK], first)
            i = position + found
            work += 1
            if found < CHUNK and i < size:
                spin = spins[i]
                sums[TWICE] += 4 * (spin * slopes[i])
                _flip(rows[i], slopes, 2 * spin)
                spins[i] = -spin
                work += rows.shape[1] // CHUNK + FLIP_WORK
                flips += 1
                first = found + 1
            else:
                position = end
                first = 0
        position = 0
        if sweep >= anneals and flips == 0:
            break
        flips = 0
    cursor[WORK] = work
    return True


@njit(cache=True, nogil=True)
def _halve(one: Array, other: Array, symmetric: bool, state: Array, chosen: Array) -> int:
    """Lists a random half of the places where two solutions disagree, or where a mirrored one does, if that is closer."""
    size = one.shape[0]
    differing = 0
    for i in range(size):
        if one[i] != other[i]:
            differing += 1
    mirrored = symmetric and 2 * differing > size
    count = 0
    for i in range(size):
        if (one[i] != other[i]) != mirrored and _random(state) >> uint64(63):
            chosen[count] = i
            count += 1
    return count

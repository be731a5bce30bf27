"""Kernels on spins: annealing, loading and partition crossover over a sparse symmetric matrix.

A problem is `maximize Σ_{i<j} J_ij s_i s_j + Σ_i h_i s_i` over s ∈ {-1, +1}. All kernels keep `gains[i] = -s_i (h_i +
Σ_j J_ij s_j)`, half of what flipping spin i gains; the matrix is CSR with both triangles. Integer problems run on
int32 and are exact, float problems on float64. A sweep that looks at nothing but `gains` and touches neighbors only
after a flip visits more than 10^8 spins a second on a sparse graph.

Work is counted: one for each visited spin and one for each neighbor looked at. A kernel leaves at the first boundary
(a row, or a block of spins) where the count has reached a given one, and goes on from its cursor. So a run's course
depends on counts alone, never on how time cut it into slices.
"""

import math
from typing import Any

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

Array = NDArray[Any]

BLOCK = 1024  # spins between two looks at the work count
LOGS = 1 << 14
SETTLING_SWEEPS_MAX = 1000  # of descents: a few dozen are enough for a million spins
SWEEP, POSITION, SEEN, SIZE, WORK = range(5)  # what a cursor array holds
CURSOR_SIZE = 5
TWICE, PART, CROSSED = range(3)  # what an array of sums holds

# ln((k + 1/2) / 2^14): an uphill move is taken when gain > T ln(u). The table fits a core's own cache; its rarest
# event is 3e-5. `math.log` and not numpy's: the latter's last bit depends on the CPU.
LOG_TABLE = np.array([math.log((level + 0.5) / LOGS) for level in range(LOGS)], np.float32)


@njit(cache=True, nogil=True)
def _random(state: Array) -> Any:
    """xoroshiro128+ (Blackman, Vigna 2018; constants 24, 16, 37). Its low bits are weak: use the high ones."""
    x = state[0]
    y = state[1]
    result = x + y
    y ^= x
    state[0] = ((x << uint64(24)) | (x >> uint64(40))) ^ y ^ (y << uint64(16))
    state[1] = (y << uint64(37)) | (y >> uint64(27))
    return result


@njit(cache=True, nogil=True)
def _randomize(spins: Array, state: Array) -> None:
    for i in range(spins.shape[0]):
        spins[i] = 1 if _random(state) >> uint64(63) else -1


@njit(cache=True, nogil=True)
def _load(
    spins: Array,
    gains: Array,
    indptr: Array,
    indices: Array,
    weights: Array,
    fields: Array,
    cursor: Array,
    sums: Array,
    work_stop: int,
) -> None:
    """Computes all gains afresh, which also removes the drift of floats, and adds twice the objective to `sums[TWICE]`."""
    work = cursor[WORK]
    twice = sums[TWICE]
    i = cursor[POSITION]
    while i < spins.shape[0] and work < work_stop:
        coupled = 0 * fields[i]
        for k in range(indptr[i], indptr[i + 1]):
            coupled += weights[k] * spins[indices[k]]
        gains[i] = -spins[i] * (coupled + fields[i])
        twice += spins[i] * (coupled + 2 * fields[i])
        work += 1 + indptr[i + 1] - indptr[i]
        i += 1
    cursor[POSITION] = i
    cursor[WORK] = work
    sums[TWICE] = twice


@njit(cache=True, nogil=True, error_model="numpy")
def _anneal(
    spins: Array,
    gains: Array,
    indptr: Array,
    indices: Array,
    weights: Array,
    logs: Array,
    state: Array,
    temperatures: Array,
    cursor: Array,
    work_stop: int,
) -> None:
    """Sweeps on from the cursor until the temperatures end or the work reaches `work_stop`. T = 0 takes gains only.

    The random state lives in two registers (twice as fast as through the array). A draw is made only where the sign
    of the gain does not decide, so the stream of draws, too, is a function of the state alone.
    """
    n = spins.shape[0]
    work = cursor[WORK]
    x = state[0]
    y = state[1]
    for sweep in range(cursor[SWEEP], temperatures.shape[0]):
        temperature = temperatures[sweep]
        hopeless = logs[0] * temperature
        position = cursor[POSITION]
        while position < n:
            if work >= work_stop:
                cursor[SWEEP] = sweep
                cursor[POSITION] = position
                cursor[WORK] = work
                state[0] = x
                state[1] = y
                return
            end = min(n, position + BLOCK)
            for i in range(position, end):
                gain = gains[i]
                if gain < hopeless:
                    continue
                if gain <= 0:
                    drawn = x + y
                    y ^= x
                    x = ((x << uint64(24)) | (x >> uint64(40))) ^ y ^ (y << uint64(16))
                    y = (y << uint64(37)) | (y >> uint64(27))
                    if not gain > logs[drawn >> uint64(50)] * temperature:
                        continue
                spin = -spins[i]
                spins[i] = spin
                gains[i] = -gain
                low = uint64(indptr[i])  # unsigned, or each index would be tested for wrapping around
                high = uint64(indptr[i + 1])
                work += np.int64(high - low)
                for k in range(low, high):
                    j = indices[k]
                    gains[j] -= 2 * weights[k] * (spin * spins[j])
            work += end - position
            position = end
        cursor[POSITION] = 0
    cursor[SWEEP] = temperatures.shape[0]
    cursor[WORK] = work
    state[0] = x
    state[1] = y


@njit(cache=True, nogil=True)
def _settle(
    spins: Array,
    indptr: Array,
    indices: Array,
    weights: Array,
    fields: Array,
    cursor: Array,
    work_stop: int,
) -> bool:
    """Sweeps on from the cursor that flip what gains, until one flips nothing; true when done. A first answer, for it needs no gains.

    Sums of floats can make two flips go round, so there are `SETTLING_SWEEPS_MAX` at most.
    """
    work = cursor[WORK]
    position = cursor[POSITION]
    flips = cursor[SEEN]
    while cursor[SWEEP] < SETTLING_SWEEPS_MAX:
        while position < spins.shape[0]:
            if work >= work_stop:
                cursor[WORK] = work
                cursor[POSITION] = position
                cursor[SEEN] = flips
                return False
            i = position
            felt = fields[i]
            for k in range(indptr[i], indptr[i + 1]):
                felt += weights[k] * spins[indices[k]]
            if spins[i] * felt < 0:
                spins[i] = -spins[i]
                flips += 1
            work += 1 + indptr[i + 1] - indptr[i]
            position += 1
        position = 0
        cursor[SWEEP] += 1
        if flips == 0:
            break
        flips = 0
    cursor[WORK] = work
    return True


@njit(cache=True, nogil=True)
def _differ(best: Array, other: Array, symmetric: bool, mark: Array) -> None:
    """Marks with 1 where two solutions disagree, or where a mirrored one does, if that is closer and as good."""
    n = best.shape[0]
    differing = 0
    for i in range(n):
        if best[i] != other[i]:
            differing += 1
    mirrored = symmetric and 2 * differing > n
    for i in range(n):
        mark[i] = 1 if (best[i] != other[i]) != mirrored else 0


@njit(cache=True, nogil=True)
def _cross(
    best: Array,
    indptr: Array,
    indices: Array,
    weights: Array,
    fields: Array,
    mark: Array,
    stack: Array,
    cursor: Array,
    sums: Array,
    work_stop: int,
) -> None:
    """Partition crossover: flips in `best` each connected part of the marked spins that does not lose.

    Adds the gain to `sums[CROSSED]`. Parts share no edge, so their gains add up, and the child is at least as good as
    `best`. After Whitley, Hains, Howe (2009). Parts of zero gain are flipped as well: it costs nothing and keeps the
    search moving. On toroidal grids this, not the speed of sweeps, makes the result: 13,940 without and 14,030 with
    it on a graph of 20,000 spins in four seconds.
    """
    start = cursor[POSITION]
    seen = cursor[SEEN]
    size = cursor[SIZE]
    work = cursor[WORK]
    gain = sums[PART]
    while start < best.shape[0] and work < work_stop:
        if size == 0:
            if mark[start] != 1:
                start += 1
                continue
            stack[0] = start
            mark[start] = 2
            seen = 0
            size = 1
            gain = 0 * gain
        while seen < size and work < work_stop:
            i = stack[seen]
            seen += 1
            gain -= best[i] * fields[i]
            for k in range(indptr[i], indptr[i + 1]):
                j = indices[k]
                if mark[j] == 0:
                    gain -= weights[k] * best[i] * best[j]
                elif mark[j] == 1:
                    mark[j] = 2
                    stack[size] = j
                    size += 1
            work += 1 + indptr[i + 1] - indptr[i]
        if seen == size:
            if gain >= 0:
                sums[CROSSED] += gain
                for k in range(size):
                    best[stack[k]] = -best[stack[k]]
            size = 0
            start += 1
    while size == 0 and start < best.shape[0] and mark[start] != 1:  # not left to a call that would count nothing
        start += 1
    cursor[POSITION] = start
    cursor[SEEN] = seen
    cursor[SIZE] = size
    cursor[WORK] = work
    sums[PART] = gain

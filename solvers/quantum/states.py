"""Gates on the state of n qubits: 2^n complex amplitudes, real and imaginary parts in an array each.

Amplitude z belongs to the assignment whose spin i is up where bit i of z is set, as in `solvers.enumeration.spectrum`.
The kernels do a whole gate each, or the same gate on some qubits; who calls them cuts the work into slices.
"""

import math
from typing import Any

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

from solvers.spins import _random

Array = NDArray[Any]
Floats = NDArray[np.float64]

IN_CACHE = 12  # qubits whose amplitudes stay in a core's own cache while all their gates are applied


@njit(cache=True, nogil=True)
def _spread_evenly(real: Array, imaginary: Array) -> None:
    """Every assignment is as likely as any other."""
    amplitude = 1.0 / math.sqrt(real.shape[0])
    for z in range(real.shape[0]):
        real[z] = amplitude
        imaginary[z] = 0.0


@njit(cache=True, nogil=True)
def _put_all_down(real: Array, imaginary: Array) -> None:
    """The one assignment in which every spin is down."""
    real[:] = 0.0
    imaginary[:] = 0.0
    real[0] = 1.0


@njit(cache=True, nogil=True)
def _turn(real: Array, angle: float, qubit: int) -> None:
    """exp(-i · angle/2 · Y) on a qubit, which keeps real amplitudes real."""
    cosine, sine = math.cos(angle / 2), math.sin(angle / 2)
    bit = 1 << qubit
    for first in range(0, real.shape[0], 2 * bit):
        for z in range(first, first + bit):
            a, b = real[z], real[z + bit]
            real[z] = cosine * a - sine * b
            real[z + bit] = sine * a + cosine * b


@njit(cache=True, nogil=True)
def _join_neighbors(real: Array) -> None:
    """A controlled phase between each qubit and the next: the sign changes with each pair of neighbors that are both up."""
    for z in range(real.shape[0]):
        pairs = z & (z >> 1)
        is_odd = False
        while pairs:
            is_odd = not is_odd
            pairs &= pairs - 1
        if is_odd:
            real[z] = -real[z]


@njit(cache=True, nogil=True)
def _turn_phases(real: Array, imaginary: Array, worth: Array, angle: float) -> None:
    """exp(-i · angle · worth): the amplitudes turn as fast as their assignments are worth."""
    for z in range(real.shape[0]):
        cosine, sine = math.cos(angle * worth[z]), math.sin(angle * worth[z])
        a, b = real[z], imaginary[z]
        real[z] = a * cosine + b * sine
        imaginary[z] = b * cosine - a * sine


@njit(cache=True, nogil=True)
def _mix_one(real: Array, imaginary: Array, begin: int, end: int, bit: int, cosine: float, sine: float) -> None:
    for first in range(begin, end, 2 * bit):
        for z in range(first, first + bit):
            a, b, c, d = real[z], imaginary[z], real[z + bit], imaginary[z + bit]
            real[z] = cosine * a + sine * d
            imaginary[z] = cosine * b - sine * c
            real[z + bit] = cosine * c + sine * b
            imaginary[z + bit] = cosine * d - sine * a


@njit(cache=True, nogil=True)
def _mix(real: Array, imaginary: Array, angle: float, first: int, end: int) -> None:
    """exp(-i · angle · X) on each qubit from `first` to before `end`; of the lowest ones block by block, within the cache."""
    cosine, sine = math.cos(angle), math.sin(angle)
    size = real.shape[0]
    low = min(end, IN_CACHE)
    if first < low:
        block = min(size, 1 << IN_CACHE)
        for begin in range(0, size, block):
            for qubit in range(first, low):
                _mix_one(real, imaginary, begin, begin + block, 1 << qubit, cosine, sine)
    for qubit in range(max(first, low), end):
        _mix_one(real, imaginary, 0, size, 1 << qubit, cosine, sine)


@njit(cache=True, nogil=True)
def _expectation(real: Array, imaginary: Array, worth: Array) -> float:
    """What a measured assignment is worth in the mean."""
    total = 0.0
    for z in range(real.shape[0]):
        total += (real[z] * real[z] + imaginary[z] * imaginary[z]) * worth[z]
    return total


@njit(cache=True, nogil=True)
def _weigh(real: Array, imaginary: Array, worth: Array, other_real: Array, other_imaginary: Array) -> None:
    """The other state becomes this one with each amplitude times its worth."""
    for z in range(real.shape[0]):
        other_real[z] = worth[z] * real[z]
        other_imaginary[z] = worth[z] * imaginary[z]


@njit(cache=True, nogil=True)
def _slope_of_phase(real: Array, imaginary: Array, other_real: Array, other_imaginary: Array, worth: Array) -> float:
    """2 Im⟨other| worth |state⟩: what the expectation gains with the angle of a turn of phases."""
    total = 0.0
    for z in range(real.shape[0]):
        total += worth[z] * (other_real[z] * imaginary[z] - other_imaginary[z] * real[z])
    return 2.0 * total


@njit(cache=True, nogil=True)
def _slope_of_mix(
    real: Array, imaginary: Array, other_real: Array, other_imaginary: Array, first: int, end: int
) -> float:
    """2 Im⟨other| Σ X |state⟩ over some qubits: what the expectation gains with the angle of a mix."""
    total = 0.0
    for qubit in range(first, end):
        bit = 1 << qubit
        for begin in range(0, real.shape[0], 2 * bit):
            for z in range(begin, begin + bit):
                y = z + bit
                total += other_real[z] * imaginary[y] - other_imaginary[z] * real[y]
                total += other_real[y] * imaginary[z] - other_imaginary[y] * real[z]
    return 2.0 * total


@njit(cache=True, nogil=True)
def _add_up(real: Array, imaginary: Array, sums: Array) -> None:
    """The chances of all assignments up to each; the last is one but for rounding."""
    total = 0.0
    for z in range(real.shape[0]):
        total += real[z] * real[z] + imaginary[z] * imaginary[z]
        sums[z] = total


@njit(cache=True, nogil=True)
def _measure(sums: Array, worth: Array, shots: int, state: Array) -> int:
    """Measures so often; the first of the best assignments that were seen."""
    size = sums.shape[0]
    best = -1
    for _ in range(shots):
        drawn = np.float64(_random(state) >> uint64(11)) * 2.0**-53 * sums[size - 1]
        low, high = 0, size - 1
        while low < high:
            middle = (low + high) // 2
            if sums[middle] > drawn:
                high = middle
            else:
                low = middle + 1
        if best < 0 or worth[low] > worth[best]:
            best = low
    return best

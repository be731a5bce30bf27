"""What kernels share whose loops the compiler turns into vector code: arrays at cache lines, and draws that lie side by side."""

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

LINE_BYTES = 64  # of the cache; a row begins at one, or each vector would be loaded from two
LEVELS = 4096  # of the thresholds below which a loss is taken
WINDOW = 64  # draws that are taken from one place
LEVEL_SHIFT = 52  # of a random word, to an index of a level


def _logs() -> NDArray[np.float32]:
    """`ln u` at evenly spaced u, in a mixed order, so that a window at a random place holds as many draws.

    The first ones again at the end: windows need not wrap around. `math.log` and not numpy's, whose last bit depends
    on the CPU; the order by a linear congruence of full period (its multiplier from Knuth's conditions) for the same reason.
    """
    levels = [math.log((k + 0.5) / LEVELS) for k in range(LEVELS)]
    mixed, k = [], 1
    for _ in range(LEVELS):
        mixed.append(levels[k ^ (k >> 5)])
        k = (k * 1229 + 351) % LEVELS
    return np.array(mixed + mixed[:WINDOW], np.float32)


LOGS = _logs()


def aligned(shape: tuple[int, ...], kind: DTypeLike) -> NDArray[Any]:
    """Zeros that begin at a cache line: numpy promises 16 bytes."""
    kind = np.dtype(kind)
    size = int(np.prod(shape)) * kind.itemsize
    raw = np.zeros(size + LINE_BYTES, np.uint8)
    begin = -raw.ctypes.data % LINE_BYTES
    return raw[begin : begin + size].view(kind).reshape(shape)

"""What dense rows need: types, padding and memory. Light to import: no kernel is loaded."""

from typing import Any

import numpy as np

CHUNK = 64  # spins that a kernel looks at together
ELITES = 16  # kept in a pool; a run has two
POINTS = 2 * ELITES + 2


def padded(size: int) -> int:
    """Up to whole chunks."""
    return -(-size // CHUNK) * CHUNK


def row_type(weight_max: float, is_whole: bool) -> np.dtype[Any]:
    """The smallest signed type that holds all couplings: the rows are what a flip reads."""
    if not is_whole:
        return np.dtype(np.float64)
    for kind in (np.int8, np.int16):
        if weight_max <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.int32)


def memory_bytes(variables: int, weight_max: float, is_whole: bool) -> int:
    """What an island needs: its rows (islands of one run share them, which is not counted on), its points, and lists of spins."""
    width = padded(variables)
    row = row_type(weight_max, is_whole).itemsize * width
    return variables * row + POINTS * (1 + (4 if is_whole else 8)) * (width + CHUNK) + 16 * variables

"""Random states and signs from a seed and a stream number: the same on every machine, and light to import."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

MASK = 2**64 - 1
WORD_BITS = 64


def seeded_state(seed: int, stream: int = 0) -> NDArray[np.uint64]:
    """A state of two words for the generators of the kernels; never all zero."""
    words = _words(seed, stream)
    return np.array([next(words), next(words) | 1], np.uint64)


def random_signs(shape: tuple[int, int], seed: int, stream: int = 0) -> NDArray[np.float64]:
    """-1 or 1, each as likely."""
    count = shape[0] * shape[1]
    words = _words(seed, stream)
    drawn = np.array([next(words) for _ in range(-(-count // WORD_BITS))], "<u8")
    bits = np.unpackbits(drawn.view(np.uint8))[:count]
    return np.where(bits, 1.0, -1.0).reshape(shape)


def _words(seed: int, stream: int) -> Iterator[int]:
    """splitmix64 (Steele, Lea, Flood 2014)."""
    word = (seed ^ (stream * 0xD1342543DE82EF95)) & MASK
    while True:
        word = (word + 0x9E3779B97F4A7C15) & MASK
        mixed = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
        yield mixed ^ (mixed >> 31)

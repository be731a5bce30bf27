"""Slow twins of the dense kernels, and random dense problems to compare them on."""

from math import floor

import numpy as np
from hypothesis import strategies as st

from solvers.dense.kernels import DESCENT_SWEEPS_MAX
from solvers.dense.sizes import CHUNK
from solvers.qubo import Qubo
from solvers.vectors import LEVEL_SHIFT
from tests.solvers.twins import random_word

SIZES = st.integers(1, 12) | st.integers(CHUNK - 2, CHUNK + 3)  # where chunks begin and end


@st.composite
def dense_problems(draw):
    """(matrix with an empty diagonal, fields), whole or not, in a number range of any row type.

    The broken ones are eighths, so that their sums are exact too, and no tie is decided by rounding.
    """
    size = draw(SIZES)
    largest = draw(st.sampled_from([1, 100, 127, 128, 20_000, 1_000_000]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    matrix = np.triu(rng.integers(-largest, largest + 1, (size, size)), 1)
    matrix[rng.random((size, size)) > draw(st.sampled_from([0.2, 1.0]))] = 0
    fields = rng.integers(-largest, largest + 1, size) * draw(st.integers(0, 1))
    if draw(st.booleans()):
        return (matrix + matrix.T) / 8, fields / 8
    return matrix + matrix.T, fields


def as_qubo(matrix, fields):
    """With `4 · value = objective + constant` and `x = (1 + s) / 2`; half the matrix and fields are its terms."""
    linear = fields * 2 - matrix.sum(axis=0) * 2
    return Qubo.from_dense(np.triu(matrix * 4) + np.diag(linear), sense="max")


def obvious_slopes(matrix, fields, spins):
    return -(matrix @ spins + fields)


def obvious_twice(matrix, fields, spins):
    return spins @ matrix @ spins + 2 * fields @ spins


def obvious_anneal(matrix, fields, spins, temperatures, hold, state, logs):
    """Annealing spin by spin, each slope computed afresh when it is looked at."""
    is_whole = matrix.dtype.kind == "i"
    size = len(spins)
    heats = [float(heat) for heat in temperatures for _ in range(hold)]
    for sweep in range(len(heats) + DESCENT_SWEEPS_MAX):
        is_cold = sweep >= len(heats)
        flipped = False
        for begin in range(0, size, CHUNK):
            place = random_word(state) >> LEVEL_SHIFT
            for i in range(begin, min(size, begin + CHUNK)):
                threshold = 0.0 if is_cold else float(np.float32(heats[sweep]) * logs[place + i - begin])
                gain = spins[i] * obvious_slopes(matrix[i], fields[i], spins)
                if gain > (floor(threshold) if is_whole else threshold):
                    spins[i] = -spins[i]
                    flipped = True
                    place = random_word(state) >> LEVEL_SHIFT  # for the rest of the chunk, also where nothing is left
        if is_cold and not flipped:
            return

"""Slow twins of the multi-spin kernels: replica after replica, spin after spin, on Python's own integers."""

import numpy as np
from hypothesis import strategies as st

from solvers.ising import Ising, to_ising
from solvers.qubo import Convention, Qubo
from solvers.sparse.words import LANES, POOL_WORDS, PROBABILITY_BITS
from tests.solvers.twins import random_word


@st.composite
def small_integer_problems(draw, variables_max=7, weight_max=9, fields=True) -> Ising:
    """Spins with couplings and fields of small whole numbers, in the terms that the strategies get."""
    variables = draw(st.integers(1, variables_max))
    index = st.integers(0, variables - 1)
    pairs = draw(st.lists(st.tuples(index, index), max_size=2 * variables_max))
    weight = st.integers(-weight_max, weight_max)
    terms = [(i, j, draw(weight)) for i, j in pairs]
    rows, columns, weights = ([term[k] for term in terms] for k in range(3))
    qubo = Qubo.from_terms(
        variables,
        (np.array(rows, int), np.array(columns, int), np.array(weights, np.int64)),
        convention=Convention.COUNTED_ONCE if fields else Convention.MAX_CUT,
        sense="max",
    )
    return to_ising(qubo)


def dense(problem: Ising) -> np.ndarray:
    """The matrix of couplings."""
    size = len(problem.fields)
    matrix = np.zeros((size, size), np.int64 if problem.is_exact else np.float64)
    for i in range(size):
        for k in range(problem.indptr[i], problem.indptr[i + 1]):
            matrix[i, problem.indices[k]] += problem.weights[k]
    return matrix


def spins_of(words, order) -> np.ndarray:
    """All replicas: row b is replica b, in the order of the problem."""
    spins = np.empty((LANES, len(order)), np.int64)
    for row, spin in enumerate(order):
        for lane in range(LANES):
            spins[lane, spin] = -1 if int(words[row]) >> lane & 1 else 1
    return spins


def obvious_renew(pools, begin, end, thresholds, state):
    """Each bit of a word, alone: a number of 20 random bits is compared with the threshold."""
    for row, threshold in enumerate(thresholds):
        used = [
            bit for bit in range(PROBABILITY_BITS) if threshold % (1 << (bit + 1))
        ]  # below these, all bits are zero
        for i in range(begin, end):
            drawn = [random_word(state) for _ in used]
            word = 0
            for lane in range(LANES):
                number = sum((~each >> lane & 1) << bit for bit, each in zip(used, drawn, strict=True))
                word |= (number < threshold) << lane
            pools[row][i] = word


def obvious_sweep(matrix, fields, order, spins, pools, state, is_grid):
    """Visits every spin of every replica; a flip that loses is taken where all its random bits say so."""
    for spin in order:
        drawn = random_word(state)
        strength = int(np.abs(matrix[spin]).sum() + abs(fields[spin]))
        for lane in range(LANES):
            satisfied = (strength + int(spins[lane, spin] * (matrix[spin] @ spins[lane] + fields[spin]))) // 2
            loss = 2 * satisfied - strength
            if loss <= 0 or all_say_so(loss, drawn, lane, pools, is_grid):
                spins[lane, spin] *= -1


def all_say_so(loss, drawn, lane, pools, is_grid):
    """The loss in powers of two, each with the chance exp(-2^k/T) from its own pool."""

    def says(row, shift):
        return pools[row][drawn >> shift & (POOL_WORDS - 1)] >> lane & 1

    if is_grid:
        return says(1, 12) if loss == 2 else says(2, 24)
    rest = (loss - 2) // 2 if loss % 2 == 0 else (loss - 1) // 2
    if not says(1 if loss % 2 == 0 else 0, 54) or rest >= 16:
        return False
    return all(says(row, shift) for row, shift in ((1, 12), (2, 22), (3, 32), (4, 42)) if rest >> (row - 1) & 1)

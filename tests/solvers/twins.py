"""Slow twins: the obvious version of every clever path in `solvers/`, and random problems to compare them on."""

from fractions import Fraction
from itertools import product

import numpy as np
from hypothesis import strategies as st

from solvers.qubo import Convention, Qubo

MASK = 2**64 - 1
SMALL_INTEGERS = st.integers(-9, 9)
FLOATS = st.floats(-1e6, 1e6, allow_subnormal=False)


def obvious_value(convention, variables, terms, offset, x):
    """Straight from the definitions, in exact fractions."""
    total = Fraction(offset)
    for i, j, weight in terms:
        match convention:
            case Convention.MAX_CUT:
                total += Fraction(weight) * (x[i] != x[j])
            case Convention.COUNTED_TWICE:
                total += Fraction(weight) * x[i] * x[j] * (1 if i == j else 2)
            case Convention.COUNTED_ONCE:
                total += Fraction(weight) * x[i] * x[j]
            case Convention.SPINS:
                total += Fraction(weight) * (2 * x[i] - 1) * ((2 * x[j] - 1) if i != j else 1)
    return total


@st.composite
def problems(draw, variables_max=8, weights=None):
    """(qubo, its terms as drawn, its offset); without repeated terms, so that float sums are defined by the terms alone."""
    variables = draw(st.integers(0, variables_max))
    weight = (
        draw(st.sampled_from([SMALL_INTEGERS, st.integers(-(2**40), 2**40), FLOATS])) if weights is None else weights
    )
    index = st.integers(0, max(0, variables - 1))
    pair = st.tuples(index, index)
    pairs = draw(st.lists(pair, max_size=20, unique_by=lambda p: (min(p), max(p)))) if variables else []
    terms = [(i, j, draw(weight)) for i, j in pairs]
    offset = draw(weight)
    whole = all(isinstance(w, int) for *_, w in terms) and isinstance(offset, int)
    rows, columns, values = ([term[k] for term in terms] for k in range(3))
    qubo = Qubo.from_terms(
        variables,
        (np.array(rows, int), np.array(columns, int), np.array(values, np.int64 if whole else np.float64)),
        convention=draw(st.sampled_from(list(Convention))),
        sense=draw(st.sampled_from(["min", "max"])),
        offset=offset,
    )
    return qubo, terms, offset


def assignments(variables):
    return st.lists(st.integers(0, 1), min_size=variables, max_size=variables)


def brute_force(qubo):
    """The best value over all assignments."""
    values = [qubo.value(np.array(x, np.uint8)) for x in product((0, 1), repeat=qubo.variables)]
    return min(values) if qubo.sense == "min" else max(values)


def random_word(state):
    """xoroshiro128+ on Python's own integers; `state` is a list of two."""
    x, y = state
    result = (x + y) & MASK
    y ^= x
    state[0] = (((x << 24) | (x >> 40)) ^ y ^ (y << 16)) & MASK
    state[1] = ((y << 37) | (y >> 27)) & MASK
    return result


def obvious_gains(matrix, fields, spins):
    return -spins * (matrix @ spins + fields)


def obvious_anneal(matrix, fields, spins, temperatures, state, logs):
    """Annealing with all gains computed afresh after each flip; returns the work."""
    work = 0
    for temperature in temperatures:
        for i in range(len(spins)):
            work += 1
            gain = float(obvious_gains(matrix, fields, spins)[i])
            if gain < float(logs[0] * temperature):
                continue
            if gain <= 0 and not gain > float(logs[random_word(state) >> 50] * temperature):
                continue
            spins[i] = -spins[i]
            work += int(np.count_nonzero(matrix[i]))
    return work


def obvious_objective(matrix, fields, spins):
    return spins @ matrix @ spins / 2 + fields @ spins


def obvious_cross(matrix, fields, best, other):
    """Each connected part of the disagreement is flipped where the whole objective says that it does not lose."""
    child = best.copy()
    if not fields.any() and 2 * np.count_nonzero(best != other) > len(best):
        other = -other
    left = set(np.flatnonzero(best != other).tolist())
    while left:
        part, edge = set(), [min(left)]
        while edge:
            i = edge.pop()
            if i in left:
                left.remove(i)
                part.add(i)
                edge += np.flatnonzero(matrix[i]).tolist()
        flipped = child.copy()
        flipped[sorted(part)] *= -1
        if obvious_objective(matrix, fields, flipped) >= obvious_objective(matrix, fields, child):
            child = flipped
    return child


def same_bits(one, other):
    """Whether arrays are the same, their types and rounding too."""
    return all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for a, b in zip(one, other, strict=True)
    )

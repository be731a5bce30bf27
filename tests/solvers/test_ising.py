"""Spins rank assignments exactly as the problem does."""

from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.ising import to_ising
from solvers.qubo import Qubo
from tests.solvers.twins import problems


def objective(ising, spins):
    n = len(spins)
    matrix = np.zeros((n, n))
    for i in range(n):
        for k in range(ising.indptr[i], ising.indptr[i + 1]):
            matrix[i, ising.indices[k]] = ising.weights[k]
    return spins @ matrix @ spins / 2 + ising.fields @ spins


@given(problems(variables_max=5, weights=st.integers(-20, 20)))
@settings(max_examples=200)
def test_the_objective_grows_with_the_value_by_one_factor(problem):
    qubo, _, _ = problem
    ising, sign = to_ising(qubo), 1 if qubo.sense == "max" else -1
    assert ising.weights.dtype == np.int32 == ising.fields.dtype
    pairs = [
        (sign * qubo.value(x), objective(ising, 2 * np.array(x, int) - 1))
        for x in product((0, 1), repeat=qubo.variables)
    ]
    (value, spin), factors = pairs[0], set()
    for other_value, other_spin in pairs[1:]:
        assert (other_value > value) == (other_spin > spin)
        if other_value != value:
            factors.add(round((other_spin - spin) / (other_value - value), 9))
    assert len(factors) <= 1


def test_weights_too_large_for_small_integers_are_floats_and_floats_are_scaled_to_one():
    assert to_ising(Qubo.from_dense(np.array([[0, 2**40 + 1], [0, 1]]))).weights.dtype == np.float64
    scaled = to_ising(Qubo.from_dense(np.array([[0, 1e200], [0, 1e190]])))
    assert 0.1 < np.abs(scaled.weights).max() <= 1

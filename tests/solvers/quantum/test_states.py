"""Gates on amplitudes against matrices that are put together by Kronecker products."""

from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.enumeration import dense, spectrum
from solvers.ising import to_ising
from solvers.quantum.qaoa import Qaoa
from solvers.quantum.states import IN_CACHE, _add_up, _measure, _mix
from solvers.quantum.vqe import Vqe
from solvers.qubo import Qubo
from solvers.seeding import seeded_state
from solvers.strategy import Start
from tests.solvers.twins import problems, random_word

X, ONE = np.array([[0, 1], [1, 0]]), np.eye(2)
ANGLES = st.floats(-4, 4)


def on_qubit(gate, qubit, qubits):
    """The gate on one qubit as a matrix over all of them; bit 0 is the last factor."""
    return reduce(
        lambda one, other: np.kron(one, other),
        [gate if each == qubit else ONE for each in reversed(range(qubits))],
        np.eye(1),
    )


def exponential(matrix, angle):
    """exp(-i · angle · matrix) of a symmetric matrix, by its eigenvectors."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ np.diag(np.exp(-1j * angle * values)) @ vectors.T


def objective_matrix(problem):
    """The objective as an operator: a sum of products of Pauli matrices, in which a bit that is set is a spin that is up."""
    couplings, fields = dense(problem)
    size = len(fields)
    spins = [on_qubit(np.diag([-1, 1]), i, size) for i in range(size)]
    total = np.zeros((2**size, 2**size))
    for i in range(size):
        total += fields[i] * spins[i]
        for j in range(i):
            total += couplings[i, j] * spins[i] @ spins[j]
    return total


def obvious_run(problem, unit, angles):
    """Of the circuit with these angles: its state, the expectation of the objective in such units, and what that gains with each angle."""
    size = len(problem.fields)
    worth = objective_matrix(problem) / unit
    mixer = sum(on_qubit(X, i, size) for i in range(size))
    depth = len(angles) // 2
    gates = [(k, matrix) for layer in range(depth) for k, matrix in ((layer, worth), (depth + layer, mixer))]
    state = np.full(2**size, 2.0 ** (-size / 2), complex)
    changes = np.zeros((2 * depth, 2**size), complex)  # of the state with each angle, by the rule of products
    for k, matrix in gates:
        gate = exponential(matrix, angles[k])
        state, changes = gate @ state, changes @ gate.T
        changes[k] = -1j * matrix @ state
    return state, (state.conj() @ worth @ state).real, 2 * (changes @ (worth @ state).conj()).real


def finished(steps):
    """What a course of steps returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def started(problem):
    island = Qaoa(Start(problem, 1))
    finished(island.begin())
    return island


WIDE = st.floats(-9, 9).filter(lambda weight: not 0 < abs(weight) < 1e-9)
"""Tinier ones beside larger ones have slopes past all floats."""
SMALL = problems(variables_max=5, weights=st.one_of(st.integers(-9, 9), WIDE))


@given(SMALL, st.lists(st.tuples(ANGLES, ANGLES), max_size=3))
@settings(max_examples=150, deadline=None)
def test_a_circuit_and_its_slope_are_those_of_its_matrices(drawn, layers):
    problem = to_ising(drawn[0])
    if not len(problem.fields):
        return
    island = started(problem)
    angles = np.array([*(phase for phase, _ in layers), *(mix for _, mix in layers)])
    expectation = finished(island.run(angles))
    state, value, slope = obvious_run(problem, island.unit, angles)
    largest = 1.0 + np.abs(island.worth).max()
    assert expectation == pytest.approx(value, abs=1e-9 * largest)
    np.testing.assert_allclose(island.state[0] + 1j * island.state[1], state, atol=1e-9 * largest)
    np.testing.assert_allclose(finished(island.slope(angles)), slope, atol=1e-9 * largest**2)


@given(st.integers(1, IN_CACHE + 2), st.lists(st.integers(0, IN_CACHE + 2), max_size=4), ANGLES)
@settings(max_examples=100, deadline=None)
def test_qubits_are_mixed_the_same_within_the_cache_and_beyond_it(qubits, cuts, angle):
    state = np.random.default_rng(qubits).normal(size=(2, 2**qubits))
    twin = (state[0] + 1j * state[1]).reshape([2] * qubits)
    for axis in range(qubits):
        twin = np.cos(angle) * twin - 1j * np.sin(angle) * np.flip(twin, axis)
    for first, end in pairwise(sorted({0, qubits, *(min(cut, qubits) for cut in cuts)})):
        _mix(state[0], state[1], angle, first, end)
    np.testing.assert_allclose(state[0] + 1j * state[1], twin.reshape(-1), atol=1e-12)


@given(st.integers(0, 6), st.integers(0, 2**64 - 1), st.integers(1, 50))
@settings(max_examples=200, deadline=None)
def test_what_is_measured_comes_as_often_as_its_chance_says(qubits, seed, shots):
    rng = np.random.default_rng(seed % 2**32)
    state = rng.normal(size=(2, 2**qubits)) * (rng.random(2**qubits) < 0.7)
    state[:, 0] += 0.1
    state /= np.sqrt((state**2).sum())
    worth, sums = rng.integers(-3, 4, 2**qubits).astype(float), np.zeros(2**qubits)
    _add_up(state[0], state[1], sums)
    np.testing.assert_allclose(sums, np.cumsum((state**2).sum(axis=0)))
    drawing = seeded_state(seed)
    words = [int(word) for word in drawing]
    seen = [int(np.searchsorted(sums, (random_word(words) >> 11) * 2.0**-53 * sums[-1], "right")) for _ in range(shots)]
    assert _measure(sums, worth, shots, drawing) == max(seen, key=lambda z: (worth[z], -seen.index(z)))
    assert [int(word) for word in drawing] == words
    assert all((state[:, z] != 0).any() for z in seen)


def test_the_worth_of_assignments_is_the_diagonal_of_the_objective():
    matrix = np.random.default_rng(1).integers(-9, 10, (5, 5))
    problem = to_ising(Qubo.from_dense(matrix))
    np.testing.assert_allclose(spectrum(problem), np.diag(objective_matrix(problem)))


Y = np.array([[0, -1j], [1j, 0]])


def obvious_ansatz(qubits, angles):
    """The state of the circuit of `solvers.quantum.vqe`, by its matrices."""
    state = np.zeros(2**qubits, complex)
    state[0] = 1.0
    for first in range(0, len(angles), qubits):
        for low in range(qubits - 1 if first else 0):
            both_up = on_qubit(np.diag([0, 1]), low, qubits) @ on_qubit(np.diag([0, 1]), low + 1, qubits)
            state = (np.eye(2**qubits) - 2 * both_up) @ state
        for qubit in range(qubits):
            half = angles[first + qubit] / 2
            turn = np.cos(half) * np.eye(2**qubits) - 1j * np.sin(half) * on_qubit(Y, qubit, qubits)
            state = turn @ state
    return state


@given(SMALL, st.integers(0, 3), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_an_ansatz_is_the_product_of_its_matrices_and_each_angle_goes_to_its_top(drawn, layers, seed):
    problem = to_ising(drawn[0])
    qubits = len(problem.fields)
    if not qubits:
        return
    island = Vqe(Start(problem, 1))
    finished(island.begin())
    angles = np.random.default_rng(seed).normal(size=qubits * (1 + layers)) * 2
    value, largest = finished(island.run(angles)), 1.0 + np.abs(island.worth).max()
    np.testing.assert_allclose(island.state[0], obvious_ansatz(qubits, angles), atol=1e-12)
    assert value == pytest.approx((island.state[0] ** 2) @ island.worth, abs=1e-9 * largest)
    finished(island.climb(angles, value))
    after = finished(island.run(angles))
    assert after >= value - 1e-9 * largest
    for other in np.linspace(-3, 3, 7):  # it was the last to move, so it is still at its top
        angles[-1] = other
        assert finished(island.run(angles)) <= after + 1e-9 * largest

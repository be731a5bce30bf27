"""Plain elimination leaves what the kernels leave, bit for bit."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers import elimination, elimination_kernels
from solvers.generators import sparse_random
from solvers.ising import to_ising
from solvers.qubo import Convention, Qubo
from solvers.reduction import reduce
from tests.solvers.test_reduction import qubos
from tests.solvers.twins import same_bits


def agree(problem):
    """Both eliminations, each of which uses its arrays up, and a lifted solution of each."""
    found = []
    for module in (elimination, elimination_kernels):
        left = module.eliminate(
            problem.indptr, problem.indices, problem.weights.copy(), problem.fields.copy(), lambda: False
        )
        spins = np.ones(len(problem.fields), np.int8)
        spins[left.kept[::2]] = -1
        module.lift(spins, left.taken, left.near, left.pulls)
        found.append((*left, spins))
    return same_bits(*found)


@given(qubos())
@settings(max_examples=400, deadline=None)
def test_plain_elimination_leaves_what_kernels_leave(qubo):
    assert agree(to_ising(qubo))


@given(st.integers(20, 150), st.floats(1, 8), st.sampled_from([1, 7, 0.3]), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_plain_elimination_leaves_what_kernels_leave_of_random_graphs(size, degree, scale, seed):
    rows, columns, weights = sparse_random(size, degree, seed).terms()
    fields = np.random.default_rng(seed).integers(-2, 3, size)
    terms = (np.append(rows, np.arange(size)), np.append(columns, np.arange(size)), np.append(weights, fields) * scale)
    assert agree(to_ising(Qubo.from_terms(size, terms, convention=Convention.SPINS, sense="min")))


def test_a_large_reduction_is_the_same_by_kernels(monkeypatch):
    problem = to_ising(sparse_random(2000, 3.0, 1))
    plain = reduce(problem)
    monkeypatch.setattr("solvers.reduction.PLAIN_COUPLINGS_MAX", 10)
    compiled = reduce(problem)
    spins = np.ones(len(plain.kept), np.int8)
    assert same_bits((plain.kept, plain.taken, plain.pulls), (compiled.kept, compiled.taken, compiled.pulls))
    assert (plain.lift(spins) == compiled.lift(spins)).all()

"""What is left of a problem has the same best solutions, and each of its solutions lifts to one as good."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.generators import sparse_random, toroidal_grid
from solvers.ising import Ising, to_ising
from solvers.portfolio import solve
from solvers.qubo import Convention, Qubo
from solvers.reduction import reduce
from tests.solvers.sparse.twins import dense
from tests.solvers.twins import brute_force

WEIGHTS = [
    st.integers(-1, 1),
    st.integers(-4, 4),
    st.integers(-(2**40), 2**40),
    st.floats(-5, 5, allow_subnormal=False),
]


@st.composite
def qubos(draw):
    """Small problems with and without fields, whole and not: paths, stars, dense cores with trees on them."""
    variables = draw(st.integers(1, 9))
    weight = draw(st.sampled_from(WEIGHTS))
    index = st.integers(0, variables - 1)
    pairs = draw(st.lists(st.tuples(index, index), max_size=draw(st.sampled_from([8, 14, 30]))))
    terms = [(i, j, draw(weight)) for i, j in pairs]
    kind = np.float64 if any(isinstance(w, float) for *_, w in terms) else np.int64
    rows, columns, weights = ([term[k] for term in terms] for k in range(3))
    return Qubo.from_terms(
        variables,
        (np.array(rows, int), np.array(columns, int), np.array(weights, kind)),
        convention=draw(st.sampled_from(list(Convention))),
        sense=draw(st.sampled_from(["min", "max"])),
    )


def objectives(problem: Ising, spins: np.ndarray) -> np.ndarray:
    """Of each row of spins."""
    matrix = np.zeros((len(problem.fields),) * 2)
    for i in range(len(problem.fields)):
        row = slice(problem.indptr[i], problem.indptr[i + 1])
        np.add.at(matrix[i], problem.indices[row], problem.weights[row])
    assert (matrix == matrix.T).all()
    assert not matrix.diagonal().any()
    found: np.ndarray = ((spins @ matrix) * spins).sum(axis=1) / 2 + spins @ problem.fields
    return found


def all_spins(size: int) -> np.ndarray:
    return 1 - 2 * (np.arange(2**size)[:, None] >> np.arange(size) & 1)


@given(qubos())
@settings(max_examples=300)
def test_the_best_of_what_is_left_lifts_to_the_best_of_all(qubo):
    problem = to_ising(qubo)
    reduced = reduce(problem)
    left = all_spins(len(reduced.kept)).astype(np.int8)
    other = objectives(reduced.problem, left)
    chosen = [other.argmax(), *range(0, len(left), max(1, len(left) // 8))]
    left, other = left[chosen], other[chosen]
    lifted = np.array([reduced.lift(spins) for spins in left])
    assert all((reduced.restrict(spins) == row).all() for spins, row in zip(lifted, left, strict=True))
    one = objectives(problem, lifted)
    best = objectives(problem, all_spins(len(problem.fields))).max()
    assert one[0] == pytest.approx(best, abs=1e-9, rel=1e-12)
    factor = reduced.problem.unit / (problem.unit * reduced.scale)
    assert one - one[0] == pytest.approx(factor * (other - other[0]), abs=1e-9, rel=1e-12)


@given(qubos(), st.integers(0, 2**32))
@settings(max_examples=100)
def test_reduced_problems_are_solved_to_the_optimum(qubo, seed):
    assert solve(qubo, seconds=3600, seed=seed, work_max=300_000).value == pytest.approx(brute_force(qubo))


@given(st.integers(2, 400), st.integers(0, 2**32), st.booleans())
@settings(max_examples=100)
def test_nothing_is_left_of_a_tree(size, seed, with_fields):
    rng = np.random.default_rng(seed)
    parents = np.array([rng.integers(0, child) for child in range(1, size)])
    weights = rng.choice([-3, -2, -1, 1, 2, 3], size - 1)
    convention = Convention.COUNTED_ONCE if with_fields else Convention.MAX_CUT
    tree = Qubo.from_terms(size, (parents, np.arange(1, size), weights), convention=convention, sense="max")
    solution = solve(tree, seconds=0.001, seed=1)
    assert solution.features["variables"] == 0
    if not with_fields:
        assert solution.value == weights[weights > 0].sum()


def test_two_hubs_of_a_thousand_spokes_are_reduced_though_couplings_stand_side_by_side():
    spokes, rng = 1000, np.random.default_rng(1)
    middle = np.arange(2, 2 + spokes)
    ends = np.repeat([0, 1], spokes)
    weights = rng.choice([-2, -1, 1, 2], 2 * spokes)
    wheel = Qubo.from_terms(spokes + 2, (ends, np.tile(middle, 2), weights), convention=Convention.SPINS, sense="max")
    one, other = weights[:spokes], weights[spokes:]
    solution = solve(wheel, seconds=0.001, seed=1)
    assert solution.features["variables"] == 0
    assert solution.value == max(np.abs(one + other).sum(), np.abs(one - other).sum())


def test_a_strong_field_fixes_a_spin_and_a_strong_coupling_joins_two():
    rows, columns = np.triu_indices(8, 1)
    weights = np.ones(len(rows), np.int64)
    weights[0] = 40  # between 0 and 1, stronger than all else of each
    complete = Qubo.from_terms(8, (rows, columns, weights), convention=Convention.SPINS, sense="max")
    assert len(reduce(to_ising(complete)).kept) < 8
    core = np.where(weights == 40, -1, weights)
    fields = np.array([9, 0, 0, 0, 0, 0, 0, 0])
    terms = (np.append(rows, np.arange(8)), np.append(columns, np.arange(8)), np.append(core, fields))
    held = Qubo.from_terms(8, terms, convention=Convention.SPINS, sense="max")
    assert len(reduce(to_ising(held)).kept) < 8


def test_a_graph_without_loose_ends_stays_as_it_is():
    problem = to_ising(toroidal_grid(6, 6, 1))
    reduced = reduce(problem)
    assert reduced.problem is problem
    assert dense(reduced.problem).any()
    assert (reduced.lift(np.ones(36, np.int8)) == 1).all()


def test_a_reduction_that_is_stopped_leaves_a_valid_problem():
    problem = to_ising(sparse_random(120_000, 2.5, 1))
    answers = iter([False, True])
    reduced = reduce(problem, lambda: next(answers))
    assert 0 < len(reduced.taken) < len(reduce(problem).taken)
    spins = np.random.default_rng(1).choice(np.array([-1, 1], np.int8), (3, len(reduced.kept)))
    lifted = [reduced.lift(each) for each in spins]
    gains = [gain(problem, lifted[0], each) * reduced.scale for each in lifted]
    factor = reduced.problem.unit // problem.unit
    assert gains == [gain(reduced.problem, spins[0], each) * factor for each in spins]


def gain(problem: Ising, one: np.ndarray, other: np.ndarray) -> int:
    rows = np.repeat(np.arange(len(problem.fields)), np.diff(problem.indptr))
    twice = [
        int((problem.weights * spins[rows].astype(int) * spins[problem.indices]).sum())
        + 2 * int(spins @ problem.fields)
        for spins in (one.astype(np.int64), other.astype(np.int64))
    ]
    return twice[1] - twice[0]

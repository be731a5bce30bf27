"""Branch and bound against the definitions, and its bounds against all assignments."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.bounds import improve, order_of, without_first
from solvers.branching import Tree, memory_bytes
from solvers.matrices import INVERTED_MAX, inverse, product
from solvers.seeding import random_signs
from solvers.tabu_rows import TabuRows
from tests.solvers.twins import obvious_gains, obvious_objective


def random_problem(size, seed):
    rng = np.random.default_rng(seed)
    half = np.triu(rng.normal(size=(size, size)), 1)
    return half + half.T, rng.normal(size=size), rng


def positive(size, seed):
    couplings, _, _ = random_problem(size, seed)
    return np.diag(np.abs(couplings).sum(axis=1) + 0.1) - couplings


def objectives(couplings, fields):
    signs = 2 * ((np.arange(2 ** len(fields))[:, None] >> np.arange(len(fields))) & 1) - 1
    return np.array([obvious_objective(couplings, fields, spins) for spins in signs])


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 700, 5), (900, 30, 600), (0, 4, 4)])
def test_a_product_in_strips_is_the_product(shape):
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=shape[:2]), rng.normal(size=shape[1:])
    np.testing.assert_allclose(product(one, other), one @ other, atol=1e-9)


@pytest.mark.parametrize("size", [1, 7, INVERTED_MAX, INVERTED_MAX + 1, 200])
def test_an_inverse_in_halves_is_numpys_and_none_where_the_matrix_is_not_positive(size):
    matrix = positive(size, size)
    found = inverse(matrix)
    assert found is not None
    np.testing.assert_allclose(found, np.linalg.inv(matrix), atol=1e-9)
    assert inverse(-matrix) is None
    last = matrix.copy()
    last[-1, -1] = -1.0
    assert inverse(last) is None
    if size > 1:
        np.testing.assert_allclose(without_first(found), np.linalg.inv(matrix[1:, 1:]), atol=1e-9)


@given(st.integers(1, 9), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_a_bound_holds_for_every_assignment_and_newton_only_lowers_its_mean(size, seed):
    couplings, fields, _ = random_problem(size, seed)
    moments = np.outer(fields, fields) + 0.01 * np.eye(size)
    shifts = np.abs(couplings).sum(axis=1) + 1.0
    before, after = improve(couplings, moments, shifts, 0), improve(couplings, moments, shifts, 30)
    assert before.mean == pytest.approx(0.5 * shifts.sum() + 0.5 * np.trace(before.inverse @ moments))
    assert after.mean <= before.mean
    np.testing.assert_allclose(after.inverse @ (np.diag(after.shifts) - couplings), np.eye(size), atol=1e-6)
    bound = 0.5 * after.shifts.sum() + 0.5 * fields @ after.inverse @ fields
    assert objectives(couplings, fields).max() <= bound + 1e-9


@given(st.integers(1, 10), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_the_order_is_by_the_least_room_that_the_rest_leaves(size, seed):
    matrix = positive(size, seed)
    left, expected = list(range(size)), []
    while left:
        room = np.diag(np.linalg.inv(matrix[np.ix_(left, left)]))
        expected.append(left.pop(int(room.argmin())))
    assert order_of(np.linalg.inv(matrix)).tolist() == expected


@given(st.integers(1, 11), st.integers(0, 2**32), st.booleans(), st.integers(1, 40))
@settings(max_examples=100, deadline=None)
def test_a_tree_ends_with_the_best_of_all_assignments_whatever_was_known(size, seed, has_fields, work_per_call):
    couplings, fields, rng = random_problem(size, seed)
    fields = fields * has_fields
    known = rng.choice([-1.0, 1.0], size)
    tree, best = Tree(couplings, fields, known, 1e-9), known
    for _ in tree.prepare():
        pass
    while not tree.done:
        better = tree.branch(tree.work + work_per_call)
        if better is not None:
            assert obvious_objective(couplings, fields, better) > obvious_objective(couplings, fields, best)
            best = better
    assert obvious_objective(couplings, fields, best) == pytest.approx(objectives(couplings, fields).max())
    assert tree.nodes > 0


def test_a_tree_goes_the_same_way_however_its_calls_are_cut():
    couplings, fields, _ = random_problem(24, 5)
    found = []
    for work_per_call in (1, 50, 2**40):
        tree = Tree(couplings, fields, -np.ones(24), 1e-9)
        for _ in tree.prepare():
            pass
        better = []
        while not tree.done:
            spins = tree.branch(tree.work + work_per_call)
            if spins is not None:
                better.append((tree.work, spins.tolist()))
        found.append((better, tree.work, tree.nodes))
    assert found[0] == found[1] == found[2]


def test_memory_grows_with_the_cube_of_the_spins():
    assert memory_bytes(100) < 20e6
    assert memory_bytes(200) < 60e6


@given(st.integers(2, 10), st.integers(0, 2**32), st.integers(0, 40), st.integers(1, 5))
@settings(max_examples=200, deadline=None)
def test_tabu_keeps_its_gains_and_the_best_that_each_row_met(size, seed, steps, rows):
    couplings, fields, _ = random_problem(size, seed)
    starts = random_signs((rows, size), seed)
    tabu = TabuRows(couplings, fields, starts)
    tabu.run(steps // 2)
    tabu.run(steps - steps // 2)
    for row, start in enumerate(starts):
        best = tabu.bests[row]
        assert tabu.best_objectives[row] == pytest.approx(obvious_objective(couplings, fields, best))
        assert tabu.best_objectives[row] >= obvious_objective(couplings, fields, start) - 1e-9
        np.testing.assert_allclose(tabu._gains[row], 2 * obvious_gains(couplings, fields, tabu._spins[row]), atol=1e-9)


def test_signs_are_as_many_of_each_and_others_for_another_seed_or_stream():
    one = random_signs((16, 1000), 1)
    assert abs(one.mean()) < 0.03
    assert set(one.ravel().tolist()) == {-1.0, 1.0}
    assert not (one == random_signs((16, 1000), 2)).all()
    assert not (one == random_signs((16, 1000), 1, 1)).all()

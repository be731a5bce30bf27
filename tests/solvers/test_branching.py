"""The kernels of exact search against numpy and the definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.branching import _choose_order, _descend, _factor, _invert, _mean_bound, _shift, _without_first
from tests.solvers.twins import obvious_gains, obvious_objective


def random_problem(size, seed):
    rng = np.random.default_rng(seed)
    half = np.triu(rng.normal(size=(size, size)), 1)
    return half + half.T, rng.normal(size=size), rng


@given(st.integers(1, 12), st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_factor_and_inverse_are_numpys(size, seed):
    couplings, _, _ = random_problem(size, seed)
    matrix = np.diag(np.abs(couplings).sum(axis=1) + 0.1) - couplings
    factor, lower, inverse = np.zeros((size, size)), np.zeros((size, size)), np.zeros((size, size))
    assert _factor(matrix, size, factor)
    np.testing.assert_allclose(np.tril(factor), np.linalg.cholesky(matrix), atol=1e-9)
    _invert(factor, size, lower, inverse)
    np.testing.assert_allclose(inverse, np.linalg.inv(matrix), atol=1e-7)
    if size > 1:
        shorter = np.zeros((size - 1, size - 1))
        _without_first(inverse, size, shorter)
        np.testing.assert_allclose(shorter, np.linalg.inv(matrix[1:, 1:]), atol=1e-7)
    assert not _factor(matrix - 1000 * np.eye(size), size, factor)


@given(st.integers(1, 9), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_a_depths_bound_holds_for_every_assignment_and_newton_only_lowers_its_mean(size, seed):
    couplings, fields, _ = random_problem(size, seed)
    moments = np.outer(fields, fields) + 0.01 * np.eye(size)
    shifts = np.abs(couplings).sum(axis=1) + 1.0
    buffers, inverse = np.zeros((5, size, size)), np.zeros((size, size))
    before = _mean_bound(couplings, moments, shifts, size, buffers, inverse)
    assert before == pytest.approx(0.5 * shifts.sum() + 0.5 * np.trace(inverse @ moments))
    after = _shift(couplings, moments, shifts, size, 30, 1e-9, buffers, inverse)
    assert after <= before
    np.testing.assert_allclose(inverse @ (np.diag(shifts) - couplings), np.eye(size), atol=1e-6)
    bound = 0.5 * shifts.sum() + 0.5 * fields @ inverse @ fields
    signs = 2 * ((np.arange(2**size)[:, None] >> np.arange(size)) & 1) - 1
    best = max(s @ couplings @ s / 2 + fields @ s for s in signs)
    assert best <= bound + 1e-9


@given(st.integers(1, 10), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_the_order_is_by_the_least_room_that_the_rest_leaves(size, seed):
    couplings, _, _ = random_problem(size, seed)
    matrix = np.diag(np.abs(couplings).sum(axis=1) + 0.1) - couplings
    order, left, expected = np.zeros(size, np.int64), list(range(size)), []
    _choose_order(np.linalg.inv(matrix), order)
    while left:
        room = np.diag(np.linalg.inv(matrix[np.ix_(left, left)]))
        expected.append(left.pop(int(room.argmin())))
    assert order.tolist() == expected


@given(st.integers(2, 10), st.integers(0, 2**32), st.integers(0, 40))
@settings(max_examples=200, deadline=None)
def test_tabu_keeps_its_gains_and_returns_the_best_that_it_met(size, seed, steps):
    couplings, fields, rng = random_problem(size, seed)
    spins = rng.choice([-1.0, 1.0], size)
    gains, until, best = np.zeros(size), np.zeros(size, np.int64), np.zeros(size)
    begin = obvious_objective(couplings, fields, spins)
    found = _descend(couplings, fields, spins, gains, until, best, steps)
    assert found == pytest.approx(obvious_objective(couplings, fields, best))
    assert found >= begin - 1e-9
    np.testing.assert_allclose(gains, 2 * obvious_gains(couplings, fields, spins), atol=1e-9)

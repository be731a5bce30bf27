"""The problem type: values by definition, exact for integers, correctly rounded for floats, bounds checked first."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from solvers.qubo import MAGNITUDE_MAX, Convention, Qubo
from tests.solvers.twins import assignments, obvious_value, problems

ONCE = Convention.COUNTED_ONCE


@given(st.data())
@settings(max_examples=600, deadline=None)
def test_a_value_is_the_obvious_sum_in_every_convention(data):
    qubo, terms, offset = data.draw(problems())
    x = data.draw(assignments(qubo.variables))
    exact = obvious_value(qubo.convention, qubo.variables, terms, offset, x)
    assert qubo.value(x) == (int(exact) if qubo.is_integer else float(exact))


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_dense_and_sparse_forms_give_the_same_bits(data):
    n = data.draw(st.integers(1, 6))
    weight = data.draw(st.sampled_from([st.integers(-99, 99), st.floats(-1e3, 1e3)]))
    matrix = np.array(data.draw(st.lists(st.lists(weight, min_size=n, max_size=n), min_size=n, max_size=n)))
    x = data.draw(assignments(n))
    dense, rows = Qubo.from_dense(matrix), Qubo.from_csr(sparse.csr_array(matrix))
    assert dense.value(x) == rows.value(x)
    for one, other in ((dense.weights, rows.weights), (dense.indices, rows.indices), (dense.linear, rows.linear)):
        assert one.tobytes() == other.tobytes()
    assert dense.value(x) == pytest.approx(np.array(x) @ matrix @ np.array(x), rel=1e-9, abs=1e-9)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_the_dense_matrix_gives_the_value_again(data):
    qubo, _, _ = data.draw(problems(weights=st.integers(-99, 99)))
    x = np.array(data.draw(assignments(qubo.variables)), int)
    assert x @ qubo.to_dense() @ x + qubo.value(0 * x) == qubo.value(x)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_turned_over_or_counted_once_it_is_the_same_problem(data):
    qubo, _, _ = data.draw(problems(weights=st.integers(-(2**40), 2**40)))
    x = data.draw(assignments(qubo.variables))
    assert qubo.counted_once().value(x) == qubo.value(x) == -qubo.negated().value(x)
    assert qubo.negated().sense != qubo.sense


@pytest.mark.parametrize(
    ("largest", "kind"),
    [(127, np.int8), (128, np.int16), (-128, np.int16), (2**15, np.int32), (2**31, np.int64), (0.5, np.float64)],
)
def test_weights_are_kept_in_the_narrowest_type_that_holds_them_and_their_negatives(largest, kind):
    for convention in Convention:
        qubo = Qubo.from_terms(3, ([0, 1, 1], [1, 1, 2], [largest, 1, 2]), convention=convention, sense="max")
        assert qubo.weights.dtype == kind
        assert qubo.value([1, 0, 0]) == obvious_value(
            convention, 3, [(0, 1, largest), (1, 1, 1), (1, 2, 2)], 0, [1, 0, 0]
        )


def test_repeated_terms_add_up_and_those_that_cancel_are_gone():
    terms = ([0, 1, 0, 2, 0], [1, 0, 2, 0, 0], [3, 4, 5, -5, 7])
    qubo = Qubo.from_terms(3, terms, convention=ONCE, sense="min")
    assert qubo.couplings == 1
    assert qubo.value([1, 1, 1]) == 14


def test_a_self_loop_is_never_cut():
    qubo = Qubo.from_terms(2, ([0, 0], [0, 1], [100, 1]), convention=Convention.MAX_CUT, sense="max")
    assert [qubo.value(x) for x in ([0, 0], [1, 0], [1, 1])] == [0, 1, 0]


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -float("inf")])
def test_a_weight_that_is_no_number_is_refused(weight):
    with pytest.raises(ValueError, match="NaN or infinite"):
        Qubo.from_dense(np.array([[weight]]))


def test_integers_that_could_overflow_are_refused():
    with pytest.raises(ValueError, match="overflow"):
        Qubo.from_dense(np.array([[MAGNITUDE_MAX // 2, MAGNITUDE_MAX // 2], [0, 1]]))
    with pytest.raises(ValueError, match="64 bits"):
        Qubo.from_terms(1, ([0], [0], [2**70]), convention=ONCE, sense="min")


def test_floats_that_add_up_to_infinity_are_refused():
    with pytest.raises(ValueError, match="overflow"):
        Qubo.from_dense(np.full((2, 2), 1e308))


@pytest.mark.parametrize("index", [-1, 2, 10**12])
def test_an_index_out_of_range_is_refused(index):
    with pytest.raises(ValueError, match=f"index {index} is out of range"):
        Qubo.from_terms(2, ([0], [index], [1]), convention=ONCE, sense="min")


def test_a_problem_past_the_memory_bound_is_refused_with_the_estimate():
    with pytest.raises(ValueError, match="needs about 64000 bytes of memory; 1000 are allowed"):
        Qubo.from_terms(1000, ([], [], []), convention=ONCE, sense="min", memory_bytes_max=1000)
    with pytest.raises(ValueError, match="bytes of memory"):
        Qubo.from_terms(1_000_000, ([], [], []), convention=ONCE, sense="min").to_dense()


@pytest.mark.parametrize("shape", [(2, 3), (4,)])
def test_a_matrix_that_is_not_square_is_refused(shape):
    with pytest.raises(ValueError, match="square"):
        Qubo.from_dense(np.zeros(shape))


@pytest.mark.parametrize(
    ("assignment", "reason"), [([0], "2 variables"), ([0, 2], "0 and 1"), ([[0, 1]], "2 variables")]
)
def test_a_wrong_assignment_is_refused(assignment, reason):
    with pytest.raises(ValueError, match=reason):
        Qubo.from_dense(np.eye(2)).value(assignment)


def test_no_variables_and_one_variable_are_problems_too():
    assert Qubo.from_dense(np.zeros((0, 0)), offset=3).value([]) == 3
    assert Qubo.from_dense(np.array([[-2]])).value([1]) == -2

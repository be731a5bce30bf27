"""Rows that numpy sorts are those that kernels scatter, bit for bit."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.csr import sort
from solvers.csr_kernels import scatter
from tests.solvers.twins import same_bits

WEIGHTS = [st.integers(-3, 3), st.integers(-(2**40), 2**40), st.floats(-1e9, 1e9)]


@st.composite
def listed_terms(draw):
    """Terms in any order, of either triangle, many of them repeated."""
    variables = draw(st.integers(0, 6))
    index, weight = st.integers(0, max(0, variables - 1)), draw(st.sampled_from(WEIGHTS))
    terms = draw(st.lists(st.tuples(index, index, weight), max_size=30)) if variables else []
    kind = np.float64 if any(isinstance(each, float) for *_, each in terms) else np.int64
    rows, columns, weights = ([term[part] for term in terms] for part in range(3))
    return variables, np.array(rows, np.int32), np.array(columns, np.int32), np.array(weights, kind)


@given(listed_terms(), st.booleans())
@settings(max_examples=400, deadline=None)
def test_sorted_rows_are_the_scattered_ones(terms, diagonal):
    assert same_bits(sort(*terms, diagonal=diagonal), scatter(*terms, diagonal=diagonal))

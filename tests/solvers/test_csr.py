"""Rows that numpy sorts are those that kernels scatter, bit for bit."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.csr import pair_sums, row_sums, sort
from solvers.csr_kernels import scatter, sum_pairs, sum_rows
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
@settings(max_examples=200, deadline=None)
def test_rows_of_narrow_weights_are_the_same(terms, diagonal):
    variables, rows, columns, weights = terms
    narrow = (weights.astype(np.int64) % 255 - 127).astype(np.int8)
    found = scatter(variables, rows, columns, narrow, diagonal=diagonal)
    wide = sort(variables, rows, columns, narrow.astype(np.int64), diagonal=diagonal)
    pairs: Any = zip(found, wide, strict=True)
    assert all((one == other).all() for one, other in pairs)


@given(listed_terms(), st.sampled_from([np.int8, np.int32, np.int64]), st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_sums_by_kernels_are_those_of_numpy(terms, kind, seed):
    variables, rows, columns, weights = terms
    found = sort(variables, rows, columns, weights.astype(np.int64) % 255 - 127, diagonal=True)
    values = np.clip(found.weights, -127, 127).astype(kind)
    for magnitudes in (False, True):
        sums = row_sums(found.indptr, values, magnitudes=magnitudes)
        assert same_bits([sums], [sum_rows(found.indptr, values, magnitudes=magnitudes)])
        expected = [np.abs(part).sum() if magnitudes else part.sum() for part in np.split(values, found.indptr[1:-1])]
        assert sums.tolist() == expected[:variables]
    chosen = np.random.default_rng(seed).random(variables) < 0.5
    among, across = pair_sums(found.indptr, found.indices, values, chosen)
    assert (among, across) == sum_pairs(found.indptr, found.indices, values, chosen)


@given(listed_terms(), st.booleans())
@settings(max_examples=400, deadline=None)
def test_sorted_rows_are_the_scattered_ones(terms, diagonal):
    assert same_bits(sort(*terms, diagonal=diagonal), scatter(*terms, diagonal=diagonal))

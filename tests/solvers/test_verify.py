"""Checking answers: values from a file's own lines, and assignments as text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solvers.verify import decode_assignment, encode_assignment, recompute, same_value


@given(st.lists(st.integers(0, 1), max_size=100))
def test_an_assignment_survives_its_text(bits):
    text = encode_assignment(bits)
    assert decode_assignment(text, len(bits)).tolist() == bits
    if bits:
        with pytest.raises(ValueError, match=r"not those of|behind"):
            decode_assignment(text, len(bits) + 24)


@pytest.mark.parametrize(
    ("text", "variables", "reason"),
    [
        ("gA==", 9, "bytes are not those"),
        ("g===", 8, "not base64"),
        ("gÄ==", 8, "not base64"),
        ("/w==", 7, "behind its 7 variables"),
        ("", 1, "0 characters"),
        ("", -1, "between 0"),
        ("", 10**15, "between 0"),
    ],
)
def test_text_that_is_no_assignment_is_refused(text, variables, reason):
    with pytest.raises(ValueError, match=reason):
        decode_assignment(text, variables)


@pytest.mark.parametrize("bits", [[0, 2], [[0, 1]], [0.5]])
def test_what_is_no_assignment_is_not_encoded(bits):
    with pytest.raises(ValueError, match="0 and 1"):
        encode_assignment(bits)


@pytest.mark.parametrize(
    "data",
    [b"3 1\n1 2 5\n", b"1\n3 1\n1 2 5\n", b"p qubo 0 3 0 1\n0 1 5\n", b'{"format":"gavel-qubo/1","variables":3}'],
)
def test_an_assignment_of_another_length_is_refused(data):
    with pytest.raises(ValueError, match="3 variables, the assignment 2"):
        recompute(data, np.zeros(2, int))


def test_a_file_that_no_reader_knows_has_no_value():
    with pytest.raises(ValueError, match="no reader"):
        recompute(b"hello", [0])


def test_whole_values_must_be_equal_and_others_nearly_so():
    assert same_value(3, 3)
    assert not same_value(10**15, 10**15 + 1)
    assert same_value(0.1 + 0.2, 0.3)
    assert not same_value(0.3, 0.30001)

"""Solution files: what is written is what is read; anything else is refused and says why."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solvers.qubo import Qubo
from solvers.solutions import SOLUTION_FORMAT, read_solution, write_solution


@given(st.lists(st.integers(0, 1), max_size=70))
def test_what_is_written_is_what_is_read(bits: list[int]):
    assignment = np.array(bits, np.uint8)
    qubo = Qubo.from_dense(np.eye(len(bits)))
    data = write_solution(qubo, qubo.value(assignment), assignment, {"seed": 1})
    assert json.loads(data)["value"] == sum(bits)
    assert (read_solution(data, len(bits)) == assignment).all()


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "/format"),
        (b'{"format": "gavel-solution/2", "assignment": "01"}', "/format"),
        (b'{"format": "%s"}', "/assignment"),
        (b'{"format": "%s", "assignment": [0, 1]}', "/assignment"),
        (b'{"format": "%s", "assignment": "011"}', "not 3 characters"),
        (b'{"format": "%s", "assignment": "02"}', "nothing but 0 and 1"),
        ('{"format": "%s", "assignment": "0é"}'.encode(), "nothing but 0 and 1"),
        (b'{"format": "%s", "assignment": "0\\ud800"}', "nothing but 0 and 1"),
    ],
)
def test_anything_else_is_refused(data: bytes, fault: str):
    with pytest.raises(ValueError, match=fault):
        read_solution(data.replace(b"%s", SOLUTION_FORMAT.encode()), 2)

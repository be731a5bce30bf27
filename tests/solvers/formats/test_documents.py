"""Our own format: what may be left out, and that writing and reading again changes nothing."""

import json

import numpy as np
import pytest

from solvers.formats.documents import read_json, write_json
from solvers.generators import palubeckis, toroidal_grid
from solvers.qubo import MEMORY_BYTES_MAX, Qubo


@pytest.mark.parametrize(
    "qubo", [palubeckis(30, 50, 1), toroidal_grid(4, 4, 1), Qubo.from_dense(np.eye(3) / 3, offset=0.1)]
)
def test_a_written_problem_reads_back_with_the_same_values(qubo):
    (back,) = read_json(write_json(qubo), "", MEMORY_BYTES_MAX)
    rng = np.random.default_rng(1)
    for _ in range(20):
        x = rng.integers(0, 2, qubo.variables)
        assert back.value(x) == qubo.value(x)
    assert write_json(back) == write_json(qubo)


def test_name_terms_and_offset_may_be_left_out():
    document = {"format": "gavel-qubo/1", "sense": "max", "variables": 2}
    (qubo,) = read_json(json.dumps(document).encode(), "file", MEMORY_BYTES_MAX)
    assert (qubo.name, qubo.sense, qubo.couplings, qubo.value([1, 1])) == ("file", "max", 0, 0)

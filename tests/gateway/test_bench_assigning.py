"""The bench of coordination measures both sides, and refuses values that are not what it says."""

import numpy as np
import pytest

from benchmarks import assigning
from benchmarks.catalog import BENCHES
from benchmarks.measure import NotMeasurable
from solvers.assignment import assign


def test_each_row_on_assignments_measures_both_sides():
    assert {row.name for row in assigning.ROWS} <= {row.name for row in BENCHES["coordination"]}
    for measure in (assigning.assign_1000, assigning.assign_100, assigning.assign_10000, assigning.assign_warm):
        measured = measure(rounds=1)
        assert min(measured.ours + measured.theirs) > 0


def test_a_value_that_is_not_reached_is_not_measured():
    found = assign(np.eye(2), 1)
    with pytest.raises(NotMeasurable):
        assigning.check(found, np.eye(2), 1, best=2.1)
    with pytest.raises(NotMeasurable):
        assigning.check(found, np.eye(2), 0, best=2.0)

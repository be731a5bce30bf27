"""Temperatures come from the problem alone, whatever its units, size and kind."""

import numpy as np
import pytest

from solvers.generators import palubeckis, sparse_random, toroidal_grid
from solvers.ising import to_ising
from solvers.qubo import Qubo
from solvers.search import AnnealingOptions, schedule, temperature_range


@pytest.mark.parametrize("qubo", [toroidal_grid(20, 20, 1), sparse_random(400, 6.0, 1), palubeckis(200, 80, 1)])
def test_units_cancel_out_of_the_temperatures(qubo):
    scaled = Qubo.from_dense(qubo.to_dense() * 1000, sense="max")
    one, other = (temperature_range(to_ising(each), AnnealingOptions()) for each in (qubo, scaled))
    assert one == other
    hottest, coldest = one
    assert hottest >= 2 * coldest > 0


def test_without_couplings_there_is_nothing_to_anneal():
    assert temperature_range(to_ising(Qubo.from_dense(np.diag([3, -4]))), AnnealingOptions()) == (0.0, 0.0)


@pytest.mark.parametrize(("hottest", "coldest"), [(10.0, 1.0), (1000.0, 1.0), (0.0, 0.0)])
def test_a_schedule_falls_from_the_hottest_to_the_coldest(hottest, coldest):
    falling = schedule(hottest, coldest, 50)
    assert len(falling) == 50
    assert (falling[0], falling[-1]) == (pytest.approx(hottest), pytest.approx(coldest))
    assert (np.diff(falling) <= 0).all()


def test_a_schedule_over_orders_of_magnitude_stays_long_enough_in_each():
    assert np.median(schedule(10_000.0, 1.0, 101)) == pytest.approx(100.0)

"""All assignments of small problems, in the order of a Gray code."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.enumeration import SPINS_MAX, best_of_all, dense, spectrum, twice_objective
from solvers.generators import sparse_random
from solvers.ising import to_ising
from solvers.qubo import Qubo
from tests.solvers.twins import obvious_objective, problems


@given(problems(variables_max=8, weights=st.integers(-50, 50)))
@settings(max_examples=200, deadline=None)
def test_the_spectrum_is_the_objective_of_every_assignment(problem):
    ising = to_ising(problem[0])
    couplings, fields = dense(ising)
    listed = spectrum(ising)
    for place, objective in enumerate(listed):
        spins = np.array([1 if place >> i & 1 else -1 for i in range(len(fields))])
        assert objective == obvious_objective(couplings, fields, spins)
    spins, twice = best_of_all(ising)
    assert twice == 2 * listed.max() == twice_objective(ising, spins)


def test_floats_do_not_drift_over_many_steps():
    rng = np.random.default_rng(1)
    ising = to_ising(Qubo.from_dense(rng.normal(size=(16, 16)) * 10.0 ** rng.integers(-6, 6, (16, 16))))
    couplings, fields = dense(ising)
    listed = spectrum(ising)
    for place in rng.integers(0, 2**16, 200):
        spins = np.array([1 if place >> i & 1 else -1 for i in range(16)])
        assert listed[place] == pytest.approx(obvious_objective(couplings, fields, spins), abs=1e-12)


def test_too_many_spins_are_refused():
    with pytest.raises(ValueError, match=f"at most {SPINS_MAX}"):
        spectrum(to_ising(sparse_random(SPINS_MAX + 1, 4.0, 1)))

"""The kernel of parallel tempering against its slow twin, and its ladder."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.enumeration import dense
from solvers.generators import palubeckis, toroidal_grid
from solvers.ising import to_ising
from solvers.portfolio import solve
from solvers.tempering import BLOCK, Ensemble, ladder
from tests.solvers.twins import obvious_objective, problems, random_word


def obvious_tempering(couplings, fields, spins, rungs, betas, state, sweeps):
    """Heat baths and exchanges by the definitions; the parity of the exchanges begins even."""

    def drawn():
        return ((random_word(state) >> 12) + 0.5) * 2.0**-52

    for sweep in range(sweeps):
        for rung, replica in enumerate(rungs):
            for i in range(len(fields)):
                exponent = 2 * betas[rung] * spins[replica][i] * (couplings[i] @ spins[replica] + fields[i])
                if exponent <= 40 and drawn() * (1 + math.exp(max(exponent, -700))) < 1:
                    spins[replica][i] *= -1
        for rung in range(sweep % 2, len(rungs) - 1, 2):
            hotter, colder = (obvious_objective(couplings, fields, spins[rungs[rung + k]]) for k in (0, 1))
            exponent = (betas[rung + 1] - betas[rung]) * (hotter - colder)
            if exponent >= 0 or drawn() < math.exp(max(exponent, -700)):
                rungs[rung], rungs[rung + 1] = rungs[rung + 1], rungs[rung]


@given(
    problems(variables_max=6, weights=st.integers(-9, 9)), st.integers(1, 5), st.integers(0, 2**32), st.integers(1, 9)
)
@settings(max_examples=150, deadline=None)
def test_the_kernel_does_what_its_twin_does_however_its_calls_are_cut(problem, rungs, seed, cut):
    ising = to_ising(problem[0])
    couplings, fields = dense(ising)
    betas = np.linspace(0.01, 0.4, rungs)
    ensemble = Ensemble(ising, betas, seed)
    spins, order = ensemble.spins.astype(np.int64), list(range(rungs))
    state = [int(word) for word in ensemble._state]
    obvious_tempering(couplings, fields, spins, order, betas, state, 6)
    ensemble.begin()
    while not ensemble.sweep(6, ensemble.work + cut, np.zeros(0)):
        pass
    assert ensemble.spins.tolist() == spins.tolist()
    assert ensemble.rungs.tolist() == order
    assert ensemble._state.tolist() == state
    for replica in range(rungs):
        assert ensemble.objectives[replica] == obvious_objective(couplings, fields, spins[replica])
    assert (ensemble.rates >= 0).all()
    assert (ensemble.rates <= 1).all()


def test_calls_leave_within_a_sweep_of_many_spins():
    ensemble = Ensemble(to_ising(toroidal_grid(60, 60, 1)), ladder(0.01, 1.0), 1)
    begun = ensemble.work
    ensemble.begin()
    assert not ensemble.sweep(10, begun + 1, np.zeros(0))
    assert ensemble.work - begun <= 5 * BLOCK


def test_a_ladder_goes_from_end_to_end_and_has_one_rung_where_these_meet():
    assert ladder(0.1, 1.6, 5).tolist() == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6])
    assert ladder(1.0, 1.0).tolist() == [1.0]


def test_tuning_evens_out_the_rates_of_refused_exchanges():
    ensemble = Ensemble(to_ising(toroidal_grid(10, 10, 1)), ladder(0.001, 1.0), 1)
    spreads = []
    for number in range(8):
        ensemble.begin()
        ensemble.sweep(64 << number, 2**62, np.zeros(0))
        spreads.append(float(np.ptp(ensemble.rates)))
        if number < 7:
            ensemble.tune()
            assert (ensemble.betas[0], ensemble.betas[-1]) == (0.001, 1.0)
            assert (np.diff(ensemble.betas) > 0).all()
    assert spreads[-1] < 0.2 < spreads[0]


def test_as_a_strategy_it_finds_what_is_proven_to_be_the_best():
    for qubo in (palubeckis(40, 50, 1), toroidal_grid(6, 6, 2)):
        proven = solve(qubo, seconds=600, seed=1, strategy="exact")
        assert proven.proven
        found = solve(qubo, seconds=600, seed=1, strategy="tempering", target=proven.value)
        assert found.value == proven.value

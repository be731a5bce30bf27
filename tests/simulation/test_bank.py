"""A journaled system under every fault that the simulation knows, and what must hold of it whatever happens."""

import pytest

from runtime.simulation import KINDS
from tests.simulation.banking import BANK_KINDS, Bank


def test_all_invariants_hold_when_nothing_goes_wrong(simulate):
    outcomes = simulate(Bank(), range(2), faults=())
    assert all(outcome.events > 20 and not outcome.faults for outcome in outcomes)


def test_all_invariants_hold_whatever_goes_wrong(simulate):
    simulate(Bank(), range(12), faults=BANK_KINDS)


@pytest.mark.soak
def test_all_invariants_hold_in_very_many_runs(simulate):
    outcomes = simulate(Bank(), range(1_000, 3_000), faults=BANK_KINDS)
    assert {fault.kind for outcome in outcomes for fault in outcome.struck} == {kind.name for kind in KINDS}

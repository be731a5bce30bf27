"""The kernel of actors without a journal: fair mailboxes, timers of one incarnation, death notices, and an answer for everybody."""

import pytest

from tests.simulation.kernel import KERNEL_KINDS, Kernel


def test_all_invariants_hold_when_nothing_goes_wrong(simulate):
    assert all(not outcome.faults for outcome in simulate(Kernel(), range(6), faults=()))


def test_all_invariants_hold_whatever_goes_wrong(simulate):
    simulate(Kernel(), range(40), faults=KERNEL_KINDS, seconds=20.0)


@pytest.mark.soak
def test_all_invariants_hold_in_very_many_runs(simulate):
    outcomes = simulate(Kernel(), range(1_000, 9_000), faults=KERNEL_KINDS, seconds=20.0)
    assert {fault.kind for outcome in outcomes for fault in outcome.struck} == {kind.name for kind in KERNEL_KINDS}

"""A journaled system under every fault that the simulation knows, and what must hold of it whatever happens."""

import pytest
import trio

from runtime.delivery import Context
from runtime.simulation import KINDS, Machine, World
from tests.runtime.bank import Deposit
from tests.simulation.banking import BANK_KINDS, TENANTS, Bank


def test_all_invariants_hold_when_nothing_goes_wrong(simulate):
    outcomes = simulate(Bank(), range(2), faults=())
    assert all(outcome.events > 20 and not outcome.faults for outcome in outcomes)


def test_all_invariants_hold_whatever_goes_wrong(simulate):
    simulate(Bank(), range(12), faults=BANK_KINDS)


@pytest.mark.soak
def test_all_invariants_hold_in_very_many_runs(simulate):
    outcomes = simulate(Bank(), range(1_000, 3_000), faults=BANK_KINDS)
    assert {fault.kind for outcome in outcomes for fault in outcome.struck} == {kind.name for kind in KINDS}


def test_who_is_turned_away_for_want_of_room_does_not_wait_in_the_journal(simulate):
    peaks = []

    async def flood(world: World) -> None:
        machine = Machine(world, lambda folder: Bank().boot(world, folder))
        context = Context(tenant=TENANTS[0], principal="flood")
        async with trio.open_nursery() as nursery:
            await nursery.start(machine.run)
            system = (await machine.up()).system
            await system.ask(Deposit(account="a", cents=1), context)
            for number in range(500):
                same = Context(tenant=TENANTS[0], principal="flood", key="same", digest=b"same")
                await system.tell_when_free(Deposit(account="a", cents=1), same if number % 2 else context)
            peaks.append((system.journal.backlog, system.journal.pending_commands_max))
            await machine.stop()
            nursery.cancel_scope.cancel()

    simulate(flood, [1], faults=())
    assert all(backlog <= most for backlog, most in peaks)

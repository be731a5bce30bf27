"""A command under a key is done once, whatever happens to its first answer: at each point where a machine or its line can fail."""

from functools import partial

import pytest
import trio

from runtime.delivery import Context
from runtime.errors import Failure, Refused
from runtime.simulation import Fault, Gone, Machine, NoAnswer, World, simulate
from runtime.simulation import faults as points
from tests.runtime.bank import Balance, Deposit, Deposited
from tests.simulation.banking import Bank, Branch

ASKED_AT = 1.0
SEEDS = 6
KEYED = Context(tenant="north", principal="ann", key="k1", digest=b"one")
PAYMENT = Deposit(account="a", cents=5)

POINTS = (
    *(points.REQUEST_LOST, points.REPLY_LOST, points.DOUBLED, points.LATE),
    *(points.CRASH, points.CRASH_BEFORE_COMMIT, points.CRASH_AFTER_COMMIT, points.TORN_COMMIT, points.RESTART),
    *(points.COMMIT_FAILS, points.COMMIT_UNSURE, points.DISK_FULL, points.SLOW_COMMIT, points.HANDLER_RAISES),
)


class Once(Bank):
    """One client pays in once, and asks until it knows; then it asks again, also after a restart."""

    async def play(self, world: World) -> None:
        machine: Machine[Branch] = Machine(world, lambda folder: self.boot(world, folder))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.age)
            await nursery.start(machine.run)
            await machine.up()
            await trio.sleep(ASKED_AT - world.now)
            await self.expect(world, machine)
            async with trio.open_nursery() as twice:
                for _ in range(2):
                    twice.start_soon(self.expect, world, machine)
            await machine.peace()
            machine.restart()
            await self.expect(world, machine)
            await self.look(world, await machine.up())
            await machine.stop()
            nursery.cancel_scope.cancel()

    async def expect(self, world: World, machine: Machine[Branch]) -> None:
        """Asks until there is an answer, from one connection after the other."""
        while True:
            try:
                found = await machine.call("ann", "pays", lambda branch: branch.system.ask(PAYMENT, KEYED))
            except (Gone, NoAnswer, Failure):
                await trio.sleep(0.1)
                continue
            world.holds("same_answer", found == Balance(5), f"was told {found}")
            return

    async def look(self, world: World, branch: Branch) -> None:
        paid = [one for one in branch.system.journal.store.read(0, 1000) if isinstance(one.event, Deposited)]
        world.holds("done_once", len(paid) == 1, lambda: f"{len(paid)} payments")
        other = Context(tenant="north", principal="ann", key="k1", digest=b"two")
        try:
            await branch.system.ask(Deposit(account="a", cents=6), other)
        except Refused as refused:
            world.holds("key_is_taken", (refused.code, refused.status) == ("key_reused", 422), str(refused))
        else:
            world.fail("key_is_taken", "another request was done under the same key")


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_a_command_whose_first_answer_is_lost_is_done_once(point: points.Kind) -> None:
    run = partial(simulate, Once(), seconds=60.0)
    outcomes = [run(seed, faults=[Fault(point.name, ASKED_AT + 0.003 * seed)]) for seed in range(SEEDS)]
    assert [outcome.detail for outcome in outcomes if not outcome.ok] == []
    assert {fault.kind for outcome in outcomes for fault in outcome.struck} == {point.name}

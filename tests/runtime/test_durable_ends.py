"""Journaled actors at the end of their node: what they owe is done by the next one, once; nobody waits for ever."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from runtime.actor import Actor, Effect
from runtime.clock import SystemClock
from runtime.codec import Codec
from runtime.delivery import Context
from runtime.errors import Unreachable
from runtime.ids import Ids
from runtime.records import Recorded
from runtime.store.sqlite import SqliteStore
from runtime.system import Role, System, open_system
from runtime.transparency import Signer
from tests.runtime.bank import Deposit, Deposited, Greet, Greeted, stream
from tests.runtime.test_system import BANK

ANN = Context(tenant="t1", principal="ann")


class Clerk(Actor[Any, None]):
    """Greets in another account than the one that was paid into: its state has to be fetched first."""

    takes = (Deposit,)
    hears = (Deposited,)

    def handle(self, message: Deposit) -> Effect:
        if message.cents < 0:
            raise SystemExit(message.cents)
        return Effect([(stream(message.account), message)])

    def react(self, recorded: Recorded) -> Effect:
        return Effect([(stream("greeted"), Greet(account="greeted"))])


@asynccontextmanager
async def clerk(folder: Path) -> AsyncIterator[System]:
    clock = SystemClock()
    store = SqliteStore(folder / "journal.db", Codec([BANK]), Signer.load_or_make(folder / "journal-key"))
    try:
        async with open_system(store, [Role(Clerk)], clock=clock, ids=Ids(clock)) as system:
            yield system
    finally:
        store.close()


async def kinds_once_quiet(folder: Path) -> list[type]:
    async with clerk(folder) as system:
        while any(cell.owes for cell in system.cells.values()):
            await trio.lowlevel.checkpoint()
        await system.journal.settled()
        return [type(record.event) for record in system.journal.store.read(0, 100)]


@pytest.mark.parametrize("ticks", range(8))
async def test_a_reaction_that_waits_for_a_state_at_a_clean_stop_is_made_by_the_next_node_once(
    tmp_path: Path, ticks: int
) -> None:
    async with clerk(tmp_path) as system:
        await system.ask(Deposit(account="a", cents=1), ANN)
        for _ in range(ticks):
            await trio.lowlevel.checkpoint()
    assert await kinds_once_quiet(tmp_path) == [Deposited, Greeted]
    assert await kinds_once_quiet(tmp_path) == [Deposited, Greeted]


async def test_what_is_no_exception_ends_the_node_and_tells_the_asker_even_in_the_askers_own_step(
    tmp_path: Path,
) -> None:
    told: list[str] = []

    async def ask(system: System) -> None:
        with pytest.raises(Unreachable) as caught:
            await system.ask(Deposit(account="a", cents=-1), ANN)
        told.append(str(caught.value))

    with capture_logs():
        async with trio.open_nursery() as outside:
            with pytest.RaisesGroup(SystemExit, flatten_subgroups=True):
                async with clerk(tmp_path) as system:
                    await system.ask(Deposit(account="a", cents=1), ANN)
                    outside.start_soon(ask, system)
                    await trio.sleep_forever()
    assert told == ["the system ends: SystemExit(-1)"]
    assert await kinds_once_quiet(tmp_path) == [Deposited, Greeted]

"""Journaled actors at the end of their node: what they owe is done by the next one, once; nobody waits for ever."""

import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from eventsourcing.persistence import OperationalError
from structlog.testing import capture_logs

from runtime.actor import Actor, Effect
from runtime.clock import SystemClock
from runtime.codec import Codec
from runtime.delivery import Context
from runtime.errors import NotCommitted, Unreachable
from runtime.ids import Ids
from runtime.journal import Journal
from runtime.records import Recorded
from runtime.store.recorder import JournalRecorder
from runtime.store.sqlite import Batch, SqliteStore
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
async def clerk(folder: Path, actor: type[Clerk] = Clerk) -> AsyncIterator[System]:
    clock = SystemClock()
    store = SqliteStore(folder / "journal.db", Codec([BANK]), Signer.load_or_make(folder / "journal-key"))
    try:
        async with open_system(store, [Role(actor)], clock=clock, ids=Ids(clock)) as system:
            yield system
    finally:
        store.close()


async def quiet(system: System) -> None:
    while any(cell.owes for cell in system.cells.values()):
        await trio.lowlevel.checkpoint()
    await system.journal.settled()


async def kinds_once_quiet(folder: Path) -> list[type]:
    async with clerk(folder) as system:
        await quiet(system)
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


async def test_a_reaction_that_waits_for_a_state_when_another_commit_fails_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with clerk(tmp_path) as system:
        load, append = system.journal.load, system.journal.store.append
        waits, goes_on = trio.Event(), trio.Event()

        async def patiently(missing: Sequence[str], context: Context) -> None:
            if list(missing) == [stream("greeted")]:
                waits.set()
                await goes_on.wait()
            await load(missing, context)

        def full(batch: Batch) -> None:
            raise OperationalError("database or disk is full")

        monkeypatch.setattr(system.journal, "load", patiently)
        await system.ask(Deposit(account="a", cents=1), ANN)
        await waits.wait()
        monkeypatch.setattr(system.journal.store, "append", full)
        with pytest.raises(NotCommitted):
            await system.ask(Deposit(account="b", cents=1), Context(tenant="t2", principal="bob"))
        monkeypatch.setattr(system.journal.store, "append", append)
        goes_on.set()
        await quiet(system)
        assert [type(record.event) for record in system.journal.store.read(0, 100)] == [Deposited, Greeted]


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


class Counter(Clerk):
    """Remembers how often was paid in."""

    @staticmethod
    def fresh() -> int:
        return 0

    @staticmethod
    def remember(memory: int, recorded: Recorded) -> int:
        return memory + isinstance(recorded.event, Deposited)


def _close(journal: Journal, ended: threading.Event) -> None:
    ended.set()
    Journal.close(journal)


async def test_what_a_failed_commit_has_undone_at_the_stop_is_not_in_the_memory_that_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, ended = threading.Event(), threading.Event()

    def fails_once_the_node_stops(recorder: JournalRecorder, *_: Any, **__: Any) -> None:
        began.set()
        ended.wait()
        raise OperationalError("disk I/O error")

    async def pay(system: System) -> None:
        with pytest.raises(NotCommitted):
            await system.ask(Deposit(account="a", cents=1), ANN)

    with capture_logs():
        async with trio.open_nursery() as outside:
            async with clerk(tmp_path, Counter) as system:
                await system.ask(Deposit(account="a", cents=1), ANN)
                await quiet(system)
                monkeypatch.setattr(JournalRecorder, "insert_events", fails_once_the_node_stops)
                monkeypatch.setattr(system.journal, "close", partial(_close, system.journal, ended))
                outside.start_soon(pay, system)
                await trio.to_thread.run_sync(began.wait)
    monkeypatch.undo()
    async with clerk(tmp_path, Counter) as system:
        actor = system.cells["counter", "t1"].actor
        assert actor is not None
        assert actor.memory == 1

"""What the journal's actors owe: each reaction once and in order, causes that are true, and service to others when one stream is broken."""

import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from runtime import tail
from runtime.actor import Actor, Effect, Reply, reply
from runtime.clock import SystemClock
from runtime.codec import Codec
from runtime.delivery import Context
from runtime.durable import DurableCell
from runtime.errors import Crashed
from runtime.ids import Ids
from runtime.records import Recorded
from runtime.store.sqlite import SqliteStore
from runtime.system import Role, System, open_system
from runtime.transparency import Signer
from tests.runtime import test_system
from tests.runtime.bank import Ask, Balance, Break, Deposit, Deposited, Greet, Greeted, stream

BANK = test_system.BANK
ANN = Context(tenant="t1", principal="ann")


class Cashier(Actor[Any, None]):
    """Takes deposits, and greets after the commit of those to `after`."""

    takes = (Deposit, Ask)

    def handle(self, message: Any) -> Effect | Reply:
        if isinstance(message, Ask):
            return reply(message, Balance(0))

        def greet(_: Sequence[Recorded]) -> None:
            if message.account.startswith("after"):
                self.here.tell(Greet(account=message.account))

        return Effect([(stream(message.account), message)], lambda _: reply(message, Balance(0)), greet)


class Greeter(Actor[Any, None]):
    """Reacts to deposits by what it tells the porter."""

    takes = (Break,)
    hears = (Deposited,)

    def __init__(self, here: Any) -> None:
        super().__init__(here)
        self.reacted: list[int] = []

    def handle(self, message: Break) -> Effect:
        raise RuntimeError(message.how)

    def react(self, recorded: Recorded) -> None:
        positions.append(recorded.position)
        if recorded.event.account == "greeted":  # type: ignore[attr-defined]
            self.here.tell(Greet(account="greeted"))


class Choosy(Actor[Any, None]):
    """Says of some deposits that nothing follows from them, of others that it does not know."""

    hears = (Deposited,)

    def concerns(self, recorded: Recorded) -> bool:
        account = recorded.event.account  # type: ignore[attr-defined]
        if account == "odd":
            raise LookupError(account)
        return bool(account == "wanted")

    def react(self, recorded: Recorded) -> None:
        positions.append(recorded.position)


class Porter(Actor[Any, None]):
    takes = (Greet,)

    def handle(self, message: Greet) -> Effect:
        return Effect([(stream(message.account), message)], lambda _: reply(message, None))


positions: list[int] = []


@asynccontextmanager
async def house(
    folder: Path, mailbox_max: int = 100, listener: type[Actor[Any, None]] = Greeter
) -> AsyncIterator[System]:
    positions.clear()
    clock = SystemClock()
    store = SqliteStore(folder / "journal.db", Codec([BANK]), Signer.load_or_make(folder / "journal-key"))
    roster = (Role(Cashier), Role(listener), Role(Porter, mailbox_max=mailbox_max))
    try:
        async with open_system(store, roster, clock=clock, ids=Ids(clock)) as system:
            yield system
    finally:
        store.close()


def deposit(account: str = "a") -> Deposit:
    return Deposit(account=account, cents=1)


async def test_what_is_committed_while_an_actor_is_made_anew_is_reacted_to_once_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path) as system:
        memories = system.journal.store.memories

        def slow() -> Any:
            time.sleep(0.03)  # on a reader thread, while deposits are committed
            return memories()

        monkeypatch.setattr(system.journal.store, "memories", slow)
        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(system.ask, deposit(), ANN)
                if number == 10:
                    with pytest.raises(Crashed):
                        await system.ask(Break(how="now"), ANN)
                await trio.sleep(0.001)
        while len(positions) < 40:
            await trio.testing.wait_all_tasks_blocked(0.01)
    assert positions == list(range(1, 41))


async def test_an_actor_that_is_made_anew_misses_nothing_though_memory_forgets_while_the_log_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "RECORDS_MAX", 2)
    async with house(tmp_path) as system:
        await system.ask(deposit(), ANN)
        journal, read, more = system.journal, system.journal.read, [3, 3]

        async def overtaken(after: int, limit: int) -> Sequence[Recorded]:
            page = await read(after, limit)
            if not page and more:  # that was all, and before anybody hears so it is no longer
                for _ in range(more.pop()):
                    await system.ask(deposit(), ANN)
            return page

        monkeypatch.setattr(journal, "read", overtaken)
        with pytest.raises(Crashed):
            await system.ask(Break(how="now"), ANN)
        cell: DurableCell = system.cells["greeter", "t1"]
        while cell.rebuilding or cell.reactions:
            await trio.testing.wait_all_tasks_blocked(0.01)
    assert positions == list(range(1, 8))


async def test_no_step_is_taken_for_what_nothing_follows_from_and_it_is_noted_all_the_same(tmp_path: Path) -> None:
    async with house(tmp_path, listener=Choosy) as system:
        for account in ("other", "wanted", "odd", "other"):
            await system.ask(deposit(account), ANN)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert positions == [2, 3]
        [cell] = [cell for (role, _), cell in system.cells.items() if role == "choosy"]
        assert (cell.reacted, cell.owes) == (4, False)
        messages = system.messages
        await system.ask(deposit("other"), ANN)
        await system.ask(deposit("last"), ANN)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert system.messages == messages + 2  # the deposits themselves
        for account in ("wanted", "other", "other"):  # of one commit, so that some wait until the first was reacted to
            system.post(deposit(account), ANN)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert (positions, cell.reacted, system.messages) == ([2, 3, 7], 9, messages + 6)
    async with house(tmp_path, listener=Choosy) as system:
        assert system.journal.store.reactions()["choosy", "t1"] >= 5  # with the batch after it
        await trio.testing.wait_all_tasks_blocked(0.01)
    assert positions == []


async def test_a_reaction_that_finds_no_room_comes_again(tmp_path: Path) -> None:
    async with house(tmp_path, mailbox_max=1) as system:
        await system.ask(Greet(account="first"), ANN)
        porter = system.cells["porter", "t1"]
        test_system.hold(porter)
        for _ in range(3):
            await system.ask(deposit("greeted"), ANN)
        await trio.testing.wait_all_tasks_blocked(0.01)
        test_system.let_go(porter)
        await system.journal.wait_past(6)
        kinds = [type(record.event) for record in await system.journal.read(1, 10)]
        assert kinds == [Deposited] * 3 + [Greeted] * 3


async def test_what_is_told_after_a_commit_is_caused_by_its_own_step(tmp_path: Path) -> None:
    async with house(tmp_path) as system:
        async with trio.open_nursery() as nursery:
            for number in range(5):
                who = Context(tenant="t1", principal=f"client {number}", correlation=f"story {number}")
                nursery.start_soon(system.ask, deposit(f"after {number}"), who)
        await system.journal.wait_past(9)
        greeted = [record for record in await system.journal.read(0, 20) if isinstance(record.event, Greeted)]
        assert {record.event.account: record.meta.correlation for record in greeted} == {  # type: ignore[attr-defined]
            f"after {number}": f"story {number}" for number in range(5)
        }


async def test_one_stream_that_cannot_be_read_fails_its_askers_alone(tmp_path: Path) -> None:
    async with house(tmp_path) as system:
        await system.ask(deposit("broken"), ANN)
    with sqlite3.connect(tmp_path / "journal.db") as file:
        file.execute("UPDATE stored_events SET state=x'80' WHERE originator_id=?", (stream("broken"),))
    file.close()
    async with house(tmp_path) as system:
        for _ in range(20):
            with pytest.raises(Crashed):
                await system.ask(deposit("broken"), ANN)
        await system.ask(deposit("whole"), ANN)
        assert system.journal.position == 2

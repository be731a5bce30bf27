"""Actors over a real journal file: asks, effects, refusals, reactions, restarts, and what is left after each."""

import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import trio
import trio.testing
from eventsourcing.persistence import OperationalError

from runtime.clock import Clock, FixedClock, SystemClock
from runtime.codec import Codec
from runtime.delivery import Context
from runtime.durable import DurableCell
from runtime.errors import (
    Conflict,
    Crashed,
    Exhausted,
    Fenced,
    NotAnswered,
    NotCommitted,
    Overloaded,
    Refused,
    Unreachable,
)
from runtime.evidence import Unreadable
from runtime.folding import Folded
from runtime.ids import Ids
from runtime.journal import FORGET_SECONDS, PAUSE_SECONDS_MIN
from runtime.kind import FREE, SUSPENDED
from runtime.store.sqlite import REPLY_SECONDS, Batch, Locked, SqliteStore
from runtime.system import DEFAULT_BOUNDS, Bounds, Role, System, open_system
from runtime.transparency import Signer
from runtime.tree import tree
from tests.runtime.bank import Ask, Balance, Break, Deposit, Greeted, Teller, Transfer, Withdraw, stream

BANK = sys.modules["tests.runtime.bank"]
TELLER = Role(Teller)
ANN = Context(tenant="t1", principal="ann")


@asynccontextmanager
async def bank(
    folder: Path, bounds: Bounds = DEFAULT_BOUNDS, role: Role = TELLER, clock: Clock | None = None
) -> AsyncIterator[System]:
    clock = clock or SystemClock()
    store = SqliteStore(folder / "journal.db", Codec([BANK]), Signer.load_or_make(folder / "journal-key"))
    try:
        async with open_system(store, [role], clock=clock, ids=Ids(clock), bounds=bounds) as system:
            yield system
    finally:
        store.close()


async def test_an_answer_comes_after_the_commit(tmp_path: Path) -> None:
    async with bank(tmp_path) as system:
        assert await system.ask(Deposit(account="a", cents=5), ANN) == Balance(5)
        (record,) = system.journal.store.read(0, 10)
        assert (record.position, record.stream, record.version, record.kind) == (1, "bank-a", 1, "bank.Deposited")
        assert record.meta.tenant == "t1"
        assert record.meta.principal == "ann"
        assert record.meta.command is not None
        command = system.journal.codec.command(record.meta.command)
        assert command == Deposit(account="a", cents=5, at=record.meta.at, tenant="t1")


async def test_it_knows_where_each_tenants_last_record_stands_and_after_a_start_that_it_is_no_later_than_the_log(
    tmp_path: Path,
) -> None:
    async with bank(tmp_path) as system:
        assert system.newest("t1") == 0
        await system.ask(Deposit(account="a", cents=5), ANN)
        await system.ask(Deposit(account="b", cents=5), Context(tenant="t2", principal="bob"))
        assert [system.newest(tenant) for tenant in ("t1", "t2", "t3")] == [1, 2, 0]
    async with bank(tmp_path) as system:
        assert [system.newest(tenant) for tenant in ("t1", "t2", "t3")] == [2, 2, 2]


async def test_a_stream_that_was_just_named_is_not_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bank(tmp_path) as system:
        folded: list[str] = []
        fold = system.journal.folder.fold

        def noted(stream: str) -> Folded:
            folded.append(stream)
            return fold(stream)

        monkeypatch.setattr(system.journal.folder, "fold", noted)
        system.journal.is_new("bank-new")
        assert await system.ask(Deposit(account="new", cents=5), ANN) == Balance(5)
        assert await system.ask(Deposit(account="a", cents=5), ANN) == Balance(5)
        assert folded == ["bank-a"]
        assert [record.version for record in system.journal.store.read(0, 10)] == [1, 1]


async def test_one_refusal_drops_all_decisions_of_a_message(tmp_path: Path) -> None:
    async with bank(tmp_path) as system:
        await system.ask(Deposit(account="a", cents=5), ANN)
        with pytest.raises(Refused, match="funds_missing"):
            await system.ask(Transfer(source="a", target="b", cents=6), ANN)
        assert system.journal.position == 1
        assert await system.ask(Ask(account="b"), ANN) == Balance(0)
        assert await system.ask(Transfer(source="a", target="b", cents=4), ANN) == Balance(1)
        assert system.journal.position == 3


async def test_a_version_that_a_caller_expects_is_held_against_the_newest_decision_and_its_conflict_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bank(tmp_path) as system:
        await system.ask(Deposit(account="a", cents=5), ANN)
        append, disk = system.journal.store.append, threading.Event()

        def slowly(batch: Batch) -> None:
            disk.wait()
            append(batch)

        monkeypatch.setattr(system.journal.store, "append", slowly)
        told: list[str] = []

        async def deposit(cents: int, expected: int) -> None:
            context = Context(tenant="t1", principal="ann", expects={stream("a"): expected})
            try:
                await system.ask(Deposit(account="a", cents=cents), context)
                told.append(f"{cents} recorded")
            except Conflict as conflict:
                told.append(f"{cents}: {conflict}")

        async with trio.open_nursery() as nursery:
            for cents, expected in ((10, 1), (20, 1), (40, 2)):
                nursery.start_soon(deposit, cents, expected)
                await trio.testing.wait_all_tasks_blocked()
            assert told == []
            disk.set()
        assert sorted(told) == [
            "10 recorded",
            f"20: {stream('a')} is at version 2, not at 1 as its caller expects",
            "40 recorded",
        ]
        assert await system.ask(Ask(account="a"), ANN) == Balance(55)


async def test_memories_and_states_survive_a_restart_and_add_no_event(tmp_path: Path) -> None:
    async with bank(tmp_path) as system:
        for cents in (5, 7):
            await system.ask(Deposit(account="a", cents=cents), ANN)
    for drop in (False, True):
        if drop:
            _drop_snapshots(tmp_path)
        async with bank(tmp_path) as system:
            assert await system.ask(Ask(account="a"), ANN) == Balance(12)
            assert system.journal.position == 2
    async with bank(tmp_path) as system:
        await system.ask(Withdraw(account="a", cents=12), ANN)
        with pytest.raises(Refused):
            await system.ask(Withdraw(account="a", cents=1), ANN)


def _drop_snapshots(folder: Path) -> None:
    clock = SystemClock()
    store = SqliteStore(folder / "journal.db", Codec([BANK]), Signer.load_or_make(folder / "journal-key"))
    with store._recorder.datastore.transaction(commit=True) as cursor:
        cursor.execute("DELETE FROM snapshots")
    store.close()
    del clock


async def test_time_does_not_run_backwards_over_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bank(tmp_path) as system:
        await system.ask(Deposit(account="a", cents=1), ANN)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 3600)
    async with bank(tmp_path) as system:
        await system.ask(Deposit(account="a", cents=1), ANN)
        first, second = await system.journal.read(0, 2)
        assert first.meta.at <= first.meta.recorded_at <= second.meta.at
        earlier = system.clock.now()
        await trio.sleep(0.01)
        assert system.clock.now() > earlier
    monkeypatch.setattr(time, "time", lambda: real() - 100 * 3600)
    with pytest.raises(Unreadable, match="set the machine's clock"):
        async with bank(tmp_path):
            pass


async def test_a_reaction_is_recorded_once_with_its_cause(tmp_path: Path) -> None:
    async with bank(tmp_path) as system:
        await system.ask(Deposit(account="a", cents=1_000_000), ANN)
        await system.journal.wait_past(1)
        deposited, greeted = system.journal.store.read(0, 10)
        assert isinstance(greeted.event, Greeted)
        assert greeted.meta.cause == "@1"
        assert greeted.meta.correlation == deposited.meta.correlation
        assert greeted.meta.principal == "actor:teller"
    for _ in range(2):
        async with bank(tmp_path) as system:
            await system.ask(Deposit(account="b", cents=1), ANN)
            assert sum(r.kind == "bank.Greeted" for r in system.journal.store.read(0, 100)) == 1


async def test_a_thousand_callers_share_few_commits(tmp_path: Path) -> None:
    async with bank(tmp_path) as system:
        async with trio.open_nursery() as nursery:
            for number in range(1000):
                nursery.start_soon(system.ask, Deposit(account=f"a{number % 100}", cents=1), ANN)
        assert system.journal.position == 1000
        assert system.journal.commits < 200
        assert await system.ask(Ask(account="a7"), ANN) == Balance(10)


async def test_a_repeat_under_the_same_key_gets_the_same_answer(tmp_path: Path) -> None:
    keyed = Context(tenant="t1", principal="ann", key="k1", digest=b"one")
    for _ in range(2):
        async with bank(tmp_path) as system:
            answers: list[Balance] = []

            async def again(system: System = system, answers: list[Balance] = answers) -> None:
                answers.append(await system.ask(Deposit(account="a", cents=5), keyed))

            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(again)
            assert answers == [Balance(5)] * 3
            assert system.journal.position == 1
            other = Context(tenant="t1", principal="ann", key="k1", digest=b"two")
            with pytest.raises(Refused, match="key_reused"):
                await system.ask(Deposit(account="a", cents=6), other)


async def test_a_key_is_kept_for_its_retention_and_then_forgotten(tmp_path: Path) -> None:
    keyed = Context(tenant="t1", principal="ann", key="k1", digest=b"one")
    clock = FixedClock()
    told = []
    for later in (0.0, REPLY_SECONDS - FORGET_SECONDS - 1, FORGET_SECONDS + 2):
        clock.at += later
        async with bank(tmp_path, clock=clock) as system:
            await system.ask(Deposit(account="b", cents=1), ANN)  # whatever is committed, old keys are forgotten before
            told.append(await system.ask(Deposit(account="a", cents=5), keyed))
    assert told == [Balance(5), Balance(5), Balance(10)]


async def test_another_tenants_stream_looks_absent(tmp_path: Path) -> None:
    bob = Context(tenant="t2", principal="bob")
    async with bank(tmp_path) as system:
        await system.ask(Deposit(account="a", cents=5), ANN)
        with pytest.raises(Refused, match="has 0"):
            await system.ask(Withdraw(account="a", cents=1), bob)
        with pytest.raises(Conflict):
            await system.ask(Deposit(account="a", cents=1), bob)
        assert await system.ask(Ask(account="a"), bob) == Balance(0)
        assert system.journal.position == 1


async def test_an_actor_that_crashes_is_restarted_from_its_records(tmp_path: Path) -> None:
    async with bank(tmp_path) as system:
        await system.ask(Deposit(account="a", cents=5), ANN)
        for how in ("handler", "work", "handler"):
            if how == "work":
                await system.ask(Break(how=how), ANN)
            else:
                with pytest.raises(Crashed):
                    await system.ask(Break(how=how), ANN)
            assert await system.ask(Ask(account="a"), ANN) == Balance(5)
        assert await system.ask(Deposit(account="a", cents=5), ANN) == Balance(10)


async def test_an_actor_that_crashes_too_often_ends_the_system(tmp_path: Path) -> None:
    async def break_it() -> None:
        async with bank(tmp_path, role=Role(Teller, restarts_max=2)) as system:
            for _ in range(3):
                with pytest.raises(Crashed):
                    await system.ask(Break(how="again"), ANN)
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as failure:
        await break_it()
    assert failure.group_contains(Exhausted)


async def test_a_failed_commit_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bank(tmp_path) as system:
        await system.ask(Deposit(account="a", cents=5), ANN)
        insert = system.journal.store._recorder._insert_events

        def full(*args: object, **kwargs: object) -> None:
            insert(*args, **kwargs)
            raise OperationalError("database or disk is full")

        monkeypatch.setattr(system.journal.store._recorder, "_insert_events", full)
        async with trio.open_nursery() as nursery:
            for account in ("a", "b", "c"):
                nursery.start_soon(_deposit_in_vain, system, account)
        monkeypatch.undo()
        assert await system.ask(Ask(account="a"), ANN) == Balance(5)
        assert await system.ask(Deposit(account="a", cents=1), ANN) == Balance(6)
        assert [r.position for r in system.journal.store.read(0, 10)] == [1, 2]


async def _deposit_in_vain(system: System, account: str) -> None:
    with pytest.raises(NotCommitted, match="disk is full"):
        await system.ask(Deposit(account=account, cents=1), ANN)


async def test_who_waits_when_the_journal_ends_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fence(batch: Batch) -> None:
        raise Fenced("somebody else writes here")

    async def until_fenced() -> None:
        async with bank(tmp_path) as system:
            monkeypatch.setattr(system.journal.store, "append", fence)
            for _ in range(2):
                outside.start_soon(_deposit_at_the_end, system)
            await trio.sleep_forever()

    async with trio.open_nursery() as outside:
        with pytest.raises(ExceptionGroup) as ended:
            await until_fenced()
    assert ended.group_contains(Fenced)


async def _deposit_at_the_end(system: System) -> None:
    with pytest.raises(Unreachable, match="the journal has ended"):
        await system.ask(Deposit(account="a", cents=1), ANN)


async def test_a_question_does_not_wait_for_what_was_never_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OperationalError("database or disk is full")

    async with bank(tmp_path) as system:
        await system.ask(Deposit(account="a", cents=5), ANN)
        monkeypatch.setattr(system.journal.store, "append", full)
        await _deposit_in_vain(system, "a")
        assert system.journal.backlog == 0
        assert await system.ask(Ask(account="a"), ANN) == Balance(5)
        assert system.cells["teller", "t1"].touched == system.journal.position


async def test_what_is_owed_is_tried_again_after_longer_and_longer_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried_at: list[float] = []
    async with bank(tmp_path) as system:
        store, append = system.journal.store, system.journal.store.append

        def full_thrice(batch: Batch) -> None:
            if batch.drafts[0].kind == "bank.Greeted":
                tried_at.append(time.monotonic())
                if len(tried_at) < 4:
                    raise OperationalError("database or disk is full")
            append(batch)

        monkeypatch.setattr(store, "append", full_thrice)
        await system.ask(Deposit(account="a", cents=1_000_000), ANN)
        await system.journal.wait_past(1)
        assert system.journal.failures == 3
        assert [r.kind for r in store.read(0, 10)] == ["bank.Deposited", "bank.Greeted"]
    pauses = [later - earlier for earlier, later in pairwise(tried_at)]
    assert all(pause >= PAUSE_SECONDS_MIN * 2**number for number, pause in enumerate(pauses, 1)), pauses


async def test_memories_that_find_no_room_are_folded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OperationalError("database or disk is full")

    async with bank(tmp_path) as system:
        await system.ask(Deposit(account="a", cents=5), ANN)
        monkeypatch.setattr(system.journal.store, "save", full)
    async with bank(tmp_path) as system:
        assert await system.ask(Ask(account="a"), ANN) == Balance(5)


def hold(cell: DurableCell) -> None:
    """As if a state were being fetched: messages wait."""
    cell._state = SUSPENDED


def let_go(cell: DurableCell) -> None:
    cell._state = FREE
    if cell._queue:
        cell._schedule()


async def test_a_cancelled_ask_that_had_not_begun_is_withdrawn(tmp_path: Path) -> None:
    async with bank(tmp_path) as system:
        await system.ask(Deposit(account="a", cents=1), ANN)
        cell = system.cells["teller", "t1"]
        hold(cell)
        with trio.move_on_after(0):
            await system.ask(Deposit(account="a", cents=1), ANN)
        with pytest.raises(NotAnswered) as late:
            await system.ask(Deposit(account="a", cents=1), ANN, seconds=0.01)
        assert not late.value.begun
        let_go(cell)
        assert await system.ask(Ask(account="a"), ANN) == Balance(1)


async def test_a_full_mailbox_refuses_a_tell_and_lets_an_ask_wait(tmp_path: Path) -> None:
    async with bank(tmp_path, Bounds(mailbox_max=2)) as system:
        await system.ask(Deposit(account="a", cents=1), ANN)
        cell = system.cells["teller", "t1"]
        hold(cell)
        system.tell(Deposit(account="a", cents=1), ANN)
        system.tell(Deposit(account="a", cents=1), ANN)
        with pytest.raises(Overloaded):
            system.tell(Deposit(account="a", cents=1), ANN)
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(system.ask, Deposit(account="a", cents=1), ANN)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert tree(system).actors[0].mailbox == 2
            let_go(cell)
        assert await system.ask(Ask(account="a"), ANN) == Balance(8)


async def test_whoever_waits_when_the_system_ends_is_told(tmp_path: Path) -> None:
    told: list[str] = []

    async def ask(system: System) -> None:
        with pytest.raises(Unreachable) as gone:
            await system.ask(Deposit(account="a", cents=1), ANN)
        told.append(str(gone.value))

    async with trio.open_nursery() as nursery:
        async with bank(tmp_path, Bounds(mailbox_max=2)) as system:
            await system.ask(Ask(account="a"), ANN)
            hold(system.cells["teller", "t1"])
            for _ in range(5):
                nursery.start_soon(ask, system)
            await trio.testing.wait_all_tasks_blocked(0.01)
    assert told == ["teller/t1 is gone: the system ends"] * 5
    async with bank(tmp_path) as system:
        assert system.journal.position == 0


async def test_nobody_takes_an_unknown_message(tmp_path: Path) -> None:
    class Unknown(Ask, frozen=True, kw_only=True):
        pass

    async with bank(tmp_path) as system:
        with pytest.raises(Unreachable, match="Unknown"):
            await system.ask(Unknown(account="a"), ANN)


async def test_a_second_process_on_the_same_file_is_refused(tmp_path: Path) -> None:
    async with bank(tmp_path):
        with pytest.raises(Locked):
            async with bank(tmp_path):
                pass

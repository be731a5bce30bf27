"""Memories come back from what was saved of them and the journal behind it: of all actors, or of none; and from nobody else's hand."""

import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runtime import system as systems
from runtime.actor import Actor
from runtime.clock import SystemClock
from runtime.codec import Codec
from runtime.delivery import Context
from runtime.durable import DurableCell
from runtime.ids import Ids
from runtime.recovery import WHOLE, Recovery
from runtime.store.sqlite import SqliteStore
from runtime.system import Role, System, open_system
from runtime.transparency import Signer
from tests.runtime.bank import LARGE_CENTS, Ask, Balance, Deposit, Greeted, Ledger, Teller
from tests.runtime.test_system import BANK, TELLER, bank

CONTEXTS = [Context(tenant=name, principal="ann") for name in ("t1", "t2")]


async def deposit(system: System, times: int = 1) -> None:
    for _ in range(times):
        for context in CONTEXTS:
            await system.ask(Deposit(account=context.tenant, cents=1), context)


def saved(folder: Path) -> dict[str, int]:
    with sqlite3.connect(folder / "journal.db") as file:
        found = dict(file.execute("SELECT key, position FROM snapshots WHERE key <> ''").fetchall())
    file.close()
    return found


async def test_a_stop_while_an_actor_is_made_anew_saves_none(tmp_path: Path) -> None:
    async with bank(tmp_path) as system:
        await deposit(system)
        cell: DurableCell = system.cells["teller", "t2"]
        cell._restart()
    assert saved(tmp_path) == {}
    async with bank(tmp_path) as system:
        for context in CONTEXTS:
            assert await system.ask(Ask(account=context.tenant), context) == Balance(1)
    assert saved(tmp_path) == {"t1": 2, "t2": 2}


async def test_after_a_clean_stop_nothing_is_folded_again(tmp_path: Path) -> None:
    async with bank(tmp_path) as system:
        await deposit(system, 3)
        await system.ask(Deposit(account="b", cents=1), CONTEXTS[0])
    async with bank(tmp_path) as system:
        store = system.journal.store
        assert Recovery({"teller": TELLER}, store.memories(), store.reactions()).start == 7


async def test_memories_are_saved_now_and_then_each_as_of_what_is_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systems, "SAVE_RECORDS", 10)
    async with bank(tmp_path) as system:
        while not (found := system.journal.store.memories()):
            await deposit(system)
        position = system.journal.position
        *memories, line = sorted(found)
        assert ([memory.key for memory in memories], line.actor) == (["t1", "t2"], WHOLE)
        for memory in memories:
            recovery = Recovery({"teller": TELLER}, [], {}, only=[("teller", memory.key)])
            for record in system.journal.store.read(0, memory.position):
                recovery.take(record)
            fold = recovery.folds["teller", memory.key]
            assert 10 <= memory.position <= position
            assert msgspec.msgpack.decode(memory.memory) == msgspec.to_builtins(fold.memory)


async def test_a_snapshot_that_somebody_else_wrote_is_not_believed(tmp_path: Path) -> None:
    async with bank(tmp_path) as system:
        await deposit(system)
    with sqlite3.connect(tmp_path / "journal.db") as file:
        [(memory,)] = file.execute("SELECT memory FROM snapshots WHERE key='t1'").fetchall()
        rich = msgspec.msgpack.decode(memory) | {"cents_by_account": {"t1": 1_000_000}}
        file.execute("UPDATE snapshots SET memory=? WHERE key='t1'", (msgspec.msgpack.encode(rich),))
    file.close()
    async with bank(tmp_path) as system:
        assert await system.ask(Ask(account="t1"), CONTEXTS[0]) == Balance(1)


class Silent(Actor[Any, Ledger]):
    """Hears what seldom happens."""

    hears = (Greeted,)
    fresh = staticmethod(Teller.fresh)
    remember = staticmethod(Teller.remember)


async def test_a_role_that_has_heard_nothing_does_not_make_a_start_fold_everything(tmp_path: Path) -> None:
    roles = {"teller": TELLER, "silent": Role(Silent)}
    store = SqliteStore(tmp_path / "journal.db", Codec([BANK]), Signer.make())
    clock = SystemClock()
    for times in (1, 2):
        async with open_system(store, list(roles.values()), clock=clock, ids=Ids(clock)) as system:
            await deposit(system)
        assert Recovery(roles, store.memories(), store.reactions()).start == 2 * times
    saved = store.memories()
    assert Recovery({**roles, "new": Role(Silent)}, saved, store.reactions()).start == 0
    assert Recovery(roles, [memory for memory in saved if memory.key], store.reactions()).start == 0
    large = Deposit(account="t1", cents=LARGE_CENTS)
    async with open_system(store, list(roles.values()), clock=clock, ids=Ids(clock)) as system:
        await system.ask(large, CONTEXTS[0])
        await system.journal.wait_past(5)
        assert system.cells["silent", "t1"].actor is not None
    recovery = Recovery(roles, store.memories(), store.reactions())
    assert (recovery.start, recovery.folds["silent", "t1"].memory.greeted) == (6, 1)
    store.close()


async def test_who_appeared_after_memories_were_saved_is_folded_from_there_unless_one_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bank(tmp_path) as system:
        await deposit(system, 3)
        saved, store = system.journal.store.memories(), system.journal.store
        await system.journal.write_with(store.save, [*system.last_words()[0]], [])
        saved = store.memories()
        new = Context(tenant="t3", principal="ann")
        for _ in range(2):
            await system.ask(Deposit(account="t3", cents=LARGE_CENTS), new)
        await system.journal.wait_past(9)
        reacted = {**store.reactions(), ("teller", "t3"): 9}
        recovery = Recovery({"teller": TELLER}, saved, reacted)
        assert recovery.start == min(6, *(reacted["teller", name] for name in ("t1", "t2")))
        alone = Recovery({"teller": TELLER}, saved, reacted, only=[("teller", "t3")])
        assert (alone.start, alone.folds["teller", "t3"].reacted) == (6, 9)
        for record in store.read(alone.start, 100):
            alone.take(record)
        cell = system.cells["teller", "t3"]
        assert cell.actor is not None
        assert alone.folds["teller", "t3"].memory == cell.actor.memory
        for missing in saved:
            rest = [memory for memory in saved if memory != missing]
            assert Recovery({"teller": TELLER}, rest, reacted).start == 0
            assert Recovery({"teller": TELLER}, rest, reacted, only=[("teller", "t3")]).start == 0
        monkeypatch.setattr(TELLER.actor, "FOLD", 2)
        assert Recovery({"teller": TELLER}, saved, reacted).start == 0

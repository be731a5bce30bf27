"""Memories come back from what was saved of them and the journal behind it: of all actors, or of none; and from nobody else's hand."""

import sqlite3
from pathlib import Path

import msgspec
import pytest

from runtime import system as systems
from runtime.delivery import Context
from runtime.durable import DurableCell
from runtime.recovery import Recovery
from runtime.system import System
from tests.runtime.bank import Ask, Balance, Deposit
from tests.runtime.test_system import TELLER, bank

CONTEXTS = [Context(tenant=name, principal="ann") for name in ("t1", "t2")]


async def deposit(system: System, times: int = 1) -> None:
    for _ in range(times):
        for context in CONTEXTS:
            await system.ask(Deposit(account=context.tenant, cents=1), context)


def saved(folder: Path) -> dict[str, int]:
    with sqlite3.connect(folder / "journal.db") as file:
        found = dict(file.execute("SELECT key, position FROM snapshots").fetchall())
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
        assert {memory.key for memory in found} == {"t1", "t2"}
        for memory in found:
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

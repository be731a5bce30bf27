"""The power goes at any moment: what was acknowledged is on disk, once, and the journal opens, verifies and goes on."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from runtime.store.recorder import JournalPool
from runtime.store.sqlite import Batch, Memory, SqliteStore
from tests.faults.books import Answers, audit, go_on, lay, lost, open_store
from tests.faults.power import Disk
from tests.runtime.test_system import bank

CLIENTS, TURNS = 3, 12
MOMENTS = 100
FULL_AUDITS = 6
KILLED = 8
MUTATED_MOMENTS = 40


async def trade(folder: Path) -> tuple[Disk, Answers]:
    """A life of the bank, from the making of its journal to a clean stop, on a disk that is watched."""
    disk = Disk(folder)
    answers = Answers(disk.acknowledge)
    with disk.watched():
        async with bank(folder) as system:
            await answers.ask_all(system, CLIENTS, range(TURNS))
    return disk, answers


def lose_power(
    disk: Disk, answers: Answers, folder: Path, chance: Random, count: int = MOMENTS
) -> dict[int, tuple[Path, list[str]]]:
    """Where the files of each moment lie, and what is wrong with them."""
    found: dict[int, tuple[Path, list[str]]] = {}
    for moment, files in disk.remains(disk.moments(count, chance), chance):
        left = lay(files, folder / f"at-{moment}", disk.folder / "journal-key")
        told = {key: answers.cents_by_key[key] for key in disk.told(moment)}
        found[moment] = left, audit(left, told)
    return found


@pytest.mark.usefixtures("often")
async def test_nothing_acknowledged_is_lost_with_the_power(tmp_path: Path, seed: int) -> None:
    chance = Random(seed)
    disk, answers = await trade(tmp_path / "first")
    found = lose_power(disk, answers, tmp_path, chance)
    assert {moment: faults for moment, (_, faults) in found.items() if faults} == {}
    told_by_moment = {moment: disk.told(moment) for moment in found}
    for moment in chance.sample([moment for moment, told in told_by_moment.items() if told], FULL_AUDITS):
        told = Answers()
        told.cents_by_key = {key: answers.cents_by_key[key] for key in told_by_moment[moment]}
        assert await go_on(found[moment][0], told) == [], moment


async def test_the_trace_has_checkpoints_new_logs_and_saved_memories_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, often: None
) -> None:
    """Or else the tests here would show less than they say."""
    saved: list[int] = []
    save = SqliteStore.save

    def counted(store: SqliteStore, memories: Sequence[Memory], reactions: Sequence[tuple[str, str, int]]) -> None:
        saved.append(len(memories))
        save(store, memories, reactions)

    monkeypatch.setattr(SqliteStore, "save", counted)
    disk, _ = await trade(tmp_path / "first")
    syncs = Counter(entry.name for entry in disk.trace if entry.kind == "sync")
    headers = [e for e in disk.trace if (e.kind, e.name, e.write.offset) == ("write", "journal.db-wal", 0)]
    names = [(entry.kind, entry.name) for entry in disk.trace if entry.kind in ("create", "delete", "sync folder")]
    assert syncs["journal.db"] >= 4
    assert len(headers) >= 4
    assert len(saved) >= 3
    assert ("sync folder", "") in names[names.index(("create", "journal.db-wal")) :]
    assert names[-1] == ("delete", "journal.db-wal")


async def test_what_a_killed_process_has_left_unsynced_is_told_to_nobody_before_it_is_safe(
    tmp_path: Path, seed: int
) -> None:
    """Somebody reads the file all the while, so that SQLite does not copy and drop the log at the start."""
    chance = Random(seed)
    disk, _ = await trade(tmp_path / "first")
    key = disk.folder / "journal-key"
    syncs = [n for n, entry in enumerate(disk.trace) if (entry.kind, entry.name) == ("sync", "journal.db-wal")]
    for moment in chance.sample(syncs[3:], KILLED):
        cached, safe = disk.cached_and_safe(moment)
        found = lay(cached, tmp_path / f"killed-{moment}", key)
        second = Disk(found, safe)
        with closing(sqlite3.connect(found / "journal.db", isolation_level=None)) as reader, second.watched():
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM stored_events").fetchall()
            store = open_store(found)
            told = {one.meta.command.key: 0 for one in store.read(0, 1000) if one.meta.command and one.meta.command.key}
            ((_, left),) = second.remains([len(second.trace)], chance)
            store.close()
        assert lost(audit(lay(left, tmp_path / f"dark-{moment}", key), told)) == [], moment


# --- that these tests can fail


def hasty(append: Callable[[SqliteStore, Batch], None]) -> Callable[[SqliteStore, Batch], None]:
    """Says that a batch stands when it has only begun: it is written before the next one."""
    late: list[Batch] = []

    def append_late(store: SqliteStore, batch: Batch) -> None:
        for one in late:
            append(store, one)
        late[:] = [batch]

    return append_late


async def faults_of(folder: Path) -> list[str]:
    chance = Random(1)
    disk, answers = await trade(folder / "first")
    return [
        fault for _, faults in lose_power(disk, answers, folder, chance, MUTATED_MOMENTS).values() for fault in faults
    ]


async def test_without_syncs_it_is_seen_that_what_was_acknowledged_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, often: None
) -> None:
    monkeypatch.setattr(JournalPool, "synchronous", "OFF")
    assert lost(await faults_of(tmp_path))


async def test_an_answer_before_the_commit_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, often: None
) -> None:
    monkeypatch.setattr(SqliteStore, "append", hasty(SqliteStore.append))
    assert lost(await faults_of(tmp_path))


async def test_a_disk_that_says_that_it_synced_and_did_not_is_seen(tmp_path: Path, often: None) -> None:
    chance = Random(1)
    disk, answers = await trade(tmp_path / "first")
    disk.trace = [entry for entry in disk.trace if (entry.kind, entry.name) != ("sync", "journal.db-wal")]
    found = lose_power(disk, answers, tmp_path, chance, MUTATED_MOMENTS)
    assert lost([fault for _, faults in found.values() for fault in faults])

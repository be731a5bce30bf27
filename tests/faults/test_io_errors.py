"""A disk that fails at any touch: callers are told, nothing is acknowledged falsely, and work goes on when the disk does."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from random import Random

import pytest
import trio
from eventsourcing.persistence import PersistenceError

from runtime.evidence import Unreadable
from runtime.journal import ENDED
from runtime.store import recorder
from runtime.store.contract import Unresolved
from runtime.system import System
from runtime.transparency import Signer
from runtime.verification import verify
from tests.faults.books import Answers, another, audit, context, files_in, go_on, key_of, lay, lost, open_store
from tests.faults.failing import ERRORS, FailingDisk, Order
from tests.faults.vfs import CANTOPEN, IOERR_FSYNC, READONLY
from tests.runtime.bank import Ask, Balance
from tests.runtime.test_system import bank

CLIENTS, TURNS = 3, 2
FIRST_MAX = {"write": 60, "sync": 8, "truncate": 1}
LASTS = (1, 3, 10**6)
"""For how many touches the disk fails: one, a few, until it is mended."""
LOG = "journal.db-wal"
ROUNDS = 25
MOMENTS = 25
STARTS = 20


def orders(chance: Random, rounds: int | None) -> list[Order]:
    """Each touch of each kind while the bank is open, failing in each way; so many of them, or all."""
    found = [
        Order(kind, code, first, lasts, LOG if kind == "sync" else "")
        for kind, code in ERRORS
        for first in range(FIRST_MAX.get(kind, 0))
        for lasts in LASTS
    ]
    return chance.sample(found, len(found) if rounds is None else rounds)


class Trial:
    """The bank on a disk that fails, round after round; a process that had to end is followed by another one."""

    def __init__(self, folder: Path, chance: Random) -> None:
        self.folder = folder
        self.chance = chance
        self.disk = FailingDisk(folder / "bank")
        self.answers = Answers(self.disk.acknowledge)
        self.ended = 0
        self.struck = 0
        self._turns = count()
        self._copies = count()

    async def run(self, rounds: list[Order]) -> None:
        left = iter(rounds)
        with self.disk.watched():
            while True:
                try:
                    async with bank(self.disk.folder) as system:
                        await self._life(system, left)
                    return
                except* Unresolved:
                    self.ended += 1
                    self.answers.doubts.clear()
                self._audit(files_in(self.disk.folder))

    async def _life(self, system: System, left: Iterator[Order]) -> None:
        for order in left:
            turns = [next(self._turns) for _ in range(TURNS)]
            with self.disk.failing(order):
                await self.answers.ask_all(system, CLIENTS, turns)
            self.struck += order.struck > 0
            if self.answers.doubts:
                await trio.sleep_forever()  # the node is ending
            await system.journal.write_with(self._kill, order)
            for key in sorted(self.answers.declined):
                client, turn = map(int, key.split("-"))
                await self.answers.ask(system, client, turn)
            assert not self.answers.declined, order

    def _kill(self, order: Order) -> None:
        """What would be found if the process were killed now; on the writer's thread, where nothing is being written."""
        self._audit(files_in(self.disk.folder), order)

    def _audit(self, files: dict[str, bytes], order: Order | None = None) -> None:
        copy = lay(files, self.folder / f"copy-{next(self._copies)}", self.disk.folder / "journal-key")
        assert audit(copy, self.answers.cents_by_key, self.answers.declined) == [], order


@pytest.mark.usefixtures("often", "soon")
async def test_whatever_touch_of_the_disk_fails_callers_are_told_the_truth_and_work_goes_on(
    tmp_path: Path, seed: int, request: pytest.FixtureRequest
) -> None:
    chance = Random(seed)
    trial = Trial(tmp_path, chance)
    await trial.run(orders(chance, None if request.config.getoption("--soak") else ROUNDS))
    assert trial.struck >= ROUNDS / 2
    assert audit(trial.disk.folder, trial.answers.cents_by_key) == []
    assert await go_on(trial.disk.folder, trial.answers) == []
    for moment, files in trial.disk.remains(trial.disk.moments(MOMENTS, chance), chance):
        told = {key: trial.answers.cents_by_key[key] for key in trial.disk.told(moment)}
        copy = lay(files, tmp_path / f"at-{moment}", trial.disk.folder / "journal-key")
        assert audit(copy, told) == [], moment


@pytest.mark.usefixtures("often", "soon")
async def test_a_batch_whose_sync_failed_does_not_come_back_when_the_process_is_killed(tmp_path: Path) -> None:
    """It lies whole in the log; whoever was told that nothing is recorded may have asked again under another key."""
    trial = Trial(tmp_path, Random(0))
    await trial.run([Order("sync", IOERR_FSYNC)])
    assert (trial.struck, trial.ended) == (1, 0)


@pytest.mark.usefixtures("soon")
async def test_a_disk_that_does_not_sync_ends_the_node_and_the_next_start_tells_what_stands(tmp_path: Path) -> None:
    disk = FailingDisk(tmp_path / "bank")
    answers = Answers()

    async def live(callers: trio.Nursery) -> None:
        async with bank(disk.folder) as system:
            await answers.ask(system, 0, 0)
            disk.order = Order("sync", IOERR_FSYNC, lasts=2)
            callers.start_soon(answers.ask, system, 0, 1)
            await trio.sleep_forever()

    with disk.watched():
        async with trio.open_nursery() as callers:
            with pytest.raises(BaseExceptionGroup) as failure:
                await live(callers)
    assert failure.group_contains(Unresolved, match="could neither sync a batch")
    assert (answers.declined, answers.doubts) == (set(), {"0-1": ENDED})
    left = lay(files_in(disk.folder), tmp_path / "left", disk.folder / "journal-key")
    async with bank(left) as system:
        await answers.ask(system, 0, 1)
    assert audit(left, answers.cents_by_key) == []
    assert answers.cents_by_key["0-1"] == 3


def test_a_connection_that_cannot_be_opened_fails_one_batch_and_not_those_after_it(tmp_path: Path) -> None:
    disk = FailingDisk(tmp_path / "bank")
    Signer.load_or_make(disk.folder / "journal-key")
    with disk.watched():
        store = open_store(disk.folder)
        pool = store._recorder.datastore.pool
        store._recorder.datastore._writer = None  # what it is before anything was written
        taken = [pool.get_connection() for _ in range(pool.num_in_pool)]
        with disk.failing(Order("open", CANTOPEN)), pytest.raises(PersistenceError, match="unable to open"):
            store._recorder.insert_events([], first=1)
        store.append(another(store))
        for connection in taken:
            pool.put_connection(connection)
        assert verify(store.path).positions == 1
        store.close()


@pytest.mark.usefixtures("often", "soon")
async def test_a_start_or_a_stop_on_a_disk_that_fails_is_told_and_the_next_one_finds_all(
    tmp_path: Path, seed: int, request: pytest.FixtureRequest
) -> None:
    chance = Random(seed)
    found = [
        Order(kind, code, first, lasts)
        for kind, code in (*ERRORS, ("open", READONLY))
        for first in range(30)
        for lasts in (1, 10**6)
    ]
    for number, order in enumerate(found if request.config.getoption("--soak") else chance.sample(found, STARTS)):
        disk, answers = FailingDisk(tmp_path / f"bank-{number}"), Answers()
        with disk.watched():
            if chance.random() < 0.5:
                async with bank(disk.folder) as system:
                    await answers.ask_all(system, CLIENTS, range(TURNS))
            with disk.failing(order):
                try:
                    async with bank(disk.folder) as system:
                        await answers.ask_all(system, CLIENTS, range(TURNS, 2 * TURNS))
                except* (Unreadable, Unresolved):
                    pass
            assert audit(disk.folder, answers.cents_by_key, answers.declined) == [], order


@pytest.mark.usefixtures("soon")
async def test_on_a_file_that_became_read_only_commands_are_refused_and_questions_answered(tmp_path: Path) -> None:
    disk, answers = FailingDisk(tmp_path / "bank"), Answers()
    with disk.watched():
        async with bank(disk.folder) as system:
            await answers.ask_all(system, CLIENTS, range(TURNS))
        with disk.failing(Order("open", READONLY, lasts=10**6, name="journal.db")):
            async with bank(disk.folder) as system:
                await answers.ask(system, 0, TURNS)
                assert answers.declined == {key_of(0, TURNS)}
                assert "readonly database" in system.journal.last_failure
                assert await system.ask(Ask(account="a0"), context("")) == Balance(1 + 2)
    assert audit(disk.folder, answers.cents_by_key, answers.declined) == []


async def test_what_a_failed_sync_of_the_copied_log_may_cost_is_found_and_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite tells nobody that a sync failed while it copied the log; what it had copied before, up to a reader, is not copied again."""
    monkeypatch.setattr(recorder, "AUTOCHECKPOINT_PAGES", 400)
    disk = FailingDisk(tmp_path / "bank")
    answers = Answers(disk.acknowledge)
    with disk.watched():
        async with bank(disk.folder) as system:
            await answers.ask_all(system, 2, range(45))
            with closing(sqlite3.connect(disk.folder / "journal.db", isolation_level=None)) as reader:
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM stored_events").fetchall()
                await answers.ask_all(system, 2, range(45, 60))
            with disk.failing(Order("sync", IOERR_FSYNC, name="journal.db")) as order:
                await answers.ask_all(system, 2, range(60, 90))
    assert order.struck == 1
    chance = Random(0)
    ends = len(disk.trace)
    for moment, files in disk.remains(sorted(chance.sample(range(ends // 2, ends), MOMENTS)), chance):
        told = {key: answers.cents_by_key[key] for key in disk.told(moment)}
        copy = lay(files, tmp_path / f"at-{moment}", disk.folder / "journal-key")
        try:
            found = not verify(copy / "journal.db").whole
        except Unreadable:
            found = True
        assert found or lost(audit(copy, told)) == [], moment

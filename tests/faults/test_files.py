"""Files that are not as they were left: locked, read-only, cut or altered, in a second process, under a clock that went back."""

import sqlite3
import sys
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from random import Random

import pytest
import trio

from runtime.clock import FixedClock
from runtime.evidence import Unreadable
from runtime.store import sqlite
from runtime.store.recorder import JournalDatastore
from runtime.verification import verify
from tests.faults.books import Answers, audit, context, files_in, key_of, lay, lost, open_store
from tests.runtime.bank import Ask, Balance
from tests.runtime.test_system import bank

CLIENTS, TURNS = 2, 6
ALTERED = 25
LOCK_SECONDS = 0.01
ROOT = Path(__file__).parents[2]


async def traded(folder: Path) -> Answers:
    answers = Answers()
    async with bank(folder) as system:
        await answers.ask_all(system, CLIENTS, range(TURNS))
    return answers


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """For the bank; copies go beside it."""
    folder = tmp_path / "bank"
    folder.mkdir()
    return folder


async def run(*command: str) -> tuple[int, str]:
    """How a process ended and what it complained of."""
    done = await trio.run_process(command, cwd=ROOT, capture_stdout=True, capture_stderr=True, check=False)
    return done.returncode, done.stderr.decode()


async def test_while_somebody_else_holds_the_lock_commands_are_refused_and_taken_when_he_lets_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soon: None
) -> None:
    impatient = partial(JournalDatastore, lock_seconds=LOCK_SECONDS)  # type: ignore[arg-type] # SQLite takes fractions
    monkeypatch.setattr(sqlite, "JournalDatastore", impatient)
    answers = await traded(tmp_path)
    async with bank(tmp_path) as system:
        with closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await answers.ask(system, 0, TURNS)
            assert answers.declined == {key_of(0, TURNS)}
            assert "database is locked" in system.journal.last_failure
            assert await system.ask(Ask(account="a0"), context("")) == Balance(
                answers.cents_by_key[key_of(0, TURNS - 1)]
            )
            other.execute("ROLLBACK")
        await answers.ask(system, 0, TURNS)
        assert answers.declined == set()
    assert audit(tmp_path, answers.cents_by_key) == []


async def test_a_journal_that_somebody_else_holds_alone_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = await traded(tmp_path)
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, timeout=LOCK_SECONDS))
    with closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Unreadable, match="can't be opened: database is locked"):
            open_store(tmp_path)
    monkeypatch.undo()
    assert audit(tmp_path, answers.cents_by_key) == []


SECOND = """
import sys
from pathlib import Path
from tests.faults.books import open_store
open_store(Path(sys.argv[1]))
"""


async def test_a_second_process_is_refused_by_name_and_disturbs_nobody(tmp_path: Path) -> None:
    answers = await traded(tmp_path)
    async with bank(tmp_path) as system:
        status, said = await run(sys.executable, "-c", SECOND, str(tmp_path))
        assert status == 1
        assert f"Locked: {tmp_path / 'journal.db'} is in use by another process" in said
        await answers.ask(system, 0, TURNS)
    assert audit(tmp_path, answers.cents_by_key) == []


READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'


async def test_in_a_read_only_folder_no_journal_is_opened(folder: Path) -> None:
    answers = await traded(folder)
    within = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", READ_ONLY, str(folder)]
    if (await run(*within, "true"))[0]:
        pytest.skip("no file system can be mounted here")
    _, said = await run(*within, sys.executable, "-c", SECOND, str(folder))
    assert f"Unreadable: {folder}/journal.db can't be opened: Read-only file system" in said
    assert verify(folder / "journal.db").whole
    assert audit(folder, answers.cents_by_key) == []


async def test_a_database_that_was_cut_or_altered_is_refused_or_found_or_has_lost_nothing(
    folder: Path, tmp_path: Path, seed: int
) -> None:
    """Torn in its last page, cut anywhere, a sector of zeros, a flipped byte. A start reads little of it, a verification all."""
    chance = Random(seed)
    answers = await traded(folder)
    whole = files_in(folder)["journal.db"]
    key = folder / "journal-key"
    for number in range(ALTERED):
        copy = lay({"journal.db": alter(whole, chance, number)}, tmp_path / f"copy-{number}", key)
        try:
            found = not verify(copy / "journal.db").whole
        except Unreadable:
            found = True
        assert found or not lost(audit(copy, answers.cents_by_key)), number
        with suppress(Unreadable):
            open_store(copy).close()


def alter(content: bytes, chance: Random, number: int) -> bytes:
    broken = bytearray(content)
    match number % 4:
        case 0:
            return content[: len(content) - chance.randrange(1, 4096)]
        case 1:
            return content[: chance.randrange(len(content))]
        case 2:
            sector = chance.randrange(len(content) // 512) * 512
            broken[sector : sector + 512] = bytes(512)
        case _:
            broken[chance.randrange(len(content))] ^= chance.randrange(1, 256)
    return bytes(broken)


async def test_a_log_that_was_cut_or_altered_leaves_an_earlier_state_which_a_kept_checkpoint_tells(
    folder: Path, tmp_path: Path, seed: int
) -> None:
    chance = Random(seed)
    answers = Answers()
    async with bank(folder) as system:
        await answers.ask_all(system, CLIENTS, range(TURNS))
        await system.journal.settled()
        files, records = files_in(folder), await system.journal.read(0)
        kept = system.journal.store.checkpoint()
    log = files["journal.db-wal"]
    for number in range(ALTERED):
        broken = {**files, "journal.db-wal": alter(log, chance, number)}
        copy = lay(broken, tmp_path / f"copy-{number}", folder / "journal-key")
        report = verify(copy / "journal.db", against=kept) if was_begun(copy) else None
        store = open_store(copy)
        assert store.read(0, 1000) == records[: store.position]
        assert report is None or report.whole == (store.position == len(records)), number
        store.close()
        assert verify(copy / "journal.db").whole


def was_begun(folder: Path) -> bool:
    """Whether the file says what it is: the log of a new journal may have been cut before that."""
    with closing(sqlite3.connect(folder / "journal.db")) as file:
        has_facts = file.execute("SELECT 1 FROM sqlite_schema WHERE name='facts'").fetchone()
        return bool(has_facts and file.execute("SELECT 1 FROM facts").fetchone())


async def test_times_never_go_back_when_the_clock_does(tmp_path: Path) -> None:
    clock = FixedClock()
    async with bank(tmp_path, clock=clock) as system:
        for turn, back in enumerate((0.0, 3600.0, -10.0, 7200.0)):
            clock.at -= back
            await Answers().ask(system, 0, turn)
        records = system.journal.store.read(0, 10)
    times = [at for record in records for at in (record.meta.at, record.meta.recorded_at)]
    assert times == sorted(times)
    assert verify(tmp_path / "journal.db").whole

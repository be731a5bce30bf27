"""The journal's file: sealed, repeatable to the byte, copied whole, and never written by two."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from eventsourcing.persistence import OperationalError

from runtime.codec import Codec
from runtime.errors import Fenced
from runtime.evidence import Unreadable
from runtime.records import Meta
from runtime.store.sqlite import MILESTONE_POSITIONS, Batch, Draft, SqliteStore
from runtime.transparency import Signer, Tree, leaf_hash
from runtime.verification import verify
from tests.runtime.bank import Deposited

BANK = sys.modules["tests.runtime.bank"]
CODEC = Codec([BANK])
META = Meta(id="c1", cause="", correlation="c1", tenant="t1", principal="ann", at=1.0)


def _open(folder: Path, signer: Signer | None = None) -> SqliteStore:
    return SqliteStore(folder / "journal.db", CODEC, signer or Signer.load_or_make(folder / "journal-key"))


def _batch(first: int, count: int, stream: str = "bank-a") -> Batch:
    data = CODEC.pack(Deposited(account="a", cents=1))
    drafts = [Draft(n, stream, n, "bank.Deposited", META, data) for n in range(first, first + count)]
    return Batch(drafts, [], [], 2.0)


def test_every_batch_is_sealed_and_verifies(tmp_path: Path) -> None:
    store = _open(tmp_path)
    for first, count in ((1, 1), (2, 6), (8, MILESTONE_POSITIONS), (8 + MILESTONE_POSITIONS, 3)):
        store.append(_batch(first, count))
        assert verify(store.path).whole
    sizes = [size for (size,) in store.query("SELECT size FROM checkpoints ORDER BY size")]
    assert sizes == [7, MILESTONE_POSITIONS + 10]
    store.close()
    store = _open(tmp_path)
    store.append(_batch(MILESTONE_POSITIONS + 11, 1))
    assert verify(store.path).positions == MILESTONE_POSITIONS + 11
    store.close()


def test_a_missing_last_record_is_seen_when_the_store_is_opened_and_when_it_is_verified(tmp_path: Path) -> None:
    store = _open(tmp_path)
    store.append(_batch(1, 3))
    store.close()
    with sqlite3.connect(tmp_path / "journal.db") as connection:
        connection.execute("DELETE FROM stored_events WHERE rowid=3")
    connection.close()
    report = verify(tmp_path / "journal.db")
    assert (report.whole, report.first_bad) == (False, 3)
    with pytest.raises(Unreadable, match="2 records"):
        _open(tmp_path)


def test_a_backup_holds_what_is_still_in_the_log_beside_the_file(tmp_path: Path) -> None:
    store = _open(tmp_path)
    store.append(_batch(1, 5))
    store.backup(tmp_path / "copy.db")
    with pytest.raises(FileExistsError):
        store.backup(tmp_path / "copy.db")
    store.append(_batch(6, 5))
    store.close()
    report = verify(tmp_path / "copy.db")
    assert (report.whole, report.positions) == (True, 5)


def test_a_second_writer_is_fenced_by_the_position(tmp_path: Path) -> None:
    store = _open(tmp_path)
    store.append(_batch(1, 1))
    with sqlite3.connect(tmp_path / "journal.db") as connection:
        connection.execute("INSERT INTO stored_events VALUES (2, 'bank-z', 1, 'bank.Deposited', x'80')")
    connection.close()
    with pytest.raises(Fenced):
        store.append(_batch(2, 1))
    store.close()


def test_a_commit_whose_answer_was_lost_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = _open(tmp_path)
    insert = store._recorder.insert_events

    def lose(*args: object, **kwargs: object) -> None:
        insert(*args, **kwargs)
        raise OperationalError("connection lost")

    monkeypatch.setattr(store._recorder, "insert_events", lose)
    store.append(_batch(1, 2))
    monkeypatch.undo()
    store.append(_batch(3, 2))
    assert verify(store.path).positions == 4
    store.close()


def test_a_store_of_another_format_or_key_is_refused(tmp_path: Path) -> None:
    _open(tmp_path).close()
    with pytest.raises(Unreadable, match="another key"):
        _open(tmp_path, Signer.make())
    with sqlite3.connect(tmp_path / "journal.db") as connection:
        connection.execute("UPDATE facts SET value='9' WHERE name='format'")
    connection.close()
    with pytest.raises(Unreadable, match="format 9"):
        _open(tmp_path)


def test_a_tree_that_was_made_over_forged_records_is_not_built_upon(tmp_path: Path) -> None:
    store = _open(tmp_path)
    store.append(_batch(1, 3))
    store.append(_batch(4, 3))
    store.close()
    with sqlite3.connect(tmp_path / "journal.db") as file:
        forged = CODEC.body(META, CODEC.pack(Deposited(account="a", cents=1_000_000)))
        file.execute("UPDATE stored_events SET state=? WHERE rowid=2", (forged,))
        rows = "SELECT rowid, originator_id, originator_version, topic, state FROM stored_events ORDER BY rowid"
        nodes = Tree().extend(leaf_hash(*row) for row in file.execute(rows).fetchall())
        file.execute("DELETE FROM nodes")
        file.executemany("INSERT INTO nodes VALUES (?,?)", nodes)
        file.execute("DELETE FROM checkpoints WHERE size < 6")
    file.close()
    with pytest.raises(Unreadable, match="not the one that was signed"):
        _open(tmp_path)


def test_a_file_that_acts_by_itself_is_refused_and_named(tmp_path: Path) -> None:
    store = _open(tmp_path)
    store.append(_batch(1, 3))
    store.close()
    with sqlite3.connect(tmp_path / "journal.db") as file:
        file.execute("CREATE TRIGGER swallow BEFORE INSERT ON stored_events BEGIN SELECT RAISE(IGNORE); END")
    file.close()
    report = verify(tmp_path / "journal.db")
    assert not report.whole
    assert report.faults == ["the file holds a trigger that no journal has: swallow"]
    with pytest.raises(Unreadable, match="trigger swallow"):
        _open(tmp_path)


SCRIPT = """
import sys, trio, hashlib
from pathlib import Path
from runtime.clock import FixedClock
from runtime.codec import Codec
from runtime.ids import Ids
from runtime.delivery import Context
from runtime.store.sqlite import SqliteStore
from runtime.system import Role, open_system
from runtime.transparency import Signer
from tests.runtime import bank

async def main(folder):
    clock = FixedClock()
    store = SqliteStore(folder / "journal.db", Codec([bank]), Signer.load_or_make(folder / "journal-key"))
    async with open_system(store, [Role(bank.Teller)], clock=clock, ids=Ids(clock, entropy=bytes)) as system:
        for number in range(20):
            context = Context(tenant="t1", principal="ann", key=f"k{number}", digest=b"d")
            await system.ask(bank.Deposit(account=f"a{number % 3}", cents=number), context)
        rows = store.query("SELECT rowid, originator_id, originator_version, topic, state FROM stored_events")
    store.close()
    print(hashlib.sha256(repr(rows).encode()).hexdigest())

trio.run(main, Path(sys.argv[1]))
"""


def test_the_same_commands_make_the_same_bytes_under_any_hash_seed(tmp_path: Path) -> None:
    digests = set()
    for seed in ("0", "1", "77"):
        folder = tmp_path / seed
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(folder)],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(done.stdout)
    assert len(digests) == 1

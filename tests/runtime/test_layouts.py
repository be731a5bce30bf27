"""A file of an earlier layout is brought over after a backup, whole or not at all; one of a newer program is refused."""

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from shutil import copyfile

import pytest

from runtime.evidence import Unreadable
from runtime.store import layouts
from runtime.store.layouts import FORMAT, MIGRATIONS, Migration, format_of, upgrade
from runtime.store.sqlite import SqliteStore
from runtime.transparency import Signer
from runtime.verification import verify
from tests import forks
from tests.runtime.test_store import CODEC, _batch, _open


def add_table(file: sqlite3.Connection) -> None:
    file.execute("CREATE TABLE notes (position INTEGER PRIMARY KEY, note TEXT)")
    file.execute("INSERT INTO notes SELECT rowid, 'kept' FROM stored_events")


NEWER = (*MIGRATIONS, Migration("a note on each record", add_table))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of today's layout."""
    store = _open(tmp_path)
    store.append(_batch(1, 5))
    store.close()
    return tmp_path / "journal.db"


def judge(copy: Path) -> list[str]:
    return verify(copy).faults


def rows(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as file:
        return file.execute(statement).fetchall()


def backups(path: Path) -> list[str]:
    return sorted(found.name for found in path.parent.glob("journal.db.format-*"))


def test_a_newer_program_brings_the_file_over_after_a_backup_that_verifies_and_opens(
    path: Path, tmp_path: Path
) -> None:
    records = rows(path, "SELECT * FROM stored_events")
    upgrade(path, judge, NEWER)
    assert format_of(path) == FORMAT + 1
    assert rows(path, "SELECT count(*) FROM notes") == [(5,)]
    assert rows(path, "SELECT * FROM stored_events") == records
    (name,) = backups(path)
    backup = path.with_name(name)
    assert (verify(backup).whole, verify(backup).positions, format_of(backup)) == (True, 5, FORMAT)
    other = tmp_path / "other"
    other.mkdir()
    copyfile(backup, other / "journal.db")
    (other / "journal-key").write_bytes((tmp_path / "journal-key").read_bytes())
    (other / "journal-key").chmod(0o600)
    _open(other).close()


def test_an_older_program_refuses_a_newer_file_and_leaves_it_alone(path: Path, tmp_path: Path) -> None:
    upgrade(path, judge, NEWER)
    before = path.read_bytes()
    with pytest.raises(Unreadable, match=f"format {FORMAT + 1}, this program writes format {FORMAT}: a newer program"):
        _open(tmp_path)
    assert path.read_bytes() == before
    with pytest.raises(Unreadable, match=f"format {FORMAT + 1}"):
        verify(path)


def test_a_file_of_todays_layout_is_not_touched(path: Path) -> None:
    upgrade(path, judge)
    assert backups(path) == []


def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path, tmp_path: Path) -> None:
    def fail(file: sqlite3.Connection) -> None:
        add_table(file)
        file.execute("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(Unreadable, match="can't be brought to format"):
        upgrade(path, judge, (*MIGRATIONS, Migration("fails", fail)))
    assert format_of(path) == FORMAT
    assert rows(path, "SELECT name FROM sqlite_schema WHERE name='notes'") == []
    store = _open(tmp_path)
    store.append(_batch(6, 1))
    store.close()
    upgrade(path, judge, NEWER)
    assert backups(path) == [f"journal.db.format-{FORMAT}", f"journal.db.format-{FORMAT}.2"]
    assert verify(path.with_name(f"journal.db.format-{FORMAT}.2")).positions == 6


def test_a_backup_of_a_try_that_did_not_come_through_is_used_again(path: Path) -> None:
    with pytest.raises(Unreadable):
        upgrade(path, judge, (*MIGRATIONS, Migration("fails", lambda file: file.execute("nonsense"))))
    upgrade(path, judge, NEWER)
    assert backups(path) == [f"journal.db.format-{FORMAT}"]


def test_an_altered_file_is_not_brought_over(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("UPDATE stored_events SET state=x'80' WHERE rowid=2")
    with pytest.raises(Unreadable, match="was altered, and is not brought to a newer format"):
        upgrade(path, judge, NEWER)
    assert format_of(path) == FORMAT


KILLED = """
import os, signal, sys
from pathlib import Path
from runtime.store.layouts import MIGRATIONS, Migration, upgrade
from tests.runtime.test_layouts import add_table

def die(file):
    add_table(file)
    file.execute("PRAGMA cache_spill=1")
    os.kill(os.getpid(), signal.SIGKILL)

where = sys.argv[2]
steps = [Migration("dies in the middle", die)] if where == "migration" else [Migration("", add_table)]
judge = lambda copy: os.kill(os.getpid(), signal.SIGKILL) if where == "backup" else []
upgrade(Path(sys.argv[1]), judge, (*MIGRATIONS, *steps))
"""


@pytest.mark.parametrize("where", ["backup", "migration"])
def test_a_process_killed_in_the_middle_leaves_the_old_file_to_the_old_program_and_the_new_one_can_try_again(
    path: Path, tmp_path: Path, where: str
) -> None:
    done = forks.run(KILLED, str(path), where, folder=tmp_path, environment=os.environ)
    assert done.returncode == -signal.SIGKILL
    store = _open(tmp_path)
    assert store.position == 5
    store.close()
    assert verify(path).whole
    upgrade(path, judge, NEWER)
    assert format_of(path) == FORMAT + 1


def test_a_file_that_states_no_number_as_its_format_is_refused(path: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("UPDATE facts SET value='new' WHERE name='format'")
    with pytest.raises(Unreadable, match="states the format 'new', which is none"):
        _open(tmp_path)


def test_the_kinds_that_a_migration_lists_are_those_that_a_store_lists_itself(path: Path) -> None:
    listed = rows(path, "SELECT * FROM kinds")
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        for table in ("kinds", "states", "tombstones"):
            file.execute(f"DROP TABLE {table}")
        file.execute("UPDATE facts SET value='1' WHERE name='format'")
    SqliteStore(path, CODEC, Signer.load(path.with_name("journal-key"))).close()
    assert rows(path, "SELECT * FROM kinds") == listed == [("bank.Deposited", 1)]
    assert layouts.format_of(path) == FORMAT

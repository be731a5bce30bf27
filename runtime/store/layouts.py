"""How a journal's file of an earlier layout becomes one of today's: after a backup, in one transaction, or not at all.

The file states the number of its layout. A newer number than this program's is refused: it would not know what it breaks. To change the
layout, add a migration at the end of MIGRATIONS, which makes the next number; change the tables in `recorder.py` alike; keep a journal of
the new layout (`python -m tests.stories.layouts`). Migrations never touch the records: their bytes are what was signed.
"""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import NamedTuple

import structlog

from runtime.evidence import Unreadable
from runtime.store.copies import copy_database

log = structlog.get_logger()


class Migration(NamedTuple):
    """A step from one layout to the next; `run` works within a transaction, and must not end it."""

    what: str
    run: Callable[[sqlite3.Connection], object]


def _list_kinds(file: sqlite3.Connection) -> None:
    file.execute("CREATE TABLE kinds (kind TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID")
    file.execute("INSERT INTO kinds SELECT topic, MIN(rowid) FROM stored_events GROUP BY topic")


def _keep_states(file: sqlite3.Connection) -> None:
    file.execute(
        "CREATE TABLE IF NOT EXISTS states (stream TEXT, version INTEGER, position INTEGER NOT NULL, shape TEXT NOT NULL, "
        "tenant TEXT NOT NULL, state BLOB NOT NULL, seal BLOB NOT NULL, PRIMARY KEY (stream, version))"
    )
    file.execute("CREATE INDEX IF NOT EXISTS states_position ON states (position)")


def _keep_tombstones(file: sqlite3.Connection) -> None:
    file.execute(
        "CREATE TABLE IF NOT EXISTS tombstones (stream TEXT PRIMARY KEY, version INTEGER NOT NULL, position INTEGER NOT NULL, "
        "shape TEXT NOT NULL, tenant TEXT NOT NULL, state BLOB NOT NULL, seal BLOB NOT NULL, archive INTEGER NOT NULL) WITHOUT ROWID"
    )


MIGRATIONS = (
    Migration("the kinds of records are listed beside them, each with its first position", _list_kinds),
    Migration("copies of the states of long streams are kept", _keep_states),
    Migration("bodies of records may stand in archives, and last states of their streams are kept", _keep_tombstones),
)
FORMAT = 1 + len(MIGRATIONS)
"""The number of today's layout."""


def upgrade(path: Path, judge: Callable[[Path], Sequence[str]], migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Brings the file to the newest layout; nothing is done where it has that, or is no journal yet. The caller holds its lock.

    Before that a copy is put beside it, and `judge` says what is wrong with the copy. Raises Unreadable where the file is of a newer
    layout, or can't be copied and brought over; then it is as it was.
    """
    found = format_of(path)
    newest = 1 + len(migrations)
    if found is None or found == newest:
        return
    if found > newest:
        raise Unreadable(
            f"{path} has format {found}, this program writes format {newest}: a newer program has written it, use that"
        )
    try:
        backup = _back_up(path, found, judge)
        log.info("journal_upgrade", path=str(path), found=found, newest=newest, backup=str(backup))
        _migrate(path, found, migrations)
    except (sqlite3.Error, OSError) as error:
        raise Unreadable(f"{path} has format {found} and can't be brought to format {newest}: {error}") from error


def format_of(path: Path) -> int | None:
    """The number of the file's layout; None where it states none. Raises Unreadable where that is no number."""
    if not path.exists() or not path.stat().st_size:
        return None
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as file:
            if file.execute("SELECT 1 FROM sqlite_schema WHERE type='table' AND name='facts'").fetchone() is None:
                return None
            row = file.execute("SELECT value FROM facts WHERE name='format'").fetchone()
    except sqlite3.Error as error:
        raise Unreadable(f"{path} can't be opened: {error}") from error
    if row is None:
        return None
    if not str(row[0]).isdigit() or int(row[0]) < 1:
        raise Unreadable(f"{path} states the format {row[0]!r}, which is none")
    return int(row[0])


def _back_up(path: Path, found: int, judge: Callable[[Path], Sequence[str]]) -> Path:
    """A copy beside the file that holds what it holds: the one of a try before that did not come through, else a new one."""
    for number in count(1):
        backup = path.with_name(f"{path.name}.format-{found}" + (f".{number}" if number > 1 else ""))
        if backup.exists() and _newest_note(backup) != _newest_note(path):
            continue
        if not backup.exists():
            copy_database(path, backup)
        break
    if faults := judge(backup):
        raise Unreadable(f"{path} was altered, and is not brought to a newer format: {'; '.join(faults)}")
    return backup


def _newest_note(path: Path) -> str | None:
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        row = file.execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
    return None if row is None else str(row[0])


def _migrate(path: Path, found: int, migrations: Sequence[Migration]) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("PRAGMA synchronous=FULL")
        file.execute("BEGIN IMMEDIATE")
        for migration in migrations[found - 1 :]:
            migration.run(file)
        file.execute("UPDATE facts SET value=? WHERE name='format'", (str(1 + len(migrations)),))
        file.execute("COMMIT")

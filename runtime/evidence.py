"""Reads a journal's file as evidence: live, or a copy with or without its write-ahead log, and never changes it.

SQLite reads a lone file as immutable, so that nothing appears beside it; whoever begins to write meanwhile is noticed, and
the file is read again through its log. A log that can't be read where it lies is copied with the file into a temporary
folder first: to ignore it would be to overlook the newest records.
"""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

T = TypeVar("T")

MAGIC = b"SQLite format 3\x00"
SIDECARS = ("-wal", "-journal")
IMMUTABLE = "mode=ro&immutable=1"
BROKEN = (sqlite3.Error, UnicodeDecodeError)
"""What a damaged file raises; the second where SQLite's own message quotes bytes of a damaged schema."""


class Evidence(sqlite3.Connection):
    """A connection to what is read. `again` opens the very same content once more; empty where another one may see later content."""

    again: str = ""


class Unreadable(Exception):
    """The file can't be read as what it should be, and so can't be judged."""


class _NotOpened(Exception):
    """SQLite can't open the file where it lies."""


def read_evidence(path: Path, look: Callable[[sqlite3.Connection], T]) -> T:
    """What `look` finds in one consistent snapshot of the file. It may run twice. Raises Unreadable."""
    path = (
        path.resolve()
    )  # SQLite follows links too: what belongs to the file lies beside the file, not beside a link to it
    stamp = _stamp(path)
    if not any(stamp[1:]):
        try:
            found = _look(path, IMMUTABLE, look)
        except Unreadable:
            if _stamp(path) == stamp:
                raise
        else:
            if _stamp(path) == stamp:
                return found
    try:
        return _look(path, "mode=ro", look)
    except _NotOpened:
        return _look_at_copy(path, look)


def _look_at_copy(path: Path, look: Callable[[sqlite3.Connection], T]) -> T:
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "journal.db"
        try:
            for suffix in ("", *SIDECARS):
                if (source := Path(f"{path}{suffix}")).is_file():
                    shutil.copyfile(source, f"{copy}{suffix}")
            return _look(copy, "mode=rw", look)
        except (OSError, _NotOpened) as error:
            raise Unreadable(f"{path} can't be opened: {error}") from error


def _look(path: Path, mode: str, look: Callable[[sqlite3.Connection], T]) -> T:
    with closing(_open(path, mode)) as connection:
        try:
            return look(connection)
        except BROKEN as error:
            raise Unreadable(f"{path} is damaged: {error}") from error


def _open(path: Path, mode: str) -> sqlite3.Connection:
    connection: Evidence | None = None
    try:
        place = f"{path.as_uri()}?{mode}"
        connection = sqlite3.connect(place, uri=True, isolation_level=None, factory=Evidence)
        connection.again = place if mode == IMMUTABLE else ""
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # the snapshot begins with the first read
        return connection
    except BROKEN as error:
        if connection is not None:
            connection.close()
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            raise _NotOpened(str(error)) from error
        raise Unreadable(f"{path} can't be opened: {error}") from error


def _stamp(path: Path) -> tuple[tuple[int, int], int, int]:
    """Size and time of the file and the sizes of what stands beside it, to notice a writer."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
        status = path.stat()
        wal, journal = (_size(Path(f"{path}{suffix}")) for suffix in SIDECARS)
    except OSError as error:
        raise Unreadable(f"{path} can't be read: {error.strerror or error}") from error
    if magic != MAGIC:
        raise Unreadable(f"{path} is not an SQLite file")
    return (status.st_size, status.st_mtime_ns), wal, journal


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0

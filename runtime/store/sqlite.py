"""A journal in one SQLite file: batches in, records out, sealed by a Merkle tree; one writing process, held by a lock."""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from eventsourcing.persistence import IntegrityError, PersistenceError

from runtime.archives import FOLDER, Archives
from runtime.codec import Codec
from runtime.errors import Fenced
from runtime.evidence import Unreadable
from runtime.store.contract import (
    MILESTONE_POSITIONS,
    REPLY_SECONDS,
    Batch,
    Draft,
    Locked,
    Memory,
    SavedState,
    Tombstone,
    Unresolved,
)
from runtime.store.copies import copy_database, sync
from runtime.store.layouts import upgrade
from runtime.store.recorder import JournalDatastore, JournalRecorder
from runtime.store.store import Store
from runtime.transparency import Signer
from runtime.verification import Report, verify

__all__ = ["MILESTONE_POSITIONS", "REPLY_SECONDS", "Batch", "Draft", "Locked", "Memory", "SqliteStore"]


PRIMARY_CODE = 0xFF
"""What SQLite's extended error codes have in common with the plain ones."""

WRITE_A_PAGE = "PRAGMA user_version=0"
"""Changes nothing; unlike an update to the same value it is written all the same."""


class SqliteStore(Store):
    """The file, its lock, its tree. Made over a file that is no whole journal it raises Unreadable."""

    POSITION = "rowid"

    def __init__(
        self,
        path: Path,
        codec: Codec,
        signer: Signer,
        *,
        name: str = "main",
        entropy: Callable[[int], bytes] = os.urandom,
        successor: Signer | None = None,
    ) -> None:
        """`entropy(n)` gives n random bytes, for the name of a new journal."""
        self.path = path
        self.place = str(path)
        self.codec = codec
        self.signer = signer
        self.successor = successor
        self.archives = Archives(path.parent / FOLDER)
        self._lock: int | None = _lock(path)
        self._recorder = None
        try:
            self._open_file(name, entropy)
        except (sqlite3.Error, PersistenceError) as error:
            self.close()
            raise Unreadable(f"{path} can't be opened: {error}") from error
        except BaseException:
            self.close()
            raise

    def _open_file(self, name: str, entropy: Callable[[int], bytes]) -> None:
        upgrade(self.path, self._judge_copy)
        self._sync_log()
        self._recorder = JournalRecorder(JournalDatastore(self.place))
        self._recorder.create_table()
        self._check_schema()
        self._load(name, entropy)

    def _sync_log(self) -> None:
        """What a killed process has written and not synced is read like all else, so it is made safe before anybody is told of it.

        SQLite does that itself, as it copies and drops the log, but only where nobody else reads the file meanwhile. There are no
        connections of this process yet: that the log is opened and closed beside them can't cost them their locks.
        """
        log = Path(f"{self.path.resolve()}-wal")
        if log.exists():
            sync(log)
            sync(self.path.parent)

    def _judge_copy(self, copy: Path) -> list[str]:
        return verify(copy, key=self.signer.public_key, archives=self.archives.folder).faults

    def _check_schema(self) -> None:
        """Nothing in the file may act by itself: a trigger could swallow what was acknowledged."""
        found = self.query("SELECT type, name FROM sqlite_schema WHERE type NOT IN ('table', 'index')")
        if found:
            raise Unreadable(f"{self.path} holds what no journal has: {', '.join(' '.join(row) for row in found)}")

    def _write_facts(self, facts: dict[str, str]) -> None:
        with self._recorder.datastore.transaction(commit=True) as cursor:
            cursor.executemany("INSERT INTO facts VALUES (?,?)", sorted(facts.items()))

    def query_stubs(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
        with self._recorder.datastore.transaction(commit=False) as cursor:
            cursor.sqlite_cursor.row_factory = None  # plain tuples: the library's rows cost as much again
            cursor.execute(statement, parameters)
            rows: list[Any] = cursor.fetchall()
            return rows

    def query(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
        rows = self.query_stubs(statement, parameters)
        return self.archives.whole(rows) if self.archives else rows

    def append(self, batch: Batch) -> None:
        stored, rows, tree = self._seal(batch)
        try:
            self._recorder.insert_events(stored, first=self.position + 1, rows=rows)
        except IntegrityError as error:
            raise Fenced(f"somebody else wrote to {self.path}: {error}") from error
        except PersistenceError as error:
            if not self._stands(stored, rows, self.query):
                self._bury(error)
                raise
        self._grow(stored, rows, tree)

    def _bury(self, error: PersistenceError) -> None:
        """Has what is left of a failed batch never come back, or raises Unresolved.

        Where the sync failed, the batch lies whole in the log, past what is taken for its end: nobody sees it, but the next start would,
        and take it for committed. So another transaction is written over it, and synced.
        """
        code = getattr(error.__cause__, "sqlite_errorcode", 0)
        if code & PRIMARY_CODE != sqlite3.SQLITE_IOERR or code == sqlite3.SQLITE_IOERR_WRITE:
            return  # its last frame was not written
        try:
            with self._recorder.datastore.transaction(commit=True) as cursor:
                cursor.execute(WRITE_A_PAGE)
        except PersistenceError as again:
            raise Unresolved(
                f"{self.path} could neither sync a batch ({error}) nor write over it ({again}): only a start finds out whether it stands"
            ) from error

    def archive(self, batch: Batch, stubs: Sequence[tuple[bytes, int]], tombstones: Sequence[Tombstone]) -> None:
        stored, rows, tree = self._seal(batch)
        kept = self._tombstone_rows(tombstones)
        with self._recorder.datastore.transaction(commit=True) as cursor:
            cursor.executemany("UPDATE stored_events SET state=? WHERE rowid=?", stubs)
            cursor.executemany("INSERT OR REPLACE INTO tombstones VALUES (?,?,?,?,?,?,?,?)", kept)
            cursor.executemany("DELETE FROM states WHERE stream=?", [(one.saved.stream,) for one in tombstones])
            self._recorder.insert_within(cursor, stored, self.position + 1, rows)
        self._grow(stored, rows, tree)

    def shrink(self) -> None:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def forget_replies(self, before: float) -> None:
        with self._recorder.datastore.transaction(commit=True) as cursor:
            cursor.execute("DELETE FROM commands WHERE at<?", (before,))

    def save(self, memories: Sequence[Memory], reactions: Sequence[tuple[str, str, int]]) -> None:
        rows = self._memory_rows(memories)
        with self._recorder.datastore.transaction(commit=True) as cursor:
            if rows:
                cursor.execute("DELETE FROM snapshots")
            cursor.executemany("INSERT INTO snapshots VALUES (?,?,?,?,?,?)", rows)
            cursor.executemany("INSERT OR REPLACE INTO reactions VALUES (?,?,?)", reactions)

    def save_states(self, states: Sequence[SavedState], gone: Sequence[tuple[str, int]]) -> None:
        rows = self._state_rows(states)
        with self._recorder.datastore.transaction(commit=True) as cursor:
            cursor.executemany("DELETE FROM states WHERE stream=? AND version=?", gone)
            cursor.executemany("INSERT OR REPLACE INTO states VALUES (?,?,?,?,?,?,?)", rows)

    def drop_copies(self) -> None:
        with self._recorder.datastore.transaction(commit=True) as cursor:
            cursor.execute("DELETE FROM snapshots")
            cursor.execute("DELETE FROM states")

    def backup(self, target: Path) -> None:
        """By SQLite's own online backup: a plain file copy loses the WAL's tail."""
        copy_database(self.path, target)

    def judge(self, *, key: str | None = None, against: str | None = None) -> Report:
        return verify(self.path, key=key, against=against, archives=self.archives.folder)

    def close(self) -> None:
        self.archives.close()
        if self._recorder is not None:
            self._recorder.datastore.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _lock(path: Path) -> int:
    """One writing process: the lock file's lock ends with the process, however it ends."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise Unreadable(f"{path} can't be opened: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise Locked(f"{path} is in use by another process") from error
    return handle

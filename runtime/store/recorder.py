"""The `eventsourcing` library's SQLite recorder with the journal's table, positions and pragmas.

What differs from the library's own, and why:

- positions are a declared AUTOINCREMENT column named `rowid`: the library's bare rowids are given out again after a deletion, and a
  dump and restore renumbers them;
- the writer assigns positions itself, contiguous, so that a second writer breaks on the primary key instead of interleaving;
- a batch's Merkle nodes, checkpoint, replies and reactions go into the same transaction as its records;
- rows are inserted several in a statement: SQLite's driver gives up the interpreter's lock at each, and beside a busy event loop has to
  fight for it each time;
- connections sync fully: an answer that was given survives a power cut.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain
from threading import Lock
from typing import Any, Literal, cast

from eventsourcing.persistence import InterfaceError, OperationalError, StoredEvent
from eventsourcing.sqlite import (
    SQLiteApplicationRecorder,
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteCursor,
    SQLiteDatastore,
)

from runtime.store.contract import Rows, Sealed

CACHE_KIBIBYTES = 64_000
AUTOCHECKPOINT_PAGES = 4_000
ROWS_AT_ONCE = (16, 4, 1)

TABLES = (
    "CREATE TABLE IF NOT EXISTS {events} (rowid INTEGER PRIMARY KEY AUTOINCREMENT, originator_id TEXT NOT NULL, "
    "originator_version INTEGER NOT NULL, topic TEXT NOT NULL, state BLOB NOT NULL)",
    "CREATE UNIQUE INDEX IF NOT EXISTS {events}_stream ON {events} (originator_id, originator_version)",
    "CREATE TABLE IF NOT EXISTS nodes (id INTEGER PRIMARY KEY, hash BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS checkpoints (size INTEGER PRIMARY KEY, root BLOB NOT NULL, recorded_at REAL NOT NULL, note TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS kinds (kind TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS commands (tenant TEXT, key TEXT, digest BLOB NOT NULL, reply BLOB NOT NULL, position INTEGER NOT NULL, "
    "at REAL NOT NULL, PRIMARY KEY (tenant, key)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS commands_at ON commands (at)",
    "CREATE TABLE IF NOT EXISTS reactions (actor TEXT, key TEXT, position INTEGER NOT NULL, PRIMARY KEY (actor, key)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS snapshots (actor TEXT, key TEXT, shape TEXT NOT NULL, position INTEGER NOT NULL, memory BLOB NOT NULL, "
    "seal BLOB NOT NULL, PRIMARY KEY (actor, key))",
    "CREATE TABLE IF NOT EXISTS states (stream TEXT, version INTEGER, position INTEGER NOT NULL, shape TEXT NOT NULL, "
    "tenant TEXT NOT NULL, state BLOB NOT NULL, seal BLOB NOT NULL, PRIMARY KEY (stream, version))",
    "CREATE INDEX IF NOT EXISTS states_position ON states (position)",
    "CREATE TABLE IF NOT EXISTS tombstones (stream TEXT PRIMARY KEY, version INTEGER NOT NULL, position INTEGER NOT NULL, "
    "shape TEXT NOT NULL, tenant TEXT NOT NULL, state BLOB NOT NULL, seal BLOB NOT NULL, archive INTEGER NOT NULL) WITHOUT ROWID",
)


class NotOpened(OperationalError):
    """No connection could be opened: too many open files, or a disk that fails."""


class JournalPool(SQLiteConnectionPool):
    """Connections that sync fully. One that can't be opened is a PersistenceError, like all else that fails here."""

    synchronous: Literal["FULL", "OFF"] = "FULL"

    def _create_connection(self) -> SQLiteConnection:
        try:
            connection = super()._create_connection()
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA synchronous={self.synchronous}")
            cursor.execute(f"PRAGMA cache_size=-{CACHE_KIBIBYTES}")
            cursor.execute(f"PRAGMA wal_autocheckpoint={AUTOCHECKPOINT_PAGES}")
        except (sqlite3.Error, InterfaceError) as error:
            raise NotOpened(str(error)) from error
        return connection


class JournalDatastore(SQLiteDatastore):
    """The library's datastore over `JournalPool`, with streams named by text, and a connection of its own for what is written."""

    def __init__(self, db_name: str, *, lock_seconds: int = 5) -> None:
        super().__init__(db_name, lock_timeout=lock_seconds, originator_id_type="text")
        self.pool.close()
        self.pool = JournalPool(db_name=db_name, lock_timeout=lock_seconds)
        self._turn = Lock()
        self._writer: SQLiteConnection | None = None

    @contextmanager
    def transaction(self, *, commit: bool) -> Iterator[SQLiteCursor]:
        """All that is written goes over one connection: another one would first read all pages anew that the last one changed."""
        if not commit:
            with super().transaction(commit=False) as cursor:
                yield cursor
            return
        with self._turn:
            if self._writer is None:
                self._writer = self.pool.get_connection()
            with self._writer.transaction(commit=True) as cursor:
                yield cursor


class JournalRecorder(SQLiteApplicationRecorder):
    """Records in batches: `insert_events(events, first=position, rows=…)` is one transaction."""

    def __init__(self, datastore: SQLiteDatastore, events_table_name: str = "stored_events") -> None:
        super().__init__(datastore, events_table_name)
        columns = f"INSERT INTO {events_table_name} (originator_id, originator_version, topic, state"
        self.insert_events_statement = f"{columns}) VALUES (?,?,?,?)"
        self.insert_numbered_statement = f"{columns}, rowid) VALUES (?,?,?,?,?)"

    def construct_create_table_statements(self) -> list[str]:
        return [statement.format(events=self.events_table_name) for statement in TABLES]

    def _insert_events(
        self,
        c: SQLiteCursor,
        stored_events: Sequence[StoredEvent | Sealed],
        *,
        first: int | None = None,
        rows: Rows | None = None,
        **_: Any,
    ) -> Sequence[int] | None:
        if first is None:
            return super()._insert_events(c, cast("Sequence[StoredEvent]", stored_events))
        numbered = [
            (e.originator_id, e.originator_version, e.topic, e.state, position)
            for position, e in enumerate(stored_events, first)
        ]
        _insert(c, self.insert_numbered_statement, numbered)
        if rows is not None:
            self._insert_rows(c, rows)
        return range(first, first + len(stored_events))

    def insert_within(self, cursor: SQLiteCursor, stored: Sequence[Sealed], first: int, rows: Rows) -> None:
        """Inserts a batch within the transaction of a cursor."""
        self._insert_events(cursor, stored, first=first, rows=rows)

    def _insert_rows(self, c: SQLiteCursor, rows: Rows) -> None:
        _insert(c, "INSERT INTO nodes VALUES (?,?)", rows.nodes)
        if rows.checkpoint is not None:
            c.execute("INSERT INTO checkpoints VALUES (?,?,?,?)", rows.checkpoint)
        if rows.superseded is not None:
            c.execute("DELETE FROM checkpoints WHERE size=?", (rows.superseded,))
        _insert(c, "INSERT INTO kinds VALUES (?,?)", rows.kinds)
        _insert(c, "INSERT INTO commands VALUES (?,?,?,?,?,?)", rows.replies)
        _insert(c, "INSERT OR REPLACE INTO reactions VALUES (?,?,?)", rows.reactions)


def _insert(cursor: SQLiteCursor, statement: str, rows: Sequence[Sequence[object]]) -> None:
    first = 0
    for count in ROWS_AT_ONCE:
        while len(rows) - first >= count:
            cursor.execute(_for_many(statement, count), tuple(chain.from_iterable(rows[first : first + count])))
            first += count


@cache
def _for_many(statement: str, rows: int) -> str:
    head, word, values = statement.partition("VALUES ")
    return head + word + ",".join([values] * rows)

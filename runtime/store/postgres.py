"""A journal in a PostgreSQL schema: a batch is one statement and one round trip; one writer, who holds a seat.

A batch whose answer was lost with the connection is neither given up nor repeated before it is known whether it stands: the seat is
taken anew, which makes that final, and the batch is read back. Only where nobody can be asked for `doubt_seconds_max` the node stops.
"""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import structlog
from eventsourcing.persistence import (
    IntegrityError,
    InterfaceError,
    OperationalError,
    PersistenceError,
    ProgrammingError,
)
from eventsourcing.utils import retry
from psycopg import Connection
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Identifier

from runtime.archives import FOLDER, Archives
from runtime.codec import Codec
from runtime.errors import Fenced
from runtime.evidence import Unreadable
from runtime.store.contract import Batch, Memory, Rows, SavedState, Sealed, Tombstone, Unresolved
from runtime.store.copying import copy_from_sqlite, copy_to_sqlite
from runtime.store.layouts import FORMAT
from runtime.store.packing import escaped
from runtime.store.postgres_recorder import (
    READERS_MAX,
    PostgresJournalDatastore,
    PostgresJournalRecorder,
    told_as_persistence,
)
from runtime.store.seat import Seat, check_age, foreign
from runtime.store.store import Store
from runtime.transparency import Signer
from runtime.verification import Report, verify

log = structlog.get_logger()

UPGRADED = {"2", "3"}
"""The layouts that differ from today's by tables which today's has in addition."""

DOUBT_SECONDS = 60.0
ATTEMPTS_MAX = 3
READ_AGAIN_SECONDS = 0.05
"""After a restart each connection of the pool has to be found broken once."""

LOST_STATES = ("08", "57P")
"""Connection exceptions, and the server's shutting down."""

AGAIN_SECONDS = 0.1
"""How long between two attempts to reach a server that holds the answer."""


class PostgresStore(Store):
    """One schema of one database: named journals have a schema each. Raises Locked, Unreadable or NotDurable where it can't be opened."""

    POSITION = "notification_id"

    def __init__(
        self,
        address: str,
        codec: Codec,
        signer: Signer,
        *,
        name: str = "main",
        entropy: Callable[[int], bytes] = os.urandom,
        successor: Signer | None = None,
        archives: Path | None = None,
        doubt_seconds_max: float = DOUBT_SECONDS,
    ) -> None:
        """`address` is a URL or a connection string of libpq. It may hold a password: messages never show it. `archives` is the folder
        in which the journal's archives lie."""
        self.codec = codec
        self.archives = Archives(archives or Path(FOLDER))
        self.signer = signer
        self.successor = successor
        self.position = 0
        self.note: str | None = None
        self.doubt_seconds_max = doubt_seconds_max
        self.schema = schema_of(name)
        self._datastore = PostgresJournalDatastore(address, self.schema, admit=self._admit)
        self.place = f"the journal {name} on {place_of(self._datastore)}"
        self._seat = Seat(self._datastore, self, uuid4().hex, self._prepare)
        try:
            self._seat.take()
            self._upgrade()
            self._load(name, entropy)
            self.note = self.checkpoint()
        except BaseException:
            self.close()
            raise

    def _admit(self, connection: Connection[Any]) -> None:
        """A reader must not land on a server that holds less than was written: it would find streams without their newest events."""
        if self.position:
            try:
                check_age(connection, self.position)
            except Fenced as error:
                raise OperationalError(str(error)) from error

    def _prepare(self) -> None:
        self._recorder = _make_tables(self._datastore)

    def _upgrade(self) -> None:
        """What an earlier layout lacks are tables, which were made by now: only its number is missing."""
        found = self.query("SELECT value FROM facts WHERE name = 'format'")
        if found and found[0][0] in UPGRADED:
            log.info("journal_upgrade", place=self.place, found=int(found[0][0]), newest=FORMAT)
            with self._writing() as cursor:
                cursor.execute("UPDATE facts SET value = %s WHERE name = 'format'", (str(FORMAT),))

    def _write_facts(self, facts: dict[str, str]) -> None:
        with self._writing() as cursor:
            cursor.executemany("INSERT INTO facts VALUES (%s, %s)", sorted(facts.items()))

    # ---- writing

    def append(self, batch: Batch) -> None:
        stored, rows, tree = self._seal(batch)
        attempts = 1
        while not self._commit(stored, rows):
            if attempts == ATTEMPTS_MAX:
                raise OperationalError(f"{attempts} connections in a row were lost while a batch was on its way")
            attempts += 1
            log.warning("a lost connection left nothing of a batch behind: it is sent again", place=self.place)
        self._grow(stored, rows, tree)
        if rows.checkpoint is not None:
            self.note = rows.checkpoint[3]

    def _commit(self, stored: Sequence[Sealed], rows: Rows) -> bool:
        """Sends a batch. False where the connection was lost and nothing of it stands."""
        connection = self._seat.take()
        try:
            self._recorder.insert_events(
                stored, first=self.position + 1, rows=rows, token=self._seat.token, connection=connection
            )
        except IntegrityError as error:
            raise Fenced(f"somebody else wrote to {self.place}: {error}") from error
        except PersistenceError as error:
            if not _is_lost(connection, error):
                raise
            connection.close()
            return self._find_out(stored, rows, error)
        return True

    def _find_out(self, stored: Sequence[Sealed], rows: Rows, lost: Exception) -> bool:
        """Takes the seat anew, however often that needs to be tried: from then on the last batch stands, or never will."""
        log.warning("the connection was lost while a batch was on its way", place=self.place, reason=str(lost))
        until = time.monotonic() + self.doubt_seconds_max
        while True:
            try:
                return self._read_back(stored, rows)
            except (OperationalError, InterfaceError) as error:
                if time.monotonic() > until:
                    raise Unresolved(
                        f"the connection to {self.place} was lost while a batch was on its way, and for"
                        f" {self.doubt_seconds_max:.0f} s nobody could be asked whether it stands: {error}"
                    ) from error
            time.sleep(AGAIN_SECONDS)

    def _read_back(self, stored: Sequence[Sealed], rows: Rows) -> bool:
        """On the writer's own connection: no other is sure to see what this one has made final."""
        connection = self._seat.take()
        with told_as_persistence():
            stands = self._stands(stored, rows, partial(ask, connection))
            ((newest,),) = ask(connection, "SELECT COALESCE(MAX(notification_id), 0) FROM stored_events")
        if newest != self.position + (len(stored) if stands else 0):
            raise Fenced(f"somebody else wrote to {self.place}: it holds {newest} records")
        return stands

    @contextmanager
    def _writing(self) -> Any:
        """A transaction beside the batches, which fails where another writer has taken over."""
        with told_as_persistence():
            connection = self._seat.take()
            with connection.transaction(), connection.cursor() as cursor:
                # As a batch does: whoever takes the seat waits for it, and what is read then is read under the lock.
                cursor.execute("LOCK TABLE stored_events IN ROW EXCLUSIVE MODE")
                cursor.execute("SELECT 1 FROM seat WHERE token = %s", (self._seat.token,))
                if cursor.fetchone() is None:
                    raise Fenced(f"another process has taken over {self.place}")
                yield cursor

    def forget_replies(self, before: float) -> None:
        with self._writing() as cursor:
            cursor.execute("DELETE FROM commands WHERE at < %s", (before,))

    def save(self, memories: Sequence[Memory], reactions: Sequence[tuple[str, str, int]]) -> None:
        rows = self._memory_rows(memories)
        with self._writing() as cursor:
            if rows:
                cursor.execute("DELETE FROM snapshots")
                cursor.executemany("INSERT INTO snapshots VALUES (%s, %s, %s, %s, %b, %b)", rows)
            if reactions:
                cursor.executemany(
                    "INSERT INTO reactions VALUES (%s, %s, %s) ON CONFLICT (actor, key) DO UPDATE SET position = excluded.position",
                    reactions,
                )

    def save_states(self, states: Sequence[SavedState], gone: Sequence[tuple[str, int]]) -> None:
        rows = self._state_rows(states)
        with self._writing() as cursor:
            cursor.executemany("DELETE FROM states WHERE stream = %s AND version = %s", gone)
            cursor.executemany(
                "INSERT INTO states VALUES (%s, %s, %s, %s, %s, %b, %b) ON CONFLICT (stream, version) DO UPDATE SET"
                " position = excluded.position, shape = excluded.shape, tenant = excluded.tenant, state = excluded.state,"
                " seal = excluded.seal",
                rows,
            )

    def archive(self, batch: Batch, stubs: Sequence[tuple[bytes, int]], tombstones: Sequence[Tombstone]) -> None:
        stored, rows, tree = self._seal(batch)
        kept = self._tombstone_rows(tombstones)
        with self._writing() as cursor:
            cursor.executemany("UPDATE stored_events SET state = %b WHERE notification_id = %s", stubs)
            cursor.executemany(
                "INSERT INTO tombstones VALUES (%s, %s, %s, %s, %s, %b, %b, %s) ON CONFLICT (stream) DO UPDATE SET"
                " version = excluded.version, position = excluded.position, shape = excluded.shape, tenant = excluded.tenant,"
                " state = excluded.state, seal = excluded.seal, archive = excluded.archive",
                kept,
            )
            cursor.executemany("DELETE FROM states WHERE stream = %s", [(one.saved.stream,) for one in tombstones])
            self._recorder.insert_events(
                stored, first=self.position + 1, rows=rows, token=self._seat.token, connection=cursor.connection
            )
        self._grow(stored, rows, tree)
        if rows.checkpoint is not None:
            self.note = rows.checkpoint[3]

    def shrink(self) -> None:
        """Nothing: the server gives the room to what comes, and to the disk by VACUUM FULL, which is its operator's to choose."""

    def drop_copies(self) -> None:
        with self._writing() as cursor:
            cursor.execute("DELETE FROM snapshots")
            cursor.execute("DELETE FROM states")

    # ---- reading

    @retry((InterfaceError, OperationalError), max_attempts=READERS_MAX + 1, wait=READ_AGAIN_SECONDS)
    def query_stubs(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
        with self._datastore.get_connection() as connection:
            return ask(connection, statement, parameters)

    def query(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
        rows = self.query_stubs(statement, parameters)
        return self.archives.whole(rows) if self.archives else rows

    def key_as_kept(self, key: str) -> str:
        return escaped(key)

    def backup(self, target: Path) -> None:
        """In one snapshot, so that it is whole while the journal is in use."""
        copy_to_sqlite(self._datastore, target)

    def judge(self, *, key: str | None = None, against: str | None = None) -> Report:
        with TemporaryDirectory() as folder:
            copy = Path(folder) / "journal.db"
            self.backup(copy)
            return verify(copy, key=key, against=against, archives=self.archives.folder)

    def close(self) -> None:
        self.archives.close()
        self._seat.leave()
        self._datastore.close()


def copy_journal(address: str, target: Path, *, name: str = "main") -> None:
    """Copies a journal that others may be writing. Raises FileExistsError, OperationalError, Unreadable where there is none."""
    with closing(PostgresJournalDatastore(address, schema_of(name))) as datastore:
        try:
            copy_to_sqlite(datastore, target)
        except ProgrammingError as error:
            raise Unreadable(f"there is no journal {name} on {place_of(datastore)}: {error}") from error


class _Nobody:
    """Has written nothing yet."""

    position = 0
    note: str | None = None


def fill_journal(address: str, source: Path, *, name: str = "main") -> None:
    """Copies a journal's file into a journal that is empty, all or nothing, while nobody else can open it.

    Raises Locked, NotDurable, PersistenceError, and Unreadable where something is there already.
    """
    with closing(PostgresJournalDatastore(address, schema_of(name))) as datastore:
        seat = Seat(datastore, _Nobody(), uuid4().hex, lambda: _make_tables(datastore))
        try:
            connection = seat.take()
            with told_as_persistence(), connection.transaction():
                connection.execute("LOCK TABLE stored_events IN EXCLUSIVE MODE")
                if ask(
                    connection,
                    "SELECT 1 FROM facts UNION ALL SELECT 1 FROM (SELECT 1 FROM stored_events LIMIT 1) AS found",
                ):
                    raise Unreadable(f"there is a journal {name} on {place_of(datastore)} already")
                copy_from_sqlite(source, connection)
        finally:
            seat.leave()


def _make_tables(datastore: PostgresJournalDatastore) -> PostgresJournalRecorder:
    """Makes what is not there of a journal's schema. Raises Unreadable where something else is in it."""
    with datastore.transaction(commit=True) as cursor:
        cursor.execute(SQL("CREATE SCHEMA IF NOT EXISTS {}").format(Identifier(datastore.schema)))
    recorder = PostgresJournalRecorder(datastore)
    recorder.create_table()
    with datastore.get_connection() as connection:
        found = foreign(connection, datastore.schema)
    if found:
        raise Unreadable(f"the journal on {place_of(datastore)} holds what no journal has: {', '.join(found)}")
    return recorder


def ask(connection: Connection[Any], statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    cursor = connection.cursor(row_factory=tuple_row, binary=True)
    return cursor.execute(statement.replace("?", "%s"), parameters, prepare=True).fetchall()


def _is_lost(connection: Connection[Any], error: PersistenceError) -> bool:
    """Whether an error leaves it open what became of a statement: all but the server's own answer, from a session that goes on."""
    state: str | None = getattr(error.__cause__, "sqlstate", None)
    unanswered = state is None and isinstance(error, OperationalError | InterfaceError)
    return connection.closed or connection.broken or unanswered or (state or "").startswith(LOST_STATES)


def schema_of(name: str) -> str:
    """The schema of a named journal."""
    return f"journal_{name}"


def place_of(datastore: PostgresJournalDatastore) -> str:
    """The server and database, as messages name them."""
    given = datastore.connecting
    return f"{given.get('host') or 'localhost'}:{given.get('port') or 5432}/{given.get('dbname') or ''}"

"""The writer's seat at a PostgreSQL journal: one connection, and the token without which no batch stands.

Whoever takes the seat writes a new token into the journal, under a lock that waits for every batch on its way. From then on a batch
that carries an older token does nothing: neither that of a writer who was replaced, nor an own one that a lost connection left
behind in the network. So what is read back afterwards is final. The seat is refused

- while another process holds the journal's advisory lock, which ends with its connection (`Locked`);
- where another process has sat here since (`Fenced`), or the server holds less than this writer has written, as a stale replica
  does after a fail-over (`Fenced`);
- where the server would lose what it acknowledged (`NotDurable`).
"""

from collections.abc import Callable
from contextlib import suppress
from select import select
from typing import Any, Protocol

import psycopg
import structlog
from psycopg import Connection
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Identifier, Literal

from runtime.errors import Fenced
from runtime.store.contract import Locked, NotDurable
from runtime.store.postgres_recorder import PostgresJournalDatastore, told_as_persistence

log = structlog.get_logger()

LOCK_TIMEOUT = "SET LOCAL lock_timeout = '500ms'"

GHOST_MILLISECONDS = 5_000
"""How long an own connection that was lost is waited for, once the server was told to end it."""

FOREIGN = """
SELECT 'trigger ' || tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid WHERE relnamespace = {schema} AND NOT tgisinternal
UNION ALL SELECT 'rule ' || rulename FROM pg_rewrite JOIN pg_class ON pg_class.oid = ev_class WHERE relnamespace = {schema}
UNION ALL SELECT 'policy ' || polname FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid WHERE relnamespace = {schema}
UNION ALL SELECT 'heir ' || pg_class.relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    JOIN pg_class AS parent ON parent.oid = inhparent WHERE parent.relnamespace = {schema}
UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = {schema}
UNION ALL SELECT 'relation ' || relname FROM pg_class WHERE relnamespace = {schema} AND relkind NOT IN ('r', 'i', 'c')
UNION ALL SELECT 'unlogged ' || relname FROM pg_class WHERE relnamespace = {schema} AND relpersistence <> 'p'
"""


def foreign(connection: Connection[Any], schema: str) -> list[str]:
    """What no journal has in its schema: things that act by themselves, or hide, add or lose rows."""
    statement = SQL(FOREIGN).format(schema=SQL("{}::regnamespace").format(Literal(Identifier(schema).as_string())))
    return sorted(name for (name,) in connection.cursor(row_factory=tuple_row).execute(statement))


def _is_alive(connection: Connection[Any]) -> bool:
    """Without a round trip, unless the server has said something unasked: mostly that it ends."""
    if connection.closed or connection.broken:
        return False
    if select([connection], [], [], 0)[0]:
        try:
            connection.execute("SELECT 1")
        except psycopg.Error:
            return False
    return True


class Holder(Protocol):
    """Whose seat it is: how far it has written, and the checkpoint of that."""

    position: int
    note: str | None


class Seat:
    """Taken when first needed and again after a lost connection. For one thread at a time."""

    def __init__(
        self, datastore: PostgresJournalDatastore, holder: Holder, owner: str, prepare: Callable[[], object]
    ) -> None:
        """`owner` is a name that nobody else has; `prepare` makes the tables, and is called once, when nobody else can write."""
        self.token = ""
        self._datastore = datastore
        self._holder = holder
        self._owner = owner
        self._prepare = prepare
        self._times = 0
        self._connection: Connection[tuple[Any, ...]] | None = None

    def take(self) -> Connection[tuple[Any, ...]]:
        """The connection to write on. Raises OperationalError where the server can't be reached: then nothing was sent."""
        if self._connection is not None and _is_alive(self._connection):
            return self._connection
        self.leave()
        with told_as_persistence():
            connection = self._datastore.connect(f"gavel writer {self._owner}")
            try:
                self._sit_down(connection)
            except BaseException:
                connection.close()
                raise
        self._connection = connection
        return connection

    def leave(self) -> None:
        """Closes the connection, and with it gives up the lock."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.execute("SELECT pg_advisory_unlock_all()")
            self._connection.close()
            self._connection = None

    def _sit_down(self, connection: Connection[tuple[Any, ...]]) -> None:
        _check_durability(connection)
        self._end_ghosts(connection)
        self._lock(connection)
        if not self._times:
            self._prepare()
        with connection.transaction():
            connection.execute("LOCK TABLE stored_events IN EXCLUSIVE MODE")
            self._check_owner(connection)
            self._check_position(connection)
            token = f"{self._owner}/{self._times + 1}"
            connection.execute(
                "INSERT INTO seat VALUES (1, %s) ON CONFLICT (number) DO UPDATE SET token = excluded.token",
                (token,),
            )
            # Before the commit: its answer may be lost too, and any token of ours is ours.
            self._times += 1
        self.token = token

    def _lock(self, connection: Connection[tuple[Any, ...]]) -> None:
        """Waits a moment: the session of a process that has just ended may still hold it."""
        key = f"gavel journal {self._datastore.schema}"
        try:
            with connection.transaction():
                connection.execute(LOCK_TIMEOUT)
                connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (key,))
        except psycopg.errors.LockNotAvailable:
            if not self._times:
                raise Locked(f"the journal {self._datastore.schema} is in use by another process") from None
            # Whoever holds it: the token tells whether it is a writer.

    def _end_ghosts(self, connection: Connection[tuple[Any, ...]]) -> None:
        """A connection that broke on this side may live on the other: it holds the lock, and may still be at work."""
        connection.execute(
            "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity WHERE application_name = %s AND pid <> pg_backend_pid()",
            (GHOST_MILLISECONDS, connection.info.get_parameters()["application_name"]),
        )

    def _check_owner(self, connection: Connection[tuple[Any, ...]]) -> None:
        found = connection.execute("SELECT token FROM seat").fetchone()
        if self._times and (found is None or found[0].rpartition("/")[0] != self._owner):
            raise Fenced(f"another process has taken over the journal {self._datastore.schema}")

    def _check_position(self, connection: Connection[tuple[Any, ...]]) -> None:
        """A server that holds less than was written, or something else in its place, is an older copy."""
        if not self._times:
            return
        check_age(connection, self._holder.position)
        note = connection.execute("SELECT note FROM checkpoints WHERE size = %s", (self._holder.position,)).fetchone()
        newest = _row(connection, "SELECT COALESCE(MAX(notification_id), 0) FROM stored_events")[0]
        if self._holder.position and newest == self._holder.position and (note is None or note[0] != self._holder.note):
            raise Fenced(f"the journal {self._datastore.schema} is not the one that this process has written")


def check_age(connection: Connection[Any], position: int) -> None:
    """Raises Fenced where the server holds less than `position`."""
    (newest,) = _row(connection, "SELECT COALESCE(MAX(notification_id), 0) FROM stored_events")
    if newest < position:
        raise Fenced(f"the server holds {newest} records where {position} were written: it is an older copy")


def _check_durability(connection: Connection[tuple[Any, ...]]) -> None:
    (fsync,) = _row(connection, "SHOW fsync")
    if fsync != "on":
        raise NotDurable("the server runs with fsync=off: a power cut would take what it has acknowledged")
    (commits,) = _row(connection, "SHOW synchronous_commit")
    if commits not in ("on", "remote_apply"):
        # Whatever the role's default is: what is said here holds for each batch of this session.
        connection.execute("SET synchronous_commit = on")
        (commits,) = _row(connection, "SHOW synchronous_commit")
        if commits != "on":
            raise NotDurable(f"the server runs with synchronous_commit={commits}, and does not let it be set")


def _row(connection: Connection[Any], statement: str, *parameters: object) -> tuple[Any, ...]:
    row = connection.cursor(row_factory=tuple_row).execute(statement, parameters or None).fetchone()
    assert row is not None
    return row

"""The `eventsourcing` library's PostgreSQL recorder with the journal's tables, positions and sessions.

What differs from the library's own, and why:

- positions are not drawn from a sequence, which leaves gaps and is not ordered by commits: the journal's writer assigns them, and any
  other caller gets the next ones under the library's lock on the table. So positions are contiguous, whoever writes, and two who write
  the same one break on its unique index;
- a batch is one statement, and so one round trip and one transaction: records, Merkle nodes, checkpoint, replies and reactions;
- the statement does nothing where another writer has taken the journal over (its `token` is not the one in the table);
- it is never repeated blindly: the library's repetition after a lost connection could write a batch twice or call it a conflict.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import product
from typing import Any

import psycopg
from eventsourcing import persistence
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import ConnectionPool, PostgresApplicationRecorder, PostgresDatastore
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row
from psycopg.sql import SQL, Identifier

from runtime.store.contract import Rows, Sealed
from runtime.store.packing import Blobs, Texts, escaped, numbers, register
from runtime.transparency import HASH_BYTES

READERS_MAX = 5
POOL_SECONDS = 1.0
"""How long a reader waits for a connection before the library tries again."""

CONNECTING = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "target_session_attrs": "read-write",
}
"""A peer that is gone is noticed within half a minute, and a stand-by is never taken for the server."""

SESSION = (
    "SET search_path = {schema}; SET client_encoding = 'UTF8'; SET lock_timeout = '5s'; SET idle_session_timeout = 0;"
    "SET default_transaction_isolation = 'read committed'; SET jit = off; SET plan_cache_mode = force_generic_plan;"
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
)
"""Whatever the role's defaults are. Under another isolation a batch would look for its token before it has waited for its locks."""

TABLES = (
    'CREATE TABLE IF NOT EXISTS {schema}.{events} (originator_id text COLLATE "C" NOT NULL, originator_version bigint NOT NULL, '
    "topic text NOT NULL, state bytea NOT NULL, notification_id bigint NOT NULL, PRIMARY KEY (originator_id, originator_version))",
    "CREATE UNIQUE INDEX IF NOT EXISTS {position_index} ON {schema}.{events} (notification_id)",
    "CREATE TABLE IF NOT EXISTS {schema}.nodes (id bigint PRIMARY KEY, hash bytea NOT NULL)",
    "CREATE TABLE IF NOT EXISTS {schema}.checkpoints (size bigint PRIMARY KEY, root bytea NOT NULL, "
    "recorded_at double precision NOT NULL, note text NOT NULL)",
    "CREATE TABLE IF NOT EXISTS {schema}.facts (name text PRIMARY KEY, value text NOT NULL)",
    "CREATE TABLE IF NOT EXISTS {schema}.kinds (kind text PRIMARY KEY, position bigint NOT NULL)",
    "CREATE TABLE IF NOT EXISTS {schema}.seat (number int PRIMARY KEY CHECK (number = 1), token text NOT NULL)",
    'CREATE TABLE IF NOT EXISTS {schema}.commands (tenant text COLLATE "C", key text COLLATE "C", digest bytea NOT NULL, '
    "reply bytea NOT NULL, position bigint NOT NULL, at double precision NOT NULL, PRIMARY KEY (tenant, key))",
    "CREATE INDEX IF NOT EXISTS commands_at ON {schema}.commands (at)",
    'CREATE TABLE IF NOT EXISTS {schema}.reactions (actor text COLLATE "C", key text COLLATE "C", position bigint NOT NULL, '
    "PRIMARY KEY (actor, key))",
    'CREATE TABLE IF NOT EXISTS {schema}.snapshots (actor text COLLATE "C", key text COLLATE "C", shape text NOT NULL, '
    "position bigint NOT NULL, memory bytea NOT NULL, seal bytea NOT NULL, PRIMARY KEY (actor, key))",
    'CREATE TABLE IF NOT EXISTS {schema}.states (stream text COLLATE "C", version bigint, position bigint NOT NULL, shape text NOT NULL, '
    'tenant text COLLATE "C" NOT NULL, state bytea NOT NULL, seal bytea NOT NULL, PRIMARY KEY (stream, version))',
    "CREATE INDEX IF NOT EXISTS states_position ON {schema}.states (position)",
    'CREATE TABLE IF NOT EXISTS {schema}.tombstones (stream text COLLATE "C" PRIMARY KEY, version bigint NOT NULL, '
    "position bigint NOT NULL, shape text NOT NULL, tenant text NOT NULL, state bytea NOT NULL, seal bytea NOT NULL, "
    "archive bigint NOT NULL)",
)

RECORDS = (
    "WITH mine AS MATERIALIZED (SELECT 1 WHERE %(token)s::text IS NULL OR EXISTS"
    " (SELECT 1 FROM {schema}.seat WHERE token = %(token)s::text)),"
    " records AS (INSERT INTO {schema}.{events} (originator_id, originator_version, topic, state, notification_id)"
    " SELECT stream, version, kind, body, %(first)s::bigint + number - 1"
    " FROM mine, unnest(%(streams)b::text[], %(versions)s::bigint[], %(kinds)b::text[], %(bodies)b::bytea[])"
    " WITH ORDINALITY AS record (stream, version, kind, body, number)),"
    " nodes AS (INSERT INTO {schema}.nodes SELECT %(node)s::bigint + n,"
    " substring(%(hashes)b::bytea FROM n * {hash_bytes} + 1 FOR {hash_bytes}) FROM mine, generate_series(0, %(nodes)s::int - 1) AS n),"
    " checkpoint AS (INSERT INTO {schema}.checkpoints SELECT %(size)s::bigint, %(root)b::bytea, %(recorded_at)s::float8, %(note)s::text"
    " FROM mine WHERE %(size)s::bigint IS NOT NULL),"
    " superseded AS (DELETE FROM {schema}.checkpoints USING mine WHERE size = %(superseded)s::bigint)"
)
KINDS = (
    ", kinds AS (INSERT INTO {schema}.kinds SELECT kind.* FROM mine,"
    " unnest(%(new_kinds)b::text[], %(kind_positions)s::bigint[]) AS kind)"
)
REPLIES = (
    ", replies AS (INSERT INTO {schema}.commands SELECT reply.* FROM mine, unnest(%(tenants)b::text[], %(keys)b::text[],"
    " %(digests)b::bytea[], %(replies)b::bytea[], %(reply_positions)s::bigint[], %(ats)s::float8[]) AS reply)"
)
REACTIONS = (
    ", reactions AS (INSERT INTO {schema}.reactions SELECT reaction.* FROM mine, unnest(%(actors)b::text[], %(actor_keys)b::text[],"
    " %(reacted)s::bigint[]) AS reaction ON CONFLICT (actor, key) DO UPDATE SET position = excluded.position)"
)
TOLD = " SELECT pg_notify({channel}, %(last)s::text) FROM mine"
BATCHES = {
    (kinds, replies, reactions): RECORDS + KINDS * kinds + REPLIES * replies + REACTIONS * reactions + TOLD
    for kinds, replies, reactions in product((False, True), repeat=3)
}
"""By whether there are new kinds, replies and reactions: each part costs 50 µs even where it has nothing to do."""


@contextmanager
def told_as_persistence() -> Iterator[None]:
    """What the driver raises, as the family that the library names and the journal handles."""
    try:
        yield
    except psycopg.Error as error:
        for family in type(error).__mro__:
            known = getattr(persistence, family.__name__, None)
            if known is not None:
                raise known(str(error)) from error
        raise


class PostgresJournalDatastore(PostgresDatastore):
    """The library's datastore over sessions of the journal's own kind; `admit` sees each new one and may refuse it."""

    def __init__(
        self,
        address: str,
        schema: str = "public",
        *,
        admit: Callable[[Connection[Any]], None] = lambda connection: None,
    ) -> None:
        try:
            given: dict[str, Any] = {**CONNECTING, **conninfo_to_dict(address)}
        except psycopg.ProgrammingError:
            # Without the driver's reason, which may quote the password.
            raise ValueError("the journal's address is neither a postgresql:// URL nor a connection string") from None
        super().__init__(
            *(str(given.get(name, "")) for name in ("dbname", "host", "port", "user", "password")),
            schema=schema,
            originator_id_type="text",
            lock_timeout=5,
        )
        self.connecting: dict[str, Any] = given
        self._begin = SQL(SESSION).format(schema=Identifier(self.schema)).as_string()
        begin = self._begin

        def configure(connection: Connection[DictRow]) -> None:
            try:
                connection.autocommit = True
                _begin(connection, begin)
                admit(connection)
            except BaseException:
                connection.close()
                raise

        self.pool.close()
        self.pool = ConnectionPool(
            connection_class=Connection[DictRow],
            kwargs={**given, "row_factory": dict_row},
            min_size=1,
            max_size=READERS_MAX,
            open=False,
            configure=configure,
            timeout=POOL_SECONDS,
            # After that it gives up until somebody asks again, instead of waiting longer and longer for a server that is back.
            reconnect_timeout=POOL_SECONDS / 2,
        )

    def connect(self, name: str) -> Connection[tuple[Any, ...]]:
        """A connection outside the pool."""
        connection = psycopg.connect(**{**self.connecting, "application_name": name}, autocommit=True)
        try:
            _begin(connection, self._begin)
        except BaseException:
            connection.close()
            raise
        return connection


def _begin(connection: Connection[Any], statements: str) -> None:
    connection.execute(statements)
    register(connection)


class PostgresJournalRecorder(PostgresApplicationRecorder):
    """Records in batches: `insert_events(events, first=position, rows=…, token=…, connection=…)` is one statement."""

    def __init__(self, datastore: PostgresDatastore, *, events_table_name: str = "stored_events") -> None:
        super().__init__(datastore, events_table_name=events_table_name)
        self.channel_name = channel(datastore.schema, events_table_name)
        names = {
            "schema": Identifier(datastore.schema),
            "events": Identifier(events_table_name),
            "position_index": Identifier(self.notification_id_index_name),
        }
        types = [one for one in self.sql_create_statements if "CREATE TYPE" in one.as_string()]
        self.sql_create_statements = [*types, *(SQL(statement).format(**names) for statement in TABLES)]
        next_position = SQL("(SELECT COALESCE(MAX(notification_id), 0) + 1 FROM {schema}.{events})").format(**names)
        self.insert_events_statement = SQL(
            "INSERT INTO {schema}.{events} (originator_id, originator_version, topic, state, notification_id)"
            " SELECT originator_id, originator_version, topic, state, {next} + number - 1"
            " FROM unnest(%s::{schema}.{type}[]) WITH ORDINALITY AS"
            " record (originator_id, originator_version, topic, state, number) ORDER BY number RETURNING notification_id"
        ).format(**names, next=next_position, type=Identifier(self.stored_event_type_name))
        more = {"hash_bytes": SQL(str(HASH_BYTES)), "channel": self.channel_name}
        self.insert_batch_statements = {has: SQL(parts).format(**names, **more) for has, parts in BATCHES.items()}

    def insert_events(
        self,
        stored_events: Sequence[StoredEvent | Sealed],
        *,
        first: int | None = None,
        rows: Rows | None = None,
        token: str | None = None,
        connection: Connection[Any] | None = None,
        **_: Any,
    ) -> Sequence[int] | None:
        """Raises IntegrityError where a position or version is taken, or another token stands in the table; then nothing is stored."""
        if first is None:
            assigned: Sequence[int] | None = super().insert_events(stored_events)
            return assigned
        rows = rows or Rows()
        statement = self.insert_batch_statements[bool(rows.kinds), bool(rows.replies), bool(rows.reactions)]
        parameters = _parameters(stored_events, first, rows, token)
        with self.datastore.get_connection() if connection is None else nullcontext(connection) as used:
            with told_as_persistence():
                done = used.execute(statement, parameters, prepare=True)
        if done.rowcount != 1:
            raise persistence.IntegrityError("another writer has taken the journal over")
        return range(first, first + len(stored_events))


def _parameters(stored: Sequence[StoredEvent | Sealed], first: int, rows: Rows, token: str | None) -> dict[str, Any]:
    size, root, recorded_at, note = rows.checkpoint or (None, b"", 0.0, "")
    return {
        "token": token,
        "first": str(first),
        "last": str(first + len(stored) - 1),
        "streams": Texts.of([str(one.originator_id) for one in stored]),
        "versions": numbers(one.originator_version for one in stored),
        "kinds": Texts.of([one.topic for one in stored]),
        "bodies": Blobs.of([one.state for one in stored]),
        "node": str(rows.nodes[0][0]) if rows.nodes else "0",
        "nodes": str(len(rows.nodes)),
        "hashes": b"".join([digest for _, digest in rows.nodes]),
        "size": None if size is None else str(size),
        "root": root,
        "recorded_at": repr(recorded_at),
        "note": note,
        "superseded": None if rows.superseded is None else str(rows.superseded),
        "new_kinds": Texts.of([kind for kind, _ in rows.kinds]),
        "kind_positions": numbers(position for _, position in rows.kinds),
        "tenants": Texts.of([tenant for tenant, *_ in rows.replies]),
        "keys": Texts.of([escaped(key) for _, key, *_ in rows.replies]),
        "digests": Blobs.of([digest for _, _, digest, *_ in rows.replies]),
        "replies": Blobs.of([reply for _, _, _, reply, *_ in rows.replies]),
        "reply_positions": numbers(position for *_, position, _ in rows.replies),
        "ats": numbers(at for *_, at in rows.replies),
        "actors": Texts.of([actor for actor, _, _ in rows.reactions]),
        "actor_keys": Texts.of([key for _, key, _ in rows.reactions]),
        "reacted": numbers(position for _, _, position in rows.reactions),
    }


def channel(schema: str, events_table_name: str = "stored_events") -> str:
    """Where a journal's batches are told: channels have one name in the whole database."""
    return f"{schema}.{events_table_name}"[: PostgresApplicationRecorder.MAX_IDENTIFIER_LEN]

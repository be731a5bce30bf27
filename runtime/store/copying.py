"""Copies a PostgreSQL journal into an SQLite file of the same layout, to judge it, to back it up, to go on with it elsewhere; and back.

All tables are read in one snapshot, in pages, and written in one transaction. What the file's own keys refuse (a position twice) is a
damaged journal.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from psycopg import Connection, IsolationLevel
from psycopg.rows import tuple_row
from psycopg.sql import SQL

from runtime.evidence import Unreadable
from runtime.store.packing import escaped, plain
from runtime.store.postgres_recorder import PostgresJournalDatastore, told_as_persistence
from runtime.store.recorder import TABLES
from runtime.store.seat import foreign

PAGE_ROWS = 5_000

COLUMNS = {
    "stored_events": "notification_id, originator_id, originator_version, topic, state",
    "nodes": "id, hash",
    "checkpoints": "size, root, recorded_at, note",
    "facts": "name, value",
    "kinds": "kind, position",
    "commands": "tenant, key, digest, reply, position, at",
    "reactions": "actor, key, position",
    "snapshots": "actor, key, shape, position, memory, seal",
    "states": "stream, version, position, shape, tenant, state, seal",
    "tombstones": "stream, version, position, shape, tenant, state, seal, archive",
}
TYPES = {
    "stored_events": "int8 text int8 text bytea",
    "nodes": "int8 bytea",
    "checkpoints": "int8 bytea float8 text",
    "facts": "text text",
    "kinds": "text int8",
    "commands": "text text bytea bytea int8 float8",
    "reactions": "text text int8",
    "snapshots": "text text text int8 bytea bytea",
    "states": "text int8 int8 text text bytea bytea",
    "tombstones": "text int8 int8 text text bytea bytea int8",
}
ORDER = {"stored_events": " ORDER BY notification_id", "nodes": " ORDER BY id"}


def copy_to_sqlite(datastore: PostgresJournalDatastore, target: Path) -> None:
    """Copies the journal into a new file, which is complete when it appears. Raises FileExistsError, Unreadable."""
    if target.exists():
        raise FileExistsError(f"{target} exists")
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    with (
        told_as_persistence(),
        datastore.connect("gavel copy") as connection,
        closing(sqlite3.connect(partial)) as copy,
    ):
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        connection.autocommit = False
        found = foreign(connection, datastore.schema)
        if found:
            raise Unreadable(f"the journal holds what no journal has: {', '.join(found)}")
        for statement in TABLES:
            copy.execute(statement.format(events="stored_events"))
        for table in COLUMNS:
            _copy_table(connection, copy, table)
        copy.commit()
    partial.rename(target)


def _copy_table(connection: Connection[Any], copy: sqlite3.Connection, table: str) -> None:
    columns = COLUMNS[table]
    marks = ", ".join("?" * len(columns.split(", ")))
    insert = f"INSERT INTO {table} ({columns.replace('notification_id', 'rowid')}) VALUES ({marks})"
    with connection.cursor("copy", row_factory=tuple_row) as cursor:
        cursor.itersize = PAGE_ROWS
        cursor.execute(SQL(f"SELECT {columns} FROM {table}{ORDER.get(table, '')}"), binary=True)
        try:
            while page := cursor.fetchmany(PAGE_ROWS):
                if table == "commands":
                    page = [(tenant, plain(key), *rest) for tenant, key, *rest in page]
                copy.executemany(insert, page)
        except (sqlite3.Error, UnicodeError) as error:
            raise Unreadable(f"the journal's table {table} is damaged: {error}") from error


def copy_from_sqlite(source: Path, connection: Connection[Any]) -> None:
    """Copies a journal's file into the tables of a journal that is empty, within a transaction of this connection."""
    with closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as file:
        for table in COLUMNS:
            _fill_table(file, connection, table)


def _fill_table(file: sqlite3.Connection, connection: Connection[Any], table: str) -> None:
    columns = COLUMNS[table]
    rows = file.execute(f"SELECT {columns.replace('notification_id', 'rowid')} FROM {table}")
    with connection.cursor().copy(SQL(f"COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)")) as copy:
        copy.set_types(TYPES[table].split())
        while page := rows.fetchmany(PAGE_ROWS):
            for row in page:
                copy.write_row((row[0], escaped(row[1]), *row[2:]) if table == "commands" else row)

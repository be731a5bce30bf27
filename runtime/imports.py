"""Writes a journal's file from an export: the same bytes at the same positions, the same root, and each answer that was kept.

The file is good when all of it was read and proven, and only then has anybody else to see it: nothing of it is synced before.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from runtime.export_reading import BadExport, Checked, ExportReader
from runtime.exports import Record, Section
from runtime.store.copies import sync
from runtime.store.layouts import FORMAT
from runtime.store.recorder import TABLES

LIST_KINDS = "INSERT INTO kinds SELECT topic, MIN(rowid) FROM stored_events GROUP BY topic"


def write_journal(reader: ExportReader, path: Path) -> Checked:
    """Writes a new file, which is on disk afterwards. Raises BadExport, and leaves what it has written until then."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=OFF")  # there is nothing to go back to: who fails throws the file away
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("BEGIN")
        tables = [statement.format(events="stored_events") for statement in TABLES]
        for statement in tables:
            if statement.startswith("CREATE TABLE"):
                connection.execute(statement)
        checked = _fill(connection, reader)
        for statement in tables:  # an index that is made at once costs a third of one that grows
            connection.execute(statement)
        connection.execute("COMMIT")
    sync(path)
    return checked


def _fill(connection: sqlite3.Connection, reader: ExportReader) -> Checked:
    try:
        checked = reader.check(_Rows(connection))
    except sqlite3.IntegrityError as error:
        raise BadExport(f"its sections hold something twice: {error}") from error
    except (sqlite3.Error, OverflowError) as error:
        raise BadExport(f"it holds what no journal can: {error}") from error
    header = reader.header
    facts = {"format": str(FORMAT), "origin": header.origin, "public_key": header.public_key}
    connection.executemany("INSERT INTO facts VALUES (?,?)", sorted(facts.items()))
    connection.execute(LIST_KINDS)
    return checked


class _Rows:
    """Takes what was read into the tables of a file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def keep_records(self, records: Sequence[Record], nodes: Sequence[tuple[int, bytes]]) -> None:
        self._connection.executemany(
            "INSERT INTO stored_events (rowid, originator_id, originator_version, topic, state) VALUES (?,?,?,?,?)",
            records,
        )
        self._connection.executemany("INSERT INTO nodes VALUES (?,?)", nodes)

    def keep_rows(self, section: Section, rows: Sequence[tuple[Any, ...]]) -> None:
        marks = ", ".join("?" * len(section.types))
        self._connection.executemany(f"INSERT INTO {section.table} ({section.columns}) VALUES ({marks})", rows)

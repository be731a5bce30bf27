"""The log as a file of msgpack values, one after the other: a header, then the records as they stand in the journal.

The header is a map: `format`, `origin`, `public_key`, `checkpoint` (the newest signed note), `first`. Each record is an array
of its five columns: position, stream, version, kind, body; their Merkle leaf is computed from the same five.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgpack

from gateway.verdicts import Wrong

FORMAT = "gavel-log/1"
PAGE = 1000

RECORDS = (
    "SELECT rowid, originator_id, originator_version, topic, state FROM stored_events "
    "WHERE rowid > ? AND rowid <= ? ORDER BY rowid LIMIT ?"
)


@contextmanager
def open_journal(path: Path) -> Iterator[sqlite3.Connection]:
    """A journal for reading, at one moment. Raises Wrong where there is none."""
    if not path.is_file():
        raise Wrong(f"there is no journal at {path}")
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            connection.execute("BEGIN")
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise Wrong(f"{path} can't be read: {error}") from error


def pages(connection: sqlite3.Connection, first: int, last: int) -> Iterator[list[tuple[Any, ...]]]:
    """The records from position `first` to `last`, a page at a time."""
    after = first - 1
    while page := connection.execute(RECORDS, (after, last, PAGE)).fetchall():
        yield page
        after = page[-1][0]


def write_export(connection: sqlite3.Connection, file: BinaryIO, first: int = 1, last: int | None = None) -> int:
    """Writes the records between two positions (both included) and returns how many."""
    newest = connection.execute("SELECT COALESCE(MAX(rowid), 0) FROM stored_events").fetchone()[0]
    last = newest if last is None else min(last, newest)
    if first < 1 or (first > last and newest):
        raise Wrong(f"from {first} to {last} there are no records; the newest is {newest}")
    facts = dict(connection.execute("SELECT name, value FROM facts"))
    note = connection.execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
    packer = msgpack.Packer()
    header = {"format": FORMAT, "origin": facts["origin"], "public_key": facts["public_key"], "first": first}
    file.write(packer.pack({**header, "checkpoint": note[0] if note else None}))
    count = 0
    for page in pages(connection, first, last):
        file.writelines(packer.pack(record) for record in page)
        count += len(page)
    return count

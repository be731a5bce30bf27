"""How a journal's file is read: at one moment, page by page."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gateway.verdicts import Wrong
from runtime.archives import attached
from runtime.evidence import Unreadable
from runtime.verification import archives_of

PAGE = 1000

RECORDS = (
    "SELECT rowid, originator_id, originator_version, topic, state FROM stored_events "
    "WHERE rowid > ? AND rowid <= ? ORDER BY rowid LIMIT ?"
)


@contextmanager
def open_journal(path: Path) -> Iterator[sqlite3.Connection]:
    """A journal for reading, at one moment, its archives read in their places. Raises Wrong where there is none."""
    if not path.is_file():
        raise Wrong(f"there is no journal at {path}")
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            connection.execute("BEGIN")
            archives = attached(archives_of(path), connection.execute)
            if archives:
                connection.row_factory = archives.row
            yield connection
        finally:
            connection.close()
    except (sqlite3.Error, Unreadable) as error:
        raise Wrong(f"{path} can't be read: {error}") from error


def pages(connection: sqlite3.Connection, first: int, last: int) -> Iterator[list[tuple[Any, ...]]]:
    """The records from position `first` to `last`, a page at a time."""
    after = first - 1
    while page := connection.execute(RECORDS, (after, last, PAGE)).fetchall():
        yield page
        after = page[-1][0]

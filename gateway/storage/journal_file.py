"""A journal's file, for whoever reads it without a node: at one moment, or as it grows, page by page."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from aggregates.catalog import AGGREGATES
from gateway.api.queries import AsOf
from gateway.verdicts import Wrong
from runtime.archives import Archives, read_through
from runtime.codec import Codec
from runtime.errors import Refused
from runtime.evidence import Unreadable
from runtime.keyring import Keyring
from runtime.store.log import Log
from runtime.verification import archives_of


@contextmanager
def open_journal(path: Path) -> Iterator[sqlite3.Connection]:
    """A journal for reading, at one moment, its archives read in their places. Raises Wrong where there is none."""
    if not path.is_file():
        raise Wrong(f"there is no journal at {path}")
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            connection.execute("BEGIN")
            with closing(read_through(connection, archives_of(path))):
                yield connection
        finally:
            connection.close()
    except (sqlite3.Error, Unreadable) as error:
        raise Wrong(f"{path} can't be read: {error}") from error


class JournalFile(Log):
    """The records of a file that `open_journal` has opened, for reading on one thread."""

    POSITION = "rowid"

    def __init__(self, connection: sqlite3.Connection, path: Path, keys: Keyring | None = None) -> None:
        """Without keys personal data is withheld."""
        self.place = str(path)
        self.codec = Codec(AGGREGATES, keys)
        self.archives = Archives(archives_of(path))  # the connection reads them already
        self._connection = connection
        self.origin = str(self._one("SELECT value FROM facts WHERE name='origin'"))

    def query(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
        return self._connection.execute(statement, parameters).fetchall()

    def query_stubs(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
        cursor = self._connection.cursor()
        cursor.row_factory = None
        return cursor.execute(statement, parameters).fetchall()

    def position_of(self, moment: AsOf) -> int:
        """The position of a moment. Raises Refused where that is past the end."""
        newest = self.newest_position()
        if moment.position is None:
            return min(self.position_at(moment.time or 0.0), newest)
        if moment.position > newest:
            raise Refused("as_of_ahead", f"the log ends at position {newest}", status=422)
        return moment.position

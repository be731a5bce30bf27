"""Follows a PostgreSQL journal that another process writes: waits for news, and reads them in order.

The server tells of each batch (NOTIFY), but a message may be lost with a connection, so it only ends a wait early: the position itself
is asked for at least every FALLBACK_SECONDS. Positions are contiguous and appear in order: nothing is skipped.
"""

import time
from collections.abc import Sequence
from typing import Any

from eventsourcing.persistence import OperationalError
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from runtime.codec import Codec
from runtime.store.log import Log
from runtime.store.postgres import ask, place_of, schema_of
from runtime.store.postgres_recorder import PostgresJournalDatastore, channel, told_as_persistence

FALLBACK_SECONDS = 1.0


class Follower(Log):
    """One connection, for one thread at a time; made anew when it was lost."""

    POSITION = "notification_id"

    def __init__(
        self, address: str, codec: Codec, *, name: str = "main", fallback_seconds: float = FALLBACK_SECONDS
    ) -> None:
        self.codec = codec
        self.fallback_seconds = fallback_seconds
        self._datastore = PostgresJournalDatastore(address, schema_of(name))
        self.place = f"the journal {name} on {place_of(self._datastore)}"
        self._connection: Connection[tuple[Any, ...]] | None = None

    def wait_past(self, position: int, seconds: float) -> int:
        """Waits until something stands past `position`, or the time is up; returns the newest position then.

        Raises OperationalError where the server can't be reached when the time is up.
        """
        until = time.monotonic() + seconds
        while True:
            try:
                ((newest,),) = self.query("SELECT COALESCE(MAX(notification_id), 0) FROM stored_events")
                left = until - time.monotonic()
                if newest > position or left <= 0:
                    return int(newest)
                with told_as_persistence():
                    self._wait(min(left, self.fallback_seconds))
            except OperationalError:
                if time.monotonic() >= until:
                    raise
                time.sleep(min(self.fallback_seconds, max(0.0, until - time.monotonic())))

    def _wait(self, seconds: float) -> None:
        for _ in self._connected().notifies(timeout=seconds, stop_after=1):
            return

    def query(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
        with told_as_persistence():
            return ask(self._connected(), statement, parameters)

    def _connected(self) -> Connection[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed:
            self._connection = self._datastore.connect("gavel follower")
            self._connection.execute(SQL("LISTEN {}").format(Identifier(channel(self._datastore.schema))))
        return self._connection

    def close(self) -> None:
        """Gives up the connection."""
        if self._connection is not None:
            self._connection.close()
        self._datastore.close()

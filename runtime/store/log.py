"""Reading a journal, whatever database holds it, and whoever writes it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from runtime.archives import Archives, stub_of
from runtime.codec import Codec
from runtime.evidence import Unreadable
from runtime.records import Recorded


class Log(ABC):
    """The records of one journal. `place` is how messages name it. Its methods block."""

    POSITION: ClassVar[str]
    """The column of `stored_events` that holds the position."""

    place: str
    codec: Codec
    archives: Archives
    """Where bodies are read that are not in the journal any more."""

    @abstractmethod
    def query(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
        """Rows of a reading statement; `?` stands for a parameter."""

    def query_stubs(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
        """The same, but with stubs in the places of archived bodies, and no look at an archive."""
        return self.query(statement, parameters)

    def streams(self, after: str, limit: int) -> list[tuple[str, int]]:
        """Up to `limit` streams past a name, in order of their names, each with its newest position."""
        return self.query_stubs(
            f"SELECT originator_id, MAX({self.POSITION}) FROM stored_events WHERE originator_id>?"
            " GROUP BY originator_id ORDER BY originator_id LIMIT ?",
            (after, limit),
        )

    def position_of_version(self, stream: str, version: int) -> int:
        """Where a version of a stream stands; 0 where there is none."""
        rows = self.query_stubs(
            f"SELECT {self.POSITION} FROM stored_events WHERE originator_id=? AND originator_version=?",
            (stream, version),
        )
        return int(rows[0][0]) if rows else 0

    def read(self, after: int, limit: int) -> list[Recorded]:
        """Up to `limit` records past a position, in order. Raises Unreadable, naming the position."""
        rows = self._records(f"{self.POSITION}>? ORDER BY {self.POSITION} LIMIT ?", (after, limit))
        return [self._open(*row) for row in rows]

    def rows(self, after: int, upto: int, limit: int) -> list[tuple[int, str, int, str, bytes]]:
        """Position, stream, version, kind and bytes of up to `limit` records, past one position and up to another, in order."""
        where = f"{self.POSITION}>? AND {self.POSITION}<=? ORDER BY {self.POSITION} LIMIT ?"
        return self._records(where, (after, upto, limit))

    def read_stream(
        self, stream: str, *, after: int = 0, limit: int = -1, without: Sequence[str] = ()
    ) -> list[Recorded]:
        """Up to `limit` records (below 0: all) of one stream past a position, in order, but those of the kinds `without`."""
        others = f" AND topic NOT IN ({', '.join('?' * len(without))})" if without else ""
        where = f"originator_id=? AND {self.POSITION}>?{others} ORDER BY originator_version"
        rows = self._records(where + ("" if limit < 0 else f" LIMIT {limit:d}"), (stream, after, *without))
        return [self._open(*row) for row in rows]

    def read_streams(self, prefix: str) -> list[Recorded]:
        """All records of the streams whose names begin so, in order."""
        where = f"originator_id>=? AND originator_id<? ORDER BY {self.POSITION}"
        rows = self._records(where, (prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1)))
        return [self._open(*row) for row in rows]

    def read_events(self, stream: str, *, after: int, upto: int, limit: int) -> list[tuple[int, int, str, bytes]]:
        """Position, version, kind and bytes of up to `limit` records of one stream, past a version and up to a position, in order."""
        rows = self.query(
            f"SELECT {self.POSITION}, originator_version, topic, state FROM stored_events"
            f" WHERE originator_id=? AND originator_version>? AND {self.POSITION}<=? ORDER BY originator_version LIMIT ?",
            (stream, after, upto, limit),
        )
        return rows if self.codec.keys is None else [(*row, self.codec.plain(body)) for *row, body in rows]

    def newest_event(self, stream: str, upto: int) -> tuple[int, int]:
        """Position and version of a stream's newest record up to a position; there has to be one."""
        rows = self.query(
            f"SELECT {self.POSITION}, originator_version FROM stored_events WHERE originator_id=? AND {self.POSITION}<=?"
            " ORDER BY originator_version DESC LIMIT 1",
            (stream, upto),
        )
        position, version = rows[0]
        return position, version

    def read_said(self, stream: str, after: int, last: int) -> list[tuple[str, bytes]]:
        """Kind and bytes of a stream's records past one version and up to another, in order: a quarter faster than with their places."""
        rows = self.query(
            "SELECT topic, state FROM stored_events WHERE originator_id=? AND originator_version>?"
            " AND originator_version<=? ORDER BY originator_version",
            (stream, after, last),
        )
        return rows if self.codec.keys is None else [(kind, self.codec.plain(body)) for kind, body in rows]

    def newest_position(self) -> int:
        """The position of the newest record; 0 where there is none."""
        return int(self._one(f"SELECT COALESCE(MAX({self.POSITION}), 0) FROM stored_events"))

    def position_at(self, at: float) -> int:
        """The newest position that was written by a time: times never go back from one record to the next."""
        low, high = 0, self.newest_position()
        while low < high:
            middle = (low + high + 1) // 2
            ((body,),) = self.query_stubs(f"SELECT state FROM stored_events WHERE {self.POSITION}=?", (middle,))
            stub = stub_of(body)
            if (self.codec.meta(body).recorded_at if stub is None else stub.recorded_at) <= at:
                low = middle
            else:
                high = middle - 1
        return low

    def bodies(self, after: int, limit: int) -> list[tuple[int, bytes, bytes]]:
        """Positions, bytes, and what is sealed in them, of up to `limit` records past a position, in order: for whoever looks for something
        in all of them."""
        rows = self.query(
            f"SELECT {self.POSITION}, topic, state FROM stored_events WHERE {self.POSITION}>? ORDER BY {self.POSITION} LIMIT ?",
            (after, limit),
        )
        return [(position, *self.codec.opened(kind, bytes(body))) for position, kind, body in rows]

    def _open(self, position: int, stream: str, version: int, kind: str, body: bytes) -> Recorded:
        try:
            return self.codec.recorded(position, stream, version, kind, body)
        except Exception as error:
            raise Unreadable(f"record {position} ({kind}) of {self.place} can't be read: {error}") from error

    def newest_at(self) -> float:
        """When the newest record was written; 0 where there is none."""
        return float(self._one("SELECT COALESCE(MAX(recorded_at), 0) FROM checkpoints"))

    def checkpoint(self) -> str | None:
        """The newest signed checkpoint."""
        rows = self.query("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1")
        return rows[0][0] if rows else None

    def _records(self, where: str, parameters: Sequence[object]) -> list[tuple[int, str, int, str, bytes]]:
        columns = f"{self.POSITION}, originator_id, originator_version, topic, state"
        return self.query(f"SELECT {columns} FROM stored_events WHERE {where}", parameters)

    def _one(self, statement: str, parameters: Sequence[object] = ()) -> Any:
        return self.query(statement, parameters)[0][0]

"""Checks what a journal keeps of archived records: each stub stands where a sealed record says that it may, and none else.

A stub's leaf is the stored one: it is proven by the root like any other. Stream, version and kind beside a stub are not in reach of the
leaf without the body, so the sealed record has a digest over them. An archive of which no stub stands here was put back.

That a stream is archived is told by its last state too, which is no record. There are as many of them as the sealed records say, each at
the end of its stream: one too few would open a closed stream, one too many would close an open one.
"""

import sqlite3
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from runtime.archives import STREAM, STUB_BYTES, Archived, digest_of, listed, stub_of, stub_text
from runtime.evidence import Unreadable
from runtime.transparency import stored_index

BODIES = "SELECT CAST(state AS BLOB) FROM stored_events WHERE originator_id=? ORDER BY originator_version"
STRANGERS_MAX = 100
LAST_STATES = (
    f"SELECT kept.stream, kept.archive, kept.position, record.rowid, substr(CAST(record.state AS BLOB), 1, {STUB_BYTES + 1})"
    " FROM tombstones AS kept LEFT JOIN stored_events AS record"
    " ON record.originator_id = kept.stream AND record.originator_version = kept.version AND record.originator_version ="
    " (SELECT max(originator_version) FROM stored_events WHERE originator_id = kept.stream) ORDER BY kept.stream"
)
LEAF = "SELECT CASE typeof(hash) WHEN 'blob' THEN hash END FROM nodes WHERE id=?"


class Stubs:
    """The stubs that one walk over a journal meets, in order of position. False where the journal lists no archive."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.reason = ""
        self.archived: list[Archived] = []
        try:
            self.archived = listed(row[0] for row in connection.execute(BODIES, (STREAM,)))
        except Unreadable as error:
            self.reason = str(error)
        self._digests = [sha256() for _ in self.archived]
        self._counts = [0 for _ in self.archived]
        self._firsts: dict[int, int] = {}
        self._strangers: list[int] = []
        self._strangers_count = 0

    def __bool__(self) -> bool:
        return bool(self.archived)

    def leaf(self, row: tuple[Any, ...]) -> bytes | None:
        """The stored leaf of a stub; None where the record has its body."""
        place = stub_of(row[4])
        if place is None:
            return None
        position, number = row[0], place.archive
        if place.position != position or not 1 <= number <= len(self.archived):
            self._strangers_count += 1
            if len(self._strangers) < STRANGERS_MAX:
                self._strangers.append(position)
        else:
            self._digests[number - 1].update(stub_text(*row))
            self._counts[number - 1] += 1
            self._firsts.setdefault(number, position)
        found = self._connection.execute(LEAF, (stored_index(0, position - 1),)).fetchone()
        return None if found is None or found[0] is None else bytes(found[0])

    @property
    def count(self) -> int:
        """How many records stand in archives."""
        return sum(self._counts)

    def faults(self, folder: Path | None) -> Iterator[tuple[str, int | None]]:
        """What is wrong, and where, once all records were met; archives in `folder` are looked at."""
        if self.reason:
            yield self.reason, None
        for position in self._strangers:
            yield f"position {position}: the record's body is gone, and no archive has it", position
        if self._strangers_count > STRANGERS_MAX:
            yield f"{self._strangers_count} bodies are gone, and no archive has them", None
        met = zip(self.archived, self._counts, self._digests, strict=True)
        for number, (archived, count, digest) in enumerate(met, 1):
            if count and (count, digest.digest()) != (archived.records, archived.stubs):
                yield (
                    (
                        f"what stays of the archive {archived.name} is not what was sealed: {count} of {archived.records} records,"
                        f" positions {archived.first} to {archived.last}"
                    ),
                    self._firsts[number],
                )
            path = folder / archived.name if folder is not None else None
            if path is not None and path.is_file() and digest_of(path) != archived.sha256:
                yield f"the archive {archived.name} is not the file that was sealed", archived.first

    def faults_of_last_states(self) -> Iterator[tuple[str, int | None]]:
        """What is wrong about the last states that are kept of archived streams, once all records were met."""
        kept = [0 for _ in self.archived]
        for stream, number, position, found, body in self._connection.execute(LAST_STATES):
            if not isinstance(number, int) or not 1 <= number <= len(kept):
                yield f"{stream!s:.200} is kept as archived, and no sealed record says so", None
                continue
            kept[number - 1] += 1
            place = stub_of(body)
            if (
                found is None
                or found != position
                or (self._counts[number - 1] and (place is None or place.archive != number))
            ):
                yield (
                    f"{stream!s:.200} is kept as archived in {self.archived[number - 1].name}, and its records are not",
                    found,
                )
        for archived, count in zip(self.archived, kept, strict=True):
            if count != archived.streams:
                yield (
                    f"{count} streams are kept as archived in {archived.name}, and {archived.streams} were sealed",
                    None,
                )

    def missing(self, folder: Path | None) -> list[str]:
        """The archives that are needed and not there."""
        return [
            archived.name
            for archived, count in zip(self.archived, self._counts, strict=True)
            if count and (folder is None or not (folder / archived.name).is_file())
        ]

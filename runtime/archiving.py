"""Moves the bodies of closed streams to an archive, while nobody else has the journal open.

In this order, so that a process may be killed anywhere: the file is written, synced and verified; then it gets its name; then one
transaction of the journal puts the stubs in the bodies' places, keeps the streams' last states, and records that. Until then the
journal has all bodies, and a file that no record names is nobody's. A stream is closed where its aggregate's `is_closed(state)` says so.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import msgspec

from runtime.archive_verification import RECORDS, verify_archive
from runtime.archives import FORMAT, KIND, STREAM, TABLES, Archived, digest_of, open_archive, stub, stub_text
from runtime.evidence import Unreadable
from runtime.folding import Folder
from runtime.proofs import inclusion_ranges, nodes_of
from runtime.proving import read_nodes
from runtime.rotation import ROTATIONS, ROTATIONS_MAX
from runtime.rotation import STREAM as ROTATION_STREAM
from runtime.store.contract import Batch, SavedState, Tombstone
from runtime.store.copies import sync
from runtime.store.store import Store

RECORDS_MAX = 200_000
"""Records of one archive, unless a single stream has more."""

STREAMS_PAGE = 500


class Closed(msgspec.Struct, frozen=True):
    """A closed stream, and its last state, packed where it can be."""

    name: str
    saved: SavedState


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """An archive's file as its record will tell of it, and what the journal keeps of it."""

    name: str
    sha256: bytes
    streams: Sequence[Closed]
    records: int
    first: int
    last: int
    digest: bytes
    stubs: Sequence[tuple[bytes, int]]

    def record(self, number: int) -> Archived:
        """What the journal's record says of it."""
        return Archived(
            number, self.name, self.sha256, len(self.streams), self.records, self.first, self.last, self.digest
        )


def closed_streams(store: Store, folder: Folder, upto: int) -> Iterator[Closed]:
    """All streams that are closed, not archived yet, and have no record past a position; in order of their names."""
    after = ""
    while page := store.streams(after, STREAMS_PAGE):
        for name, newest in page:
            is_closed = getattr(store.codec.aggregate_by_noun.get(name.partition("-")[0]), "is_closed", None)
            if is_closed is None or newest > upto or store.is_archived(name):
                continue
            held = folder.fold(name).held
            if is_closed(held.state):
                packed = folder.pack(name, held)
                saved = packed[0] if packed else SavedState(name, held.version, held.position, "", held.tenant, b"")
                yield Closed(name, saved)
        after = page[-1][0]


def chunks(streams: Iterator[Closed], records_max: int = RECORDS_MAX) -> Iterator[list[Closed]]:
    """The streams, as many at a time as one archive takes."""
    chunk: list[Closed] = []
    records = 0
    for one in streams:
        if chunk and records + one.saved.version > records_max:
            yield chunk
            chunk, records = [], 0
        chunk.append(one)
        records += one.saved.version
    if chunk:
        yield chunk


def make_archive(store: Store, folder: Path, number: int, streams: Sequence[Closed]) -> Made:
    """Writes and verifies the file of an archive of these streams. Raises Unreadable, and OSError where it can't be written."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for left in folder.glob("*.partial*"):
        left.unlink()
    partial = folder / f"{uuid4().hex}.partial"
    try:
        _write(store, partial, streams)
        sync(partial)
        report = verify_archive(partial, key=store.signer.public_key)
        if not report.whole:
            raise Unreadable(f"what was written of {store.place} does not hold: {'; '.join(report.faults)}")
        digest = digest_of(partial)
        path = folder / f"archive-{number:05d}-{digest.hex()[:12]}.db"
        os.replace(partial, path)
        sync(folder)
    finally:
        partial.unlink(missing_ok=True)
    return _made(store, path, number, streams)


def _made(store: Store, path: Path, number: int, streams: Sequence[Closed]) -> Made:
    digest, stubs = sha256(), []
    with closing(open_archive(path)) as file:
        for position, stream, version, kind, body in file.execute(RECORDS):
            one = stub(number, position, store.codec.meta(body).recorded_at)
            digest.update(stub_text(position, stream, version, kind, one))
            stubs.append((one, position))
    return Made(
        name=path.name,
        sha256=digest_of(path),
        streams=streams,
        records=len(stubs),
        first=stubs[0][1],
        last=stubs[-1][1],
        digest=digest.digest(),
        stubs=stubs,
    )


def _write(store: Store, path: Path, streams: Sequence[Closed]) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("PRAGMA synchronous=OFF")
        file.execute("BEGIN")
        for statement in TABLES:
            file.execute(statement)
        facts = {
            "format": FORMAT,
            "origin": store.origin,
            "public_key": store.signing_keys.chain[0].key.nameless(),
            "checkpoint": store.checkpoint(),
        }
        file.executemany("INSERT INTO facts VALUES (?,?)", sorted(facts.items()))
        rotations = store.query(ROTATIONS.format(position=store.POSITION), (ROTATION_STREAM, ROTATIONS_MAX))
        file.executemany("INSERT INTO rotations VALUES (?,?,?)", rotations)
        for closed in streams:
            rows = store.query(
                f"SELECT {store.POSITION}, originator_id, originator_version, topic, state FROM stored_events"
                f" WHERE originator_id=?",
                (closed.name,),
            )
            file.executemany("INSERT INTO records VALUES (?,?,?,?,?)", rows)
            _write_nodes(store, file, [row[0] for row in rows])
        file.execute("COMMIT")


def _write_nodes(store: Store, file: sqlite3.Connection, positions: Sequence[int]) -> None:
    nodes = {
        node
        for position in positions
        for one in inclusion_ranges(position - 1, store.position)
        for node in nodes_of(one)
    }
    listed = sorted(nodes)
    for first in range(0, len(listed), STREAMS_PAGE):
        found = read_nodes(store, listed[first : first + STREAMS_PAGE])
        file.executemany("INSERT OR IGNORE INTO nodes VALUES (?,?)", sorted(found.items()))


def move(store: Store, made: Made, number: int, batch: Batch) -> None:
    """Commits the record of an archive with what changes in the journal. Raises PersistenceError, Fenced."""
    assert [(draft.stream, draft.kind) for draft in batch.drafts] == [(STREAM, KIND)]
    store.archive(batch, made.stubs, [Tombstone(number, closed.saved) for closed in made.streams])
    store.take_archive(made.record(number))

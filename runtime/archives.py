"""Archives of closed streams: files that hold the bodies of records, prove themselves, and are read in the journal's place.

Of an archived record the journal keeps all but the body: in its place stands a *stub*, which says in which archive the body is, at which
position, and when it was recorded. The leaf stays among the stored nodes, so no root changes. That a stub may stand there is said by a
sealed record (KIND), which has the digest over all stubs of its archive, and that of the file. A program that knows nothing of archives
can't read a stub, and says so.

The file is an SQLite database that never changes: `facts` (format, origin, the journal's first public key, the signed checkpoint under
which it was made), `rotations` (of the signing key), `records`, and those stored `nodes` that the records' inclusion paths are made of.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from hashlib import file_digest, sha256
from pathlib import Path
from struct import Struct
from threading import Lock
from typing import Any, NamedTuple

import msgspec

from runtime.errors import Unreachable
from runtime.evidence import Unreadable

STREAM = "archive-log"
KIND = "archive.StreamsArchived"
FORMAT = "gavel-archive/1"
FOLDER = "archives"
"""The folder beside a journal's file in which its archives lie."""

TABLES = (
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE rotations (position INTEGER PRIMARY KEY, kind TEXT NOT NULL, body BLOB NOT NULL)",
    "CREATE TABLE records (position INTEGER PRIMARY KEY, stream TEXT NOT NULL, version INTEGER NOT NULL, kind TEXT NOT NULL, "
    "body BLOB NOT NULL)",
    "CREATE TABLE nodes (id INTEGER PRIMARY KEY, hash BLOB NOT NULL)",
)

_NEVER = 0xC1
"""The byte that msgpack never uses: no body begins with it."""

_FORM = Struct(">BIQd")
STUB_BYTES = _FORM.size

SEALED = "SELECT state FROM stored_events WHERE originator_id='archive-log' ORDER BY originator_version"


class ArchiveMissing(Unreachable, Unreadable):
    """What is asked for stands in an archive that is not here, or is another file; the message names it."""


class Archived(msgspec.Struct, frozen=True):
    """What a record of KIND says of its archive."""

    number: int
    name: str
    sha256: bytes
    streams: int
    records: int
    first: int
    last: int
    stubs: bytes


class _Body(msgspec.Struct):
    data: Archived


_decode = msgspec.msgpack.Decoder(_Body).decode


class Stub(NamedTuple):
    """What stands in the place of a body."""

    archive: int
    position: int
    recorded_at: float


def stub(archive: int, position: int, recorded_at: float) -> bytes:
    """The bytes of a stub."""
    return _FORM.pack(_NEVER, archive, position, recorded_at)


def stub_of(body: object) -> Stub | None:
    """What a stub says; None where this is none."""
    if type(body) is bytes and len(body) == STUB_BYTES and body[0] == _NEVER:
        return Stub(*_FORM.unpack(body)[1:])
    return None


def stub_text(position: int, stream: str, version: int, kind: str, stub: bytes) -> bytes:
    """What the digest over an archive's stubs is taken of, one after the other in order of position."""
    return msgspec.msgpack.encode((position, stream, version, kind, stub))


def digest_of(path: Path) -> bytes:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return file_digest(file, sha256).digest()


def listed(bodies: Iterable[object]) -> list[Archived]:
    """What the records of KIND say, in order. Raises Unreadable."""
    found = []
    for number, body in enumerate(bodies, 1):
        try:
            said = _decode(body).data  # type: ignore[arg-type]
        except (msgspec.MsgspecError, TypeError) as error:
            raise Unreadable(f"the record of archive {number} can't be read: {error}") from error
        found.append(said)
    return found


class Archives:
    """The archives of one journal, opened as they are needed; for any thread. False where there are none."""

    def __init__(self, folder: Path, archived: Sequence[Archived] = ()) -> None:
        self.folder = folder
        self.archived = list(archived)
        self._file_by_number: dict[int, sqlite3.Connection] = {}
        self._turn = Lock()

    def __bool__(self) -> bool:
        return bool(self.archived)

    def path_of(self, archived: Archived) -> Path:
        """Where the archive's file belongs."""
        return self.folder / archived.name

    def whole(self, rows: list[Any]) -> list[Any]:
        """The rows of a question with the bodies in place of their stubs. Raises ArchiveMissing."""
        return [self.row(None, row) for row in rows]

    def row(self, cursor: object, row: Any) -> Any:
        """One row; to be a connection's `row_factory`."""
        if any(type(value) is bytes and len(value) == STUB_BYTES and value[0] == _NEVER for value in row):
            return tuple(self._value(value) for value in row)
        return row

    def _value(self, value: object) -> object:
        place = stub_of(value)
        return value if place is None else self.body(place.archive, place.position)

    def body(self, number: int, position: int) -> bytes:
        """The body of an archived record. Raises ArchiveMissing."""
        with self._turn:
            file = self._file_by_number.get(number) or self._open(number)
            row = file.execute("SELECT body FROM records WHERE position=?", (position,)).fetchone()
        if row is None:
            raise ArchiveMissing(f"archive {number} does not hold record {position}")
        body: bytes = row[0]
        return body

    def _open(self, number: int) -> sqlite3.Connection:
        if not 1 <= number <= len(self.archived):
            raise ArchiveMissing(f"the journal lists no archive {number}")
        archived = self.archived[number - 1]
        path = self.path_of(archived)
        what = (
            f"the archive {archived.name} ({archived.records} records, positions {archived.first} to {archived.last})"
        )
        if not path.is_file():
            raise ArchiveMissing(f"{what} is not in {self.folder}: put it there")
        if digest_of(path) != archived.sha256:
            raise ArchiveMissing(f"{what} was altered, or is another file: its SHA-256 is not {archived.sha256.hex()}")
        file = open_archive(path)
        self._file_by_number[number] = file
        return file

    def close(self) -> None:
        """Closes the files."""
        with self._turn:
            for file in self._file_by_number.values():
                file.close()
            self._file_by_number.clear()


def open_archive(path: Path) -> sqlite3.Connection:
    """An archive's file, for reading; nothing appears beside it."""
    return sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None, check_same_thread=False
    )


def attached(folder: Path, query: Callable[[str], Iterable[Sequence[Any]]]) -> Archives:
    """The archives that a journal lists, of which the files lie in a folder."""
    return Archives(folder, listed(row[0] for row in query(SEALED)))


def read_through(connection: sqlite3.Connection, folder: Path) -> Archives:
    """Has a connection to a journal's file read what is archived in the archives in a folder; they are to be closed with it."""
    archives = attached(folder, connection.execute)
    if archives:
        connection.row_factory = archives.row
    return archives

"""Journals as a stream of msgpack values: format `gavel-log/2`, and how it is written.

First a header, a map: `format`, `origin`, `public_key` (the journal's first key), `rotations` (position, kind and body of each record that
changed the key), `checkpoint` (the newest signed note), its `size` and `root`, `whole`, `filters`.

Then the records, in order of position. One is an array of its five columns: position, stream, version, kind, body; 0x00 and these very
bytes are what its Merkle leaf is the SHA-256 of. In a *whole* export they are all that the checkpoint covers, so their root is the signed
one. In any other, `filters` say what was chosen, and each record has a sixth value: its inclusion path, hash after hash, lowest first.

A whole export has sections behind the records, each announced by a map: `section`, its name, and `proven`. Checkpoints are signed and so
prove themselves. Replies that are kept for idempotency keys, last states of archived streams (under a seal of the journal's own), and how
far actors have reacted: for these `proven` is false.

Last, a map: `end` (true), `records` (how many), `sha256` of all that stands between the records and it. What has no end was cut off.

Nothing here is a key: neither the journal's nor those that personal data is encrypted with.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Any, BinaryIO, NamedTuple

import msgpack
import msgspec

from runtime.proofs import NotProven, inclusion, verify_inclusion
from runtime.rotation import ROTATIONS, ROTATIONS_MAX, STREAM, Keys
from runtime.transparency import HASH_BYTES, Checkpoint, NotANote, NotSigned, PublicKey, Tree, leaf_hash, verify_note

FORMAT = "gavel-log/2"
PAGE_RECORDS = 256
POSITION_MAX = 2**62
NODES_KEPT_MAX = 4096

RECORDS = (
    "SELECT rowid, originator_id, originator_version, topic, state FROM stored_events "
    "WHERE rowid >= ? AND rowid <= ? {more}ORDER BY rowid"
)

Record = tuple[int, str, int, str, bytes]


class Unproven(Exception):
    """The journal is not what its checkpoint says, so no export of it would hold."""


class Section(NamedTuple):
    """What stands behind the records of a whole export: rows of one table. The column `position` is never past the export's size."""

    name: str
    proven: bool
    table: str
    columns: str
    types: tuple[type, ...]
    position: int
    order: str


SECTIONS = (
    Section("checkpoints", True, "checkpoints", "size, root, recorded_at, note", (int, bytes, float, str), 0, "size"),
    Section(
        "replies",
        False,
        "commands",
        "tenant, key, digest, reply, position, at",
        (str, str, bytes, bytes, int, float),
        4,
        "tenant, key",
    ),
    Section(
        "tombstones",
        False,
        "tombstones",
        "stream, version, position, shape, tenant, state, seal, archive",
        (str, int, int, str, str, bytes, bytes, int),
        2,
        "stream",
    ),
    Section("reactions", False, "reactions", "actor, key, position", (str, str, int), 2, "actor, key"),
)


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Which records: those of all that is given. `tenant_of` tells the tenant of a record's body."""

    first: int = 1
    last: int = POSITION_MAX
    streams: Sequence[str] = ()
    kinds: Sequence[str] = ()
    tenants: Sequence[str] = ()
    tenant_of: Callable[[bytes], str] | None = None
    filters: dict[str, Any] = {}
    """What was asked for, as the header tells it."""

    def takes(self, record: Record) -> bool:
        """Whether the record, of a stream and position that were chosen, is one of them."""
        kind, body = record[3], record[4]
        if self.kinds and kind.partition("/")[0] not in self.kinds:
            return False
        return not self.tenants or (self.tenant_of is not None and self.tenant_of(body) in self.tenants)


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What an export holds: so many records, under a checkpoint of this size and root."""

    whole: bool
    records: int
    size: int
    root: bytes


def write_whole(connection: sqlite3.Connection, file: BinaryIO) -> Written:
    """Writes all records and what belongs to them. Raises Unproven, and then there is no end, where they have not the signed root."""
    header, checkpoint = _header(connection, whole=True, filters={})
    pack = msgpack.Packer().pack
    file.write(pack(header))
    tree = Tree()
    for page in _pages(connection, RECORDS.format(more=""), (1, POSITION_MAX)):
        packed = list(map(pack, page))
        tree.grow([sha256(b"\x00" + one).digest() for one in packed])
        file.write(b"".join(packed))
    if (tree.size, tree.root()) != (checkpoint.size, checkpoint.root):
        raise Unproven(
            f"the journal was altered: its {tree.size} records have not the root that is signed for {checkpoint.size}"
        )
    digest = sha256()
    for section in SECTIONS:
        _write_section(connection, section, file, digest)
    file.write(pack({"end": True, "records": tree.size, "sha256": digest.digest()}))
    return Written(whole=True, records=tree.size, size=tree.size, root=checkpoint.root)


def write_chosen(connection: sqlite3.Connection, file: BinaryIO, choice: Choice) -> Written:
    """Writes some records, each with its proof. Raises Unproven, and then there is no end, where one does not hold."""
    header, checkpoint = _header(connection, whole=False, filters=choice.filters)
    pack = msgpack.Packer().pack
    file.write(pack(header))
    nodes = _Nodes(connection)
    marks = ", ".join("?" * len(choice.streams))
    statement = RECORDS.format(more=f"AND originator_id IN ({marks}) " if choice.streams else "")
    last = min(choice.last, checkpoint.size)
    records = 0
    for page in _pages(connection, statement, (choice.first, last, *choice.streams)):
        for record in page:
            if choice.takes(record):
                file.write(pack((*record, _proof(nodes, record, checkpoint))))
                records += 1
    file.write(pack({"end": True, "records": records, "sha256": sha256().digest()}))
    return Written(whole=False, records=records, size=checkpoint.size, root=checkpoint.root)


def _header(
    connection: sqlite3.Connection, *, whole: bool, filters: dict[str, Any]
) -> tuple[dict[str, Any], Checkpoint]:
    facts = dict(connection.execute("SELECT name, value FROM facts"))
    row = connection.execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
    if row is None:
        raise Unproven("the journal has no checkpoint: nothing was ever recorded in it")
    rotations = connection.execute(ROTATIONS.format(position="rowid"), (STREAM, ROTATIONS_MAX)).fetchall()
    try:
        keys = Keys(str(facts.get("origin")), PublicKey(str(facts.get("public_key"))), rotations)
        if keys.faults:
            raise Unproven(f"the journal was altered: {keys.faults[0][1]}")
        checkpoint = verify_note(str(row[0]), keys.current)
    except (NotANote, NotSigned) as error:
        raise Unproven(f"the journal was altered: its newest checkpoint does not hold: {error}") from error
    if checkpoint.origin != facts.get("origin"):
        raise Unproven(f"the journal was altered: its newest checkpoint is of another journal, {checkpoint.origin}")
    header = {
        "format": FORMAT,
        "origin": checkpoint.origin,
        "public_key": facts["public_key"],
        "rotations": rotations,
        "checkpoint": row[0],
        "size": checkpoint.size,
        "root": checkpoint.root,
        "whole": whole,
        "filters": filters,
    }
    return header, checkpoint


def _pages(connection: sqlite3.Connection, statement: str, parameters: Sequence[object]) -> Iterator[list[Record]]:
    cursor = connection.execute(statement, parameters)
    while page := _fetch(cursor):
        yield page


def _fetch(cursor: sqlite3.Cursor) -> list[Record]:
    try:
        return cursor.fetchmany(PAGE_RECORDS)
    except sqlite3.OperationalError as error:  # text that is not UTF-8, for one
        raise Unproven(f"the journal is damaged: {error}") from error


def _write_section(connection: sqlite3.Connection, section: Section, file: BinaryIO, digest: Any) -> None:
    pack = msgpack.Packer().pack
    statement = f"SELECT {section.columns} FROM {section.table} ORDER BY {section.order}"
    packed = pack({"section": section.name, "proven": section.proven})
    digest.update(packed)
    file.write(packed)
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name=?", (section.table,)).fetchone() is None:
        return  # a file of an earlier layout has fewer tables
    for page in _pages(connection, statement, ()):
        packed = b"".join(map(pack, page))
        digest.update(packed)
        file.write(packed)


def _proof(nodes: "_Nodes", record: Record, checkpoint: Checkpoint) -> bytes:
    leaf = record[0] - 1
    try:
        path = inclusion(leaf, checkpoint.size, nodes.read)
        verify_inclusion(leaf_hash(*record), leaf, checkpoint.size, checkpoint.root, path)
    except NotProven as error:
        raise Unproven(f"the journal was altered at position {record[0]}: {error}") from error
    return b"".join(path)


class _Nodes:
    """A journal's stored nodes; those that many paths share are read once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._hash_by_node: dict[int, bytes] = {}

    def read(self, nodes: Sequence[int]) -> dict[int, bytes]:
        if len(self._hash_by_node) > NODES_KEPT_MAX:
            self._hash_by_node.clear()
        for node in nodes:
            if node not in self._hash_by_node:
                self._hash_by_node[node] = self._read(node)
        return self._hash_by_node

    def _read(self, node: int) -> bytes:
        row = self._connection.execute("SELECT hash FROM nodes WHERE id=?", (node,)).fetchone()
        if row is None or not isinstance(row[0], bytes) or len(row[0]) != HASH_BYTES:
            raise Unproven(f"the journal was altered: node {node} of its tree is not there")
        return row[0]

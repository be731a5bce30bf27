"""Proof of one record, for anybody: its five columns, the way to the root, and the checkpoint that the log has signed.

As a file it is a C2SP tlog-proof (c2sp.org/tlog-proof@v1): `extra` holds the very bytes that the leaf is the hash of, which are the
msgpack array of position, stream, version, kind and body. The index counts from 0: it is the position less 1.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, ClassVar, Protocol

import msgspec

from runtime.evidence import Unreadable
from runtime.proofs import NotProven, consistency, inclusion, root_of, verify_consistency, verify_inclusion
from runtime.transparency import Checkpoint, NotANote, PublicKey, read_note, verify_note

FORM = "c2sp.org/tlog-proof@v1"
PROOF_BYTES_MAX = 64 * 2**20

_HEAD = re.compile(re.escape(FORM) + r"\nextra (\S+)\nindex (0|[1-9][0-9]{0,17})\n")


class NotThere(Exception):
    """What a proof is asked for is not in the journal; the message says what."""


class Readable(Protocol):
    """A journal that can be asked: see `runtime.store.log.Log`."""

    POSITION: ClassVar[str]
    place: str

    def query(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]: ...


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """A record and why it is in the log. `leaf` is its hash in hexadecimal digits, `path` the hashes beside its way to the root, the
    lowest first, `checkpoint` the signed note, and `proof` all of it as a C2SP tlog-proof, to be kept as a file."""

    position: int
    stream: str
    version: int
    kind: str
    body: bytes
    leaf: str
    path: list[str]
    checkpoint: str
    proof: str


class Consistency(msgspec.Struct, frozen=True, kw_only=True):
    """That the log of `new` records begins with that of `old`: both roots in hexadecimal digits, the hashes that link them, and the
    signed checkpoint of the new size, null where none is kept."""

    old: int
    new: int
    old_root: str
    new_root: str
    path: list[str]
    checkpoint: str | None


# ---- making


def prove(log: Readable, position: int, note: str) -> Proof:
    """The proof that a record is in the log of this checkpoint. Raises NotThere, or Unreadable where the journal was altered."""
    checkpoint = read_note(note)[0]
    rows = log.query(
        f"SELECT {log.POSITION}, originator_id, originator_version, topic, state FROM stored_events WHERE {log.POSITION}=?",
        (position,),
    )
    if not rows or not 1 <= position <= checkpoint.size:
        raise NotThere(f"the journal holds no record {position}")
    leaf = msgspec.msgpack.encode((*rows[0][:4], bytes(rows[0][4])))
    path = inclusion(position - 1, checkpoint.size, lambda nodes: read_nodes(log, nodes))
    try:
        return _checked(written(leaf, position - 1, path, note))[0]
    except NotProven as error:
        raise Unreadable(f"{log.place} was altered: record {position} can't be proven: {error}") from error


def link(log: Readable, old: int, new: int) -> Consistency:
    """The proof that a later log begins with an earlier one. Raises NotThere, or Unreadable where the journal was altered."""
    rows = log.query("SELECT COALESCE(MAX(size), 0) FROM checkpoints")
    if not 0 <= old <= new <= rows[0][0]:
        raise NotThere(f"{log.place} was signed up to {rows[0][0]}: sizes {old} and {new} are not two of it, in order")
    path, (old_root, new_root) = linked(log, old, new)
    return Consistency(
        old=old,
        new=new,
        old_root=old_root.hex(),
        new_root=new_root.hex(),
        path=[_base64(digest) for digest in path],
        checkpoint=checkpoint_of(log, new),
    )


def linked(log: Readable, old: int, new: int) -> tuple[list[bytes], tuple[bytes, bytes]]:
    """The hashes that link two sizes, and their roots. Raises Unreadable where the stored nodes contradict each other."""

    def read(nodes: Sequence[int]) -> Mapping[int, bytes]:
        return read_nodes(log, nodes)

    path, roots = consistency(old, new, read), (root_of(old, read), root_of(new, read))
    try:
        verify_consistency(old, roots[0], new, roots[1], path)
    except NotProven as error:
        raise Unreadable(f"{log.place} was altered: its nodes do not link {old} and {new} records: {error}") from error
    return path, roots


def checkpoint_of(log: Readable, size: int) -> str | None:
    """The signed checkpoint of a size, where it is kept."""
    rows = log.query("SELECT note FROM checkpoints WHERE size=?", (size,))
    return rows[0][0] if rows else None


def read_nodes(log: Readable, nodes: Sequence[int]) -> Mapping[int, bytes]:
    """Stored nodes by their ids, in one query. Raises Unreadable where one is missing."""
    if not nodes:
        return {}
    marks = ",".join("?" * len(nodes))
    rows = log.query(f"SELECT id, hash FROM nodes WHERE id IN ({marks})", nodes)
    hash_by_node = {node: bytes(digest) for node, digest in rows if isinstance(digest, bytes | memoryview)}
    if absent := [node for node in nodes if node not in hash_by_node]:
        raise Unreadable(f"{log.place} is damaged: node {absent[0]} of its tree is missing")
    return hash_by_node


# ---- as a file


def written(leaf: bytes, index: int, path: Sequence[bytes], note: str) -> str:
    """A proof as C2SP writes it."""
    hashes = "".join(f"{_base64(digest)}\n" for digest in path)
    return f"{FORM}\nextra {_base64(leaf)}\nindex {index}\n{hashes}\n{note}"


def read_proof(text: str) -> Proof:
    """The proof in a file, checked in itself: the record's bytes lead to the checkpoint's root. Raises NotProven."""
    return _checked(text)[0]


def check_proof(text: str, key: str | PublicKey) -> tuple[Proof, Checkpoint]:
    """The proof in a file, and its checkpoint, which this key has signed. Raises NotProven; NotANote and NotSigned too."""
    proof, checkpoint = _checked(text)
    verify_note(proof.checkpoint, key)
    return proof, checkpoint


def _checked(text: str) -> tuple[Proof, Checkpoint]:
    head = _HEAD.match(text)
    if head is None:
        raise NotProven(f"this is no proof: it does not begin with the lines of {FORM}, with extra data")
    hashes, blank, note = text[head.end() - 1 :].partition("\n\n")
    if not blank:
        raise NotProven("the proof holds no checkpoint")
    leaf, path = _bytes(head[1]), [_bytes(line) for line in hashes.split("\n")[1:]]
    try:
        checkpoint = read_note(note)[0]
        position, stream, version, kind, body = msgspec.msgpack.decode(leaf, type=tuple[int, str, int, str, bytes])
    except NotANote as error:
        raise NotProven(str(error)) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NotProven(f"the extra data is no record: {error}") from error
    index, digest = int(head[2]), sha256(b"\x00" + leaf).digest()
    if position != index + 1:
        raise NotProven(f"the record says position {position}, the proof is of {index + 1}")
    verify_inclusion(digest, index, checkpoint.size, checkpoint.root, path)
    proof = Proof(
        position=position,
        stream=stream,
        version=version,
        kind=kind,
        body=body,
        leaf=digest.hex(),
        path=[_base64(one) for one in path],
        checkpoint=note,
        proof=text,
    )
    return proof, checkpoint


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _bytes(text: str) -> bytes:
    """Strict, so that each proof has one text."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if _base64(raw) != text or not raw:
        raise NotProven("the proof holds what is not base64 as it is written canonically")
    return raw

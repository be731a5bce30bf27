"""Reads an export (`runtime/exports.py`) from a stream, in bounded memory, and believes nothing of it that is not proven.

What is wrong is told with the byte where it stands. The records of a whole export have to have the signed root, those of any other a
path each that leads to it; sections are looked at for their shape alone, but for the checkpoints, which `verify` judges after an import.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any, BinaryIO, Protocol

import msgpack
import msgspec

from runtime.exports import FORMAT, POSITION_MAX, SECTIONS, Record, Section
from runtime.proofs import NotProven, verify_inclusion
from runtime.rotation import ROTATIONS_MAX, STREAM, Keys
from runtime.transparency import (
    HASH_BYTES,
    Checkpoint,
    NotANote,
    NotSigned,
    PublicKey,
    Tree,
    leaf_hash,
    verify_note,
)

VALUE_BYTES_MAX = 64 << 20
"""The largest value, so the largest record, that is read."""

READ_BYTES = 1 << 18
PAGE_RECORDS = 1024
PAGE_BYTES_MAX = 4 << 20
PATH_MAX = 64
TYPES: tuple[type, ...] = (int, str, int, str, bytes)


class BadExport(Exception):
    """The stream is no export, or does not hold what it claims; the message names the byte."""


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an export says of itself."""

    format: str
    origin: str
    public_key: str
    rotations: list[tuple[int, str, bytes]]
    checkpoint: str
    size: int
    root: bytes
    whole: bool
    filters: dict[str, Any]


class Keep(Protocol):
    """Who takes what was read, page by page; nothing is proven before all of it was read."""

    def keep_records(self, records: Sequence[Record], nodes: Sequence[tuple[int, bytes]]) -> None: ...

    def keep_rows(self, section: Section, rows: Sequence[tuple[Any, ...]]) -> None: ...


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """An export that holds: `records` of them, from `first` to `last`, under a signed checkpoint of this size and root (hex)."""

    whole: bool
    records: int
    first: int
    last: int
    origin: str
    size: int
    root: str
    filters: dict[str, Any]
    rows: dict[str, int]
    """How many rows each section has."""
    key: str
    signed_by: list[str]
    checkpoint: str
    not_excluded: list[str]


class ExportReader:
    """One pass over a stream: `header`, and then `check`."""

    def __init__(self, file: BinaryIO, *, key: str | None = None) -> None:
        """`key` is the public key that the checkpoint has to be signed by; else it is the one that the header states. Raises BadExport."""
        self._file = _Counted(file)
        self._unpacker = msgpack.Unpacker(
            self._file,
            read_size=READ_BYTES,
            use_list=False,
            max_buffer_size=VALUE_BYTES_MAX,
            max_str_len=VALUE_BYTES_MAX,
            max_bin_len=VALUE_BYTES_MAX,
            max_array_len=ROTATIONS_MAX,
            max_map_len=16,
            max_ext_len=0,
        )
        self._offset = 0
        self.header = self._read_header()
        self.keys = self._read_keys()
        self.trusted = self._trusted(key)
        self.signed = self._read_checkpoint()
        self._rotations: list[tuple[int, str, bytes]] = []
        self._offset = self._unpacker.tell()

    def check(self, keep: Keep | None = None) -> Checked:
        """Reads all of it, and hands what it reads to `keep`. Raises BadExport."""
        self._first = self._last = self._count = 0
        self._digest = sha256()
        self._rows = {section.name: 0 for section in SECTIONS}
        stop = self._check_whole(keep) if self.header.whole else self._check_chosen()
        if self.header.whole:
            stop = self._check_sections(stop, keep)
        self._check_end(stop)
        return Checked(
            whole=self.header.whole,
            records=self._count,
            first=self._first,
            last=self._last,
            origin=self.header.origin,
            size=self.signed.size,
            root=self.signed.root.hex(),
            filters=self.header.filters,
            rows=self._rows if self.header.whole else {},
            key=(self.trusted or self.keys.chain[0].key).vkey(self.header.origin),
            signed_by=[one.key.vkey(self.header.origin) for one in self.keys.chain],
            checkpoint=self.header.checkpoint,
            not_excluded=_not_excluded(self.header.whole, self.trusted is not None),
        )

    # ---- the header

    def _read_header(self) -> Header:
        found = self._next("a header")
        if not isinstance(found, dict) or "format" not in found:
            raise self._bad("this is no export: it does not begin with a header")
        if found["format"] != FORMAT:
            raise self._bad(f"it has the format {str(found['format'])[:40]!r}, and this program reads {FORMAT}")
        try:
            return msgspec.convert(found, Header)
        except (msgspec.ValidationError, TypeError) as error:
            raise self._bad(f"the header is not as it should be: {error}") from error

    def _read_keys(self) -> Keys:
        """The journal's keys. All rotations have to be within the size: or somebody with a former key could say that it is still good."""
        try:
            keys = Keys(self.header.origin, PublicKey(self.header.public_key), self.header.rotations)
        except NotANote as error:
            raise self._bad(f"the header's public key is none: {error}") from error
        if keys.faults:
            raise self._bad(keys.faults[0][1])
        positions = [0, *(position for position, _, _ in self.header.rotations), self.header.size + 1]
        if sorted(set(positions)) != positions:
            raise self._bad("the header's rotations are out of order, or beyond its size")
        return keys

    def _trusted(self, key: str | None) -> PublicKey | None:
        try:
            trusted = None if key is None else PublicKey(key)
        except NotANote as error:
            raise self._bad(str(error)) from error
        if trusted is not None and trusted not in self.keys:
            raise self._bad("it is signed with another key than the one given")
        return trusted

    def _read_checkpoint(self) -> Checkpoint:
        try:
            signed = verify_note(self.header.checkpoint, self.keys.current)
        except (NotANote, NotSigned) as error:
            raise self._bad(f"the header's checkpoint does not hold: {error}") from error
        if (signed.origin, signed.size, signed.root) != (self.header.origin, self.header.size, self.header.root):
            raise self._bad("the header's origin, size and root are not those of its checkpoint")
        return signed

    # ---- the records

    def _check_whole(self, keep: Keep | None) -> Any:
        """Returns the value behind the last record."""
        tree, page, page_bytes = Tree(), [], 0
        for value in self._values():
            if type(value) is not tuple:
                break
            page.append(self._record(value, 5))
            page_bytes += len(value[4])
            if len(page) == PAGE_RECORDS or page_bytes > PAGE_BYTES_MAX:
                self._take(tree, page, keep)
                page, page_bytes = [], 0
        else:
            raise self._cut("records")
        self._take(tree, page, keep)
        if (tree.size, tree.root()) != (self.signed.size, self.signed.root):
            raise self._bad(
                f"the {tree.size} records before have not the root that is signed for {self.signed.size}: something was altered"
            )
        if self._rotations != self.header.rotations:
            raise self._bad("the header's rotations are not those of the records")
        return value

    def _take(self, tree: Tree, page: Sequence[Record], keep: Keep | None) -> None:
        self._rotations += [(record[0], record[3], record[4]) for record in page if record[1] == STREAM]
        leaves = [leaf_hash(*record) for record in page]
        if keep is None:
            tree.grow(leaves)
        elif page:
            keep.keep_records(page, tree.extend(leaves))

    def _check_chosen(self) -> Any:
        for value in self._values():
            if type(value) is not tuple:
                return value
            record = self._record(value, 6)
            proof = value[5]
            if type(proof) is not bytes or len(proof) % HASH_BYTES or len(proof) > PATH_MAX * HASH_BYTES:
                raise self._bad(f"what stands behind the record at position {value[0]} is no inclusion path")
            path = [proof[at : at + HASH_BYTES] for at in range(0, len(proof), HASH_BYTES)]
            try:
                verify_inclusion(leaf_hash(*record), record[0] - 1, self.signed.size, self.signed.root, path)
            except NotProven as error:
                raise self._bad(f"the record at position {record[0]} is not proven: {error}") from error
        raise self._cut("records")

    def _record(self, value: tuple[Any, ...], columns: int) -> Record:
        if len(value) != columns or tuple(map(type, value[:5])) != TYPES:
            raise self._bad(f"the record after position {self._last} has not the columns of one")
        position = value[0]
        expected = self._last + 1
        if position != expected if self.header.whole else position < expected:
            raise self._bad(f"position {position} follows position {self._last}")
        if position > self.signed.size or not 1 <= value[2] <= POSITION_MAX:
            raise self._bad(
                f"position {position} or version {value[2]} can't be: the checkpoint covers {self.signed.size}"
            )
        self._first = self._first or position
        self._last = position
        self._count += 1
        return value[:5]

    # ---- what stands behind them

    def _check_sections(self, announced: Any, keep: Keep | None) -> Any:
        for section in SECTIONS:
            if announced != {"section": section.name, "proven": section.proven}:
                raise self._bad(f"here the section {section.name} should begin")
            self._digest.update(msgpack.packb(announced))
            announced = self._check_rows(section, keep)
        return announced

    def _check_rows(self, section: Section, keep: Keep | None) -> Any:
        page: list[tuple[Any, ...]] = []
        page_bytes = 0
        for value in self._values():
            if type(value) is not tuple:
                break
            if tuple(map(type, value)) != section.types or not 0 <= value[section.position] <= self.signed.size:
                raise self._bad(f"this is no row of the section {section.name}")
            packed = msgpack.packb(value)
            self._digest.update(packed)
            self._rows[section.name] += 1
            page.append(value)
            page_bytes += len(packed)
            if len(page) == PAGE_RECORDS or page_bytes > PAGE_BYTES_MAX:
                self._keep_rows(section, page, keep)
                page, page_bytes = [], 0
        else:
            raise self._cut(section.name)
        self._keep_rows(section, page, keep)
        return value

    def _keep_rows(self, section: Section, page: Sequence[tuple[Any, ...]], keep: Keep | None) -> None:
        if keep is not None and page:
            keep.keep_rows(section, page)

    def _check_end(self, end: Any) -> None:
        if not isinstance(end, dict) or end.get("end") is not True:
            raise self._bad("this is neither a record nor the end")
        if end != {"end": True, "records": self._count, "sha256": self._digest.digest()}:
            raise self._bad("the end does not tell what stands before it: something was altered")
        for _ in self._values():
            break
        if self._file.count != self._offset:
            raise self._bad("something stands behind the end")

    # ---- values

    def _next(self, what: str) -> Any:
        for value in self._values():
            return value
        raise self._cut(what)

    def _values(self) -> Iterator[Any]:
        """Value after value, up to the last whole one. `_offset` is where the one stands that was given last."""
        unpack, tell = self._unpacker.unpack, self._unpacker.tell
        while True:
            self._offset = tell()
            try:
                value = unpack()
            except msgpack.OutOfData:
                return
            except (msgpack.UnpackException, ValueError, TypeError) as error:
                raise self._bad(f"this can't be read: {error or type(error).__name__}") from error
            yield value

    def _bad(self, reason: str) -> BadExport:
        return BadExport(f"byte {self._offset}: {reason}")

    def _cut(self, where: str) -> BadExport:
        return self._bad(f"the file ends among its {where}: it was cut off")


class _Counted:
    """A stream, and how much of it was read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.count = 0

    def read(self, size: int) -> bytes:
        found = self._file.read(size)
        self.count += len(found)
        return found


def _not_excluded(whole: bool, trusted: bool) -> list[str]:
    doubts = [
        "somebody with the signing key has written and signed all of it"
        if trusted
        else "somebody has written it and signed it with a key of his own: the public key was read from the file itself "
        "(compare it with --key)"
    ]
    if whole:
        return [
            *doubts,
            "replies, how far actors have reacted, and last states of archived streams were altered: nothing seals them",
        ]
    return [*doubts, "records that the filters choose were left out"]

"""The seal over a journal: a Merkle tree (RFC 6962) whose nodes are stored, and signed checkpoints of its root (C2SP).

A leaf covers all five columns of a record. The tree holds only the roots of its perfect subtrees, largest first (a
compact range): an append costs one hash for the leaf and one, on average, for the nodes that it completes. Every
completed node is stored under its index in order of completion (Crosby and Wallach 2009, section 3.3; also Go's sumdb),
so ids are contiguous and any subtree hash that a proof needs is one read. A tree is changed in a fork that replaces the
old one after the commit: a failed batch leaves nothing behind.
"""

import base64
import binascii
import hmac
import os
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from runtime.store.copies import sync

HASH_BYTES = 32
NOTE_CHARACTERS_MAX = 100_000
ED25519 = b"\x01"
"""The signature type of a signed note's Ed25519 keys."""

BLOCK_LEVELS = 8
"""How large the blocks are in which a tree grows whose nodes nobody stores."""

EMPTY_ROOT = sha256(b"").digest()

_encode = msgspec.msgpack.Encoder().encode
_FORBIDDEN = re.compile(r"[\x00-\x09\x0b-\x1f\ud800-\udfff]")
_SIGNATURE = re.compile(r"\u2014 ([^\s+]+) (\S+)")
_VKEY = re.compile(r"([^\s+]+)\+([0-9a-f]{8})\+(\S+)")
_BODY = re.compile(r"([^\n]+)\n(0|[1-9][0-9]{0,17})\n([^\n]+)\n(?:[^\n]+\n)*")


class NotANote(ValueError):
    """The text is not a checkpoint, a signed note or a key as C2SP writes them; the message says what is wrong."""


class NotSigned(ValueError):
    """No signature of this key is on the note, or it does not fit the text."""


def leaf_hash(position: int, stream: str, version: int, kind: str, body: bytes) -> bytes:
    """The leaf of a record: SHA-256 of 0x00 and the msgpack array of its five columns."""
    return sha256(b"\x00" + _encode((position, stream, version, kind, body))).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The node over two subtrees: SHA-256 of 0x01 and both hashes."""
    return sha256(b"\x01" + left + right).digest()


def stored_count(size: int) -> int:
    """How many nodes a tree of `size` leaves has completed, which is also the id of the next one."""
    return 2 * size - size.bit_count()


def stored_index(level: int, n: int) -> int:
    """The id of the `n`-th node of a level: it covers the leaves from `n * 2**level` up to `(n + 1) * 2**level`."""
    return stored_count(((n + 1) << level) - 1) + level


def split_index(node: int) -> tuple[int, int]:
    """Level and number of a stored node: the inverse of `stored_index`."""
    n = node // 2
    while stored_count(n + 1) <= node:
        n += 1
    level = node - stored_count(n)
    return level, n >> level


def _block_root(hashes: Sequence[bytes]) -> bytes:
    """The root over a power of two of hashes."""
    while len(hashes) > 1:
        pairs = iter(hashes)
        hashes = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
    return hashes[0]


class Tree:
    """The compact range of a journal: its size, and the roots of its perfect subtrees."""

    __slots__ = ("_roots", "size")

    def __init__(self, size: int = 0, roots: Iterable[bytes] = ()) -> None:
        self.size = size
        self._roots = list(roots)
        assert len(self._roots) == size.bit_count()

    @classmethod
    def load(cls, size: int, read_node: Callable[[int], bytes]) -> Self:
        """The tree of `size` leaves from its stored nodes: one read for each bit that is set in `size`."""
        levels = [level for level in reversed(range(size.bit_length())) if size >> level & 1]
        return cls(size, [read_node(stored_index(level, (size >> level) - 1)) for level in levels])

    def fork(self) -> "Tree":
        """A copy that can grow while this one stays."""
        return Tree(self.size, self._roots)

    def append(self, leaf: bytes) -> list[tuple[int, bytes]]:
        """Takes one leaf hash; returns the nodes to store, the leaf first."""
        return self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> list[tuple[int, bytes]]:
        """Takes leaf hashes in order; returns the nodes to store in order, with contiguous ids."""
        size, roots, node = self.size, self._roots, stored_count(self.size)
        stored: list[tuple[int, bytes]] = []
        keep = stored.append
        for digest in leaves:
            keep((node, digest))
            carry = size
            while carry & 1:  # written out, not node_hash(): this runs for each event on the writer's thread
                digest = sha256(b"\x01" + roots.pop() + digest).digest()
                node += 1
                keep((node, digest))
                carry >>= 1
            node += 1
            size += 1
            roots.append(digest)
        self.size = size
        return stored

    def graft(self, level: int, digest: bytes) -> list[bytes]:
        """Takes the root of a whole subtree of `2**level` leaves; returns the nodes above it that are completed. The size must be a
        multiple of that."""
        assert not self.size & ((1 << level) - 1)
        above, carry = [], self.size >> level
        while carry & 1:
            digest = node_hash(self._roots.pop(), digest)
            above.append(digest)
            carry >>= 1
        self._roots.append(digest)
        self.size += 1 << level
        return above

    def grow(self, leaves: Sequence[bytes]) -> None:
        """Takes leaf hashes as `extend` does, for who stores no nodes: level by level in blocks, which costs three fifths."""
        block = 1 << BLOCK_LEVELS
        first = 0
        while not self.size % block and len(leaves) - first >= block:
            self.graft(BLOCK_LEVELS, _block_root(leaves[first : first + block]))
            first += block
        if first < len(leaves):
            self.extend(leaves[first:])

    def root(self) -> bytes:
        """The tree hash of RFC 6962 over all leaves."""
        if not self._roots:
            return EMPTY_ROOT
        *rest, digest = self._roots
        for left in reversed(rest):
            digest = node_hash(left, digest)
        return digest


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself: its name, how many leaves, and their root."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"


class PublicKey:
    """A key that checks notes. Its text is a C2SP vkey (`name+id+key`), or its last part, which takes any name."""

    def __init__(self, text: str) -> None:
        self.name, self._raw = split_vkey(text, ED25519)
        self._key = Ed25519PublicKey.from_public_bytes(self._raw)

    def vkey(self, name: str) -> str:
        """The text that auditors keep: under its own name, or under `name` where it has none."""
        return vkey_of(self.name or name, self._raw)

    @property
    def short(self) -> str:
        """Eight digits by which a person tells keys apart."""
        return sha256(self._raw).hexdigest()[:8]

    def nameless(self) -> str:
        """The last part of the text, as the journal's facts hold it."""
        return _base64(ED25519 + self._raw)

    def check_statement(self, statement: bytes, signature: bytes) -> None:
        """Raises NotSigned unless this key has signed a statement that is no note."""
        try:
            self._key.verify(signature, statement)
        except InvalidSignature:
            raise NotSigned(f"the signature of {self.nameless()} does not fit") from None

    def check(self, text: str, signatures: Iterable[tuple[str, bytes]], name: str) -> None:
        """Raises NotSigned unless this key has signed. Signatures of other keys (witnesses) are passed over."""
        name = self.name or name
        mine = [s[4:] for signer, s in signatures if signer == name and s[:4] == key_id(name, self._raw)]
        if not mine:
            raise NotSigned(f"the checkpoint is not signed by {self.vkey(name)}")
        for signature in mine:
            try:
                self._key.verify(signature, text.encode())
            except InvalidSignature:
                raise NotSigned(f"the signature of {self.vkey(name)} does not fit the checkpoint") from None


class Signer:
    """The journal's private key."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self._raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @classmethod
    def make(cls) -> Self:
        """A new key, in memory only."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> Self:
        """The key in a PEM file. Raises PermissionError where others than the owner can reach it."""
        if path.stat().st_mode & 0o077:
            raise PermissionError(f"{path} can be reached by others than its owner: chmod 600 it")
        private = load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(private, Ed25519PrivateKey):
            raise ValueError(f"{path} holds no Ed25519 key")
        return cls(private)

    @classmethod
    def load_or_make(cls, path: Path) -> Self:
        """The key in the file; a new one is made where there is none."""
        if not path.exists():
            cls.make().save(path)
        return cls.load(path)

    def save(self, path: Path) -> None:
        """Writes the key to a new file, whole and for its owner alone; a file that is there stays (the first wins)."""
        pem = self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(pem)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(partial, path)  # unlike a rename, a link never replaces a key that signed something
            except FileExistsError:
                return
        finally:
            partial.unlink()
        sync(path.parent)

    def seal(self, purpose: bytes, content: bytes) -> bytes:
        """A MAC under a key derived from this one: for what nobody but its holder may have written."""
        raw = self._private.private_bytes_raw()
        return hmac.digest(hmac.digest(raw, purpose, "sha256"), content, "sha256")

    @property
    def public_key(self) -> str:
        """The nameless public key, as the journal's facts hold it."""
        return _base64(ED25519 + self._raw)

    @property
    def raw(self) -> bytes:
        """The public key's 32 bytes."""
        return self._raw

    def vkey(self, origin: str) -> str:
        """The public key under the log's name, as auditors keep it."""
        return vkey_of(origin, self._raw)

    def sign_statement(self, statement: bytes) -> bytes:
        """The signature of a statement that is no checkpoint: it must begin with words that say what it is."""
        return self._private.sign(statement)

    def sign(self, origin: str, size: int, root: bytes) -> str:
        """A checkpoint as a signed note."""
        if not origin or re.search(r"[\s+]", origin):
            raise ValueError(f"a log's name has neither spaces nor plus signs: {origin!r}")
        text = Checkpoint(origin, size, root).text()
        signature = key_id(origin, self._raw) + self._private.sign(text.encode())
        return f"{text}\n{signature_line(origin, signature)}"


def key_id(name: str, raw: bytes, kind: bytes = ED25519) -> bytes:
    """The four bytes by which a signature line names its key."""
    return sha256(name.encode() + b"\n" + kind + raw).digest()[:4]


def split_vkey(text: str, kind: bytes) -> tuple[str, bytes]:
    """Name and raw bytes of a key as C2SP writes it; the name is empty where the text is its last part alone. Raises NotANote."""
    text = text.strip()
    named = _VKEY.fullmatch(text)
    name = named[1] if named else ""
    raw = unbase64(named[3] if named else text, "the public key")
    if len(raw) != 1 + HASH_BYTES or raw[:1] != kind:
        raise NotANote(f"the public key is not a key of C2SP's form, Ed25519 of type {kind.hex()}")
    if named and key_id(name, raw[1:], kind).hex() != named[2]:
        raise NotANote(f"the public key's id {named[2]} does not belong to its name and bytes")
    return name, raw[1:]


def read_note(note: str) -> tuple[Checkpoint, str, list[tuple[str, bytes]]]:
    """Checkpoint, signed text and signatures of a note, unchecked. Raises NotANote."""
    if len(note) > NOTE_CHARACTERS_MAX or _FORBIDDEN.search(note):
        raise NotANote(
            f"the checkpoint is longer than {NOTE_CHARACTERS_MAX} characters or holds some that are not text"
        )
    text, blank, lines = note.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise NotANote("the checkpoint has no signature lines")
    text += "\n"
    signatures = read_signatures(lines)
    body = _BODY.fullmatch(text)
    if body is None:
        raise NotANote("the checkpoint is not three lines of name, size and root")
    root = unbase64(body[3], "the checkpoint's root")
    if len(root) != HASH_BYTES:
        raise NotANote("the checkpoint's root is not 32 bytes long")
    return Checkpoint(body[1], int(body[2]), root), text, signatures


def verify_note(note: str, public_key: str | PublicKey) -> Checkpoint:
    """The checkpoint of a note that this key has signed. Raises NotANote or NotSigned."""
    key = PublicKey(public_key) if isinstance(public_key, str) else public_key
    checkpoint, text, signatures = read_note(note)
    key.check(text, signatures, checkpoint.origin)
    return checkpoint


def signature_line(name: str, signature: bytes) -> str:
    """A line below a note; `signature` begins with the key's id."""
    return f"\u2014 {name} {_base64(signature)}\n"


def read_signatures(lines: str) -> list[tuple[str, bytes]]:
    """Signers and signatures of lines that each end with a newline. Raises NotANote."""
    if not lines.endswith("\n") or len(lines) > NOTE_CHARACTERS_MAX:
        raise NotANote("the signature lines are too long, or the last one is cut")
    return [_read_signature(line) for line in lines[:-1].split("\n")]


def _read_signature(line: str) -> tuple[str, bytes]:
    parts = _SIGNATURE.fullmatch(line)
    if parts is None:
        raise NotANote("a signature line is not a dash, a name and a signature")
    signature = unbase64(parts[2], "a signature")
    if len(signature) <= 4:
        raise NotANote("a signature is too short")
    return parts[1], signature


def vkey_of(name: str, raw: bytes, kind: bytes = ED25519) -> str:
    """A key as C2SP writes it."""
    return f"{name}+{key_id(name, raw, kind).hex()}+{_base64(kind + raw)}"


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def unbase64(text: str, what: str) -> bytes:
    """Strict: each value has one text, so that no character of a note can change unseen."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NotANote(f"{what} is not base64") from None
    if _base64(raw) != text:
        raise NotANote(f"{what} is not base64 as it is written canonically")
    return raw

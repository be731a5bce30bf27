"""What has arrived of an upload: a file that grows, in the clear, or sealed piece by piece as it comes.

A sealed one has the head of a sealed file (`runtime/sealed_files.py`) and then pieces: how long (4), a random nonce (12), and the bytes
with their tag (16), sealed together with where in the upload they belong. A piece that was not written whole has not arrived.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from runtime.keyring import Key
from runtime.master import NONCE_BYTES
from runtime.sealed_files import HEAD_BYTES, TAG_BYTES, Damaged, Entropy, new_head, open_head

MAGIC = b"GAVELUP1"
LENGTH_BYTES = 4
OFFSET_BYTES = 8
PIECE_BYTES_MAX = 1 << 18
AROUND_BYTES = LENGTH_BYTES + NONCE_BYTES + TAG_BYTES


class Part(Protocol):
    """An open one."""

    def write(self, content: bytes | bytearray) -> None:
        """Adds bytes. Raises OSError."""

    def settle(self, at: float) -> int:
        """Puts onto the disk what has arrived, tells how much that is together, and closes; what can't be put there has not arrived."""


class Reach(NamedTuple):
    """How far an upload has come: bytes of its content, and of its file."""

    content: int
    file: int


def begin(path: Path, at: float, key: Key | None, entropy: Entropy) -> None:
    """A new one, without a byte. Raises OSError."""
    path.touch(mode=0o600, exist_ok=False)
    if key is not None:
        path.write_bytes(new_head(MAGIC, key, entropy)[0])
    os.utime(path, (at, at))


def reach(path: Path, key: Key | None, content_max: int = 1 << 62) -> Reach:
    """How far it has come, up to a bound, by what stands on the disk. Raises OSError."""
    size = path.stat().st_size
    if key is None:
        return Reach(min(size, content_max), min(size, content_max))
    come = Reach(0, HEAD_BYTES)
    with path.open("rb") as file:
        while come.content < content_max:
            file.seek(come.file)
            length = int.from_bytes(file.read(LENGTH_BYTES), "big")
            further = Reach(come.content + length, come.file + AROUND_BYTES + length)
            if not 0 < length <= PIECE_BYTES_MAX or further.file > size:
                break
            come = further
    return come


def open_part(path: Path, come_to: int, key: Key | None, entropy: Entropy) -> Part:
    """To go on after so many bytes: where the disk failed, more may stand in the file. Raises OSError, Damaged."""
    come = reach(path, key, come_to)
    if come.content != come_to:
        raise Damaged(f"{come_to} bytes had arrived, and {come.content} are there")
    if key is None:
        return _Plain(path, come)
    with path.open("rb") as file:
        cipher = open_head(MAGIC, key, file.read(HEAD_BYTES))
    return _Sealed(path, come, cipher, entropy)


def content(path: Path, key: Key | None) -> Iterator[bytes]:
    """All that has arrived. Raises Damaged, OSError."""
    with path.open("rb") as file:
        if key is None:
            while piece := file.read(PIECE_BYTES_MAX):
                yield piece
            return
        cipher = open_head(MAGIC, key, file.read(HEAD_BYTES))
        come_to = 0
        while length := int.from_bytes(file.read(LENGTH_BYTES), "big"):
            nonce, sealed = file.read(NONCE_BYTES), file.read(min(length, PIECE_BYTES_MAX) + TAG_BYTES)
            try:
                piece = cipher.decrypt(nonce, sealed, _place(come_to))
            except (InvalidTag, ValueError):
                raise Damaged(f"what follows byte {come_to} is not what had arrived") from None
            come_to += len(piece)
            yield piece


def _place(offset: int) -> bytes:
    return offset.to_bytes(OFFSET_BYTES, "big")


class _Plain:
    def __init__(self, path: Path, come: Reach) -> None:
        self._come = come
        self._file = _open(path, come.file)

    def write(self, content: bytes | bytearray) -> None:
        _write_all(self._file, content)

    def settle(self, at: float) -> int:
        return _settle(self._file, self._come, at)


class _Sealed:
    def __init__(self, path: Path, come: Reach, cipher: AESGCM, entropy: Entropy) -> None:
        self._began = self._come = come
        self._cipher = cipher
        self._entropy = entropy
        self._file = _open(path, come.file)

    def write(self, content: bytes | bytearray) -> None:
        for first in range(0, len(content), PIECE_BYTES_MAX):
            self._write(content[first : first + PIECE_BYTES_MAX])

    def _write(self, piece: bytes | bytearray) -> None:
        nonce, come = self._entropy(NONCE_BYTES), self._come
        sealed = self._cipher.encrypt(nonce, piece, _place(come.content))
        _write_all(self._file, len(piece).to_bytes(LENGTH_BYTES, "big") + nonce + sealed)
        self._come = Reach(come.content + len(piece), come.file + AROUND_BYTES + len(piece))

    def settle(self, at: float) -> int:
        """A piece that a full disk has cut does not count: it goes when the next is written."""
        _settle(self._file, self._began, at)
        return self._come.content


def _open(path: Path, size: int) -> int:
    file = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.ftruncate(file, size)
    return file


def _write_all(file: int, content: bytes | bytearray) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]


def _settle(file: int, began: Reach, at: float) -> int:
    try:
        os.utime(file, (at, at))
        os.fsync(file)
    except OSError:
        os.ftruncate(file, began.file)
        raise
    else:
        return os.fstat(file).st_size
    finally:
        os.close(file)

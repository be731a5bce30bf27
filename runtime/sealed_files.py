"""Files that stand encrypted on the disk: in frames, so that a part is read at the price of a part, and memory is bounded.

A file has a random key of its own, which stands wrapped in its head under the key that it was sealed for: without that key the file and
any copy of it are noise. Each frame is sealed (AES-256-GCM) with its number and whether it is the last as the nonce, the STREAM
construction of Hoang, Reyhanitabar, Rogaway and Vizár (2015): a frame that was altered, moved, left out or cut off does not open, and
no nonce is used twice, since nothing is ever written into a file twice.

    head: MAGIC, the key's name (16), nonce (12), the file's key and its tag (48)    frames: up to 64 KiB and a tag (16) each
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from runtime.keyring import ID_BYTES, Key
from runtime.master import KEY_BYTES, NONCE_BYTES

MAGIC = b"GAVELSF1"
TAG_BYTES = 16
HEAD_BYTES = len(MAGIC) + ID_BYTES + NONCE_BYTES + KEY_BYTES + TAG_BYTES
FRAME_BYTES = 1 << 16
STORED_BYTES = FRAME_BYTES + TAG_BYTES

Entropy = Callable[[int], bytes]


class Damaged(Exception):
    """The file is not as it was sealed."""


def new_head(magic: bytes, key: Key, entropy: Entropy) -> tuple[bytes, AESGCM]:
    """The head of a new file, and what seals it."""
    raw = entropy(KEY_BYTES)
    return magic + key.seal(entropy(NONCE_BYTES), raw, magic), AESGCM(raw)


def open_head(magic: bytes, key: Key, head: bytes) -> AESGCM:
    """What opens a file with this head. Raises Damaged."""
    start = len(magic) + ID_BYTES
    if len(head) != HEAD_BYTES or head[:start] != magic + key.id:
        raise Damaged("it has not the head of a file under this key")
    nonce = head[start : start + NONCE_BYTES]
    return AESGCM(_opened(key.cipher, nonce, head[start + NONCE_BYTES :], magic))


def content_bytes(file_bytes: int) -> int:
    """How long the content of a sealed file of this length is. Raises Damaged where no such file is so long."""
    stored = file_bytes - HEAD_BYTES
    frames, rest = divmod(stored, STORED_BYTES)
    if stored < TAG_BYTES or 0 < rest < TAG_BYTES or (frames and rest == TAG_BYTES):
        raise Damaged(f"no sealed file has {file_bytes} bytes")
    return stored - (frames + bool(rest)) * TAG_BYTES


class Sealer:
    """Writes a sealed file from its beginning to its end."""

    def __init__(self, path: Path, key: Key, entropy: Entropy) -> None:
        head, self._cipher = new_head(MAGIC, key, entropy)
        self._file = path.open("xb")
        self._file.write(head)
        self._waiting = bytearray()
        self._frames = 0

    def write(self, content: bytes | bytearray) -> None:
        """Seals what fills frames. The last frame waits: it has to say that it is the last."""
        self._waiting += content
        first = 0
        while len(self._waiting) - first > FRAME_BYTES:
            self._seal(self._waiting[first : first + FRAME_BYTES], is_last=False)
            first += FRAME_BYTES
        del self._waiting[:first]

    def end(self) -> None:
        """Nothing more comes."""
        self._seal(self._waiting, is_last=True)

    def _seal(self, content: bytes | bytearray, *, is_last: bool) -> None:
        self._file.write(self._cipher.encrypt(_nonce(self._frames, is_last), content, None))
        self._frames += 1

    def flush(self) -> None:
        self._file.flush()

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()


def open_sealed(path: Path, key: Key) -> io.BufferedReader:
    """The content of a sealed file, to be read anywhere; each frame is checked when it is read. Raises Damaged, OSError."""
    return io.BufferedReader(_Frames(path.open("rb"), key), FRAME_BYTES)


class _Frames(io.RawIOBase):
    """Reads frame by frame. The last is read first: it alone says that the file has its length."""

    def __init__(self, file: BinaryIO, key: Key) -> None:
        self._file = file
        self._at = 0
        self._frame = -1
        self._content = b""
        try:
            self._cipher = open_head(MAGIC, key, file.read(HEAD_BYTES))
            self._size = content_bytes(file.seek(0, io.SEEK_END))
            self._last = max(0, (self._size - 1) // FRAME_BYTES)
            self._load(self._last)
        except BaseException:
            self.close()
            raise

    def _load(self, frame: int) -> None:
        if frame != self._frame:
            self._file.seek(HEAD_BYTES + frame * STORED_BYTES)
            stored = self._file.read(STORED_BYTES)
            self._content = _opened(self._cipher, _nonce(frame, frame == self._last), stored, None)
            self._frame = frame

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]  # the stubs name a type of theirs
        if self._at >= self._size:
            return 0
        frame, start = divmod(self._at, FRAME_BYTES)
        self._load(frame)
        part = self._content[start : start + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if begin + offset < 0:
            raise ValueError("a place before the beginning")
        self._at = begin + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()


def _nonce(frame: int, is_last: bool) -> bytes:
    return frame.to_bytes(NONCE_BYTES - 1, "big") + bytes([is_last])


def _opened(cipher: AESGCM, nonce: bytes, sealed: bytes, purpose: bytes | None) -> bytes:
    try:
        return cipher.decrypt(nonce, sealed, purpose)
    except (InvalidTag, ValueError):
        raise Damaged("what stands there is not what was sealed") from None

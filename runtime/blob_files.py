"""The files of blobs: in the clear or sealed, there whole or not at all, and read against the digests that they are named by."""

import math
import os
import re
from collections.abc import Iterable
from hashlib import file_digest, sha256
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import trio

from runtime.claims import Name
from runtime.keyring import Key, Keyring
from runtime.sealed_files import Damaged, Sealer, content_bytes, open_sealed
from runtime.threads import run_blocking

DIGEST = re.compile(r"[0-9a-f]{64}")

VERIFIED_SECONDS = 60.0
VERIFIED_MAX = 1024
"""How long, and of how many blobs, it is remembered that the file was read against its name: who reads many parts pays once."""


class WrongDigest(Exception):
    """The bytes are not those that the name promises."""


class Erased(LookupError):
    """The blob was sealed under a key that is gone: the data subject was erased."""


class BlobFiles:
    """A folder of files named by their content, and by the key of each that is sealed."""

    def __init__(self, folder: Path, keyring: Keyring | None) -> None:
        self.folder = folder
        self.keyring = keyring
        self._verified_at: dict[str, float] = {}
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in folder.glob("*.partial"):
            left.unlink()

    def path(self, digest: str) -> Path:
        """Where the blob of this digest is or would be in the clear. Raises ValueError where the text is no sha256 in lower-case hex."""
        if not DIGEST.fullmatch(digest):
            raise ValueError("a blob is named by 64 lower-case hex digits")
        return self.path_of(Name(digest))

    def path_of(self, name: Name) -> Path:
        """Where the file is that a claim names."""
        return self.folder / name.digest[:2] / name.file

    def new_path(self) -> Path:
        """Where a file may grow that is to be kept; what is left there goes at the next start."""
        return self.folder / f"{uuid4().hex}.partial"

    def find_key(self, name: Name) -> Key | None:
        """The key that a file was sealed for; None where it stands in the clear. Raises Erased where the key is gone. Blocks."""
        if not name.key:
            return None
        key = self.keyring.find(name.key_id) if self.keyring is not None else None
        if key is None:
            raise Erased(f"the blob {name.digest} was erased: its key is gone")
        return key

    def opens(self, name: Name) -> bool:
        try:
            self.find_key(name)
        except Erased:
            return False
        return True

    # ---- reading

    def size(self, name: Name) -> int:
        """How many bytes the content has. Raises FileNotFoundError. Blocks."""
        size = self.path_of(name).stat().st_size
        try:
            return content_bytes(size) if name.key else size
        except Damaged:
            return 0  # whoever reads it is told so

    def open(self, name: Name) -> BufferedReader:
        """The content, to be read anywhere. Raises FileNotFoundError, Erased, WrongDigest; reading raises Damaged. Blocks."""
        key = self.find_key(name)
        if key is None:
            return self.path_of(name).open("rb")
        try:
            return open_sealed(self.path_of(name), key)
        except Damaged as error:
            raise altered(name) from error

    async def verify(self, name: Name) -> None:
        """Reads a blob's file against its name, unless that was done a moment ago. Raises what `open` does."""
        read_at = self._verified_at.pop(name.file, -math.inf)
        now = trio.current_time()
        if now >= read_at + VERIFIED_SECONDS:
            read_at = now
            await run_blocking(self._check, name)
        self._verified_at[name.file] = read_at
        if len(self._verified_at) > VERIFIED_MAX:
            del self._verified_at[next(iter(self._verified_at))]

    def _check(self, name: Name) -> None:
        try:
            with self.open(name) as file:
                if digest_of(file) == name.digest:
                    return
        except Damaged:
            pass
        raise altered(name)

    # ---- writing

    def create(self, partial: Path, key: Key | None) -> "BinaryIO | Sealer":
        if key is None:
            return partial.open("xb")
        assert self.keyring is not None
        return Sealer(partial, key, self.keyring.entropy)

    def write_whole(self, partial: Path, key: Key | None, pieces: Iterable[bytes]) -> str:
        """Writes what may be kept, and puts it onto the disk; the digest of the content. Blocks."""
        digest = sha256()
        file = self.create(partial, key)
        try:
            for piece in pieces:
                digest.update(piece)
                file.write(piece)
            settle(file)
        finally:
            file.close()
        return digest.hexdigest()


def name_of(digest: str, key: Key | None, subject_mark: str) -> Name:
    """What a claim to a file under this key is called."""
    return Name(digest, key.id.hex() if key is not None else "", subject_mark)


def digest_of(file: BufferedReader) -> str:
    """The sha256 of what a file has from its beginning, as a blob is named. Blocks."""
    return file_digest(file, "sha256").hexdigest()


def altered(name: Name) -> WrongDigest:
    return WrongDigest(f"the file of blob {name.digest} was altered")


def settle(file: BinaryIO | Sealer) -> None:
    if isinstance(file, Sealer):
        file.end()
    file.flush()
    os.fsync(file.fileno())

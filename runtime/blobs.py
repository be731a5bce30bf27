"""Large values beside the journal, named by the sha256 of their bytes: an event holds the digest, and a read checks it."""

import os
import re
from collections.abc import AsyncIterable
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import trio

DIGEST = re.compile(r"[0-9a-f]{64}")


class WrongDigest(Exception):
    """The bytes are not those that the name promises."""


class TooLarge(Exception):
    """More bytes than a blob may have."""


class Blobs:
    """A folder of files named by their content; a file is there whole or not at all."""

    def __init__(self, folder: Path, *, blob_bytes_max: int) -> None:
        self.folder = folder
        self.blob_bytes_max = blob_bytes_max
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in folder.glob("*.partial"):
            left.unlink()

    def path(self, digest: str) -> Path:
        """Where the blob of this digest is or would be. Raises ValueError where the text is no sha256 in lower-case hex."""
        if not DIGEST.fullmatch(digest):
            raise ValueError("a blob is named by 64 lower-case hex digits")
        return self.folder / digest[:2] / digest

    def has(self, digest: str) -> bool:
        """Whether the blob is here."""
        return self.path(digest).is_file()

    def read(self, digest: str) -> bytes:
        """The whole blob, checked. Raises FileNotFoundError, or WrongDigest where the file was altered."""
        content = self.path(digest).read_bytes()
        if sha256(content).hexdigest() != digest:
            raise WrongDigest(f"the file of blob {digest} was altered")
        return content

    async def put(self, digest: str, chunks: AsyncIterable[bytes]) -> bool:
        """Stores a stream under its digest; false where it was here already. Durable when it returns.

        Raises WrongDigest, TooLarge, OSError (a full disk); nothing is left behind then.
        """
        path = self.path(digest)
        if path.is_file():
            return False
        partial = self.folder / f"{uuid4().hex}.partial"
        try:
            found = await self._write(partial, chunks)
            if found != digest:
                raise WrongDigest(f"the content has the digest {found}")
            await trio.to_thread.run_sync(_publish, partial, path)
        finally:
            partial.unlink(missing_ok=True)
        return True

    async def _write(self, partial: Path, chunks: AsyncIterable[bytes]) -> str:
        digest, size = sha256(), 0
        async with await trio.open_file(partial, "wb") as file:
            async for chunk in chunks:
                size += len(chunk)
                if size > self.blob_bytes_max:
                    raise TooLarge(f"a blob may have {self.blob_bytes_max} bytes")
                digest.update(chunk)
                await file.write(chunk)
            await file.flush()
            await trio.to_thread.run_sync(os.fsync, file.fileno())
        return digest.hexdigest()

    def store(self, content: bytes) -> str:
        """Stores bytes that are at hand; returns their digest. Blocks."""
        digest = sha256(content).hexdigest()
        path = self.path(digest)
        if not path.is_file():
            partial = self.folder / f"{uuid4().hex}.partial"
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            _publish(partial, path)
        return digest


def _publish(partial: Path, path: Path) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    partial.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

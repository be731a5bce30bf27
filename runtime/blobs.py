"""Large values beside the journal, named by the sha256 of their bytes: an event holds the digest, and a read checks it.

The bytes are kept once. Whose they are says an empty file for each tenant that has brought them: nobody gets at a blob by
its name alone, and nobody learns whether another tenant has it.
"""

import os
import re
from collections.abc import AsyncIterable
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import trio

from runtime.threads import run_blocking

DIGEST = re.compile(r"[0-9a-f]{64}")


OWNERS = "owners"
OWNER_CHARACTERS = 32


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

    def has(self, tenant: str, digest: str) -> bool:
        """Whether the blob is here, and this tenant has brought it."""
        return self._claim(tenant, digest).is_file() and self.path(digest).is_file()

    def _claim(self, tenant: str, digest: str) -> Path:
        """The empty file that says that the blob is also this tenant's; a tenant may be called anything."""
        owner = sha256(tenant.encode()).hexdigest()[:OWNER_CHARACTERS]
        return self.folder / OWNERS / owner / self.path(digest).name

    def read(self, digest: str) -> bytes:
        """The whole blob, checked. Raises FileNotFoundError, or WrongDigest where the file was altered."""
        content = self.path(digest).read_bytes()
        if sha256(content).hexdigest() != digest:
            raise WrongDigest(f"the file of blob {digest} was altered")
        return content

    async def put(self, tenant: str, digest: str, chunks: AsyncIterable[bytes]) -> bool:
        """Stores a stream under its digest for a tenant; false where the tenant had it already. Durable when it returns.

        Raises WrongDigest, TooLarge, OSError (a full disk); nothing is left behind then.
        """
        if self.has(tenant, digest):
            await self._compare(digest, chunks)
            return False
        partial = self.folder / f"{uuid4().hex}.partial"
        try:
            found = await self._write(partial, chunks)
            if found != digest:
                raise WrongDigest(f"the content has the digest {found}")
            await run_blocking(self._keep, tenant, digest, partial)
        finally:
            partial.unlink(missing_ok=True)
        return True

    async def _compare(self, digest: str, chunks: AsyncIterable[bytes]) -> None:
        """Reads what is here already to its end: an answer before it would cost the client its connection."""
        found, size = sha256(), 0
        async for chunk in chunks:
            size += len(chunk)
            if size > self.blob_bytes_max:
                raise TooLarge(f"a blob may have {self.blob_bytes_max} bytes")
            found.update(chunk)
        if found.hexdigest() != digest:
            raise WrongDigest(f"the content has the digest {found.hexdigest()}")

    def _keep(self, tenant: str, digest: str, partial: Path) -> None:
        if not self.path(digest).is_file():
            _publish(partial, self.path(digest))
        claim = self._claim(tenant, digest)
        claim.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        claim.touch(mode=0o600)
        _sync_folder(claim.parent)

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
            await run_blocking(os.fsync, file.fileno())
        return digest.hexdigest()


def _publish(partial: Path, path: Path) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    partial.rename(path)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

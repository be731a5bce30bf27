"""Large values beside the journal, named by the sha256 of their bytes: an event holds the digest, and a read checks it.

The bytes are kept once. Whose they are says an empty file for each tenant that has brought them: nobody gets at a blob by
its name alone, and nobody learns whether another tenant has it. Each tenant may have so many bytes together.
"""

import math
import os
import re
import shutil
import threading
from collections.abc import AsyncIterable
from hashlib import file_digest, sha256
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import trio

from runtime.store.copies import sync
from runtime.threads import run_blocking

DIGEST = re.compile(r"[0-9a-f]{64}")


OWNERS = "owners"
OWNER_CHARACTERS = 32
COPY_BYTES = 1 << 20

VERIFIED_SECONDS = 60.0
VERIFIED_MAX = 1024
"""How long, and of how many blobs, it is remembered that the file was read against its name: who reads many parts pays once."""


class WrongDigest(Exception):
    """The bytes are not those that the name promises."""


class TooLarge(Exception):
    """More bytes than a blob may have."""


class QuotaReached(TooLarge):
    """More bytes than a tenant may have together."""


class Claim(NamedTuple):
    """A tenant's blob: how large it is, and when the tenant brought or used it last (seconds since the epoch)."""

    digest: str
    bytes: int
    used_at: float


class Blobs:
    """A folder of files named by their content; a file is there whole or not at all."""

    def __init__(self, folder: Path, *, blob_bytes_max: int, tenant_bytes_max: int = 1 << 62) -> None:
        self.folder = folder
        self.blob_bytes_max = blob_bytes_max
        self.tenant_bytes_max = tenant_bytes_max
        self._bytes_by_tenant: dict[str, int] = {}
        self._changing = threading.Lock()
        self._verified_at: dict[str, float] = {}
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in folder.glob("*.partial"):
            left.unlink()

    def path(self, digest: str) -> Path:
        """Where the blob of this digest is or would be. Raises ValueError where the text is no sha256 in lower-case hex."""
        if not DIGEST.fullmatch(digest):
            raise ValueError("a blob is named by 64 lower-case hex digits")
        return self.folder / digest[:2] / digest

    def check_size(self, size: int) -> None:
        """Raises TooLarge where no blob may have so many bytes."""
        if size > self.blob_bytes_max:
            raise TooLarge(f"a blob may have {self.blob_bytes_max} bytes")

    def has(self, tenant: str, digest: str) -> bool:
        """Whether the blob is here, and this tenant has brought it."""
        return self._claim(tenant, digest).is_file() and self.path(digest).is_file()

    def use(self, tenant: str, digest: str) -> bool:
        """The same, and where it is so, the blob is not collected for a while: whoever asks is about to refer to it. Blocks."""
        with self._changing:
            if not self.has(tenant, digest):
                return False
            os.utime(self._claim(tenant, digest))
            return True

    def _owner(self, tenant: str) -> Path:
        """The folder of a tenant's claims; a tenant may be called anything."""
        return self.folder / OWNERS / sha256(tenant.encode()).hexdigest()[:OWNER_CHARACTERS]

    def _claim(self, tenant: str, digest: str) -> Path:
        """The empty file that says that the blob is also this tenant's."""
        return self._owner(tenant) / self.path(digest).name

    def claims(self, tenant: str) -> list[Claim]:
        """All blobs of a tenant, in the order of their names."""
        found = []
        for claim in sorted(self._owner(tenant).glob("*")):
            try:
                found.append(Claim(claim.name, self.path(claim.name).stat().st_size, claim.stat().st_mtime))
            except (FileNotFoundError, ValueError):
                continue  # it goes at this moment, or is nothing of ours
        return found

    async def used(self, tenant: str) -> int:
        """How many bytes a tenant has, those included that are on their way."""
        if tenant not in self._bytes_by_tenant:
            found = sum(claim.bytes for claim in await run_blocking(self.claims, tenant))
            self._bytes_by_tenant.setdefault(tenant, found)
        return self._bytes_by_tenant[tenant]

    async def verify(self, digest: str) -> None:
        """Reads a blob's file against its name, unless that was done a moment ago. Raises FileNotFoundError, or WrongDigest."""
        read_at = self._verified_at.pop(digest, -math.inf)
        now = trio.current_time()
        if now >= read_at + VERIFIED_SECONDS:
            read_at = now
            if await run_blocking(digest_of_file, self.path(digest)) != digest:
                raise WrongDigest(f"the file of blob {digest} was altered")
        self._verified_at[digest] = read_at
        if len(self._verified_at) > VERIFIED_MAX:
            del self._verified_at[next(iter(self._verified_at))]

    def read(self, digest: str) -> bytes:
        """The whole blob, checked. Raises FileNotFoundError, or WrongDigest where the file was altered."""
        content = self.path(digest).read_bytes()
        if sha256(content).hexdigest() != digest:
            raise WrongDigest(f"the file of blob {digest} was altered")
        return content

    async def put(self, tenant: str, digest: str, chunks: AsyncIterable[bytes]) -> bool:
        """Stores a stream under its digest for a tenant; false where the tenant had it already. Durable when it returns.

        Raises WrongDigest, TooLarge, QuotaReached, OSError (a full disk); nothing is left behind then.
        """
        if await run_blocking(self.use, tenant, digest):
            await self._compare(digest, chunks)
            return False
        await self.used(tenant)
        partial = self.folder / f"{uuid4().hex}.partial"
        new = False
        size = _Size(self, tenant)
        try:
            found = await self._write(partial, chunks, size)
            if found != digest:
                raise WrongDigest(f"the content has the digest {found}")
            new = await run_blocking(self.keep, tenant, digest, partial)
        finally:
            partial.unlink(missing_ok=True)
            if not new:
                self._bytes_by_tenant[tenant] -= size.bytes
        return True

    async def _compare(self, digest: str, chunks: AsyncIterable[bytes]) -> None:
        """Reads what is here already to its end: an answer before it would cost the client its connection."""
        found, size = sha256(), 0
        async for chunk in chunks:
            size += len(chunk)
            self.check_size(size)
            found.update(chunk)
        if found.hexdigest() != digest:
            raise WrongDigest(f"the content has the digest {found.hexdigest()}")

    def keep(self, tenant: str, digest: str, partial: Path) -> bool:
        """Makes a whole file the tenant's blob; false where another of its uploads has done so meanwhile. Blocks."""
        with self._changing:
            if not self.path(digest).is_file():
                _publish(partial, self.path(digest))
            claim = self._claim(tenant, digest)
            new = not claim.is_file()
            claim.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
            claim.touch(mode=0o600)
            sync(claim.parent)
            return new

    def drop(self, tenant: str, digest: str, unused_since: float) -> bool:
        """Takes a blob from a tenant, unless it was used since; the bytes go with the last tenant that has them. False where it stays."""
        with self._changing:
            claim = self._claim(tenant, digest)
            if not claim.is_file() or claim.stat().st_mtime >= unused_since:
                return False
            claim.unlink()
            sync(claim.parent)
            if not any(owner.joinpath(digest).is_file() for owner in (self.folder / OWNERS).iterdir()):
                self.path(digest).unlink(missing_ok=True)
            return True

    def unclaimed(self, unused_since: float, delete: bool) -> int:
        """How many files are nobody's, and deletes them: a node that was killed between a file and its claim has left them."""
        count = 0
        with self._changing:
            claimed = {claim.name for claim in (self.folder / OWNERS).glob("*/*")}
            for path in self.folder.glob("[0-9a-f][0-9a-f]/*"):
                if path.name not in claimed and path.stat().st_mtime < unused_since:
                    count += 1
                    if delete:
                        path.unlink()
        return count

    def forget_used(self, tenant: str, dropped_bytes: int) -> None:
        """What was dropped does not count any more."""
        if tenant in self._bytes_by_tenant:
            self._bytes_by_tenant[tenant] -= dropped_bytes

    async def hold(self, tenant: str, size: int) -> None:
        """Counts bytes that were reserved before this start: a smaller quota takes nothing back."""
        await self.used(tenant)
        self._bytes_by_tenant[tenant] += size

    def count(self, tenant: str, size: int) -> None:
        """Counts bytes that arrive for a tenant. Raises QuotaReached, and counts nothing. Only after `used`."""
        used = self._bytes_by_tenant[tenant]
        if used + size > self.tenant_bytes_max:
            raise QuotaReached(f"the tenant's blobs have {used} bytes, and may have {self.tenant_bytes_max} together")
        self._bytes_by_tenant[tenant] = used + size

    async def _write(self, partial: Path, chunks: AsyncIterable[bytes], arrived: "_Size") -> str:
        digest, size = sha256(), 0
        async with await trio.open_file(partial, "wb") as file:
            async for chunk in chunks:
                size += len(chunk)
                self.check_size(size)
                arrived.add(len(chunk))
                digest.update(chunk)
                await file.write(chunk)
            await file.flush()
            await run_blocking(os.fsync, file.fileno())
        return digest.hexdigest()


class _Size:
    """How many bytes of one upload were counted."""

    def __init__(self, blobs: Blobs, tenant: str) -> None:
        self.bytes = 0
        self._blobs = blobs
        self._tenant = tenant

    def add(self, size: int) -> None:
        self._blobs.count(self._tenant, size)
        self.bytes += size


def copy_blobs(source: Path, target: Path) -> tuple[int, int, list[str]]:
    """Copies all blobs and whose they are into a new folder, reading each against its name: how many, how many bytes, which were altered.

    The source may be in use: what comes later is not in the copy, which is complete when it appears. Raises FileExistsError, OSError.
    """
    if target.exists():
        raise FileExistsError(f"{target} exists")
    partial = target.with_name(f"{target.name}.{uuid4().hex[:8]}.partial")
    try:
        found = _copy_all(source, partial)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    sync(target.parent)
    return found


def _copy_all(source: Path, target: Path) -> tuple[int, int, list[str]]:
    target.mkdir(mode=0o700, parents=True)
    count = size = 0
    altered = []
    for claim in sorted(source.glob(f"{OWNERS}/*/*")):
        path = source / claim.name[:2] / claim.name
        copy = target / claim.name[:2] / claim.name
        if not path.is_file():
            continue
        if not copy.is_file():
            copy.parent.mkdir(mode=0o700, exist_ok=True)
            count, size = count + 1, size + path.stat().st_size
            if _copy(path, copy) != claim.name:
                altered.append(claim.name)
        owner = target / OWNERS / claim.parent.name
        owner.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner.joinpath(claim.name).touch(mode=0o600)
    return count, size, altered


def _copy(path: Path, copy: Path) -> str:
    """Copies a file onto the disk and returns the digest of what was read."""
    digest = sha256()
    with path.open("rb") as file, copy.open("xb") as out:
        while part := file.read(COPY_BYTES):
            digest.update(part)
            out.write(part)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()


def digest_of_file(path: Path) -> str:
    """The sha256 of a file's bytes, as a blob is named. Blocks."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _publish(partial: Path, path: Path) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    partial.rename(path)
    sync(path.parent)

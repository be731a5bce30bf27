"""Large values beside the journal, named by the sha256 of their bytes: an event holds the digest, and a read checks it.

The bytes are kept once. Whose they are is said by claims (`runtime/claims.py`): nobody gets at a blob by its name alone, and nobody
learns whether another tenant has it. Each tenant may have so many bytes together.

What is of a data subject is kept sealed under that subject's key, in a file for each that has it: it can be erased for one and stays
there for the others. What is of nobody is sealed too where that is set, and old files in the clear stay readable.
"""

import threading
from collections.abc import AsyncIterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import trio

from runtime.blob_files import BlobFiles, Erased, WrongDigest, altered, name_of, settle
from runtime.claims import Claims, Name, mark
from runtime.errors import Refused
from runtime.keyring import AT_REST, Key, Keyring
from runtime.sealed_files import Damaged
from runtime.store.copies import sync
from runtime.threads import run_blocking

__all__ = ["Blobs", "Claim", "Erased", "QuotaReached", "TooLarge", "WrongDigest"]


class TooLarge(Exception):
    """More bytes than a blob may have."""


class QuotaReached(TooLarge):
    """More bytes than a tenant may have together."""


class Claim(NamedTuple):
    """A tenant's blob: how large it is, and when the tenant brought or used it last (seconds since the epoch).

    `name` is what the claim is called: a tenant that brings the same as data of two subjects has two.
    """

    digest: str
    bytes: int
    used_at: float
    name: str


class Blobs(BlobFiles):
    """Whose the files are, and how much each tenant may have."""

    def __init__(
        self,
        folder: Path,
        *,
        blob_bytes_max: int,
        tenant_bytes_max: int = 1 << 62,
        keyring: Keyring | None = None,
        at_rest: bool = False,
    ) -> None:
        """Without a keyring nothing is sealed, and nothing that was sealed can be read."""
        super().__init__(folder, keyring)
        self.blob_bytes_max = blob_bytes_max
        self.tenant_bytes_max = tenant_bytes_max
        self.at_rest = at_rest
        self._claims = Claims(folder)
        self._bytes_by_tenant: dict[str, int] = {}
        self._counting = threading.Lock()
        self._changing = threading.Lock()

    def check_size(self, size: int) -> None:
        """Raises TooLarge where no blob may have so many bytes."""
        if size > self.blob_bytes_max:
            raise TooLarge(f"a blob may have {self.blob_bytes_max} bytes")

    # ---- keys

    def key_for(self, tenant: str, subject: str | None) -> Key | None:
        """The key for what comes of a data subject of a tenant, or of none; None where that stands in the clear. Blocks.

        Raises Refused where there is no keyring for a subject's key, and KeyringUnusable.
        """
        if subject is None and not self.at_rest:
            return None
        if self.keyring is None:
            raise Refused("no_keyring", "this node keeps no keys, and so no data of data subjects", status=422)
        return self.keyring.key_for(AT_REST if subject is None else (tenant, subject))

    # ---- whose

    def find(self, tenant: str, digest: str) -> Name:
        """The claim through which a tenant reads a blob. Raises FileNotFoundError, or Erased where all that it has was erased. Blocks."""
        claimed = self._claims.to(tenant, digest)
        for name in claimed:
            if self.path_of(name).is_file() and self.opens(name):
                return name
        for name in claimed:
            self.find_key(name)
        raise FileNotFoundError(f"there is no blob {digest}")

    def has(self, tenant: str, digest: str) -> bool:
        """Whether the blob is here and can be read, and this tenant has brought it. Blocks."""
        try:
            self.find(tenant, digest)
        except (FileNotFoundError, Erased):
            return False
        return True

    def use(self, tenant: str, digest: str) -> bool:
        """The same, and where it is so, the blob is not collected for a while: whoever asks is about to refer to it. Blocks."""
        with self._changing:
            if not self.has(tenant, digest):
                return False
            for name in self._claims.to(tenant, digest):
                self._claims.touch(tenant, name)
            return True

    def _use_as(self, tenant: str, digest: str, subject: str | None) -> bool:
        """Whether the tenant has brought it as this subject's already; it counts as used then."""
        with self._changing:
            for name in self._claims.to(tenant, digest):
                if name.subject == mark(tenant, subject) and self.path_of(name).is_file() and self.opens(name):
                    self._claims.touch(tenant, name)
                    return True
        return False

    def claims(self, tenant: str) -> list[Claim]:
        """All blobs of a tenant, in the order of their names. Blocks."""
        return [claim for name, path in self._claims.of(tenant) if (claim := self._claim(name, path)) is not None]

    def of_subject(self, tenant: str, subject: str) -> list[Claim]:
        """Those that a tenant has brought as data of this subject. Blocks."""
        mine = mark(tenant, subject)
        found = ((name, path) for name, path in self._claims.of(tenant) if name.subject == mine)
        return [claim for name, path in found if (claim := self._claim(name, path)) is not None]

    def _claim(self, name: Name, path: Path) -> Claim | None:
        """None where it goes at this moment."""
        try:
            return Claim(name.digest, self.size(name), path.stat().st_mtime, str(name))
        except FileNotFoundError:
            return None

    def read(self, digest: str, tenant: str | None = None) -> bytes:
        """The whole blob, checked; of a tenant, or where none is named, whosever it is. Blocks.

        Raises FileNotFoundError, Erased, or WrongDigest where the file was altered.
        """
        name = self._find_anybodys(digest) if tenant is None else self.find(tenant, digest)
        try:
            with self.open(name) as file:
                content = file.read()
        except Damaged as error:
            raise altered(name) from error
        if sha256(content).hexdigest() != digest:
            raise altered(name)
        return content

    def _find_anybodys(self, digest: str) -> Name:
        plain = self.path(digest)
        if plain.is_file():
            return Name(digest)
        sealed = [Name.parse(path.name) for path in sorted(plain.parent.glob(f"{digest}.*"))]
        if not sealed:
            raise FileNotFoundError(f"there is no blob {digest}")
        return next(filter(self.opens, sealed), sealed[0])

    # ---- bringing

    async def put(
        self, tenant: str, digest: str, chunks: AsyncIterable[bytes], *, data_subject: str | None = None
    ) -> bool:
        """Stores a stream under its digest for a tenant, as data of a subject where one is named; false where the tenant had it already
        as that. Durable when it returns.

        Raises WrongDigest, TooLarge, QuotaReached, Refused (no keyring), Erased (the subject, meanwhile), OSError (a full disk); nothing
        is left behind then.
        """
        if await run_blocking(self._use_as, tenant, digest, data_subject):
            await self._compare(digest, chunks)
            return False
        key = await run_blocking(self.key_for, tenant, data_subject)
        await self.used(tenant)
        partial = self.new_path()
        new = False
        size = _Size(self, tenant)
        try:
            found = await self._write(partial, key, chunks, size)
            if found != digest:
                raise WrongDigest(f"the content has the digest {found}")
            name = name_of(digest, key, mark(tenant, data_subject))
            new = await run_blocking(self.keep, tenant, name, partial)
        finally:
            partial.unlink(missing_ok=True)
            if not new:
                self.forget_used(tenant, size.bytes)
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

    async def _write(self, partial: Path, key: Key | None, chunks: AsyncIterable[bytes], arrived: "_Size") -> str:
        digest, size = sha256(), 0
        file = await run_blocking(self.create, partial, key)
        try:
            async for chunk in chunks:
                size += len(chunk)
                self.check_size(size)
                arrived.add(len(chunk))
                digest.update(chunk)
                await run_blocking(file.write, chunk)
            await run_blocking(settle, file)
        finally:
            with trio.CancelScope(shield=True):
                await run_blocking(file.close)
        return digest.hexdigest()

    def keep(self, tenant: str, name: Name, partial: Path) -> bool:
        """Makes a whole file the tenant's blob; false where another of its uploads has done so meanwhile. Blocks.

        Raises Erased where the key is gone meanwhile.
        """
        with self._changing:
            self.find_key(name)
            if not self.path_of(name).is_file():
                _publish(partial, self.path_of(name))
            return self._claims.add(tenant, name)

    # ---- letting go

    def drop(self, tenant: str, name: str, unused_since: float) -> bool:
        """Takes a blob from a tenant, unless it was used since; the bytes go with the last claim to them. False where it stays. Blocks."""
        claimed = Name.parse(name)
        with self._changing:
            claim = self._claims.path(tenant, claimed)
            if not claim.is_file() or claim.stat().st_mtime >= unused_since:
                return False
            self._take(tenant, claimed)
            return True

    def _take(self, tenant: str, name: Name) -> None:
        self._claims.remove(tenant, name)
        if not self._claims.has_anybody(name):
            self.path_of(name).unlink(missing_ok=True)

    def _delete(self, names: Sequence[Name]) -> None:
        """Durable when it returns."""
        paths = [self.path_of(name) for name in names]
        for path in paths:
            path.unlink(missing_ok=True)
        for folder in sorted({path.parent for path in paths}):
            if folder.is_dir():
                sync(folder)

    def erase(self, tenant: str, subject: str) -> int:
        """Deletes what a tenant has brought as data of this subject, and tells how many blobs that were. Durable when it returns. Blocks.

        To be called when the subject's keys are gone: nothing of it is kept from then on, and what is deleted here can't be read from the
        disk. It needs no key: what a backup brought back is found as well.
        """
        mine = mark(tenant, subject)
        with self._changing:
            claims = self.of_subject(tenant, subject)
            names = [name for name, _ in self._claims.of(tenant) if name.subject == mine]
            self._delete(names)
            self._claims.remove(tenant, *names)
            self.forget_used(tenant, sum(claim.bytes for claim in claims))
        return len(names)

    def unclaimed(self, unused_since: float, delete: bool) -> int:
        """How many files are nobody's, and deletes them: a node that was killed between a file and its claim has left them. Blocks."""
        count = 0
        with self._changing:
            claimed = self._claims.files()
            for path in self.folder.glob("[0-9a-f][0-9a-f]/*"):
                if path.name not in claimed and path.stat().st_mtime < unused_since:
                    count += 1
                    if delete:
                        path.unlink()
        return count

    # ---- counting: for any thread

    async def used(self, tenant: str) -> int:
        """How many bytes a tenant has, those included that are on their way."""
        if tenant not in self._bytes_by_tenant:
            found = sum(claim.bytes for claim in await run_blocking(self.claims, tenant))
            with self._counting:
                self._bytes_by_tenant.setdefault(tenant, found)
        return self._bytes_by_tenant[tenant]

    def forget_used(self, tenant: str, dropped_bytes: int) -> None:
        """What was dropped does not count any more."""
        with self._counting:
            if tenant in self._bytes_by_tenant:
                self._bytes_by_tenant[tenant] -= dropped_bytes

    async def hold(self, tenant: str, size: int) -> None:
        """Counts bytes that were reserved before this start: a smaller quota takes nothing back."""
        await self.used(tenant)
        with self._counting:
            self._bytes_by_tenant[tenant] += size

    def count(self, tenant: str, size: int) -> None:
        """Counts bytes that arrive for a tenant. Raises QuotaReached, and counts nothing. Only after `used`."""
        with self._counting:
            used = self._bytes_by_tenant[tenant]
            if used + size > self.tenant_bytes_max:
                raise QuotaReached(
                    f"the tenant's blobs have {used} bytes, and may have {self.tenant_bytes_max} together"
                )
            self._bytes_by_tenant[tenant] = used + size


class _Size:
    """How many bytes of one upload were counted."""

    def __init__(self, blobs: Blobs, tenant: str) -> None:
        self.bytes = 0
        self._blobs = blobs
        self._tenant = tenant

    def add(self, size: int) -> None:
        self._blobs.count(self._tenant, size)
        self.bytes += size


def _publish(partial: Path, path: Path) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    partial.rename(path)
    sync(path.parent)

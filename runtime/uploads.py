"""Uploads that go on where they were broken off: a file that grows, beside a note of whose it is, how long and what it is to be.

Both are in the folder of the blobs and survive a node that is killed; how far an upload has come is how long its file is. When the
last byte is there the file is read against its digest and becomes a blob. The note stays for a while, so that whoever has not heard
the answer can ask for it.
"""

import os
from collections.abc import AsyncIterable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import msgspec
import trio

from runtime.blobs import Blobs, TooLarge, WrongDigest, digest_of_file
from runtime.errors import Refused
from runtime.store.copies import sync
from runtime.threads import run_blocking

FOLDER = "uploads"
PART, NOTE, NEW_NOTE = ".part", ".json", ".new"

OPEN_MAX = 16
"""Uploads of one tenant that are not whole yet."""

DONE_MAX = 64
"""Whole uploads of one tenant whose outcome is kept; the oldest go first."""

WRITE_BYTES = 1 << 18
"""So much is gathered before it is written."""

IDLE_SECONDS = 24 * 3600.0
"""How long an upload is kept without a byte, and the outcome of one that is whole."""


class WrongOffset(Exception):
    """The bytes do not go on where the upload has ended: it has `offset` bytes."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"the upload has {offset} bytes")
        self.offset = offset


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept beside the bytes. `expected` is empty where nothing was; `sha256` is what was found when all were there."""

    tenant: str
    length: int
    expected: str
    sha256: str = ""


class Appended(NamedTuple):
    """How far an upload has come; when it is whole, the blob's name, and whether the tenant has it only since."""

    offset: int
    sha256: str = ""
    new: bool = False


class Upload:
    """One upload as the node knows it: of `offset` bytes that are on the disk; `is_done` when they are a blob."""

    def __init__(
        self, upload_id: str, note: Note, *, touched_at: float, offset: int = 0, is_done: bool = False
    ) -> None:
        self.id = upload_id
        self.note = note
        self.offset = offset
        self.touched_at = touched_at
        self.is_done = is_done
        self.is_busy = False

    @property
    def expires_at(self) -> float:
        """When it is given up, unless bytes come before (seconds since the epoch)."""
        return self.touched_at + IDLE_SECONDS


class Uploads:
    """The uploads of all tenants of one folder of blobs. What is reserved for one counts as its tenant's bytes."""

    def __init__(self, blobs: Blobs, now: Callable[[], float]) -> None:
        self._blobs = blobs
        self._now = now
        self._folder = blobs.folder / FOLDER
        self._by_tenant: dict[str, dict[str, Upload]] = {}

    async def load(self) -> None:
        """Takes up what was begun before this start, and gives up what got no byte for too long."""
        for upload in await run_blocking(_load, self._folder, self._blobs):
            self._by_tenant.setdefault(upload.note.tenant, {})[upload.id] = upload
            if not upload.is_done:
                await self._blobs.hold(upload.note.tenant, upload.note.length)
        for tenant in sorted(self._by_tenant):
            await self.collect(tenant)

    def of(self, tenant: str) -> list[Upload]:
        """The tenant's uploads that have not expired, in the order in which they got their last bytes."""
        now = self._now()
        alive = [one for one in self._by_tenant.get(tenant, {}).values() if one.is_busy or now < one.expires_at]
        return sorted(alive, key=lambda one: one.touched_at)

    def find(self, tenant: str, upload_id: str) -> Upload:
        """Raises KeyError where the tenant has none of this name, or it has expired."""
        upload = self._by_tenant.get(tenant, {})[upload_id]
        if not upload.is_busy and self._now() >= upload.expires_at:
            raise KeyError(upload_id)
        return upload

    async def create(self, tenant: str, upload_id: str, length: int, expected: str = "") -> Upload:
        """Begins an upload of so many bytes; the same again under the same name is the one that was begun. No other tenant's is called so.

        Raises TooLarge, QuotaReached, Refused (too many are open, or the name is taken), OSError; nothing is left behind then.
        """
        self._blobs.check_size(length)
        await self.collect(tenant)
        await self._blobs.used(tenant)
        note = Note(tenant=tenant, length=length, expected=expected)
        mine = self._by_tenant.setdefault(tenant, {})
        if upload_id in mine:
            return _same(mine[upload_id], note)
        if sum(not one.is_done for one in mine.values()) >= OPEN_MAX:
            raise Refused("too_many_uploads", f"{OPEN_MAX} uploads may be open at a time: end one, or give it up")
        self._blobs.count(tenant, length)
        upload = mine[upload_id] = Upload(upload_id, note, touched_at=self._now())
        with self._busy(upload):
            try:
                await run_blocking(_begin, self._path(upload, PART), note, upload.touched_at)
            except BaseException:
                await self._forget(upload)
                raise
        return upload

    async def append(
        self, tenant: str, upload_id: str, offset: int, chunks: AsyncIterable[bytes], *, announced: int = 0
    ) -> Appended:
        """Adds bytes; the last make it a blob. Whatever ends the stream, what has arrived stays, and is on the disk.

        Raises KeyError, WrongOffset, TooLarge (more than announced), Refused (somebody else is at it), WrongDigest (the upload is gone
        then), OSError (a full disk), and what the stream raises.
        """
        upload = self.find(tenant, upload_id)
        with self._busy(upload):
            if offset != upload.offset:
                raise WrongOffset(upload.offset)
            _check_left(upload.note.length - offset - announced)
            if upload.is_done:
                await _write(None, chunks, 0)
                return Appended(offset, upload.note.sha256)
            await self._grow(upload, chunks)
            if upload.offset < upload.note.length:
                return Appended(upload.offset)
            return await self._finish(upload)

    async def discard(self, tenant: str, upload_id: str) -> None:
        """Gives an upload up. Raises KeyError, or Refused where bytes are arriving."""
        upload = self.find(tenant, upload_id)
        with self._busy(upload):
            await self._forget(upload)

    async def collect(self, tenant: str, *, dry_run: bool = False) -> int:
        """Gives up what got no byte for too long, or only says how many those are."""
        now = self._now()
        mine = self._by_tenant.get(tenant, {})
        old = [one for one in mine.values() if not one.is_busy and now >= one.expires_at]
        for upload in old if not dry_run else ():
            with suppress(Refused), self._busy(upload):
                await self._forget(upload)
        return len(old)

    async def _grow(self, upload: Upload, chunks: AsyncIterable[bytes]) -> None:
        came_to = upload.offset
        file = await run_blocking(_open, self._path(upload, PART), came_to)
        try:
            await _write(file, chunks, upload.note.length - upload.offset)
        finally:
            with trio.CancelScope(shield=True):
                upload.touched_at = self._now()
                upload.offset = await run_blocking(_settle, file, came_to, upload.touched_at)

    async def _finish(self, upload: Upload) -> Appended:
        """Reads what has arrived against what was expected, and makes it the tenant's blob."""
        note, path = upload.note, self._path(upload, PART)
        found = await run_blocking(digest_of_file, path)
        if note.expected not in ("", found):
            await self._forget(upload)
            raise WrongDigest(f"the content has the digest {found}")
        whole = msgspec.structs.replace(note, sha256=found)
        with trio.CancelScope(shield=True):
            new = await run_blocking(_publish, self._blobs, path, whole)
            if not new:
                self._blobs.forget_used(note.tenant, note.length)
            upload.note, upload.is_done = whole, True
            await self._forget_oldest(note.tenant)
        return Appended(upload.offset, found, new)

    async def _forget_oldest(self, tenant: str) -> None:
        done = [one for one in self._by_tenant[tenant].values() if one.is_done]
        for upload in sorted(done, key=lambda one: one.touched_at)[:-DONE_MAX]:
            await self._forget(upload)

    async def _forget(self, upload: Upload) -> None:
        """Deletes what there is of it; what was reserved for a blob that did not come is free again."""
        with trio.CancelScope(shield=True):
            if self._by_tenant[upload.note.tenant].pop(upload.id, None) is None:
                return
            await run_blocking(_delete, self._path(upload, PART))
            if not upload.is_done:
                self._blobs.forget_used(upload.note.tenant, upload.note.length)

    @contextmanager
    def _busy(self, upload: Upload) -> Iterator[None]:
        """One at a time: two that write would mix their bytes."""
        if upload.is_busy:
            raise Refused(
                "upload_busy", "another request is at this upload: ask how far it has come when that has ended"
            )
        upload.is_busy = True
        try:
            yield
        finally:
            upload.is_busy = False

    def _path(self, upload: Upload, suffix: str) -> Path:
        return self._folder / f"{upload.id}{suffix}"


def _same(upload: Upload, note: Note) -> Upload:
    if (upload.note.length, upload.note.expected) != (note.length, note.expected):
        raise Refused("key_reused", "an upload of another length or digest was begun under this key", status=422)
    return upload


def _open(part: Path, came_to: int) -> int:
    """The file, of as many bytes as were told of: where the disk failed, more may stand in it."""
    file = os.open(part, os.O_WRONLY | os.O_APPEND)
    os.ftruncate(file, came_to)
    return file


async def _write(file: int | None, chunks: AsyncIterable[bytes], left: int) -> None:
    """Gathers what comes, since each step to the disk costs a thread; what was gathered is written when the stream breaks off, too."""
    gathered = bytearray()
    try:
        async for chunk in chunks:
            left -= len(chunk)
            _check_left(left)
            gathered += chunk
            if len(gathered) >= WRITE_BYTES and file is not None:
                full, gathered = gathered, bytearray()
                await run_blocking(_write_all, file, full)
    finally:
        if gathered and file is not None:
            with trio.CancelScope(shield=True):
                await run_blocking(_write_all, file, gathered)


def _check_left(left: int) -> None:
    if left < 0:
        raise TooLarge(f"these are {-left} bytes more than the upload's length")


def _write_all(file: int, chunk: bytes | bytearray) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(file, rest) :]


def _settle(file: int, came_to: int, at: float) -> int:
    """Puts onto the disk what has arrived, and tells how much that is together; what can't be put there has not arrived."""
    try:
        os.utime(file, (at, at))
        os.fsync(file)
    except OSError:
        os.ftruncate(file, came_to)
        raise
    else:
        return os.fstat(file).st_size
    finally:
        os.close(file)


def _begin(part: Path, note: Note, at: float) -> None:
    part.touch(mode=0o600, exist_ok=False)
    os.utime(part, (at, at))
    _write_note(part, note)


def _write_note(part: Path, note: Note) -> None:
    """The note beside a file: the old one or the new one is there, whatever happens."""
    new = part.with_suffix(NEW_NOTE)
    new.write_bytes(msgspec.json.encode(note))
    new.chmod(0o600)
    sync(new)
    new.rename(part.with_suffix(NOTE))
    sync(part.parent)


def _publish(blobs: Blobs, part: Path, whole: Note) -> bool:
    """The note says what it is before the file is a blob: whoever asks after a crash in between is told so."""
    _write_note(part, whole)
    new = blobs.keep(whole.tenant, whole.sha256, part)
    part.unlink(missing_ok=True)
    return new


def _delete(part: Path) -> None:
    for suffix in (PART, NEW_NOTE, NOTE):
        part.with_suffix(suffix).unlink(missing_ok=True)


def _load(folder: Path, blobs: Blobs) -> list[Upload]:
    """The uploads of a folder; what belongs to none is deleted."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    parts = {path.with_suffix(PART) for path in folder.iterdir()}
    found = []
    for part in sorted(parts):
        upload = _read(part, blobs)
        if upload is None:
            _delete(part)
        else:
            found.append(upload)
    return found


def _read(part: Path, blobs: Blobs) -> Upload | None:
    written = part.with_suffix(NOTE)
    try:
        note = msgspec.json.decode(written.read_bytes(), type=Note)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    if part.is_file():
        sync(part)
        size, touched_at = part.stat().st_size, part.stat().st_mtime
        return Upload(part.stem, note, touched_at=touched_at, offset=size) if size <= note.length else None
    if note.sha256 and blobs.has(note.tenant, note.sha256):
        touched_at = written.stat().st_mtime
        return Upload(part.stem, note, touched_at=touched_at, offset=note.length, is_done=True)
    return None

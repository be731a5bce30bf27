"""Uploads that go on where they were broken off: a file that grows, beside a note of whose it is, how long and what it is to be.

Both are in the folder of the blobs and survive a node that is killed; how far an upload has come is how long its file is. When the
last byte is there the file is read against its digest and becomes a blob. The note stays for a while, so that whoever has not heard
the answer can ask for it. What is to be sealed as a blob is sealed from its first byte on (`runtime/upload_files.py`), and sealed anew,
as one, when it is whole.
"""

from collections.abc import AsyncIterable, Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import msgspec
import trio

from runtime import upload_files
from runtime.blob_files import Erased, WrongDigest, name_of
from runtime.blobs import Blobs, TooLarge
from runtime.claims import mark
from runtime.errors import Refused
from runtime.keyring import Key, Keyring
from runtime.sealed_files import Damaged
from runtime.store.copies import sync
from runtime.threads import run_blocking
from runtime.upload_notes import NOTE, PART, Note, delete, write_note

FOLDER = "uploads"

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

    def __init__(self, blobs: Blobs, now: Callable[[], float], *, keyring: Keyring | None = None) -> None:
        """The keyring is that of the blobs, unless another is named."""
        self._blobs = blobs
        self._now = now
        self._keyring = keyring or blobs.keyring
        self._folder = blobs.folder / FOLDER
        self._by_tenant: dict[str, dict[str, Upload]] = {}

    async def load(self) -> None:
        """Takes up what was begun before this start, and gives up what got no byte for too long."""
        for upload in await run_blocking(self._load):
            self._by_tenant.setdefault(upload.note.tenant, {})[upload.id] = upload
            if not upload.is_done:
                await self._blobs.hold(upload.note.tenant, upload.note.length)
        for tenant in sorted(self._by_tenant):
            await self.collect(tenant)

    def _load(self) -> list[Upload]:
        """The uploads of the folder; what belongs to none is deleted, and so is one whose key is gone."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = []
        for part in sorted({path.with_suffix(PART) for path in self._folder.iterdir()}):
            upload = self._read(part)
            if upload is None:
                delete(part)
            else:
                found.append(upload)
        return found

    def _read(self, part: Path) -> Upload | None:
        written = part.with_suffix(NOTE)
        try:
            note = msgspec.json.decode(written.read_bytes(), type=Note)
            key = self._key(note)
        except (FileNotFoundError, msgspec.DecodeError, Erased):
            return None
        if part.is_file():
            sync(part)
            size, touched_at = upload_files.reach(part, key).content, part.stat().st_mtime
            return Upload(part.stem, note, touched_at=touched_at, offset=size) if size <= note.length else None
        if note.sha256 and self._blobs.has(note.tenant, note.sha256):
            touched_at = written.stat().st_mtime
            return Upload(part.stem, note, touched_at=touched_at, offset=note.length, is_done=True)
        return None

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

    async def create(
        self, tenant: str, upload_id: str, length: int, expected: str = "", *, data_subject: str | None = None
    ) -> Upload:
        """Begins an upload of so many bytes, as data of a subject where one is named; the same again under the same name is the one that
        was begun. No other tenant's is called so.

        Raises TooLarge, QuotaReached, Refused (too many are open, the name is taken, no keyring), OSError; nothing is left behind then.
        """
        self._blobs.check_size(length)
        await self.collect(tenant)
        await self._blobs.used(tenant)
        key = await run_blocking(self._blobs.key_for, tenant, data_subject)
        named = name_of("", key, mark(tenant, data_subject))
        note = Note(tenant=tenant, length=length, expected=expected, subject=named.subject, key=named.key)
        mine = self._by_tenant.setdefault(tenant, {})
        if upload_id in mine:
            return _same(mine[upload_id], note)
        if sum(not one.is_done for one in mine.values()) >= OPEN_MAX:
            raise Refused("too_many_uploads", f"{OPEN_MAX} uploads may be open at a time: end one, or give it up")
        self._blobs.count(tenant, length)
        upload = mine[upload_id] = Upload(upload_id, note, touched_at=self._now())
        with self._busy(upload):
            try:
                await run_blocking(self._begin, self._path(upload, PART), upload, key)
            except BaseException:
                await self._forget(upload)
                raise
        return upload

    async def append(
        self, tenant: str, upload_id: str, offset: int, chunks: AsyncIterable[bytes], *, announced: int = 0
    ) -> Appended:
        """Adds bytes; the last make it a blob. Whatever ends the stream, what has arrived stays, and is on the disk.

        Raises KeyError, WrongOffset, TooLarge (more than announced), Refused (somebody else is at it), WrongDigest or Erased (the upload
        is gone then), OSError (a full disk), and what the stream raises.
        """
        upload = self.find(tenant, upload_id)
        with self._busy(upload):
            if offset != upload.offset:
                raise WrongOffset(upload.offset)
            _check_left(upload.note.length - offset - announced)
            if upload.is_done:
                await _write(None, chunks, 0)
                return Appended(offset, upload.note.sha256)
            try:
                await self._grow(upload, chunks)
                self._check_kept(upload)
                if upload.offset < upload.note.length:
                    return Appended(upload.offset)
                return await self._finish(upload)
            except OSError:
                self._check_kept(upload)
                raise
            except (WrongDigest, Damaged, Erased) as error:
                await self._forget(upload)
                if isinstance(error, Damaged):
                    raise WrongDigest(f"what had arrived was altered on the disk: {error}") from error
                raise

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

    async def erase(self, tenant: str, subject: str) -> int:
        """Gives up a subject's uploads, those too that bytes are arriving for, and forgets which became blobs; how many those were.

        To be called when the subject's keys are gone: none of them becomes a blob then.
        """
        mine = mark(tenant, subject)
        found = [one for one in self._by_tenant.get(tenant, {}).values() if one.note.subject == mine]
        for upload in found:
            await self._forget(upload)
        return len(found)

    def _check_kept(self, upload: Upload) -> None:
        if self._by_tenant[upload.note.tenant].get(upload.id) is not upload:
            raise Erased("the upload was given up: its data subject was erased")

    async def _grow(self, upload: Upload, chunks: AsyncIterable[bytes]) -> None:
        came_to = upload.offset
        part = await run_blocking(self._open, upload, came_to)
        try:
            await _write(part, chunks, upload.note.length - upload.offset)
        finally:
            with trio.CancelScope(shield=True):
                upload.touched_at = self._now()
                upload.offset = await run_blocking(part.settle, upload.touched_at)

    def _begin(self, path: Path, upload: Upload, key: Key | None) -> None:
        upload_files.begin(path, upload.touched_at, key, self._entropy)
        write_note(path, upload.note)

    def _open(self, upload: Upload, came_to: int) -> upload_files.Part:
        return upload_files.open_part(self._path(upload, PART), came_to, self._key(upload.note), self._entropy)

    def _key(self, note: Note) -> Key | None:
        """What the upload is sealed for, or nothing. Raises Erased."""
        if not note.key:
            return None
        key = self._keyring.find(note.name.key_id) if self._keyring is not None else None
        if key is None:
            raise Erased("the upload was given up: its key is gone")
        return key

    def _entropy(self, count: int) -> bytes:
        assert self._keyring is not None
        return self._keyring.entropy(count)

    async def _finish(self, upload: Upload) -> Appended:
        """Reads what has arrived against what was expected, and makes it the tenant's blob."""
        path = self._path(upload, PART)
        whole, file = await run_blocking(self._whole, upload.note, path)
        try:
            if upload.note.expected not in ("", whole.sha256):
                raise WrongDigest(f"the content has the digest {whole.sha256}")
            with trio.CancelScope(shield=True):
                self._check_kept(upload)
                new = await run_blocking(self._publish, path, file, whole)
                upload.note, upload.is_done = whole, True
                if not new:
                    self._blobs.forget_used(whole.tenant, whole.length)
                await self._forget_oldest(whole.tenant)
        finally:
            if file != path:
                file.unlink(missing_ok=True)
        return Appended(upload.offset, whole.sha256, new)

    def _whole(self, note: Note, path: Path) -> tuple[Note, Path]:
        """What it is, and the file that may be kept: the very one that has grown, unless it is to be sealed."""
        key = self._key(note) or self._blobs.key_for(note.tenant, None)
        pieces = upload_files.content(path, self._key(note))
        if key is None:
            return msgspec.structs.replace(note, sha256=_digest(pieces)), path
        file = self._blobs.new_path()
        try:
            found = self._blobs.write_whole(file, key, pieces)
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        return msgspec.structs.replace(note, sha256=found, key=key.id.hex()), file

    def _publish(self, path: Path, file: Path, whole: Note) -> bool:
        """The note says what it is before the file is a blob: whoever asks after a crash in between is told so."""
        write_note(path, whole)
        new = self._blobs.keep(whole.tenant, whole.name, file)
        path.unlink(missing_ok=True)
        return new

    async def _forget_oldest(self, tenant: str) -> None:
        done = [one for one in self._by_tenant[tenant].values() if one.is_done]
        for upload in sorted(done, key=lambda one: one.touched_at)[:-DONE_MAX]:
            await self._forget(upload)

    async def _forget(self, upload: Upload) -> None:
        """Deletes what there is of it; what was reserved for a blob that did not come is free again."""
        with trio.CancelScope(shield=True):
            mine = self._by_tenant[upload.note.tenant]
            kept = mine.pop(upload.id) if mine.get(upload.id) is upload else None
            if upload.id not in mine:
                await run_blocking(delete, self._path(upload, PART))
            if kept is not None and not kept.is_done:
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
    begun = upload.note
    if (begun.length, begun.expected, begun.subject) != (note.length, note.expected, note.subject):
        raise Refused(
            "key_reused", "an upload of another length, digest or subject was begun under this key", status=422
        )
    return upload


async def _write(part: upload_files.Part | None, chunks: AsyncIterable[bytes], left: int) -> None:
    """Gathers what comes, since each step to the disk costs a thread; what was gathered is written when the stream breaks off, too."""
    gathered = bytearray()
    try:
        async for chunk in chunks:
            left -= len(chunk)
            _check_left(left)
            gathered += chunk
            if len(gathered) >= WRITE_BYTES and part is not None:
                full, gathered = gathered, bytearray()
                await run_blocking(part.write, full)
    finally:
        if gathered and part is not None:
            with trio.CancelScope(shield=True):
                await run_blocking(part.write, gathered)


def _check_left(left: int) -> None:
    if left < 0:
        raise TooLarge(f"these are {-left} bytes more than the upload's length")


def _digest(pieces: Iterator[bytes]) -> str:
    found = sha256()
    for piece in pieces:
        found.update(piece)
    return found.hexdigest()

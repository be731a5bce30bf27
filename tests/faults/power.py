"""What a disk may hold after its power went: all that was synced, and of the rest whatever it happened to have written.

`Disk` lies below SQLite and keeps a trace of all that is done to the files of one folder, with the acknowledgements in between.
`Disk.remains` plays the trace up to a moment and says what is left of the files then. The rules of this disk are harsh, but not harsher
than what POSIX allows:

- A write is safe once its file was synced after it. Before that any of its sectors may be there or not, in any order; the shared memory
  of a write-ahead log is gone.
- A file's name is safe once its folder was synced after it. Before that the folder's changes are kept up to one of them.
- A sync that failed is no sync, and what it should have written is not written by a later one either, unless it is written anew: the
  kernel takes its pages for clean.
"""

import os
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NamedTuple
from unittest.mock import patch

from tests.faults.vfs import OK, Touch, below_sqlite

SECTOR_BYTES = 512


class Write(NamedTuple):
    """Bytes at a place of a file; a truncation is one without bytes."""

    offset: int
    content: bytes | None


class Entry(NamedTuple):
    """A line of the trace. `file` is a number that no other file had, whatever its name."""

    kind: str
    file: int = 0
    name: str = ""
    write: Write = Write(0, None)
    key: str = ""


class Disk:
    """The trace of one folder, which is made where there is none. `fails` may name the code with which a touch fails.

    What lies there is safe, unless `safe` says what is: then the rest was written by a process that is gone, and not synced.
    """

    def __init__(self, folder: Path, safe: Mapping[str, bytes] | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.trace: list[Entry] = []
        self._file_by_name: dict[str, int] = {}
        self._files = 0
        self._lock = threading.Lock()
        found = {path.name: path.read_bytes() for path in folder.iterdir() if is_database(path.name)}
        self._start = dict(found if safe is None else safe)
        for name in self._start:
            self._name(name)
        for name, content in found.items():
            self._note_unsynced(name, content)

    def _note_unsynced(self, name: str, content: bytes) -> None:
        if self._start.get(name) == content:
            return
        if name not in self._start:
            self._name(name)
            self.trace.append(Entry("create", self._file_by_name[name], name))
        for write in (Write(len(content), None), Write(0, content)):
            self.trace.append(Entry("write", self._file_by_name[name], name, write))

    def fails(self, touch: Touch) -> int:
        """The code with which this touch fails; OK here."""
        return OK

    @contextmanager
    def watched(self) -> Iterator["Disk"]:
        """Records all that happens within, also the program's own syncs of whole files and folders."""
        real = os.fsync

        def fsync(handle: int) -> None:
            real(handle)
            self._synced(handle)

        with below_sqlite(self.folder, self), patch.object(os, "fsync", fsync):
            yield self

    def acknowledge(self, key: str) -> None:
        """Somebody was told that this is done."""
        with self._lock:
            self.trace.append(Entry("told", key=key))

    # ---- what SQLite does

    def before(self, touch: Touch) -> int:
        code = self.fails(touch)
        if code != OK and touch.kind == "sync":
            with self._lock:
                self.trace.append(Entry("sync failed", self._file_by_name[touch.path.name]))
        return code

    def after(self, touch: Touch) -> None:
        with self._lock:
            self._note(touch)

    def _note(self, touch: Touch) -> None:
        name = touch.path.name
        match touch.kind:
            case "open":
                if touch.is_new:
                    self._name(name)
                    self.trace.append(Entry("create", self._file_by_name[name], name))
            case "write":
                self.trace.append(Entry("write", self._file_by_name[name], name, Write(touch.offset, touch.content)))
            case "truncate":
                self.trace.append(Entry("write", self._file_by_name[name], name, Write(touch.size, None)))
            case "sync":
                self.trace.append(Entry("sync", self._file_by_name[name], name))
            case "delete":
                self.trace.append(Entry("delete", self._file_by_name.pop(name), name))
        if touch.syncs_folder and touch.kind != "open":
            self.trace.append(Entry("sync folder"))

    def _synced(self, handle: int) -> None:
        status = os.fstat(handle)
        name = Path(os.readlink(f"/proc/self/fd/{handle}")).name
        with self._lock:
            if stat.S_ISDIR(status.st_mode) and os.path.samestat(status, self.folder.stat()):
                self.trace.append(Entry("sync folder"))
            elif name in self._file_by_name:
                self.trace.append(Entry("sync", self._file_by_name[name], name))

    def _name(self, name: str) -> None:
        self._files += 1
        self._file_by_name[name] = self._files

    # ---- what is left of it

    def told(self, moment: int) -> set[str]:
        """What was acknowledged before this line of the trace."""
        return {entry.key for entry in self.trace[:moment] if entry.kind == "told"}

    def remains(self, moments: list[int], chance: Random) -> Iterator[tuple[int, dict[str, bytes]]]:
        """For each moment, in order, one of the states that a loss of power before that line of the trace may leave."""
        platter = _Platter(self._start)
        played = 0
        for moment in sorted(moments):
            for entry in self.trace[played:moment]:
                platter.play(entry, chance)
            played = moment
            yield moment, platter.left(chance)

    def cached_and_safe(self, moment: int) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """What everybody sees at a moment, which is also what a killed process leaves; and what of it is surely on the platter."""
        platter = _Platter(self._start)
        for entry in self.trace[:moment]:
            platter.play(entry, Random(0))
        return platter.all(), platter.safe()

    def moments(self, count: int, chance: Random) -> list[int]:
        """All moments just before and after a sync, and as many others, at most `count` together."""
        ends = len(self.trace)
        syncs = {number + by for number, entry in enumerate(self.trace) if "sync" in entry.kind for by in (0, 1)}
        others = set(range(ends + 1)) - syncs
        half = min(len(syncs), count // 2)
        return sorted(
            [*chance.sample(sorted(syncs), half), *chance.sample(sorted(others), min(len(others), count - half))]
        )


@dataclass
class _Image:
    """A file on the platter, and what is on its way there."""

    safe: bytearray = field(default_factory=bytearray)
    pending: list[Write] = field(default_factory=list)


class _Platter:
    """Plays a trace. Names come and go in order, but on the platter only when the folder is synced."""

    def __init__(self, start: dict[str, bytes]) -> None:
        self._names = {name: number for number, name in enumerate(start, 1)}
        self._images = {self._names[name]: _Image(bytearray(content)) for name, content in start.items()}
        self._renames: list[Entry] = []

    def play(self, entry: Entry, chance: Random) -> None:
        match entry.kind:
            case "write":
                self._images[entry.file].pending.append(entry.write)
            case "sync":
                image = self._images[entry.file]
                for write in image.pending:
                    _apply(image.safe, write)
                image.pending.clear()
            case "sync failed":
                image = self._images[entry.file]
                for piece in _some(image.pending, chance):
                    _apply(image.safe, piece)
                image.pending.clear()
            case "create" | "delete":
                self._images.setdefault(entry.file, _Image())
                self._renames.append(entry)
            case "sync folder":
                self._rename(self._names, self._renames)
                self._renames.clear()

    def left(self, chance: Random) -> dict[str, bytes]:
        """The files after a loss of power now."""
        names = dict(self._names)
        self._rename(names, self._renames[: chance.randint(0, len(self._renames))])
        return {name: self._content(self._images[file], chance) for name, file in names.items()}

    def all(self) -> dict[str, bytes]:
        names = dict(self._names)
        self._rename(names, self._renames)
        found = {name: bytearray(self._images[file].safe) for name, file in names.items()}
        for name, file in names.items():
            for write in self._images[file].pending:
                _apply(found[name], write)
        return {name: bytes(content) for name, content in found.items()}

    def safe(self) -> dict[str, bytes]:
        return {name: bytes(self._images[file].safe) for name, file in self._names.items()}

    @staticmethod
    def _rename(names: dict[str, int], renames: list[Entry]) -> None:
        for entry in renames:
            if entry.kind == "create":
                names[entry.name] = entry.file
            else:
                names.pop(entry.name, None)

    @staticmethod
    def _content(image: _Image, chance: Random) -> bytes:
        content = bytearray(image.safe)
        for piece in _some(image.pending, chance):
            _apply(content, piece)
        return bytes(content)


def _some(writes: list[Write], chance: Random) -> list[Write]:
    """What of these writes has reached the platter: nothing, all, all up to a torn one, some, or some sectors of some."""
    match chance.choice(("none", "all", "torn", "some", "sectors")):
        case "none":
            return []
        case "all":
            return writes
        case "torn":
            first = writes[: chance.randint(0, len(writes))]
            return [*first[:-1], *(piece for one in first[-1:] for piece in _sectors(one)[: chance.randint(0, 8)])]
        case "some":
            return [write for write in writes if chance.random() < 0.5]
        case _:
            return [piece for write in writes for piece in _sectors(write) if chance.random() < 0.7]


def _sectors(write: Write) -> list[Write]:
    """The write cut at the borders of the disk's sectors."""
    offset, content = write
    if content is None:
        return [write]
    borders = range(offset // SECTOR_BYTES * SECTOR_BYTES, offset + len(content), SECTOR_BYTES)
    starts = [max(border, offset) for border in borders]
    ends = [*starts[1:], offset + len(content)]
    return [Write(start, content[start - offset : end - offset]) for start, end in zip(starts, ends, strict=True)]


def _apply(image: bytearray, write: Write) -> None:
    offset, content = write
    if content is None:
        del image[offset:]
        return
    if len(image) < offset:
        image.extend(bytes(offset - len(image)))
    image[offset : offset + len(content)] = content


def is_database(name: str) -> bool:
    """A database and what stands beside it; the shared memory of a log is made anew from it."""
    return ".db" in name and not name.endswith("-shm")

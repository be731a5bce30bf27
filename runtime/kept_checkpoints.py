"""Checkpoints that are kept outside the database, so that a journal which was set back or rewritten is noticed.

One file for each, `SIZE.checkpoint`, and the newest also as `latest`; written whole and synced. At most FILES_MAX stay: the first, the
newest, and of the others those that are missed most, so that the gaps grow with age.
"""

from collections.abc import Sequence
from pathlib import Path

from runtime.evidence import Unreadable
from runtime.proofs import NotProven, verify_consistency
from runtime.proving import linked
from runtime.store.copies import write_whole
from runtime.store.store import Store
from runtime.transparency import NOTE_CHARACTERS_MAX, Checkpoint, NotANote, NotSigned, read_note

FILES_MAX = 256
SUFFIX = ".checkpoint"
LATEST = "latest"


class Outside:
    """The checkpoints in a folder. Its methods block."""

    def __init__(self, folder: Path, *, files_max: int = FILES_MAX) -> None:
        self.folder = folder
        self.files_max = files_max

    def sizes(self) -> list[int]:
        """Of how many records there are checkpoints, in order."""
        return sorted(int(path.stem) for path in self.folder.glob(f"*{SUFFIX}") if path.stem.isdigit())

    def path(self, size: int) -> Path:
        """Where the checkpoint of a size is."""
        return self.folder / f"{size:016}{SUFFIX}"

    def keep(self, note: str) -> None:
        """Writes a checkpoint, or one that was cosigned in the place of the one that was not. Raises OSError."""
        size = read_note(note)[0].size
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(self.path(size), note)
        sizes = self.sizes()
        if size == sizes[-1]:
            write_whole(self.folder / LATEST, note)
        while len(sizes) > self.files_max:
            self.path(sizes.pop(_least_missed(sizes))).unlink(missing_ok=True)

    def newest(self) -> str | None:
        """The checkpoint of most records. Raises Unreadable, also where the file of a larger one holds a smaller one."""
        sizes = self.sizes()
        if not sizes:
            return None
        path = self.path(sizes[-1])
        note = read_kept(path)
        try:
            size = read_note(note)[0].size
        except NotANote:
            return note  # whoever asked says what is wrong with it
        if size != sizes[-1]:
            raise Unreadable(
                f"{path} holds the checkpoint of {size} records: it was put there in the place of another one"
            )
        return note

    def witnessed(self, least: int) -> str | None:
        """The newest checkpoint of so many records or more that somebody besides the log has signed, unchecked. Raises Unreadable."""
        for size in reversed(self.sizes()):
            if size < least:
                break
            note = read_kept(self.path(size))
            if note.rpartition("\n\n")[2].count("\n") > 1:
                return note
        return None


def read_kept(path: Path) -> str:
    """The text of a checkpoint's file. Raises Unreadable."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return file.read(NOTE_CHARACTERS_MAX + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(f"{path} can't be read: {error}") from error


def notes_in(place: Path) -> list[str]:
    """The checkpoints in a folder, or in one file. Raises Unreadable."""
    if not place.is_dir():
        return [read_kept(place)]
    found = {read_kept(path): None for path in sorted(place.glob(f"*{SUFFIX}"))}
    if not found:
        raise Unreadable(f"{place} holds no checkpoints")
    return list(found)


def check_outside(store: Store, outside: Outside) -> None:
    """Raises Unreadable where the journal does not hold the newest checkpoint that was kept outside.

    A node over such a journal would give positions out a second time: what it signs then contradicts what others have seen.
    """
    note = outside.newest()
    if note is None:
        return
    path = outside.path(outside.sizes()[-1])
    try:
        checkpoint = _signed(store, note)
        _check_held(store, checkpoint)
    except (NotANote, NotSigned, NotProven) as error:
        raise Unreadable(
            f"{store.place} does not hold the checkpoint {path}: {error}. If the journal was set back on purpose, as by a backup, move "
            f"the files of {outside.folder} elsewhere: whoever kept a later checkpoint will see that it was"
        ) from error


def _signed(store: Store, note: str) -> Checkpoint:
    checkpoint, text, signatures = read_note(note)
    if checkpoint.origin != store.origin:
        raise NotProven(f"it is of the journal {checkpoint.origin}, and this is {store.origin}")
    if checkpoint.size > store.position:
        raise NotProven(f"it covers {checkpoint.size} records, and the journal holds {store.position}")
    store.signing_keys.at(checkpoint.size).check(text, signatures, checkpoint.origin)
    return checkpoint


def _check_held(store: Store, checkpoint: Checkpoint) -> None:
    path, roots = linked(store, checkpoint.size, store.position)
    newest = store.checkpoint()
    if newest is None or read_note(newest)[0].root != roots[1]:
        raise NotProven("the journal's nodes are not those that it has signed")
    verify_consistency(checkpoint.size, checkpoint.root, store.position, roots[1], path)


def _least_missed(sizes: Sequence[int]) -> int:
    """Neither the first nor the newest: the one without which the gap is smallest for its age."""
    newest = sizes[-1]

    def gap(at: int) -> float:
        return (sizes[at + 1] - sizes[at - 1]) / (newest - sizes[at - 1])

    return min(range(1, len(sizes) - 1), key=gap)

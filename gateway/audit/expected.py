"""Differences that somebody has looked at: a file that lists which old decisions newer rules make otherwise, and why that is meant.

Each entry names a difference by stream, position and digest, with the reviewer's note. TOML (`[[expected]]` tables) or JSON
(`{"expected": […]}`); what a draft says beside those (`command`, `changes`) helps the reviewer and is not judged.
"""

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gateway.verdicts import Wrong
from runtime.replay import Difference

FILE_BYTES_MAX = 64 * 2**20
CHANGES_TOLD_MAX = 20
"""How many changed fields an entry names; its digest stands for all of them."""

DRAFT = """# Decisions that newer rules make otherwise. Look at each, and say in its note why that is meant:
# an entry without a note does not pass, and neither does one that no longer fits.
"""


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """A difference that was reviewed."""

    stream: str
    position: int
    digest: str
    note: str = ""
    command: str = ""
    changes: list[str] = []


class Reviewed(msgspec.Struct, kw_only=True):
    """What a review leaves open: differences that it does not list, entries that fit none any more, and entries without a note."""

    unlisted: list[str] = []
    stale: list[str] = []
    unnoted: list[str] = []

    @property
    def passes(self) -> bool:
        return not (self.unlisted or self.stale or self.unnoted)


class _File(msgspec.Struct, frozen=True):
    expected: list[Expected] = []


def read_expected(path: Path) -> list[Expected]:
    """The entries of a file. Raises Wrong, saying what is wrong with it."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise Wrong(f"{path} is larger than {FILE_BYTES_MAX} bytes")
        raw = path.read_bytes()
        plain: Any = msgspec.json.decode(raw) if path.suffix == ".json" else tomllib.loads(raw.decode())
        return msgspec.convert(plain, _File).expected
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.MsgspecError) as error:
        raise Wrong(f"{path} is no list of expected differences: {error}") from error


def entry_of(found: Difference) -> Expected:
    """The entry that a difference would have, without a note."""
    changes = [str(change) for change in found.changes[:CHANGES_TOLD_MAX]] or [_refused(found)]
    return Expected(
        stream=found.stream,
        position=found.position,
        digest=found.digest,
        command=found.command,
        changes=changes,
    )


def review(found: Sequence[Expected], expected: Iterable[Expected], covers: "Covers") -> Reviewed:
    """Holds what was found against what is expected; entries of commands that were not looked at are nobody's fault."""
    digest_by_place = {(one.stream, one.position): one.digest for one in found}
    listed: set[tuple[str, int]] = set()
    reviewed = Reviewed()
    for entry in expected:
        place = (entry.stream, entry.position)
        if not covers(*place):
            continue
        if digest_by_place.get(place) != entry.digest or place in listed:
            reviewed.stale.append(_named(*place))
            continue
        listed.add(place)
        if not entry.note.strip():
            reviewed.unnoted.append(_named(*place))
    reviewed.unlisted = [_named(*place) for place in digest_by_place if place not in listed]
    return reviewed


class Covers(msgspec.Struct, frozen=True):
    """The commands that were looked at."""

    first: int
    last: int
    stream: str = ""

    def __call__(self, stream: str, position: int) -> bool:
        return self.first <= position <= self.last and self.stream in ("", stream)


def write_draft(path: Path, found: Sequence[Expected], known: Iterable[Expected] = ()) -> None:
    """Writes what was found for a reviewer, with the notes of entries that still fit. Raises Wrong."""
    note_by_digest = {entry.digest: entry.note for entry in known}
    entries = [msgspec.structs.replace(one, note=note_by_digest.get(one.digest, "")) for one in found]
    if path.suffix == ".json":
        text = msgspec.json.format(msgspec.json.encode({"expected": entries})).decode() + "\n"
    else:
        text = "\n".join([DRAFT, *(_table(entry) for entry in entries)])
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Wrong(f"{path} can't be written: {error}") from error


def _table(entry: Expected) -> str:
    changes = "".join(f"\n    {_toml(change)}," for change in entry.changes)
    return (
        f"[[expected]]\nstream = {_toml(entry.stream)}\nposition = {entry.position}\n"
        f"command = {_toml(entry.command)}\nchanges = [{changes}\n]\n"
        f"digest = {_toml(entry.digest)}\nnote = {_toml(entry.note)}\n"
    )


def _named(stream: str, position: int) -> str:
    return f"{stream} at {position}"


def _refused(one: Difference) -> str:
    return f"now refused: {one.refusal['code']}" if one.refusal is not None else "other events"


def _toml(text: str) -> str:
    """A string as TOML has it: JSON's are TOML's, but for the one control character that JSON leaves as it is."""
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")

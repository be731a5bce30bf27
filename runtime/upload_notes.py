"""The notes beside uploads: whose each is, how long and what it is to be."""

from pathlib import Path

import msgspec

from runtime.claims import Name
from runtime.store.copies import sync

PART, NOTE, NEW_NOTE = ".part", ".json", ".new"


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept beside the bytes. `expected` is empty where nothing was; `sha256` is what was found when all were there.

    `subject` is the mark of the data subject whose data it is, and `key` names the key that it is sealed for; empty where there is none.
    """

    tenant: str
    length: int
    expected: str
    sha256: str = ""
    subject: str = ""
    key: str = ""

    @property
    def name(self) -> Name:
        """What the claim to it is called when it is a blob."""
        return Name(self.sha256, self.key, self.subject)


def write_note(part: Path, note: Note) -> None:
    """The note beside a file: the old one or the new one is there, whatever happens."""
    new = part.with_suffix(NEW_NOTE)
    new.write_bytes(msgspec.json.encode(note))
    new.chmod(0o600)
    sync(new)
    new.rename(part.with_suffix(NOTE))
    sync(part.parent)


def delete(part: Path) -> None:
    for suffix in (PART, NEW_NOTE, NOTE):
        part.with_suffix(suffix).unlink(missing_ok=True)

"""The list of erasures beside the keys: which were destroyed, for whoever restores an older copy of them.

A backup from before an erasure has neither the record that tells of it nor a file of keys without that person's. So each erasure is
written to a list, too, before its keys are destroyed; `gavel restore --erasures` destroys them in what it restores.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from gateway.verdicts import Wrong


class ErasureLine(msgspec.Struct, frozen=True):
    """One erasure: in which journal, at which position, whose, and the names of the keys."""

    origin: str
    position: int
    tenant: str
    data_subject: str
    keys: tuple[str, ...]


def read_lines(path: Path) -> list[ErasureLine]:
    """What a list tells, nothing where there is none. Raises OSError, and msgspec.MsgspecError where it is no such list."""
    if not path.exists():
        return []
    return [msgspec.json.decode(line, type=ErasureLine) for line in path.read_bytes().splitlines() if line.strip()]


def note_erasures(path: Path, lines: Iterable[ErasureLine]) -> None:
    """Adds to the list, and returns when that is on disk. Blocks. What is noted twice does no harm."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as file:
        file.writelines(msgspec.json.encode(line) + b"\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())


def read_erasures(path: Path) -> list[ErasureLine]:
    """What a list of erasures tells. Raises Wrong where it is no such list."""
    if not path.is_file():
        raise Wrong(f"there is no list of erasures {path}")
    try:
        lines = read_lines(path)
        destroyed_by(lines)
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        raise Wrong(f"{path} is no list of erasures: {error}") from error
    return lines


def destroyed_by(lines: Iterable[ErasureLine]) -> list[bytes]:
    """The names of the keys that were destroyed. Raises ValueError where one is none."""
    return [bytes.fromhex(key) for line in lines for key in line.keys]

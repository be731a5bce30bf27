"""Whole copies of SQLite databases that are in use."""

import os
import secrets
import sqlite3
from pathlib import Path


def copy_database(source: Path, target: Path) -> None:
    """Copies a live SQLite database into a new file, which is complete and on disk when it appears. Raises FileExistsError."""
    if target.exists():
        raise FileExistsError(f"{target} exists")
    partial = target.with_name(target.name + ".partial")
    origin = sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)
    copy = sqlite3.connect(partial)
    try:
        origin.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
    finally:
        copy.close()
        origin.close()
    partial.rename(target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Makes what was written to a file, or the names that were made or changed in a folder, survive a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, text: str) -> None:
    """Writes a file so that after a crash there is the old one or the new one, whole and on disk."""
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync(path.parent)

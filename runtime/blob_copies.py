"""Whole copies of a folder of blobs: each file as it stands, and read against its name where that can be done.

What is sealed stays sealed: it is opened here only to be checked. Where its key is not at hand, that is said.
"""

import os
import shutil
from hashlib import file_digest, sha256
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from runtime.claims import FOLDER, Name, every_claim
from runtime.keyring import Keyring
from runtime.sealed_files import MAGIC, Damaged, content_bytes, open_sealed
from runtime.store.copies import sync

COPY_BYTES = 1 << 20


class CopiedBlobs(NamedTuple):
    """How many files were copied, how many bytes they have, which were altered, and which can't be checked: their key is not at hand."""

    files: int
    bytes: int
    altered: list[str]
    unchecked: list[str]


def copy_blobs(source: Path, target: Path, keyring: Keyring | None = None) -> CopiedBlobs:
    """Copies all blobs and whose they are into a new folder, reading each against its name.

    The source may be in use: what comes later is not in the copy, which is complete when it appears. Raises FileExistsError, OSError.
    """
    if target.exists():
        raise FileExistsError(f"{target} exists")
    partial = target.with_name(f"{target.name}.{uuid4().hex[:8]}.partial")
    try:
        found = _copy_all(source, partial, keyring)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    sync(target.parent)
    return found


def _copy_all(source: Path, target: Path, keyring: Keyring | None) -> CopiedBlobs:
    target.mkdir(mode=0o700, parents=True)
    count = size = 0
    altered, unchecked = [], []
    for claim, name in every_claim(source):
        path = source / name.digest[:2] / name.file
        copy = target / name.digest[:2] / name.file
        if not copy.is_file():
            copy.parent.mkdir(mode=0o700, exist_ok=True)
            try:
                found = _copy(path, copy)
            except FileNotFoundError:
                continue  # dropped or erased at this moment
            count, size = count + 1, size + copy.stat().st_size
            is_right = _is_right(name, copy, keyring) if name.key else found == name.digest
            if is_right is None:
                unchecked.append(name.file)
            elif not is_right:
                altered.append(name.file)
        copied = target / FOLDER / claim
        copied.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        copied.touch(mode=0o600)
    return CopiedBlobs(count, size, altered, unchecked)


def _is_right(name: Name, path: Path, keyring: Keyring | None) -> bool | None:
    """Whether a sealed file holds what its name promises; None where only its key could tell."""
    key = keyring.find(name.key_id) if keyring is not None else None
    try:
        if key is None:
            return None if _has_form(name, path) else False
        with open_sealed(path, key) as file:
            return file_digest(file, "sha256").hexdigest() == name.digest
    except Damaged:
        return False


def _has_form(name: Name, path: Path) -> bool:
    """Whether it has the length and the head of a file that was sealed for this key. Raises Damaged."""
    content_bytes(path.stat().st_size)
    with path.open("rb") as file:
        return file.read(len(MAGIC) + len(name.key_id)) == MAGIC + name.key_id


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

"""Whose blobs are: for each tenant a folder of empty files, each of which names a blob's file.

A claim to what stands in the clear is called as the blob is. One to what is sealed names the key as well, and the data subject whose data
it is, by a digest: it is found again when the key is gone, and tells nobody who that was.
"""

import os
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from runtime.store.copies import sync

FOLDER = "owners"
OWNER_CHARACTERS = 32
NAME = re.compile(r"([0-9a-f]{64})(?:\.([0-9a-f]{32})(?:\.([0-9a-f]{32}))?)?")


class Name(NamedTuple):
    """What a claim is called: a blob, the key that its file was sealed for, and the mark of a data subject; empty where there is none."""

    digest: str
    key: str = ""
    subject: str = ""

    @classmethod
    def parse(cls, text: str) -> "Name":
        """Raises ValueError."""
        found = NAME.fullmatch(text)
        if found is None:
            raise ValueError(f"{text} is no claim")
        return cls(*found.groups(""))

    @property
    def key_id(self) -> bytes:
        return bytes.fromhex(self.key)

    @property
    def file(self) -> str:
        """What the blob's file is called; each key's is another."""
        return f"{self.digest}.{self.key}" if self.key else self.digest

    def __str__(self) -> str:
        return f"{self.file}.{self.subject}" if self.subject else self.file


def mark(tenant: str, subject: str | None) -> str:
    """A data subject as claims name it; nobody is the empty text."""
    return "" if subject is None else _short(f"{tenant}\0{subject}")


def _short(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:OWNER_CHARACTERS]


class Claims:
    """The claims of all tenants. Everything blocks, and wants one thread at a time."""

    def __init__(self, blobs: Path) -> None:
        self._folder = blobs / FOLDER

    def owner(self, tenant: str) -> Path:
        """The folder of a tenant's claims; a tenant may be called anything."""
        return self._folder / _short(tenant)

    def path(self, tenant: str, name: Name) -> Path:
        return _path(self.owner(tenant), name)

    def of(self, tenant: str) -> list[tuple[Name, Path]]:
        """All claims of a tenant, by their names."""
        return sorted(_in(self.owner(tenant)))

    def to(self, tenant: str, digest: str) -> list[Name]:
        """A tenant's claims to one blob; those to what stands in the clear first."""
        owner = self.owner(tenant)
        found = [Name(digest)] if owner.joinpath(digest).is_file() else []
        return found + sorted(name for name, _ in _named(owner / digest[:2]) if name.digest == digest)

    def add(self, tenant: str, name: Name) -> bool:
        """Whether the tenant has it only since. Durable when it returns."""
        claim = self.path(tenant, name)
        new = not claim.is_file()
        claim.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        claim.touch(mode=0o600)
        sync(claim.parent)
        if name.key:
            sync(claim.parent.parent)
        return new

    def touch(self, tenant: str, name: Name) -> None:
        os.utime(self.path(tenant, name))

    def remove(self, tenant: str, *names: Name) -> None:
        """Durable when it returns."""
        claims = [self.path(tenant, name) for name in names]
        for claim in claims:
            claim.unlink(missing_ok=True)
        for folder in sorted({claim.parent for claim in claims}):
            sync(folder)

    def has_anybody(self, name: Name) -> bool:
        """Whether any tenant has this very claim: one with a subject is one tenant's alone."""
        return any(_path(owner, name).is_file() for owner in self._folder.iterdir())

    def files(self) -> set[str]:
        """The files that anybody has."""
        return {name.file for _, name in every_claim(self._folder.parent)}


def every_claim(blobs: Path) -> Iterator[tuple[Path, Name]]:
    """The claims in a folder of blobs, each with where it is beneath that of all claims."""
    folder = blobs / FOLDER
    for owner in sorted(folder.glob("*")):
        for name, path in sorted(_in(owner)):
            yield path.relative_to(folder), name


def _path(owner: Path, name: Name) -> Path:
    """Sealed ones stand apart: all of one blob are found without looking through all of a tenant."""
    return owner / name.digest[:2] / str(name) if name.key else owner / str(name)


def _in(owner: Path) -> Iterator[tuple[Name, Path]]:
    yield from _named(owner)
    for part in owner.glob("[0-9a-f][0-9a-f]"):
        yield from _named(part)


def _named(folder: Path) -> Iterator[tuple[Name, Path]]:
    """What is called otherwise is nothing of ours."""
    try:
        paths = list(folder.iterdir())
    except FileNotFoundError:
        return
    for path in paths:
        if found := NAME.fullmatch(path.name):
            yield Name(*found.groups("")), path

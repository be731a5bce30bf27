"""Keyrings of tests, and how a data subject is erased: its keys first, then its blobs."""

from pathlib import Path

from runtime.blobs import Blobs
from runtime.keyring import Keyring
from runtime.master import MasterKey


def keyring_in(folder: Path) -> Keyring:
    folder.mkdir(parents=True, exist_ok=True)
    return Keyring(folder / "keys.db", MasterKey("01" * 32, "a test"))


def forget_key(keyring: Keyring, tenant: str, subject: str) -> None:
    keyring.destroy(keyring.retire((tenant, subject)))


def erase(blobs: Blobs, tenant: str, subject: str) -> int:
    assert blobs.keyring is not None
    forget_key(blobs.keyring, tenant, subject)
    return blobs.erase(tenant, subject)


def standing_in(folder: Path, planted: bytes) -> list[str]:
    """The files in which it can be read."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(folder)) for path in files if planted in path.read_bytes())

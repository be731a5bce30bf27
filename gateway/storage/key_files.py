"""The files of the keys that sign a journal, while a rotation is under way and after: see `gateway/upkeep/rotations.py`."""

import os

import structlog

from gateway.storage.folder import DataFolder
from runtime.store.copies import sync
from runtime.store.store import Store
from runtime.transparency import PublicKey, Signer

log = structlog.get_logger("gateway.storage.key_files")


def next_key(folder: DataFolder) -> Signer | None:
    """The key that a rotation has made and perhaps recorded."""
    return Signer.load(folder.journal_key_next) if folder.journal_key_next.exists() else None


def finished(store: Store, folder: DataFolder) -> Store:
    """Puts the file of the key that the journal needs in its place, where a rotation was cut short. Blocks."""
    successor = next_key(folder)
    if successor is not None and successor.public_key == store.signer.public_key:
        if Signer.load(folder.journal_key).public_key != successor.public_key:
            log.info("rotation_finished", origin=store.origin, key=successor.public_key)
        put_in_place(folder)
    return store


def put_in_place(folder: DataFolder) -> None:
    """Keeps the old key aside and puts the next one in its place; where it was cut short, it can be done again."""
    old = Signer.load(folder.journal_key)
    retired = folder.retired_key(PublicKey(old.public_key).short)
    if old.public_key != Signer.load(folder.journal_key_next).public_key and not retired.exists():
        os.link(folder.journal_key, retired)
        sync(folder.path)
    folder.journal_key_next.replace(folder.journal_key)
    sync(folder.path)

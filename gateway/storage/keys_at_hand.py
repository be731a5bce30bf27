"""Whether the keys of personal data that a node starts with are those that its journal stands under.

A file of keys that is lost, older, or another journal's opens without a fault, and all that it has no keys for reads as blank, as if
everybody had been erased; what comes then stands under new keys, so that the right file can't simply be put back later. So a node does
not start: unless somebody has said that it shall go on without them.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
import structlog

from aggregates import subject
from aggregates.subject import SubjectErased
from gateway.storage.folder import DataFolder
from gateway.upkeep.erasure_list import read_lines
from runtime.archives import ArchiveMissing, stub_of
from runtime.codec import SHUT
from runtime.evidence import Unreadable
from runtime.keyring import DISPOSABLE, ID_BYTES, Keyring
from runtime.store.store import Store

log = structlog.get_logger("gateway.storage.keys_at_hand")

PAGE = 1000
NEWEST_RECORDS = 20_000
"""How many records a start looks at, where it has looked at those before once: what an older file of keys lacks is what came last."""

MARK = b"\xa6sealed"
"""How msgpack writes the name of a sealed part: a body without these bytes has none."""


class _Sealed(msgspec.Struct):
    sealed: bytes = b""


_sealed = msgspec.msgpack.Decoder(_Sealed)


def check_keys(store: Store, folder: DataFolder) -> None:
    """Raises Unreadable where the journal stands under keys that are not there, and were never erased. Keys that came back although the
    list of erasures names them are destroyed again."""
    keyring = store.keyring
    assert keyring is not None, "a node's journals have keys"
    if (owner := keyring.bind(store.origin)) != store.origin:
        raise Unreadable(f"{folder.keyring} holds the keys of the journal {owner}, and this is {store.origin}")
    listed = _listed(folder)
    if back := sorted(keyring.all_ids() & listed):
        keyring.destroy(back)
        keyring.dispose(DISPOSABLE)
        log.warning("erased_keys_came_back", keys=len(back))
    missing = _missing(store, keyring)
    if missing:
        erased = listed | _recorded(store)
        _check_left({key: at for key, at in missing.items() if key not in erased}, store, folder)
    if keyring.checked() != store.position:
        keyring.note_checked(store.position)
    folder.keys_left.unlink(missing_ok=True)


def _check_left(missing: dict[bytes, int], store: Store, folder: DataFolder) -> None:
    """Raises Unreadable unless somebody has said that the node shall go on without these keys."""
    if not missing:
        return
    if not folder.keys_left.exists():
        raise Unreadable(
            f"{folder.keyring} does not hold {len(missing)} keys that records of {store.place} stand under (the first is record"
            f" {min(missing.values())}), and they were not erased: it was lost, or is an older one. Put the right one there. To go on"
            f" without these keys, make a file {folder.keys_left}: what stands under them can't be read then"
        )
    log.warning("keys_left_behind", keys=len(missing), first_position=min(missing.values()))


def _missing(store: Store, keyring: Keyring) -> dict[bytes, int]:
    """The names of keys that are not there, each with the first position where it is needed."""
    checked, missing = keyring.checked(), dict[bytes, int]()
    first = 0 if checked is None else max(checked, store.position - NEWEST_RECORDS)
    held = keyring.all_ids()
    for position, body in _bodies(store, first):
        key = _key_of(body)
        if key and key not in held:
            missing.setdefault(key, position)
    return missing


def _bodies(store: Store, after: int) -> Iterator[tuple[int, bytes]]:
    """Positions and bodies, those that are archived from the archives that are at hand."""
    page = f"SELECT {store.POSITION}, state FROM stored_events WHERE {store.POSITION}>? ORDER BY {store.POSITION} LIMIT {PAGE}"
    while rows := store.query_stubs(page, (after,)):
        for position, state in rows:
            if (body := _body(store, state)) is not None:
                yield position, body
        after = rows[-1][0]


def _body(store: Store, state: Any) -> bytes | None:
    body = bytes(state)
    place = stub_of(body)
    if place is None:
        return body
    try:
        return store.archives.body(place.archive, place.position)
    except ArchiveMissing:
        return None  # whoever needs it is told


def _key_of(body: bytes) -> bytes:
    """The name of the key that a body, or what is personal in it, stands under; empty where it stands in the clear, or is damaged."""
    if body[:1] == b"%c" % SHUT:
        return body[1 : 1 + ID_BYTES]
    if MARK not in body:
        return b""
    try:
        return _sealed.decode(body).sealed[:ID_BYTES]
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return b""


def _recorded(store: Store) -> set[bytes]:
    """The names of all keys that were erased, as the journal tells; none where that itself can't be read."""
    try:
        records = store.read_streams(subject.stream("", "").removesuffix(":"))
    except Unreadable:
        return set()
    erased = [record.event for record in records if isinstance(record.event, SubjectErased)]
    return {bytes.fromhex(key) for event in erased for key in event.keys}


def _listed(folder: DataFolder) -> set[bytes]:
    """The same, as the list beside it tells."""
    try:
        return {bytes.fromhex(key) for line in read_lines(folder.erasures) for key in line.keys}
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise Unreadable(f"{folder.erasures} is no list of erasures: {error}") from error

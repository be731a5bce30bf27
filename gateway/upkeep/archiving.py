"""Archives closed streams of a journal that no node has open.

A running node would hold states of such streams, and decide on them; to tell all of its parts what has moved would cost each command.
"""

import os
import time
from collections.abc import Sequence

import msgspec
from eventsourcing.persistence import PersistenceError

from aggregates import archive
from aggregates.archive import ArchiveStreams
from gateway.api.queries import as_of
from gateway.parts import TENANT
from gateway.settings import GavelSettings
from gateway.storage.folder import DataFolder
from gateway.storage.journals import NotInstalled, open_store
from gateway.verdicts import Wrong
from runtime.archiving import RECORDS_MAX, Made, chunks, closed_streams, make_archive, move
from runtime.clock import SystemClock
from runtime.errors import Refused
from runtime.evidence import Unreadable
from runtime.folding import Folder
from runtime.ids import Ids
from runtime.records import Meta
from runtime.store.contract import Batch, Draft, Locked, NotDurable
from runtime.store.store import Store

PRINCIPAL = "operator"
"""Whoever can open the journal's files: he has its key."""


class Archive(msgspec.Struct, frozen=True, kw_only=True):
    """An archive that was made."""

    name: str
    streams: int
    records: int
    first: int
    last: int
    position: int
    """Where the log tells of it."""


def archive_streams(settings: GavelSettings, before: str, records_max: int = RECORDS_MAX) -> Sequence[Archive]:
    """Moves all streams that are closed, and of which nothing was recorded since, into archives. Raises Wrong."""
    folder = DataFolder(settings.data)
    moment = _time(before)
    if not settings.journal and not folder.journal.is_file():
        raise Wrong(f"there is no journal at {folder.journal}")
    try:
        store = open_store(settings, folder, os.urandom)
    except Locked as error:
        raise Wrong(f"stop the node first: {error}") from error
    except (Unreadable, NotInstalled, NotDurable) as error:
        raise Wrong(str(error)) from error
    try:
        return archive_all(store, moment, records_max)
    except (Unreadable, Refused, PersistenceError, OSError) as error:
        raise Wrong(f"nothing more was archived: {error}") from error
    finally:
        store.close()
        if store.keyring is not None:
            store.keyring.close()


def _time(text: str) -> float:
    wanted = "--before is a time that has passed, with its zone: 2026-01-31T12:00:00Z"
    try:
        moment = as_of(text)
    except Refused as error:
        raise Wrong(wanted) from error
    if moment.time is None or moment.time > time.time():
        raise Wrong(wanted)
    return moment.time


def archive_all(store: Store, before: float, records_max: int = RECORDS_MAX) -> Sequence[Archive]:
    """The same for a store that this process has opened, and nobody uses."""
    folder = Folder(store, time.monotonic)
    upto = store.position_at(before)
    made = []
    for streams in chunks(closed_streams(store, folder, upto), records_max):
        number = len(store.archives.archived) + 1
        one = make_archive(store, store.archives.folder, number, streams)
        batch = _batch(store, folder, one, number, before)
        move(store, one, number, batch)
        made.append(
            Archive(
                name=one.name,
                streams=len(one.streams),
                records=one.records,
                first=one.first,
                last=one.last,
                position=store.position,
            )
        )
    if made:
        store.shrink()
    return made


def _batch(store: Store, folder: Folder, made: Made, number: int, before: float) -> Batch:
    """The record of an archive, decided like any other."""
    clock = SystemClock()
    at = max(clock.now(), store.newest_at())
    held = folder.fold(archive.stream()).held
    command = ArchiveStreams(
        at=at,
        tenant=TENANT,
        number=number,
        name=made.name,
        sha256=made.sha256,
        before=before,
        streams=len(made.streams),
        records=made.records,
        first=made.first,
        last=made.last,
        stubs=made.digest,
    )
    (event,) = archive.decide(held.state, command)
    name = Ids(clock).new(at)
    meta = Meta(
        id=name,
        cause="",
        correlation=name,
        tenant=TENANT,
        principal=PRINCIPAL,
        at=at,
        command=store.codec.command_record(command),
    )
    draft = Draft(
        store.position + 1, archive.stream(), held.version + 1, store.codec.kind(event), meta, store.codec.pack(event)
    )
    return Batch([draft], [], [], at)

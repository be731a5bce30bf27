"""How fast states are rebuilt from their events, against the eventsourcing library's `Repository.get`."""

import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from eventsourcing.application import Application

from benchmarks.account import Deposit, Deposited, stream
from benchmarks.journal import Purse
from benchmarks.measure import Measured, Row
from runtime.clock import SystemClock
from runtime.codec import Codec
from runtime.folding import Folder
from runtime.records import Meta
from runtime.store.contract import Batch, Draft
from runtime.store.sqlite import SqliteStore
from runtime.transparency import Signer


def fold(rounds: int = 7, streams: int = 40, events: int = 500, place: Path | None = None) -> Measured:
    """Events per second of CPU of rebuilding so many streams of so many events, on SQLite both, nothing cached, no copies of states."""
    names = [str(uuid.uuid4()) for _ in range(streams)]
    with (
        tempfile.TemporaryDirectory(dir=place) as folder,
        closing(_journal(Path(folder), names, events)) as store,
        closing(
            Application[Any](
                env={"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": f"{folder}/library.db"}
            )
        ) as library,
    ):
        purses = [Purse(name) for name in names]
        for purse in purses:
            for _ in range(events - 1):
                purse.deposit(purse.owner, 1)
            library.save(purse)
        folder_of = Folder(store, SystemClock().now)

        def ours() -> None:
            assert all(folder_of.fold(stream(name)).held.version == events for name in names)

        def theirs() -> None:
            assert all(library.repository.get(purse.id).version == events for purse in purses)

        pairs = [(_rate(ours, streams * events), _rate(theirs, streams * events)) for _ in range(rounds)]
    return Measured(ours=[pair[0] for pair in pairs], theirs=[pair[1] for pair in pairs])


def _journal(folder: Path, names: list[str], events: int) -> SqliteStore:
    """Each event with its meta and the command that led to it, as they are recorded; the streams take turns."""
    codec = Codec([sys.modules["benchmarks.account"]])
    store = SqliteStore(folder / "journal.db", codec, Signer.make())
    kind = codec.kind(Deposited(account="", cents=0))
    for version in range(1, events + 1):
        drafts = [
            Draft(store.position + number, stream(name), version, kind, _meta(codec, name), _data(codec, name))
            for number, name in enumerate(names, 1)
        ]
        store.append(Batch(drafts, [], [], time.time()))
    return store


def _meta(codec: Codec, name: str) -> Meta:
    number, at = uuid.uuid4().hex, time.time()
    command = codec.command_record(Deposit(account=name, cents=1, at=at, tenant="bench"))
    return Meta(id=number, cause="", correlation=number, tenant="bench", principal="bench", at=at, command=command)


def _data(codec: Codec, name: str) -> bytes:
    return codec.pack(Deposited(account=name, cents=1))


def _rate(work: Callable[[], None], events: int) -> float:
    began = time.process_time()
    work()
    return events / (time.process_time() - began)


ROWS = (
    Row(
        name="fold",
        measure=fold,
        peer="eventsourcing's Repository.get",
        unit="events per second of CPU",
        better="more",
        goal=10,
    ),
)

"""What a durable command costs: asks that wait for the commit, against the eventsourcing library's own way through threads.

Both write one event a command to as many streams as there are callers, on SQLite in WAL mode with full sync on the same disk, or on
one PostgreSQL server that syncs. Ours has everything on: the command recorded with its event, the proof, the signed checkpoint of each
batch.
"""

import sys
import tempfile
import time
import uuid
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import trio
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from benchmarks.account import Clerk, Deposit
from benchmarks.measure import Measured, NotMeasurable, Row
from benchmarks.postgres_server import NoServer, Server
from runtime.clock import SystemClock
from runtime.codec import Codec
from runtime.delivery import Context
from runtime.ids import Ids
from runtime.store.sqlite import SqliteStore
from runtime.store.store import Store
from runtime.system import Role, System, open_system
from runtime.transparency import Signer

CALLERS = 1000
ROUNDS = 5
ROUND_SECONDS = 2.0
THREADS = 20
OWNERS_AT_ONCE = 100
CONTEXT = Context(tenant="bench", principal="bench")


class Purse(Aggregate):
    """The library's aggregate: as much as an account knows."""

    @event("Opened")
    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.cents = 0

    @event("Deposited")
    def deposit(self, owner: str, cents: int) -> None:
        self.cents += cents


def durable_1000(
    rounds: int = ROUNDS, callers: int = CALLERS, round_seconds: float = ROUND_SECONDS, folder: Path | None = None
) -> Measured:
    """Durable commands per second of that many concurrent callers, on the disk of `folder`."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        _check_disk(Path(name))
        return trio.run(_durable_on_sqlite, Path(name), rounds, callers, round_seconds)


def _check_disk(folder: Path) -> None:
    """In memory, a sync costs nothing, and the row would say nothing."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    held = [mount for mount in mounts if folder.resolve().is_relative_to(mount[1])]
    kind = max(held, key=lambda mount: len(mount[1]))[2]
    if kind in {"tmpfs", "ramfs"}:
        raise NotMeasurable(f"{folder} is on a {kind}: point TMPDIR to a disk")


async def _durable_on_sqlite(folder: Path, rounds: int, callers: int, round_seconds: float) -> Measured:
    codec = Codec([sys.modules["benchmarks.account"]])
    with (
        closing(SqliteStore(folder / "journal.db", codec, Signer.load_or_make(folder / "journal-key"))) as store,
        closing(
            Application[Any](
                env={"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(folder / "library.db")}
            )
        ) as library,
    ):
        _sync_fully(library)
        return await _durable(store, library, rounds, callers, round_seconds)


def pg_durable(callers: int, rounds: int = ROUNDS, round_seconds: float = ROUND_SECONDS) -> Measured:
    """Durable commands per second of that many concurrent callers, on a PostgreSQL server of its own."""
    from runtime.store.postgres import PostgresStore

    try:
        server = Server()
    except NoServer as error:
        raise NotMeasurable(str(error)) from error
    with closing(server):
        _check_disk(server.folder)
        server.start()
        library = {
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": "postgres",
            "POSTGRES_HOST": str(server.folder),
            "POSTGRES_PORT": "5432",
            "POSTGRES_USER": "postgres",
            "POSTGRES_PASSWORD": "none",
            "POSTGRES_POOL_SIZE": str(THREADS),
        }
        codec = Codec([sys.modules["benchmarks.account"]])
        with (
            closing(PostgresStore(server.address, codec, Signer.make())) as store,
            closing(Application[Any](env=library)) as peer,
        ):
            return trio.run(_durable, store, peer, rounds, callers, round_seconds)


async def _durable(
    store: Store, library: Application[Any], rounds: int, callers: int, round_seconds: float
) -> Measured:
    names = [str(uuid.uuid4()) for _ in range(callers)]
    clock = SystemClock()
    purses = [Purse(name) for name in names]
    for first in range(0, callers, OWNERS_AT_ONCE):
        library.save(*purses[first : first + OWNERS_AT_ONCE])
    ours, theirs = [], []
    async with open_system(store, [Role(Clerk)], clock=clock, ids=Ids(clock)) as system:
        for _ in range(rounds):
            ours.append(await _ask_durably(system, names, round_seconds))
            theirs.append(await _save_in_threads(library, purses, round_seconds))
    return Measured(ours=ours, theirs=theirs)


def _sync_fully(library: Application[Any]) -> None:
    """SQLite's default in WAL mode already; said here so that nobody has to believe it."""
    datastore = library.recorder.datastore  # type: ignore[attr-defined]
    with datastore.transaction(commit=False) as cursor:
        cursor.execute("PRAGMA synchronous")
        assert cursor.fetchone()[0] == 2
        cursor.execute("PRAGMA journal_mode")
        assert cursor.fetchone()[0] == "wal"


async def _ask_durably(system: System, names: list[str], seconds: float) -> float:
    count, started = 0, time.perf_counter()
    stop = started + seconds

    async def call(name: str) -> None:
        nonlocal count
        while time.perf_counter() < stop:
            await system.ask(Deposit(account=name, cents=1), CONTEXT)
            count += 1

    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(call, name)
    return count / (time.perf_counter() - started)


async def _save_in_threads(library: Application[Any], purses: list[Purse], seconds: float) -> float:
    count, started = 0, time.perf_counter()
    stop = started + seconds
    threads = trio.CapacityLimiter(THREADS)

    async def call(purse: Purse) -> None:
        nonlocal count
        while time.perf_counter() < stop:
            purse.deposit(purse.owner, 1)
            await trio.to_thread.run_sync(library.save, purse, limiter=threads)
            count += 1

    async with trio.open_nursery() as nursery:
        for purse in purses:
            nursery.start_soon(call, purse)
    return count / (time.perf_counter() - started)


ROWS = (
    Row(
        name="durable_1000",
        measure=durable_1000,
        peer="eventsourcing's Application.save in threads",
        unit="commands per second",
        better="more",
        goal=25,
    ),
    Row(
        name="pg_durable_1",
        measure=partial(pg_durable, 1),
        peer="eventsourcing's Application.save in threads",
        unit="commands per second",
        better="more",
        goal=1,
    ),
    Row(
        name="pg_durable_1000",
        measure=partial(pg_durable, CALLERS),
        peer="eventsourcing's Application.save in threads",
        unit="commands per second",
        better="more",
        goal=20,
    ),
)

"""What a durable command costs: asks that wait for the commit, against the eventsourcing library's own way through threads.

Both write one event a command, on SQLite in WAL mode with full sync on the same disk, or on one PostgreSQL server that syncs. Ours has
everything on: the command recorded with its event, the proof, the signed checkpoint of each batch, idempotency (in the row that says so
each command brings a key), and a projection that follows while it is measured.
"""

import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import trio
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from benchmarks import balances
from benchmarks.account import Clerk, Deposit
from benchmarks.measure import Measured, NotMeasurable, Row, interleaved
from benchmarks.postgres_server import NoServer, Server
from runtime.clock import SystemClock
from runtime.codec import Codec
from runtime.delivery import Context
from runtime.garbage import collect_seldom
from runtime.ids import Ids
from runtime.projector import Projector
from runtime.store.sqlite import SqliteStore
from runtime.store.store import Store
from runtime.system import Role, System, open_system
from runtime.transparency import Signer

CALLERS = 1000
ROUNDS = 5
ROUND_SECONDS = 2.0
THREADS = 20
OWNERS_AT_ONCE = 100
DIGEST = b"as the first one"
CONTEXT = Context(tenant="bench", principal="bench")


class Load(NamedTuple):
    """Who asks, and for how long."""

    callers: int
    accounts: int
    keyed: bool
    rounds: int
    round_seconds: float


class Purse(Aggregate):
    """The library's aggregate: as much as an account knows."""

    @event("Opened")
    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.cents = 0

    @event("Deposited")
    def deposit(self, owner: str, cents: int) -> None:
        self.cents += cents


def durable(
    callers: int,
    *,
    accounts: int | None = None,
    keyed: bool = False,
    rounds: int = ROUNDS,
    round_seconds: float = ROUND_SECONDS,
    folder: Path | None = None,
) -> Measured:
    """Durable commands per second of that many concurrent callers to as many accounts (or so many), on the disk of `folder`."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        check_disk(Path(name))
        load = Load(callers, accounts or callers, keyed, rounds, round_seconds)
        return trio.run(_durable_on_sqlite, Path(name), load)


def check_disk(folder: Path) -> None:
    """In memory, a sync costs nothing, and the row would say nothing."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    held = [mount for mount in mounts if folder.resolve().is_relative_to(mount[1])]
    kind = max(held, key=lambda mount: len(mount[1]))[2]
    if kind in {"tmpfs", "ramfs"}:
        raise NotMeasurable(f"{folder} is on a {kind}: point TMPDIR to a disk")


async def _durable_on_sqlite(folder: Path, load: Load) -> Measured:
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
        return await _durable(store, library, folder, load)


def pg_durable(callers: int, rounds: int = ROUNDS, round_seconds: float = ROUND_SECONDS) -> Measured:
    """Durable commands per second of that many concurrent callers, on a PostgreSQL server of its own."""
    from runtime.store.postgres import PostgresStore

    try:
        server = Server()
    except NoServer as error:
        raise NotMeasurable(str(error)) from error
    with closing(server):
        check_disk(server.folder)
        server.start()
        library = server.of_library | {"POSTGRES_POOL_SIZE": str(THREADS)}
        codec = Codec([sys.modules["benchmarks.account"]])
        with (
            closing(PostgresStore(server.address, codec, Signer.make())) as store,
            closing(Application[Any](env=library)) as peer,
        ):
            return trio.run(_durable, store, peer, server.folder, Load(callers, callers, False, rounds, round_seconds))


async def _durable(store: Store, library: Application[Any], folder: Path, load: Load) -> Measured:
    names = [str(uuid.uuid4()) for _ in range(load.accounts)]
    clock = SystemClock()
    purses = [Purse(name) for name in names]
    for first in range(0, len(purses), OWNERS_AT_ONCE):
        library.save(*purses[first : first + OWNERS_AT_ONCE])
    async with open_system(store, [Role(Clerk)], clock=clock, ids=Ids(clock)) as system, trio.open_nursery() as nursery:
        projector = Projector(folder / "read.db", [balances], system.journal, origin=store.origin)
        await nursery.start(projector.run)
        collect_seldom()

        async def ours() -> float:
            rate = await _ask_durably(system, names, load)
            await projector.wait_for(system.journal.position)  # what it has still to do is not done in their time
            return rate

        measured = await interleaved(ours, partial(_save_in_threads, library, purses, load), load.rounds)
        nursery.cancel_scope.cancel()
    return measured


def _sync_fully(library: Application[Any]) -> None:
    """SQLite's default in WAL mode already; said here so that nobody has to believe it."""
    datastore = library.recorder.datastore  # type: ignore[attr-defined]
    with datastore.transaction(commit=False) as cursor:
        cursor.execute("PRAGMA synchronous")
        assert cursor.fetchone()[0] == 2
        cursor.execute("PRAGMA journal_mode")
        assert cursor.fetchone()[0] == "wal"


async def _ask_durably(system: System, names: list[str], load: Load) -> float:
    count, started = 0, time.perf_counter()
    stop = started + load.round_seconds

    async def call(name: str) -> None:
        nonlocal count
        while time.perf_counter() < stop:
            context = CONTEXT
            if load.keyed:
                context = Context(tenant="bench", principal="bench", key=system.ids.new(), digest=DIGEST)
            await system.ask(Deposit(account=name, cents=1), context)
            count += 1

    async with trio.open_nursery() as nursery:
        for caller in range(load.callers):
            nursery.start_soon(call, names[caller % len(names)])
    return count / (time.perf_counter() - started)


async def _save_in_threads(library: Application[Any], purses: list[Purse], load: Load) -> float:
    """Each caller saves its own aggregate. Those of one aggregate save it in turn: what it would refuse otherwise is not counted."""
    count, started = 0, time.perf_counter()
    stop = started + load.round_seconds
    threads = trio.CapacityLimiter(THREADS)
    turns = [trio.Lock() for _ in purses]

    async def call(purse: Purse, turn: trio.Lock) -> None:
        nonlocal count
        while time.perf_counter() < stop:
            async with turn:
                purse.deposit(purse.owner, 1)
                await trio.to_thread.run_sync(library.save, purse, limiter=threads)
            count += 1

    async with trio.open_nursery() as nursery:
        for caller in range(load.callers):
            nursery.start_soon(call, purses[caller % len(purses)], turns[caller % len(purses)])
    return count / (time.perf_counter() - started)


def _row(name: str, measure: Callable[[], Measured], goal: float | None) -> Row:
    return Row(
        name=name,
        measure=measure,
        peer="eventsourcing's Application.save in threads",
        unit="commands per second",
        better="more",
        goal=goal,
    )


ROWS = (
    _row("durable_1", partial(durable, 1), 1.2),
    _row("durable_10", partial(durable, 10), 9),
    _row("durable_1000", partial(durable, CALLERS), 25),
    _row("durable_1000_one", partial(durable, CALLERS, accounts=1), 15),
    _row("durable_1000_keyed", partial(durable, CALLERS, keyed=True), None),
    _row("pg_durable_1", partial(pg_durable, 1), 1),
    _row("pg_durable_1000", partial(pg_durable, CALLERS), 20),
)

"""What a read model costs to make: a day's tasks through the projector, against the eventsourcing library's own projection.

Both read the same events from a journal in the same kind of database and end with the same rows in the same table, indexes included,
which is checked. The library commits each event with its position, ours a batch at a time; both sync each commit (SQLite in WAL
mode with full sync, PostgreSQL with fsync and synchronous_commit on). The library's projection is spared the events that it does not
ask for, two of the day's seven, and reads in pages of 1,000 rather than its default's ten.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import trio
from eventsourcing.application import Application
from eventsourcing.sqlite import SQLiteDatastore
from sqlalchemy import Connection, select

from aggregates.catalog import AGGREGATES
from benchmarks import workday
from benchmarks.journal import check_disk
from benchmarks.measure import Measured, NotMeasurable, Row, interleaved
from benchmarks.postgres_server import NoServer, Server
from projections import tasks
from runtime.clock import SystemClock
from runtime.codec import Codec
from runtime.ids import Ids
from runtime.journal import Journal
from runtime.projector import Projector
from runtime.store.sqlite import SqliteStore
from runtime.store.store import Store
from runtime.transparency import Signer

EVENTS = 21_000
ROUNDS = 3
ROWS_OF = select(*(column for column in tasks.tasks.columns if column.computed is None))


class Sides(NamedTuple):
    """A journal with the day's events, the library with the same, and for each round a fresh place for the read model of each."""

    store: Store
    library: Application[Any]
    places: Iterator[Path | str]
    views: Iterator[Any]


def project(events: int = EVENTS, rounds: int = ROUNDS, folder: Path | None = None) -> Measured:
    """Events per second on SQLite, on the disk of `folder`."""
    with _on_sqlite(folder) as sides:
        return _measure(sides, events, rounds)


def pg_project(events: int = EVENTS, rounds: int = ROUNDS) -> Measured:
    """Events per second on a PostgreSQL server of its own, which holds journals and read models."""
    with _on_postgres() as sides:
        return _measure(sides, events, rounds)


@contextmanager
def _on_sqlite(folder: Path | None) -> Iterator[Sides]:
    from benchmarks.library_tasks import SqliteView

    with tempfile.TemporaryDirectory(dir=folder) as name:
        check_disk(Path(name))
        env = {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": f"{name}/library.db"}
        with (
            closing(SqliteStore(Path(name) / "journal.db", Codec(AGGREGATES), Signer.make())) as store,
            closing(Application[Any](env=env)) as library,
        ):
            places = (Path(name) / f"read-{number}.db" for number in count())
            views = (SqliteView(SQLiteDatastore(f"{name}/view-{number}.db")) for number in count())
            yield Sides(store, library, places, views)


@contextmanager
def _on_postgres() -> Iterator[Sides]:
    from eventsourcing.postgres import PostgresDatastore
    from psycopg import connect

    from benchmarks.library_tasks import PostgresView
    from runtime.store.postgres import PostgresStore

    try:
        server = Server()
    except NoServer as error:
        raise NotMeasurable(str(error)) from error

    def fresh(number: int) -> str:
        with connect(server.address, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE read_{number}")
        return f"read_{number}"

    def view(number: int) -> PostgresView:
        return PostgresView(PostgresDatastore(fresh(number), str(server.folder), 5432, "postgres", "none", pool_size=2))

    with closing(server):
        check_disk(server.folder)
        server.start()
        with (
            closing(PostgresStore(server.address, Codec(AGGREGATES), Signer.make())) as store,
            closing(Application[Any](env=server.of_library)) as library,
        ):
            places = (server.address.replace("/postgres?", f"/{fresh(number)}?") for number in count(0, 2))
            yield Sides(store, library, places, (view(number) for number in count(1, 2)))


def _measure(sides: Sides, events: int, rounds: int) -> Measured:
    from benchmarks import library_tasks

    workday.fill(sides.store, sides.store.codec, events)
    library_tasks.fill(sides.library, sides.store.read(0, events))
    rows: list[Any] = [[], []]

    async def ours() -> float:
        seconds, rows[0] = await _project(sides.store, next(sides.places))
        return events / seconds

    async def theirs() -> float:
        view = next(sides.views)
        view.create_table()
        with closing(view.datastore):
            started = time.perf_counter()
            library_tasks.project(sides.library, view)
            seconds = time.perf_counter() - started
            rows[1] = view.rows(str(ROWS_OF))
        return events / seconds

    measured = trio.run(interleaved, ours, theirs, rounds)
    assert sorted(rows[0]) == sorted(rows[1]), "the two sides do not hold the same rows"
    return measured


async def _project(store: Store, place: Path | str) -> tuple[float, list[Any]]:
    """Seconds from an empty database until the read model stands where the journal does, and its rows."""
    clock = SystemClock()
    journal = Journal(store, store.codec, clock, Ids(clock))
    projector = Projector(place, [tasks], journal, origin=store.origin, sync=True)
    async with trio.open_nursery() as nursery:
        started = time.perf_counter()
        await nursery.start(projector.run)
        seconds = time.perf_counter() - started
        rows = await projector.query(_rows)
        nursery.cancel_scope.cancel()
    return seconds, rows


def _rows(connection: Connection) -> list[Any]:
    return [tuple(row) for row in connection.execute(ROWS_OF)]


PEER = "eventsourcing's Projection, one tracked transaction an event"
ROWS = (
    Row(name="project", measure=project, peer=PEER, unit="events per second", better="more", goal=30),
    Row(name="pg_project", measure=pg_project, peer=PEER, unit="events per second", better="more", goal=45),
)

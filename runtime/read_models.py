"""A database of read models: each projection's tables with the position that they stand at, moved in one commit.

1. A projection's rows and its position change in the same transaction, so that a process killed anywhere goes on where it was.
2. Where one of them fails, the batch is undone and written again, each projection within a savepoint. The one that fails is undone
   there, run event by event to find the one that it fails at, and stops there alone; the others go on. It is tried again at the next
   start.
3. What the database can't do for reasons of its own (no room, no access) is nobody's fault: the whole batch is undone and raised.
4. An event that is skipped on record is passed over by the projection that it would stop, now and whenever that is made anew.
5. A projection is known by its NAME, which changes with its shape, and by the journal that it reads. Tables of others are dropped.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Column, Connection, Engine, MetaData, Table, Text, create_engine, event, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.schema import CreateIndex, CreateTable, DDLElement, DropTable

from runtime.changes import write
from runtime.hearing import Batch, Projection, changes_of
from runtime.records import Change, Delete, Insert, Recorded, Update
from runtime.tables import WHOLE, FaultyChange, check

BUSY_SECONDS_MAX = 5.0
PAGE_BYTES = 8192
"""Of a new file's pages: each that a batch writes to costs two system calls, and most rows are new and stand side by side."""

WAL_BYTES_MAX = 16_000_000
"""In SQLite's write-ahead log before it is carried over: more often costs syncs, more seldom costs reads."""

CACHE_KIB = 8192
"""What each connection may keep of SQLite's pages: by default a fourth, which the pages that one batch writes to do not fit in."""

positions = Table(
    "positions",
    MetaData(),
    Column("name", Text, primary_key=True),
    Column("origin", Text, nullable=False),
    Column("position", WHOLE, nullable=False),
    Column("tables", Text, nullable=False),
)


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a projection is: all up to `position` is in its tables. With a `reason` it has stopped, at `stopped_at`."""

    name: str
    position: int = 0
    stopped_at: int = 0
    reason: str = ""


class TableDigest(msgspec.Struct, frozen=True, kw_only=True):
    """What a table holds: as many rows, of this hash in the order of their keys, at this position of the journal."""

    projection: str
    position: int
    rows: int
    sha256: str


Digests = Mapping[str, TableDigest]

Skipped = Callable[[str], frozenset[int]]
"""The positions that the projection of a name passes over; it may block."""


def nothing_skipped(name: str) -> frozenset[int]:
    """Every projection takes everything."""
    return frozenset()


def open_database(place: Path | str, *, connections_max: int = 5, sync: bool = False) -> Engine:
    """The database at a path (SQLite) or URL, with at most so many connections.

    With `sync` a commit in SQLite survives a loss of power; without, what was lost then is made again.
    """
    url = _sqlalchemy_url(place) if isinstance(place, str) and "://" in place else f"sqlite:///{place}"
    # A server that was away has left connections behind that nobody can use; a file has not. The last one used is used next: of SQLite's,
    # any other has to read all pages anew that were written since it was used.
    may_be_away = "://" in str(place)
    engine = create_engine(
        url, pool_size=connections_max, max_overflow=0, pool_use_lifo=True, pool_pre_ping=may_be_away
    )
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", partial(_tune, "FULL" if sync else "NORMAL"))
        event.listen(engine, "begin", _begin)
    return engine


def _sqlalchemy_url(place: str) -> str:
    """By the driver that the journal uses, too."""
    scheme, _, rest = place.partition("://")
    return f"postgresql+psycopg://{rest}" if scheme in ("postgres", "postgresql") else place


def _tune(synchronous: str, connection: Any, record: object) -> None:
    # Without this the driver begins and commits by its own rules, and savepoints don't hold.
    connection.isolation_level = None
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS_MAX * 1000)}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_BYTES_MAX // page_bytes}")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute("PRAGMA secure_delete = ON")  # what is erased is overwritten, not only unlinked


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


class ReadModels:
    """The tables of some projections in one database. Not for two threads at once; `standings` may be read from anywhere."""

    def __init__(
        self,
        engine: Engine,
        projections: Sequence[Projection],
        origin: str = "",
        *,
        skipped: Skipped = nothing_skipped,
    ) -> None:
        """`origin` names the journal that they are made from."""
        names = [table.name for projection in projections for table in projection.TABLES]
        if len(set(names)) < len(names):
            raise FaultyChange(f"a table of two projections: {sorted(name for name in names if names.count(name) > 1)}")
        for projection in projections:
            for table in projection.TABLES:
                check(table)
        self.engine = engine
        self.projections = tuple(projections)
        self.standings = {projection.NAME: Standing(name=projection.NAME) for projection in projections}
        self.origin = origin
        self._skipped = skipped
        self._skips: dict[str, frozenset[int]] = {}

    def skips(self, name: str) -> frozenset[int]:
        """The positions that a projection passes over, as far as is known here."""
        return self._skips.get(name, frozenset())

    def open(self, position: int) -> None:
        """Makes tables that are missing, and drops those that were made otherwise, elsewhere, or past the journal's `position`."""
        with self.engine.begin() as connection:
            connection.exec_driver_sql(_first(positions, _kind(connection)))
            kept: dict[str, int] = {}
            for row in connection.execute(select(positions)).all():
                if self._stands(row, position):
                    kept[row.name] = row.position
                else:
                    self._drop(connection, row)
            for projection in self.projections:
                if projection.NAME not in kept:
                    self._create(connection, projection)
        self.standings = {p.NAME: Standing(name=p.NAME, position=kept.get(p.NAME, 0)) for p in self.projections}
        self._skips = {projection.NAME: self._skipped(projection.NAME) for projection in self.projections}

    def make(self) -> None:
        """Makes all tables anew, empty, and leaves those of others alone."""
        with self.engine.begin() as connection:
            for projection in self.projections:
                write(connection, [Delete(table=positions, values={}, where={"name": projection.NAME})])
                self._create(connection, projection)
        self._skips = {projection.NAME: self._skipped(projection.NAME) for projection in self.projections}

    def resume(self, name: str) -> None:
        """Lets a projection that has stopped try again, without what has been skipped since."""
        self._skips = {**self._skips, name: self._skipped(name)}
        self.standings = {**self.standings, name: Standing(name=name, position=self.standings[name].position)}

    def _stands(self, row: Any, position: int) -> bool:
        tables_by_name = {projection.NAME: _table_names(projection) for projection in self.projections}
        same = (row.origin, row.tables) == (self.origin, tables_by_name.get(row.name))
        return same and bool(row.position <= position)

    def _drop(self, connection: Connection, row: Any) -> None:
        for name in row.tables.split():
            Table(name, MetaData()).drop(connection, checkfirst=True)
        write(connection, [Delete(table=positions, values={}, where={"name": row.name})])

    def _create(self, connection: Connection, projection: Projection) -> None:
        for table in projection.TABLES:
            for text in _anew(table, _kind(connection)):
                connection.exec_driver_sql(text)
        first = {"name": projection.NAME, "origin": self.origin, "position": 0, "tables": _table_names(projection)}
        write(connection, [Insert(table=positions, values=first)])

    def rewrite(self) -> None:
        """Writes all tables anew, so that nothing is left between rows of what was overwritten: SQLite overwrites what it deletes, and not
        what it has copied to another page. Raises OperationalError, SQLAlchemy's or SQLite's, where there is no room for both."""
        with self._alone() as connection:
            if self.engine.dialect.name == "sqlite":
                driver: Any = connection.connection.driver_connection  # SQLAlchemy would begin a transaction
                driver.execute("VACUUM")
                return
            for name in (table.name for projection in self.projections for table in projection.TABLES):
                connection.exec_driver_sql(f"VACUUM (FULL) {name}")

    def empty_log(self) -> bool:
        """Leaves nothing of what was rewritten in the write-ahead log; False where somebody reads there, so that it can't be done now."""
        if self.engine.dialect.name != "sqlite":
            return True
        with self._alone() as connection:
            return not connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar_one()

    @contextmanager
    def _begin_writing(self) -> Iterator[Connection]:
        """A transaction. SQLite keeps the pages that a statement or a savepoint changes as they were before: in memory, for as long as the
        batch is written, since in a file each costs as much as the page itself, and what was erased would stand there once more."""
        with self.engine.connect() as connection:
            if self.engine.dialect.name != "sqlite":
                with connection.begin():
                    yield connection
                return
            driver: Any = connection.connection.driver_connection
            driver.execute("PRAGMA temp_store = MEMORY")
            try:
                with connection.begin():
                    yield connection
            finally:
                driver.execute("PRAGMA temp_store = DEFAULT")  # a large sort or VACUUM is not for memory

    def _alone(self) -> Connection:
        """A connection without a transaction around what is done there."""
        return self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def position(self) -> int | None:
        """Where the hindmost of the projections that go on stands; None when all have stopped."""
        return min((standing.position for standing in self.standings.values() if not standing.reason), default=None)

    def write(self, batch: Sequence[Recorded]) -> None:
        """Applies the events that each projection has not seen yet, in one commit. Raises OperationalError and changes nothing.

        Who stands before the batch begins, since it was resumed meanwhile, is left where it is: nothing may be missed in between.
        """
        try:
            moved = self._write(batch, apart=False)
        except OperationalError:
            raise
        except Exception:  # noqa: BLE001 — whatever a projection does wrong, it is found, and stops alone
            moved = self._write(batch, apart=True)
        self.standings = {standing.name: standing for standing in moved}

    def _write(self, batch: Sequence[Recorded], *, apart: bool) -> list[Standing]:
        """All in one commit. Each `apart`, a fault of one is no other's; but SQLite first copies all that a savepoint changes."""
        due = Batch(batch)
        with self._begin_writing() as connection:
            moved = [self._advance(connection, one, due, apart=apart) for one in self.projections]
            write(connection, [_moved(standing) for standing in moved])
        return moved

    def _advance(self, connection: Connection, projection: Projection, batch: Batch, *, apart: bool) -> Standing:
        standing, skips = self.standings[projection.NAME], self.skips(projection.NAME)
        if standing.reason or batch.last <= standing.position or batch.first > standing.position + 1:
            return standing
        taken = batch.heard_by(projection)
        if skips or batch.first <= standing.position:
            taken = [one for one in taken if one.position > standing.position and one.position not in skips]
        if not apart:
            write(connection, changes_of(projection, taken))
        elif self._fault(connection, partial(changes_of, projection, taken)) is not None:
            return self._advance_singly(connection, projection, taken, batch.last)
        return Standing(name=standing.name, position=batch.last)

    def _advance_singly(
        self, connection: Connection, projection: Projection, due: Sequence[Recorded], last: int
    ) -> Standing:
        for recorded in due:
            fault = self._fault(connection, partial(projection.apply, recorded))
            if fault is not None:
                reason = f"{recorded.kind}: {type(fault).__name__}: {fault}"
                before = recorded.position - 1
                return Standing(name=projection.NAME, position=before, stopped_at=recorded.position, reason=reason)
        return Standing(name=projection.NAME, position=last)

    def _fault(self, connection: Connection, make: Callable[[], Sequence[Change]]) -> Exception | None:
        """Makes changes, all or nothing; returns what kept the projection from it."""
        try:
            changes = make()
        except Exception as error:  # noqa: BLE001 — whatever a projection does wrong, it stops alone
            return error
        if not changes:
            return None
        # By SQLAlchemy's own `begin_nested`, which compiles each such statement anew, this took three times as long.
        connection.exec_driver_sql("SAVEPOINT projection")
        try:
            write(connection, changes)
        except OperationalError:
            raise  # SQLite may have undone everything already, the savepoint included
        except Exception as error:  # noqa: BLE001 — as above
            connection.exec_driver_sql("ROLLBACK TO SAVEPOINT projection")
            return error
        connection.exec_driver_sql("RELEASE SAVEPOINT projection")
        return None


# SQLAlchemy compiles each statement of this kind anew: a quarter of a first start.
@cache
def _anew(table: Table, dialect: Any) -> list[str]:
    """What makes a table anew, in whatever shape it is there, in a database of a kind, which the class of its dialect says."""
    indexes = sorted(table.indexes, key=lambda index: str(index.name))
    made: list[DDLElement] = [DropTable(table, if_exists=True), CreateTable(table), *map(CreateIndex, indexes)]
    return [str(one.compile(dialect=dialect())) for one in made]


@cache
def _first(table: Table, dialect: Any) -> str:
    """What makes a table where there is none."""
    return str(CreateTable(table, if_not_exists=True).compile(dialect=dialect()))


def _kind(connection: Connection) -> Any:
    return type(connection.dialect)


def _table_names(projection: Projection) -> str:
    return " ".join(table.name for table in projection.TABLES)


def _moved(standing: Standing) -> Change:
    return Update(table=positions, values={"position": standing.position}, where={"name": standing.name})


def digests(engine: Engine, projections: Sequence[Projection]) -> dict[str, TableDigest]:
    """What each table of the projections holds, all read at one moment."""
    with engine.begin() as connection:
        return digests_in(connection, projections)


def digests_in(connection: Connection, projections: Sequence[Projection]) -> dict[str, TableDigest]:
    """The same, within a transaction."""
    found = connection.execute(select(positions.c.name, positions.c.position)).all()
    position_by_name = {row.name: row.position for row in found}
    return {
        table.name: _digest(connection, table, projection.NAME, position_by_name.get(projection.NAME, 0))
        for projection in projections
        for table in projection.TABLES
    }


def _digest(connection: Connection, table: Table, name: str, position: int) -> TableDigest:
    state, rows = hashlib.sha256(), 0
    encoder = msgspec.msgpack.Encoder()
    for row in connection.execute(select(table).order_by(*table.primary_key)):
        state.update(encoder.encode(tuple(row)))
        rows += 1
    return TableDigest(projection=name, position=position, rows=rows, sha256=state.hexdigest())


def compare(ours: Digests, theirs: Digests) -> dict[str, bool]:
    """For each table, whether both hold the same at the same position."""
    return {name: ours.get(name) == theirs.get(name) for name in sorted({*ours, *theirs})}

"""Read models made anew beside those that are served, which then take their place in one commit.

The rows go to tables of other names with a position of their own, so that whoever reads sees the old tables until the new ones stand at
least as far. A process that is killed in between leaves tables that belong to no projection: the next start drops them.
"""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, MetaData, Table, inspect
from sqlalchemy.sql import quoted_name

from runtime.changes import write
from runtime.hearing import Projection, changes_of
from runtime.read_models import ReadModels, Standing, positions
from runtime.records import Change, Delete, Recorded, Update

BESIDE = "+rebuild"
"""What is added to a projection's name while it is made anew."""

TABLE, INDEX = "_beside", "_again"
"""What is added to the names of tables; and to those of indexes, every second time, since these keep their names for good."""

LOCK_MILLISECONDS_MAX = 500
"""Less than PostgreSQL waits before it ends one of two who wait for each other: then it is this change that is tried again."""


class Rebuild(msgspec.Struct, frozen=True, kw_only=True):
    """How far a projection is that is made anew: at `position` on its way to `goal`. Ended with a `reason`, the old tables stay."""

    name: str
    position: int = 0
    goal: int = 0
    events_per_second: float = 0.0
    ended: bool = False
    reason: str = ""


class Beside:
    """A projection whose rows go to tables beside its own."""

    def __init__(self, projection: Projection, connection: Connection) -> None:
        self.of = projection
        self.NAME = projection.NAME + BESIDE
        self.TABLES = tuple(_copy(table, connection) for table in projection.TABLES)
        self.HEARS = getattr(projection, "HEARS", None)
        self._table_by_own = dict(zip(projection.TABLES, self.TABLES, strict=True))

    def apply(self, recorded: Recorded) -> Sequence[Change]:
        """The same changes, in the tables beside."""
        return self._beside(self.of.apply(recorded))

    def apply_all(self, batch: Sequence[Recorded]) -> Sequence[Change]:
        """The same, of many events."""
        return self._beside(changes_of(self.of, batch))

    def _beside(self, changes: Sequence[Change]) -> Sequence[Change]:
        return [msgspec.structs.replace(change, table=self._table_by_own[change.table]) for change in changes]


def _copy(table: Table, connection: Connection) -> Table:
    copy = table.to_metadata(MetaData(), name=table.name + TABLE)
    taken = {index["name"] for index in inspect(connection).get_indexes(table.name)}
    for index in copy.indexes:
        if index.name in taken:
            index.name = quoted_name(f"{index.name}{INDEX}", None)
    return copy


class Growing:
    """Some projections of a database that are made anew. Blocks; on the thread that writes the database."""

    def __init__(self, live: ReadModels, names: Sequence[str]) -> None:
        """Makes their tables, empty; whatever is left of an earlier attempt goes."""
        self.live = live
        chosen = [projection for projection in live.projections if projection.NAME in names]
        with live.engine.begin() as connection:
            self.besides = [Beside(projection, connection) for projection in chosen]
        self.models = ReadModels(live.engine, self.besides, live.origin, skipped=self._skipped)
        self.models.make()

    def _skipped(self, name: str) -> frozenset[int]:
        return self.live.skips(name.removesuffix(BESIDE))

    def standing(self, name: str) -> Standing:
        """Where the tables beside stand."""
        return self.models.standings[name + BESIDE]

    def reaches(self, goal: int) -> bool:
        """Whether all that have not stopped stand at the goal, and no table that is served stands further."""
        ours = [(self.standing(one.of.NAME), self.live.standings[one.of.NAME]) for one in self.besides]
        return all(new.reason or new.position >= max(goal, old.position) for new, old in ours)

    def give_up(self, reason: str) -> None:
        """All of them stop where they are: what comes next can't be read."""
        for name, standing in self.models.standings.items():
            if not standing.reason:
                self.models.standings[name] = msgspec.structs.replace(
                    standing, stopped_at=standing.position + 1, reason=reason
                )

    def swap(self, goal: int) -> bool:
        """Puts the new tables and their positions in the place of the old, in one commit; those that have stopped are dropped.

        False where they do not reach (any more): what is served may have moved on since somebody asked, and must never go back.
        """
        if not self.reaches(goal):
            return False
        with self.live.engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_MILLISECONDS_MAX}")
            for one in self.besides:
                self._put(connection, one)
        for one in self.besides:
            new = self.standing(one.of.NAME)
            if not new.reason:
                self.live.standings[one.of.NAME] = Standing(name=one.of.NAME, position=new.position)
        return True

    def _put(self, connection: Connection, one: Beside) -> None:
        new = self.standing(one.of.NAME)
        quote = connection.dialect.identifier_preparer.quote
        for old, made in zip(one.of.TABLES, one.TABLES, strict=True):
            if new.reason:
                made.drop(connection)
                continue
            old.drop(connection)
            connection.exec_driver_sql(f"ALTER TABLE {quote(made.name)} RENAME TO {quote(old.name)}")
        changes: list[Change] = [Delete(table=positions, values={}, where={"name": one.NAME})]
        if not new.reason:
            moved = {"position": new.position}
            changes.append(Update(table=positions, values=moved, where={"name": one.of.NAME}))
        write(connection, changes)

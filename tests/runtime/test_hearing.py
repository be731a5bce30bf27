"""A projection is asked about the events that it hears alone, many at once where it can be, and stops where one by one it would."""

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import create_engine, select

from runtime.hearing import Batch
from runtime.read_models import ReadModels
from runtime.rebuilding import Beside
from runtime.records import Change, InsertMany, Recorded
from tests.runtime.ledger import Lines, Moved, Opened, story

RECORDS = story(60)
HEARD = [record.position for record in RECORDS if isinstance(record.event, Moved | Opened)]


class Together(Lines):
    """Hears of some events alone, and says what it makes of them in one change."""

    HEARS = frozenset((Moved, Opened))

    def apply_all(self, batch: Sequence[Recorded]) -> Sequence[Change]:
        changes = [change for recorded in batch for change in self.apply(recorded)]
        rows = [tuple(change.values.values()) for change in changes]
        return [InsertMany(table=self.table, values={}, columns=("position", "kind"), rows=rows)]


def written(projection: Any, sizes: Sequence[int], *, skips: frozenset[int] = frozenset()) -> tuple[list[int], Any]:
    """The positions that have a row after batches of these sizes, and how the projection stands."""
    engine = create_engine("sqlite://")
    models = ReadModels(engine, [projection], skipped=lambda name: skips)
    models.open(len(RECORDS))
    first = 0
    for size in sizes:
        models.write(RECORDS[first : first + size])
        first += size
    (table,) = projection.TABLES
    with engine.begin() as connection:
        rows = connection.execute(select(table.c.position).order_by(table.c.position)).scalars().all()
    engine.dispose()
    return list(rows), models.standings[projection.NAME]


@pytest.mark.parametrize("sizes", [[60], [1] * 60, [7, 30, 23]])
def test_of_what_it_does_not_hear_nothing_is_asked_and_its_position_moves_on(sizes: list[int]) -> None:
    rows, standing = written(Together(), sizes)
    assert rows == HEARD
    assert (standing.position, standing.reason) == (60, "")


@pytest.mark.parametrize("badly", [False, True])
@pytest.mark.parametrize("sizes", [[60], [1] * 60, [7, 30, 23]])
def test_what_fails_among_many_stops_it_at_the_one_that_fails(sizes: list[int], badly: bool) -> None:
    rows, standing = written(Together(fails_at=HEARD[20], badly=badly), sizes)
    assert rows == HEARD[:20]
    assert (standing.position, standing.stopped_at) == (HEARD[20] - 1, HEARD[20])


def test_what_is_skipped_is_not_among_the_many() -> None:
    rows, standing = written(Together(fails_at=HEARD[20]), [60], skips=frozenset((HEARD[20],)))
    assert rows == [*HEARD[:20], *HEARD[21:]]
    assert standing.position == 60


def test_what_is_made_anew_beside_hears_the_same_and_says_it_together() -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        together = Together()
        together.table.create(connection)
        beside = Beside(together, connection)
    engine.dispose()
    assert [record.position for record in Batch(RECORDS).heard_by(beside)] == HEARD
    (change,) = beside.apply_all(Batch(RECORDS).heard_by(beside))
    assert isinstance(change, InsertMany)
    assert (change.table, len(change.rows)) == (beside.TABLES[0], len(HEARD))

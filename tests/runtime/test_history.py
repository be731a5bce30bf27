"""Read models as of any position are what a rebuild up to there makes, and are folded from the nearest copy."""

import sqlite3
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from runtime import history as histories
from runtime.errors import Overloaded
from runtime.history import Copies, History, _least_missed
from runtime.projector import Projector, rebuild
from runtime.read_models import ReadModels, digests_in, open_database
from tests.runtime.ledger import Balances, Lines, MemoryLog, Opened, story

PROJECTIONS = (Balances(), Lines())
GUARD_SECONDS = 120  # only that the test ends


def saved(folder: Path, log: MemoryLog, *positions: int) -> Copies:
    """Copies that were made at these positions."""
    copies = Copies(folder / "copies")
    engine = open_database(folder / "live.db", connections_max=2)
    models = ReadModels(engine, PROJECTIONS)
    models.open(0)
    for position in positions:
        models.write(log.records[models.position() or 0 : position])
        copies.save(engine, PROJECTIONS)
    engine.dispose()
    return copies


async def digests_at(history: History, position: int):
    return await history.query(position, lambda connection: digests_in(connection, PROJECTIONS))


async def test_any_position_is_what_a_rebuild_up_to_there_makes_and_starts_from_the_nearest_copy(tmp_path):
    log = MemoryLog(story(120))
    history = History(saved(tmp_path, log, 40, 80), tmp_path / "moments", PROJECTIONS, log.read)
    for position, folded in ((39, 39), (40, 0), (79, 39), (85, 5), (120, 40), (0, 0)):
        before = history.folds
        found = await digests_at(history, position)
        assert history.folds - before == folded
        assert found == await rebuild(log.read, tmp_path / f"{position}.db", PROJECTIONS, upto=position)
    history.close()
    assert list((tmp_path / "moments").iterdir()) == []


async def test_a_moment_is_made_once_for_all_who_ask_and_few_are_kept(tmp_path):
    log = MemoryLog(story(60))
    history = History(Copies(tmp_path / "copies"), tmp_path / "moments", PROJECTIONS, log.read, moments_max=2)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(digests_at, history, 50)
    assert history.folds == 50
    for position in (10, 20, 30):
        await digests_at(history, position)
    assert len(list((tmp_path / "moments").glob("*.db"))) == 2
    history.close()


async def test_who_goes_on_asking_does_not_keep_what_is_forgotten(tmp_path):
    log = MemoryLog(story(60))
    history = History(Copies(tmp_path / "copies"), tmp_path / "moments", PROJECTIONS, log.read)

    async def go_on_asking():
        while True:
            await digests_at(history, 50)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(go_on_asking)
        first = await digests_at(history, 50)
        before = set((tmp_path / "moments").glob("*.db"))
        with trio.fail_after(GUARD_SECONDS):
            await history.forget()
        assert not any(path.exists() for path in before)
        assert await digests_at(history, 50) == first
        nursery.cancel_scope.cancel()
    history.close()
    assert list((tmp_path / "moments").iterdir()) == []


async def test_so_many_may_wait_for_what_is_being_made_and_no_more(tmp_path):
    log, waits = MemoryLog(story(30)), trio.Event()

    async def read(after, limit):
        await waits.wait()
        return await log.read(after, limit)

    history = History(Copies(tmp_path / "copies"), tmp_path / "moments", PROJECTIONS, read)
    async with trio.open_nursery() as nursery:
        for position in range(1, histories.ASKERS_MAX + 2):
            nursery.start_soon(digests_at, history, position)
        while history._making.statistics().tasks_waiting < histories.ASKERS_MAX:
            await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Overloaded, match="many ask"):
            await digests_at(history, 30)
        waits.set()
    assert await digests_at(history, 30)
    history.close()


async def test_a_copy_of_another_shape_is_of_no_use_and_does_no_harm(tmp_path):
    log = MemoryLog(story(50))
    copies = saved(tmp_path, log, 40)
    other = (Balances("balances/2"), Lines())
    history = History(copies, tmp_path / "moments", other, log.read)
    found = await history.query(45, lambda connection: digests_in(connection, other))
    assert found == await rebuild(log.read, tmp_path / "again.db", other, upto=45)
    history.close()


async def test_a_node_copies_its_read_models_as_it_goes(tmp_path):
    log = MemoryLog(story(10))
    projector = Projector(tmp_path / "read.db", PROJECTIONS, log)
    copies = Copies(tmp_path / "copies", copies_max=3)
    history = History(copies, tmp_path / "moments", PROJECTIONS, log.read)
    async with trio.open_nursery() as nursery:
        await nursery.start(projector.run)
        nursery.start_soon(history.keep_copies, projector, 5)
        while (await trio.to_thread.run_sync(copies.positions))[-1:] < [56]:
            await projector.wait_for(log.append(Opened(account="a")) if log.position < 60 else 60)
        nursery.cancel_scope.cancel()
    assert len(copies.positions()) <= 3
    newest = copies.positions()[-1]
    with sqlite3.connect(copies.path(newest)) as connection:
        assert connection.execute("SELECT count(*) FROM lines").fetchone() == (newest,)
    connection.close()


def test_copies_are_bounded_by_their_bytes_too(tmp_path):
    copies = saved(tmp_path, MemoryLog(story(60)), 20, 40, 60)
    size = copies.path(60).stat().st_size
    copies.bytes_max = 2 * size
    copies.thin()
    assert 60 in copies.positions()
    assert len(copies.positions()) == 2
    copies.bytes_max = 0
    copies.thin()
    assert copies.positions() == []


@given(st.integers(4, 20), st.integers(20, 300))
def test_copies_are_the_sparser_the_older_they_are_and_reach_far_back(most, count):
    kept: list[int] = []
    for number in range(1, count + 1):
        kept.append(number * 50)
        while len(kept) > most:
            kept.pop(_least_missed(kept))
    newest = kept[-1]
    assert newest == count * 50
    for before, after in zip([0, *kept], kept, strict=False):
        age = newest - before
        assert after - before <= max(50, age * min(1.0, 16 / most))


async def test_a_query_of_rows_sees_only_what_was_there(tmp_path):
    lines, log = PROJECTIONS[1], MemoryLog(story(30))
    history = History(Copies(tmp_path / "copies"), tmp_path / "moments", PROJECTIONS, log.read)
    found = await history.query(
        7, lambda connection: connection.execute(select(lines.table.c.position)).scalars().all()
    )
    assert found == list(range(1, 8))
    history.close()


async def test_copying_ends_with_what_is_copied(tmp_path):
    projector = Projector(tmp_path / "read.db", PROJECTIONS, MemoryLog(story(5)))
    history = History(Copies(tmp_path / "copies"), tmp_path / "moments", PROJECTIONS, MemoryLog().read)
    ended = trio.Event()

    async def keep():
        await history.keep_copies(projector)
        ended.set()

    async with trio.open_nursery() as copying, trio.open_nursery() as running:
        await running.start(projector.run)
        copying.start_soon(keep)
        await trio.testing.wait_all_tasks_blocked()
        running.cancel_scope.cancel()
    assert ended.is_set()

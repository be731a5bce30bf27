"""The projector keeps read models in step with the journal, whatever happens to it in between."""

import sqlite3
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import Connection, Engine, bindparam, create_engine, event, inspect, select

from runtime import projector as projectors
from runtime.errors import Unreachable
from runtime.prepared import Prepared
from runtime.projector import ProjectionStopped, Projector, rebuild
from runtime.read_models import ReadModels, compare, digests, open_database
from runtime.records import Update
from runtime.tables import FaultyChange
from tests.runtime.ledger import Balances, Lines, MemoryLog, Moved, Opened, Renamed, story

ROOT = Path(__file__).parents[2]
PAGES_MAX = 1_000_000


@asynccontextmanager
async def following(path, projections, log, **options):
    """A projector that has caught up, and goes on."""
    projector = Projector(path, projections, log, **options)
    async with trio.open_nursery() as nursery:
        await nursery.start(projector.run)
        yield projector
        nursery.cancel_scope.cancel()


@contextmanager
def heard(name, listener):
    """Told of what any engine does."""
    event.listen(Engine, name, listener)
    try:
        yield
    finally:
        event.remove(Engine, name, listener)


def rows(table):
    return lambda connection: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]


def names_of_tables(connection: Connection) -> list[str]:
    return sorted(inspect(connection).get_table_names())


async def test_it_has_caught_up_when_it_says_that_it_has_started(tmp_path):
    lines = Lines()
    async with following(tmp_path / "read.db", (lines,), MemoryLog(story(50)), batch_events_max=7) as projector:
        assert [position for position, _ in await projector.query(rows(lines.table))] == list(range(1, 51))


async def test_who_waits_for_a_position_reads_what_was_written_there(tmp_path):
    balances, log = Balances(), MemoryLog()
    async with following(tmp_path / "read.db", (balances,), log) as projector:
        await projector.wait_for(log.append(Opened(account="a"), Moved(account="a", amount=2.5)))
        assert await projector.query(rows(balances.table)) == [("a", None, 2.5, 1)]
        await projector.wait_for(log.append(Moved(account="a", amount=0.5), Renamed(account="a", name="A")))
        assert await projector.query(rows(balances.table)) == [("a", "A", 3.0, 2)]


async def test_a_glance_sees_what_a_question_sees_and_nothing_is_begun_that_stays(tmp_path):
    balances, log = Balances(), MemoryLog()
    one = Prepared(select(balances.table.c.amount).where(balances.table.c.account == bindparam("account")))

    def amount(connection: Connection) -> object:
        return one.rows(connection, {"account": "a"})

    async with following(tmp_path / "read.db", (balances,), log) as projector:
        for total in (2.5, 5.0):
            events = [Opened(account="a")] if total == 2.5 else []
            await projector.wait_for(log.append(*events, Moved(account="a", amount=2.5)))
            assert projector.reached == log.position
            assert [tuple(row) for row in await projector.glance(amount)] == [(total,)]
            assert [tuple(row) for row in await projector.query(amount)] == [(total,)]
        await projector.purge()  # nobody reads there any more


async def test_a_glance_that_cannot_be_answered_at_once_is_answered_by_a_thread(tmp_path):
    balances, log = Balances(), MemoryLog()
    async with following(tmp_path / "read.db", (balances,), log) as projector:
        await projector.wait_for(log.append(Opened(account="a")))
        for _ in range(2):  # a question by SQLAlchemy's own means begins its own transaction
            assert await projector.glance(rows(balances.table)) == [("a", None, 0.0, 0)]


@pytest.fixture
def steps(monkeypatch):
    """How many events each step has written."""
    sizes, write = list[int](), ReadModels.write

    def measured(models: ReadModels, batch: Any) -> Any:
        sizes.append(len(batch))
        return write(models, batch)

    monkeypatch.setattr(ReadModels, "write", measured)
    return sizes


async def test_what_comes_soon_after_a_step_is_gathered_though_somebody_waits_for_what_is_to_come(
    tmp_path, steps, monkeypatch
):
    monkeypatch.setattr(projectors, "GATHER_SECONDS", 3600.0)
    lines, log = Lines(), MemoryLog()
    async with following(tmp_path / "read.db", (lines,), log) as projector, trio.open_nursery() as nursery:
        nursery.start_soon(projector.wait_for, 9)
        log.append(Opened(account="a"))
        await projector.wait_for(1)  # what comes after a pause is shown at once
        for _ in range(3):
            log.append(Opened(account="a"))
            await trio.testing.wait_all_tasks_blocked()
        await projector.wait_for(4)
        assert steps == [1, 3]
        nursery.cancel_scope.cancel()


async def test_what_comes_after_a_pause_is_shown_though_nobody_waits(tmp_path, steps):
    lines, log = Lines(), MemoryLog()
    async with following(tmp_path / "read.db", (lines,), log) as projector:
        log.append(Opened(account="a"))
        while projector.reached < 1:
            await projector._moved.wait()
        assert steps == [1]


async def test_an_end_can_wait_for_what_is_recorded_and_does_not_wait_long(tmp_path, steps, monkeypatch):
    monkeypatch.setattr(projectors, "GATHER_SECONDS", 3600.0)
    monkeypatch.setattr(projectors, "CATCH_UP_SECONDS_MAX", 60.0)
    lines, log = Lines(), MemoryLog()
    async with following(tmp_path / "read.db", (lines,), log) as projector:
        for _ in range(3):
            log.append(Opened(account="a"))
            await projector.catch_up()
        assert projector.reached == 3
        monkeypatch.setattr(projectors, "CATCH_UP_SECONDS_MAX", 0.01)
        projector._models.standings = {lines.NAME: replace(projector.status()[0], position=-1)}
        await projector.catch_up()  # it will never come there


async def test_many_can_wait_for_different_positions_at_once(tmp_path):
    lines, log, seen = Lines(), MemoryLog(), []

    async def wait(projector, position):
        await projector.wait_for(position)
        found = await projector.query(rows(lines.table))
        seen.append(len(found) >= position)

    async with following(tmp_path / "read.db", (lines,), log, batch_events_max=3) as projector:
        async with trio.open_nursery() as nursery:
            for position in range(1, 30):
                nursery.start_soon(wait, projector, position)
            await trio.testing.wait_all_tasks_blocked()
            log.append(*(recorded.event for recorded in story(30)))
    assert seen == [True] * 29


async def test_it_goes_on_where_it_was_and_applies_nothing_twice(tmp_path):
    balances, log = Balances(), MemoryLog(story(40))
    async with following(tmp_path / "read.db", (balances,), log):
        pass
    log.reads.clear()
    log.append(*(Moved(account="a0", amount=1.0) for _ in range(3)))
    async with following(tmp_path / "read.db", (balances,), log) as projector:
        assert log.reads[0][0] == 40
        live = await projector.digests()
    assert all(compare(live, await rebuild(log.read, tmp_path / "again.db", (balances,), upto=43)).values())


@pytest.mark.parametrize("badly", [False, True], ids=["apply raises", "the change is faulty"])
async def test_a_failing_projection_stops_alone_with_position_and_reason(tmp_path, badly):
    lines, balances = Lines(fails_at=23, badly=badly), Balances()
    async with following(tmp_path / "read.db", (lines, balances), MemoryLog(story(50))) as projector:
        stopped, going = projector.status()
        assert (stopped.position, stopped.stopped_at, going.position, going.reason) == (22, 23, 50, "")
        assert ("no such columns: ['size']" if badly else "ValueError: it can't be read") in stopped.reason
        assert len(await projector.query(rows(lines.table))) == 22
        await projector.wait_for(22, lines)
        await projector.wait_for(50)
        with pytest.raises(ProjectionStopped, match=r"lines/1 stopped at position 23"):
            await projector.wait_for(23, lines)


async def test_of_a_batch_that_fails_half_way_nothing_is_counted_twice(tmp_path):
    class Careless(Balances):
        def apply(self, recorded):
            if recorded.position == 4:
                return [Update(table=self.table, values={"owner": "a"}, where={"account": "a"})]
            return super().apply(recorded)

    log = MemoryLog()
    log.append(Opened(account="a"))
    careless = Careless()
    async with following(tmp_path / "read.db", (careless,), log) as projector:
        log.append(*(Moved(account="a", amount=1.0) for _ in range(5)))
        with pytest.raises(ProjectionStopped):
            await projector.wait_for(6, careless)
        assert await projector.query(rows(careless.table)) == [("a", None, 2.0, 2)]


async def test_a_projection_that_was_mended_goes_on_at_the_event_that_stopped_it(tmp_path):
    log = MemoryLog(story(50))
    async with following(tmp_path / "read.db", (Lines(fails_at=23),), log):
        pass
    async with following(tmp_path / "read.db", (Lines(),), log) as projector:
        live = await projector.digests()
    assert all(compare(live, await rebuild(log.read, tmp_path / "again.db", (Lines(),), upto=50)).values())


async def test_when_all_projections_have_stopped_the_projector_stays_to_answer(tmp_path):
    lines, log = Lines(fails_at=1), MemoryLog()
    async with following(tmp_path / "read.db", (lines,), log) as projector:
        log.append(Opened(account="a"))
        with pytest.raises(ProjectionStopped):
            await projector.wait_for(1, lines)
        assert await projector.query(rows(lines.table)) == []


async def test_a_new_name_rebuilds_that_projection_and_no_other(tmp_path):
    log, applied = MemoryLog(story(30)), []

    class Counted(Lines):
        def apply(self, recorded):
            applied.append(recorded.position)
            return super().apply(recorded)

    async with following(tmp_path / "read.db", (Balances("balances/1"), Counted()), log):
        pass
    async with following(tmp_path / "read.db", (Balances("balances/2"), Counted()), log) as projector:
        assert [(standing.name, standing.position) for standing in projector.status()] == [
            ("balances/2", 30),
            ("lines/1", 30),
        ]
        live = await projector.digests()
    assert applied == list(range(1, 31))
    fresh = await rebuild(log.read, tmp_path / "again.db", (Balances("balances/2"), Lines()), upto=30)
    assert all(compare(live, fresh).values())


async def test_tables_of_projections_that_are_gone_are_dropped(tmp_path):
    log = MemoryLog(story(5))
    async with following(tmp_path / "read.db", (Balances(), Lines()), log):
        pass
    async with following(tmp_path / "read.db", (Balances(),), log) as projector:
        assert await projector.query(names_of_tables) == ["balances", "positions"]


@pytest.mark.parametrize("origin, count", [("another", 30), ("one", 20)], ids=["another journal", "a shorter one"])
async def test_read_models_of_another_journal_are_made_anew(tmp_path, origin, count):
    lines = Lines()
    async with following(tmp_path / "read.db", (lines,), MemoryLog(story(30)), origin="one"):
        pass
    log = MemoryLog([*story(count)])
    async with following(tmp_path / "read.db", (lines,), log, origin=origin) as projector:
        assert log.reads[0][0] == 0
        assert len(await projector.query(rows(lines.table))) == count


async def test_a_database_that_takes_nothing_is_tried_again_and_nothing_is_lost(tmp_path):
    # SQLite's own bound on the size of a file stands in for a full disk: the error is the same.
    # It is a connection's own, so each transaction sets it: which connection serves whom is nobody's to know.
    lines, log, pages = Lines(), MemoryLog(story(10)), [PAGES_MAX]

    def bound(connection: Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages[-1]}")

    with heard("begin", bound):
        async with following(tmp_path / "read.db", (lines,), log, retry_seconds=0.0) as projector:
            pages.append(1)
            log.reads.clear()
            log.append(*(Opened(account="a") for _ in range(1500)))
            await log.wait_reads(3)
            assert log.reads[0] == log.reads[2]
            assert projector.trouble == "database or disk is full"
            assert len(await projector.query(rows(lines.table))) == 10
            pages.append(PAGES_MAX)
            await projector.wait_for(log.position)
            assert projector.trouble == ""
            assert len(await projector.query(rows(lines.table))) == log.position


async def test_who_waits_when_the_projector_ends_is_told(tmp_path):
    told = trio.Event()

    async def wait(projector):
        with pytest.raises(Unreachable):
            await projector.wait_for(1)
        told.set()

    async with trio.open_nursery() as nursery:
        async with following(tmp_path / "read.db", (Lines(),), MemoryLog()) as projector:
            nursery.start_soon(wait, projector)
            await trio.testing.wait_all_tasks_blocked()
        await told.wait()


async def test_a_question_sees_one_moment(tmp_path):
    lines, log = Lines(), MemoryLog(story(5))
    async with following(tmp_path / "read.db", (lines,), log) as projector:

        def twice(connection):
            before = rows(lines.table)(connection)
            trio.from_thread.run(grow)
            return before == rows(lines.table)(connection)

        async def grow():
            await projector.wait_for(log.append(Opened(account="b")))

        assert await projector.query(twice)
        assert len(await projector.query(rows(lines.table))) == 6


def test_two_projections_cannot_share_a_table(tmp_path):
    engine = open_database(tmp_path / "read.db")
    with pytest.raises(FaultyChange, match=r"a table of two projections: \['balances', 'balances'\]"):
        ReadModels(engine, (Balances("x/1"), Balances("y/1")))
    engine.dispose()


def test_what_a_batch_changes_is_kept_in_memory_meanwhile_and_nothing_else_is(tmp_path):
    """What pages held before, which may be what somebody had erased, is in no temporary file; a VACUUM must not be in memory."""
    engine = open_database(tmp_path / "read.db", connections_max=1)
    kept: list[int] = []

    def ask(connection: Connection) -> int:
        return int(connection.exec_driver_sql("PRAGMA temp_store").scalar_one())

    class Asking(Balances):
        def apply(self, recorded):
            kept.append(ask(writing[0]))
            return super().apply(recorded)

    writing: list[Connection] = []
    event.listen(engine, "begin", writing.append)
    models = ReadModels(engine, (Asking("asking/1"),))
    models.open(0)
    writing.clear()
    models.write(story(3))
    with engine.begin() as connection:
        assert ask(connection) == 0
    assert kept
    assert set(kept) == {2}
    engine.dispose()


def test_digests_tell_which_table_differs(tmp_path):
    projections = (Balances(), Lines())
    found = []
    for name, extra in (("a.db", []), ("b.db", ["UPDATE balances SET moves = moves + 1 WHERE account = 'a1'"])):
        engine = open_database(tmp_path / name)
        models = ReadModels(engine, projections)
        models.open(20)
        models.write(story(20))
        with engine.begin() as connection:
            for text in extra:
                connection.exec_driver_sql(text)
        found.append(digests(engine, projections))
        engine.dispose()
    assert compare(*found) == {"balances": False, "lines": True}


@given(st.lists(st.integers(1, 15), max_size=12), st.lists(st.integers(0, 3), max_size=12))
def test_any_batches_in_any_incarnations_leave_the_same_rows(sizes, restarts):
    def run(sizes, restarts):
        engine = create_engine("sqlite://")
        projections = (Balances(), Lines())
        models = ReadModels(engine, projections)
        models.open(len(records))
        for size, restart in zip(sizes, restarts, strict=True):
            after = models.position()
            models.write(records[max(0, after - restart) : after + size])
            if restart:
                models = ReadModels(engine, projections)
                models.open(len(records))
        models.write(records[models.position() :])
        found = digests(engine, projections)
        engine.dispose()
        return found

    records = story(60)
    sizes = sizes[: len(restarts)]
    assert run(sizes, restarts[: len(sizes)]) == run([1] * 60, [0] * 60)


def start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("kills", [6])
async def test_killed_again_and_again_it_ends_where_a_rebuild_ends(tmp_path, kills):
    count, path = 3000, str(tmp_path / "read.db")
    command = [sys.executable, "-m", "tests.runtime.ledger", path, str(count)]
    for n in range(kills):
        process = await trio.to_thread.run_sync(start, command)
        assert process.stdout is not None
        with process.stdout:
            for _ in range(1 + 17 * n):
                reached = int(process.stdout.readline())
            process.kill()
        process.wait()
        assert reached < count
    log = MemoryLog(story(count))
    with sqlite3.connect(path) as connection:
        assert 0 < min(connection.execute("SELECT position FROM positions"))[0] < count
    connection.close()
    async with following(path, (Balances(), Lines()), log) as projector:
        live = await projector.digests()
    assert log.reads[0][0] > 0
    assert all(
        compare(live, await rebuild(log.read, tmp_path / "again.db", (Balances(), Lines()), upto=count)).values()
    )


async def test_what_was_overwritten_is_in_no_file_though_pages_were_split_around_it(tmp_path):
    """SQLite overwrites what it deletes, and leaves behind what it has copied to another page."""
    balances, log = Balances(), MemoryLog()
    names = [f"{number * 7919 % 1000:04}" for number in range(1000)]
    log.append(*(Opened(account=name) for name in names))
    log.append(*(Renamed(account=name, name=f"SECRET-{name}") for name in names))
    log.append(*(Renamed(account=name, name=f"SECRET-{name}" + "-" * (int(name) % 300)) for name in names))
    log.append(*(Renamed(account=name, name="gone") for name in names))
    async with following(tmp_path / "read.db", (balances,), log, batch_events_max=100) as projector:
        await projector.purge()
        assert not [path.name for path in tmp_path.iterdir() if b"SECRET" in path.read_bytes()]
        assert {row[1] for row in await projector.query(rows(balances.table))} == {"gone"}


async def test_a_flood_is_gathered_up_to_a_bound_though_nobody_waits(tmp_path, steps, monkeypatch):
    monkeypatch.setattr(projectors, "GATHER_SECONDS", 3600.0)
    monkeypatch.setattr(projectors, "GATHER_EVENTS_MAX", 5)
    lines, log = Lines(), MemoryLog()
    async with following(tmp_path / "read.db", (lines,), log) as projector:
        log.append(Opened(account="a"))
        await projector.wait_for(1)
        for position in range(2, 6):
            log.append(Opened(account="a"))
            await trio.testing.wait_all_tasks_blocked()
            assert (steps, projector.reached) == ([1], 1), position
        log.append(Opened(account="a"))
        while projector.reached < 6:
            await projector._moved.wait()
        assert steps == [1, 5]

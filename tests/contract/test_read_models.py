"""Read models are made anew, stopped and resumed alike in SQLite and in PostgreSQL, under their readers."""

import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from sqlalchemy import Connection, inspect, select

from aggregates.solve_job import SolvePlanned, SolveQueued
from benchmarks.postgres_server import Server
from projections import audit, solves
from runtime.errors import Conflict
from runtime.history import Copies, History
from runtime.projector import ProjectionStopped, Projector, rebuild
from runtime.read_models import ReadModels, compare, digests_in, open_database
from runtime.records import Insert, Recorded
from tests.contract.places import make_database
from tests.projections.test_catalog_in_batches import EXAMPLE_BY_CLASS, recorded
from tests.runtime.ledger import Balances, Lines, MemoryLog, Moved, Opened, story

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield str(tmp_path / "read.db")
        return
    server: Server = request.getfixturevalue("server")
    yield make_database(server.address, request.getfixturevalue("fresh_name"))


@asynccontextmanager
async def following(place: str, projections: Any, log: MemoryLog, **options: Any) -> AsyncIterator[Projector]:
    projector = Projector(place, projections, log, **options)
    async with trio.open_nursery() as nursery:
        await nursery.start(projector.run)
        yield projector
        nursery.cancel_scope.cancel()


def rows(table: Any) -> Any:
    return lambda connection: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]


def layout(connection: Connection) -> tuple[list[str], list[tuple[Any, ...]]]:
    told = connection.exec_driver_sql("SELECT name, position FROM positions ORDER BY name").all()
    return sorted(inspect(connection).get_table_names()), [tuple(row) for row in told]


class Spoilt(Lines):
    """Writes another text, when told so: what a mended program would find different when it is made anew. It waits for `may_go_on`."""

    kind = ""

    def __init__(self) -> None:
        super().__init__()
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def apply(self, recorded: Recorded) -> Any:
        self.may_go_on.wait()
        changes = super().apply(recorded)
        if self.kind:
            changes = [Insert(table=self.table, values={"position": recorded.position, "kind": self.kind})]
        return changes


def test_whole_numbers_of_any_size_are_kept_and_asked_for(place: str) -> None:
    queued: Any = EXAMPLE_BY_CLASS[SolveQueued]
    planned: Any = EXAMPLE_BY_CLASS[SolvePlanned]
    large = {"seed": 2**32 - 1, "work_max": 2**53, "stagnation_work": 2**31}
    said = [msgspec.structs.replace(queued, **large), msgspec.structs.replace(planned, memory_bytes=2**40)]
    engine = open_database(place)
    models = ReadModels(engine, [audit, solves])
    models.open(2)
    models.write([recorded(position, event, "t") for position, event in enumerate(said, 1)])
    assert [standing.reason for standing in models.standings.values()] == ["", ""]
    with engine.begin() as connection:
        found = solves.find(connection, "t", queued.job_id)
        assert found is not None
        assert {name: found[name] for name in (*large, "memory_bytes")} == large | {"memory_bytes": 2**40}
        for principal in (None, "p"):
            told = audit.trail(connection, "t", principal=principal, before=2**63 - 1)
            assert [row["position"] for row in told] == [2, 1]
        assert [row["job_id"] for row in solves.page(connection, "t", past=[2**63 - 1])] == [queued.job_id]
    engine.dispose()


async def test_a_read_model_is_made_anew_beside_the_one_that_is_served(place: str) -> None:
    lines, balances, log = Spoilt(), Balances(), MemoryLog(story(60))
    async with following(place, (lines, balances), log, batch_events_max=9) as projector:
        before = await projector.query(rows(lines.table))
        lines.kind = "anew"
        lines.may_go_on.clear()
        ended = projector.rebuild("lines/1")
        assert await projector.query(rows(lines.table)) == before
        lines.may_go_on.set()
        await ended.wait()
        assert {kind for _, kind in await projector.query(rows(lines.table))} == {"anew"}
        assert await projector.query(layout) == (
            ["balances", "lines", "positions"],
            [("balances/1", 60), ("lines/1", 60)],
        )
        (told,) = projector.rebuilds
        assert (told.name, told.position, told.goal, told.ended, told.reason) == ("lines/1", 60, 60, True, "")


async def test_all_are_made_anew_in_one_pass_again_and_again_while_events_come(place: str, tmp_path: Path) -> None:
    projections, log = (Lines(), Balances()), MemoryLog(story(50))
    async with following(place, projections, log, batch_events_max=7) as projector:
        for _ in range(3):
            ended = projector.rebuild()
            position = log.append(Opened(account="a"), Moved(account="a", amount=0.5))
            await projector.wait_for(position)
            await ended.wait()
            position = log.append(Moved(account="a", amount=0.25))
            await projector.wait_for(position)
        live = await projector.digests()
    fresh = await rebuild(log.read, tmp_path / "again.db", projections, upto=log.position)
    assert all(compare(live, fresh).values())


async def test_while_one_rebuild_goes_on_another_is_refused(place: str) -> None:
    async with following(place, (Lines(), Balances()), MemoryLog(story(20))) as projector:
        ended = projector.rebuild("lines/1")
        with pytest.raises(Conflict, match="being made anew already"):
            projector.rebuild("balances/1")
        await ended.wait()
        ended = projector.rebuild("balances/1")
        await ended.wait()


async def test_a_rebuild_that_meets_a_poisoned_event_leaves_the_old_tables_and_says_why(place: str) -> None:
    lines, log = Lines(), MemoryLog(story(30))
    async with following(place, (lines, Balances()), log) as projector:
        lines.fails_at = 11
        ended = projector.rebuild()
        await ended.wait()
        told = {one.name: one for one in projector.rebuilds}
        assert "stopped at position 11: account." in told["lines/1"].reason
        assert told["balances/1"].reason == ""
        assert len(await projector.query(rows(lines.table))) == 30
        assert (await projector.query(layout))[0] == ["balances", "lines", "positions"]
        position = log.append(Opened(account="b"))
        await projector.wait_for(position, lines)


async def test_what_a_killed_rebuild_leaves_is_dropped_by_the_next_start_and_the_old_tables_stay(
    place: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "tests.contract.interrupted_rebuild", place]
    process = await trio.run_process(command, capture_stdout=True, check=False, cwd=ROOT)
    assert process.returncode == -9, process
    log = MemoryLog(story(400))
    async with following(place, (Lines(), Balances()), log) as projector:
        assert log.reads == []
        assert (await projector.query(layout))[0] == ["balances", "lines", "positions"]
        assert [one.position for one in projector.status()] == [400, 400]
        live = await projector.digests()
    assert all(compare(live, await rebuild(log.read, tmp_path / "again.db", (Lines(), Balances()), upto=400)).values())


async def test_a_stopped_projection_tries_again_without_a_restart(place: str) -> None:
    lines, log = Lines(fails_at=23), MemoryLog(story(50))
    async with following(place, (lines,), log) as projector:
        with pytest.raises(ProjectionStopped):
            await projector.wait_for(50, lines)
        await projector.resume("lines/1")
        with pytest.raises(ProjectionStopped, match="position 23"):
            await projector.wait_for(50, lines)
        lines.fails_at = 0
        await projector.resume("lines/1")
        await projector.wait_for(50, lines)
        assert len(await projector.query(rows(lines.table))) == 50


async def test_what_is_skipped_on_record_is_passed_over_now_and_when_it_is_made_anew(place: str) -> None:
    lines, log, skips = Lines(fails_at=23, badly=True), MemoryLog(story(50)), set[int]()

    def skipped(name: str) -> frozenset[int]:
        assert name == "lines/1"
        return frozenset(skips)

    async with following(place, (lines,), log, skipped=skipped) as projector:
        assert projector.status()[0].stopped_at == 23
        skips.add(23)
        await projector.resume("lines/1")
        await projector.wait_for(50, lines)
        live = await projector.digests()
        assert [row[0] for row in await projector.query(rows(lines.table))] == [n for n in range(1, 51) if n != 23]
        ended = projector.rebuild()
        await ended.wait()
        assert await projector.digests() == live
        assert [one.reason for one in projector.rebuilds] == [""]
    async with following(place, (lines,), log, skipped=skipped) as projector:
        assert (projector.status()[0].position, projector.skips("lines/1")) == (50, frozenset({23}))


async def test_copies_show_read_models_as_they_were_wherever_they_stand(place: str, tmp_path: Path) -> None:
    projections, log = (Lines(), Balances()), MemoryLog(story(60))
    copies = Copies(tmp_path / "copies")
    async with following(place, projections, MemoryLog(log.records[:40])) as projector:
        live = await projector.digests()
        await trio.to_thread.run_sync(copies.save, projector.engine, projections)
    history = History(copies, tmp_path / "moments", projections, log.read)
    for position, folded in ((40, 0), (55, 15)):
        before = history.folds
        found = await history.query(position, lambda connection: digests_in(connection, projections))
        assert history.folds - before == folded
        assert found == await rebuild(log.read, tmp_path / f"{position}.db", projections, upto=position)
        assert position > 40 or found == live
    history.close()

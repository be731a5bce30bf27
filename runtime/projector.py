"""Read models kept in step with the journal: from where they stand through the log, then live, in one commit for all.

Writing has a thread of its own; questions run on a few others and see one moment of the database each. Who must read what it
has just written waits for its position. What is made anew grows beside, a batch in turn with those of the tables that are served.
"""

import math
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol, TypeVar

import msgspec
import structlog
import trio
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from runtime.archives import ArchiveMissing
from runtime.errors import Conflict, Overloaded, Unreachable
from runtime.evidence import Unreadable
from runtime.hearing import Projection
from runtime.read_models import (
    Digests,
    ReadModels,
    Skipped,
    Standing,
    digests,
    nothing_skipped,
    open_database,
)
from runtime.rebuilding import Growing, Rebuild
from runtime.records import Recorded
from runtime.threads import Worker, open_worker, run_blocking

BATCH_EVENTS_MAX = 5000
REBUILD_EVENTS_MAX = 2000
"""Less than a batch: whoever waits for the tables that are served waits for one of these too."""

READERS_MAX = 4
RETRY_SECONDS = 1.0
PURGE_TRIES = 50
PURGE_AGAIN_SECONDS = 0.1
GATHER_SECONDS = 0.5
GATHER_EVENTS_MAX = 2000
"""So much time lies between two steps of the read models while events come without end, so that they are written in larger batches. Whoever
waits for what is recorded does not wait for that, and what comes after a pause is shown at once. More events than GATHER_EVENTS_MAX are
not gathered: who comes then waits for all of them."""

CATCH_UP_SECONDS_MAX = 1.0

GLANCE_SECONDS_MAX = 0.003
GLANCE_STEPS = 5000
"""After so many of SQLite's instructions, some tenths of a millisecond, the clock is looked at."""

log = structlog.get_logger()

T = TypeVar("T")
Read = Callable[[int, int], Awaitable[Sequence[Recorded]]]


class Log(Protocol):
    """The journal, as far as it is followed."""

    @property
    def position(self) -> int: ...

    async def wait_past(self, position: int, /) -> object: ...

    async def read(self, after: int, limit: int, /) -> Sequence[Recorded]: ...


class ProjectionStopped(Unreachable):
    """The projection that was waited for has stopped; its `standing` says where and why."""

    def __init__(self, standing: Standing) -> None:
        super().__init__(f"{standing.name} stopped at position {standing.stopped_at}: {standing.reason}")
        self.standing = standing


class Projector:
    """Follows a journal with some projections into one database (a path for SQLite, or a URL)."""

    def __init__(
        self,
        place: Path | str,
        projections: Sequence[Projection],
        log: Log,
        *,
        origin: str = "",
        batch_events_max: int = BATCH_EVENTS_MAX,
        readers_max: int = READERS_MAX,
        retry_seconds: float = RETRY_SECONDS,
        sync: bool = False,
        skipped: Skipped = nothing_skipped,
    ) -> None:
        """`origin` names the journal: read models that were made from another one are made anew. `sync`: see `open_database`.
        `skipped` tells the positions that a projection passes over; it is asked on the thread that writes."""
        self.trouble = ""
        """Why the database can't be written now; empty while it can."""
        self._engine = open_database(place, connections_max=readers_max + 2, sync=sync)
        self._near: Connection | None = None
        self._glance_until = math.inf
        self.reached = 0
        """The position up to which every projection that goes on shows everything, as of the last step."""
        self._models = ReadModels(self._engine, projections, origin, skipped=skipped)
        self._log = log
        self._batch_events_max = batch_events_max
        self._retry_seconds = retry_seconds
        self._readers = trio.CapacityLimiter(readers_max)
        self._moved = trio.Event()
        self._awaited = 0
        self._wanted = trio.Event()
        self._stepped_at = -math.inf
        self._pause = trio.CancelScope()
        self._worker: Worker | None = None
        self._nursery: trio.Nursery | None = None
        self._rebuilds: dict[str, Rebuild] = {}
        self._is_rebuilding = False
        self._closed = False

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follows until cancelled; reports that it has started once the models stand where the journal stood."""
        worker = self._worker = open_worker("projector")
        try:
            await self._open(worker)
            self._near = self._open_near()
            self._tell()
            goal = self._log.position
            while (position := self._models.position()) is not None and position < goal:
                await self._step(worker, position)
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                while True:
                    await self._follow(worker)
        finally:
            self._closed = True
            self._moved.set()
            worker.close()
            if self._near is not None:
                near, self._near = self._near, None
                near.close()
            self._engine.dispose()

    async def _open(self, worker: Worker) -> None:
        try:
            await worker.run(self._models.open, self._log.position)
        except OperationalError as error:
            raise Unreadable(f"the read models can't be opened: {error.orig}") from error

    async def _follow(self, worker: Worker) -> None:
        """Waits for news, or until a projection that had stopped goes on; takes one step."""
        with trio.CancelScope() as self._pause:
            position = self._models.position()
            if position is None:
                await trio.sleep_forever()
            else:
                await self._log.wait_past(position)
                await self._gather(position)
        position = self._models.position()
        if position is not None and position < self._log.position:
            await self._step(worker, position)

    async def _gather(self, position: int) -> None:
        """A step of one event costs as much as one of a hundred: soon after the last, and unless somebody waits, some are awaited."""
        most = min(self._batch_events_max, GATHER_EVENTS_MAX)
        if not self._awaited and self._log.position - position < most:
            self._wanted = trio.Event()
            with trio.move_on_at(self._stepped_at + GATHER_SECONDS):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._want_at, position + most)
                    await self._wanted.wait()
                    nursery.cancel_scope.cancel()

    async def _want_at(self, position: int) -> None:
        await self._log.wait_past(position - 1)
        self._wanted.set()

    async def _step(self, worker: Worker, position: int) -> None:
        batch = await self._log.read(position, self._batch_events_max)
        going = {standing.name for standing in self.status() if not standing.reason}
        try:
            await worker.run(self._models.write, batch)
        except OperationalError as error:
            await self._hold(str(error.orig))
            return
        self.trouble = ""
        for standing in self.status():
            if standing.reason and standing.name in going:
                log.error("projection_stopped", name=standing.name, at=standing.stopped_at, reason=standing.reason)
        self._stepped_at = trio.current_time()
        self._tell()

    def _tell(self) -> None:
        self.reached = self._models.position() or 0
        self._moved.set()
        self._moved = trio.Event()

    async def _hold(self, trouble: str) -> None:
        """What the database can't take now is tried again: the journal keeps it, and only readers fall behind."""
        if not self.trouble:
            log.error("read_models_not_writable", reason=trouble)
        self.trouble = trouble
        await trio.sleep(self._retry_seconds)

    @property
    def engine(self) -> Engine:
        """The database, for whoever copies it."""
        return self._engine

    @property
    def projections(self) -> tuple[Projection, ...]:
        """What it follows with."""
        return self._models.projections

    def status(self) -> tuple[Standing, ...]:
        """Where each projection stands, those that have stopped with position and reason."""
        return tuple(self._models.standings.values())

    # ---- stopped ones

    async def resume(self, name: str) -> None:
        """Lets a projection that has stopped try again where it did, without the events that were skipped on record since."""
        await self._writer().run(self._models.resume, name)
        self._pause.cancel()
        self._tell()

    def skips(self, name: str) -> frozenset[int]:
        """The positions that a projection passes over."""
        return self._models.skips(name)

    def _writer(self) -> Worker:
        if self._worker is None or self._closed:
            raise Unreachable("the projector does not run")
        return self._worker

    async def purge(self) -> None:
        """Has nothing be left in the database's files of what was overwritten. Raises Overloaded while others read there, or where it has
        no room to be written anew."""
        try:
            await self._writer().run(self._models.rewrite)
        except (OperationalError, sqlite3.OperationalError) as error:
            raise Overloaded(f"the read models can't be written anew now: {getattr(error, 'orig', error)}") from error
        for _ in range(PURGE_TRIES):
            if await self._writer().run(self._models.empty_log):
                return
            await trio.sleep(PURGE_AGAIN_SECONDS)
        raise Overloaded("the read models are being read: what was overwritten still stands in their write-ahead log")

    # ---- made anew

    @property
    def rebuilds(self) -> tuple[Rebuild, ...]:
        """The projections that are being made anew, or were since the start, with how far each is."""
        return tuple(self._rebuilds.values())

    def rebuild(self, *names: str) -> trio.Event:
        """Begins to make projections (all, if none is named) anew beside the tables that are served; the event is set when that has ended.

        Raises Conflict while it does so already.
        """
        self._writer()
        if self._is_rebuilding or self._nursery is None:
            raise Conflict("read models are being made anew already")
        self._is_rebuilding = True
        chosen = names or tuple(projection.NAME for projection in self.projections)
        self._rebuilds |= {name: Rebuild(name=name, goal=self._log.position) for name in chosen}
        ended = trio.Event()
        self._nursery.start_soon(self._rebuild, chosen, ended)
        return ended

    async def _rebuild(self, names: Sequence[str], ended: trio.Event) -> None:
        started, goal = trio.current_time(), self._log.position
        try:
            growing = await self._patiently(partial(Growing, self._models, names))
            while not (growing.reaches(goal) and await self._patiently(partial(growing.swap, goal))):
                try:
                    await self._grow(growing)
                except ArchiveMissing as error:
                    growing.give_up(str(error))
                seconds = trio.current_time() - started
                self._rebuilds |= {name: _progress(growing.standing(name), name, goal, seconds) for name in names}
            self._tell()
        finally:
            self._is_rebuilding = False
        self._rebuilds |= {name: msgspec.structs.replace(self._rebuilds[name], ended=True) for name in names}
        for name in names:
            log.info("read_model_rebuilt", **msgspec.structs.asdict(self._rebuilds[name]))
        ended.set()

    async def _grow(self, growing: Growing) -> None:
        position = growing.models.position()
        assert position is not None, "all that have stopped have reached what they can"
        batch = await self._log.read(position, REBUILD_EVENTS_MAX)
        await self._patiently(partial(growing.models.write, batch))

    async def _patiently(self, work: Callable[[], T]) -> T:
        """Does work on the thread that writes, again and again while the database can't be written."""
        while True:
            try:
                return await self._writer().run(work)
            except OperationalError as error:
                log.warning("read_models_not_rebuilt_now", reason=str(error.orig))
            await trio.sleep(self._retry_seconds)

    # ---- asking

    async def wait_for(self, position: int, *projections: Projection) -> None:
        """Waits until these projections (all that go on, if none is named) show everything up to a position.

        Raises ProjectionStopped where a named one never will, and Unreachable when the projector has ended.
        """
        names = {projection.NAME for projection in projections}
        # Who waits for what nobody has recorded yet is in no hurry: as who keeps copies for History does, all the time.
        is_due = position <= self._log.position
        self._awaited += is_due
        if is_due:
            self._wanted.set()
        try:
            while any(self._waits(standing, position, names) for standing in self.status()):
                if self._closed:
                    raise Unreachable("the projector has ended")
                await self._moved.wait()
        finally:
            self._awaited -= is_due

    async def catch_up(self) -> None:
        """Waits, but not long, until all that is recorded is shown: for who answers anyway, and for an end, whose files are then whole."""
        with trio.move_on_after(CATCH_UP_SECONDS_MAX), suppress(Unreachable):
            await self.wait_for(self._log.position)

    def _waits(self, standing: Standing, position: int, names: set[str]) -> bool:
        if standing.position >= position or (names and standing.name not in names):
            return False
        if names and standing.reason:
            raise ProjectionStopped(standing)
        return not standing.reason

    async def glance(self, question: Callable[[Connection], T]) -> T:
        """As `query`, for a question that is usually answered in a moment. Raises Overloaded.

        On SQLite it is asked here and now, in the event loop's own thread: a row found by its key takes 30 µs, while a thread takes the
        same and costs 100 more, and passes the interpreter's lock to and fro for each row. It can't hold the loop up: what takes longer
        than GLANCE_SECONDS_MAX is broken off and asked again by a thread; in WAL mode readers wait for no writer, and where SQLite would
        wait for something else, as it does while a crash is mended, it says so at once.
        """
        if self._near is not None:
            driver: Any = self._near.connection.driver_connection
            self._glance_until = perf_counter() + GLANCE_SECONDS_MAX
            try:
                # Past SQLAlchemy, whose own transactions cost as much as the question. One that it begins here nevertheless is
                # refused by SQLite, and the question goes to a thread.
                driver.execute("BEGIN")
                try:
                    return question(self._near)
                finally:
                    driver.execute("COMMIT")
            except (OperationalError, sqlite3.OperationalError):
                self._near.rollback()
        return await self.query(question)

    def _open_near(self) -> Connection | None:
        if self._engine.dialect.name != "sqlite":
            return None
        near = self._engine.connect()
        driver: Any = near.connection.driver_connection
        driver.execute("PRAGMA busy_timeout = 0")
        driver.set_progress_handler(lambda: perf_counter() > self._glance_until, GLANCE_STEPS)
        return near

    async def query(self, question: Callable[[Connection], T]) -> T:
        """Runs `question(connection)` on a reader thread, in one read transaction. Raises Overloaded where the database can't answer."""
        try:
            return await run_blocking(self._ask, question, limiter=self._readers)
        except OperationalError as error:
            raise Overloaded(f"the read models can't be read now: {error.orig}") from error

    def _ask(self, question: Callable[[Connection], T]) -> T:
        with self._engine.begin() as connection:
            return question(connection)

    async def digests(self) -> Digests:
        """What each table holds, all at one moment, to be compared with `rebuild`'s."""
        return await run_blocking(digests, self._engine, self._models.projections, limiter=self._readers)


def _progress(standing: Standing, name: str, goal: int, seconds: float) -> Rebuild:
    rate = round(standing.position / seconds, 1) if seconds > 0 else 0.0
    where = f"stopped at position {standing.stopped_at}: {standing.reason}" if standing.reason else ""
    return Rebuild(name=name, position=standing.position, goal=goal, events_per_second=rate, reason=where)


async def rebuild(
    read: Read,
    place: Path | str,
    projections: Sequence[Projection],
    *,
    upto: int,
    origin: str = "",
    batch_events_max: int = BATCH_EVENTS_MAX,
    skipped: Skipped = nothing_skipped,
) -> Digests:
    """Makes fresh read models elsewhere from the log up to a position, and returns what their tables hold."""
    engine = open_database(place, connections_max=1)
    try:
        models = ReadModels(engine, projections, origin, skipped=skipped)
        await run_blocking(models.open, 0)
        while (position := models.position()) is not None and position < upto:
            batch = await read(position, min(batch_events_max, upto - position))
            if not batch:
                break
            await run_blocking(models.write, batch)
        return await run_blocking(digests, engine, models.projections)
    finally:
        engine.dispose()

"""Read models as they were: saved copies, and any position between them folded forward from the nearest one.

Copies are whole SQLite files, one every so many positions, fewer the older they are. What is asked for is made from the newest copy that
is not past it, in a file of its own, and kept for as long as few others are asked for: the next question about it costs nothing.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

import structlog
import trio
from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import OperationalError

from runtime.errors import Overloaded, Unreachable
from runtime.hearing import Projection
from runtime.read_models import ReadModels, Skipped, Standing, nothing_skipped, open_database, positions
from runtime.records import Recorded
from runtime.store.copies import copy_database
from runtime.threads import run_blocking

COPY_POSITIONS = 50_000
"""How far apart copies are made: to fold so many events takes one or two seconds."""

COPIES_MAX = 16
COPIES_BYTES_MAX = 4 << 30
MOMENTS_MAX = 3
"""How many moments are kept ready; each is as large as the read models are."""

READERS_MAX = 2
"""How many ask one moment at a time; the others wait."""

ASKERS_MAX = 8
"""How many may wait for a moment that is being made."""

BATCH_EVENTS_MAX = 5000
ROWS_MAX = 1000
AGAIN_SECONDS = 10.0

log = structlog.get_logger()

T = TypeVar("T")
Read = Callable[[int, int], Awaitable[Sequence[Recorded]]]


class Copies:
    """The copies in a folder, each named by the position that it stands at. Its methods block."""

    def __init__(self, folder: Path, *, copies_max: int = COPIES_MAX, bytes_max: int = COPIES_BYTES_MAX) -> None:
        self.folder = folder
        self.copies_max = copies_max
        self.bytes_max = bytes_max

    def positions(self) -> list[int]:
        """Where the copies stand, in order."""
        return sorted(int(path.stem) for path in self.folder.glob("*.db") if path.stem.isdigit())

    def path(self, position: int) -> Path:
        """The copy that stands at this position."""
        return self.folder / f"{position}.db"

    def nearest(self, position: int) -> Path | None:
        """The newest copy that is not past a position."""
        found = [one for one in self.positions() if one <= position]
        return self.path(found[-1]) if found else None

    def save(self, engine: Engine, projections: Sequence[Projection]) -> None:
        """Copies a database as it stands, at one moment, while it is written; then drops what is too many or too large."""
        self.folder.mkdir(exist_ok=True, mode=0o700)
        partial = self.folder / "copy.partial"
        partial.unlink(missing_ok=True)
        try:
            position = _copy(engine, projections, partial)
            partial.replace(self.path(position))
        finally:
            partial.unlink(missing_ok=True)
        self.thin()

    def drop(self) -> None:
        """Drops all copies."""
        for position in self.positions():
            self.path(position).unlink()

    def thin(self) -> None:
        """Drops copies until their number and bytes are within bounds: those that are missed least, the newest last of all."""
        kept = self.positions()
        while kept and (len(kept) > self.copies_max or self._bytes(kept) > self.bytes_max):
            self.path(kept.pop(_least_missed(kept))).unlink()

    def _bytes(self, kept: Sequence[int]) -> int:
        return sum(self.path(position).stat().st_size for position in kept)


def _least_missed(kept: Sequence[int]) -> int:
    """The copy without which the gap is smallest for its age: so gaps grow with age, and a few copies reach far back."""
    if len(kept) == 1:
        return 0
    newest, around = kept[-1], (0, *kept)

    def gap(at: int) -> float:
        return (around[at + 2] - around[at]) / (newest - around[at])

    return min(range(len(kept) - 1), key=gap)


def _copy(engine: Engine, projections: Sequence[Projection], target: Path) -> int:
    """Copies a database into a file; returns the position that it stands at."""
    if engine.dialect.name == "sqlite":
        _vacuum(engine, target)
    copy = open_database(target, connections_max=1)
    try:
        if engine.dialect.name != "sqlite":
            _copy_rows(engine, projections, copy)
        with copy.begin() as connection:
            found = connection.execute(select(positions.c.position)).scalars().all()
        with copy.connect() as connection:
            raw = connection.connection.driver_connection
            assert raw is not None
            raw.execute("PRAGMA journal_mode = DELETE")  # one file, which can be renamed
        return max(found, default=0)
    finally:
        copy.dispose()


def _vacuum(engine: Engine, target: Path) -> None:
    connection = engine.raw_connection()
    try:
        raw = connection.driver_connection
        assert raw is not None
        raw.execute("VACUUM INTO ?", (str(target),))
    finally:
        connection.close()


def _copy_rows(engine: Engine, projections: Sequence[Projection], copy: Engine) -> None:
    tables = [positions, *(table for projection in projections for table in projection.TABLES)]
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as source, copy.begin() as target:
        for table in tables:
            table.create(target)
            columns = [column for column in table.columns if column.computed is None]
            found = source.execution_options(yield_per=ROWS_MAX).execute(select(*columns))
            for rows in found.mappings().partitions():
                target.execute(table.insert(), [dict(row) for row in rows])


class Followed(Protocol):
    """The read models that are copied, as far as that needs them."""

    @property
    def engine(self) -> Engine: ...

    @property
    def projections(self) -> tuple[Projection, ...]: ...

    def status(self) -> Sequence[Standing]: ...

    async def wait_for(self, position: int, /) -> None: ...


class Moment:
    """Read models at one position. `ready` is set when they are there, or could not be made (no `engine`); `ended` when they are gone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ready = trio.Event()
        self.ended = trio.Event()
        self.engine: Engine | None = None
        self.users = 0
        self.readers = trio.CapacityLimiter(READERS_MAX)


class History:
    """Read models as of any position: made from `copies` and the journal that `read` reads, in files under `folder`."""

    def __init__(
        self,
        copies: Copies,
        folder: Path,
        projections: Sequence[Projection],
        read: Read,
        *,
        origin: str = "",
        skipped: Skipped = nothing_skipped,
        moments_max: int = MOMENTS_MAX,
    ) -> None:
        self.copies = copies
        self.folds = 0
        """How many events were folded so far."""
        self._folder = folder
        self._projections = projections
        self._read = read
        self._origin = origin
        self._skipped = skipped
        self._moments_max = moments_max
        self._moments: OrderedDict[int, Moment] = OrderedDict()
        self._made = 0
        self._making = trio.CapacityLimiter(1)
        self._copying = trio.Lock()

    async def keep_copies(self, models: Followed, copy_positions: int = COPY_POSITIONS) -> None:
        """Copies read models every so many positions, until these end."""
        with suppress(Unreachable):
            await self._keep_copies(models, copy_positions)

    async def _keep_copies(self, models: Followed, copy_positions: int) -> None:
        after = max(await run_blocking(self.copies.positions), default=0)
        while True:
            await models.wait_for(after + copy_positions)
            reached = max((standing.position for standing in models.status()), default=0)
            if reached < after + copy_positions:  # all have stopped
                await trio.sleep(AGAIN_SECONDS)
                continue
            after = reached
            try:
                async with self._copying:
                    await run_blocking(self.copies.save, models.engine, models.projections)
            except (OperationalError, OSError, sqlite3.Error) as error:
                log.warning("read_models_not_copied", reason=str(error))

    async def query(self, position: int, question: Callable[[Connection], T]) -> T:
        """Runs `question(connection)` on the read models as of a position. Raises Overloaded while too many wait for others."""
        moment = self._moments.get(position)
        is_new = moment is None
        if moment is None:
            self._made += 1  # one that is being forgotten may have the same position
            moment = self._moments[position] = Moment(self._folder / f"moment-{position}-{self._made}.db")
        self._moments.move_to_end(position)
        moment.users += 1
        try:
            if is_new:
                await self._fill(moment, position)
            await moment.ready.wait()
            if moment.engine is None:
                raise Overloaded(f"the read models as of position {position} could not be made; ask again")
            return await run_blocking(_ask, moment.engine, question, limiter=moment.readers)
        finally:
            moment.users -= 1
            if self._moments.get(position) is moment:
                self._drop(self._moments_max)
            elif not moment.users:  # it was forgotten meanwhile, or could not be made
                _end(moment)

    async def _fill(self, moment: Moment, position: int) -> None:
        try:
            if self._making.statistics().tasks_waiting >= ASKERS_MAX:
                raise Overloaded("many ask for read models as they were")
            async with self._making:
                moment.engine = await self._make(moment.path, position)
        except (OperationalError, OSError) as error:
            raise Overloaded(f"the read models as of position {position} can't be made now: {error}") from error
        finally:
            if moment.engine is None:
                if self._moments.get(position) is moment:
                    del self._moments[position]
                _remove(moment.path)
            moment.ready.set()

    async def _make(self, path: Path, position: int) -> Engine:
        await run_blocking(self._begin, path, position)
        engine = open_database(path, connections_max=READERS_MAX)
        try:
            models = ReadModels(engine, self._projections, self._origin, skipped=self._skipped)
            await run_blocking(models.open, position)
            while (reached := models.position()) is not None and reached < position:
                batch = await self._read(reached, min(BATCH_EVENTS_MAX, position - reached))
                if not batch:
                    break
                self.folds += len(batch)
                await run_blocking(models.write, batch)
        except BaseException:
            engine.dispose()
            raise
        return engine

    def _begin(self, path: Path, position: int) -> None:
        self._folder.mkdir(exist_ok=True, mode=0o700)
        _remove(path)
        nearest = self.copies.nearest(position)
        if nearest is not None:
            copy_database(nearest, path)

    def _drop(self, most: int) -> None:
        idle = [position for position, moment in self._moments.items() if not moment.users]
        for position in idle[: max(0, len(self._moments) - most)]:
            _end(self._moments.pop(position))

    async def forget(self) -> None:
        """Drops all copies, and all moments that are there now, each as soon as nobody asks it any more: they may hold what was erased.

        Whoever asks from now on has another moment, so that however many ask, these come to an end.
        """
        async with self._copying:
            await run_blocking(self.copies.drop)
        leaving = list(self._moments.values())
        self._drop(0)
        self._moments.clear()
        for moment in leaving:
            await moment.ended.wait()

    def close(self) -> None:
        """Forgets all moments; nobody asks any more."""
        self._drop(0)


def _end(moment: Moment) -> None:
    """Nobody asks it any more."""
    moment.ended.set()
    if moment.engine is not None:
        moment.engine.dispose()
    _remove(moment.path)


def _remove(path: Path) -> None:
    """A database with the files beside it."""
    for one in path.parent.glob(f"{path.name}*"):
        one.unlink()


def _ask(engine: Engine, question: Callable[[Connection], T]) -> T:
    with engine.begin() as connection:
        return question(connection)

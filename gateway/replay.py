"""Folds the log anew: rebuilds the read models and compares them with those that grew as it happened, or checks that all of it folds."""

import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec
import trio

from agents.roster import ROSTER
from aggregates.catalog import AGGREGATES
from gateway.exports import RECORDS, STREAM, open_journal
from gateway.skips import skipped_in
from projections.catalog import PROJECTIONS
from runtime.codec import Codec
from runtime.projector import rebuild
from runtime.read_models import Digests, Skipped, compare, digests, nothing_skipped, open_database
from runtime.records import Recorded
from runtime.refold import Refold, Refolded


class TableFinding(msgspec.Struct, frozen=True):
    """A table that was rebuilt, and whether it holds what the live one holds."""

    rows: int
    equal: bool


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay found; `records` were folded."""

    equal: bool
    records: int
    seconds: float
    tables: dict[str, TableFinding]


async def replay(
    live: Digests,
    read: Callable[[int, int], Awaitable[Sequence[Recorded]]],
    place: Path,
    origin: str,
    skipped: Skipped = nothing_skipped,
) -> Replay:
    """Folds the log up to where the live read models stand into a new file at `place`, and compares."""
    upto = max((digest.position for digest in live.values()), default=0)
    started = time.perf_counter()
    rebuilt = await rebuild(read, place, PROJECTIONS, upto=upto, origin=origin, skipped=skipped)
    seconds = time.perf_counter() - started
    equal = compare(live, rebuilt)
    tables = {name: TableFinding(rebuilt[name].rows if name in rebuilt else 0, same) for name, same in equal.items()}
    return Replay(equal=all(equal.values()), records=upto, seconds=round(seconds, 3), tables=tables)


def digests_of(read_models: Path | str) -> Digests:
    """What the read models at a path or address hold, at one moment."""
    engine = open_database(read_models, connections_max=1)
    try:
        return digests(engine, PROJECTIONS)
    finally:
        engine.dispose()


def replay_copies(journal: Path, live: Digests, place: Path) -> Replay:
    """The same for a copy of a journal."""
    return trio.run(partial(_replay_copies, journal, live, place))


async def _replay_copies(journal: Path, live: Digests, place: Path) -> Replay:
    codec = Codec(AGGREGATES)
    with open_journal(journal) as connection:
        origin = connection.execute("SELECT value FROM facts WHERE name = 'origin'").fetchone()[0]
        newest = connection.execute("SELECT COALESCE(MAX(rowid), 0) FROM stored_events").fetchone()[0]

        async def read(after: int, limit: int) -> list[Recorded]:
            rows = connection.execute(RECORDS, (after, newest, limit)).fetchall()
            return [codec.recorded(*row) for row in rows]

        def read_stream(stream: str) -> list[Recorded]:
            return [codec.recorded(*row) for row in connection.execute(STREAM, (stream,))]

        skipped = skipped_in(read_stream)
        positions_by_name = {projection.NAME: skipped(projection.NAME) for projection in PROJECTIONS}
        return await replay(live, read, place, origin, positions_by_name.__getitem__)


def refold(journal: sqlite3.Connection, place: Path) -> Refolded:
    """Folds a whole journal with this program, read models into a new database at `place`."""
    return Refold(journal, Codec(AGGREGATES)).run(ROSTER, PROJECTIONS, place)

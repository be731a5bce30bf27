"""What `gavel log replay` and `check` do: fold the log anew and compare the read models with those that grew as it happened, or see that
all of it folds. Commands are decided anew elsewhere: `gateway/audit`."""

import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import trio
from sqlalchemy import Connection

from agents.roster import ROSTER
from aggregates.catalog import AGGREGATES
from gateway.api.queries import AsOf
from gateway.storage.journal_file import JournalFile, open_journal
from gateway.storage.skips import skipped_in
from projections.catalog import PROJECTIONS
from runtime.codec import Codec
from runtime.history import Copies, History
from runtime.keyring import Keyring
from runtime.projector import rebuild
from runtime.read_models import Digests, Skipped, compare, digests, nothing_skipped, open_database
from runtime.records import Recorded
from runtime.refold import Refold, Refolded

T = TypeVar("T")


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


def replay_copies(journal: Path, live: Digests, place: Path, keys: Keyring | None = None) -> Replay:
    """The same for a copy of a journal, with the keys of the personal data in it."""
    return trio.run(partial(_replay_copies, journal, live, place, keys))


async def _replay_copies(journal: Path, live: Digests, place: Path, keys: Keyring | None) -> Replay:
    with open_journal(journal) as connection:
        reader = JournalFile(connection, journal, keys)

        async def read(after: int, limit: int) -> list[Recorded]:
            return reader.read(after, limit)

        skips = {projection.NAME: skipped_in(reader.read_stream)(projection.NAME) for projection in PROJECTIONS}
        return await replay(live, read, place, reader.origin, skips.__getitem__)


class Past:
    """Read models as they were, for who has a journal's file, and copies that its node has made."""

    def __init__(self, journal: Path, copies: Path, folder: Path, keys: Keyring | None = None) -> None:
        """`folder` is for what is made on the way."""
        self._journal = journal
        self._keys = keys
        self._copies = copies
        self._folder = folder

    async def query(self, moment: AsOf, question: Callable[[Connection], T]) -> T:
        """The answer as of a moment. Raises Refused where that is past the journal's end."""
        with open_journal(self._journal) as connection:
            reader = JournalFile(connection, self._journal, self._keys)
            position = reader.position_of(moment)
            skips = {projection.NAME: skipped_in(reader.read_stream)(projection.NAME) for projection in PROJECTIONS}

            async def read(after: int, limit: int) -> Sequence[Recorded]:
                return reader.read(after, limit)

            copies = Copies(self._copies)
            history = History(copies, self._folder, PROJECTIONS, read, origin=reader.origin, skipped=skips.__getitem__)
            try:
                return await history.query(position, question)
            finally:
                history.close()


def refold(journal: sqlite3.Connection, place: Path, keys: Keyring | None = None) -> Refolded:
    """Folds a whole journal with this program, read models into a new database at `place`."""
    return Refold(journal, Codec(AGGREGATES, keys)).run(ROSTER, PROJECTIONS, place)

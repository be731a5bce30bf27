"""What it costs to decide old commands anew: a day's tasks through fold, decide and compare, against folding alone.

Both sides read the same journal a page at a time with the same reader, which keeps the state of each stream; the peer's stops there. What
commands carry is not checked here: `gavel audit replay` does that too, and says how long it took.
"""

import tempfile
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import trio

from aggregates.catalog import AGGREGATES
from benchmarks import workday
from benchmarks.measure import Measured, Row, interleaved
from runtime.codec import Codec
from runtime.replay import Replay
from runtime.store.sqlite import SqliteStore
from runtime.transparency import Signer

EVENTS = 42_000
ROUNDS = 7


def replay(events: int = EVENTS, rounds: int = ROUNDS, place: Path | None = None) -> Measured:
    """Commands per second of CPU: each of these events is one command's."""
    with (
        tempfile.TemporaryDirectory(dir=place) as folder,
        closing(SqliteStore(Path(folder) / "journal.db", Codec(AGGREGATES), Signer.make())) as store,
    ):
        workday.fill(store, store.codec, events)
        return trio.run(interleaved, partial(_decide, store), partial(_fold, store), rounds)


async def _decide(store: SqliteStore) -> float:
    began = time.process_time()
    reading = Replay(store, store.codec, last=store.position)
    assert list(reading.run()) == []
    assert reading.equal == store.position
    return reading.equal / (time.process_time() - began)


async def _fold(store: SqliteStore) -> float:
    began = time.process_time()
    reading = Replay(store, store.codec, last=store.position, decides=False)
    assert list(reading.run()) == []
    assert reading.records == store.position
    return reading.records / (time.process_time() - began)


ROWS = (
    Row(
        name="replay",
        measure=replay,
        peer="folding alone",
        unit="commands per second of CPU",
        better="more",
        goal=0.4,
    ),
)

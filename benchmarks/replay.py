"""What it costs to decide old commands anew: a day's tasks through fold, decide and compare, against folding alone.

The peer reads the same records page by page as anybody reads a journal, and folds each stream's state: what a replay does without the
commands. What commands carry is not checked here; `gavel audit replay` does that too, and says how long all of it took.
"""

import tempfile
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import trio

from aggregates.catalog import AGGREGATES
from benchmarks import workday
from benchmarks.measure import Measured, Row, interleaved
from runtime.codec import Codec
from runtime.records import evolved
from runtime.replay import PAGE, Replay
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
    states: dict[str, Any] = {}
    after = 0
    while records := store.read(after, PAGE):
        for record in records:
            aggregate = store.codec.aggregate_of(record.stream)
            state = states.get(record.stream, aggregate.initial)
            states[record.stream] = evolved(aggregate.evolve, state, record.event)
        after = records[-1].position
    return after / (time.process_time() - began)


ROWS = (
    Row(
        name="replay",
        measure=replay,
        peer="reading the same records and folding them",
        unit="commands per second of CPU",
        better="more",
        goal=0.4,
    ),
)

"""What it costs that personal data is encrypted: entries of diaries that belong to somebody, against the same entries of nobody's.

Each diary is of another person, whose keys are made in the first round. Entry and command are both sealed, since both hold the text.
"""

import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import trio

from benchmarks.diary import Scribe, Write
from benchmarks.journal import CALLERS, CONTEXT, ROUND_SECONDS, check_disk
from benchmarks.measure import Measured, Row, interleaved
from runtime.clock import SystemClock
from runtime.codec import Codec
from runtime.ids import Ids
from runtime.keyring import Keyring
from runtime.master import MasterKey
from runtime.store.sqlite import SqliteStore
from runtime.system import Role, System, open_system
from runtime.transparency import Signer

ROUNDS = 7
TEXT = (
    "Met Erika in the afternoon; she will bring the papers on Thursday, and wants to be called at home until then. " * 2
)


def encrypt(
    callers: int = CALLERS, rounds: int = ROUNDS, round_seconds: float = ROUND_SECONDS, place: Path | None = None
) -> Measured:
    """Durable commands per second with and without a data subject, in one journal, in alternation."""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        check_disk(Path(folder))
        return trio.run(_encrypt, Path(folder), callers, rounds, round_seconds)


async def _encrypt(folder: Path, callers: int, rounds: int, round_seconds: float) -> Measured:
    clock = SystemClock()
    ids = Ids(clock)
    names = [ids.new() for _ in range(callers)]
    with (
        closing(Keyring(folder / "keyring.db", MasterKey("00" * 32, "the bench"))) as keyring,
        closing(
            SqliteStore(folder / "journal.db", Codec([sys.modules["benchmarks.diary"]], keyring), Signer.make())
        ) as store,
    ):
        async with open_system(store, [Role(Scribe)], clock=clock, ids=ids) as system:

            async def ours() -> float:
                return await _rate(system, [Write(diary=n, text=TEXT, data_subject=n) for n in names], round_seconds)

            async def theirs() -> float:
                return await _rate(system, [Write(diary=n, text=TEXT) for n in names], round_seconds)

            return await interleaved(ours, theirs, rounds)


async def _rate(system: System, entries: list[Write], seconds: float) -> float:
    count, began = 0, time.perf_counter()

    async def call(entry: Write) -> None:
        nonlocal count
        while time.perf_counter() < began + seconds:
            await system.ask(entry, CONTEXT)
            count += 1

    async with trio.open_nursery() as nursery:
        for entry in entries:
            nursery.start_soon(call, entry)
    return count / (time.perf_counter() - began)


ROWS = (
    Row(
        name="encrypt",
        measure=encrypt,
        peer="the same without encryption",
        unit="durable commands per second",
        better="more",
        goal=0.8,
    ),
)

"""What it costs to take a journal out whole, with its proof: against reading the same rows and hashing them, the least there is."""

import hashlib
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

from benchmarks import big
from benchmarks.measure import Measured, Row
from runtime.exports import PAGE_RECORDS, write_whole

EVENTS = 500_000
ROUNDS = 5
ROWS_IN_ORDER = "SELECT rowid, originator_id, originator_version, topic, state FROM stored_events ORDER BY rowid"


def export_rate(events: int = EVENTS, rounds: int = ROUNDS, place: Path | None = None) -> Measured:
    """Events per second: written to a file with a root that was computed and compared, and read and hashed; in alternation."""
    journal = big.big_journal(events, place) / "journal.db"
    ours, theirs = [], []
    with tempfile.TemporaryDirectory(dir=place) as folder:
        for _ in range(rounds):
            ours.append(events / _export(journal, Path(folder) / "export"))
            theirs.append(events / _read_and_hash(journal))
    return Measured(ours=ours, theirs=theirs)


def _export(journal: Path, target: Path) -> float:
    started = time.perf_counter()
    with closing(_open(journal)) as connection, target.open("wb") as file:
        write_whole(connection, file)
    return time.perf_counter() - started


def _read_and_hash(journal: Path) -> float:
    """All five columns of each record, by a SHA-256 each."""
    started = time.perf_counter()
    with closing(_open(journal)) as connection:
        rows = connection.execute(ROWS_IN_ORDER)
        while page := rows.fetchmany(PAGE_RECORDS):
            for position, stream, version, kind, body in page:
                hashlib.sha256(b"%d %b %d %b %b" % (position, stream.encode(), version, kind.encode(), body)).digest()
    return time.perf_counter() - started


def _open(journal: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{journal.as_uri()}?mode=ro", uri=True, isolation_level=None)
    connection.execute("BEGIN")
    return connection


ROWS = (
    Row(
        name="export",
        measure=export_rate,
        peer="reading the same rows and hashing each",
        unit="events per second",
        better="more",
        goal=0.5,
    ),
)

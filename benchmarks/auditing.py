"""What an auditor's questions cost: to verify a whole journal, and to prove one record of a large one."""

import random
import sqlite3
import time
from contextlib import closing
from hashlib import sha256
from pathlib import Path

from benchmarks.big import EVENTS, big_journal, open_store
from benchmarks.measure import Measured, Row
from runtime.inspection import PAGE_RECORDS
from runtime.proving import prove
from runtime.store.store import Store
from runtime.transparency import Tree, leaf_hash
from runtime.verification import verify

RECORDS = "SELECT rowid, originator_id, originator_version, topic, state FROM stored_events ORDER BY rowid"
VERIFIED = 1_000_000
"""To verify more takes longer, and no longer for each event."""


def verify_rate(events: int = VERIFIED, rounds: int = 3, place: Path | None = None) -> Measured:
    """Events per second of `gavel audit verify`, and of reading the same rows and hashing each; in alternation."""
    journal = big_journal(events, place) / "journal.db"
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(events / _seconds_to_verify(journal))
        theirs.append(events / _seconds_to_hash(journal))
    return Measured(ours=ours, theirs=theirs)


def _seconds_to_verify(journal: Path) -> float:
    began = time.perf_counter()
    report = verify(journal)
    assert report.whole, report.faults
    return time.perf_counter() - began


def _seconds_to_hash(journal: Path) -> float:
    """Nothing but the rows and hashlib: no tree, no nodes, no versions."""
    began = time.perf_counter()
    with closing(sqlite3.connect(journal)) as connection:
        rows = connection.execute(RECORDS)
        while page := rows.fetchmany(PAGE_RECORDS):
            for position, stream, version, kind, body in page:
                sha256(f"{position} {stream} {version} {kind} ".encode() + body).digest()
    return time.perf_counter() - began


def proof_seconds(events: int = EVENTS, proofs: int = 200, place: Path | None = None) -> Measured:
    """Seconds for the inclusion proof of a record in a large log, and for computing the root of all its leaves anew."""
    with closing(open_store(big_journal(events, place))) as store:
        note = store.checkpoint()
        assert note is not None
        chance = random.Random(events)
        ours = [_seconds_to_prove(store, chance.randint(1, events), note) for _ in range(proofs)]
        return Measured(ours=ours, theirs=[_seconds_to_rehash(store)])


def _seconds_to_prove(store: Store, position: int, note: str) -> float:
    began = time.perf_counter()
    prove(store, position, note)
    return time.perf_counter() - began


def _seconds_to_rehash(store: Store) -> float:
    """What a log without stored nodes would have to do for a proof."""
    began, tree, last = time.perf_counter(), Tree(), 0
    while page := store.query(f"{RECORDS.replace('ORDER', 'WHERE rowid>? ORDER')} LIMIT ?", (last, PAGE_RECORDS)):
        tree.extend([leaf_hash(*row) for row in page])
        last = page[-1][0]
    assert tree.size == store.position
    return time.perf_counter() - began


ROWS = (
    Row(
        name="verify",
        measure=verify_rate,
        peer="reading the same rows and hashing each with hashlib",
        unit="events per second",
        better="more",
        goal=0.5,
    ),
    Row(
        name="proof",
        measure=proof_seconds,
        peer="rehashing the log",
        unit="seconds",
        better="less",
        goal=0.001,
        at_most=True,
    ),
)

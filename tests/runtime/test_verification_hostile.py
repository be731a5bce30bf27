"""A hostile hand with write access to the file, who knows how a journal is made: whatever it does is found, or named as not excluded."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.inspection import PAGE_RECORDS
from runtime.transparency import Signer, leaf_hash, stored_count, stored_index
from runtime.verification import Unreadable, verify
from tests.runtime.sealed import ORIGIN, SIGNER, alter, lone, note_of, reseal, write

KEY = SIGNER.vkey(ORIGIN)
BATCHES = (700, 300, 5, 60, 30)
"""Several blocks, a checkpoint within each, and a rest."""

LENGTH = sum(BATCHES)
KEEP = (700, 1000, 1065)
STREAM_INDEX = "INDEX stored_events_stream ON stored_events (originator_id, originator_version)"
SEALED = {
    "stored_events": ("rowid", ("rowid", "originator_id", "originator_version", "topic", "state")),
    "nodes": ("id", ("id", "hash")),
    "checkpoints": ("size", ("size", "root", "recorded_at", "note")),
    "facts": ("name", ("name", "value")),
    "kinds": ("kind", ("kind", "position")),
}
"""Each table whose bytes are sealed or follow from what is, with its key and its columns."""


def record(position):
    """Two kinds, and bodies with the time that a node writes."""
    body = msgspec.msgpack.encode({"meta": {"recorded_at": 1.0}, "data": {"n": position}})
    return (
        position,
        f"task-{position % 7}",
        (position + 6) // 7,
        f"task.{'BidPlaced' if position % 50 else 'TaskDone'}",
        body,
    )


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("hostile") / "journal.db"
    write(path, BATCHES, keep=KEEP, records=record)
    lone(path)
    return path


@pytest.fixture
def journal(original, tmp_path):
    return Path(shutil.copy(original, tmp_path / "journal.db"))


def found(path, *texts, **trust):
    report = verify(path, key=KEY, **trust)
    assert not report.whole
    for text in texts:
        assert any(text in fault for fault in report.faults), report.faults
    return report


def test_what_nobody_touched_is_whole(journal):
    report = verify(journal, key=KEY, against=[note_of(journal, size) for size in (*KEEP, LENGTH)])
    assert report.whole, report.faults
    assert "all 4 given checkpoints agree with the records" in report.holds
    assert not any("the times of checkpoints" in text for text in report.not_excluded)


@settings(max_examples=40)
@given(st.data())
def test_any_flipped_bit_of_any_column_of_any_sealed_table_is_found(original, data):
    table = data.draw(st.sampled_from(sorted(SEALED)))
    name, columns = SEALED[table]
    with TemporaryDirectory() as folder:
        path = Path(shutil.copy(original, folder))
        with closing(sqlite3.connect(path)) as connection:
            keys = [row[0] for row in connection.execute(f"SELECT {name} FROM {table}")]
            key = data.draw(st.sampled_from(keys))
            column = data.draw(st.sampled_from(columns))
            ((old,),) = connection.execute(f"SELECT {column} FROM {table} WHERE {name}=?", (key,)).fetchall()
        new, cast = flipped(data, old)
        try:
            alter(path, (f"UPDATE {table} SET {column}={cast} WHERE {name}=?", (new, key)))
        except sqlite3.IntegrityError:
            return
        try:
            report = verify(path, key=KEY)
        except Unreadable:
            return
        assert not report.whole, (table, column, key, old, new)
        if table == "stored_events" and column != "rowid":
            assert report.first_bad == key


def flipped(data, old):
    """One bit of a value, which keeps its type."""
    bit = 1 << data.draw(st.integers(0, 7))
    if isinstance(old, int):
        return old ^ bit << 8 * data.draw(st.integers(0, 5)), "?"
    if isinstance(old, float):
        return old + data.draw(st.sampled_from([1e-6, -1.0, 1e6])), "?"
    raw = bytearray(old.encode() if isinstance(old, str) else old)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= bit
    return bytes(raw), "CAST(? AS TEXT)" if isinstance(old, str) else "?"


@pytest.mark.parametrize("table", sorted(SEALED))
@pytest.mark.parametrize("which", ["first", "last", "all"])
def test_removed_rows_are_found(journal, table, which):
    name, _ = SEALED[table]
    where = {
        "first": f"WHERE {name}=(SELECT MIN({name}) FROM {table})",
        "last": f"WHERE {name}=(SELECT MAX({name}) FROM {table})",
        "all": "",
    }
    alter(journal, f"DELETE FROM {table} {where[which]}")
    if table == "checkpoints" and which == "first":
        report = verify(journal, key=KEY)  # it proved nothing that later ones do not, and that is said
        assert any("a checkpoint before the newest was removed" in text for text in report.not_excluded)
        return
    try:
        found(journal)
    except Unreadable:
        assert table == "facts"


@pytest.mark.parametrize("position", [1, PAGE_RECORDS - 1, PAGE_RECORDS, PAGE_RECORDS + 1, LENGTH])
def test_the_position_is_named_wherever_in_a_block_it_is(journal, position):
    alter(journal, f"UPDATE stored_events SET originator_id='task-x' WHERE rowid={position}")
    assert found(journal, f"position {position}: the record is not the one that was sealed").first_bad == position


@settings(max_examples=40)
@given(st.integers(1, LENGTH), st.integers(1, LENGTH))
def test_two_records_in_each_others_place_are_found(original, one, other):
    if one == other:
        return
    with TemporaryDirectory() as folder:
        path = Path(shutil.copy(original, folder))
        alter(
            path,
            f"UPDATE stored_events SET rowid=-1 WHERE rowid={one}",
            f"UPDATE stored_events SET rowid={one} WHERE rowid={other}",
            f"UPDATE stored_events SET rowid={other} WHERE rowid=-1",
        )
        assert found(path).first_bad == min(one, other)


@pytest.mark.parametrize("place", [1, 1025, LENGTH])
def test_an_inserted_record_that_moves_all_later_ones_is_found(journal, place):
    alter(
        journal,
        f"UPDATE stored_events SET rowid=-rowid WHERE rowid>={place}",
        "UPDATE stored_events SET rowid=1-rowid WHERE rowid<0",
        ("INSERT INTO stored_events VALUES (?,'task-x',1,'task.BidPlaced',x'80')", (place,)),
    )
    assert found(journal).first_bad == place


def test_a_cut_tail_with_everything_that_tells_of_it_is_found_against_what_was_kept_outside(journal):
    note = note_of(journal, LENGTH)
    alter(
        journal,
        "DELETE FROM stored_events WHERE rowid>1000",
        f"DELETE FROM nodes WHERE id>={stored_count(1000)}",
        "DELETE FROM checkpoints WHERE size>1000",
        "UPDATE sqlite_sequence SET seq=1000",
    )
    assert verify(journal, key=KEY).whole
    assert found(journal, f"the given checkpoint covers {LENGTH}", against=note).first_bad == 1001


def test_a_record_altered_with_its_leaf_and_all_nodes_is_bounded_by_what_was_signed(journal):
    alter(journal, "UPDATE stored_events SET originator_id='task-x' WHERE rowid=900")
    reseal(journal)
    assert found(journal, "something from position 701 to 1000 is altered").first_bad == 701


def test_a_leaf_that_fits_the_altered_record_is_no_way_out(journal):
    row = (*record(900)[:3], "task.BidLost", record(900)[4])
    alter(journal, "UPDATE stored_events SET topic='task.BidLost' WHERE rowid=900")
    alter(journal, ("UPDATE nodes SET hash=? WHERE id=?", (leaf_hash(*row), stored_index(0, 899))))
    assert found(journal).first_bad == 701


def test_a_checkpoint_of_another_key_or_another_log_is_no_head(journal):
    for signer, origin in ((Signer.make(), ORIGIN), (SIGNER, "gavel/main/other")):
        note = signer.sign(origin, LENGTH, bytes(32))
        alter(journal, ("UPDATE checkpoints SET note=? WHERE size=?", (note, LENGTH)))
        found(journal, f"the checkpoint stored for {LENGTH} records")


def test_the_time_of_a_head_is_the_one_that_its_record_tells(journal):
    alter(journal, f"UPDATE checkpoints SET recorded_at=2.0 WHERE size={LENGTH}")
    assert found(journal, "the time of the checkpoint").first_bad == LENGTH


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE VIEW decoy AS SELECT 1"],
        ["CREATE TABLE decoy (a)"],
        ["CREATE INDEX decoy ON stored_events (topic)"],
        ["CREATE TRIGGER decoy AFTER INSERT ON stored_events BEGIN DELETE FROM nodes; END"],
        ["DROP INDEX stored_events_stream"],
        ["DROP INDEX stored_events_stream", f"CREATE UNIQUE {STREAM_INDEX} WHERE rowid<9"],
        ["DROP INDEX stored_events_stream", f"CREATE {STREAM_INDEX}"],
        ["DROP TABLE states"],
        ["DROP TABLE kinds"],
        ["ALTER TABLE stored_events ADD COLUMN more TEXT"],
        ["ALTER TABLE nodes RENAME TO x", "ALTER TABLE checkpoints RENAME TO nodes", "ALTER TABLE x RENAME TO checkpoints"],
        ["ALTER TABLE stored_events RENAME TO x", "CREATE VIEW stored_events AS SELECT * FROM x"],
        ["CREATE TABLE x AS SELECT * FROM stored_events", "DROP TABLE stored_events", "ALTER TABLE x RENAME TO stored_events"],
        ["PRAGMA writable_schema=ON", "UPDATE sqlite_schema SET sql=replace(sql, 'topic TEXT', 'topic TEXT COLLATE NOCASE')"],
        ["INSERT INTO facts VALUES ('owner', 'me')"],
        ["UPDATE facts SET value='2' WHERE name='format'"],
        ["UPDATE facts SET value='gavel/main/other' WHERE name='origin'"],
        ["INSERT INTO kinds VALUES ('os.system', 3)"],
        ["UPDATE sqlite_sequence SET seq=3"],
        ["DELETE FROM sqlite_sequence"],
        ["INSERT INTO sqlite_sequence VALUES ('stored_events', 3)"],
        ["PRAGMA application_id=7"],
        ["PRAGMA user_version=7"],
        ["ANALYZE", "UPDATE sqlite_stat1 SET stat='1 1'"],
        ["UPDATE facts SET value=value || ' ' WHERE name='public_key'"],
        [f"UPDATE checkpoints SET note=note || '\u2014 bob AAAAAAAA' || char(10) WHERE size={LENGTH}"],
        ["INSERT INTO nodes VALUES (-1, x'00')"],
        ["INSERT INTO checkpoints SELECT 3, root, recorded_at, note FROM checkpoints WHERE size=700"],
    ],
)  # fmt: skip
def test_a_file_that_is_made_otherwise_is_found(journal, statements):
    alter(journal, *statements)
    try:
        assert not verify(journal, key=KEY).whole
    except Unreadable as error:
        assert "not a journal" in str(error) or "format" in str(error)


def test_an_index_that_lies_about_what_is_in_its_table_is_found(journal):
    """A look-up by stream would miss the record; a scan would not."""
    alter(
        journal,
        "PRAGMA writable_schema=ON",
        "CREATE TABLE decoy (originator_id TEXT, originator_version INTEGER, at INTEGER)",
        "CREATE UNIQUE INDEX decoy_index ON decoy (originator_id, originator_version)",
        "INSERT INTO decoy SELECT originator_id, originator_version, rowid FROM stored_events WHERE rowid<>900 ORDER BY rowid",
    )
    alter(
        journal,
        "PRAGMA writable_schema=ON",
        "UPDATE sqlite_schema SET rootpage=(SELECT rootpage FROM sqlite_schema WHERE name='decoy_index') "
        "WHERE name='stored_events_stream'",
        "DELETE FROM sqlite_schema WHERE name LIKE 'decoy%'",
    )
    found(journal, "SQLite finds:")


def test_what_is_said_not_to_be_excluded_is_what_is_not_found(journal):
    """By somebody who has the key, and nobody who kept anything."""
    alter(journal, "UPDATE stored_events SET originator_id='task-x', originator_version=1 WHERE rowid=3")
    alter(journal, "DELETE FROM stored_events WHERE originator_id='task-3'")
    note = note_of(journal, 700)
    with closing(sqlite3.connect(journal, isolation_level=None)) as connection:
        rows = connection.execute("SELECT * FROM stored_events ORDER BY rowid").fetchall()
        connection.execute("BEGIN")
        connection.execute("DELETE FROM stored_events")
        connection.executemany(
            "INSERT INTO stored_events VALUES (?,?,?,?,?)", [(at, *row[1:]) for at, row in enumerate(rows, 1)]
        )
        connection.execute("UPDATE sqlite_sequence SET seq=?", (len(rows),))
        connection.execute("COMMIT")
    reseal(journal, signer=SIGNER)
    report = verify(journal, key=KEY)
    assert report.whole, report.faults
    assert any("somebody with the signing key has rewritten" in text for text in report.not_excluded)
    found(journal, "the root of the first 700 records is not the one in the given checkpoint", against=note)

"""Attacks on a journal's file: each is found, and the first wrong position is named."""

import os
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.store.layouts import FORMAT
from runtime.transparency import Signer, Tree, leaf_hash, stored_count, stored_index
from runtime.verification import Unreadable, verify
from tests.runtime.sealed import ORIGIN, SIGNER, SIZE, alter, lone, note_of, record, reseal, write

COLUMNS = ("rowid", "originator_id", "originator_version", "topic", "state")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("original") / "journal.db"
    write(path)
    lone(path)
    return path


@pytest.fixture
def journal(original, tmp_path):
    return Path(shutil.copy(original, tmp_path / "journal.db"))


def found(path, first_bad, *texts, **trust):
    """Verifies, and expects an altered journal with this first wrong position and these faults."""
    report = verify(path, **trust)
    assert not report.whole
    assert report.first_bad == first_bad, report.faults
    for text in texts:
        assert any(text in fault for fault in report.faults), report.faults
    return report


# --- what is whole


def test_an_untouched_journal_is_whole(journal):
    report = verify(journal)
    assert report.whole, report.faults
    assert (report.positions, report.first_bad, report.faults) == (SIZE, None, [])
    assert report.key == SIGNER.vkey(ORIGIN)
    assert any(f"records 1 to {SIZE} hash to a root that is signed" in text for text in report.holds)
    assert any("key of his own" in text for text in report.not_excluded)


def test_a_known_key_and_a_kept_checkpoint_exclude_more(journal):
    bare = verify(journal)
    report = verify(journal, key=SIGNER.vkey(ORIGIN), against=note_of(journal, 8))
    assert report.whole
    assert report.against == 8
    assert "records 1 to 8 are those of the given checkpoint" in report.holds
    assert not any("key of his own" in text for text in report.not_excluded)
    assert len(report.holds) > len(bare.holds)


def test_a_journal_of_several_pages_is_whole(tmp_path):
    tree = write(tmp_path / "journal.db", (1000, 24, 1, 1500), keep=(1000, 1025))
    report = verify(tmp_path / "journal.db")
    assert report.whole, report.faults
    assert report.root == tree.root().hex()
    alter(tmp_path / "journal.db", "UPDATE stored_events SET topic='task.BidLost' WHERE rowid=2001")
    found(tmp_path / "journal.db", 2001, "position 2001: the record is not the one that was sealed")


def test_an_empty_journal_is_whole(tmp_path):
    write(tmp_path / "journal.db", ())
    assert verify(tmp_path / "journal.db").whole


def test_a_live_journal_is_read_with_its_newest_records(tmp_path):
    path = tmp_path / "journal.db"
    write(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        assert writer.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)
        position, stream, version, kind, body = record(SIZE + 1)
        writer.execute("INSERT INTO stored_events VALUES (?,?,?,?,?)", (position, stream, version, kind, body))
        assert os.path.getsize(f"{path}-wal") > 0
        found(path, SIZE + 1, f"no valid checkpoint covers positions {SIZE + 1} to {SIZE + 1}")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM stored_events WHERE rowid=?", (position,))
        assert verify(path).positions == SIZE + 1


def test_a_lone_copy_is_read_without_leaving_anything_beside_it(journal):
    before = journal.read_bytes()
    assert verify(journal).whole
    assert os.listdir(journal.parent) == [journal.name]
    assert journal.read_bytes() == before


def live_copy(folder):
    """File and log as they stand on the disk while a node has them open."""
    path = folder / "live.db"
    write(path, (4,))
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA wal_autocheckpoint=0")
        tree = Tree(0)
        tree.extend([leaf_hash(*record(position)) for position in range(1, 5)])
        nodes = tree.append(leaf_hash(*record(5)))
        writer.execute("BEGIN")
        writer.execute("INSERT INTO stored_events VALUES (?,?,?,?,?)", record(5))
        writer.executemany("INSERT INTO nodes VALUES (?,?)", nodes)
        note = SIGNER.sign(ORIGIN, 5, tree.root())
        writer.execute("INSERT INTO checkpoints VALUES (5,?,1.0,?)", (tree.root(), note))
        writer.execute("COMMIT")
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{folder}/copy.db{suffix}")
    return folder / "copy.db", note


def test_a_copy_with_its_log_has_the_newest_records(tmp_path):
    report = verify(live_copy(tmp_path)[0])
    assert (report.whole, report.positions) == (True, 5)


def test_a_copy_without_its_log_is_an_earlier_state_unless_a_kept_checkpoint_says_so(tmp_path):
    copy, note = live_copy(tmp_path)
    Path(f"{copy}-wal").unlink()
    assert verify(copy).positions == 4
    found(copy, 5, "position 5 is missing: the given checkpoint covers 5", against=note)


def test_what_is_altered_in_the_log_alone_is_found_through_a_link_too(tmp_path):
    """Where a link leads, SQLite looks for the log beside the file: so does a node, which reads what was altered."""
    path, link = tmp_path / "journal.db", tmp_path / "data.db"
    write(path)
    lone(path)
    link.symlink_to(path)
    assert verify(link).whole
    with closing(sqlite3.connect(link, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("UPDATE stored_events SET originator_id='task-x' WHERE rowid=3")
        found(link, 3, "position 3")


def test_a_log_that_cannot_be_opened_where_it_lies_is_read_from_a_copy(tmp_path):
    copy, _ = live_copy(tmp_path)
    Path(f"{copy}-shm").mkdir()
    assert verify(copy).positions == 5


# --- altered records


@given(st.data())
def test_any_changed_byte_of_any_cell_names_its_position(original, data):
    position = data.draw(st.integers(1, SIZE))
    column = data.draw(st.sampled_from(COLUMNS))
    bit = 1 << data.draw(st.integers(0, 7))
    with TemporaryDirectory() as folder:
        path = Path(shutil.copy(original, folder))
        old = record(position)[COLUMNS.index(column)]
        if isinstance(old, int):
            new = old ^ bit << 8 * data.draw(st.integers(0, 6))
        else:
            raw = bytearray(old.encode() if isinstance(old, str) else old)
            raw[data.draw(st.integers(0, len(raw) - 1))] ^= bit
            new = bytes(raw)
        try:
            cast = "CAST(? AS TEXT)" if isinstance(old, str) else "?"
            alter(path, (f"UPDATE stored_events SET {column}={cast} WHERE rowid=?", (new, position)))
        except sqlite3.IntegrityError:
            return  # another record has this position, or this version of the stream
        report = verify(path)
        assert not report.whole
        assert report.first_bad == (min(position, new) if column == "rowid" else position)


@pytest.mark.parametrize("position", [1, 8, SIZE])
@pytest.mark.parametrize(
    "change",
    [
        "originator_id='task-9'",
        "originator_version=originator_version+100",
        "originator_version='one'",
        "originator_version=originator_version+0.5",
        "topic='task.BidLost'",
        "topic=CAST(topic AS BLOB)",
        "topic='os.system'",
        "state=CAST(state AS TEXT)",
        "state=state||x'00'",
        "state=x''",
        "state=7",
    ],
)
def test_an_altered_column_names_its_position(journal, position, change):
    alter(journal, f"UPDATE stored_events SET {change} WHERE rowid={position}")
    report = found(journal, position, f"position {position}: the record is not the one that was sealed")
    assert sum("the record is not the one" in fault for fault in report.faults) == 1


@pytest.mark.parametrize("column", ["originator_id", "originator_version", "topic", "state"])
def test_a_column_of_null_names_its_position(original, tmp_path, column):
    path = Path(shutil.copy(original, tmp_path / "journal.db"))
    alter(
        path,
        "PRAGMA writable_schema=ON",
        "UPDATE sqlite_schema SET sql=replace(sql, ' NOT NULL', '') WHERE name='stored_events'",
    )
    alter(path, f"UPDATE stored_events SET {column}=NULL WHERE rowid=5")
    found(path, 5)


def test_a_kind_is_never_imported(journal):
    assert "antigravity" not in sys.modules
    alter(journal, "UPDATE stored_events SET topic='antigravity:fly' WHERE rowid=3")
    found(journal, 3)
    assert "antigravity" not in sys.modules


def test_two_swapped_events_name_the_first(journal):
    alter(
        journal,
        "UPDATE stored_events SET rowid=-1 WHERE rowid=6",
        "UPDATE stored_events SET rowid=6 WHERE rowid=14",
        "UPDATE stored_events SET rowid=14 WHERE rowid=-1",
    )
    found(journal, 6, "position 6: the record", "position 14: the record")


def test_two_swapped_bodies_name_the_first(journal):
    one, other = record(2)[4], record(19)[4]
    alter(
        journal,
        ("UPDATE stored_events SET state=? WHERE rowid=2", (other,)),
        ("UPDATE stored_events SET state=? WHERE rowid=19", (one,)),
    )
    found(journal, 2, "position 2: the record", "position 19: the record")


def test_a_missing_middle_names_its_position(journal):
    alter(journal, "DELETE FROM stored_events WHERE rowid IN (9, 10)")
    report = found(journal, 9, "positions 9 to 10 are missing")
    assert report.root is None
    assert not any("position 11" in fault for fault in report.faults)


def test_a_missing_first_event_is_named(journal):
    alter(journal, "DELETE FROM stored_events WHERE rowid=1")
    found(journal, 1, "position 1 is missing")


def test_after_a_gap_an_altered_record_is_still_named(journal):
    alter(journal, "DELETE FROM stored_events WHERE rowid=4", "UPDATE stored_events SET topic='x' WHERE rowid=12")
    found(journal, 4, "position 4 is missing", "position 12: the record is not the one that was sealed")


def test_a_missing_last_event_is_named(journal):
    alter(journal, f"DELETE FROM stored_events WHERE rowid={SIZE}")
    found(journal, SIZE, f"position {SIZE} is missing: the signed checkpoint covers {SIZE}")


def test_a_tail_cut_with_its_nodes_is_named(journal):
    alter(
        journal,
        "DELETE FROM stored_events WHERE rowid>17",
        f"DELETE FROM nodes WHERE id>={stored_count(17)}",
        "UPDATE sqlite_sequence SET seq=17",
    )
    found(journal, 18, f"positions 18 to {SIZE} are missing")


def test_a_tail_cut_back_to_a_milestone_shows_in_the_counter_and_against_a_kept_checkpoint(journal):
    note = note_of(journal)
    alter(
        journal,
        "DELETE FROM stored_events WHERE rowid>8",
        f"DELETE FROM nodes WHERE id>={stored_count(8)}",
        "DELETE FROM checkpoints WHERE size>8",
    )
    found(journal, 9, f"the file has held {SIZE} records, and holds 8")
    alter(journal, "UPDATE sqlite_sequence SET seq=8")
    report = verify(journal)
    assert report.whole
    assert any("set back to an earlier signed state" in text for text in report.not_excluded)
    found(journal, 9, f"the given checkpoint covers {SIZE}", against=note)


def test_an_added_record_is_named(journal):
    alter(journal, ("INSERT INTO stored_events VALUES (?,?,?,?,?)", record(SIZE + 1)))
    found(journal, SIZE + 1, f"no valid checkpoint covers positions {SIZE + 1} to {SIZE + 1}")
    reseal(journal)
    found(journal, SIZE + 1, f"no valid checkpoint covers positions {SIZE + 1} to {SIZE + 1}")


@pytest.mark.parametrize("position", [-7, 0])
def test_a_record_before_the_first_is_named(journal, position):
    alter(journal, ("INSERT INTO stored_events VALUES (?,'task-9',1,'task.BidPlaced',x'80')", (position,)))
    found(journal, position, "stands before the first position")


def test_a_record_far_beyond_the_last_is_named(journal):
    alter(journal, f"INSERT INTO stored_events VALUES ({2**63 - 1},'task-9',1,'task.BidPlaced',x'80')")
    found(journal, SIZE + 1, f"positions {SIZE + 1} to {2**63 - 2} are missing")


# --- altered proofs


@given(st.data())
def test_an_altered_node_is_named_and_the_records_hold(original, data):
    node = data.draw(st.integers(0, stored_count(SIZE) - 1))
    raw = data.draw(st.one_of(st.binary(max_size=33), st.none()))
    with TemporaryDirectory() as folder:
        path = Path(shutil.copy(original, folder))
        if raw is None:
            alter(path, f"DELETE FROM nodes WHERE id={node}")
        else:
            alter(path, ("UPDATE nodes SET hash=? WHERE id=?", (raw, node)))
        report = verify(path)
        assert not report.whole
        assert report.faults[0].startswith(f"the stored node {node} over position")
        assert report.faults[0].endswith("the records hold")


def test_a_node_of_text_is_named(journal):
    alter(journal, "UPDATE nodes SET hash=CAST(x'ff' AS TEXT) WHERE id=0")
    found(journal, 1, "the stored node 0 over position 1 is altered")


def test_nodes_of_no_record_are_found(journal):
    alter(journal, f"INSERT INTO nodes VALUES ({stored_count(SIZE)}, zeroblob(32))")
    found(journal, SIZE + 1, "1 stored nodes belong to no record")


def test_a_record_altered_with_its_leaf_is_bounded_by_what_is_signed(journal):
    alter(journal, "UPDATE stored_events SET topic='task.BidLost' WHERE rowid=10")
    row = (*record(10)[:3], "task.BidLost", record(10)[4])
    alter(journal, ("UPDATE nodes SET hash=? WHERE id=?", (leaf_hash(*row), stored_index(0, 9))))
    found(journal, 9, f"something from position 9 to {SIZE} is altered", "positions 9 to 10")


def test_a_record_altered_with_all_nodes_is_bounded_by_what_is_signed(journal):
    alter(journal, "UPDATE stored_events SET topic='task.BidLost' WHERE rowid=10")
    reseal(journal)
    report = found(journal, 9, f"something from position 9 to {SIZE} is altered")
    assert any("records 1 to 8 hash to a root" in text for text in report.holds)


def test_a_journal_resealed_with_another_key_is_found_by_the_right_key(journal):
    kept, note = SIGNER.vkey(ORIGIN), note_of(journal)
    alter(journal, "UPDATE stored_events SET topic='task.BidLost' WHERE rowid=10")
    reseal(journal, signer=Signer.make())
    assert verify(journal).whole
    found(journal, 1, "is not signed by", key=kept)
    found(journal, 1, "the given checkpoint: the checkpoint is not signed by", against=note)


def test_a_journal_resealed_by_a_thief_of_the_key_is_found_by_a_kept_checkpoint(journal):
    note = note_of(journal, 8)
    alter(journal, "UPDATE stored_events SET topic='task.BidLost' WHERE rowid=5")
    reseal(journal, signer=SIGNER)
    report = verify(journal, key=SIGNER.vkey(ORIGIN))
    assert report.whole
    assert any("somebody with the signing key" in text for text in report.not_excluded)
    found(journal, 1, "the root of the first 8 records is not the one in the given checkpoint", against=note)


@given(st.data())
def test_any_changed_byte_of_a_checkpoint_is_found(original, data):
    with TemporaryDirectory() as folder:
        path = Path(shutil.copy(original, folder))
        size = data.draw(st.sampled_from([8, SIZE]))
        column = data.draw(st.sampled_from(["size", "root", "note"]))
        bit = 1 << data.draw(st.integers(0, 7))
        if column == "size":
            alter(path, (f"UPDATE checkpoints SET size=size+{bit + 256} WHERE size=?", (size,)))
        else:
            with closing(sqlite3.connect(path)) as connection:
                query = f"SELECT CAST({column} AS BLOB) FROM checkpoints WHERE size=?"
                raw = bytearray(connection.execute(query, (size,)).fetchone()[0])
            raw[data.draw(st.integers(0, len(raw) - 1))] ^= bit
            kind = "BLOB" if column == "root" else "TEXT"
            alter(path, (f"UPDATE checkpoints SET {column}=CAST(? AS {kind}) WHERE size=?", (bytes(raw), size)))
        report = verify(path)
        assert not report.whole
        assert report.first_bad is not None


def test_no_checkpoint_leaves_nothing_proven(journal):
    alter(journal, "DELETE FROM checkpoints")
    found(journal, 1, f"no valid checkpoint covers positions 1 to {SIZE}")


def test_a_checkpoint_of_another_journal_does_not_count(journal):
    note = SIGNER.sign("gavel/main/another", SIZE, bytes(32))
    report = verify(journal, against=note)
    assert not report.whole
    assert report.faults == ["the given checkpoint is of another journal, gavel/main/another"]


def test_a_gap_in_a_streams_versions_is_named_though_all_is_signed(tmp_path):
    def skipping(position):
        return (position, "task-1", position + (position > 4), "task.BidPlaced", b"\x80")

    write(tmp_path / "journal.db", records=skipping)
    found(tmp_path / "journal.db", 5, "position 5: version 6 of its stream follows no version before it")


def test_a_dropped_index_is_found(journal):
    alter(journal, "DROP INDEX stored_events_stream")
    found(journal, None, "the index that keeps versions unique is not there")


def test_an_index_that_disagrees_with_its_table_is_found(journal):
    alter(
        journal,
        "PRAGMA writable_schema=ON",
        "CREATE TABLE decoy (a TEXT, b INTEGER)",
        "CREATE UNIQUE INDEX decoy_index ON decoy (a, b)",
        "UPDATE sqlite_schema SET rootpage=(SELECT rootpage FROM sqlite_schema WHERE name='decoy_index') "
        "WHERE name='stored_events_stream'",
    )
    found(journal, None, "SQLite finds: ")


def test_many_faults_are_counted_and_the_first_are_named(tmp_path):
    write(tmp_path / "journal.db", (300,))
    alter(tmp_path / "journal.db", "UPDATE stored_events SET topic='x'")
    report = found(tmp_path / "journal.db", 1)
    assert len(report.faults) == 21
    assert report.faults[-1] == "… and 282 more"


# --- files that can't be judged


def content(path):
    with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as connection:
        return [
            connection.execute(f"SELECT * FROM {table}").fetchall() for table in ("stored_events", "nodes", "facts")
        ] + [connection.execute("SELECT size, root, note FROM checkpoints").fetchall()]


@given(st.data())
def test_a_flipped_byte_of_the_file_is_found_or_changes_nothing(original, data):
    raw = bytearray(original.read_bytes())
    page = data.draw(st.integers(0, len(raw) // 4096 - 1)) * 4096
    place = page + data.draw(st.one_of(st.integers(0, 150), st.integers(0, 4095)))
    raw[place] ^= data.draw(st.integers(1, 255))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        path.write_bytes(raw)
        try:
            whole = verify(path).whole
        except Unreadable:
            return
        if whole:
            assert content(path) == content(original)


def test_a_damaged_schema_is_unreadable(journal):
    raw = journal.read_bytes()
    journal.write_bytes(raw.replace(b"CREATE TABLE nodes", b"CREATE TABL\xff nodes"))
    with pytest.raises(Unreadable, match=r"malformed|opened|damaged"):
        verify(journal)


@given(st.integers(0, 2**20))
def test_a_cut_file_is_found_or_has_lost_nothing(original, length):
    raw = original.read_bytes()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        path.write_bytes(raw[: length % len(raw)])
        try:
            whole = verify(path).whole
        except Unreadable:
            return
        assert not whole or content(path) == content(original)  # an empty last page is whole without its zeros


@pytest.mark.parametrize("raw", [b"", b"SQLite format 3", bytes(5000), b"SQLite format 3\x00" + bytes(5000)])
def test_what_is_no_database_is_unreadable(tmp_path, raw):
    (tmp_path / "junk").write_bytes(raw)
    with pytest.raises(Unreadable, match="junk"):
        verify(tmp_path / "junk")


def test_a_missing_file_and_a_folder_are_unreadable(tmp_path):
    for path in (tmp_path / "absent.db", tmp_path):
        with pytest.raises(Unreadable, match="can't be read"):
            verify(path)


def test_another_database_is_unreadable(tmp_path):
    alter(tmp_path / "other.db", "CREATE TABLE stored_events (a)")
    with pytest.raises(Unreadable, match="not a journal"):
        verify(tmp_path / "other.db")


def test_a_newer_format_is_unreadable(journal):
    alter(journal, f"UPDATE facts SET value='{FORMAT + 1}' WHERE name='format'")
    with pytest.raises(Unreadable, match=f"format {FORMAT + 1}"):
        verify(journal)


@pytest.mark.parametrize("trust", [{"key": "junk"}, {"against": "junk"}, {"key": "a+00000000+AAAA"}])
def test_a_malformed_key_or_checkpoint_is_a_wrong_question(journal, trust):
    with pytest.raises(Unreadable):
        verify(journal, **trust)

"""Proofs of records: made from a sealed journal's file, kept as files, checked by anybody, and refused where anything in them is bent."""

import runpy
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.commands.audit_proofs import FileLog, newest_note
from runtime.evidence import Unreadable
from runtime.proofs import NotProven
from runtime.proving import NotThere, check_proof, link, prove, read_proof
from runtime.transparency import NotANote, NotSigned, Signer, Tree, leaf_hash, stored_index
from tests.runtime.sealed import ORIGIN, SIGNER, SIZE, alter, lone, note_of, record, write

EXAMPLE = Path(__file__).parents[2] / "examples" / "verify_proof.py"
KEY = SIGNER.vkey(ORIGIN)
LARGE = 3_000
ROWS_MAX = 200


class Counting(FileLog):
    """Counts the rows that it hands out."""

    rows = 0

    def query(self, statement, parameters=()):
        found = super().query(statement, parameters)
        self.rows += len(found)
        return found


@pytest.fixture(scope="module")
def journal(tmp_path_factory):
    path = tmp_path_factory.mktemp("proving") / "journal.db"
    write(path)
    lone(path)
    return path


@pytest.fixture
def log(journal):
    with closing(sqlite3.connect(journal)) as connection:
        yield FileLog("the journal", connection)


@pytest.mark.parametrize("position", range(1, SIZE + 1))
def test_every_record_can_be_proven_to_who_has_only_the_key(log, position):
    text = prove(log, position, newest_note(log)).proof
    proof, checkpoint = check_proof(text, KEY)
    assert (proof.position, proof.stream, proof.version, proof.kind, proof.body) == record(position)
    assert proof.leaf == leaf_hash(*record(position)).hex()
    assert (checkpoint.origin, checkpoint.size) == (ORIGIN, SIZE)


def test_a_record_is_proven_to_an_earlier_checkpoint_too(log, journal):
    assert check_proof(prove(log, 3, note_of(journal, 8)).proof, KEY)[1].size == 8
    with pytest.raises(NotThere):
        prove(log, 9, note_of(journal, 8))


@pytest.mark.parametrize("position", [0, -1, SIZE + 1])
def test_what_is_not_there_is_not_proven(log, position):
    with pytest.raises(NotThere):
        prove(log, position, newest_note(log))


@given(st.data())
def test_any_flipped_bit_of_a_proof_is_refused(journal, data):
    with closing(sqlite3.connect(journal)) as connection:
        log = FileLog("the journal", connection)
        raw = bytearray(prove(log, data.draw(st.integers(1, SIZE)), newest_note(log)).proof.encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((NotProven, NotSigned, NotANote)):
        check_proof(raw.decode("utf-8", "replace"), KEY)


@given(st.data())
def test_a_cut_proof_is_refused(journal, data):
    with closing(sqlite3.connect(journal)) as connection:
        log = FileLog("the journal", connection)
        text = prove(log, 7, newest_note(log)).proof
    with pytest.raises((NotProven, NotSigned, NotANote)):
        check_proof(text[: data.draw(st.integers(0, len(text) - 1))], KEY)


def test_a_proof_under_another_key_is_refused(log):
    with pytest.raises(NotSigned):
        check_proof(prove(log, 7, newest_note(log)).proof, Signer.make().vkey(ORIGIN))


@pytest.mark.parametrize(
    ("position", "change"),
    [
        (7, "UPDATE stored_events SET topic='task.BidLost' WHERE rowid=7"),
        (7, f"UPDATE nodes SET hash=zeroblob(32) WHERE id={stored_index(0, 7)}"),
        (7, f"DELETE FROM nodes WHERE id={stored_index(2, 0)}"),
        (7, "UPDATE nodes SET hash='text'"),
    ],
)
def test_an_altered_journal_proves_nothing(tmp_path, position, change):
    write(tmp_path / "journal.db")
    alter(tmp_path / "journal.db", change)
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        log = FileLog("the journal", connection)
        with pytest.raises(Unreadable):
            prove(log, position, newest_note(log))


@given(st.integers(0, SIZE), st.integers(0, SIZE))
def test_any_two_sizes_are_linked(journal, one, other):
    old, new = sorted((one, other))
    with closing(sqlite3.connect(journal)) as connection:
        found = link(FileLog("the journal", connection), old, new)
    leaves = [leaf_hash(*record(position)) for position in range(1, new + 1)]
    roots = []
    for size in (old, new):
        tree = Tree()
        tree.extend(leaves[:size])
        roots.append(tree.root())
    assert [found.old_root, found.new_root] == [root.hex() for root in roots]
    assert (found.checkpoint is not None) == (new in (8, SIZE))


@pytest.mark.parametrize(("old", "new"), [(8, 7), (1, SIZE + 1), (-1, 3)])
def test_sizes_that_never_were_are_not_linked(log, old, new):
    with pytest.raises(NotThere):
        link(log, old, new)


def test_proofs_read_few_rows_of_many(tmp_path):
    write(tmp_path / "journal.db", (LARGE // 2, LARGE // 2))
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        for position in (1, LARGE // 2, LARGE - 1, LARGE):
            log = Counting("the journal", connection)
            prove(log, position, newest_note(log))
            link(log, position, LARGE)
            assert log.rows <= ROWS_MAX


def test_nothing_but_the_asked_for_rows_is_looked_at(tmp_path):
    """By the steps of SQLite's machine: a scan of the table would take thousands."""
    write(tmp_path / "journal.db", (LARGE,))
    steps = []
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        log = FileLog("the journal", connection)
        note = newest_note(log)
        connection.set_progress_handler(lambda: steps.append(1), 1)
        prove(log, LARGE // 3, note)
    assert len(steps) < 20 * ROWS_MAX


# ---- the example that others copy


def example(path, key):
    return subprocess.run([sys.executable, EXAMPLE, path, key], capture_output=True, text=True, check=False)


def test_the_example_of_sixty_lines_checks_a_real_proof_and_refuses_forged_ones(log, tmp_path):
    text = prove(log, 11, newest_note(log)).proof
    path = tmp_path / "11.tlog-proof"
    path.write_text(text)
    found = example(path, KEY)
    assert (found.returncode, found.stdout.startswith("proven: record 11,")) == (0, True), found.stderr
    assert repr(record(11)[4])[2:-1] in found.stdout
    stranger = Signer.make()
    own = stranger.sign(ORIGIN, SIZE, bytes(32))
    other_root = SIGNER.sign(ORIGIN, SIZE, bytes(32))
    head = text.partition("\n\n")[0]
    forged = [
        text.replace("index 10", "index 11"),
        text.replace("extra lQ", "extra lA"),
        f"{head}\n\n{own}",
        f"{head}\n\n{other_root}",
        "\n".join(text.split("\n")[:3] + text.split("\n")[4:]),
        "",
    ]
    assert all(one != text for one in forged)
    for one in forged:
        path.write_text(one)
        found = example(path, KEY)
        assert (found.returncode, "NOT PROVEN" in found.stderr, "proven:" in found.stdout) == (1, True, False), one
    path.write_text(text)
    assert example(path, stranger.vkey(ORIGIN)).returncode == 1
    assert len([line for line in EXAMPLE.read_text().splitlines() if line.strip()]) <= 60


@given(st.data())
def test_the_example_finds_any_flipped_bit(journal, data):
    names = runpy.run_path(str(EXAMPLE))
    with closing(sqlite3.connect(journal)) as connection:
        log = FileLog("the journal", connection)
        text = prove(log, data.draw(st.integers(1, SIZE)), newest_note(log)).proof
    assert names["verify"](text, KEY)
    head, _, signatures = text.rpartition("\n\n")
    raw = bytearray(head.encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((ValueError, names["InvalidSignature"])):
        names["verify"](raw.decode() + "\n\n" + signatures, KEY)


def test_a_proof_file_is_read_as_it_was_written(log):
    proof = prove(log, 5, newest_note(log))
    assert read_proof(proof.proof) == proof

"""`gavel audit prove|check|consistency` over files: a proof for a third party, and two checkpoints of one log."""

import json

import pytest

from gateway.cli import main
from runtime.transparency import Signer
from tests.runtime.sealed import ORIGIN, SIGNER, SIZE, alter, lone, note_of, record, write

KEY = SIGNER.vkey(ORIGIN)


@pytest.fixture
def journal(tmp_path):
    path = tmp_path / "journal.db"
    write(path)
    lone(path)
    return path


def audit(*words):
    return main(["audit", *map(str, words)])


def test_a_proof_is_made_and_checked(journal, tmp_path, capsys):
    proof = tmp_path / "7.tlog-proof"
    assert audit("prove", 7, journal, "--out", proof) == 0
    assert audit("check", proof, "--key", KEY) == 0
    assert f"proven: record 7 of the {SIZE} of {ORIGIN}" in capsys.readouterr().out
    assert audit("check", proof, "--key", KEY, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["proven"], told["proof"]["stream"]) == (True, record(7)[1])
    assert told["said"] == {"bytes": record(7)[4].hex()}


def test_a_proof_is_printed_where_no_file_is_named(journal, capsys):
    assert audit("prove", 7, journal) == 0
    text = capsys.readouterr().out
    assert audit("prove", 7, journal, "--json") == 0
    assert json.loads(capsys.readouterr().out)["proof"] == text


def test_a_forged_proof_and_another_key_end_with_1(journal, tmp_path, capsys):
    proof = tmp_path / "7.tlog-proof"
    assert audit("prove", 7, journal, "--out", proof) == 0
    assert audit("check", proof, "--key", Signer.make().vkey(ORIGIN)) == 1
    assert "not proven: the checkpoint is not signed by" in capsys.readouterr().out
    proof.write_text(proof.read_text().replace("index 6", "index 5"))
    assert audit("check", proof, "--key", KEY, "--json") == 1
    assert json.loads(capsys.readouterr().out)["proven"] is False


def test_a_proof_never_replaces_a_file(journal, tmp_path, capsys):
    assert audit("prove", 7, journal, "--out", journal) == 2
    assert "can't be written" in capsys.readouterr().err


@pytest.mark.parametrize("position", [0, SIZE + 1])
def test_what_is_not_there_ends_with_2(journal, position, capsys):
    assert audit("prove", position, journal) == 2
    assert f"holds no record {position}" in capsys.readouterr().err


def test_two_checkpoints_of_one_log_are_consistent_and_those_of_two_are_not(journal, tmp_path, capsys):
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text(note_of(journal, 8))
    new.write_text(note_of(journal))
    assert audit("consistency", old, new, journal, "--key", KEY) == 0
    assert f"the log of {SIZE} records begins with that of 8" in capsys.readouterr().out
    assert audit("consistency", 8, SIZE, journal, "--json") == 0
    assert json.loads(capsys.readouterr().out)["consistent"] is True
    old.write_text(SIGNER.sign(ORIGIN, 8, bytes(32)))
    assert audit("consistency", old, new, journal) == 1
    assert "is not the one of the given checkpoint" in capsys.readouterr().out
    old.write_text(Signer.make().sign(ORIGIN, 8, bytes(32)))
    assert audit("consistency", old, new, journal, "--key", KEY) == 2
    assert "is not signed by" in capsys.readouterr().err


def test_an_altered_journal_proves_nothing(journal, capsys):
    alter(journal, "UPDATE stored_events SET topic='x' WHERE rowid=7")
    assert audit("prove", 7, journal) == 2
    assert "was altered" in capsys.readouterr().err

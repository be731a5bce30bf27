"""A whole log is folded with the program of today: what can't be read or folded is named by position, kind and stream, and nothing else."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

from runtime import refold
from runtime.codec import Codec
from runtime.records import Change, Insert, Recorded
from runtime.refold import Fault, Refold, Refolded
from runtime.system import Role
from tests.runtime import bank
from tests.runtime.test_upcasting import REMOVED, RETIRED, TOLD, later, opened, tell

KINDS = Table("kinds_seen", MetaData(), Column("position", Integer, primary_key=True), Column("kind", Text))


class Kinds:
    """A projection that fails at some positions."""

    NAME = "kinds/1"
    TABLES = (KINDS,)

    def __init__(self, *fails_at: int) -> None:
        self.fails_at = fails_at

    def apply(self, recorded: Recorded) -> Sequence[Change]:
        if recorded.position in self.fails_at:
            raise ValueError("it is odd")
        return [Insert(table=KINDS, values={"position": recorded.position, "kind": recorded.kind})]


class Forgetful(bank.Teller):
    """A teller whose memory takes no greeting."""

    @staticmethod
    def remember(memory: bank.Ledger, recorded: Recorded) -> bank.Ledger:
        if isinstance(recorded.event, bank.Greeted):
            raise ValueError("who?")
        return bank.Teller.remember(memory, recorded)


def found(
    folder: Path, aggregate: Any, *, teller: type[bank.Teller] = bank.Teller, fails_at: tuple[int, ...] = ()
) -> Refolded:
    with closing(sqlite3.connect(folder / "journal.db", isolation_level=None)) as journal:
        place = folder / "folded.db"
        place.unlink(missing_ok=True)
        return Refold(journal, Codec([aggregate])).run([Role(teller)], [Kinds(*fails_at)], place)


def places(refolded: Refolded) -> list[tuple[int, str, str, str]]:
    return [(fault.position, fault.kind, fault.stream, fault.at) for fault in refolded.faults]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = opened(tmp_path)
    tell(store, TOLD)
    store.close()
    return tmp_path


def test_a_log_that_folds_has_no_faults(folder: Path) -> None:
    for program in (bank, RETIRED):
        refolded = found(folder, program)
        assert (refolded.records, refolded.streams, refolded.faults_count) == (4, 1, 0)


def test_a_record_of_a_removed_kind_is_named_and_its_command_too(folder: Path) -> None:
    refolded = found(folder, later(EVENTS=REMOVED.EVENTS, COMMANDS=(bank.Deposit, bank.Greet)))
    assert places(refolded) == [(2, "bank.Greeted", "bank-a", "record"), (4, "bank.Withdrawn", "bank-a", "command")]
    assert "RETIRED" in refolded.faults[0].reason


def test_bytes_that_do_not_fit_their_kind_are_named(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "journal.db", isolation_level=None)) as journal:
        journal.execute("UPDATE stored_events SET state=x'80' WHERE rowid=3")
    (fault,) = found(folder, bank).faults
    assert (fault.position, fault.at) == (3, "record")
    assert "meta" in fault.reason


def test_read_models_are_made_past_records_at_the_edge_of_a_page_that_cannot_be_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refold, "BY_POSITION", refold.BY_POSITION.replace(f"LIMIT {refold.PAGE}", "LIMIT 2"))
    with closing(sqlite3.connect(folder / "journal.db", isolation_level=None)) as journal:
        journal.execute("UPDATE stored_events SET state=x'80' WHERE rowid IN (1, 3)")
    refolded = found(folder, bank, fails_at=(4,))
    assert [(fault.position, fault.at) for fault in refolded.faults] == [
        (1, "record"),
        (3, "record"),
        (4, "read model kinds"),
    ]
    with closing(sqlite3.connect(folder / "folded.db")) as models:
        assert models.execute("SELECT position FROM kinds_seen").fetchall() == [(2,)]


def test_what_fails_in_a_state_a_memory_or_a_read_model_is_named_there_and_the_rest_is_folded(folder: Path) -> None:
    def evolve(account: bank.Account, event: Any) -> bank.Account:
        if isinstance(event, bank.Withdrawn):
            raise ZeroDivisionError("nothing is left")
        return bank.evolve(account, event)

    refolded = found(folder, later(evolve=evolve), teller=Forgetful, fails_at=(1, 3))
    assert places(refolded) == [
        (1, "bank.Deposited", "bank-a", "read model kinds"),
        (2, "bank.Greeted", "bank-a", "memory forgetful"),
        (3, "bank.Deposited", "bank-a", "read model kinds"),
        (4, "bank.Withdrawn", "bank-a", "state"),
    ]
    assert refolded.faults[3] == Fault(
        position=4, stream="bank-a", kind="bank.Withdrawn", at="state", reason="ZeroDivisionError: nothing is left"
    )
    with closing(sqlite3.connect(folder / "folded.db")) as models:
        assert models.execute("SELECT position FROM kinds_seen").fetchall() == [(2,), (4,)]


def test_streams_that_nobody_knows_are_named_once_each(folder: Path) -> None:
    refolded = found(folder, later(__name__="shop"))
    assert [place for place in places(refolded) if place[3] == "state"] == [(1, "bank.Deposited", "bank-a", "state")]
    assert refolded.faults_count == 5


def test_faults_beyond_a_bound_are_counted_and_not_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refold, "FAULTS_MAX", 2)
    refolded = found(folder, later(__name__="shop"))
    assert (len(refolded.faults), refolded.faults_count) == (2, 5)

"""A named journal is opened once, and stays the one that it is."""

import msgspec
import pytest
from msgspec.structs import replace

from aggregates import journal
from aggregates.journal import SHARED, OpenJournal, initial
from gateway.api.bodies import body_type
from runtime.errors import Refused
from tests.aggregates.outcomes import Outcome, check
from tests.examples import command_by_type

OPEN: OpenJournal = command_by_type[OpenJournal]


def test_opening_has_three_outcomes() -> None:
    other = replace(OPEN, origin="gavel/acme/01")
    check(journal, Outcome(OPEN, ["JournalOpened"], [], [OPEN], "journal_exists", [other]))


def test_the_shared_journal_is_no_named_one() -> None:
    with pytest.raises(Refused, match="name_taken"):
        journal.decide(initial, replace(OPEN, name=SHARED))


@pytest.mark.parametrize("name", ["", "Acme", "1st", "a_b", "../up", "a.b", "a" * 32, "acme\n", "a b"])
def test_a_name_is_one_that_folders_and_tokens_can_bear(name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": name}, body_type(OpenJournal))

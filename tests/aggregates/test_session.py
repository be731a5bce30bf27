"""A session's life: opened once, ended once; each repeat changes nothing."""

import pytest

from aggregates import session
from aggregates.session import EndSession, OpenSession
from tests.aggregates.outcomes import Outcome, check, named
from tests.examples import command_by_type

OPEN: OpenSession = command_by_type[OpenSession]
END: EndSession = command_by_type[EndSession]

OUTCOMES = (
    Outcome(OPEN, ["SessionOpened"], [], [OPEN], "session_exists", [OPEN, END]),
    Outcome(END, ["SessionEnded"], [OPEN], [OPEN, END], "session_unknown", []),
)


@pytest.mark.parametrize("outcome", OUTCOMES, ids=named)
def test_every_command_has_three_outcomes(outcome: Outcome) -> None:
    check(session, outcome)


def test_every_command_is_in_the_table() -> None:
    assert {type(outcome.command) for outcome in OUTCOMES} == set(session.COMMANDS)

"""An administrative action: it is begun once, ended once, by whoever began it."""

from typing import Any

import pytest
from msgspec.structs import replace

from aggregates import action
from aggregates.action import BeginAction, EndAction, Outcome
from runtime.errors import Refused
from tests.aggregates.outcomes import Outcome as Case
from tests.aggregates.outcomes import check, named, state
from tests.examples import command_by_type

BEGIN: BeginAction = command_by_type[BeginAction]
END: EndAction = command_by_type[EndAction]
OTHER = replace(BEGIN, action="keys.issue")
DONE = replace(END, outcome=Outcome.DONE)

CASES = (
    Case(BEGIN, ["ActionBegun"], [], [BEGIN], "action_exists", [OTHER]),
    Case(END, ["ActionEnded"], [BEGIN], [BEGIN, END], "action_ended", [BEGIN, DONE]),
)


@pytest.mark.parametrize("case", CASES, ids=named)
def test_every_command_decides_was_already_so_or_is_refused(case: Case) -> None:
    check(action, case)


@pytest.mark.parametrize(
    "end,code", [(END, "action_unknown"), (replace(END, principal="admin:k9"), "action_not_yours")]
)
def test_what_was_not_begun_or_by_another_is_not_ended(end: EndAction, code: str) -> None:
    before = state(action, *([] if code == "action_unknown" else [BEGIN]))
    with pytest.raises(Refused, match=code):
        action.decide(before, end)


def test_the_end_says_what_it_is_the_end_of() -> None:
    event: Any
    (event,) = action.decide(state(action, BEGIN), END)
    assert (event.action, event.subject, event.outcome, event.code) == (
        "keys.revoke",
        "key-k1",
        Outcome.REFUSED,
        "key_unknown",
    )

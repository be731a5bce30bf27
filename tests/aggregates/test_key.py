"""A key's life: every command decides, was already so, or is refused."""

import pytest
from msgspec.structs import replace

from aggregates import key
from aggregates.key import IssueKey, KeyIssued, ReplaceKey, RevokeKey
from aggregates.values.roles import Permission, Role
from runtime.errors import Refused
from tests.aggregates.outcomes import Outcome, check, named, state
from tests.examples import command_by_type

ISSUE: IssueKey = command_by_type[IssueKey]
REPLACE: ReplaceKey = command_by_type[ReplaceKey]
REVOKE: RevokeKey = command_by_type[RevokeKey]

OUTCOMES = (
    Outcome(ISSUE, ["KeyIssued"], [], [ISSUE], "key_exists", [ISSUE, REVOKE]),
    Outcome(REPLACE, ["KeyReplaced"], [ISSUE], [ISSUE, REPLACE], "key_ended", [ISSUE, REVOKE]),
    Outcome(REVOKE, ["KeyRevoked"], [ISSUE], [ISSUE, REVOKE], "key_unknown", []),
)


@pytest.mark.parametrize("outcome", OUTCOMES, ids=named)
def test_every_command_has_three_outcomes(outcome: Outcome) -> None:
    check(key, outcome)


def test_every_command_is_in_the_table() -> None:
    assert {type(outcome.command) for outcome in OUTCOMES} == set(key.COMMANDS)


@pytest.mark.parametrize(
    "wrong",
    [replace(ISSUE, role=Role.AGENT_OWN), replace(ISSUE, agent_id="ann")],
    ids=["own-without-agent", "agent-without-own"],
)
def test_an_agents_own_key_comes_with_its_registration_alone(wrong: IssueKey) -> None:
    with pytest.raises(Refused, match="role_needs_registration"):
        key.decide(key.initial, wrong)


def test_a_key_is_not_issued_dead() -> None:
    with pytest.raises(Refused, match="expiry_passed"):
        key.decide(key.initial, replace(ISSUE, expires_at=ISSUE.at))


def test_scopes_take_away_and_never_give() -> None:
    (event,) = key.decide(key.initial, replace(ISSUE, scopes=(Permission.TASKS_SUBMIT, Permission.TASKS_READ)))
    assert isinstance(event, KeyIssued)
    assert event.scopes == (Permission.TASKS_READ, Permission.TASKS_SUBMIT)
    with pytest.raises(Refused, match="keys:manage") as refused:
        key.decide(key.initial, replace(ISSUE, scopes=(Permission.KEYS_MANAGE,)))
    assert refused.value.code == "scopes_excessive"


def test_a_key_is_replaced_once_and_an_agents_own_by_its_registration() -> None:
    replaced = state(key, ISSUE, REPLACE)
    with pytest.raises(Refused, match="key_ended"):
        key.decide(replaced, replace(REPLACE, successor_id="k3"))
    own = replace(ISSUE, role=Role.AGENT_OWN, agent_id="ann")
    with pytest.raises(Refused, match="role_needs_registration"):
        key.decide(state(key, own), REPLACE)
    assert [type(event).__name__ for event in key.decide(replaced, REVOKE)] == ["KeyRevoked"]

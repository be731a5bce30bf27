"""A user's life: every command decides, was already so, or is refused; a program is no user."""

import msgspec
import pytest
from msgspec.structs import replace

from aggregates import user
from aggregates.user import (
    ChangeUser,
    DisableUser,
    EnableUser,
    RegisterUser,
    RemoveUser,
    SetPassword,
)
from aggregates.values.roles import MACHINES, Role
from gateway.api.bodies import body_type
from runtime.errors import Refused
from tests.aggregates.outcomes import Outcome, check, named, state
from tests.examples import command_by_type

REGISTER: RegisterUser = command_by_type[RegisterUser]
CHANGE: ChangeUser = command_by_type[ChangeUser]
SET: SetPassword = command_by_type[SetPassword]
DISABLE: DisableUser = command_by_type[DisableUser]
ENABLE: EnableUser = command_by_type[EnableUser]
REMOVE: RemoveUser = command_by_type[RemoveUser]

OUTCOMES = (
    Outcome(CHANGE, ["UserChanged"], [REGISTER], [REGISTER, CHANGE], "user_unknown", []),
    Outcome(DISABLE, ["UserDisabled"], [REGISTER], [REGISTER, DISABLE], "user_unknown", [REGISTER, REMOVE]),
    Outcome(ENABLE, ["UserEnabled"], [REGISTER, DISABLE], [REGISTER], "user_unknown", []),
)


@pytest.mark.parametrize("outcome", OUTCOMES, ids=named)
def test_commands_have_three_outcomes(outcome: Outcome) -> None:
    check(user, outcome)


def test_a_user_is_registered_once_and_leaves_for_good() -> None:
    registered = state(user, REGISTER)
    assert registered.role is Role.OPERATOR
    for command, after in ((REGISTER, [REGISTER]), (REGISTER, [REGISTER, REMOVE])):
        with pytest.raises(Refused, match="user_exists"):
            user.decide(state(user, *after), command)
    with pytest.raises(Refused, match="user_unknown"):
        user.decide(state(user, REGISTER, REMOVE), REMOVE)


def test_a_password_is_for_whom_nobody_else_vouches() -> None:
    assert [type(event).__name__ for event in user.decide(state(user, REGISTER), SET)] == ["PasswordSet"]
    vouched = replace(REGISTER, issuer="https://id.example", subject="42", password_hash="")
    with pytest.raises(Refused, match="password_elsewhere"):
        user.decide(state(user, vouched), SET)


@pytest.mark.parametrize("role", sorted(MACHINES))
def test_a_role_of_programs_is_no_users(role: Role) -> None:
    for after, command in (((), replace(REGISTER, role=role)), ((REGISTER,), replace(CHANGE, role=role))):
        with pytest.raises(Refused, match="role_needs_key"):
            user.decide(state(user, *after), command)


@pytest.mark.parametrize(
    "username, is_good",
    [
        ("ab", False),
        ("abc", True),
        ("a" * 50, True),
        ("a" * 51, False),
        ("a b", False),
        ("a/b", False),
        ("abc\n", False),
    ],
)
def test_a_username_has_three_to_fifty_characters(username: str, is_good: bool) -> None:
    assert _is_taken({"username": username, "email": "a@b.c"}) is is_good


@pytest.mark.parametrize(
    "email, is_good",
    [
        ("a@b.c", True),
        ("a@b", False),
        ("a.b.c", False),
        ("@b.c", False),
        ("a@@b.c", False),
        ("a@b.", False),
        ("", False),
    ],
)
def test_an_email_address_has_a_name_and_a_host_with_a_dot(email: str, is_good: bool) -> None:
    assert _is_taken({"username": "ann", "email": email}) is is_good


def _is_taken(body: dict[str, str]) -> bool:
    try:
        msgspec.convert(body, body_type(RegisterUser))
    except msgspec.ValidationError:
        return False
    return True

"""Wrong passwords: so many within a time lock an account or an address for a while, which doubles, has a bound and is forgotten."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from aggregates import lockout
from aggregates.lockout import (
    FAILURES_MAX_BY_SCOPE,
    LOCK_SECONDS,
    LOCK_SECONDS_MAX,
    MEMORY_SECONDS,
    WINDOW_SECONDS,
    Lockout,
    NoteFailure,
    NoteSuccess,
    Scope,
    SignInCleared,
    SignInLocked,
    Unlock,
)
from runtime.errors import Refused
from tests.examples import AT, command_by_type

FAIL: NoteFailure = command_by_type[NoteFailure]


def failed(state: Lockout, at: float, scope: Scope = Scope.ACCOUNT) -> Lockout:
    for event in lockout.decide(state, replace(FAIL, at=at, scope=scope)):
        state = lockout.evolve(state, event)
    return state


def locked(state: Lockout, at: float, scope: Scope = Scope.ACCOUNT) -> Lockout:
    for _ in range(FAILURES_MAX_BY_SCOPE[scope.value]):
        state = failed(state, at, scope)
    return state


@pytest.mark.parametrize("scope", list(Scope))
def test_the_last_wrong_password_of_so_many_locks(scope: Scope) -> None:
    state = lockout.initial
    for _ in range(FAILURES_MAX_BY_SCOPE[scope.value] - 1):
        state = failed(state, AT, scope)
        assert state.until == 0.0
    assert failed(state, AT, scope).until == AT + LOCK_SECONDS


def test_while_it_is_locked_nothing_is_counted() -> None:
    state = locked(lockout.initial, AT)
    with pytest.raises(Refused, match="sign_in_locked") as refused:
        failed(state, state.until - 0.001)
    assert refused.value.status == 429
    assert failed(state, state.until).failures == 1


def test_mistakes_that_are_far_apart_do_not_add_up() -> None:
    state, at = lockout.initial, AT
    for _ in range(50):
        state, at = failed(state, at), at + WINDOW_SECONDS / 4 + 1
    assert state.until == 0.0


def test_the_while_doubles_up_to_a_bound_and_begins_anew_after_a_day() -> None:
    state, seconds = lockout.initial, []
    for _ in range(8):
        at = max(AT, state.until)
        state = locked(state, at)
        seconds.append(state.until - at)
    assert seconds[:3] == [LOCK_SECONDS, 2 * LOCK_SECONDS, 4 * LOCK_SECONDS]
    assert seconds[-1] == LOCK_SECONDS_MAX
    later = state.until + MEMORY_SECONDS
    assert locked(state, later).until == later + LOCK_SECONDS


@pytest.mark.parametrize("command", [NoteSuccess, Unlock])
def test_the_right_password_and_an_admin_clear_it(command: type[NoteSuccess | Unlock]) -> None:
    clear = command(scope=Scope.ACCOUNT, whose="u1", at=AT)
    assert lockout.decide(lockout.initial, clear) == []
    state = locked(lockout.initial, AT)
    (event,) = lockout.decide(state, clear)
    assert isinstance(event, SignInCleared)
    assert lockout.evolve(state, event) == lockout.initial


@given(st.lists(st.floats(0, 2000), max_size=60))
def test_nobody_is_kept_out_for_longer_than_the_bound(steps: list[float]) -> None:
    state, at = lockout.initial, AT
    for step in steps:
        at += step
        try:
            events = lockout.decide(state, replace(FAIL, at=at))
        except Refused:
            assert at < state.until
            continue
        for event in events:
            state = lockout.evolve(state, event)
            if isinstance(event, SignInLocked):
                assert 0 < event.until - at <= LOCK_SECONDS_MAX

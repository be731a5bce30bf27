"""Revoked tokens: what is revoked stays so until it concerns nobody, and is never taken back by an earlier moment."""

import pytest
from msgspec.structs import replace

from aggregates import revocation
from aggregates.revocation import Revocation, RevokeTokens
from runtime.errors import Refused
from tests.examples import AT, command_by_type

REVOKE: RevokeTokens = command_by_type[RevokeTokens]


def revoked(state: Revocation, command: RevokeTokens) -> Revocation:
    for event in revocation.decide(state, command):
        state = revocation.evolve(state, event)
    return state


def test_tokens_are_revoked_once() -> None:
    (event,) = revocation.decide(revocation.initial, REVOKE)
    assert (event.target, event.issued_before, event.until) == (REVOKE.target, REVOKE.issued_before, REVOKE.until)
    assert revocation.decide(revoked(revocation.initial, REVOKE), REVOKE) == []


@pytest.mark.parametrize(("before", "until"), [(-5.0, 5.0), (5.0, -5.0), (5.0, 5.0)])
def test_a_later_revocation_only_adds(before: float, until: float) -> None:
    changed = replace(REVOKE, issued_before=AT + before, until=REVOKE.until + until)
    state = revoked(revoked(revocation.initial, REVOKE), changed)
    assert state.issued_before == AT + max(0.0, before)
    assert state.until == REVOKE.until + max(0.0, until)


def test_what_concerns_only_expired_tokens_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        revocation.decide(revocation.initial, replace(REVOKE, until=REVOKE.at))
    assert caught.value.code == "revocation_over"

"""What the security actor decides of identity providers' tokens: which are taken no more."""

from agents.securing.identities import Identities, revocation
from aggregates import revocation as revocations
from aggregates.revocation import ListRevocations, RevocationAccepted, RevokeTokens
from runtime.actor import Effect, reply
from runtime.errors import Refused

REVOCATIONS_OF_TENANT_MAX = 5_000
REVOCATIONS_MAX = 20_000
"""Of all tenants of a journal."""


def revoke_tokens(memory: Identities, message: RevokeTokens) -> Effect:
    """Raises Refused where too many hold."""
    memory.check_at_home(message.tenant)
    known, name = memory.revocation_by_target, revocation(message.tenant, message.target)
    if name not in known:
        _check_room(memory, message)
    entry = known.get(name)
    accepted = RevocationAccepted(
        target=message.target,
        kind=message.kind,
        issued_before=max(message.issued_before, entry.issued_before if entry else 0.0),
        until=max(message.until, entry.until if entry else 0.0),
    )
    return Effect(
        [(revocations.stream(message.tenant, message.target), message)], lambda recorded: reply(message, accepted)
    )


def _check_room(memory: Identities, message: RevokeTokens) -> None:
    hold = [one for one in memory.revocation_by_target.values() if one.until > message.at]
    if sum(one.tenant == message.tenant for one in hold) >= REVOCATIONS_OF_TENANT_MAX:
        detail = f"{REVOCATIONS_OF_TENANT_MAX} revocations of this tenant hold; revoke whole subjects"
        raise Refused("revocations_too_many", detail)
    if len(hold) >= REVOCATIONS_MAX:
        raise Refused("revocations_too_many", f"{REVOCATIONS_MAX} revocations of all tenants hold")


def revocations_of(memory: Identities, question: ListRevocations) -> tuple[RevocationAccepted, ...]:
    """Those of a tenant that hold, the newest first."""
    hold = [
        RevocationAccepted(target=one.target, kind=one.kind, issued_before=one.issued_before, until=one.until)
        for one in reversed(memory.revocation_by_target.values())
        if one.tenant == question.tenant and one.until > question.at
    ]
    return tuple(hold[: question.limit])

"""What the security actor decides of keys: issued, replaced by others, revoked."""

from agents.securing.identities import Decision, Identities
from aggregates import key as keys
from aggregates.key import IssueKey, KeyAccepted, ReplaceKey, RevokeKey, Successors
from runtime.actor import Effect, reply
from runtime.errors import Refused

KEYS_OF_TENANT_MAX = 50_000
KEYS_MAX = 200_000
"""Of all tenants of a journal: four have to be full before another is kept from anything."""
REASON_CHARACTERS_MAX = 2_000

OfKeys = IssueKey | ReplaceKey | RevokeKey


def decide_keys(memory: Identities, message: OfKeys) -> Effect:
    """Raises Refused where a key can't be as asked."""
    match message:
        case IssueKey():
            memory.check_at_home(message.tenant)
            _check_new_key(memory, message.tenant, message.key_id, message.digest)
            decisions: list[Decision] = [(keys.stream(message.key_id), message)]
            accepted = KeyAccepted(key_id=message.key_id)
        case ReplaceKey():
            _check_new_key(memory, message.tenant, message.successor_id, message.digest)
            decisions = [(keys.stream(message.key_id), message), _successor(memory, message)]
            accepted = KeyAccepted(key_id=message.successor_id)
        case RevokeKey():
            also = _taken_along(memory, message)
            if message.asked_by in also:
                raise Refused("key_in_use", "the key that asks would be revoked with it: say `successors=none`")
            decisions = [(keys.stream(message.key_id), message), *(_with(message, key_id) for key_id in also)]
            accepted = KeyAccepted(key_id=message.key_id, also=also)
    return Effect(decisions, lambda recorded: reply(message, accepted))


def _check_new_key(memory: Identities, tenant: str, key_id: str, digest: bytes) -> None:
    known = key_id in memory.digest_by_id
    if not known and memory.good_keys_by_tenant.get(tenant, 0) >= KEYS_OF_TENANT_MAX:
        raise Refused("keys_too_many", f"{KEYS_OF_TENANT_MAX} keys of this tenant are good; revoke some")
    if not known and len(memory.key_by_digest) >= KEYS_MAX:
        raise Refused("keys_too_many", f"{KEYS_MAX} keys of all tenants are good")
    if not known and digest.hex() in memory.key_by_digest:
        raise Refused("token_exists", "another key has this token")


def _successor(memory: Identities, message: ReplaceKey) -> Decision:
    """The key that takes the place of another: good for the same."""
    entry = memory.key_by_digest.get(memory.digest_by_id.get(message.key_id, ""))
    if entry is None or entry.principal.tenant != message.tenant:
        raise Refused("key_unknown", message.key_id, status=404)
    issue = IssueKey(
        key_id=message.successor_id,
        role=entry.principal.role,
        digest=message.digest,
        label=message.label,
        expires_at=message.expires_at,
        data_subject=message.data_subject,
        scopes=entry.principal.scopes,
    )
    return keys.stream(message.successor_id), issue


def _taken_along(memory: Identities, message: RevokeKey) -> tuple[str, ...]:
    """The successors that are revoked with a key, those that expired aside."""
    found: list[str] = []
    entry = memory.key_by_digest.get(memory.digest_by_id.get(message.key_id, ""))
    if message.successors is Successors.NONE or entry is None or entry.principal.tenant != message.tenant:
        return ()
    successor = memory.successor_by_id.get(message.key_id)
    while successor is not None and (successor.is_own or message.successors is Successors.ALL):
        entry = memory.key_by_digest.get(memory.digest_by_id.get(successor.key_id, ""))
        if entry is not None and (entry.expires_at is None or message.at < entry.expires_at):
            found.append(successor.key_id)
        successor = memory.successor_by_id.get(successor.key_id)
    return tuple(found)


def _with(message: RevokeKey, key_id: str) -> Decision:
    """The same of a successor."""
    reason = f"with {message.key_id}: {message.reason}"[:REASON_CHARACTERS_MAX]
    return keys.stream(key_id), RevokeKey(key_id=key_id, reason=reason, successors=Successors.NONE)

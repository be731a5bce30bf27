"""What the security actor decides of keys: issued, replaced by others, revoked."""

from agents.identities import Decision, Identities
from aggregates import key as keys
from aggregates.key import IssueKey, KeyAccepted, ReplaceKey, RevokeKey
from runtime.actor import Effect, reply
from runtime.errors import Refused

KEYS_MAX = 100_000

OfKeys = IssueKey | ReplaceKey | RevokeKey


def decide_keys(memory: Identities, message: OfKeys) -> Effect:
    """Raises Refused where a key can't be as asked."""
    match message:
        case IssueKey():
            memory.check_at_home(message.tenant)
            _check_new_key(memory, message.key_id, message.digest)
            decisions: list[Decision] = [(keys.stream(message.key_id), message)]
            accepted = KeyAccepted(key_id=message.key_id)
        case ReplaceKey():
            _check_new_key(memory, message.successor_id, message.digest)
            decisions = [(keys.stream(message.key_id), message), _successor(memory, message)]
            accepted = KeyAccepted(key_id=message.successor_id)
        case RevokeKey():
            decisions, accepted = [(keys.stream(message.key_id), message)], KeyAccepted(key_id=message.key_id)
    return Effect(decisions, lambda recorded: reply(message, accepted))


def _check_new_key(memory: Identities, key_id: str, digest: bytes) -> None:
    known = key_id in memory.digest_by_id
    if not known and len(memory.key_by_digest) >= KEYS_MAX:
        raise Refused("keys_too_many", f"{KEYS_MAX} keys are good; revoke some")
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

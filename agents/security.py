"""The security actor of the node: it issues and revokes keys, and knows whose token is at the door."""

from msgspec import Struct, field

from aggregates import key as keys
from aggregates.key import (
    Authenticate,
    IssueKey,
    KeyAccepted,
    KeyIssued,
    KeyRevoked,
    Principal,
    RevokeKey,
    Role,
)
from runtime.actor import Actor, Effect, Reply, reply
from runtime.errors import Refused
from runtime.records import Recorded

KEYS_MAX = 100_000

SecurityCommand = IssueKey | RevokeKey | Authenticate


class KeyEntry(Struct, frozen=True, kw_only=True):
    """A key that opens something."""

    principal: Principal
    expires_at: float | None


class Keyring(Struct, kw_only=True):
    """The keys that have not been revoked, by the digest of their token in hexadecimal digits."""

    key_by_digest: dict[str, KeyEntry] = field(default_factory=dict)
    digest_by_id: dict[str, str] = field(default_factory=dict)


class Security(Actor[SecurityCommand, Keyring]):
    """One for the node: a token says its tenant, so it must be known before the tenant is."""

    takes = (IssueKey, RevokeKey, Authenticate)
    hears = keys.EVENTS

    @staticmethod
    def fresh() -> Keyring:
        return Keyring()

    @staticmethod
    def remember(memory: Keyring, recorded: Recorded) -> Keyring:
        match recorded.event:
            case KeyIssued() as event:
                memory.key_by_digest[event.digest.hex()] = KeyEntry(
                    principal=_principal(event, recorded.meta.tenant), expires_at=event.expires_at
                )
                memory.digest_by_id[event.key_id] = event.digest.hex()
            case KeyRevoked() as event:
                memory.key_by_digest.pop(memory.digest_by_id.pop(event.key_id, ""), None)
        return memory

    def handle(self, message: SecurityCommand) -> Effect | Reply:
        match message:
            case Authenticate():
                return reply(message, self._authenticate(message))
            case IssueKey():
                known = message.key_id in self.memory.digest_by_id
                if not known and len(self.memory.key_by_digest) >= KEYS_MAX:
                    raise Refused("keys_too_many", f"{KEYS_MAX} keys are good; revoke some")
                if not known and message.digest.hex() in self.memory.key_by_digest:
                    raise Refused("token_exists", "another key has this token")
        accepted = KeyAccepted(key_id=message.key_id)
        return Effect([(keys.stream(message.key_id), message)], lambda recorded: reply(message, accepted))

    def _authenticate(self, question: Authenticate) -> Principal:
        entry = self.memory.key_by_digest.get(question.digest.hex())
        if entry is None:
            raise Refused("key_unknown", status=403)
        if entry.expires_at is not None and entry.expires_at <= question.at:
            raise Refused("key_expired", status=403)
        return entry.principal


def _principal(event: KeyIssued, tenant: str) -> Principal:
    own = event.role is Role.AGENT_OWN
    name = f"agent:{event.agent_id}" if own else f"{event.role.value}:{event.key_id}"
    return Principal(name=name, tenant=tenant, role=event.role, key_id=event.key_id, agent_id=event.agent_id)

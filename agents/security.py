"""The security actor of the node: it issues and revokes keys, knows whose token is at the door, and records the journal's signing keys.

In a node's shared journal it also knows which tenants have a journal of their own, and lets nothing of them begin there.
"""

from collections.abc import Sequence

from msgspec import Struct, field

from aggregates import journal as journals
from aggregates import journal_key
from aggregates import key as keys
from aggregates.journal import JOURNALS_MAX, JournalFacts, JournalOpened, ListJournals, OpenJournal
from aggregates.journal_key import RotateKey, RotationAccepted
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

SecurityCommand = IssueKey | RevokeKey | Authenticate | OpenJournal | ListJournals | RotateKey


class KeyEntry(Struct, frozen=True, kw_only=True):
    """A key that opens something."""

    principal: Principal
    expires_at: float | None


class Keyring(Struct, kw_only=True):
    """The keys that have not been revoked, by the digest of their token in hexadecimal digits; how many keys each tenant was ever
    given; the named journals."""

    key_by_digest: dict[str, KeyEntry] = field(default_factory=dict)
    digest_by_id: dict[str, str] = field(default_factory=dict)
    keys_by_tenant: dict[str, int] = field(default_factory=dict)
    journal_by_name: dict[str, JournalFacts] = field(default_factory=dict)


class Security(Actor[SecurityCommand, Keyring]):
    """One for the node: a token says its tenant, so it must be known before the tenant is."""

    takes = (IssueKey, RevokeKey, Authenticate, OpenJournal, ListJournals, RotateKey)
    FOLD = 2
    hears = (*keys.EVENTS, *journals.EVENTS)

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
                tenant = recorded.meta.tenant
                memory.keys_by_tenant[tenant] = memory.keys_by_tenant.get(tenant, 0) + 1
            case KeyRevoked() as event:
                memory.key_by_digest.pop(memory.digest_by_id.pop(event.key_id, ""), None)
            case JournalOpened() as event:
                facts = JournalFacts(name=event.name, origin=event.origin, public_key=event.public_key)
                memory.journal_by_name[event.name] = facts
        return memory

    def handle(self, message: SecurityCommand) -> Effect | Reply:
        match message:
            case Authenticate():
                return reply(message, self._authenticate(message))
            case ListJournals():
                return reply(message, tuple(self.memory.journal_by_name.values()))
            case OpenJournal():
                return self._open(message)
            case RotateKey():
                return self._rotate(message)
            case IssueKey():
                if message.tenant in self.memory.journal_by_name:
                    raise Refused("tenant_isolated", f"the keys of {message.tenant} stand in its own journal")
                known = message.key_id in self.memory.digest_by_id
                if not known and len(self.memory.key_by_digest) >= KEYS_MAX:
                    raise Refused("keys_too_many", f"{KEYS_MAX} keys are good; revoke some")
                if not known and message.digest.hex() in self.memory.key_by_digest:
                    raise Refused("token_exists", "another key has this token")
        accepted = KeyAccepted(key_id=message.key_id)
        return Effect([(keys.stream(message.key_id), message)], lambda recorded: reply(message, accepted))

    def _open(self, message: OpenJournal) -> Effect:
        opened = self.memory.journal_by_name
        # Whatever there is of a tenant was done with one of its keys.
        if self.memory.keys_by_tenant.get(message.name):
            raise Refused("tenant_not_empty", f"records of {message.name} stand in the shared journal already")
        if message.name not in opened and len(opened) >= JOURNALS_MAX:
            raise Refused("journals_too_many", f"a node has {JOURNALS_MAX} named journals at most")
        facts = JournalFacts(name=message.name, origin=message.origin, public_key=message.public_key)
        return Effect([(journals.stream(message.name), message)], lambda recorded: reply(message, facts))

    def _rotate(self, message: RotateKey) -> Effect:
        def accepted(recorded: Sequence[Recorded]) -> Reply:
            position = recorded[0].position if recorded else 0
            return reply(message, RotationAccepted(old=message.old, new=message.new, position=position))

        return Effect([(journal_key.stream(), message)], accepted)

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

"""Who there is, as the security actor keeps it at hand: keys, users, sessions and lock-outs, each by what a request brings.

It is a fold of the log. What tells of a person (names, hashes of passwords) goes with the person.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from aggregates.journal import JournalFacts, JournalOpened
from aggregates.key import KeyIssued, KeyReplaced, KeyRevoked
from aggregates.lockout import SignInCleared, SignInLocked
from aggregates.revocation import Kind, TokensRevoked
from aggregates.session import SessionEnded, SessionOpened
from aggregates.subject import SubjectErased
from aggregates.user import (
    PasswordSet,
    UserChanged,
    UserDisabled,
    UserEnabled,
    UserRegistered,
    UserRemoved,
)
from aggregates.values.roles import Principal, Role
from runtime.errors import Refused
from runtime.records import Command, Recorded

LOOKED_THROUGH_EVERY = 256
"""Revocations that are past go with every so many: to look through all with each would take a start with many of them minutes."""

Decision = tuple[str, Command[Any]]
"""A stream, and what is to be decided there."""


class KeyEntry(Struct, frozen=True, kw_only=True):
    """A key that opens something."""

    principal: Principal
    expires_at: float | None


class Successor(Struct, frozen=True, kw_only=True):
    """A key that took another's place, and whether that other one made it."""

    key_id: str
    is_own: bool


class UserEntry(Struct, frozen=True, kw_only=True):
    """A user who has not left."""

    user_id: str
    tenant: str
    role: Role
    username: str
    email: str
    password_hash: str
    issuer: str
    subject: str
    is_active: bool = True

    @property
    def principal(self) -> Principal:
        """As whom the user asks."""
        return Principal(
            name=f"user:{self.user_id}",
            tenant=self.tenant,
            role=self.role,
            key_id=self.user_id,
            user_id=self.user_id,
        )


class SessionEntry(Struct, frozen=True, kw_only=True):
    """A session that has not been ended."""

    session_id: str
    tenant: str
    ends_at: float
    key_id: str
    user_id: str


class RevocationEntry(Struct, frozen=True, kw_only=True):
    """Tokens of identity providers that are not let in."""

    tenant: str
    target: str
    kind: Kind
    issued_before: float
    until: float


class Identities(Struct, kw_only=True):
    """Keys that have not been revoked, by the digest of their token in hexadecimal digits; users by their ids, and their ids by what they
    sign in with; sessions by the digest of their cookie; until when passwords are not looked at; which tokens were revoked; how many keys
    each tenant was ever given and how many are good, and which took the place of others; how many users each has; the named journals."""

    key_by_digest: dict[str, KeyEntry] = field(default_factory=dict)
    digest_by_id: dict[str, str] = field(default_factory=dict)
    keys_by_tenant: dict[str, int] = field(default_factory=dict)
    good_keys_by_tenant: dict[str, int] = field(default_factory=dict)
    users_by_tenant: dict[str, int] = field(default_factory=dict)
    successor_by_id: dict[str, Successor] = field(default_factory=dict)
    user_by_id: dict[str, UserEntry] = field(default_factory=dict)
    user_id_by_login: dict[str, str] = field(default_factory=dict)
    session_by_digest: dict[str, SessionEntry] = field(default_factory=dict)
    digest_by_session: dict[str, str] = field(default_factory=dict)
    locked_until: dict[str, float] = field(default_factory=dict)
    revocation_by_target: dict[str, RevocationEntry] = field(default_factory=dict)
    journal_by_name: dict[str, JournalFacts] = field(default_factory=dict)

    def check_at_home(self, tenant: str) -> None:
        """Raises Refused where a tenant has a journal of its own."""
        if tenant in self.journal_by_name:
            raise Refused("tenant_isolated", f"the keys of {tenant} stand in its own journal")

    def check_token(self, tenant: str, subject: str, token: str, issued_at: float) -> None:
        """Raises Refused where this token, or all of the subject that are so old, were revoked."""
        known = self.revocation_by_target
        of_subject = known.get(revocation(tenant, subject))
        if revocation(tenant, token) in known or (of_subject and issued_at < of_subject.issued_before):
            raise Refused("token_revoked", status=403)

    def key(self, digest: str, at: float) -> Principal:
        """Whose token it is. Raises Refused where it opens nothing."""
        entry = self.key_by_digest.get(digest)
        if entry is None:
            raise Refused("key_unknown", status=403)
        if entry.expires_at is not None and entry.expires_at <= at:
            raise Refused("key_expired", status=403)
        return entry.principal

    def user(self, user_id: str) -> Principal:
        """As whom a user asks. Raises Refused where nobody lets the user in."""
        entry = self.user_by_id.get(user_id)
        if entry is None:
            raise Refused("user_unknown", status=403)
        if not entry.is_active:
            raise Refused("user_disabled", status=403)
        return entry.principal

    def session(self, digest: str, at: float) -> Principal:
        """Whose cookie it is. Raises Refused where it, or what it stands for, opens nothing any more."""
        entry = self.session_by_digest.get(digest)
        if entry is None or entry.ends_at <= at:
            raise Refused("session_over", status=403)
        if entry.user_id:
            return self.user(entry.user_id)
        return self.key(self.digest_by_id.get(entry.key_id, ""), at)

    def sessions_of(self, whose: str) -> Sequence[str]:
        """The sessions of a key or user, by their ids, the oldest first."""
        found = self.session_by_digest.values()
        return [one.session_id for one in found if whose in (one.user_id, one.key_id)]


def login(tenant: str, name: str) -> str:
    """By what a user is found who signs in so: names differ by more than case."""
    return f"{tenant} {name.casefold()}"


def federated(tenant: str, issuer: str, subject: str) -> str:
    """By what a user is found for whom an identity provider vouches."""
    return f"{tenant} {issuer} {subject}"


def lock(tenant: str, scope: str, whose: str) -> str:
    """By what a lock-out is found."""
    return f"{tenant} {scope} {whose}"


def revocation(tenant: str, target: str) -> str:
    """By what a revocation is found: one tenant's are nothing to another."""
    return f"{tenant} {target}"


def remember(memory: Identities, recorded: Recorded) -> Identities:
    """Who there is after this."""
    tenant = recorded.meta.tenant
    match recorded.event:
        case KeyIssued() | KeyReplaced() | KeyRevoked() as event:
            _remember_key(memory, recorded, event)
        case SessionOpened() | SessionEnded() as event:
            _remember_session(memory, recorded, event)
        case SignInLocked() as event:
            _forget_past_locks(memory, recorded.meta.at)
            memory.locked_until[lock(tenant, event.scope.value, event.whose)] = event.until
        case SignInCleared() as event:
            memory.locked_until.pop(lock(tenant, event.scope.value, event.whose), None)
        case JournalOpened() as event:
            facts = JournalFacts(name=event.name, origin=event.origin, public_key=event.public_key)
            memory.journal_by_name[event.name] = facts
        case TokensRevoked() as event:
            _remember_revocation(memory, recorded, event)
        case UserRegistered() as event:
            _add_user(memory, tenant, event)
        case SubjectErased() as event:
            _forget_user(memory, event.data_subject, tenant)
        case event:
            _remember_user(memory, event)
    return memory


def _remember_key(memory: Identities, recorded: Recorded, event: KeyIssued | KeyReplaced | KeyRevoked) -> None:
    tenant = recorded.meta.tenant
    match event:
        case KeyIssued():
            digest = event.digest.hex()
            memory.key_by_digest[digest] = KeyEntry(principal=_principal(event, tenant), expires_at=event.expires_at)
            memory.digest_by_id[event.key_id] = digest
            memory.keys_by_tenant[tenant] = memory.keys_by_tenant.get(tenant, 0) + 1
            _count(memory.good_keys_by_tenant, tenant, 1)
        case KeyReplaced():
            digest = memory.digest_by_id[event.key_id]
            entry = memory.key_by_digest[digest]
            memory.key_by_digest[digest] = replace(entry, expires_at=event.until)
            is_own = recorded.meta.principal == entry.principal.name
            memory.successor_by_id[event.key_id] = Successor(key_id=event.successor_id, is_own=is_own)
        case KeyRevoked():
            memory.successor_by_id.pop(event.key_id, None)
            if memory.key_by_digest.pop(memory.digest_by_id.pop(event.key_id, ""), None) is not None:
                _count(memory.good_keys_by_tenant, tenant, -1)


def _count(count_by_tenant: dict[str, int], tenant: str, more: int) -> None:
    count = count_by_tenant.pop(tenant, 0) + more
    if count:
        count_by_tenant[tenant] = count


def _principal(event: KeyIssued, tenant: str) -> Principal:
    own = event.role is Role.AGENT_OWN
    return Principal(
        name=f"agent:{event.agent_id}" if own else f"{event.role.value}:{event.key_id}",
        tenant=tenant,
        role=event.role,
        key_id=event.key_id,
        agent_id=event.agent_id,
        scopes=event.scopes,
    )


def _remember_session(memory: Identities, recorded: Recorded, event: SessionOpened | SessionEnded) -> None:
    if isinstance(event, SessionEnded):
        memory.session_by_digest.pop(memory.digest_by_session.pop(event.session_id, ""), None)
        return
    digest, at = event.digest.hex(), recorded.meta.at
    for past in [name for name, one in memory.session_by_digest.items() if one.ends_at <= at]:
        del memory.digest_by_session[memory.session_by_digest.pop(past).session_id]
    memory.session_by_digest[digest] = SessionEntry(
        session_id=event.session_id,
        tenant=recorded.meta.tenant,
        ends_at=event.ends_at,
        key_id=event.key_id,
        user_id=event.user_id,
    )
    memory.digest_by_session[event.session_id] = digest


def _remember_revocation(memory: Identities, recorded: Recorded, event: TokensRevoked) -> None:
    tenant, known = recorded.meta.tenant, memory.revocation_by_target
    if len(known) % LOOKED_THROUGH_EVERY == 0:
        for past in [name for name, one in known.items() if one.until <= recorded.meta.at]:
            del known[past]
    name = revocation(tenant, event.target)
    known.pop(name, None)  # the newest stands last
    known[name] = RevocationEntry(
        tenant=tenant, target=event.target, kind=event.kind, issued_before=event.issued_before, until=event.until
    )


def _forget_past_locks(memory: Identities, at: float) -> None:
    for past in [name for name, until in memory.locked_until.items() if until <= at]:
        del memory.locked_until[past]


def _add_user(memory: Identities, tenant: str, event: UserRegistered) -> None:
    if not event.username:  # erased since: nobody can sign in as this user
        return
    memory.user_by_id[event.user_id] = UserEntry(
        user_id=event.user_id,
        tenant=tenant,
        role=event.role,
        username=event.username,
        email=event.email,
        password_hash=event.password_hash,
        issuer=event.issuer,
        subject=event.subject,
    )
    _count(memory.users_by_tenant, tenant, 1)
    for name in _logins(memory.user_by_id[event.user_id]):
        memory.user_id_by_login[name] = event.user_id


def _remember_user(memory: Identities, event: object) -> None:
    if not isinstance(event, UserChanged | PasswordSet | UserDisabled | UserEnabled | UserRemoved):
        return
    entry = memory.user_by_id.get(event.user_id)
    if entry is None:
        return
    match event:
        case UserChanged():
            _change_user(memory, entry, event)
        case PasswordSet():
            memory.user_by_id[entry.user_id] = replace(entry, password_hash=event.password_hash)
        case UserDisabled() | UserEnabled():
            memory.user_by_id[entry.user_id] = replace(entry, is_active=isinstance(event, UserEnabled))
        case UserRemoved():
            _forget_user(memory, entry.user_id, entry.tenant)


def _change_user(memory: Identities, entry: UserEntry, event: UserChanged) -> None:
    changed = replace(entry, role=event.role or entry.role, email=event.email or entry.email)
    for name in _logins(entry):
        memory.user_id_by_login.pop(name, None)
    for name in _logins(changed):
        memory.user_id_by_login[name] = entry.user_id
    memory.user_by_id[entry.user_id] = changed


def _forget_user(memory: Identities, user_id: str, tenant: str) -> None:
    entry = memory.user_by_id.get(user_id)
    if entry is None or entry.tenant != tenant:
        return
    del memory.user_by_id[user_id]
    _count(memory.users_by_tenant, tenant, -1)
    for name in _logins(entry):
        memory.user_id_by_login.pop(name, None)


def _logins(entry: UserEntry) -> list[str]:
    if entry.issuer:
        return [federated(entry.tenant, entry.issuer, entry.subject), login(entry.tenant, entry.username)]
    return [login(entry.tenant, entry.username), login(entry.tenant, entry.email)]

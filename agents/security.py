"""The security actor of the node: it knows keys, users and their sessions, says who is at the door, and records the journal's signing keys.

In a node's shared journal it also knows which tenants have a journal of their own, and lets nothing of them begin there.
"""

from collections.abc import Sequence
from typing import Any

from agents.identities import Identities, federated, lock, login, remember, revocation
from aggregates import journal as journals
from aggregates import journal_key
from aggregates import key as keys
from aggregates import lockout as lockouts
from aggregates import revocation as revocations
from aggregates import session as sessions
from aggregates import subject as subjects
from aggregates import user as users
from aggregates.journal import JOURNALS_MAX, JournalFacts, ListJournals, OpenJournal
from aggregates.journal_key import RotateKey, RotationAccepted
from aggregates.key import Authenticate, IssueKey, KeyAccepted, ReplaceKey, RevokeKey
from aggregates.lockout import NoteFailure, NoteSuccess, Scope, Tried, Unlock
from aggregates.revocation import AdmitToken, ListRevocations, RevocationAccepted, RevokeTokens
from aggregates.session import EndSession, FindSession, OpenSession, SessionAccepted, WhichSession
from aggregates.user import (
    ChangeUser,
    DisableUser,
    EnableUser,
    Federated,
    FindFederated,
    FindLogin,
    FindUser,
    Login,
    RegisterUser,
    RemoveUser,
    SetPassword,
    UserAccepted,
)
from aggregates.values.roles import Principal
from runtime.actor import Actor, Effect, Reply, reply
from runtime.errors import Refused
from runtime.records import Command, Recorded

KEYS_MAX = 100_000
USERS_MAX = 100_000
SESSIONS_MAX = 10_000
SESSIONS_OF_ONE_MAX = 20
"""Sessions of one key or user; the oldest makes room."""
REVOCATIONS_MAX = 10_000

ENDS_SESSIONS: dict[type, str] = {
    DisableUser: "the user was disabled",
    RemoveUser: "the user was removed",
    SetPassword: "the password is another one",
}

Question = (
    Authenticate
    | FindSession
    | WhichSession
    | FindUser
    | FindLogin
    | FindFederated
    | AdmitToken
    | ListRevocations
    | ListJournals
)
OfKeys = IssueKey | ReplaceKey | RevokeKey
OfUsers = RegisterUser | ChangeUser | SetPassword | DisableUser | EnableUser | RemoveUser
OfSessions = OpenSession | EndSession
OfLockouts = NoteFailure | NoteSuccess | Unlock
Decision = tuple[str, Command[Any]]
SecurityCommand = Question | OfKeys | OfUsers | OfSessions | OfLockouts | RevokeTokens | OpenJournal | RotateKey


class Security(Actor[SecurityCommand, Identities]):
    """One for the node: a token says its tenant, so it must be known before the tenant is."""

    takes = (
        *(Authenticate, FindSession, WhichSession, FindUser, FindLogin, FindFederated),
        *(AdmitToken, ListRevocations, ListJournals),
        *keys.COMMANDS,
        *users.COMMANDS,
        *sessions.COMMANDS,
        *lockouts.COMMANDS,
        *revocations.COMMANDS,
        *(OpenJournal, RotateKey),
    )
    FOLD = 4
    hears = (
        *keys.EVENTS,
        *users.EVENTS,
        *sessions.EVENTS,
        *lockouts.EVENTS,
        *revocations.EVENTS,
        *subjects.EVENTS,
        *journals.EVENTS,
    )

    @staticmethod
    def fresh() -> Identities:
        return Identities()

    @staticmethod
    def remember(memory: Identities, recorded: Recorded) -> Identities:
        return remember(memory, recorded)

    def handle(self, message: SecurityCommand) -> Effect | Reply:
        match message:
            case Authenticate():
                return reply(message, self.memory.key(message.digest.hex(), message.at))
            case FindSession():
                return reply(message, self.memory.session(message.digest.hex(), message.at))
            case WhichSession():
                entry = self.memory.session_by_digest.get(message.digest.hex())
                return reply(message, entry.session_id if entry and entry.tenant == message.tenant else "")
            case FindUser():
                principal = self.memory.user(message.user_id)
                if principal.tenant != message.tenant:
                    raise Refused("user_unknown", status=403)
                return reply(message, principal)
            case FindLogin():
                return reply(message, self._login(message))
            case FindFederated():
                return reply(message, self._federated(message))
            case AdmitToken():
                tenant = message.principal.tenant
                self.memory.check_token(tenant, message.subject, message.token, message.issued_at)
                return reply(message, message.principal)
            case ListRevocations():
                return reply(message, self._revocations(message))
            case RevokeTokens():
                return self._revoke_tokens(message)
            case ListJournals():
                return reply(message, tuple(self.memory.journal_by_name.values()))
            case OpenJournal():
                return self._open_journal(message)
            case RotateKey():
                return self._rotate(message)
            case IssueKey() | ReplaceKey() | RevokeKey():
                return self._of_keys(message)
            case OpenSession() | EndSession():
                return self._of_sessions(message)
            case NoteFailure() | NoteSuccess() | Unlock():
                return self._of_lockouts(message)
            case _:
                return self._of_users(message)

    # ---- keys

    def _of_keys(self, message: OfKeys) -> Effect:
        match message:
            case IssueKey():
                self._check_at_home(message.tenant)
                self._check_new_key(message.key_id, message.digest)
                decisions: list[Decision] = [(keys.stream(message.key_id), message)]
                accepted = KeyAccepted(key_id=message.key_id)
            case ReplaceKey():
                self._check_new_key(message.successor_id, message.digest)
                decisions = [(keys.stream(message.key_id), message), self._successor(message)]
                accepted = KeyAccepted(key_id=message.successor_id)
            case RevokeKey():
                decisions, accepted = [(keys.stream(message.key_id), message)], KeyAccepted(key_id=message.key_id)
        return Effect(decisions, lambda recorded: reply(message, accepted))

    def _check_new_key(self, key_id: str, digest: bytes) -> None:
        known = key_id in self.memory.digest_by_id
        if not known and len(self.memory.key_by_digest) >= KEYS_MAX:
            raise Refused("keys_too_many", f"{KEYS_MAX} keys are good; revoke some")
        if not known and digest.hex() in self.memory.key_by_digest:
            raise Refused("token_exists", "another key has this token")

    def _successor(self, message: ReplaceKey) -> Decision:
        """The key that takes the place of another: good for the same."""
        entry = self.memory.key_by_digest.get(self.memory.digest_by_id.get(message.key_id, ""))
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

    # ---- users

    def _of_users(self, message: OfUsers) -> Effect:
        memory = self.memory
        match message:
            case RegisterUser():
                self._check_at_home(message.tenant)
                if len(memory.user_by_id) >= USERS_MAX:
                    raise Refused("users_too_many", f"{USERS_MAX} users are known; remove some")
                self._check_free(message.tenant, message.user_id, username=message.username)
                if message.issuer:
                    name = federated(message.tenant, message.issuer, message.subject)
                    self._check_taken(name, message.user_id, "user_exists")
                else:
                    self._check_free(message.tenant, message.user_id, email=message.email)
            case ChangeUser() if message.email is not None:
                self._check_free(message.tenant, message.user_id, email=message.email)
        decisions: list[Decision] = [(users.stream(message.user_id), message)]
        if (why := ENDS_SESSIONS.get(type(message))) is not None:
            decisions += self._endings(message.user_id, why)
        accepted = UserAccepted(user_id=message.user_id)
        return Effect(decisions, lambda recorded: reply(message, accepted))

    def _check_free(self, tenant: str, user_id: str, **names: str) -> None:
        for what, name in names.items():
            self._check_taken(login(tenant, name), user_id, f"{what}_taken")

    def _check_taken(self, name: str, user_id: str, code: str) -> None:
        if self.memory.user_id_by_login.get(name, user_id) != user_id:
            raise Refused(code, "another user of the tenant has it")

    def _login(self, question: FindLogin) -> Login:
        """Raises Refused while passwords are not looked at."""
        user_id = self.memory.user_id_by_login.get(login(question.tenant, question.name), "")
        account = user_id or question.nobody
        whose = ((Scope.ADDRESS, question.address), (Scope.ACCOUNT, account))
        untils = (self.memory.locked_until.get(lock(question.tenant, scope.value, who), 0.0) for scope, who in whose)
        until = max(untils)
        if question.at < until:
            raise Refused(
                "sign_in_locked", f"after too many wrong passwords, for {until - question.at:.0f} s", status=429
            )
        entry = self.memory.user_by_id.get(user_id)
        if entry is None or not entry.is_active:
            return Login(user_id=user_id, account=account, password_hash="")
        return Login(user_id=user_id, account=account, password_hash=entry.password_hash)

    def _federated(self, question: FindFederated) -> Federated:
        name = federated(question.tenant, question.issuer, question.subject)
        entry = self.memory.user_by_id.get(self.memory.user_id_by_login.get(name, ""))
        return Federated(user_id=entry.user_id, role=entry.role, email=entry.email) if entry else Federated()

    # ---- sessions

    def _of_sessions(self, message: OfSessions) -> Effect:
        if isinstance(message, EndSession):
            ended = SessionAccepted(session_id=message.session_id)
            return Effect([(sessions.stream(message.session_id), message)], lambda recorded: reply(message, ended))
        principal = self._signs_in(message)
        if principal.tenant != message.tenant:
            raise Refused("session_elsewhere", "it is of another tenant", status=403)
        if len(self.memory.session_by_digest) >= SESSIONS_MAX:
            raise Refused("sessions_too_many", f"{SESSIONS_MAX} sessions are open", status=503)
        decisions: list[Decision] = [(sessions.stream(message.session_id), message)]
        open_ = self.memory.sessions_of(message.user_id or message.key_id)
        spare = [one for one in open_ if one != message.session_id][: max(0, len(open_) + 1 - SESSIONS_OF_ONE_MAX)]
        decisions += [_ending(one, "another one made room") for one in spare]
        accepted = SessionAccepted(session_id=message.session_id, principal=principal)
        return Effect(decisions, lambda recorded: reply(message, accepted))

    def _signs_in(self, message: OpenSession) -> Principal:
        if message.user_id:
            return self.memory.user(message.user_id)
        return self.memory.key(self.memory.digest_by_id.get(message.key_id, ""), message.at)

    def _endings(self, whose: str, why: str) -> list[Decision]:
        return [_ending(one, why) for one in self.memory.sessions_of(whose)]

    # ---- lock-outs

    def _of_lockouts(self, message: OfLockouts) -> Effect:
        stream = lockouts.stream(message.tenant, message.scope, message.whose)

        def tried(recorded: Sequence[Recorded]) -> Reply:
            event = recorded[0].event if recorded else None
            return reply(message, Tried(until=event.until if isinstance(event, lockouts.SignInLocked) else 0.0))

        return Effect([(stream, message)], tried)

    # ---- tokens of identity providers

    def _revoke_tokens(self, message: RevokeTokens) -> Effect:
        self._check_at_home(message.tenant)
        known, name = self.memory.revocation_by_target, revocation(message.tenant, message.target)
        if name not in known and sum(one.until > message.at for one in known.values()) >= REVOCATIONS_MAX:
            raise Refused("revocations_too_many", f"{REVOCATIONS_MAX} revocations hold; revoke whole subjects")
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

    def _revocations(self, question: ListRevocations) -> tuple[RevocationAccepted, ...]:
        hold = [
            RevocationAccepted(target=one.target, kind=one.kind, issued_before=one.issued_before, until=one.until)
            for one in reversed(self.memory.revocation_by_target.values())
            if one.tenant == question.tenant and one.until > question.at
        ]
        return tuple(hold[: question.limit])

    # ---- journals

    def _check_at_home(self, tenant: str) -> None:
        if tenant in self.memory.journal_by_name:
            raise Refused("tenant_isolated", f"the keys of {tenant} stand in its own journal")

    def _open_journal(self, message: OpenJournal) -> Effect:
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


def _ending(session_id: str, reason: str) -> Decision:
    return sessions.stream(session_id), EndSession(session_id=session_id, reason=reason)

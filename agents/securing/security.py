"""The security actor of the node: it knows keys, users and their sessions, says who is at the door, and records the journal's signing keys.

In a node's shared journal it also knows which tenants have a journal of their own, and lets nothing of them begin there. What it
decides of keys, sessions, users and revocations stands in the modules beside this one.
"""

from collections.abc import Sequence

from agents.securing.identities import Identities, remember
from agents.securing.keys import OfKeys, decide_keys
from agents.securing.revocations import revocations_of, revoke_tokens
from agents.securing.sessions import OfSessions, decide_sessions
from agents.securing.users import OfLockouts, OfUsers, decide_lockouts, decide_users, federated_of, login_of
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
from aggregates.key import Authenticate, IssueKey, ReplaceKey, RevokeKey
from aggregates.lockout import NoteFailure, NoteSuccess, Unlock
from aggregates.revocation import AdmitToken, ListRevocations, RevokeTokens
from aggregates.session import EndSession, FindSession, OpenSession, WhichSession
from aggregates.user import FindFederated, FindLogin, FindUser
from runtime.actor import Actor, Effect, Reply, reply
from runtime.errors import Refused
from runtime.records import Recorded

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
    FOLD = 5
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
                return reply(message, login_of(self.memory, message))
            case FindFederated():
                return reply(message, federated_of(self.memory, message))
            case AdmitToken():
                tenant = message.principal.tenant
                self.memory.check_token(tenant, message.subject, message.token, message.issued_at)
                return reply(message, message.principal)
            case ListRevocations():
                return reply(message, revocations_of(self.memory, message))
            case RevokeTokens():
                return revoke_tokens(self.memory, message)
            case ListJournals():
                return reply(message, tuple(self.memory.journal_by_name.values()))
            case OpenJournal():
                return self._open_journal(message)
            case RotateKey():
                return self._rotate(message)
            case IssueKey() | ReplaceKey() | RevokeKey():
                return decide_keys(self.memory, message)
            case OpenSession() | EndSession():
                return decide_sessions(self.memory, message)
            case NoteFailure() | NoteSuccess() | Unlock():
                return decide_lockouts(self.memory, message)
            case _:
                return decide_users(self.memory, message)

    # ---- journals

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

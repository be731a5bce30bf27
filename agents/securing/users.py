"""What the security actor decides of users: who is registered under which names, and whether their passwords are looked at."""

from collections.abc import Sequence

from agents.securing.identities import Decision, Identities, federated, lock, login
from agents.securing.sessions import endings
from aggregates import lockout as lockouts
from aggregates import user as users
from aggregates.lockout import NoteFailure, NoteSuccess, Scope, Tried, Unlock
from aggregates.user import (
    ChangeUser,
    DisableUser,
    EnableUser,
    Federated,
    FindFederated,
    FindLogin,
    Login,
    RegisterUser,
    RemoveUser,
    SetPassword,
    UserAccepted,
)
from runtime.actor import Effect, Reply, reply
from runtime.errors import Refused
from runtime.records import Recorded

USERS_OF_TENANT_MAX = 25_000
USERS_MAX = 100_000
"""Of all tenants of a journal."""

ENDS_SESSIONS: dict[type, str] = {
    DisableUser: "the user was disabled",
    RemoveUser: "the user was removed",
    SetPassword: "the password is another one",
}

OfUsers = RegisterUser | ChangeUser | SetPassword | DisableUser | EnableUser | RemoveUser
OfLockouts = NoteFailure | NoteSuccess | Unlock


def decide_users(memory: Identities, message: OfUsers) -> Effect:
    """Raises Refused where a user can't be as asked; whoever is sent away has no session any more."""
    match message:
        case RegisterUser():
            memory.check_at_home(message.tenant)
            _check_room(memory, message.tenant)
            _check_free(memory, message.tenant, message.user_id, username=message.username)
            if message.issuer:
                name = federated(message.tenant, message.issuer, message.subject)
                _check_taken(memory, name, message.user_id, "user_exists")
            else:
                _check_free(memory, message.tenant, message.user_id, email=message.email)
        case ChangeUser() if message.email is not None:
            _check_free(memory, message.tenant, message.user_id, email=message.email)
    decisions: list[Decision] = [(users.stream(message.user_id), message)]
    if (why := ENDS_SESSIONS.get(type(message))) is not None:
        decisions += endings(memory, message.user_id, why)
    accepted = UserAccepted(user_id=message.user_id)
    return Effect(decisions, lambda recorded: reply(message, accepted))


def _check_room(memory: Identities, tenant: str) -> None:
    if memory.users_by_tenant.get(tenant, 0) >= USERS_OF_TENANT_MAX:
        raise Refused("users_too_many", f"{USERS_OF_TENANT_MAX} users of this tenant are known; remove some")
    if len(memory.user_by_id) >= USERS_MAX:
        raise Refused("users_too_many", f"{USERS_MAX} users of all tenants are known")


def _check_free(memory: Identities, tenant: str, user_id: str, **names: str) -> None:
    for what, name in names.items():
        _check_taken(memory, login(tenant, name), user_id, f"{what}_taken")


def _check_taken(memory: Identities, name: str, user_id: str, code: str) -> None:
    if memory.user_id_by_login.get(name, user_id) != user_id:
        raise Refused(code, "another user of the tenant has it")


def login_of(memory: Identities, question: FindLogin) -> Login:
    """What a password is compared with. Raises Refused while passwords are not looked at."""
    user_id = memory.user_id_by_login.get(login(question.tenant, question.name), "")
    account = user_id or question.nobody
    whose = ((Scope.ADDRESS, question.address), (Scope.ACCOUNT, account))
    untils = (memory.locked_until.get(lock(question.tenant, scope.value, who), 0.0) for scope, who in whose)
    until = max(untils)
    if question.at < until:
        left = until - question.at
        told = f"after too many wrong passwords, for {left:.0f} s"
        raise Refused("sign_in_locked", told, status=429, retry_seconds=left)
    entry = memory.user_by_id.get(user_id)
    if entry is None or not entry.is_active:
        return Login(user_id=user_id, account=account, password_hash="")
    return Login(user_id=user_id, account=account, password_hash=entry.password_hash)


def federated_of(memory: Identities, question: FindFederated) -> Federated:
    """Whom an identity provider vouches for; of nobody that is known, blanks."""
    name = federated(question.tenant, question.issuer, question.subject)
    entry = memory.user_by_id.get(memory.user_id_by_login.get(name, ""))
    return Federated(user_id=entry.user_id, role=entry.role, email=entry.email) if entry else Federated()


def decide_lockouts(memory: Identities, message: OfLockouts) -> Effect:
    """One more password, wrong or right, or none counts any more."""
    stream = lockouts.stream(message.tenant, message.scope, message.whose)

    def tried(recorded: Sequence[Recorded]) -> Reply:
        event = recorded[0].event if recorded else None
        return reply(message, Tried(until=event.until if isinstance(event, lockouts.SignInLocked) else 0.0))

    return Effect([(stream, message)], tried)

"""A user: a person who signs in, by a password or by what an identity provider says of them, in one role of one tenant.

All that tells of the person stands under the user's own key (`data_subject` is the user's id) and is erased with them; the hash of a
password too. Whether a password is right is found out at the door: what is decided here is who there is and what they are.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, get_args

from msgspec import Meta, Struct
from msgspec.structs import replace

from aggregates.values.ids import DataSubject, UserId
from aggregates.values.roles import MACHINES, Principal, Role
from aggregates.values.text import Label, Note
from runtime.errors import Refused
from runtime.records import Command, Event, House, Personal, State, Untold

RULES = 1

Username = Annotated[str, Meta(min_length=3, max_length=50, pattern=r"^[^\s\x00-\x1f/]+$(?!\n)")]
Email = Annotated[str, Meta(max_length=254, pattern=r"^[^@\s\x00]+@[^@\s\x00]+\.[^@\s\x00]+$(?!\n)")]
PasswordHash = Annotated[str, Meta(max_length=200)]
"""As argon2 writes it, with its parameters and salt."""
Issuer = Annotated[str, Meta(max_length=300)]
"""The identity provider that vouches for the user, by its URL; empty: nobody does."""
SubjectAtIssuer = Annotated[str, Meta(max_length=255)]


class Stage(StrEnum):
    """Where a user stands."""

    UNKNOWN = "unknown"
    ACTIVE = "active"
    DISABLED = "disabled"
    REMOVED = "removed"


class User(State, frozen=True, kw_only=True):
    """What decisions about one user need to know."""

    stage: Stage = Stage.UNKNOWN
    role: Role = Role.READ_ONLY
    issuer: str = ""


initial = User()


class UserAccepted(Struct, frozen=True, kw_only=True):
    """The user stands as asked."""

    user_id: UserId


class RegisterUser(Command[UserAccepted], frozen=True, kw_only=True):
    """A new user. Sent by an admin; by the node for whoever an identity provider sends for the first time."""

    user_id: House[UserId]
    username: Personal[Username]
    email: Personal[Email]
    role: Role = Role.READ_ONLY
    name: Personal[Label] = ""
    password_hash: House[Personal[Untold[PasswordHash]]] = ""
    issuer: House[Issuer] = ""
    subject: House[Personal[SubjectAtIssuer]] = ""
    data_subject: House[DataSubject] = ""


class ChangeUser(Command[UserAccepted], frozen=True, kw_only=True):
    """Another role, address or name; what is not given stays. Sent by an admin; by the node when the identity provider says so."""

    user_id: House[UserId]
    role: Role | None = None
    email: Personal[Email | None] = None
    name: Personal[Label | None] = None
    data_subject: House[DataSubject] = ""


class SetPassword(Command[UserAccepted], frozen=True, kw_only=True):
    """Another password. Sent by an admin, or by the user with the one there was."""

    user_id: House[UserId]
    password_hash: House[Personal[Untold[PasswordHash]]] = ""
    data_subject: House[DataSubject] = ""


class DisableUser(Command[UserAccepted], frozen=True, kw_only=True):
    """The user is not let in from now on, by nothing. Sent by an admin."""

    user_id: House[UserId]
    reason: Note = ""


class EnableUser(Command[UserAccepted], frozen=True, kw_only=True):
    """A disabled user is let in again. Sent by an admin."""

    user_id: House[UserId]


class RemoveUser(Command[UserAccepted], frozen=True, kw_only=True):
    """The user leaves for good; the name is free again. Sent by an admin."""

    user_id: House[UserId]
    reason: Note = ""


class Login(Struct, frozen=True, kw_only=True):
    """Whom a name and a password would sign in; no hash where nobody has one. `account` is for whom wrong passwords count."""

    user_id: str
    account: str
    password_hash: str


class FindUser(Command[Principal], frozen=True, kw_only=True):
    """As whom does this user of the tenant ask? A question of the gateway's, answered by the security actor; records nothing."""

    user_id: House[UserId]


class FindLogin(Command[Login], frozen=True, kw_only=True):
    """Who signs in by this name or e-mail address? A question of the gateway's, answered by the security actor, which refuses it while
    passwords are not looked at, of this account or from this address; records nothing. `nobody` stands for the account where nobody has
    the name: it is locked as one that somebody has."""

    name: House[str]
    address: House[str]
    nobody: House[str] = ""


class Federated(Struct, frozen=True, kw_only=True):
    """A user for whom an identity provider vouches, as they are known here; no id where nobody is."""

    user_id: str = ""
    role: Role = Role.READ_ONLY
    email: str = ""


class FindFederated(Command[Federated], frozen=True, kw_only=True):
    """Which user of the tenant is this subject of an identity provider? A question of the gateway's, answered by the security actor;
    records nothing."""

    issuer: House[str]
    subject: House[str]


class UserRegistered(Event, frozen=True, kw_only=True):
    user_id: UserId
    username: Personal[str]
    email: Personal[str]
    role: Role
    name: Personal[str]
    password_hash: Personal[Untold[str]]
    has_password: bool
    issuer: str
    subject: Personal[str]
    data_subject: str


class UserChanged(Event, frozen=True, kw_only=True):
    user_id: UserId
    role: Role | None
    email: Personal[str | None]
    name: Personal[str | None]
    data_subject: str


class PasswordSet(Event, frozen=True, kw_only=True):
    user_id: UserId
    password_hash: Personal[Untold[str]]
    data_subject: str


class UserDisabled(Event, frozen=True, kw_only=True):
    user_id: UserId
    reason: str


class UserEnabled(Event, frozen=True, kw_only=True):
    user_id: UserId


class UserRemoved(Event, frozen=True, kw_only=True):
    user_id: UserId
    reason: str


UserCommand = RegisterUser | ChangeUser | SetPassword | DisableUser | EnableUser | RemoveUser
UserEvent = UserRegistered | UserChanged | PasswordSet | UserDisabled | UserEnabled | UserRemoved
COMMANDS = get_args(UserCommand)
EVENTS = get_args(UserEvent)


def stream(user_id: str) -> str:
    """The stream of a user."""
    return f"user-{user_id}"


def decide(user: User, command: UserCommand) -> Sequence[UserEvent]:
    match user.stage, command:
        case Stage.UNKNOWN, RegisterUser():
            _check_role(command.role)
            return [_registered(command)]
        case stage, RegisterUser():
            raise Refused("user_exists", f"{command.user_id} is {stage.value}")
        case Stage.UNKNOWN | Stage.REMOVED, _:
            raise Refused("user_unknown", command.user_id, status=404)
        case _, ChangeUser():
            return _changed(user, command)
        case _, SetPassword():
            return [_password_set(user, command)]
        case Stage.ACTIVE, DisableUser():
            return [UserDisabled(user_id=command.user_id, reason=command.reason)]
        case Stage.DISABLED, EnableUser():
            return [UserEnabled(user_id=command.user_id)]
        case _, RemoveUser():
            return [UserRemoved(user_id=command.user_id, reason=command.reason)]
    return []


def _check_role(role: Role) -> None:
    if role in MACHINES:
        raise Refused("role_needs_key", f"{role.value} is a role of programs, which have keys", status=422)


def _registered(command: RegisterUser) -> UserRegistered:
    return UserRegistered(
        user_id=command.user_id,
        username=command.username,
        email=command.email,
        role=command.role,
        name=command.name,
        password_hash=command.password_hash,
        has_password=bool(command.password_hash),
        issuer=command.issuer,
        subject=command.subject,
        data_subject=command.data_subject,
    )


def _changed(user: User, command: ChangeUser) -> list[UserEvent]:
    if command.role is not None:
        _check_role(command.role)
    role = None if command.role is user.role else command.role
    if role is None and command.email is None and command.name is None:
        return []
    changed = UserChanged(
        user_id=command.user_id,
        role=role,
        email=command.email,
        name=command.name,
        data_subject=command.data_subject,
    )
    return [changed]


def _password_set(user: User, command: SetPassword) -> PasswordSet:
    if user.issuer:
        raise Refused("password_elsewhere", f"{user.issuer} vouches for this user, who has no password here")
    return PasswordSet(user_id=command.user_id, password_hash=command.password_hash, data_subject=command.data_subject)


def evolve(user: User, event: UserEvent) -> User:
    match event:
        case UserRegistered():
            return User(stage=Stage.ACTIVE, role=event.role, issuer=event.issuer)
        case UserChanged():
            return user if event.role is None else replace(user, role=event.role)
        case PasswordSet():
            return user
        case UserDisabled():
            return replace(user, stage=Stage.DISABLED)
        case UserEnabled():
            return replace(user, stage=Stage.ACTIVE)
        case UserRemoved():
            return replace(user, stage=Stage.REMOVED)

"""A key: it lets one principal in, in one role, until it is revoked or expires.

With scopes it is good for those of its role's permissions alone. One that is replaced by another goes on for an overlap, so that whoever
holds it can change over without a gap.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, get_args

from msgspec import Meta, Struct
from msgspec.structs import replace

from aggregates.values.ids import DataSubject, KeyId
from aggregates.values.numbers import Instant
from aggregates.values.roles import Permission, Principal, Role, granted
from aggregates.values.text import Label, Note
from runtime.errors import Refused
from runtime.records import Command, Event, House, Personal, State

RULES = 1

KeyDigest = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""The sha256 of the whole token; the token itself is never recorded."""


Scopes = Annotated[tuple[Permission, ...], Meta(max_length=len(Permission))]
"""What a key is good for, of what its role may do; none named: all of it."""

OVERLAP_SECONDS_MAX = 30 * 86_400.0
Overlap = Annotated[float, Meta(ge=0, le=OVERLAP_SECONDS_MAX)]


class Stage(StrEnum):
    """Where a key stands; that it expired shows in `expires_at`."""

    UNKNOWN = "unknown"
    ISSUED = "issued"
    REPLACED = "replaced"
    """Another one has taken its place; it is good until the overlap ends."""
    REVOKED = "revoked"


class Successors(StrEnum):
    """Which of the keys that took a key's place are revoked with it."""

    OWN = "own"
    """Those that it made for itself, and they for themselves: whoever stole it may have."""
    ALL = "all"
    """Those that an admin made, too."""
    NONE = "none"


class Key(State, frozen=True, kw_only=True):
    """What decisions about one key need to know."""

    stage: Stage = Stage.UNKNOWN
    role: Role = Role.AUDITOR
    digest: bytes = b""
    agent_id: str = ""
    scopes: tuple[Permission, ...] = ()
    expires_at: float | None = None
    successor_id: str = ""


initial = Key()


class KeyAccepted(Struct, frozen=True, kw_only=True):
    """The key stands as asked."""

    key_id: KeyId
    also: tuple[KeyId, ...] = ()
    """Its successors that were revoked with it."""


class IssueKey(Command[KeyAccepted], frozen=True, kw_only=True):
    """A new key. Sent by an admin; by the coordinator with an agent's registration; by the node for its first admin key."""

    key_id: House[KeyId]
    role: Role
    digest: House[KeyDigest]
    agent_id: House[str] = ""
    label: Personal[Label] = ""
    expires_at: Instant | None = None
    data_subject: DataSubject = ""
    scopes: Scopes = ()


class ReplaceKey(Command[KeyAccepted], frozen=True, kw_only=True):
    """Another key takes the place of this one, which goes on for the overlap. Sent by an admin, or by whoever holds the key; the
    successor is issued in the same step."""

    key_id: House[KeyId]
    successor_id: House[KeyId]
    digest: House[KeyDigest]
    overlap_seconds: Overlap = 86_400.0
    expires_at: Instant | None = None
    label: House[Personal[Label]] = ""
    data_subject: House[DataSubject] = ""


class RevokeKey(Command[KeyAccepted], frozen=True, kw_only=True):
    """The key opens nothing from now on. Sent by an admin; by the coordinator when its agent leaves or registers anew."""

    key_id: House[KeyId]
    reason: Note = ""
    successors: House[Successors] = Successors.OWN
    asked_by: House[str] = ""
    """The key that asks for it, which can't be among them."""


class Authenticate(Command[Principal], frozen=True, kw_only=True):
    """Whose token has this digest? A question of the gateway's, answered by the security actor; records nothing."""

    digest: House[KeyDigest]


class KeyIssued(Event, frozen=True, kw_only=True):
    key_id: KeyId
    role: Role
    digest: bytes
    agent_id: str
    label: Personal[str]
    expires_at: float | None
    data_subject: str = ""
    scopes: tuple[Permission, ...] = ()


class KeyReplaced(Event, frozen=True, kw_only=True):
    key_id: KeyId
    successor_id: KeyId
    until: float


class KeyRevoked(Event, frozen=True, kw_only=True):
    key_id: KeyId
    reason: str


KeyCommand = IssueKey | ReplaceKey | RevokeKey
KeyEvent = KeyIssued | KeyReplaced | KeyRevoked
COMMANDS = get_args(KeyCommand)
EVENTS = get_args(KeyEvent)


def stream(key_id: str) -> str:
    """The stream of a key."""
    return f"key-{key_id}"


def decide(key: Key, command: KeyCommand) -> Sequence[KeyEvent]:
    match key.stage, command:
        case Stage.UNKNOWN, IssueKey():
            _check(command)
            return [_issued(command)]
        case Stage.ISSUED | Stage.REPLACED, IssueKey() if _is_of(key, command):
            return []
        case stage, IssueKey():
            raise Refused("key_exists", f"{command.key_id} is {stage.value}")
        case Stage.UNKNOWN, _:
            raise Refused("key_unknown", command.key_id, status=404)
        case stage, RevokeKey():
            revoked = KeyRevoked(key_id=command.key_id, reason=command.reason)
            return [] if stage is Stage.REVOKED else [revoked]
        case stage, ReplaceKey():
            return _replaced(key, command)


def _is_of(key: Key, command: IssueKey) -> bool:
    """Whether this key was issued so."""
    asked = evolve(initial, _issued(command))
    return asked == replace(key, stage=Stage.ISSUED, expires_at=asked.expires_at, successor_id="")


def _replaced(key: Key, command: ReplaceKey) -> list[KeyEvent]:
    if key.successor_id == command.successor_id:
        return []
    if key.stage is not Stage.ISSUED:
        raise Refused("key_ended", f"{command.key_id} is {key.stage.value}")
    if key.agent_id:
        raise Refused("role_needs_registration", "an agent that registers again is given a new key", status=422)
    ends = (command.at + command.overlap_seconds, key.expires_at)
    until = min(end for end in ends if end is not None)
    return [KeyReplaced(key_id=command.key_id, successor_id=command.successor_id, until=until)]


def _check(command: IssueKey) -> None:
    if (command.role is Role.AGENT_OWN) != bool(command.agent_id):
        raise Refused("role_needs_registration", "an agent's own key comes with its registration", status=422)
    if command.expires_at is not None and command.expires_at <= command.at:
        raise Refused("expiry_passed", "the key would be dead at birth", status=422)
    beyond = sorted(set(command.scopes) - granted(command.role, ()))
    if beyond:
        raise Refused("scopes_excessive", f"the role {command.role.value} has no {', '.join(beyond)}", status=422)


def _issued(command: IssueKey) -> KeyIssued:
    return KeyIssued(
        key_id=command.key_id,
        role=command.role,
        digest=command.digest,
        agent_id=command.agent_id,
        label=command.label,
        expires_at=command.expires_at,
        data_subject=command.data_subject,
        scopes=tuple(sorted(set(command.scopes))),
    )


def evolve(key: Key, event: KeyEvent) -> Key:
    match event:
        case KeyIssued():
            return Key(
                stage=Stage.ISSUED,
                role=event.role,
                digest=event.digest,
                agent_id=event.agent_id,
                scopes=event.scopes,
                expires_at=event.expires_at,
            )
        case KeyReplaced():
            return replace(key, stage=Stage.REPLACED, expires_at=event.until, successor_id=event.successor_id)
        case KeyRevoked():
            return replace(key, stage=Stage.REVOKED)

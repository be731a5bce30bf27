"""A key: it lets one principal in, in one role, until it is revoked or expires."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, get_args

from msgspec import Meta, Struct
from msgspec.structs import replace

from aggregates.values.ids import DataSubject, KeyId
from aggregates.values.numbers import Instant
from aggregates.values.text import Label, Note
from runtime.errors import Refused
from runtime.records import Command, Event, House, Personal, State

RULES = 1

KeyDigest = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""The sha256 of the whole token; the token itself is never recorded."""


class Role(StrEnum):
    """What a key is good for."""

    ADMIN = "admin"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    """Reads everything, the log included; changes nothing."""
    AGENT = "agent"
    """Enrolls agents and submits tasks."""
    AGENT_OWN = "agent_own"
    """One agent's own: its socket, bids and results, and what its tenant may read."""


class Stage(StrEnum):
    """Where a key stands; that it expired shows in `expires_at`."""

    UNKNOWN = "unknown"
    ISSUED = "issued"
    REVOKED = "revoked"


class Key(State, frozen=True, kw_only=True):
    """What decisions about one key need to know."""

    stage: Stage = Stage.UNKNOWN
    role: Role = Role.AUDITOR
    digest: bytes = b""
    agent_id: str = ""


initial = Key()


class KeyAccepted(Struct, frozen=True, kw_only=True):
    """The key stands as asked."""

    key_id: KeyId


class Principal(Struct, frozen=True, kw_only=True):
    """Who is asking; `name` is how the log calls it: `agent:<id>` for an agent's own key, else `<role>:<key id>`."""

    name: str
    tenant: str
    role: Role
    key_id: str
    agent_id: str = ""


class IssueKey(Command[KeyAccepted], frozen=True, kw_only=True):
    """A new key. Sent by an admin; by the coordinator with an agent's registration; by the node for its first admin key."""

    key_id: House[KeyId]
    role: Role
    digest: House[KeyDigest]
    agent_id: House[str] = ""
    label: Personal[Label] = ""
    expires_at: Instant | None = None
    data_subject: DataSubject = ""


class RevokeKey(Command[KeyAccepted], frozen=True, kw_only=True):
    """The key opens nothing from now on. Sent by an admin; by the coordinator when its agent leaves or registers anew."""

    key_id: House[KeyId]
    reason: Note = ""


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


class KeyRevoked(Event, frozen=True, kw_only=True):
    key_id: KeyId
    reason: str


KeyCommand = IssueKey | RevokeKey
KeyEvent = KeyIssued | KeyRevoked
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
        case Stage.ISSUED, IssueKey() if evolve(initial, _issued(command)) == key:
            return []
        case stage, IssueKey():
            raise Refused("key_exists", f"{command.key_id} is {stage.value}")
        case Stage.UNKNOWN, RevokeKey():
            raise Refused("key_unknown", command.key_id, status=404)
        case stage, RevokeKey():
            revoked = KeyRevoked(key_id=command.key_id, reason=command.reason)
            return [] if stage is Stage.REVOKED else [revoked]


def _check(command: IssueKey) -> None:
    if (command.role is Role.AGENT_OWN) != bool(command.agent_id):
        raise Refused("role_needs_registration", "an agent's own key comes with its registration", status=422)
    if command.expires_at is not None and command.expires_at <= command.at:
        raise Refused("expiry_passed", "the key would be dead at birth", status=422)


def _issued(command: IssueKey) -> KeyIssued:
    return KeyIssued(
        key_id=command.key_id,
        role=command.role,
        digest=command.digest,
        agent_id=command.agent_id,
        label=command.label,
        expires_at=command.expires_at,
        data_subject=command.data_subject,
    )


def evolve(key: Key, event: KeyEvent) -> Key:
    match event:
        case KeyIssued():
            return Key(stage=Stage.ISSUED, role=event.role, digest=event.digest, agent_id=event.agent_id)
        case KeyRevoked():
            return replace(key, stage=Stage.REVOKED)

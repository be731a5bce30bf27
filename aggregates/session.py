"""A session of a browser: it stands for the key or the user that signed in, until it ends, is ended, or what it stands for is."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, get_args

from msgspec import Meta, Struct
from msgspec.structs import replace

from aggregates.values.ids import SessionId
from aggregates.values.numbers import Instant
from aggregates.values.roles import Principal
from aggregates.values.text import Note
from runtime.errors import Refused
from runtime.records import Command, Event, House, State

RULES = 1

SessionDigest = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""The sha256 of what the browser's cookie holds; the cookie itself is never recorded."""


class Way(StrEnum):
    """How somebody has signed in."""

    LINK = "link"
    PASSWORD = "password"
    PROVIDER = "provider"


class Stage(StrEnum):
    """Where a session stands; that its time is up shows in `ends_at`."""

    UNKNOWN = "unknown"
    OPEN = "open"
    ENDED = "ended"


class Session(State, frozen=True, kw_only=True):
    """What decisions about one session need to know."""

    stage: Stage = Stage.UNKNOWN
    digest: bytes = b""


initial = Session()


class SessionAccepted(Struct, frozen=True, kw_only=True):
    """The session stands as asked, for this principal."""

    session_id: SessionId
    principal: Principal | None = None


class OpenSession(Command[SessionAccepted], frozen=True, kw_only=True):
    """Somebody has signed in: by a link of the key `key_id`, or as the user `user_id`. Sent by the gateway."""

    session_id: House[SessionId]
    digest: House[SessionDigest]
    way: House[Way]
    ends_at: House[Instant]
    key_id: House[str] = ""
    user_id: House[str] = ""


class EndSession(Command[SessionAccepted], frozen=True, kw_only=True):
    """Signs out. Sent by the gateway for whoever has the cookie, or by an admin."""

    session_id: House[SessionId]
    reason: Note = ""


class FindSession(Command[Principal], frozen=True, kw_only=True):
    """Whose cookie has this digest? A question of the gateway's, answered by the security actor; records nothing."""

    digest: House[SessionDigest]


class WhichSession(Command[str], frozen=True, kw_only=True):
    """Which of the tenant's sessions is that of a cookie with this digest? Answered with its id, empty where there is none; records
    nothing."""

    digest: House[SessionDigest]


class SessionOpened(Event, frozen=True, kw_only=True):
    session_id: SessionId
    digest: bytes
    way: Way
    ends_at: float
    key_id: str
    user_id: str


class SessionEnded(Event, frozen=True, kw_only=True):
    session_id: SessionId
    reason: str


SessionCommand = OpenSession | EndSession
SessionEvent = SessionOpened | SessionEnded
COMMANDS = get_args(SessionCommand)
EVENTS = get_args(SessionEvent)


def stream(session_id: str) -> str:
    """The stream of a session."""
    return f"session-{session_id}"


def decide(session: Session, command: SessionCommand) -> Sequence[SessionEvent]:
    match session.stage, command:
        case Stage.UNKNOWN, OpenSession():
            return [_opened(command)]
        case Stage.OPEN, OpenSession() if command.digest == session.digest:
            return []
        case stage, OpenSession():
            raise Refused("session_exists", f"{command.session_id} is {stage.value}")
        case Stage.UNKNOWN, EndSession():
            raise Refused("session_unknown", command.session_id, status=404)
        case stage, EndSession():
            ended = SessionEnded(session_id=command.session_id, reason=command.reason)
            return [] if stage is Stage.ENDED else [ended]


def _opened(command: OpenSession) -> SessionOpened:
    return SessionOpened(
        session_id=command.session_id,
        digest=command.digest,
        way=command.way,
        ends_at=command.ends_at,
        key_id=command.key_id,
        user_id=command.user_id,
    )


def evolve(session: Session, event: SessionEvent) -> Session:
    match event:
        case SessionOpened():
            return Session(stage=Stage.OPEN, digest=event.digest)
        case SessionEnded():
            return replace(session, stage=Stage.ENDED)

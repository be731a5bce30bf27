"""The trail of what a node would not do, for whom, and who looks like an intruder by it; and the settings that it was started with.

A stream holds the refusals of one principal, or of one address, on one day: none grows beyond what the gateway grants a day, and to
find what was refused to somebody takes one short stream. Nothing of a body stands here, and of a path no more than a keyed digest. A
stream's name stays whatever is erased: an address is a keyed digest there.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, get_args

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from aggregates.action import Origin, Words
from aggregates.values.numbers import Count, Instant
from runtime.errors import Refused
from runtime.records import Command, Event, House, State

RULES = 1

DAY_SECONDS = 86_400.0
SPAN_SECONDS = 600.0
"""Over how long refusals are counted against somebody, and for how long one suspicion says it all."""

REFUSALS_MAX = 200
"""Refusals of one command."""
SAMPLES_MAX = 5
CODES_MAX = 32

Counts = Annotated[dict[str, Count], Meta(max_length=CODES_MAX)]
Digest = Annotated[str, Meta(max_length=16)]


class Refusal(Struct, frozen=True, kw_only=True, gc=False):
    """A request that was refused: when, with which status and code, and where it came from. `target` is a keyed digest of its path,
    which tells two paths apart and says nothing of either."""

    at: Instant
    status: Annotated[int, Meta(ge=100, le=599)]
    code: Words
    target: Digest = ""
    origin: Origin = Origin()


class Counted(Struct, frozen=True, kw_only=True):
    """Refusals that were counted: how many between two times, by code, how many different paths nobody knew, and some of them."""

    since: Instant
    until: Instant
    count: Count
    count_by_code: Counts
    targets: Count = 0
    samples: Annotated[tuple[Refusal, ...], Meta(max_length=SAMPLES_MAX)] = ()


class Pattern(StrEnum):
    """What an intruder looks like."""

    SIGN_INS = "sign_ins"
    """An address that tries keys which open nothing."""
    UNKNOWN_IDS = "unknown_ids"
    """A principal that asks for many things that are not there."""
    FORBIDDEN = "forbidden"
    """A principal that tries again and again what it may not do."""


class Trail(State, frozen=True, kw_only=True):
    """What decisions about one stream need to know: the last settings, or when somebody was suspected last."""

    settings: dict[str, str] = field(default_factory=dict)
    suspected_at: float | None = None


initial = Trail()


class Noted(Struct, frozen=True, kw_only=True):
    """It is on record."""

    events: int


class NoteRefusals(Command[Noted], frozen=True, kw_only=True):
    """What was refused to a principal: one by one, and what went beyond its budget as counted. Sent by the gateway."""

    principal: House[Words]
    refusals: Annotated[tuple[Refusal, ...], Meta(max_length=REFUSALS_MAX)] = ()
    counted: Counted | None = None


class NoteStrangers(Command[Noted], frozen=True, kw_only=True):
    """What was refused at an address to whoever had no good key. `keys` are ids of keys that were claimed; `place` is what stands for the
    address in the name of its stream, empty in journals from before, where that was the address itself. Sent by the gateway."""

    address: House[Words]
    place: House[Words] = ""
    counted: Counted
    keys: Annotated[tuple[Words, ...], Meta(max_length=SAMPLES_MAX)] = ()


class SuspectIntruder(Command[Noted], frozen=True, kw_only=True):
    """The trail up to `position` shows a pattern. Sent by the warden."""

    source: House[Words]
    pattern: Pattern
    count: Count
    since: Instant
    position: Count


class NoteSettings(Command[Noted], frozen=True, kw_only=True):
    """The node was started with these settings; a secret is a digest under the node's own. Sent by the node."""

    settings: dict[str, str]
    version: Words = ""


class RequestRefused(Event, frozen=True, kw_only=True):
    principal: str
    refusal: Refusal


class RequestsRefused(Event, frozen=True, kw_only=True):
    principal: str
    counted: Counted


class StrangersRefused(Event, frozen=True, kw_only=True):
    address: str
    counted: Counted
    keys: tuple[str, ...]


class IntruderSuspected(Event, frozen=True, kw_only=True):
    source: str
    pattern: Pattern
    count: int
    since: float
    position: int
    suspected_at: float


class SettingsChanged(Event, frozen=True, kw_only=True):
    changed: tuple[str, ...]
    settings: dict[str, str]
    version: str


TrailCommand = NoteRefusals | NoteStrangers | SuspectIntruder | NoteSettings
TrailEvent = RequestRefused | RequestsRefused | StrangersRefused | IntruderSuspected | SettingsChanged
COMMANDS = get_args(TrailCommand)
EVENTS = get_args(TrailEvent)

SETTINGS = "trail-settings"
"""The stream of a node's settings."""


def stream(tenant: str, who: str, at: float) -> str:
    """The stream of what was refused to a principal, or at the place of an address, on the day of this time."""
    return f"trail-{tenant}:{int(at // DAY_SECONDS)}:{who}"


def whose(stream: str) -> str:
    """Whom a stream of refusals names."""
    return stream.split(":", 2)[2]


def suspects_stream(tenant: str, source: str) -> str:
    """The stream of the suspicions against a principal or the place of an address, as the stream of what was refused there names it."""
    return f"trail-{tenant}:suspect:{source}"


def decide(state: Trail, command: TrailCommand) -> Sequence[TrailEvent]:
    match command:
        case NoteRefusals():
            return _refusals(command)
        case NoteStrangers():
            return [StrangersRefused(address=command.address, counted=command.counted, keys=command.keys)]
        case SuspectIntruder():
            known = state.suspected_at is not None and command.at < state.suspected_at + SPAN_SECONDS
            return [] if known else [_suspected(command)]
        case NoteSettings():
            changed = _changed(state.settings, command.settings)
            if not changed:
                return []
            return [SettingsChanged(changed=changed, settings=command.settings, version=command.version)]


def _refusals(command: NoteRefusals) -> Sequence[TrailEvent]:
    if not command.refusals and command.counted is None:
        raise Refused("refusals_missing", "there is nothing to note", status=422)
    events: list[TrailEvent] = [RequestRefused(principal=command.principal, refusal=one) for one in command.refusals]
    if command.counted is not None:
        events.append(RequestsRefused(principal=command.principal, counted=command.counted))
    return events


def _suspected(command: SuspectIntruder) -> IntruderSuspected:
    return IntruderSuspected(
        source=command.source,
        pattern=command.pattern,
        count=command.count,
        since=command.since,
        position=command.position,
        suspected_at=command.at,
    )


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name)))


def evolve(state: Trail, event: TrailEvent) -> Trail:
    match event:
        case RequestRefused() | RequestsRefused() | StrangersRefused():
            return state
        case IntruderSuspected():
            return replace(state, suspected_at=event.suspected_at)
        case SettingsChanged():
            return replace(state, settings=event.settings)

"""A projection, as far as the log tells of it: the events that it passes over, on whose word and why.

An event that a projection can't apply stops it. Who decides to go on without that event says so here, so that it is passed over again
whenever the read model is made anew, and auditors see what their tables leave out.
"""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from aggregates.values.text import Name
from runtime.errors import Refused
from runtime.records import Command, Event, House, State

RULES = 1

SKIPS_MAX = 10_000
"""A projection that passes over more has another fault than its events."""

Reason = Annotated[str, Meta(min_length=1, max_length=2000)]
Position = Annotated[int, Meta(ge=1, le=2**53)]


class Projection(State, frozen=True, kw_only=True):
    """What decisions about one projection need to know: the positions that it passes over."""

    skipped: tuple[int, ...] = ()


initial = Projection()


class SkipAccepted(Struct, frozen=True, kw_only=True):
    """The projection passes over the event at this position, now and whenever it is made anew."""

    projection: str
    position: int


class SkipEvent(Command[SkipAccepted], frozen=True, kw_only=True):
    """The projection has stopped at an event and shall go on without it. Sent by an operator; `failure` is what it stopped with."""

    projection: House[Name]
    position: Position
    reason: Reason
    failure: House[str] = ""


class EventSkipped(Event, frozen=True, kw_only=True):
    projection: str
    position: int
    reason: str
    failure: str


ProjectionCommand = SkipEvent
ProjectionEvent = EventSkipped
COMMANDS = (ProjectionCommand,)
EVENTS = (ProjectionEvent,)


def stream(projection: str) -> str:
    """The stream of a projection, by its full name: one of another shape is another, and meets the event anew."""
    return f"projection-{projection}"


def decide(state: Projection, command: ProjectionCommand) -> Sequence[ProjectionEvent]:
    if command.position in state.skipped:
        return []
    if len(state.skipped) >= SKIPS_MAX:
        raise Refused("skips_too_many", f"{command.projection} passes over {SKIPS_MAX} events already")
    skipped = EventSkipped(
        projection=command.projection,
        position=command.position,
        reason=command.reason,
        failure=command.failure,
    )
    return [skipped]


def evolve(state: Projection, event: ProjectionEvent) -> Projection:
    return replace(state, skipped=(*state.skipped, event.position))

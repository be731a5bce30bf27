"""The warden of the node: keeps the trail of what was done and what was refused, and says who looks like an intruder by it."""

from collections.abc import Sequence

from msgspec import Struct, field

from aggregates import action as actions
from aggregates import trail as trails
from aggregates.action import ActionNoted, BeginAction, EndAction
from aggregates.trail import (
    SPAN_SECONDS,
    IntruderSuspected,
    Noted,
    NoteRefusals,
    NoteSettings,
    NoteStrangers,
    Pattern,
    Refusal,
    RequestRefused,
    RequestsRefused,
    StrangersRefused,
    SuspectIntruder,
)
from runtime.actor import Actor, Effect, Reply, reply
from runtime.records import Command, Recorded

MOST: dict[Pattern, int] = {Pattern.SIGN_INS: 20, Pattern.UNKNOWN_IDS: 30, Pattern.FORBIDDEN: 30}
"""So much of a pattern within SPAN_SECONDS is nobody's mistake any more."""

SOURCES_MAX = 1_000
"""Sources that are looked at; the one that has been for longest makes room."""

UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 401, 403, 404
CODE_OF_FORBIDDEN = "forbidden"

WardenCommand = BeginAction | EndAction | NoteRefusals | NoteStrangers | NoteSettings


class Source(Struct, kw_only=True):
    """An address or a principal that was refused something since this time: how much of each pattern, and which paths are counted."""

    since: float
    count_by_pattern: dict[Pattern, int] = field(default_factory=dict)
    targets: set[str] = field(default_factory=set)
    suspected: bool = False


class Suspects(Struct, kw_only=True):
    """Those that were refused something lately, by tenant and name."""

    source_by_name: dict[str, Source] = field(default_factory=dict)


class Warden(Actor[WardenCommand, Suspects]):
    """One for the node: an intruder need not keep to one tenant."""

    takes = (BeginAction, EndAction, NoteRefusals, NoteStrangers, NoteSettings)
    hears = (RequestRefused, RequestsRefused, StrangersRefused, IntruderSuspected)

    @staticmethod
    def fresh() -> Suspects:
        return Suspects()

    @staticmethod
    def remember(memory: Suspects, recorded: Recorded) -> Suspects:
        at, event = recorded.meta.at, recorded.event
        name = _name(recorded)
        if isinstance(event, IntruderSuspected):
            if name in memory.source_by_name:
                memory.source_by_name[name].suspected = True
            return memory
        source = memory.source_by_name.get(name)
        if source is None or at >= source.since + SPAN_SECONDS:
            memory.source_by_name.pop(name, None)
            _make_room(memory, at)
            source = memory.source_by_name[name] = Source(since=at)
        match event:
            case RequestRefused():
                _count(source, event.refusal)
            case RequestsRefused():
                forbidden = event.counted.count_by_code.get(CODE_OF_FORBIDDEN, 0)
                _add(source, Pattern.FORBIDDEN, forbidden)
                _add(source, Pattern.UNKNOWN_IDS, event.counted.targets)
            case StrangersRefused():
                _add(source, Pattern.SIGN_INS, event.counted.count)
        return memory

    def handle(self, message: WardenCommand) -> Effect:
        match message:
            case BeginAction() | EndAction():
                return Effect(
                    [(actions.stream(message.action_id), message)], lambda recorded: _noted(message, recorded)
                )
            case NoteRefusals():
                stream = trails.stream(message.tenant, message.principal, message.at)
            case NoteStrangers():
                stream = trails.stream(message.tenant, message.place or message.address, message.at)
            case NoteSettings():
                stream = trails.SETTINGS
        return Effect([(stream, message)], lambda recorded: reply(message, Noted(events=len(recorded))))

    def react(self, recorded: Recorded) -> Effect | None:
        name = _name(recorded)
        source = self.memory.source_by_name.get(name)
        if source is None or source.suspected:
            return None
        found = [(pattern, count) for pattern, count in source.count_by_pattern.items() if count >= MOST[pattern]]
        if not found:
            return None
        pattern, count = min(found)
        suspect = SuspectIntruder(
            source=name.partition(" ")[2],
            pattern=pattern,
            count=count,
            since=source.since,
            position=recorded.position,
        )
        stream = trails.suspects_stream(recorded.meta.tenant, trails.whose(recorded.stream))
        return Effect([(stream, suspect)], after=lambda recorded: self._tell(recorded, suspect))

    def _tell(self, recorded: Sequence[Recorded], suspect: Command[Noted]) -> None:
        """Operators read it in the log of the process too, once for each suspicion."""
        for record in recorded:
            if isinstance(event := record.event, IntruderSuspected):
                self.here.log.warning(
                    "intruder_suspected",
                    tenant=record.meta.tenant,
                    source=event.source,
                    pattern=event.pattern.value,
                    count=event.count,
                    position=record.position,
                )


def _noted(message: BeginAction | EndAction, recorded: Sequence[Recorded]) -> Reply:
    cause = recorded[0].meta.id if recorded else ""
    return reply(message, ActionNoted(action_id=message.action_id, cause=cause))


def _name(recorded: Recorded) -> str:
    match recorded.event:
        case StrangersRefused() as event:
            return f"{recorded.meta.tenant} {event.address}"
        case IntruderSuspected() as event:
            return f"{recorded.meta.tenant} {event.source}"
        case RequestRefused() | RequestsRefused() as event:
            return f"{recorded.meta.tenant} {event.principal}"
    raise TypeError(recorded.kind)


def _make_room(memory: Suspects, at: float) -> None:
    sources = memory.source_by_name
    if len(sources) < SOURCES_MAX:
        return
    for name in [name for name, source in sources.items() if at >= source.since + SPAN_SECONDS]:
        del sources[name]
    if len(sources) >= SOURCES_MAX:
        del sources[min(sources, key=lambda name: (sources[name].since, name))]


def _count(source: Source, refusal: Refusal) -> None:
    if refusal.status == FORBIDDEN:
        _add(source, Pattern.FORBIDDEN, 1)
    if refusal.status == NOT_FOUND and refusal.target not in source.targets:
        if len(source.targets) < MOST[Pattern.UNKNOWN_IDS]:
            source.targets.add(refusal.target)
        _add(source, Pattern.UNKNOWN_IDS, 1)


def _add(source: Source, pattern: Pattern, count: int) -> None:
    if count:
        source.count_by_pattern[pattern] = source.count_by_pattern.get(pattern, 0) + count

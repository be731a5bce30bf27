"""Decides all recorded commands of a journal anew, each upon the recorded events before it, in one reading and bounded memory.

What a command decided then must be what the rules of today decide, as long as the aggregate's `RULES` have the number that they had
then. Under newer rules it may differ. What can't be read any more is decided upon by nobody, and neither is what rests on it.

Records are read in their order, so that whoever checks the facts in commands sees the log as it stood; states of streams are kept as
far as there is room, and folded from the journal again where there was none.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from runtime.codec import Codec
from runtime.decidable import UNDECIDABLE, WITHHELD, unlike_any, why_not
from runtime.differences import Change, Plain, changes, digest, plain, refusal, unpacked
from runtime.records import Command, CommandRecord, Event, Meta, Retired, evolved, name_of

PAGE = 250
STATES_MAX = 20_000
"""How many streams' states are kept; what is asked for again after that is folded again."""

STATES_BYTES_MAX = 128 * 2**20
"""So many bytes of records their states may be made of; what a record says takes several times as much in memory."""

Row = tuple[int, str, int, str, bytes]
"""Position, stream, version, kind and body of a record."""


class Source(Protocol):
    """A journal to read. Both block."""

    def rows(self, after: int, upto: int, limit: int) -> Sequence[Row]:
        """Up to `limit` records past one position and up to another, in order."""

    def read_events(self, stream: str, *, after: int, upto: int, limit: int) -> Sequence[tuple[int, int, str, bytes]]:
        """Position, version, kind and bytes of a stream's records, past a version and up to a position, in order."""


class Told(NamedTuple):
    """A command as it stands on record: where its first event stands, what it asked for, and upon which state it was decided."""

    position: int
    stream: str
    meta: Meta
    command: Command[Any]
    before: Any


class Witness(Protocol):
    """Who follows the log beside the decisions, to say whether what commands carry was so."""

    def hear(self, told: Told, is_asked: bool) -> None:
        """A command, before any of its events; `before` is None where nobody knows it. One that nobody asks about is only heard of."""

    def take(self, position: int, event: Event, meta: Meta) -> None:
        """An event."""

    def miss(self, tenant: str) -> None:
        """A record that can't be read, or is not there: of this tenant, or of anybody (empty)."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A command that is decided otherwise today: all of it, and what differs."""

    position: int
    stream: str
    command: str
    rules_then: int
    rules_now: int
    is_due: bool
    at: float
    principal: str
    asked: Plain
    state_before: Plain
    events_then: list[Plain]
    events_now: list[Plain]
    refusal: Plain | None
    changes: list[Change]
    digest: str


class Undecided(msgspec.Struct, frozen=True, kw_only=True):
    """A command that nobody can decide anew, and why."""

    position: int
    stream: str
    command: str
    reason: str


class Stray(msgspec.Struct, frozen=True, kw_only=True):
    """An event that follows from no command on record."""

    position: int
    stream: str
    kind: str


Finding = Difference | Undecided | Stray


class _Stream:
    """A stream as far as it was read: its state, or why it has none that anything could be decided upon."""

    __slots__ = ("aggregate", "bytes", "state", "version", "why_not", "withheld")

    def __init__(self, aggregate: Any) -> None:
        self.aggregate = aggregate
        self.bytes = 0
        self.state = aggregate.initial if aggregate is not None else None
        self.version = 0
        self.why_not = ""
        self.withheld = 0
        """Where the first record stands of which a part can't be read; 0 where all can."""


class _Step(msgspec.Struct, gc=False):
    """A command under way: its events follow on each other."""

    position: int
    stream: str
    meta: Meta
    command: Command[Any] | None = None
    before: Any = None
    now: Sequence[Event] = ()
    failure: Exception | None = None
    why_not: str = ""
    rests_on: int = 0
    """Where an earlier record of the stream stands, part of which can't be read; 0 where all can."""
    events: list[Event] = []


class Replay:
    """One reading of a journal. `equal` counts the commands that are decided alike, `records` what was read."""

    def __init__(
        self,
        source: Source,
        codec: Codec,
        *,
        first: int = 1,
        last: int,
        stream: str = "",
        witness: Witness | None = None,
        states_max: int = STATES_MAX,
        states_bytes_max: int = STATES_BYTES_MAX,
    ) -> None:
        """Decides the commands from position `first` to `last`; of one stream where it is named."""
        self.commands = 0
        self.equal = 0
        self.records = 0
        self._source = source
        self._codec = codec
        self._first = first
        self._last = last
        self._only = stream
        self._asks_all = first <= 1 and not stream
        self._witness = witness
        self._states_max = states_max
        self._states_bytes_max = states_bytes_max
        self._streams: OrderedDict[str, _Stream] = OrderedDict()
        self._bytes = 0
        self._step: _Step | None = None
        self._led_by = ("", "")
        """Command and stream of the record before; a command without a name may have led to anything."""
        self._found: list[Finding] = []

    def run(self) -> Iterator[Finding]:
        """What is not decided alike, in the order of the log."""
        after = 0 if self._witness is not None else self._first - 1
        while rows := self._source.rows(after, self._last, PAGE):
            self.records += len(rows)
            for row in rows:
                if row[0] != after + 1:
                    self._miss()
                after = row[0]
                self._take(row)
            yield from self._hand_over()
        self._finish_past(after)
        self._finish()
        yield from self._hand_over()

    def _hand_over(self) -> list[Finding]:
        found, self._found = self._found, []
        return found

    def _finish_past(self, after: int) -> None:
        """The last command may have events past the end."""
        while self._step is not None and (rows := self._source.rows(after, after + PAGE, PAGE)):
            for row in rows:
                if self._begins(row):
                    return
                after = row[0]
                self.records += 1
                self._take(row)

    def _begins(self, row: Row) -> bool:
        """Whether another command begins here, as far as that can be read."""
        try:
            meta = self._codec.meta(row[4])
        except UNDECIDABLE:
            return True
        return meta.command is not None or self._step is None or meta.id != self._step.meta.id

    def _miss(self) -> None:
        """Records are missing: what came last may have led to what comes now, and states may lack something."""
        self._streams.clear()
        self._bytes = 0
        self._finish()
        self._led_by = ("", "")
        self._miss_one("")

    def _take(self, row: Row) -> None:
        position, stream, version, kind, body = row
        held = self._streams.get(stream)
        if held is None or held.version != version - 1:
            held = self._fold(stream, position, version)
        else:
            self._streams.move_to_end(stream)
        size = len(body)
        held.bytes += size
        self._bytes += size
        try:
            meta, event, withheld = self._codec.read(kind, body)
        except UNDECIDABLE as error:
            self._take_unread(row, held, error)
            return
        record = meta.command
        if record is not None:
            if self._step is not None:
                self._finish()
            self._led_by = (meta.id, stream)
            self._begin(position, stream, meta, held, record, withheld)
        elif self._led_by != (meta.id, stream):
            self._finish()
            if self._led_by[0]:
                self._found.append(Stray(position=position, stream=stream, kind=kind))
        if self._step is not None:
            self._step.events.append(event)
            if withheld:
                self._step.why_not = self._step.why_not or WITHHELD
        if withheld:
            held.withheld = held.withheld or position
        held.version = version
        if not held.why_not and type(event) is not Retired:
            try:
                held.state = held.aggregate.evolve(held.state, event)
            except Exception as error:  # noqa: BLE001 — as in `_evolve`, which it spares a call for each record
                held.why_not = unfolded(position, error)
        if self._witness is not None:
            self._witness.take(position, event, meta)

    def _evolve(self, held: _Stream, position: int, event: Event) -> None:
        try:
            held.state = evolved(held.aggregate.evolve, held.state, event)
        except Exception as error:  # noqa: BLE001 — what fails to fold keeps its own stream from being judged, and no other
            held.why_not = unfolded(position, error)

    def _take_unread(self, row: Row, held: _Stream, error: Exception) -> None:
        """A record that can't be read: a command that it carries is not decided, and what comes after it in its stream neither."""
        position, stream, version, kind, body = row
        held.version = version
        held.why_not = held.why_not or f"the record at position {position} ({kind}) {why_not(error)}"
        try:
            meta = self._codec.meta(body)
        except UNDECIDABLE:
            self._miss_one("")
            self._finish()
            self._led_by = ("", "")
            if self._is_asked(position, stream):  # nobody knows whether it carries a command: it is taken for one
                self.commands += 1
                self._found.append(Undecided(position=position, stream=stream, command="", reason=held.why_not))
            return
        self._miss_one(meta.tenant)
        if meta.command is None and self._led_by == (meta.id, stream):
            if self._step is not None:
                self._step.why_not = self._step.why_not or held.why_not
            return
        self._finish()
        self._led_by = (meta.id, stream)
        if meta.command is not None and self._is_asked(position, stream):
            self.commands += 1
            self._step = _Step(position, stream, meta)
            self._step.why_not = held.why_not

    def _miss_one(self, tenant: str) -> None:
        if self._witness is not None:
            self._witness.miss(tenant)

    def _fold(self, stream: str, position: int, version: int) -> _Stream:
        """The stream as of before a position: new, or from the journal."""
        try:
            held = _Stream(self._codec.aggregate_of(stream))
        except UNDECIDABLE as error:
            held = _Stream(None)
            held.why_not = f"{why_not(error)}: no aggregate of this program has such streams"
        if version > 1:
            self._fold_past(held, stream, position)
        if held.version != version - 1 and not held.why_not:
            held.why_not = f"version {held.version + 1} of the stream is missing before position {position}"
        held.version = version - 1
        self._keep(stream, held)
        return held

    def _keep(self, stream: str, held: _Stream) -> None:
        before = self._streams.pop(stream, None)
        self._bytes += held.bytes - (before.bytes if before is not None else 0)
        self._streams[stream] = held
        while len(self._streams) > self._states_max or (
            self._bytes > self._states_bytes_max and len(self._streams) > 1
        ):
            self._bytes -= self._streams.popitem(last=False)[1].bytes

    def _fold_past(self, held: _Stream, stream: str, position: int) -> None:
        while rows := self._source.read_events(stream, after=held.version, upto=position - 1, limit=PAGE):
            for where, version, kind, body in rows:
                if version != held.version + 1:
                    held.why_not = held.why_not or f"version {held.version + 1} of the stream is missing"
                held.version = version
                held.bytes += len(body)
                if held.why_not:
                    continue
                try:
                    _, event, withheld = self._codec.read(kind, body)
                except UNDECIDABLE as error:
                    held.why_not = f"the record at position {where} ({kind}) {why_not(error)}"
                else:
                    if withheld:
                        held.withheld = held.withheld or where
                    self._evolve(held, where, event)

    # ---- deciding

    def _is_asked(self, position: int, stream: str) -> bool:
        return position >= self._first and (not self._only or stream == self._only)

    def _begin(
        self, position: int, stream: str, meta: Meta, held: _Stream, record: CommandRecord, withheld: bool
    ) -> None:
        """A command comes: what it carries is heard of, and it is decided anew if anybody asks."""
        is_asked = self._asks_all or self._is_asked(position, stream)
        witness = self._witness
        if not is_asked and witness is None:
            return
        command, why = None, held.why_not
        try:
            command = self._codec.command(record)
        except UNDECIDABLE as error:
            why = why or (WITHHELD if withheld else f"the command {why_not(error)}")
        if witness is not None and command is not None:
            witness.hear(Told(position, stream, meta, command, None if held.why_not else held.state), is_asked)
        if not is_asked:
            return
        self.commands += 1
        self._step = step = _Step(position, stream, meta, command, held.state, rests_on=held.withheld)
        if why or record.rules > held.aggregate.RULES:
            step.why_not = why or f"decided by rules {record.rules}, and this program has {held.aggregate.RULES}"
            return
        try:
            step.now = held.aggregate.decide(held.state, command)
        except UNDECIDABLE as error:
            step.why_not = f"it rests on what {why_not(error)}"
        except Exception as error:  # noqa: BLE001 — a rule that refuses or fails decides otherwise than it did
            step.failure = error

    def _finish(self) -> None:
        step, self._step = self._step, None
        if step is None:
            return
        if step.now == step.events and not step.why_not and step.failure is None:
            self.equal += 1
            return
        reason = step.why_not or next((why for event in step.events if (why := unlike_any(event))), "")
        record = step.meta.command
        assert record is not None
        if reason:
            self._undecided(step, record, reason)
        elif step.failure is None and self._as_on_disk(step.now) == step.events:
            self.equal += 1
        elif step.rests_on:
            self._undecided(step, record, f"it rests on position {step.rests_on}, which is {WITHHELD}")
        else:
            self._found.append(self._difference(step, record))

    def _undecided(self, step: _Step, record: CommandRecord, reason: str) -> None:
        name = name_of(record.name)
        self._found.append(Undecided(position=step.position, stream=step.stream, command=name, reason=reason))

    def _as_on_disk(self, events: Sequence[Event]) -> list[Event]:
        """What would be read back: a list where the rules had a tuple is no difference."""
        codec = self._codec
        return [codec.event(codec.kind(event), codec.pack(event)) for event in events]

    def _difference(self, step: _Step, record: CommandRecord) -> Difference:
        aggregate = self._codec.aggregate_of(step.stream)
        then, now = [plain(event) for event in step.events], [plain(event) for event in step.now]
        why = refusal(step.failure)
        return Difference(
            position=step.position,
            stream=step.stream,
            command=name_of(record.name),
            rules_then=record.rules,
            rules_now=aggregate.RULES,
            is_due=record.rules == aggregate.RULES,
            at=step.meta.at,
            principal=step.meta.principal,
            asked=unpacked(step.command),
            state_before=unpacked(step.before),
            events_then=then,
            events_now=now,
            refusal=why,
            changes=changes(then, now),
            digest=digest(step.stream, step.position, record.rules, aggregate.RULES, then, now, why),
        )


def unfolded(position: int, error: Exception) -> str:
    """Why nothing is decided upon a state that has no event of this position."""
    return f"the event at position {position} can't be folded: {type(error).__name__}: {error}"

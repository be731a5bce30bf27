"""Names and bytes of what is recorded: every event and command that may stand on disk, by a name that survives moved code.

Only names listed by an aggregate are ever decoded: a journal from elsewhere can't make this program import or build anything else.
Bytes are deterministic: sets and dicts are written sorted, so that two processes write the same record alike.

What was written in an earlier shape is read through the aggregate's upcasts (`runtime/upcasting.py`); fields that were added have defaults,
and fields that are not known any more are passed over.
"""

from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from runtime.records import (
    Aggregate,
    Command,
    CommandRecord,
    Event,
    Meta,
    Recorded,
    Retired,
    Upcast,
    name_of,
    noun,
)
from runtime.upcasting import Upcasts, kind_of, shape_of

Form = tuple[str, str, Callable[[bytes], Event]]
"""What an event's class says about its bytes: the kind on disk, the name, and what reads them."""


E = TypeVar("E")


class UnknownKind(Exception):
    """A record whose kind no aggregate of this program lists."""


class Body(msgspec.Struct, frozen=True):
    """The bytes of a record: who, when and why, and what."""

    meta: Meta
    data: msgspec.Raw


class Said(Protocol):
    """The event of a record's body, without its meta, which is passed over unread: for folding, which needs no more."""

    data: Any


class Opened(msgspec.Struct, Generic[E], frozen=True, gc=False):
    """A body with its event: read at one go, since to read a journal is above all to decode it."""

    meta: Meta
    data: E


class Codec:
    """Turns events and commands into bytes and back, for the aggregates that it is given."""

    def __init__(self, aggregates: Sequence[Aggregate]) -> None:
        self._encoder = msgspec.msgpack.Encoder(order="deterministic")
        self._body = msgspec.msgpack.Decoder(Body)
        self._form_by_event: dict[type[Event], Form] = {}
        self._name_and_rules_by_command: dict[type[Command[Any]], tuple[str, int]] = {}
        self._decoder_by_kind: dict[str, msgspec.msgpack.Decoder[Any]] = {}
        self._opener_by_kind: dict[str, msgspec.msgpack.Decoder[Opened[Any]]] = {}
        self._decoder_by_command: dict[str, msgspec.msgpack.Decoder[Any]] = {}
        self.said_by_kind: dict[str, Callable[[bytes], Said]] = {}
        self._upcasts = Upcasts()
        self._retired: set[str] = set()
        self.aggregate_by_noun: dict[str, Aggregate] = {}
        for aggregate in aggregates:
            self._list(aggregate)

    def _list(self, aggregate: Aggregate) -> None:
        prefix = noun(aggregate)
        self.aggregate_by_noun[prefix] = aggregate
        upcasts: Sequence[Upcast] = getattr(aggregate, "UPCASTS", ())
        retired: Sequence[str] = getattr(aggregate, "RETIRED", ())
        for event in aggregate.EVENTS:
            kind = f"{prefix}.{kind_of(event.__name__, shape_of(event.__name__, upcasts))}"
            self._decoder_by_kind[kind] = decoder = msgspec.msgpack.Decoder(event)
            self._form_by_event[event] = (kind, name_of(kind), decoder.decode)
            said: Any = msgspec.defstruct("Said", [("data", event)], gc=False)
            self.said_by_kind[kind] = msgspec.msgpack.Decoder(said).decode
            self._opener_by_kind[kind] = msgspec.msgpack.Decoder(Opened[event])  # type: ignore[valid-type]
        for command in aggregate.COMMANDS:
            name = f"{prefix}.{kind_of(command.__name__, shape_of(command.__name__, upcasts))}"
            self._name_and_rules_by_command[command] = (name, aggregate.RULES)
            self._decoder_by_command[name] = msgspec.msgpack.Decoder(command)
        names = {kind.__name__ for kind in (*aggregate.EVENTS, *aggregate.COMMANDS)}
        self._upcasts.add(prefix, upcasts, names, retired)
        self._retired.update(f"{prefix}.{name}" for name in retired)

    def kind(self, event: Event) -> str:
        """The event's name on disk, with the number of its shape."""
        return self._form_by_event[type(event)][0]

    def name(self, event: Event) -> str:
        """What the event is called, whatever its shape."""
        return self._form_by_event[type(event)][1]

    def form(self, event: Event) -> "Form":
        """The event's kind and name, and what reads its bytes."""
        return self._form_by_event[type(event)]

    def unknown(self, kind: str) -> str:
        """Why records of this kind can't be read; empty where they can."""
        name = name_of(kind)
        if kind in self._decoder_by_kind or kind in self._upcasts or name in self._retired:
            return ""
        today = next((one for one in self._decoder_by_kind if name_of(one) == name), None)
        if today is not None:
            return f"{kind}: this program writes {today}, so a newer one has written that"
        return f"{kind}: no aggregate lists it, so a newer program has written it, or it was removed without an upcast or a line in RETIRED"

    def pack(self, value: object) -> bytes:
        """Deterministic msgpack of any value that msgspec knows."""
        return self._encoder.encode(value)

    def body(self, meta: Meta, data: bytes) -> bytes:
        """The bytes of a record's body from its meta and the event's own bytes."""
        return self._encoder.encode(Body(meta, msgspec.Raw(data)))

    def event(self, kind: str, data: bytes | msgspec.Raw) -> Event:
        """The event of this kind. Raises UnknownKind, NotUpcast, or msgspec.DecodeError where the bytes don't fit the kind."""
        decoder = self._decoder_by_kind.get(kind)
        if decoder is None:
            return self._event_of_old(kind, data)
        event: Event = decoder.decode(data)
        return event

    def _event_of_old(self, kind: str, data: bytes | msgspec.Raw) -> Event:
        if why := self.unknown(kind):
            raise UnknownKind(why)
        said = msgspec.msgpack.decode(data, type=dict[str, Any])
        if kind not in self._upcasts:
            return Retired(said=said)
        today, said = self._upcasts.apply(kind, said)
        return self.event(today, self.pack(said))

    def meta(self, body: bytes) -> Meta:
        """Who, when and why, of a record's body."""
        return self._body.decode(body).meta

    def open(self, kind: str, body: bytes) -> tuple[Meta, Event]:
        """Meta and event of a record's body."""
        opener = self._opener_by_kind.get(kind)
        if opener is None:
            old = self._body.decode(body)
            return old.meta, self.event(kind, old.data)
        opened = opener.decode(body)
        return opened.meta, opened.data

    def recorded(self, position: int, stream: str, version: int, kind: str, body: bytes) -> Recorded:
        """A record as it is read today, from its five columns."""
        meta, event = self.open(kind, body)
        form = self._form_by_event.get(type(event))
        name = name_of(kind) if form is None else form[1]
        return Recorded(position=position, stream=stream, version=version, kind=name, event=event, meta=meta)

    def command_record(self, command: Command[Any], key: str = "") -> CommandRecord:
        """The command as it will stand on disk beside its first event."""
        name, rules = self._name_and_rules_by_command[type(command)]
        return CommandRecord(name=name, rules=rules, data=msgspec.Raw(self._encoder.encode(command)), key=key)

    def command(self, record: CommandRecord) -> Command[Any]:
        """The command that a record holds, as `decide` saw it. Raises UnknownKind, NotUpcast or msgspec.DecodeError."""
        name, data = record.name, record.data
        if name in self._upcasts:
            name, said = self._upcasts.apply(name, msgspec.msgpack.decode(data, type=dict[str, Any]))
            data = msgspec.Raw(self.pack(said))
        decoder = self._decoder_by_command.get(name)
        if decoder is None:
            raise UnknownKind(f"{name}: no aggregate lists this command")
        command: Command[Any] = decoder.decode(data)
        return command

    def aggregate_of(self, stream: str) -> Aggregate:
        """The aggregate that a stream's name says. Raises UnknownKind."""
        aggregate = self.aggregate_by_noun.get(stream.partition("-")[0])
        if aggregate is None:
            raise UnknownKind(stream)
        return aggregate

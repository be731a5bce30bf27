"""Names and bytes of what is recorded: every event and command that may stand on disk, by a name that survives moved code.

Only names listed by an aggregate are ever decoded: a journal from elsewhere can't make this program import or build anything else.
Bytes are deterministic: sets and dicts are written sorted, so that two processes write the same record alike.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from runtime.records import Aggregate, Command, CommandRecord, Event, Meta, noun


class UnknownKind(Exception):
    """A record whose kind no aggregate of this program lists."""


class Body(msgspec.Struct, frozen=True):
    """The bytes of a record: who, when and why, and what."""

    meta: Meta
    data: msgspec.Raw


class Codec:
    """Turns events and commands into bytes and back, for the aggregates that it is given."""

    def __init__(self, aggregates: Sequence[Aggregate]) -> None:
        self._encoder = msgspec.msgpack.Encoder(order="deterministic")
        self._body = msgspec.msgpack.Decoder(Body)
        self._kind_by_event: dict[type[Event], str] = {}
        self._decoder_by_kind: dict[str, msgspec.msgpack.Decoder[Any]] = {}
        self._decoder_by_command: dict[str, msgspec.msgpack.Decoder[Any]] = {}
        self.aggregate_by_noun: dict[str, Aggregate] = {}
        self.aggregate_by_command: dict[type[Command[Any]], Aggregate] = {}
        self._name_by_command: dict[type[Command[Any]], str] = {}
        for aggregate in aggregates:
            self._list(aggregate)

    def _list(self, aggregate: Aggregate) -> None:
        self.aggregate_by_noun[noun(aggregate)] = aggregate
        for event in aggregate.EVENTS:
            kind = f"{noun(aggregate)}.{event.__name__}"
            self._kind_by_event[event] = kind
            self._decoder_by_kind[kind] = msgspec.msgpack.Decoder(event)
        for command in aggregate.COMMANDS:
            name = f"{noun(aggregate)}.{command.__name__}"
            self.aggregate_by_command[command], self._name_by_command[command] = aggregate, name
            self._decoder_by_command[name] = msgspec.msgpack.Decoder(command)

    def kind(self, event: Event) -> str:
        """The event's name on disk."""
        return self._kind_by_event[type(event)]

    def pack(self, value: object) -> bytes:
        """Deterministic msgpack of any value that msgspec knows."""
        return self._encoder.encode(value)

    def body(self, meta: Meta, data: bytes) -> bytes:
        """The bytes of a record's body from its meta and the event's own bytes."""
        return self._encoder.encode(Body(meta, msgspec.Raw(data)))

    def event(self, kind: str, data: bytes | msgspec.Raw) -> Event:
        """The event of this kind. Raises UnknownKind, or msgspec.DecodeError where the bytes don't fit the kind."""
        decoder = self._decoder_by_kind.get(kind)
        if decoder is None:
            raise UnknownKind(kind)
        event: Event = decoder.decode(data)
        return event

    def open(self, kind: str, body: bytes) -> tuple[Meta, Event]:
        """Meta and event of a record's body."""
        opened = self._body.decode(body)
        return opened.meta, self.event(kind, opened.data)

    def command_record(self, command: Command[Any], key: str = "") -> CommandRecord:
        """The command as it will stand on disk beside its first event."""
        kind = type(command)
        rules, data = self.aggregate_by_command[kind].RULES, msgspec.Raw(self._encoder.encode(command))
        return CommandRecord(name=self._name_by_command[kind], rules=rules, data=data, key=key)

    def command(self, record: CommandRecord) -> Command[Any]:
        """The command that a record holds, as `decide` saw it. Raises UnknownKind."""
        decoder = self._decoder_by_command.get(record.name)
        if decoder is None:
            raise UnknownKind(record.name)
        command: Command[Any] = decoder.decode(record.data)
        return command

    def aggregate_of(self, stream: str) -> Aggregate:
        """The aggregate that a stream's name says. Raises UnknownKind."""
        aggregate = self.aggregate_by_noun.get(stream.partition("-")[0])
        if aggregate is None:
            raise UnknownKind(stream)
        return aggregate

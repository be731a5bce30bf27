"""Names and bytes of what is recorded: every event and command that may stand on disk, by a name that survives moved code.

Only names listed by an aggregate are ever decoded: a journal from elsewhere can't make this program import or build anything else.
Bytes are deterministic: sets and dicts are written sorted, so that two processes write the same record alike.

What was written in an earlier shape is read through the aggregate's upcasts (`runtime/upcasting.py`); fields that were added have defaults,
and fields that are not known any more are passed over. What is personal is sealed (`runtime/sealing.py`), and whole bodies are where that
is set: both are read with the keys that the codec is given, and what has none is told as withheld, or can't be read at all.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from runtime.keyring import Keyring
from runtime.records import (
    PERSONAL,
    Aggregate,
    Command,
    CommandRecord,
    Event,
    Meta,
    Recorded,
    Retired,
    Upcast,
    marked,
    name_of,
    noun,
)
from runtime.sealing import Form as Secrets
from runtime.sealing import Parts, purpose_of, unseal
from runtime.upcasting import Upcasts, kind_of, shape_of

Form = tuple[str, str, Callable[[bytes], Event]]
"""What an event's class says about its bytes: the kind on disk, the name, and what reads them."""


E = TypeVar("E")


SHUT = 0xC1
"""The first byte of a body that is sealed whole: no msgpack begins with it."""


UNDATED = b"\xabrecorded_at\xcb" + bytes(8)
"""The field that tells when a record was handed to the disk, as it is packed before that is known. No text holds this, since a NUL after
0xCB is no UTF-8, and no number that is packed before it is as long: the first of them in a body is the field."""


class UnknownKind(Exception):
    """A record whose kind no aggregate of this program lists."""


class Shut(Exception):
    """A body that is sealed whole, under a key that is not at hand."""


class Body(msgspec.Struct, frozen=True, omit_defaults=True):
    """The bytes of a record: who, when and why, what, and what of it is personal."""

    meta: Meta
    data: msgspec.Raw
    sealed: bytes = b""


def dated(body: bytes, recorded_at: bytes) -> bytes:
    """An undated body with the time in it, which is packed (a float of eight bytes)."""
    end = body.index(UNDATED) + len(UNDATED)
    return body[: end - len(recorded_at)] + recorded_at + body[end:]


class Said(Protocol):
    """The event of a record's body, without its meta, which is passed over unread: for folding, which needs no more."""

    data: Any


class Opened(msgspec.Struct, Generic[E], frozen=True, gc=False):
    """A body with its event: read at one go, since to read a journal is above all to decode it."""

    meta: Meta
    data: E
    sealed: bytes = b""


class Read(NamedTuple):
    """What a body says; `withheld` is told of what is personal in it and can't be read."""

    meta: Meta
    event: Event
    withheld: bool


class Readers(NamedTuple):
    """What reads the bytes of a class of events: alone, in a body, and in a body for folding."""

    event: msgspec.msgpack.Decoder[Any]
    opened: msgspec.msgpack.Decoder[Opened[Any]]
    said: msgspec.msgpack.Decoder[Any]


# One of each class for all codecs: msgspec looks through a class for each decoder, which took nine tenths of a codec's making.
@cache
def _readers(event: type[Event]) -> Readers:
    sealed = [("sealed", bytes, b"")] if marked(event, PERSONAL) else []
    said: Any = msgspec.defstruct("Said", [("data", event), *sealed], gc=False)
    opened: Any = Opened[event]  # type: ignore[valid-type]
    return Readers(*(msgspec.msgpack.Decoder(form) for form in (event, opened, said)))


@cache
def _reader(command: type[Command[Any]]) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(command)


_secrets = cache(Secrets)


class Codec:
    """Turns events and commands into bytes and back, for the aggregates that it is given."""

    def __init__(self, aggregates: Sequence[Aggregate], keys: Keyring | None = None) -> None:
        """Raises TypeError where an event has personal fields that can't be sealed."""
        self.keys = keys
        self._encoder = msgspec.msgpack.Encoder(order="deterministic")
        self._body = msgspec.msgpack.Decoder(Body)
        self._form_by_event: dict[type[Event], Form] = {}
        self._name_and_rules_by_command: dict[type[Command[Any]], tuple[str, int]] = {}
        self._decoder_by_kind: dict[str, msgspec.msgpack.Decoder[Any]] = {}
        self._opener_by_kind: dict[str, msgspec.msgpack.Decoder[Opened[Any]]] = {}
        self._decoder_by_command: dict[str, msgspec.msgpack.Decoder[Any]] = {}
        self.said_by_kind: dict[str, Callable[[bytes], Said]] = {}
        self.secrets_by_event: dict[type[Event], Secrets] = {}
        self._blank_by_command: dict[type[Command[Any]], dict[str, None]] = {}
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
            readers = _readers(event)
            self._decoder_by_kind[kind], self._opener_by_kind[kind] = readers.event, readers.opened
            self._form_by_event[event] = (kind, name_of(kind), readers.event.decode)
            self.said_by_kind[kind] = self._said(kind, event, readers.said.decode)
        for command in aggregate.COMMANDS:
            name = f"{prefix}.{kind_of(command.__name__, shape_of(command.__name__, upcasts))}"
            self._name_and_rules_by_command[command] = (name, aggregate.RULES)
            self._decoder_by_command[name] = _reader(command)
            self._blank_by_command[command] = dict.fromkeys(marked(command, PERSONAL))
        names = {kind.__name__ for kind in (*aggregate.EVENTS, *aggregate.COMMANDS)}
        self._upcasts.add(prefix, upcasts, names, retired)
        self._retired.update(f"{prefix}.{name}" for name in retired)

    def _said(self, kind: str, event: type[Event], decode: Callable[[bytes], Any]) -> Callable[[bytes], Said]:
        """What reads the events of a kind for folding: with what is sealed of them, where something may be."""
        if not marked(event, PERSONAL):
            return decode
        self.secrets_by_event[event] = _secrets(event)

        def read(body: bytes) -> Said:
            found = decode(body)
            return Opened(*self.open(kind, body)) if found.sealed else found  # type: ignore[return-value]

        return read

    def kind(self, event: Event) -> str:
        """The event's name on disk, with the number of its shape."""
        return self._form_by_event[type(event)][0]

    def kinds(self, events: Iterable[type[Event]]) -> tuple[str, ...]:
        """The names on disk of what is written now of these."""
        return tuple(self._form_by_event[event][0] for event in events)

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

    def body(self, meta: Meta, data: bytes, sealed: bytes = b"") -> bytes:
        """The bytes of a record's body from its meta, the event's own bytes, and what is sealed of both."""
        return self._encoder.encode(Body(meta, msgspec.Raw(data), sealed))

    def plain(self, body: bytes) -> bytes:
        """A body that may have been sealed whole. Raises Shut where its key is not at hand."""
        if body[0] != SHUT:
            return body
        opened = unseal(self.keys, body[1:], b"body")
        if opened is None:
            raise Shut("it is encrypted at rest, and the key is not at hand")
        return opened

    def opened(self, kind: str, body: bytes) -> tuple[bytes, bytes]:
        """A body in the clear, and what was sealed in it: nothing where there was nothing, or it can't be opened any more."""
        body = self.plain(body)
        read = self._body.decode(body)
        return body, (unseal(self.keys, read.sealed, purpose_of(kind, read.meta.id)) or b"") if read.sealed else b""

    def take_out(self, event: Event, data: bytes, meta: Meta, command: Command[Any]) -> tuple[Meta, bytes, bytes]:
        """What of an event (packed: `data`) and its command is written in the clear, and packed what is not: it has to be sealed.

        Of the command nil stands in the clear where something personal was, so that nobody takes it for one that said nothing.
        """
        pack, taken, said = self.pack, {}, {}
        secrets = self.secrets_by_event.get(type(event))
        if secrets is not None:
            taken = secrets.taken(event)
            data = pack(replace(event, **secrets.blank))
        recorded = meta.command
        if recorded is not None and (blank := self._blank_by_command[type(command)]):
            said = {name: getattr(command, name) for name in blank}
            shown = CommandRecord(
                name=recorded.name,
                rules=recorded.rules,
                data=msgspec.Raw(pack(replace(command, **blank))),
                key=recorded.key,
            )
            meta = replace(meta, command=shown)
        return meta, data, pack((taken, said))

    def event(self, kind: str, data: bytes | msgspec.Raw) -> Event:
        """The event of this kind. Raises UnknownKind, NotUpcast, or msgspec.DecodeError where the bytes don't fit the kind."""
        decoder = self._decoder_by_kind.get(kind)
        if decoder is None:
            return self._event_of_old(kind, data)
        event: Event = decoder.decode(data)
        return event

    def _event_of_old(self, kind: str, data: bytes | msgspec.Raw, secret: dict[str, Any] | None = None) -> Event:
        if why := self.unknown(kind):
            raise UnknownKind(why)
        said = msgspec.msgpack.decode(data, type=dict[str, Any]) | (secret or {})
        if kind not in self._upcasts:
            return Retired(said=said)
        today, said = self._upcasts.apply(kind, said)
        return self.event(today, self.pack(said))

    def meta(self, body: bytes) -> Meta:
        """Who, when and why, of a record's body."""
        return self._body.decode(self.plain(body)).meta

    def open(self, kind: str, body: bytes) -> tuple[Meta, Event]:
        """Meta and event of a record's body."""
        return self.read(kind, body)[:2]

    def read(self, kind: str, body: bytes) -> Read:
        """What a record's body says. Raises what `event` does, Shut, and Altered."""
        if body[0] == SHUT:
            body = self.plain(body)
        opener = self._opener_by_kind.get(kind)
        if opener is None:
            return self._read_old(kind, self._body.decode(body))
        opened = opener.decode(body)
        if not opened.sealed:
            return Read(opened.meta, opened.data, False)
        parts = self._parts(kind, opened.meta, opened.sealed)
        if parts is None:
            return Read(opened.meta, opened.data, True)
        secrets = self.secrets_by_event.get(type(opened.data))
        event = opened.data if secrets is None else secrets.put_back(opened.data, parts.event)
        return Read(self._whole(opened.meta, parts), event, False)

    def _read_old(self, kind: str, body: Body) -> Read:
        if not body.sealed:
            return Read(body.meta, self.event(kind, body.data), False)
        parts = self._parts(kind, body.meta, body.sealed)
        if parts is None:
            return Read(body.meta, self.event(kind, body.data), True)
        secret = msgspec.msgpack.decode(parts.event, type=dict[str, Any])
        return Read(self._whole(body.meta, parts), self._event_of_old(kind, body.data, secret), False)

    def _parts(self, kind: str, meta: Meta, sealed: bytes) -> Parts | None:
        opened = unseal(self.keys, sealed, purpose_of(kind, meta.id))
        return None if opened is None else msgspec.msgpack.decode(opened, type=Parts)

    def _whole(self, meta: Meta, parts: Parts) -> Meta:
        """With the command as it was given."""
        secret = msgspec.msgpack.decode(parts.command, type=dict[str, Any])
        if meta.command is None or not secret:
            return meta
        said = msgspec.msgpack.decode(meta.command.data, type=dict[str, Any]) | secret
        command = replace(meta.command, data=msgspec.Raw(self.pack(said)))
        return replace(meta, command=command)

    def recorded(self, position: int, stream: str, version: int, kind: str, body: bytes) -> Recorded:
        """A record as it is read today, from its five columns."""
        meta, event, withheld = self.read(kind, body)
        form = self._form_by_event.get(type(event))
        name = name_of(kind) if form is None else form[1]
        return Recorded(
            position=position, stream=stream, version=version, kind=name, event=event, meta=meta, withheld=withheld
        )

    def command_record(self, command: Command[Any], key: str = "") -> CommandRecord:
        """The command as it will stand on disk beside its first event."""
        name, rules = self._name_and_rules_by_command[type(command)]
        return CommandRecord(name=name, rules=rules, data=msgspec.Raw(self._encoder.encode(command)), key=key)

    def command(self, record: CommandRecord) -> Command[Any]:
        """The command that a record holds, as `decide` saw it. Raises UnknownKind, NotUpcast or msgspec.DecodeError."""
        decoder, data = self._decoder_by_command.get(record.name), record.data
        if decoder is None:
            decoder, data = self._decoder_of_old(record.name, data)
        command: Command[Any] = decoder.decode(data)
        return command

    def _decoder_of_old(self, name: str, data: msgspec.Raw) -> tuple[msgspec.msgpack.Decoder[Any], msgspec.Raw]:
        if name in self._upcasts:
            name, said = self._upcasts.apply(name, msgspec.msgpack.decode(data, type=dict[str, Any]))
            data = msgspec.Raw(self.pack(said))
        decoder = self._decoder_by_command.get(name)
        if decoder is None:
            raise UnknownKind(f"{name}: no aggregate lists this command")
        return decoder, data

    def aggregate_of(self, stream: str) -> Aggregate:
        """The aggregate that a stream's name says. Raises UnknownKind."""
        aggregate = self.aggregate_by_noun.get(stream.partition("-")[0])
        if aggregate is None:
            raise UnknownKind(stream)
        return aggregate

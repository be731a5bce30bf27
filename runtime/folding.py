"""How a stream's state is made: from the nearest copy that was saved of it, and the records past that.

A copy is believed when it carries the journal's seal, was folded by the program as it is now, and stands where the record of its version
stands. Otherwise it is passed over, and what it would have spared is folded: dropping all copies changes nothing but the time it takes.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import structlog
from msgspec import structs

from runtime.evidence import Unreadable
from runtime.records import Aggregate, evolved, noun
from runtime.states import Held
from runtime.store.contract import SavedState
from runtime.store.store import Store

log = structlog.get_logger()

FIRST_PAGE = 64
PAGE = 5_000
NEWEST = 2**62
FIRST_GUESS_SECONDS = 3e-6
"""What folding a record costs, until it was measured."""

MEASURED_EVENTS_MIN = 100
"""What a shorter fold takes is mostly the question to the database."""

FORGETTING = 8
"""A measurement counts for an eighth of the mean."""


class Folded(NamedTuple):
    """A state, and the version of the copy that it was made from; 0 where there was none."""

    held: Held
    copied: int


@dataclass(slots=True)
class _Kind:
    """What folding the streams of one aggregate needs; no `shape` where its states can't be saved."""

    aggregate: Aggregate
    empty: Held
    shape: str
    decode: Callable[[bytes], Any]
    event_seconds: float = FIRST_GUESS_SECONDS


class Folder:
    """Folds streams of a store; blocks. `now` tells the time by which folding is measured, in seconds."""

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self._kinds: dict[str, _Kind] = {}

    def fold(self, stream: str, upto: int = NEWEST) -> Folded:
        """The state of a stream as of a position. Raises Unreadable, naming the record, and UnknownKind."""
        kind = self._kind_of(stream)
        saved = self._saved(kind, stream, upto)
        if saved is None:
            folded = Folded(self._go_on(kind, stream, kind.empty, upto), 0)
        else:
            folded = Folded(self._go_on(kind, stream, saved, upto), saved.version)
        if self._store.is_archived(stream):
            return folded._replace(held=structs.replace(folded.held, is_archived=True))
        return folded

    def empty(self, stream: str) -> Held:
        """The state of a stream without records."""
        return self._kind_of(stream).empty

    def event_seconds(self, stream: str) -> float:
        """What folding one more record of this stream costs."""
        return self._kind_of(stream).event_seconds

    def pack(self, stream: str, held: Held) -> tuple[SavedState, float] | None:
        """A copy of a state, and the seconds that it takes to make a state of it again; None where that is not the same state."""
        kind = self._kind_of(stream)
        if not kind.shape:
            return None
        pack = self._store.codec.pack
        try:
            packed = pack(held.state)
            began = self._now()
            again = kind.decode(packed)
            seconds = self._now() - began
            same = again == held.state and pack(again) == packed
        except (msgspec.MsgspecError, TypeError, ValueError):
            same = False
        if not same:
            return None
        return SavedState(stream, held.version, held.position, kind.shape, held.tenant, packed), seconds

    def _kind_of(self, stream: str) -> _Kind:
        prefix = stream.partition("-")[0]
        kind = self._kinds.get(prefix)
        if kind is None:
            kind = self._kinds[prefix] = _kind(self._store.codec.aggregate_of(stream))
        return kind

    def _saved(self, kind: _Kind, stream: str, upto: int) -> Held | None:
        saved = self._store.saved_state(stream, kind.shape, upto) if kind.shape else None
        if kind.shape and self._store.archives:
            saved = self._store.tombstone(stream, kind.shape, upto) or saved
        if saved is None:
            return None
        if self._store.position_of_version(stream, saved.version) != saved.position:
            log.warning(
                "a copy of a state is not of this journal and is not used", stream=stream, version=saved.version
            )
            return None
        return Held(kind.decode(saved.state), saved.version, saved.tenant, saved.position, kind.aggregate)

    def _go_on(self, kind: _Kind, stream: str, held: Held, upto: int) -> Held:
        began, first = self._now(), held.version
        rows = self._store.read_events(stream, after=first, upto=upto, limit=FIRST_PAGE)
        if rows:
            held = self._fold_rows(kind, held, rows)
        if len(rows) == FIRST_PAGE:
            held = self._fold_rest(kind, stream, held, upto)
        events = held.version - first
        if events >= MEASURED_EVENTS_MIN:
            mean = (self._now() - began) / events
            kind.event_seconds += (mean - kind.event_seconds) / FORGETTING
        return held

    def _fold_rest(self, kind: _Kind, stream: str, held: Held, upto: int) -> Held:
        """The rest of a long stream: as fast as can be, and with care the pages where something is not of today's shape."""
        position, version = self._store.newest_event(stream, upto)
        for after in range(held.version, version, PAGE):
            last = min(after + PAGE, version)
            try:
                state = self._fold_said(kind, held, self._store.read_said(stream, after, last))
            except (KeyError, msgspec.DecodeError):
                rows = self._store.read_events(stream, after=after, upto=position, limit=last - after)
                held = self._fold_rows(kind, held, rows)
            else:
                held = structs.replace(held, state=state)
        return structs.replace(held, version=version, position=position)

    def _fold_said(self, kind: _Kind, held: Held, said: list[tuple[str, bytes]]) -> Any:
        evolve, said_by_kind, state = kind.aggregate.evolve, self._store.codec.said_by_kind, held.state
        for name, body in said:
            state = evolve(state, said_by_kind[name](body).data)
        return state

    def _fold_rows(self, kind: _Kind, held: Held, rows: list[tuple[int, int, str, bytes]]) -> Held:
        codec, evolve = self._store.codec, kind.aggregate.evolve
        said_by_kind, state, tenant = codec.said_by_kind, held.state, held.tenant
        for position, _, name, body in rows:
            try:
                said = said_by_kind.get(name)
                event = codec.open(name, body)[1] if said is None else said(body).data
                tenant = tenant or codec.meta(body).tenant
            except Exception as error:
                raise Unreadable(f"record {position} ({name}) of {self._store.place} can't be read: {error}") from error
            state = evolve(state, event) if said is not None else evolved(evolve, state, event)
        position, version, *_ = rows[-1]
        return Held(state, version, tenant, position, kind.aggregate)


def _kind(aggregate: Aggregate) -> _Kind:
    type_of_state: Any = type(aggregate.initial)
    empty = Held(aggregate.initial, 0, "", 0, aggregate)
    try:
        return _Kind(aggregate, empty, shape_of(aggregate), msgspec.msgpack.Decoder(type_of_state).decode)
    except TypeError:
        return _Kind(aggregate, empty, "", bytes)


def shape_of(aggregate: Aggregate) -> str:
    """Changes with the type of the states, the aggregate's numbers, and every letter of its module: a copy that another program folded
    may be what this one would not fold. `FOLD`, where the module has it, is raised when something else changes what is folded."""
    schema = msgspec.json.encode(msgspec.json.schema(type(aggregate.initial)), order="deterministic")
    numbers = f"{noun(aggregate)} {aggregate.RULES} {getattr(aggregate, 'FOLD', 1)}"
    file = getattr(aggregate, "__file__", None)
    text = Path(file).read_bytes() if file else b""
    return hashlib.sha256(b"\0".join((numbers.encode(), schema, text))).hexdigest()

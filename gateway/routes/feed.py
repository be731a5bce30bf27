"""The feed follows the log from any position, as server-sent events or over a websocket."""

from collections.abc import Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar

import msgspec
import trio
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from aggregates.values.roles import Permission, Principal
from gateway.api.calls import Call, Endpoint, SocketEndpoint, asked_of
from gateway.api.queries import Header, Parameter, flag, number, position
from gateway.feeds.fanout import Form, Kind, Told
from gateway.feeds.live import EventStream, Line, Write, line, watch
from gateway.feeds.wanted import ANY, FILTERS, Wanted, check_reached, wanted
from gateway.identity.auth import is_welcome
from gateway.parts import Compartment
from runtime.records import Recorded

T = TypeVar("T")

NEEDS = Permission.LOG_READ
EVERY_SECONDS_MAX = 60.0
POLICY_VIOLATION, NORMAL_CLOSURE = 1008, 1000

FROM = position("after", "Begin after this position; without it, now.", None)
LAST_SEEN = Header(
    "Last-Event-ID",
    "Begin after the event with this id, as browsers ask by themselves; it goes before `after`.",
    {"type": "string", "pattern": "^([a-z][a-z0-9-]{0,30}:)?[0-9]{1,18}$"},
    is_single=True,
)
EVERY = number(
    "every",
    "Tell at most once in so many seconds, and then all that has come; without it, at once.",
    0.0,
    EVERY_SECONDS_MAX,
)
NEWEST = flag("newest", "Of several records of a stream that are told together, tell the newest alone.")
QUERY: tuple[Parameter[Any], ...] = (FROM, EVERY, NEWEST, *FILTERS)


class RecordFrame(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="record"):
    """A record."""

    record: Line


class RecordsFrame(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="records"):
    """All that has come since the frame before, where `every` was asked for, and how far the feed is."""

    records: list[Line]
    position: int


class PositionFrame(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="position"):
    """How far the feed is: go on from here after a reconnection."""

    position: int


# ---- server-sent events


async def feed(call: Call) -> Response:
    """Server-sent events from `Last-Event-ID` or `after` on, for ever. An event's id is its position, its name the record's kind,
    its data the record; events named `position` say how far the feed is. It ends when the key is revoked or may not read it any more,
    or at `until`."""
    last_seen = call.request.headers.get(LAST_SEEN.name)
    named = call.asked(FROM) if last_seen is None else FROM.read(call.node.position_in(last_seen))
    chosen = wanted(call.asked)
    after = await _begin(call.node, named, chosen)
    asked = _Asked(call.node, call.request, call.principal, chosen, call.asked(EVERY), call.asked(NEWEST))
    return EventStream(partial(_write_events, asked, after))


async def _write_events(asked: "_Asked", after: int, write: Write) -> None:
    await write(b"retry: 1000\n" + _position_event(asked.node, after))
    await asked.tell(_events(asked.node), after, write)


def _events(node: Compartment) -> Form[bytes]:
    """Each record an event; the position that is reached another, where that is further."""

    def pack(told: Sequence[Told], reached: int) -> bytes:
        events = [one.said for one in told]
        if not told or told[-1].position < reached:
            events.append(_position_event(node, reached))
        return b"".join(events)

    return Form("events", partial(_event, node), pack)


def _event(node: Compartment, record: Recorded) -> bytes:
    """Its id is what a client comes back with, so it says its journal."""
    head = f"id: {node.cursor(record.position)}\nevent: {record.kind}\ndata: "
    return head.encode() + msgspec.json.encode(line(record)) + b"\n\n"


def _position_event(node: Compartment, place: int) -> bytes:
    return f"id: {node.cursor(place)}\nevent: position\ndata: {place}\n\n".encode()


# ---- the same over a websocket


async def feed_socket(websocket: WebSocket, node: Compartment, principal: Principal) -> None:
    """The same feed until the client goes or the key is revoked: one JSON frame a record, or one for all that has come where `every` is
    asked for. What the client says is not heard."""
    query = partial(asked_of, websocket, node)
    chosen = wanted(query)
    after = await _begin(node, query(FROM), chosen)
    asked = _Asked(node, websocket, principal, chosen, query(EVERY), query(NEWEST))
    await websocket.accept()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_push, websocket, asked, after, nursery.cancel_scope)
        while (await websocket.receive())["type"] != "websocket.disconnect":
            pass
        nursery.cancel_scope.cancel()


async def _push(websocket: WebSocket, asked: "_Asked", after: int, scope: trio.CancelScope) -> None:
    async def write(frames: Sequence[str]) -> None:
        for frame in frames:
            await websocket.send_text(frame)

    try:
        is_over = await asked.tell(PAGES if asked.every_seconds else FRAMES, after, write)
        if is_over:
            await websocket.close(NORMAL_CLOSURE, "all that was wanted has been told")
        else:
            await websocket.close(POLICY_VIOLATION, "the key opens nothing any more")
    except WebSocketDisconnect:
        pass
    scope.cancel()


def _frames(told: Sequence[Told], reached: int) -> Sequence[str]:
    frames = [one.said.decode() for one in told]
    if not told or told[-1].position < reached:
        frames.append(msgspec.json.encode(PositionFrame(position=reached)).decode())
    return frames


def _page(told: Sequence[Told], reached: int) -> Sequence[str]:
    records = ",".join(one.said.decode() for one in told)
    return [f'{{"type":"records","records":[{records}],"position":{reached}}}']


FRAMES: Form[Sequence[str]] = Form(
    "frames", lambda record: msgspec.json.encode(RecordFrame(record=line(record))), _frames
)
PAGES: Form[Sequence[str]] = Form("pages", lambda record: msgspec.json.encode(line(record)), _page)


# ---- both


async def _begin(node: Compartment, named: int | None, chosen: Wanted) -> int:
    """Past which position a feed begins: the one that is named, else where `since` begins, else now."""
    journal = node.system.journal
    if named is None:
        named = journal.position if chosen.since == ANY else 0
    check_reached(journal, named)
    return await chosen.start(journal, named)


class _Asked:
    """What a reader of the feed has asked for."""

    def __init__(
        self,
        node: Compartment,
        connection: HTTPConnection,
        principal: Principal,
        chosen: Wanted,
        every_seconds: float,
        newest: bool,
    ) -> None:
        self.node = node
        self.every_seconds = every_seconds
        self._welcome = partial(is_welcome, connection, connection.app.state.node, NEEDS)
        self._tenant = principal.tenant
        self._chosen = chosen
        self._newest = newest

    async def tell(self, form: Form[T], after: int, write: Callable[[T], Any]) -> bool:
        """Writes what the reader may see and wants past a position, while its key opens the door; whether all that it wants was told.

        Who has named an end reads by itself: there is nothing to share with those who go on.
        """
        journal = self.node.system.journal
        kind = Kind(self._tenant, self._chosen._replace(since=ANY), form.name, self._newest)
        if self._chosen.until == ANY and self._has_begun():
            await self.node.fanout.tell(kind, form, after, self._welcome, write, self.every_seconds)
            return False
        reached = after
        async with aclosing(watch(journal, after, self._tenant, self._welcome, self._chosen)) as pages:
            async for reached, records in pages:
                told = [Told(record.position, record.stream, form.encode(record)) for record in records]
                await write(form.pack(kind.shown(told), reached))
                await trio.sleep(self.every_seconds)
        return self._chosen.is_over(reached, journal.clock.now())

    def _has_begun(self) -> bool:
        """Whether nothing that is still to come lies before what is wanted."""
        journal, (place, time) = self.node.system.journal, self._chosen.since
        return (place is None or place <= journal.position) and (time is None or time <= journal.clock.now())


routes = (Endpoint("GET", "/v1/feed", feed, NEEDS, query=QUERY, headers=(LAST_SEEN,), media="text/event-stream"),)
sockets = (
    SocketEndpoint("/v1/feed", feed_socket, NEEDS, query=QUERY, tells=RecordFrame | RecordsFrame | PositionFrame),
)

"""The log: pages of it by position, and the feed that follows it, as server-sent events or over a websocket."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import TypeVar

import msgspec
import trio
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from aggregates.values.roles import Permission, Principal
from gateway.auth import is_welcome
from gateway.calls import Call, Endpoint, SocketEndpoint
from gateway.live import EventStream, Line, Write, line, watch
from gateway.parts import Compartment
from gateway.queries import LIMIT, Parameter, flag, position
from gateway.wanted import ANY, FILTERS, Wanted, wanted
from runtime.errors import Overloaded
from runtime.journal import Journal
from runtime.records import Recorded

T = TypeVar("T")

READ_MAX = 2_000
READ_SECONDS_MAX = 5.0
POLICY_VIOLATION, NORMAL_CLOSURE = 1008, 1000

PAST = position("after", "Only records past this position: 0, or the `next` of the page before.", 0)
COMMANDS = flag("commands", "Tell with the first event of each command what was decided, in full.")
FROM = position("after", "Begin after this position; without it, now.", None)


class LogPage(msgspec.Struct, frozen=True):
    """Records past `after`, in order, perhaps none although there are more; `next` is the `after` of the next page, `position`
    the newest position of the log. What is read once `next` stays is all there is."""

    records: list[Line]
    position: int
    next: int


async def page(call: Call) -> Response:
    """The tenant's records past a position, all or those that are wanted."""
    chosen, limit = wanted(call.asked), call.limit
    journal = call.node.system.journal
    after = await chosen.start(journal, call.asked(PAST))
    if chosen.stream is None:
        read = await _read(journal, after, READ_MAX if chosen.is_narrow else min(READ_MAX, 2 * limit))
        own = [record for record in read if record.meta.tenant == call.tenant]
    else:
        read = own = await _read_stream(journal, chosen.stream, after, limit, call.tenant)
    seen = chosen.chosen(own)
    shown = seen[:limit]
    reached = shown[-1].position if len(seen) > limit else read[-1].position if read else after
    commands = call.asked(COMMANDS)
    return call.reply(LogPage([line(record, commands=commands) for record in shown], journal.position, reached))


async def _read(journal: Journal, after: int, limit: int) -> list[Recorded]:
    """Whoever asks for a page is told when the journal is away; a feed waits for it."""
    with trio.move_on_after(READ_SECONDS_MAX):
        return await journal.read(after, limit)
    raise Overloaded("the journal can't be read at the moment")


async def _read_stream(journal: Journal, stream: str, after: int, limit: int, tenant: str) -> list[Recorded]:
    """One record more than the page may have, of what is committed; another tenant's stream looks like none."""
    read: list[Recorded] = await journal.read_with(
        partial(journal.store.read_stream, stream, after=after, limit=limit + 1)
    )
    return [record for record in read if record.position <= journal.position and record.meta.tenant == tenant]


def _pages(
    node: Compartment, connection: HTTPConnection, principal: Principal, after: int, chosen: Wanted
) -> AsyncGenerator[tuple[int, list[Recorded]], None]:
    """What the feed's reader may see and wants past a position, while its key opens the door."""
    welcome = partial(is_welcome, connection, connection.app.state.node)
    return watch(node.system.journal, after, principal.tenant, welcome, chosen)


async def feed(call: Call) -> Response:
    """Server-sent events from `Last-Event-ID` or `after` on, for ever. An event's id is its position, its name the record's kind,
    its data the record; events named `position` say how far the feed is. It ends when the key is revoked, or at `until`."""
    last_seen = call.request.headers.get("last-event-id")
    named = call.asked(FROM) if last_seen is None else FROM.read(call.node.position_in(last_seen))
    chosen = wanted(call.asked)
    after = await _begin(call.node, named, chosen)
    pages = _pages(call.node, call.request, call.principal, after, chosen)
    return EventStream(partial(_write_events, call.node, after, pages))


async def _begin(node: Compartment, named: int | None, chosen: Wanted) -> int:
    """Past which position a feed begins: the one that is named, else where `since` begins, else now."""
    journal = node.system.journal
    if named is None:
        named = journal.position if chosen.since == ANY else 0
    return await chosen.start(journal, named)


async def _write_events(
    node: Compartment, after: int, pages: AsyncGenerator[tuple[int, list[Recorded]], None], write: Write
) -> None:
    async with aclosing(pages):
        await write(b"retry: 1000\n" + _event(node, after, "position", after))
        async for reached, records in pages:
            await write(b"".join(_events(node, reached, records)))


def _events(node: Compartment, reached: int, records: Sequence[Recorded]) -> Iterator[bytes]:
    """The page as events, and the position that it reaches where that is further."""
    for record in records:
        yield _event(node, record.position, record.kind, line(record))
    if not records or records[-1].position < reached:
        yield _event(node, reached, "position", reached)


def _event(node: Compartment, place: int, name: str, told: Line | int) -> bytes:
    """Its id is what a client comes back with, so it says its journal."""
    return f"id: {node.cursor(place)}\nevent: {name}\ndata: ".encode() + msgspec.json.encode(told) + b"\n\n"


class RecordFrame(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="record"):
    """A record."""

    record: Line


class PositionFrame(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="position"):
    """How far the feed is: go on from here after a reconnection."""

    position: int


async def feed_socket(websocket: WebSocket, node: Compartment, principal: Principal) -> None:
    """The same feed, one JSON frame a record, until the client goes or the key is revoked. What the client says is not heard."""
    chosen = wanted(partial(_asked, websocket, node))
    after = await _begin(node, _asked(websocket, node, FROM), chosen)
    await websocket.accept()
    async with trio.open_nursery() as nursery:
        pages = _pages(node, websocket, principal, after, chosen)
        nursery.start_soon(_push, websocket, pages, chosen, node.system.journal, nursery.cancel_scope)
        while (await websocket.receive())["type"] != "websocket.disconnect":
            pass
        nursery.cancel_scope.cancel()


def _asked(websocket: WebSocket, node: Compartment, parameter: Parameter[T]) -> T:
    """A parameter of the socket's query. Raises Refused where its value makes no sense."""
    text = websocket.query_params.get(parameter.name)
    if text is None:
        return parameter.absent
    return parameter.read(node.position_in(text) if parameter.is_position else text)


async def _push(
    websocket: WebSocket,
    pages: AsyncGenerator[tuple[int, list[Recorded]], None],
    chosen: Wanted,
    journal: Journal,
    scope: trio.CancelScope,
) -> None:
    reached = 0
    try:
        async with aclosing(pages):
            async for reached, records in pages:
                for frame in _frames(reached, records):
                    await websocket.send_text(msgspec.json.encode(frame).decode())
        if chosen.is_over(reached, journal.clock.now()):
            await websocket.close(NORMAL_CLOSURE, "all that was wanted has been told")
        else:
            await websocket.close(POLICY_VIOLATION, "the key opens nothing any more")
    except WebSocketDisconnect:
        pass
    scope.cancel()


def _frames(reached: int, records: Sequence[Recorded]) -> list[RecordFrame | PositionFrame]:
    frames: list[RecordFrame | PositionFrame] = [RecordFrame(record=line(record)) for record in records]
    if not records or records[-1].position < reached:
        frames.append(PositionFrame(position=reached))
    return frames


routes = (
    Endpoint("GET", "/v1/log", page, Permission.LOG_READ, reply=LogPage, query=(PAST, LIMIT, COMMANDS, *FILTERS)),
    Endpoint("GET", "/v1/feed", feed, Permission.LOG_READ, query=(FROM, *FILTERS), media="text/event-stream"),
)
sockets = (
    SocketEndpoint(
        "/v1/feed", feed_socket, Permission.LOG_READ, query=(FROM, *FILTERS), tells=RecordFrame | PositionFrame
    ),
)

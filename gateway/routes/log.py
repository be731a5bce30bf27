"""The log: pages of it by position, and the feed that follows it, as server-sent events or over a websocket."""

from collections.abc import Sequence
from contextlib import aclosing
from functools import partial

import msgspec
import trio
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from aggregates.key import Principal
from gateway.auth import EVERYBODY
from gateway.calls import POSITION_MAX, Call, Endpoint, SocketEndpoint
from gateway.live import EventStream, Line, Write, follow, line
from gateway.parts import Node
from runtime.errors import Refused
from runtime.records import Recorded

READ_MAX = 2_000


class LogPage(msgspec.Struct, frozen=True):
    """Records past `after`, in order; `next` is the `after` of the next page, `position` the newest position of the log."""

    records: list[Line]
    position: int
    next: int


async def page(call: Call) -> Response:
    """The tenant's records past `?after=`, of one stream where `?stream=` names it; with `?commands=true` what was decided, in full."""
    after, stream = call.integer("after", 0), call.query.get("stream")
    journal = call.node.system.journal
    if stream is not None:
        read = await journal.read_with(journal.store.read_stream, stream)
        read = [record for record in read if after < record.position <= journal.position]
    else:
        read = await journal.read(after, min(READ_MAX, 2 * call.limit))
    seen = [record for record in read if record.meta.tenant == call.tenant]
    shown = seen[: call.limit]
    reached = shown[-1].position if len(seen) > call.limit else read[-1].position if read else after
    commands = call.query.get("commands") == "true"
    return call.reply(LogPage([line(record, commands=commands) for record in shown], journal.position, reached))


def _start(text: str | None, newest: int) -> int:
    """The position after which to begin; without one, now."""
    if text is None:
        return newest
    if not (text.isascii() and text.isdigit() and int(text[:20]) <= POSITION_MAX):
        raise Refused("query_invalid", "after must be a position of the log", status=422)
    return int(text)


async def feed(call: Call) -> Response:
    """Server-sent events from `Last-Event-ID` or `?after=` on: the event's id is its position."""
    journal = call.node.system.journal
    after = _start(call.request.headers.get("last-event-id") or call.query.get("after"), journal.position)
    return EventStream(partial(_write_events, call.node, after, call.tenant))


async def _write_events(node: Node, after: int, tenant: str, write: Write) -> None:
    await write(b"retry: 1000\nevent: position\nid: %d\ndata: %d\n\n" % (after, after))
    async with aclosing(follow(node.system.journal, after, tenant)) as pages:
        async for position, records in pages:
            await write(_frames(position, records))


def _frames(position: int, records: Sequence[Recorded]) -> bytes:
    """The page as events, and the position that it reaches where that is further."""
    events = [
        b"id: %d\nevent: %s\ndata: %s\n\n" % (record.position, record.kind.encode(), msgspec.json.encode(line(record)))
        for record in records
    ]
    if not records or records[-1].position < position:
        events.append(b"id: %d\nevent: position\ndata: %d\n\n" % (position, position))
    return b"".join(events)


async def feed_socket(websocket: WebSocket, node: Node, principal: Principal) -> None:
    """The same feed, one JSON frame a record, until the client goes."""
    after = _start(websocket.query_params.get("after"), node.system.journal.position)
    await websocket.accept()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_push, websocket, node, after, principal.tenant, nursery.cancel_scope)
        try:
            while True:
                await websocket.receive_text()
        except (WebSocketDisconnect, KeyError):
            nursery.cancel_scope.cancel()


async def _push(websocket: WebSocket, node: Node, after: int, tenant: str, scope: trio.CancelScope) -> None:
    try:
        async with aclosing(follow(node.system.journal, after, tenant)) as pages:
            async for position, records in pages:
                for record in records:
                    await websocket.send_text(msgspec.json.encode({"type": "record", "record": line(record)}).decode())
                if not records or records[-1].position < position:
                    await websocket.send_text(f'{{"type":"position","position":{position}}}')
    except (WebSocketDisconnect, RuntimeError):
        scope.cancel()


routes = (
    Endpoint("GET", "/v1/log", page, EVERYBODY, reply=LogPage),
    Endpoint("GET", "/v1/feed", feed, EVERYBODY),
)
sockets = (SocketEndpoint("/v1/feed", feed_socket, EVERYBODY),)

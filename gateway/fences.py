"""One connection behind a fence: hypercorn's HTTP/1.1 and websocket protocols, so driven that no client can hurt its neighbors.

Stock hypercorn 0.18 runs every connection in the server's nursery and lets most faults pass: one bad websocket upgrade ends the process.
It also shields its sends (a client that stops reading outlives SIGTERM), speaks HTTP/2 to anybody who asks (header floods, unbounded
buffers), inflates websocket frames before it looks at their size, and waits for ever on a handler that has not read its whole body.
Here a connection owns its stream, its deadlines and its handlers; whatever goes wrong ends that connection, is counted and logged.

Everything that relies on hypercorn's inner names stands in this module; a test fails when another version is installed.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf
from time import time
from typing import Any, cast
from wsgiref.handlers import format_date_time

import h11
import structlog
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, RawData, Updated
from hypercorn.events import Event as WireEvent
from hypercorn.protocol.events import Body, Data, EndBody, Request, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.protocol.ws_stream import ASGIWebsocketState, WSStream
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.utils import suppress_body
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp
from starlette.websockets import WebSocketDisconnect
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Ping
from wsproto.frame_protocol import CloseReason

from gateway.problems import MEDIA_TYPE, status_document, was_logged

RECEIVE_BYTES = 16_384  # small, because up to 2,700 empty frames fit in it and are parsed in one step
SEND_BYTES = 65_536  # a client that takes less than this in `send_seconds_max` is gone
LINGER_BYTES_MAX = 64 * 2**20
GOODBYE_SECONDS_MAX = 0.5

log = structlog.get_logger("gateway.server")


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What one server grants its clients together (`connections_max`) and each (all others)."""

    connections_max: int = 800  # below the usual limit of 1,024 open files
    requests_per_connection_max: int = 100_000
    header_bytes_max: int = 16_384
    message_bytes_max: int = 2**20  # one websocket message, over all its fragments
    inbox_messages_max: int = 8  # what a handler has not yet received; the client waits after that
    idle_seconds_max: float = 20.0  # between requests, and for a whole request head to arrive
    send_seconds_max: float = 10.0
    linger_seconds_max: float = 2.0  # reading on after our last byte, or the client might lose it to a reset
    shutdown_seconds_max: float = 2.0


@dataclass(kw_only=True)
class Counts:
    """What the server has seen since its start."""

    opened: int = 0
    refused: int = 0  # no room
    evicted: int = 0  # idle, closed to make room
    faults: int = 0  # a connection that the protocol code could not survive
    stalled: int = 0  # a client that stopped reading
    handler_faults: int = 0


class ClientGone(OSError):
    """A handler sends to a websocket whose client has left; Starlette turns it into `WebSocketDisconnect`."""


class WireConfig(Config):
    """Hypercorn's settings under our bounds, with the date header made once a second."""

    accesslog = None
    errorlog = None

    def __init__(self, bounds: Bounds) -> None:
        self.h11_max_incomplete_size = bounds.header_bytes_max
        self.keep_alive_max_requests = bounds.requests_per_connection_max
        self.websocket_max_message_size = bounds.message_bytes_max
        self._second = 0
        self._headers: list[tuple[bytes, bytes]] = []

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        now = int(time())
        if now != self._second:
            self._second, self._headers = now, [(b"date", format_date_time(now).encode("ascii"))]
        return self._headers


@dataclass(kw_only=True)
class House:
    """What the connections of one server share."""

    app: ASGIApp
    bounds: Bounds
    counts: Counts
    config: WireConfig
    context: WorkerContext = field(default_factory=lambda: WorkerContext(None))
    connections: "set[Connection]" = field(default_factory=set)
    idle: "OrderedDict[Connection, None]" = field(default_factory=OrderedDict)


class Inbox:
    """What one handler has yet to receive. Bounded; once the client is gone it says so at every call."""

    def __init__(self, messages_max: int) -> None:
        self._send, self._receive = trio.open_memory_channel[Any](messages_max)
        self._last: Any = {"type": "http.disconnect"}

    async def put(self, message: Any) -> None:
        """Waits while the inbox is full. A disconnect never waits: its sender may be the handler that would have to read."""
        if message["type"] in {"http.disconnect", "websocket.disconnect"}:
            self._last = message
            self._send.close()
            return
        try:
            await self._send.send(message)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.lowlevel.checkpoint()  # the handler has answered and reads no more

    async def get(self) -> Any:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            await trio.lowlevel.checkpoint()
            return self._last

    def close(self) -> None:
        self._send.close()
        self._receive.close()


class Handler:
    """Runs the app for one request or socket; stands where hypercorn expects its task group. The app's faults end here."""

    def __init__(self, connection: "Connection") -> None:
        self.connection = connection
        self.scope = trio.CancelScope()
        self.stream: Exchange | Socket
        self.leaving = False

    async def spawn_app(
        self, app: Any, config: Config, scope: Any, send: Callable[[Any], Awaitable[None]]
    ) -> Callable[[Any], Awaitable[None]]:
        inbox = Inbox(self.connection.house.bounds.inbox_messages_max)
        self.connection.nursery.start_soon(self._run, app, scope, inbox, send)
        return inbox.put

    def leave(self) -> None:
        """The house shuts down: cancels the handler, after which the client is told good-bye."""
        self.leaving = True
        self.scope.cancel()

    async def _run(self, app: ASGIApp, scope: Any, inbox: Inbox, send: Callable[[Any], Awaitable[None]]) -> None:
        try:
            with self.scope:
                await app(scope, inbox.get, send)
        except* (WebSocketDisconnect, ClientDisconnect, ClientGone):
            pass  # the handler ended because its client did
        except* Exception as faults:  # noqa: BLE001 - a handler's fault ends its request, not the server
            self.connection.house.counts.handler_faults += 1
            if not was_logged(faults):
                log.error("handler_failed", path=scope["path"], exc_info=faults)
        finally:
            inbox.close()
        if self.leaving:
            with trio.move_on_after(GOODBYE_SECONDS_MAX):
                await self.stream.say_goodbye()
        await send(None)


class Exchange(HTTPStream):
    """One HTTP request and its response."""

    task_group: Handler

    async def app_send(self, message: Any) -> None:
        connection = self.task_group.connection
        if message is not None and connection.broken:
            self.task_group.scope.cancel()  # nobody is left to answer; a loop of sends would never end by itself
            await trio.lowlevel.checkpoint()
        sends = connection.sends
        await super().app_send(message)
        if connection.sends == sends and message is not None and message["type"] != "http.response.start":
            await trio.lowlevel.checkpoint()  # nothing went out: a loop of empty bodies must not stop the world

    def is_endless(self) -> bool:
        """Whether the response is an event stream, which never ends by itself."""
        if self.state is not ASGIHTTPState.RESPONSE:
            return False
        headers = self.response.get("headers", [])
        return any(name.lower() == b"content-type" and b"text/event-stream" in value for name, value in headers)

    async def say_goodbye(self) -> None:
        if not self.closed and self.state is ASGIHTTPState.RESPONSE:
            await super().app_send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_error_response(self, status_code: int) -> None:
        await _send_problem(self, status_code, self.scope["method"])
        self.state = ASGIHTTPState.CLOSED


class Socket(WSStream):
    """One websocket. Frames that come before the handshake is answered wait for the answer."""

    task_group: Handler

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._answered = trio.Event()

    async def handle(self, event: StreamEvent) -> None:
        if isinstance(event, StreamClosed):
            self._answered.set()
        elif isinstance(event, (Body, Data)):
            await self._answered.wait()
            if not self.handshake.accepted:
                return
        await super().handle(event)

    async def app_send(self, message: Any) -> None:
        if self.closed and message is not None:
            await trio.lowlevel.checkpoint()
            raise ClientGone("the websocket's client has left")
        connection = self.task_group.connection
        sends = connection.sends
        await super().app_send(message)
        if self.state is not ASGIWebsocketState.HANDSHAKE:
            self._answered.set()
        if connection.sends == sends and message is not None:
            await trio.lowlevel.checkpoint()

    async def say_goodbye(self) -> None:
        if not self.closed and self.state is ASGIWebsocketState.CONNECTED:
            await super().app_send({"type": "websocket.close", "code": 1001, "reason": "the server shuts down"})

    async def _handle_events(self) -> None:
        for event in self.connection.events():
            match event:
                case Message():
                    if self.buffer.length + len(event.data) > self.buffer.max_length:
                        await self._end(CloseReason.MESSAGE_TOO_BIG, f"over {self.buffer.max_length} bytes")
                        return
                    self.buffer.extend(event)
                    if event.message_finished:
                        message = self.buffer.to_message()
                        self.buffer.clear()
                        await self._put(message)
                case Ping():
                    await self._send_wsproto_event(event.response())
                case CloseConnection() if self.connection.state is ConnectionState.REMOTE_CLOSING:
                    await self._send_wsproto_event(event.response())
                    await self.send(StreamClosed(stream_id=self.stream_id))
                case CloseConnection():  # our own close was answered, or the frames make no sense
                    await self._end(event.code, event.reason)

    async def _put(self, message: Any) -> None:
        assert self.app_put is not None
        await self.app_put(message)

    async def _end(self, code: int, reason: str | None) -> None:
        await self._send_wsproto_event(CloseConnection(code=code, reason=reason))
        await self.send(StreamClosed(stream_id=self.stream_id))

    async def _send_error_response(self, status_code: int) -> None:
        self.state = ASGIWebsocketState.HTTPCLOSED
        await _send_problem(self, status_code, "GET")


async def _send_problem(stream: HTTPStream | WSStream, status: int, method: str) -> None:
    """Answers in place of the app; the connection closes after it."""
    body = status_document(status)
    await stream.send(Response(stream_id=stream.stream_id, headers=_problem_headers(body), status_code=status))
    if not suppress_body(method, status):
        await stream.send(Body(stream_id=stream.stream_id, data=body))
    await stream.send(EndBody(stream_id=stream.stream_id))


def _problem_headers(body: bytes) -> list[tuple[bytes, bytes]]:
    length = str(len(body)).encode()
    return [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", length), (b"connection", b"close")]


class Protocol(H11Protocol):
    """HTTP/1.1 and nothing else: no HTTP/2 by preface or upgrade, no websocket extension. Head and body leave in one send."""

    task_group: Any
    stream: Exchange | Socket | None

    def __init__(self, connection: "Connection", client: Any, server: Any) -> None:
        house = connection.house
        super().__init__(
            cast(Any, house.app), house.config, cast(Any, house.context), cast(Any, None), cast(Any, {}), False,
            client, server, connection.protocol_send,
        )  # fmt: skip
        self.owner = connection
        self._head = b""

    def has_part_of_a_head(self) -> bool:
        return self.stream is None and self.connection.trailing_data[0] != b""

    async def refuse(self, status: int) -> None:
        """Answers what is not a request that we serve, where an answer is still possible, and closes."""
        if self.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE} and not self._head:
            await self._send_error_response(status)
        await self.send(Closed())

    async def _handle_events(self) -> None:
        while not self.owner.closing:
            if self.connection.they_are_waiting_for_100_continue:
                await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))
            try:
                event = self.connection.next_event()
            except h11.RemoteProtocolError as error:
                await self.refuse(error.error_status_hint)
                return
            match event:
                case h11.Request():
                    await self.send(Updated(idle=False))
                    await self._create_stream(event)
                case h11.PAUSED:  # the next request waits until this one is answered
                    await self.can_read.clear()
                    await self.can_read.wait()
                case h11.ConnectionClosed() | h11.NEED_DATA:
                    return
                case _ if self.stream is None:
                    return
                case h11.Data():
                    await self.stream.handle(Body(stream_id=STREAM_ID, data=bytes(event.data)))
                case h11.EndOfMessage():
                    await self.stream.handle(EndBody(stream_id=STREAM_ID))
                case Data():
                    await self.stream.handle(event)

    async def _create_stream(self, request: h11.Request) -> None:
        if request.http_version not in {b"1.0", b"1.1"}:
            await self.refuse(505)
            return
        kind: type[Exchange | Socket] = Exchange
        if _asks_for_socket(request):
            if not _is_clean_upgrade(request):
                await self.refuse(400)
                return
            kind = Socket
            self.connection = H11WSConnection(cast(h11.Connection, self.connection))
        handler = Handler(self.owner)
        stream = handler.stream = self.stream = kind(
            self.app, self.config, self.context, handler, self.ssl, self.client, self.server, self.stream_send, STREAM_ID
        )  # fmt: skip
        await stream.handle(_stream_request(request))
        self.keep_alive_requests += 1
        if stream.closed and not self.owner.closing and self.stream is stream:
            await self.send(Closed())  # refused without a handler: nobody else would close it

    async def _send_h11_event(self, event: Any) -> None:
        try:
            data = self.connection.send(event)
        except h11.LocalProtocolError:
            if self.connection.their_state is not h11.ERROR:
                raise
            return
        if isinstance(event, h11.Response) and any(name == b"content-length" for name, _ in event.headers):
            self._head = data  # its body follows at once; a stream's head, which has no length, must not wait
        elif data or self._head:
            data, self._head = self._head + data, b""
            await self.send(RawData(data=data))

    async def _send_error_response(self, status_code: int) -> None:
        body = status_document(status_code)
        await self._send_h11_event(
            h11.Response(
                status_code=status_code, headers=[*_problem_headers(body), *self.config.response_headers("h11")]
            )
        )
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())


def _asks_for_socket(request: h11.Request) -> bool:
    header = {name: value.lower().strip() for name, value in request.headers}
    tokens = [token.strip() for token in header.get(b"connection", b"").split(b",")]
    return request.method == b"GET" and b"upgrade" in tokens and header.get(b"upgrade") == b"websocket"


def _is_clean_upgrade(request: h11.Request) -> bool:
    """A body would be taken for frames; non-ASCII tokens can't be compared with ours."""
    return all(
        name not in {b"content-length", b"transfer-encoding"}
        and (value.isascii() or not (name.startswith(b"sec-websocket-") or name == b"connection"))
        for name, value in request.headers
    )


def _stream_request(request: h11.Request) -> Request:
    """The request without the extensions that a websocket offers: we accept none, so none needs to be parsed."""
    return Request(
        stream_id=STREAM_ID,
        headers=[(name, value) for name, value in request.headers if name != b"sec-websocket-extensions"],
        http_version=request.http_version.decode(),
        method=request.method.decode("ascii").upper(),
        raw_path=request.target,
        state=cast(Any, {}),
    )


class Connection:
    """A client's stream: one reader, the handlers it started, and the deadlines of both."""

    def __init__(self, house: House, stream: trio.SocketStream) -> None:
        self.house = house
        self.stream = stream
        self.nursery: trio.Nursery
        self.protocol: Protocol
        self.closing = False  # our last byte is out; what still comes is thrown away
        self.broken = False  # nothing can be sent any more
        self.sends = 0
        self._send_lock = trio.Lock()
        self._receiving = trio.CancelScope()
        self._deadline = inf

    async def run(self) -> None:
        """Serves the client until either side ends it; raises nothing but cancellation."""
        try:
            await self._serve()
        except* OSError:
            pass
        except* Exception as faults:  # noqa: BLE001 - this is the fence
            self.house.counts.faults += 1
            log.warning("connection_failed", exc_info=faults)
        finally:
            self.house.idle.pop(self, None)
            await trio.aclose_forcefully(self.stream)

    def expire(self, seconds: float = 0.0) -> None:
        """Ends the reading, and so the connection, that many seconds from now."""
        self._set_deadline(min(self._deadline, trio.current_time() + seconds))

    def shut_down(self) -> None:
        """Idle: closes. Answering: closes after the answer. Sockets and event streams: cancels their handler."""
        stream = self.protocol.stream
        self.protocol.keep_alive_requests = self.house.config.keep_alive_max_requests  # says connection: close
        if stream is None:
            self.expire()
        elif isinstance(stream, Socket) or stream.is_endless():
            stream.task_group.leave()

    async def protocol_send(self, event: WireEvent) -> None:
        """What the protocol wants done with the stream."""
        match event:
            case RawData():
                await self._send(event.data)
            case Closed():
                self.closing = True
                self.house.idle.pop(self, None)
                await self.protocol.handle(Closed())
                await self._end_sending()
            case Updated():
                self._set_idle(event.idle)

    async def _serve(self) -> None:
        socket = self.stream.socket
        self.protocol = Protocol(self, _address(socket.getpeername()), _address(socket.getsockname()))
        self._set_idle(True)
        async with trio.open_nursery() as self.nursery:
            await self._read()
            await self.protocol.handle(Closed())

    async def _read(self) -> None:
        drained = 0
        while data := await self._receive():
            if not self.closing:
                await self._handle(data)
            elif (drained := drained + len(data)) > LINGER_BYTES_MAX:
                return
        if self.closing or self.broken:
            return
        if not self._receiving.cancelled_caught:
            await self._handle(b"")
        elif self.protocol.has_part_of_a_head():
            await self.protocol.refuse(408)

    async def _receive(self) -> bytes:
        """The next bytes, or none at the client's end, at the deadline, and when the connection is lost."""
        with trio.CancelScope(deadline=self._deadline) as self._receiving:
            try:
                return bytes(await self.stream.receive_some(RECEIVE_BYTES))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self.broken = True
        return b""

    async def _handle(self, data: bytes) -> None:
        try:
            await self.protocol.handle(RawData(data=data))
        except* Exception as faults:  # noqa: BLE001 - hypercorn could not take it: say so if we can, and close
            self.house.counts.faults += 1
            log.warning("request_not_understood", exc_info=faults)
            await self.protocol.refuse(400)

    async def _send(self, data: bytes) -> None:
        async with self._send_lock:
            if self.broken:
                await trio.lowlevel.checkpoint()
                return
            self.sends += 1
            try:
                for start in range(0, len(data), SEND_BYTES):
                    with trio.fail_after(self.house.bounds.send_seconds_max):
                        await self.stream.send_all(memoryview(data)[start : start + SEND_BYTES])
                return
            except trio.Cancelled:
                self.broken = True  # perhaps half a frame is out: nothing sensible can follow
                raise
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self.broken = True
            except trio.TooSlowError:
                self.broken = True
                self.house.counts.stalled += 1
                log.info("client_stopped_reading")
        self.closing = True
        self.expire()
        await self.protocol.handle(Closed())

    async def _end_sending(self) -> None:
        """Says that nothing more comes, and lets the reader drain what is under way: a reset could cost the client our answer."""
        self.expire(self.house.bounds.linger_seconds_max)
        try:
            await self.stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            self.expire()

    def _set_idle(self, idle: bool) -> None:
        if idle and not self.closing:
            self.house.idle[self] = None
            self._set_deadline(trio.current_time() + self.house.bounds.idle_seconds_max)
        elif not self.closing:
            self.house.idle.pop(self, None)
            self._set_deadline(inf)

    def _set_deadline(self, deadline: float) -> None:
        self._deadline = deadline
        self._receiving.deadline = deadline


def _address(name: Any) -> tuple[str, int]:
    return str(name[0]), int(name[1])

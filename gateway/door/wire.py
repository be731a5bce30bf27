"""Hypercorn's HTTP/1.1 and websocket protocols, narrowed to what we serve and hardened where they trust the client.

No HTTP/2 by preface or upgrade (header floods, unbounded buffers) and no compression of frames (inflated before their size is
looked at). Frames that come with the upgrade wait for its answer, a frame that makes no sense is answered by a close that says
why, and what no handler answers is answered by a problem document.

Everything that relies on hypercorn's inner names stands in this module; a test fails when another version is installed.
"""

import re
from collections.abc import Awaitable, Callable
from math import inf
from time import time
from typing import Any, cast
from wsgiref.handlers import format_date_time

import h11
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
from starlette.types import ASGIApp
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Ping, Pong
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError

from gateway.api.problems import MEDIA_TYPE, status_document
from gateway.door.bounds import Bounds
from gateway.door.handlers import ClientGone, Handler, Line, Owner
from gateway.door.pace import Allowance
from gateway.door.targets import Target, read_target
from gateway.door.ws_frames import BINARY, TEXT, frame, read_message, read_messages

SOCKET_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
SOCKET_VERSION = b"13"
UNREAD = "unread"
"""The class of what the door can't read as a request that it serves."""

__all__ = ["Closed", "Exchange", "Protocol", "RawData", "Socket", "Updated", "WireConfig", "WireEvent", "WorkerContext"]


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


class Exchange(HTTPStream):
    """One HTTP request and its response."""

    task_group: Handler  # type: ignore[assignment]  # hypercorn expects one for the whole connection

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

    task_group: Handler  # type: ignore[assignment]  # hypercorn expects one for the whole connection

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.line = Line(self._ping, self._send_now, self._write_now)
        self._answered = trio.Event()
        self._controls = Allowance(self.task_group.connection.bounds.control_frames_per_second_max)
        self._parts = 0  # of a message that has not ended

    async def handle(self, event: StreamEvent) -> None:
        if isinstance(event, StreamClosed):
            self._answered.set()
        elif isinstance(event, (Body, Data)):
            await self._answered.wait()
            if not self.handshake.accepted:
                return
            rest = await self._take_common(event.data) if self._is_between_frames() else event.data
            if rest and not self.closed:
                await super().handle(Data(stream_id=self.stream_id, data=rest))
            return
        await super().handle(event)

    def _is_between_frames(self) -> bool:
        """Whether wsproto holds no part of a message, and would take another."""
        if self.connection.state is not ConnectionState.OPEN:
            return False
        reader = self.connection._proto
        frames = reader._frame_decoder
        return frames.header is None and not len(frames.buffer) and reader._message_decoder.opcode is None

    async def _take_common(self, data: bytes) -> bytes:
        """Puts the messages that the bytes begin with and that are of the common kind; what is left."""
        while data and not self.closed:
            messages, rest = read_messages(data, self.buffer.max_length)
            for message in messages:
                await self._put(message)
            if not messages:
                break
            data = rest
        return data

    async def app_send(self, message: Any) -> None:
        if self.closed and message is not None:
            await trio.lowlevel.checkpoint()
            raise ClientGone("the websocket's client has left")
        connection = self.task_group.connection
        sends = connection.sends
        if message is not None and message["type"] == "websocket.send" and self._is_open():
            data = message.get("bytes")
            encoded = frame(TEXT, message["text"].encode()) if data is None else frame(BINARY, bytes(data))
            await connection.gather(encoded)
            return
        await super().app_send(message)
        if self.state is not ASGIWebsocketState.HANDSHAKE:
            self._answered.set()
        if connection.sends == sends and message is not None:
            await trio.lowlevel.checkpoint()

    def may_be_heard(self) -> bool:
        """Whether `hear` is to have what comes next: the app takes messages at once, and no part of one has come."""
        return self.line.take_now is not None and not self.closed and self._is_between_frames()

    def hear(self, data: bytes) -> bytes:
        """Hands on what has come as far as that can be done at once; the rest is to be handled."""
        at, end, line, bytes_max = 0, len(data), self.line, self.buffer.max_length
        while at < end and not self.closed and self._is_open():
            found = read_message(data, at, bytes_max)
            if found is None or not line.hear(found[0]):
                break
            at = found[1]
        return data[at:]

    def _send_now(self, frames: bytes) -> bool:
        return not self.closed and self._is_open() and self.task_group.connection.gather_now(frames)

    def _write_now(self, frames: bytes) -> bool:
        if self.closed or self.state is not ASGIWebsocketState.CONNECTED:
            return False
        return self.connection.state is ConnectionState.OPEN and self.task_group.connection.write_now(frames)

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
                        if self._parts:
                            self._parts = 0
                            self.task_group.connection.bound_reading(inf)
                        await self._put(message)
                    elif not await self._take_part(event):
                        return
                case Ping() | Pong() if not self._controls.take(trio.current_time()):
                    await self._end(CloseReason.POLICY_VIOLATION, "too many pings")
                    return
                case Ping():
                    await self._send_wsproto_event(event.response())
                    self.line.beat()
                case Pong():
                    self.line.beat()
                case CloseConnection() if self.connection.state is ConnectionState.REMOTE_CLOSING:
                    await self._send_wsproto_event(event.response())
                    await self.send(StreamClosed(stream_id=self.stream_id))
                case CloseConnection():  # our own close was answered, or the frames make no sense
                    await self._end(event.code, event.reason)

    def _is_open(self) -> bool:
        return self.state is ASGIWebsocketState.CONNECTED and self.connection.state is ConnectionState.OPEN

    async def _send_wsproto_event(self, event: Any) -> None:
        try:
            data = self.connection.send(event)
        except LocalProtocolError:
            return
        await self.task_group.connection.gather(data)

    async def _take_part(self, part: Message[Any]) -> bool:
        """A message goes on, over so many frames and seconds and no more; whether the socket does too."""
        connection = self.task_group.connection
        if not self._parts:
            self._parts = 1
            connection.bound_reading(connection.bounds.message_seconds_max)
        self._parts += part.frame_finished
        if self._parts <= connection.bounds.message_fragments_max:
            return True
        await self._end(CloseReason.POLICY_VIOLATION, "too many fragments")
        return False

    async def _ping(self) -> None:
        if not self.closed and self.state is ASGIWebsocketState.CONNECTED:
            await self._send_wsproto_event(Ping())

    async def _put(self, message: Any) -> None:
        assert self.app_put is not None
        await self.app_put(message)

    async def _end(self, code: int, reason: str | None) -> None:
        self.task_group.connection.note("socket_ended", code=int(code), reason=reason)
        await self._send_wsproto_event(CloseConnection(code=code, reason=reason))
        await self.send(StreamClosed(stream_id=self.stream_id))

    async def _send_error_response(self, status_code: int) -> None:
        self.state = ASGIWebsocketState.HTTPCLOSED
        await _send_problem(self, status_code, "GET")


async def _send_problem(stream: HTTPStream | WSStream, status: int, method: str) -> None:
    """Answers in place of the app; the connection closes after it."""
    body = status_document(status)
    await stream.send(Response(stream_id=stream.stream_id, headers=_problem_headers(body, status), status_code=status))
    if not suppress_body(method, status):
        await stream.send(Body(stream_id=stream.stream_id, data=body))
    await stream.send(EndBody(stream_id=stream.stream_id))


def _problem_headers(body: bytes, status: int) -> list[tuple[bytes, bytes]]:
    length = str(len(body)).encode()
    told = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", length)]
    if status == 426:
        upgrade = [(b"upgrade", b"websocket"), (b"sec-websocket-version", SOCKET_VERSION)]
        return [*told, *upgrade, (b"connection", b"upgrade, close")]
    return [*told, (b"connection", b"close")]


class Protocol(H11Protocol):
    """HTTP/1.1 and nothing else. Head and body leave in one send."""

    stream: Exchange | Socket | None

    def __init__(
        self,
        app: ASGIApp,
        config: WireConfig,
        context: WorkerContext,
        owner: Owner,
        send: Callable[[WireEvent], Awaitable[None]],
        *,
        client: tuple[str, int],
        server: tuple[str, int],
    ) -> None:
        unused: Any = None  # its task group: each stream has its own
        super().__init__(cast(Any, app), config, cast(Any, context), unused, cast(Any, {}), False, client, server, send)
        self.owner = owner
        self.closing = False  # our last byte is out; nothing that still comes is looked at
        self._head = b""
        self._is_used = False

    def is_between(self) -> bool:
        """Whether nothing is under way here: a request that begins now may be answered by somebody else."""
        if self.stream is not None or self.closing:
            return False
        if self._is_used:
            connection = self.connection
            if h11.IDLE is not connection.our_state or h11.IDLE is not connection.their_state:
                return False
            self._is_used = connection.trailing_data[0] != b""
        return not self._is_used

    def has_part_of_a_head(self) -> bool:
        return self.stream is None and self.connection.trailing_data[0] != b""

    async def refuse(self, status: int, *, method: bytes = b"") -> None:
        """Answers what is not a request that we serve, where an answer is still possible, and closes."""
        self.owner.counts.answers[UNREAD, status] += 1
        self.owner.note("request_refused", status=status)
        if self.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE} and not self._head and method != b"HEAD":
            await self._send_error_response(status)
        await self.send(Closed())

    async def handle(self, event: WireEvent) -> None:
        if isinstance(event, RawData) and event.data and self.connection.their_state is h11.MUST_CLOSE:
            return  # they said that nothing more comes: it is not kept, and does not cost them the answer
        self._is_used = True
        await super().handle(event)

    async def _handle_events(self) -> None:
        while not self.closing and self.connection.their_state is not h11.MUST_CLOSE:
            if self.connection.they_are_waiting_for_100_continue:
                await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))
            if self.connection.their_state is h11.IDLE and _has_bare_line_feed(self.connection.trailing_data[0]):
                await self.refuse(400)
                return
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
            await self.refuse(505, method=request.method)
            return
        target = read_target(request.target, list(request.headers))
        if target is None:
            await self.refuse(400, method=request.method)
            return
        kind: type[Exchange] | type[Socket] = Exchange
        if _asks_for_socket(request):
            if not _is_clean_upgrade(request):
                await self.refuse(400)
                return
            if [value for name, value in request.headers if name == b"sec-websocket-version"] != [SOCKET_VERSION]:
                await self.refuse(426)
                return
            kind = Socket
            self.connection = H11WSConnection(cast(h11.Connection, self.connection))
        handler = Handler(self.owner)
        shared = (self.app, self.config, self.context, handler, self.ssl, self.client, self.server)
        given: tuple[Any, ...] = (*shared, self.stream_send, STREAM_ID)
        stream = handler.stream = self.stream = kind(*given)
        state = {"line": stream.line} if isinstance(stream, Socket) else {}
        await stream.handle(_stream_request(request, target, state))
        self.keep_alive_requests += 1
        if stream.closed and not self.closing and self.stream is stream:
            await self.send(Closed())  # refused without a handler: nobody else would close it

    async def _send_h11_event(self, event: Any) -> None:
        if isinstance(event, h11.Response) and self.connection.their_state is h11.SEND_BODY:
            event = _closing(event)
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
        headers = [*_problem_headers(body, status_code), *self.config.response_headers("h11")]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())


def _has_bare_line_feed(begun: bytes) -> bool:
    """Whether in the head that begins here, as far as it has come, a line ends without CR: others take it for a part of the next one."""
    head = begun[: begun.find(b"\r\n\r\n") + 2] if b"\r\n\r\n" in begun else begun
    return head.count(b"\n") != head.count(b"\r\n")


def _closing(response: h11.Response) -> h11.Response:
    """An answer to a request that has not arrived whole: the connection ends with it, and a client must not send another on it."""
    if any(name == b"connection" for name, _ in response.headers):
        return response
    return h11.Response(status_code=response.status_code, headers=[*response.headers, (b"connection", b"close")])


def _asks_for_socket(request: h11.Request) -> bool:
    header = {name: value.lower().strip() for name, value in request.headers}
    tokens = [token.strip() for token in header.get(b"connection", b"").split(b",")]
    return request.method == b"GET" and b"upgrade" in tokens and header.get(b"upgrade") == b"websocket"


def _is_clean_upgrade(request: h11.Request) -> bool:
    """A body would be taken for frames; non-ASCII tokens can't be compared with ours; a key is one, of 16 bytes."""
    keys = [value for name, value in request.headers if name == b"sec-websocket-key"]
    return (len(keys) == 1 and SOCKET_KEY.fullmatch(keys[0]) is not None) and all(
        name not in {b"content-length", b"transfer-encoding"}
        and (value.isascii() or not (name.startswith(b"sec-websocket-") or name == b"connection"))
        for name, value in request.headers
    )


def _stream_request(request: h11.Request, target: Target, state: dict[str, Any]) -> Request:
    """The request, with what the app finds in its scope's state.

    The extensions that a websocket offers are left out: we accept none, so none needs to be parsed.
    """
    return Request(
        stream_id=STREAM_ID,
        headers=[(name, value) for name, value in target.headers if name != b"sec-websocket-extensions"],
        http_version=request.http_version.decode(),
        method=request.method.decode("ascii"),  # whose case counts: `delete` is not DELETE
        raw_path=target.path,
        state=cast(Any, state),
    )

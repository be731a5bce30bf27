"""A server and raw clients for the attack tests: bytes on real sockets, well-formed or not."""

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
import trio
import trio.testing
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.api.problems import exception_handlers
from gateway.door.addresses import PerAddress
from gateway.door.bounds import BodyBounds, BodyLimit, ClearFraming
from gateway.door.proxies import Proxies
from gateway.door.server import Bounds, Counts, serve
from gateway.door.tls import Certificates
from gateway.feeds.live import EventStream, Write

GUARD_SECONDS = 120  # no assertion about speed: only that the test ends
BIG_BYTES = 200_000_000


@dataclass
class Witness:
    """What the handlers of the test's app saw."""

    cancelled: trio.Event = field(default_factory=trio.Event)
    disconnected: trio.Event = field(default_factory=trio.Event)
    begun: trio.Event = field(default_factory=trio.Event)
    release: trio.Event = field(default_factory=trio.Event)


def make_app(witness: Witness) -> Starlette:
    return Starlette(
        routes=[*_routes(witness), *_streams(witness), *_sockets(witness)],
        exception_handlers=dict(exception_handlers),
    )


def _routes(witness: Witness) -> list[BaseRoute]:
    async def hello(request: Request) -> Response:
        return PlainTextResponse("hello")

    async def echo(request: Request) -> Response:
        return Response(await request.body())

    async def early(request: Request) -> Response:
        return PlainTextResponse("no", 401)

    async def big(request: Request) -> Response:
        return Response(bytes(BIG_BYTES))

    async def crash(request: Request) -> Response:
        raise LookupError("a bug")

    async def held(request: Request) -> Response:
        witness.begun.set()
        await witness.release.wait()
        return PlainTextResponse("released")

    async def stuck(request: Request) -> Response:
        witness.begun.set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            witness.cancelled.set()
            raise

    async def until_gone(request: Request) -> Response:
        witness.begun.set()
        while (await request.receive())["type"] != "http.disconnect":
            pass
        witness.disconnected.set()
        return PlainTextResponse("gone")

    return [
        Route("/hello", hello),
        Route("/echo", echo, methods=["POST"]),
        Route("/early", early, methods=["POST"]),
        *[Route(f"/{view.__name__}", view) for view in (big, crash, held, stuck, until_gone)],
    ]


def _streams(witness: Witness) -> list[BaseRoute]:
    async def events(request: Request) -> Response:
        async def one_then_silence(write: Write) -> None:
            await write(b"data: first\n\n")
            witness.begun.set()
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                witness.cancelled.set()
                raise

        return EventStream(one_then_silence)

    async def flood(request: Request) -> Response:
        async def endless(write: Write) -> None:
            while True:
                await write(bytes(100_000))

        return EventStream(endless)

    return [Route("/events", events), Route("/flood", flood)]


def _sockets(witness: Witness) -> list[BaseRoute]:
    async def ws_echo(ws: WebSocket) -> None:
        await ws.accept(subprotocol="gavel.v1.json" if "gavel.v1.json" in ws.scope["subprotocols"] else None)
        witness.begun.set()
        try:
            while True:
                message = await ws.receive()
                if message["type"] == "websocket.disconnect":
                    witness.disconnected.set()
                    return
                await ws.send({"type": "websocket.send", "bytes": message.get("bytes"), "text": message.get("text")})
        except trio.Cancelled:
            witness.cancelled.set()
            raise

    async def ws_late(ws: WebSocket) -> None:
        witness.begun.set()
        await witness.release.wait()
        await ws_echo(ws)

    async def ws_push(ws: WebSocket) -> None:
        await ws.accept()
        try:
            while True:
                await ws.send_bytes(bytes(10_000))
        except WebSocketDisconnect:
            witness.disconnected.set()

    async def ws_refuse(ws: WebSocket) -> None:
        await ws.close()

    return [
        WebSocketRoute("/ws", ws_echo),
        WebSocketRoute("/ws/late", ws_late),
        WebSocketRoute("/ws/push", ws_push),
        WebSocketRoute("/ws/refuse", ws_refuse),
    ]


@dataclass
class Served:
    """A running server, what its handlers saw, and what it counted."""

    port: int
    witness: Witness
    counts: Counts
    shutdown: trio.Event
    ended: trio.Event = field(default_factory=trio.Event)

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def say(self, data: bytes, check: ssl.SSLContext | None = None) -> bytes:
        """Sends, reads until the server closes, and returns what it said."""
        stream: trio.abc.Stream = await self.connect()
        if check is not None:
            stream = trio.SSLStream(stream, check, server_hostname="127.0.0.1")
        async with stream:
            await stream.send_all(data)
            return await read_all(stream)

    async def answers(self, check: ssl.SSLContext | None = None) -> None:
        answer = await self.say(request("GET", "/hello", "Connection: close"), check)
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"\r\n\r\nhello")


@asynccontextmanager
async def served(
    app: Callable[..., Awaitable[None]] | None = None,
    *,
    certificates: Certificates | None = None,
    check: ssl.SSLContext | None = None,
    proxies: Proxies | None = None,
    per_address: PerAddress | None = None,
    **bounds: float,
) -> AsyncIterator[Served]:
    """A server that must, after the block, answer a normal request and end in time; under TLS, one that is sent with `check`."""
    witness, counts, shutdown = Witness(), Counts(), trio.Event()
    granted = Bounds(**{"shutdown_seconds_max": 1.0, "linger_seconds_max": 0.5, **bounds})  # type: ignore[arg-type]
    inner = app or make_app(witness)
    with trio.fail_after(GUARD_SECONDS):
        async with trio.open_nursery() as nursery:
            start = partial(
                serve,
                inner,
                bind="127.0.0.1:0",
                shutdown=shutdown,
                bounds=granted,
                counts=counts,
                certificates=certificates,
                proxies=proxies,
                per_address=per_address,
            )
            host, port = await nursery.start(start)
            assert host == "127.0.0.1"
            server = Served(port, witness, counts, shutdown)
            yield server
            if not shutdown.is_set() and (certificates is None or check is not None):
                await server.answers(check)
            shutdown.set()
        with pytest.raises(OSError, match="all attempts to connect"):
            await trio.open_tcp_stream("127.0.0.1", port)


def request(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: gavel", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin1") + b"\r\n\r\n" + body


def upgrade(path: str, *headers: str) -> bytes:
    fixed = [
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ]
    return request("GET", path, *fixed, *headers)


def frame(opcode: int, payload: bytes, *, fin: bool = True, rsv1: bool = False) -> bytes:
    first = fin << 7 | rsv1 << 6 | opcode
    size = len(payload)
    length = (
        bytes([128 | size])
        if size < 126
        else b"\xfe" + struct.pack("!H", size)
        if size < 65_536
        else b"\xff" + struct.pack("!Q", size)
    )
    return bytes([first]) + length + bytes(4) + payload  # masked with zeros


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    data = bytearray()
    try:
        while part := await stream.receive_some(65_536):
            data += part
    except trio.BrokenResourceError:
        pass
    return bytes(data)


async def read_head(stream: trio.SocketStream) -> bytes:
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        part = await stream.receive_some(1)
        assert part, data
        data += part
    return data


async def open_socket(server: Served, path: str = "/ws", *headers: str) -> trio.SocketStream:
    stream = await server.connect()
    await stream.send_all(upgrade(path, *headers))
    head = await read_head(stream)
    assert head.startswith(b"HTTP/1.1 101"), head
    return stream


def reset(stream: trio.SocketStream) -> None:
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


def bounded(app: Callable[..., Awaitable[None]], body_seconds_max: float = 60.0) -> Callable[..., Awaitable[None]]:
    limit = BodyLimit(bytes_max=1_000_000, seconds_max=body_seconds_max)
    return ClearFraming(BodyBounds(app, limit))

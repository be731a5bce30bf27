"""The door under attack, on real sockets: after each attack the same server answers the next client, and shuts down in time."""

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from zlib import compressobj

import hpack
import hyperframe.frame as h2
import pytest
import trio
import trio.testing
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, RejectConnection, TextMessage
from wsproto.events import Request as Upgrade

from gateway.bounds import BodyBounds, BodyLimit, ClearFraming
from gateway.problems import exception_handlers
from gateway.server import Bounds, Counts, PortTaken, serve

GUARD_SECONDS = 30  # no assertion about speed: only that the test ends
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
BIG_BYTES = 200_000_000


@dataclass
class Witness:
    """What the handlers of the test's app saw."""

    cancelled: trio.Event = field(default_factory=trio.Event)
    disconnected: trio.Event = field(default_factory=trio.Event)
    begun: trio.Event = field(default_factory=trio.Event)
    release: trio.Event = field(default_factory=trio.Event)


class Stream(Response):
    """A response whose parts are sent by a function. (Starlette's own takes a generator, which is left unfinished when its client goes.)"""

    def __init__(self, parts: Callable[[Send], Awaitable[None]], media_type: str) -> None:
        super().__init__(media_type=media_type)
        self.parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await self.parts(send)


def make_app(witness: Witness) -> Starlette:
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
        return PlainTextResponse("never")

    async def until_gone(request: Request) -> Response:
        witness.begun.set()
        while (await request.receive())["type"] != "http.disconnect":
            pass
        witness.disconnected.set()
        return PlainTextResponse("gone")

    async def events(request: Request) -> Response:
        async def one_then_silence(send: Send) -> None:
            await send({"type": "http.response.body", "body": b"data: first\n\n", "more_body": True})
            witness.begun.set()
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                witness.cancelled.set()
                raise

        return Stream(one_then_silence, "text/event-stream")

    async def flood(request: Request) -> Response:
        async def endless(send: Send) -> None:
            while True:
                await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})

        return Stream(endless, "application/octet-stream")

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

    return Starlette(
        routes=[
            Route("/hello", hello),
            Route("/echo", echo, methods=["POST"]),
            Route("/early", early, methods=["POST"]),
            *[Route(f"/{view.__name__}", view) for view in (big, crash, held, stuck, until_gone, events, flood)],
            WebSocketRoute("/ws", ws_echo),
            WebSocketRoute("/ws/late", ws_late),
            WebSocketRoute("/ws/push", ws_push),
            WebSocketRoute("/ws/refuse", ws_refuse),
        ],
        exception_handlers=dict(exception_handlers),
    )


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

    async def say(self, data: bytes) -> bytes:
        """Sends, reads until the server closes, and returns what it said."""
        async with await self.connect() as stream:
            await stream.send_all(data)
            return await read_all(stream)

    async def answers(self) -> None:
        answer = await self.say(request("GET", "/hello", "Connection: close"))
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"\r\n\r\nhello")


@asynccontextmanager
async def served(app: Callable[..., Awaitable[None]] | None = None, **bounds: float) -> AsyncIterator[Served]:
    """A server that must, after the block, answer a normal request and end in time."""
    witness, counts, shutdown = Witness(), Counts(), trio.Event()
    granted = Bounds(**{"shutdown_seconds_max": 1.0, "linger_seconds_max": 0.5, **bounds})  # type: ignore[arg-type]
    inner = app or make_app(witness)
    with trio.fail_after(GUARD_SECONDS):
        async with trio.open_nursery() as nursery:
            start = partial(serve, inner, bind="127.0.0.1:0", shutdown=shutdown, bounds=granted, counts=counts)
            host, port = await nursery.start(start)
            assert host == "127.0.0.1"
            server = Served(port, witness, counts, shutdown)
            yield server
            if not shutdown.is_set():
                await server.answers()
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


async def read_all(stream: trio.SocketStream) -> bytes:
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


def h2_headers(fields: list[tuple[bytes, bytes]], *, ends: bool = True) -> bytes:
    headers = h2.HeadersFrame(1)
    headers.flags.add("END_HEADERS")
    if ends:
        headers.flags.add("END_STREAM")
    headers.data = hpack.Encoder().encode(fields)
    return PREFACE + h2.SettingsFrame(0).serialize() + headers.serialize()


def test_the_version_whose_inner_names_are_used_is_installed() -> None:
    assert version("hypercorn") == "0.18.0"
    assert version("wsproto") == "1.3.2"
    assert version("h11") == "0.16.0"


# Ordinary service


async def test_one_connection_serves_many_requests_in_order() -> None:
    async with served() as server, await server.connect() as stream:
        await stream.send_all(
            request("GET", "/hello")
            + request("POST", "/echo", body=b"abc")
            + request("GET", "/hello", "Connection: close")
        )
        answer = await read_all(stream)
        assert answer.count(b"HTTP/1.1 200") == 3
        assert b"hellohttp/1.1 200" in answer.lower()
        assert server.counts.opened == 1


async def test_a_socket_echoes_text_bytes_and_pings() -> None:
    async with served() as server, await server.connect() as stream:
        client = WSConnection(ConnectionType.CLIENT)
        await stream.send_all(client.send(Upgrade(host="gavel", target="/ws", subprotocols=["gavel.v1.json"])))
        got: list[object] = []

        async def hear(count: int) -> None:
            while len(got) < count:
                client.receive_data(await stream.receive_some(65_536) or None)
                got.extend(client.events())

        await hear(1)
        accepted = got[0]
        assert isinstance(accepted, AcceptConnection)
        assert accepted.subprotocol == "gavel.v1.json"
        await stream.send_all(
            client.send(TextMessage("hä")) + client.send(BytesMessage(b"\x00\x01")) + client.send(Ping(b"p"))
        )
        await hear(4)
        assert {type(event) for event in got[1:4]} == {TextMessage, BytesMessage, Pong}
        await stream.send_all(client.send(CloseConnection(code=1000)))
        await hear(5)
        assert isinstance(got[4], CloseConnection)
        await server.witness.disconnected.wait()


async def test_a_refused_socket_gets_a_problem_document() -> None:
    async with served() as server:
        answer = await server.say(upgrade("/ws/refuse"))
        assert answer.startswith(b"HTTP/1.1 403")
        assert b"urn:gavel:problem:forbidden" in answer
        client = WSConnection(ConnectionType.CLIENT)
        client.send(Upgrade(host="gavel", target="/ws/refuse"))
        client.receive_data(answer)
        assert isinstance(next(client.events()), RejectConnection)


async def test_a_crash_in_a_handler_is_a_500_with_an_id_and_the_server_lives() -> None:
    async with served() as server:
        answer = await server.say(request("GET", "/crash", "Connection: close"))
        assert answer.startswith(b"HTTP/1.1 500")
        assert b"error_id" in answer
        assert server.counts.faults == 0


async def test_a_taken_port_is_named() -> None:
    async with served() as server:
        with pytest.raises(PortTaken, match=str(server.port)):
            await serve(make_app(Witness()), bind=f"127.0.0.1:{server.port}", shutdown=trio.Event())


@pytest.mark.parametrize("bind", ["", "8070", "host:", ":80", "127.0.0.1:99999", "127.0.0.1:http"])
async def test_a_bind_that_is_no_address_is_refused(bind: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        await serve(make_app(Witness()), bind=bind, shutdown=trio.Event())


# Attacks whose answer is known


@dataclass(frozen=True)
class Attack:
    name: str
    says: bytes
    hears: bytes


H2_GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"x"), (b":path", b"/hello")]
H2_POST = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"x"), (b":path", b"/early")]
UPGRADE_H2C = ["Connection: Upgrade, HTTP2-Settings, close", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"]

ANSWERED = [
    Attack("h2c_post_answered_before_its_body", h2_headers(H2_POST, ends=False), b"HTTP/1.1 505"),
    Attack("h2c_non_ascii_path", h2_headers([*H2_GET[:3], (b":path", b"/\xff")]), b"HTTP/1.1 505"),
    Attack("h2c_non_ascii_method", h2_headers([(b":method", b"G\xff"), *H2_GET[1:]]), b"HTTP/1.1 505"),
    Attack("h2c_connect_without_path", h2_headers([(b":method", b"CONNECT"), (b":authority", b"x")]), b"HTTP/1.1 505"),
    Attack("h2_priority_flood", PREFACE + b"".join(h2.PriorityFrame(n * 2 + 1).serialize() for n in range(3000)), b"HTTP/1.1 505"),
    Attack("h2_without_window", PREFACE + h2.SettingsFrame(0, {4: 0}).serialize() + h2_headers(H2_GET)[24:], b"HTTP/1.1 505"),
    Attack("h2c_upgrade_stays_http_1", request("GET", "/hello", *UPGRADE_H2C), b"HTTP/1.1 200"),
    Attack("non_ascii_subprotocol", upgrade("/ws", "Sec-WebSocket-Protocol: \xff\xfe"), b"HTTP/1.1 400"),
    Attack("non_ascii_extension", upgrade("/ws", "Sec-WebSocket-Extensions: \xff"), b"HTTP/1.1 400"),
    Attack("upgrade_without_key", upgrade("/ws").replace(b"Key", b"Kee"), b"HTTP/1.1 400"),
    Attack("upgrade_of_another_version", upgrade("/ws").replace(b"13", b"99"), b"HTTP/1.1 400"),
    Attack("upgrade_with_a_body", upgrade("/ws", "Content-Length: 3") + b"abc", b"HTTP/1.1 400"),
    Attack("content_length_and_transfer_encoding", request("POST", "/echo", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), b"HTTP/1.1 400"),
    Attack("two_content_lengths", request("POST", "/echo", "Content-Length: 1", "Content-Length: 2") + b"ab", b"HTTP/1.1 400"),
    Attack("unknown_transfer_encoding", request("POST", "/echo", "Transfer-Encoding: gzip"), b"HTTP/1.1 501"),
    Attack("head_over_the_bound", request("GET", "/hello", "X-Long: " + "x" * 40_000), b"HTTP/1.1 431"),
    Attack("not_http", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10 + b"\r\n\r\n", b"HTTP/1.1 400"),
    Attack("bad_chunk", request("POST", "/echo", "Transfer-Encoding: chunked") + b"zz\r\nabc\r\n", b"HTTP/1.1 400"),
    Attack("answer_before_a_long_body", request("POST", "/early", body=bytes(900_000)), b"HTTP/1.1 401"),
    Attack("body_of_10_mb", request("POST", "/echo", body=bytes(10_000_000)), b"HTTP/1.1 413"),
    Attack("chunked_body_of_10_mb", request("POST", "/echo", "Transfer-Encoding: chunked") + b"989680\r\n" + bytes(10_000_000), b"HTTP/1.1 413"),
]  # fmt: skip


def bounded(app: Callable[..., Awaitable[None]], body_seconds_max: float = 60.0) -> Callable[..., Awaitable[None]]:
    limit = BodyLimit(bytes_max=1_000_000, seconds_max=body_seconds_max)
    return ClearFraming(BodyBounds(app, limit))  # type: ignore[arg-type]


@pytest.mark.parametrize("attack", ANSWERED, ids=lambda attack: attack.name)
async def test_attack_is_answered_and_the_server_lives(attack: Attack) -> None:
    async with served(bounded(make_app(Witness()))) as server:
        answer = await server.say(attack.says)
        assert answer.startswith(attack.hears), answer[:300]
        assert attack.hears.endswith((b"200", b"401")) or b"urn:gavel:problem:" in answer
        assert b"101" not in answer[:20]
        assert server.counts.faults == 0


FRAMES = [
    Attack("reserved_bit_of_a_deflate_bomb", frame(2, compressobj(9, wbits=-15).compress(bytes(1000)) or b"x", rsv1=True), b"\x03\xea"),
    Attack("unknown_opcode", frame(0xB, b""), b"\x03\xea"),
    Attack("unmasked", b"\x81\x02hi", b"\x03\xea"),
    Attack("continuation_of_nothing", frame(0, b"abc"), b"\x03\xea"),
    Attack("not_utf8", frame(1, b"\xff\xff"), b"\x03\xef"),
    Attack("long_control_frame", frame(9, bytes(200)), b"\x03\xea"),
    Attack("fragmented_control_frame", frame(9, b"", fin=False), b"\x03\xea"),
    Attack("close_with_one_byte", frame(8, b"\x03"), b"\x03\xea"),
    Attack("message_over_the_bound", frame(2, bytes(70_000)), b"\x03\xf1"),
    Attack("fragments_over_the_bound", frame(2, bytes(40_000), fin=False) + frame(0, bytes(40_000), fin=False), b"\x03\xf1"),
    Attack("length_of_2_to_the_62", b"\x82\xff" + struct.pack("!Q", 2**62) + bytes(4) + bytes(200_000), b"\x03\xf1"),
]  # fmt: skip


@pytest.mark.parametrize("attack", FRAMES, ids=lambda attack: attack.name)
async def test_bad_frame_is_answered_with_a_close_that_names_the_fault(attack: Attack) -> None:
    async with served(message_bytes_max=65_536) as server, await open_socket(server) as stream:
        await stream.send_all(attack.says)
        answer = await read_all(stream)
        assert answer[0] == 0x88, answer[:40]
        assert answer[2:4] == attack.hears
        assert len(answer) > 4
        await server.witness.disconnected.wait()


@pytest.mark.parametrize("offer", ["permessage-deflate", "permessage-deflate; client_max_window_bits=banana"])
async def test_compression_is_never_agreed_upon(offer: str) -> None:
    async with served() as server, await server.connect() as stream:
        await stream.send_all(upgrade("/ws", f"Sec-WebSocket-Extensions: {offer}"))
        head = await read_head(stream)
        assert head.startswith(b"HTTP/1.1 101")
        assert b"extensions" not in head.lower()


@pytest.mark.parametrize("path", ["/ws", "/ws/late"])
async def test_frames_glued_to_the_upgrade_wait_for_its_answer(path: str) -> None:
    async with served() as server, await server.connect() as stream:
        await stream.send_all(upgrade(path) + frame(1, b"first") + frame(1, b"second"))
        await server.witness.begun.wait()
        server.witness.release.set()
        assert (await read_head(stream)).startswith(b"HTTP/1.1 101")
        got = b""
        while len(got) < 15:
            got += await stream.receive_some(100)
        assert got == b"\x81\x05first\x81\x06second"


async def test_many_empty_fragments_do_not_end_the_server() -> None:
    async with served() as server, await open_socket(server) as stream:
        await stream.send_all(frame(1, b"", fin=False) + frame(0, b"", fin=False) * 50_000 + frame(0, b"end"))
        assert await stream.receive_some(100) == b"\x81\x03end"


# Slow and silent clients


async def test_slow_head_is_cut_off() -> None:
    async with served(idle_seconds_max=0.3) as server, await server.connect() as stream:
        await stream.send_all(b"GET /hello HTTP/1.1\r\nHost:")
        assert (await read_all(stream)).startswith(b"HTTP/1.1 408")


async def test_silent_client_is_cut_off() -> None:
    async with served(idle_seconds_max=0.3) as server, await server.connect() as stream:
        assert await read_all(stream) == b""


async def test_slow_body_is_cut_off() -> None:
    async with served(bounded(make_app(Witness()), body_seconds_max=0.3)) as server, await server.connect() as stream:
        await stream.send_all(request("POST", "/echo", "Content-Length: 100") + b"x")
        answer = await read_all(stream)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"urn:gavel:problem:request_timeout" in answer


@pytest.mark.parametrize("path", ["/big", "/flood"])
async def test_client_that_stops_reading_is_dropped(path: str) -> None:
    async with served(send_seconds_max=0.3) as server, await server.connect() as stream:
        await stream.send_all(request("GET", path))
        await stream.receive_some(1)
        while not server.counts.stalled:
            await trio.testing.wait_all_tasks_blocked(0.05)


@pytest.mark.parametrize("path", ["/big", "/flood", "/ws/push"])
async def test_client_that_stops_reading_does_not_delay_the_shutdown(path: str) -> None:
    async with served() as server, await server.connect() as stream:
        await stream.send_all(upgrade(path) if path.startswith("/ws") else request("GET", path))
        await stream.receive_some(1)
        await server.answers()
        server.shutdown.set()


async def test_handler_that_sends_to_a_gone_socket_ends() -> None:
    async with served() as server:
        stream = await open_socket(server, "/ws/push")
        await stream.aclose()
        await server.witness.disconnected.wait()


async def test_handler_that_ignores_the_loss_of_its_client_stops_nobody_else() -> None:
    tries = 0

    async def deaf(scope: object, receive: object, send: Callable[[object], Awaitable[None]]) -> None:
        nonlocal tries
        if scope["type"] != "websocket":  # type: ignore[index]
            await make_app(Witness())(scope, receive, send)  # type: ignore[arg-type]
            return
        await send({"type": "websocket.accept"})
        while tries < 100_000:
            try:
                await send({"type": "websocket.send", "text": "x"})
            except OSError:
                tries += 1

    async with served(deaf) as server:
        stream = await open_socket(server)
        await stream.aclose()
        await server.answers()


async def test_endless_stream_to_a_gone_client_ends() -> None:
    ended = trio.Event()

    async def deaf(scope: object, receive: object, send: Callable[[object], Awaitable[None]]) -> None:
        if scope["path"] != "/deaf":  # type: ignore[index]
            await make_app(Witness())(scope, receive, send)  # type: ignore[arg-type]
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
        finally:
            ended.set()

    async with served(deaf) as server:
        stream = await server.connect()
        await stream.send_all(request("GET", "/deaf"))
        await stream.receive_some(10)
        reset(stream)
        await ended.wait()


async def test_half_closed_client_gets_its_answer() -> None:
    async with served() as server, await server.connect() as stream:
        await stream.send_all(request("GET", "/held"))
        await stream.send_eof()
        await server.witness.begun.wait()
        server.witness.release.set()
        assert (await read_all(stream)).endswith(b"released")


async def test_lost_client_reaches_a_waiting_handler() -> None:
    async with served() as server:
        stream = await server.connect()
        await stream.send_all(request("GET", "/until_gone"))
        await server.witness.begun.wait()
        reset(stream)
        await server.witness.disconnected.wait()


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"GET /he",
        request("POST", "/echo", "Content-Length: 100") + b"x",
        request("GET", "/flood"),
        upgrade("/ws"),
        upgrade("/ws/push"),
    ],
    ids=["at_once", "in_the_head", "in_the_body", "in_the_response", "in_a_socket", "while_pushed_to"],
)
async def test_reset_in_the_middle_ends_that_connection_alone(begin: bytes) -> None:
    async with served() as server:
        for _ in range(20):
            stream = await server.connect()
            await stream.send_all(begin)
            await server.answers()
            reset(stream)
        assert server.counts.faults == 0


async def test_body_that_nobody_reads_does_not_hold_its_connection() -> None:
    async with served() as server, await server.connect() as stream:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, request("POST", "/early", body=bytes(5_000_000)))
            assert (await read_all(stream)).startswith(b"HTTP/1.1 401")
            nursery.cancel_scope.cancel()


# Room and shutdown


async def test_idle_clients_make_room_for_new_ones() -> None:
    async with served(connections_max=50) as server:
        idle = [await server.connect() for _ in range(2000)]
        await server.answers()
        assert server.counts.evicted >= 1951
        assert server.counts.refused == 0
        for stream in idle:
            await stream.aclose()


async def test_when_every_place_is_in_use_the_next_client_is_refused_clearly() -> None:
    async with served(connections_max=1) as server:
        async with await open_socket(server):
            answer = await server.say(request("GET", "/hello"))
            assert answer.startswith(b"HTTP/1.1 503")
            assert b"urn:gavel:problem:service_unavailable" in answer
            assert server.counts.refused == 1
        await server.witness.disconnected.wait()


async def test_shutdown_says_goodbye_to_sockets_and_cancels_their_handlers() -> None:
    async with served(shutdown_seconds_max=60) as server, await open_socket(server) as stream:
        await server.witness.begun.wait()
        server.shutdown.set()
        assert (await read_all(stream))[2:4] == b"\x03\xe9"
        await server.witness.cancelled.wait()


async def test_shutdown_ends_event_streams_cleanly() -> None:
    async with served(shutdown_seconds_max=60) as server, await server.connect() as stream:
        await stream.send_all(request("GET", "/events"))
        await server.witness.begun.wait()
        server.shutdown.set()
        assert (await read_all(stream)).endswith(b"0\r\n\r\n")
        await server.witness.cancelled.wait()


async def test_shutdown_lets_an_answer_under_way_finish_and_closes_idle_clients() -> None:
    async with (
        served(shutdown_seconds_max=60) as server,
        await server.connect() as busy,
        await server.connect() as idle,
    ):
        await busy.send_all(request("GET", "/held"))
        await server.witness.begun.wait()
        server.shutdown.set()
        assert await read_all(idle) == b""
        server.witness.release.set()
        answer = await read_all(busy)
        assert answer.endswith(b"released")
        assert b"connection: close" in answer


async def test_shutdown_cancels_what_does_not_finish_in_time() -> None:
    async with served() as server, await server.connect() as stream:
        await stream.send_all(request("GET", "/stuck"))
        await server.witness.begun.wait()
        server.shutdown.set()
        await server.witness.cancelled.wait()


async def test_cancelling_the_server_ends_it_too() -> None:
    with trio.fail_after(GUARD_SECONDS):
        async with trio.open_nursery() as nursery:
            start = partial(serve, make_app(Witness()), bind="127.0.0.1:0", shutdown=trio.Event())
            _, port = await nursery.start(start)
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(request("GET", "/stuck"))
                nursery.cancel_scope.cancel()

"""Who talks to the house: raw attackers, whose answers are read strictly, and innocent clients, who must be served meanwhile."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Protocol, cast

import h11
import httpx2
import msgspec
import trio
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import Event as WebSocketsEvent
from websockets.uri import parse_uri

from tests.gateway import clients
from tests.gateway.attacks.house import GUARD_SECONDS, House
from tests.gateway.raw import frame, read_all, read_head, request, reset, upgrade

SERVED_SECONDS_MAX = 2.0
"""Within so much time everybody else is served; a busy machine may fail at that once."""

PAUSE_SECONDS = 0.02
JSON = "Content-Type: application/json"
MSGPACK = "Content-Type: application/msgpack"
CLOSE = "Connection: close"
CHUNKED = "Transfer-Encoding: chunked"
INNOCENTS = ("innocent-1", "innocent-2")
MALLORY = "mallory"
SLOW = ("slow-1", "slow-2", "slow-3")
LEASE_SECONDS = 10.0
PIECE_BYTES = 2**20
ROGUE, IDLER = "rogue", "idler"
"""Each is called alone for what needs a skill of its name."""


# ---- attackers


@dataclass
class Answer:
    """A response, as a strict reader takes it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """Which problem it tells of."""
        assert self.headers["content-type"] == "application/problem+json", self
        return str(msgspec.json.decode(self.body)["type"]).removeprefix("urn:gavel:problem:")


def answers(raw: bytes, *methods: str) -> list[Answer]:
    """What the node has said, each answer to a request of one of these methods (GET). Fails where it is no HTTP."""
    found: list[Answer] = []
    while raw:
        method = methods[len(found)] if len(found) < len(methods) else "GET"
        reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        reader.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        reader.send(h11.EndOfMessage())
        reader.receive_data(raw)
        reader.receive_data(b"")
        answer = _next(reader)
        if answer is None:
            break
        found.append(answer)
        raw = reader.trailing_data[0]
    return found


def _next(reader: h11.Connection) -> Answer | None:
    body, head = b"", None
    while True:
        match event := reader.next_event():
            case h11.InformationalResponse():
                pass
            case h11.Response():
                head = event
            case h11.Data():
                body += event.data
            case h11.EndOfMessage():
                assert head is not None
                headers = {name.decode().lower(): value.decode("latin1") for name, value in head.headers}
                return Answer(head.status_code, headers, body)
            case _:
                return None


async def say(house: House, says: bytes, *, cut: int = 0) -> bytes:
    """Sends it all, or in pieces of `cut` bytes, and reads until the node closes."""
    async with await house.connect() as stream, trio.open_nursery() as nursery:
        nursery.start_soon(_send, stream, says, cut or len(says) or 1)
        heard = await read_all(stream)
        nursery.cancel_scope.cancel()
    return heard


async def _send(stream: trio.SocketStream, says: bytes, cut: int) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await _send_each(stream, (says[start : start + cut] for start in range(0, len(says), cut)))


async def answered(house: House, says: bytes, *statuses: int, method: str = "GET") -> Answer:
    """One answer with one of these statuses, after which the node closes."""
    heard = answers(await say(house, says), method)
    assert [one.status in statuses for one in heard] == [True], (says[:300], statuses, heard)
    return heard[0]


async def refused(house: House, status: int, *variants: bytes) -> None:
    """Each is answered with that status and a problem document, and the connection ends."""
    for says in variants:
        answer = await answered(house, says, status)
        assert answer.code, says[:300]
        assert "close" in answer.headers["connection"].split(", "), says[:300]


def post(house: House, body: bytes, *headers: str, path: str = "/v1/tasks") -> bytes:
    """A request of the admin with a body; JSON unless a header names another type."""
    named = headers if any(one.lower().startswith("content-type") for one in headers) else (JSON, *headers)
    return request("POST", path, house.admin, CLOSE, *named, body=body)


async def open_agent(house: House, *headers: str, name: str = MALLORY) -> trio.SocketStream:
    """The websocket of an agent, welcomed."""
    return await _upgraded(house, upgrade(f"/v1/agents/{name}/ws", house.agent(name), *headers))


async def open_feed(house: House, path: str = "/v1/feed") -> trio.SocketStream:
    """A websocket on the log."""
    return await _upgraded(house, upgrade(path, house.admin))


async def _upgraded(house: House, says: bytes) -> trio.SocketStream:
    stream = await house.connect()
    try:
        await stream.send_all(says)
        head = await read_head(stream)
        assert head.startswith(b"HTTP/1.1 101"), head
    except BaseException:
        reset(stream)
        raise
    return stream


@dataclass
class Heard:
    """What a websocket's server said: its messages, and the code of its close."""

    messages: list[bytes] = field(default_factory=list)
    pongs: int = 0
    code: int = 0


async def hear(stream: trio.SocketStream) -> Heard:
    """Reads frames until the node closes. Fails where they are none."""
    data, heard = await read_all(stream), Heard()
    while data:
        opcode, size, start = data[0] & 15, data[1], 2
        assert data[0] & 0xF0 == 0x80, data[:20]
        assert size < 128, data[:20]
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        payload, data = data[start : start + size], data[start + size :]
        match opcode:
            case 1 | 2:
                heard.messages.append(payload)
            case 8:
                heard.code = int.from_bytes(payload[:2], "big")
                assert not data, data[:20]
            case 10:
                heard.pongs += 1
            case _:
                assert opcode == 9
    return heard


async def closed_with(house: House, code: int, *variants: bytes) -> None:
    """Each of these bytes, sent on a websocket, is answered by a close with that code."""
    for says in variants:
        async with await open_agent(house) as stream:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(says)
            heard = await hear(stream)
            assert heard.code == code, (says[:60], heard)


async def told(house: House, *frames: bytes, count: int = 0, protocol: str = "") -> list[dict[str, Any]]:
    """What an agent is told about its frames, each of which is a message, unless there are so many: acks and problems."""
    headers = [f"Sec-WebSocket-Protocol: {protocol}"] if protocol else []
    decode = msgspec.msgpack.decode if protocol.endswith("msgpack") else msgspec.json.decode
    found: list[dict[str, Any]] = []
    async with await open_agent(house, *headers) as stream:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send_each, stream, frames)
            async with aclosing(_messages(stream)) as messages:
                async for message in messages:
                    answer = decode(message)
                    found += [answer] if answer["type"] in ("ack", "problem") else []
                    if len(found) == (count or len(frames)):
                        break
        await stream.send_all(frame(8, b"\x03\xe8"))
        await read_all(stream)
    return found


async def _send_each(stream: trio.SocketStream, parts: Iterable[bytes]) -> None:
    for part in parts:
        await stream.send_all(part)


async def _messages(stream: trio.SocketStream) -> AsyncGenerator[bytes, None]:
    data = b""
    while True:
        while len(data) >= 4:
            size, start = data[1], 2
            if size >= 126:
                start = 4 if size == 126 else 10
                size = int.from_bytes(data[2:start], "big")
            if len(data) < start + size:
                break
            if data[0] & 15 in (1, 2):
                yield data[start : start + size]
            data = data[start + size :]
        part = await stream.receive_some(65_536)
        assert part, data
        data += part


# ---- innocent clients


async def served(exchange: Callable[[], Awaitable[None]]) -> None:
    """The exchange, within the time that everybody has."""
    for _ in range(2):
        with trio.move_on_after(SERVED_SECONDS_MAX):
            await exchange()
            return
    raise AssertionError(f"an innocent client was not served within {SERVED_SECONDS_MAX:g} s")


class Innocent(Protocol):
    """Somebody who only wants to be served."""

    async def exchange(self) -> None: ...


class Caller:
    """Somebody who asks for a page of tasks, each time on a new connection; if patient, again where there is no room for one more."""

    def __init__(self, house: House, *, is_patient: bool) -> None:
        self._house = house
        self._statuses = (200, 503) if is_patient else (200,)

    async def exchange(self) -> None:
        asked = request("GET", "/v1/tasks?limit=1", self._house.admin, CLOSE)
        if (await answered(self._house, asked, *self._statuses)).status != 200:
            await trio.sleep(PAUSE_SECONDS)
            await self.exchange()


class Wsproto:
    """An agent that beats, by way of wsproto."""

    def __init__(self, socket: clients.Socket) -> None:
        self._socket = socket
        self._beats = 0

    async def exchange(self) -> None:
        self._beats += 1
        await self._socket.send(type="heartbeat", id=self._beats)
        while (await self._socket.receive()).get("id") != self._beats:
            pass


class Websockets:
    """An agent that beats, by way of the library `websockets`."""

    def __init__(self, house: House, stream: trio.SocketStream) -> None:
        self._stream = stream
        uri = parse_uri(f"{house.url.replace('http', 'ws')}/v1/agents/{INNOCENTS[1]}/ws")
        self._protocol = ClientProtocol(uri, subprotocols=cast(Any, ["gavel.v1.msgpack"]))
        self._key = house.agent_keys[INNOCENTS[1]]
        self._events: list[WebSocketsEvent] = []
        self._beats = 0

    async def open(self) -> None:
        asked = self._protocol.connect()
        asked.headers["Authorization"] = f"Bearer {self._key}"
        self._protocol.send_request(asked)
        await self._next()
        assert self._protocol.handshake_exc is None, self._protocol.handshake_exc

    async def exchange(self) -> None:
        self._beats += 1
        self._protocol.send_binary(msgspec.msgpack.encode({"type": "heartbeat", "id": self._beats}))
        while True:
            event = await self._next()
            if not isinstance(event, Frame) or event.opcode is not Opcode.BINARY:
                continue
            if msgspec.msgpack.decode(event.data).get("id") == self._beats:
                return

    async def _next(self) -> WebSocketsEvent:
        while not self._events:
            for data in self._protocol.data_to_send():
                await self._stream.send_all(data)
            self._protocol.receive_data(await self._stream.receive_some(65_536))
            self._events = self._protocol.events_received()
        return self._events.pop(0)


@asynccontextmanager
async def innocents(house: House, *, are_patient: bool = False) -> AsyncIterator[None]:
    """A caller and two agents, who are served before, during and after what the block does."""
    async with AsyncExitStack() as stack:
        node: Any = SimpleNamespace(url=house.url)
        path = f"/v1/agents/{INNOCENTS[0]}/ws"
        socket = await stack.enter_async_context(clients.open_socket(node, path, house.agent_keys[INNOCENTS[0]]))
        stream = await stack.enter_async_context(await house.connect())
        other = Websockets(house, stream)
        await other.open()
        all_of_them: list[Innocent] = [Caller(house, is_patient=are_patient), Wsproto(socket), other]
        for one in all_of_them:
            await served(one.exchange)
        async with trio.open_nursery() as nursery:
            over = trio.Event()
            for one in all_of_them:
                nursery.start_soon(_go_on, one.exchange, over)
            yield
            over.set()
        for one in all_of_them:
            await served(one.exchange)


async def _go_on(exchange: Callable[[], Awaitable[None]], over: trio.Event) -> None:
    while not over.is_set():
        await served(exchange)
        with trio.move_on_after(PAUSE_SECONDS):
            await over.wait()


async def _bring(admin: clients.Client, content: bytes) -> str:
    """Has the house hold a blob, in as many requests as it takes: the house waits for none of them longer than its patience."""
    begun = await admin.ask("POST", "/v1/blobs/uploads", {"length": len(content)})
    headers = {"Authorization": f"Bearer {admin.key}", "Content-Type": "application/offset+octet-stream"}
    offset = 0
    while True:
        piece = content[offset : offset + PIECE_BYTES]
        at = {"Upload-Offset": str(offset)}
        told = await admin.http.patch(
            f"{admin.node.url}{begun.headers['location']}", content=piece, headers=headers | at
        )
        assert told.status_code in (201, 204, 408, 409), told.text
        if told.status_code == 201:
            return str(told.json()["sha256"])
        upload = await admin.get(begun.headers["location"])  # what came of a piece that took too long stays
        offset = upload["offset"]


async def furnish(house: House) -> None:
    """Registers the agents, and has the house hold what takes long to read: a large blob, and a log of many megabytes."""
    content = bytes(range(256)) * 4 * 20_480  # 20 MiB
    # The house closes a connection that is idle for as little as its patience: each request has one of its own.
    one_each = httpx2.Limits(max_keepalive_connections=0)
    async with httpx2.AsyncClient(timeout=GUARD_SECONDS, verify=False, limits=one_each) as http:
        node: Any = SimpleNamespace(url=house.url)
        admin = clients.Client(node, http, house.admin_key)
        for name in (*INNOCENTS, MALLORY, *SLOW):
            house.agent_keys[name] = (await admin.register(name)).key
        for name in (ROGUE, IDLER):
            # No lease is judged before the node could have heard of its holder for a whole term: a short one here.
            agent = await admin.register(name, capabilities=[name], heartbeat_timeout=LEASE_SECONDS)
            house.agent_keys[name] = agent.key
        house.digest = await _bring(admin, content)
        await admin.register("hermit", capabilities=["patience"])  # who alone is called for these, and is not here
        for _ in range(
            120
        ):  # one after the other: so many at once would wait for each other longer than the house waits
            await admin.submit(capabilities=["patience"], payload={"filling": "x" * 60_000})

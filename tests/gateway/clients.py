"""Clients of a real node over real sockets: HTTP by httpx2, websockets by wsproto, both on Trio."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import msgspec
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

from aggregates.key import IssueKey
from aggregates.values.roles import Role
from gateway.identity.auth import digest_of
from gateway.identity.cookies import COOKIE
from gateway.node import Elements, Node, open_node
from gateway.settings import GavelSettings
from runtime.delivery import Context
from tests.gateway import documented

GUARD_SECONDS = 120  # no assertion about speed: only that the test ends
AGENT = {"name": "Solver", "agent_type": "performance", "capabilities": ["cutting"]}
TASK = {"task_type": "analysis", "capabilities": ["cutting"], "payload": {"n": 1}, "bidding_seconds": 10.0}
BID = {"price": 1.0, "eta_seconds": 5.0}


def settings_of(folder: Path, **changed: Any) -> GavelSettings:
    unwatched = {"handler_warn_seconds": 0.0, "handler_seconds_max": 0.0}
    changed["bind"] = changed.get("bind", ("127.0.0.1:0",))
    if isinstance(changed["bind"], str):
        changed["bind"] = (changed["bind"],)
    return GavelSettings(data=folder / "data", **{"house_solver": False, **unwatched, **changed})


@dataclass
class Client:
    """Somebody with a key."""

    node: Node
    http: httpx2.AsyncClient
    key: str

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        """Sends a body as JSON; whatever comes back is as the API document says."""
        named = {"Authorization": f"Bearer {self.key}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        answer = await self.http.request(method, self.node.url + path, json=body, headers=named)
        documented.check(answer)
        return answer

    async def upload(self, content: bytes, digest: str = "") -> httpx2.Response:
        """Sends a blob under its digest, or another."""
        path = f"{self.node.url}/v1/blobs/{digest or sha256(content).hexdigest()}"
        answer = await self.http.put(path, content=content, headers={"Authorization": f"Bearer {self.key}"})
        documented.check(answer)
        return answer

    async def get(self, path: str) -> Any:
        answer = await self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def submit(self, **changed: Any) -> str:
        answer = await self.ask("POST", "/v1/tasks", TASK | changed)
        assert answer.status_code == 202, answer.text
        task_id: str = answer.json()["task_id"]
        return task_id

    async def register(self, agent_id: str, **changed: Any) -> "AgentClient":
        answer = await self.ask("POST", "/v1/agents", AGENT | {"id": agent_id} | changed)
        assert answer.status_code == 201, answer.text
        return AgentClient(self.node, self.http, answer.json()["key"], agent_id)

    async def person(self, name: str, role: str = "worker", **profile: Any) -> "Person":
        """A user of that role who is signed in; with an inbox, where a profile is said."""
        password = "correct horse battery"
        body = {"username": name, "email": f"{name}@example.org", "role": role, "password": password}
        made = await self.ask("POST", "/v1/users", body)
        assert made.status_code == 201, made.text
        self.http.cookies.clear()
        given = {"name": name, "password": password}
        answer = await self.http.post(f"{self.node.url}/session/password", json=given)
        assert answer.status_code == 200, answer.text
        cookie = self.http.cookies.get(COOKIE)
        self.http.cookies.clear()
        person = Person(self.node, self.http, "", made.json()["user_id"], f"{COOKIE}={cookie}")
        if profile:
            joined = await person.ask("PUT", "/v1/inbox/profile", profile)
            assert joined.status_code == 200, joined.text
        return person

    async def dead_letter(self) -> str:
        """A task whose one attempt has failed."""
        agent = await self.register("once", capabilities=["once"])
        task_id = await self.submit(capabilities=["once"], attempts_max=1)
        await recorded(self, "task.BookOpened", f"task-{task_id}")
        assert (await agent.ask("POST", f"/v1/tasks/{task_id}/bids", BID)).status_code == 201
        await recorded(self, "task.TaskAwarded", f"task-{task_id}")
        failed = {"status": "failed", "token": 1, "reason": "too hard"}
        assert (await agent.ask("PUT", f"/v1/tasks/{task_id}/status", failed)).status_code == 200
        return task_id

    async def question(self) -> str:
        """A task whose holder has asked a question."""
        agent = await self.register("asker", capabilities=["asking"])
        task_id = await self.submit(capabilities=["asking"])
        await recorded(self, "task.BookOpened", f"task-{task_id}")
        assert (await agent.ask("POST", f"/v1/tasks/{task_id}/bids", BID)).status_code == 201
        await recorded(self, "task.TaskAwarded", f"task-{task_id}")
        asked = await agent.ask("POST", f"/v1/tasks/{task_id}/questions", {"token": 1, "question": "which language?"})
        assert asked.status_code == 201, asked.text
        return task_id

    async def with_role(self, role: Role, tenant: str = "default") -> "Client":
        """A client with a new key; of another tenant where one is named."""
        key_id = self.node.system.ids.new()
        token = self.node.tokens.token(key_id)
        issue = IssueKey(key_id=key_id, role=role, digest=digest_of(token))
        await self.node.system.ask(issue, Context(tenant=tenant, principal="test"))
        return Client(self.node, self.http, token)


@dataclass
class Person(Client):
    """A user who is signed in: a browser's cookie, and no key."""

    user_id: str
    cookie: str

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        """As the node's own page asks."""
        named = {"Cookie": self.cookie, "Origin": self.node.url} | {k.replace("_", "-"): v for k, v in headers.items()}
        answer = await self.http.request(method, self.node.url + path, json=body, headers=named)
        documented.check(answer)
        return answer

    @property
    def agent_id(self) -> str:
        """The agent that they are."""
        return f"person-{self.user_id}"


@dataclass
class AgentClient(Client):
    """A registered agent with its own key."""

    agent_id: str

    @asynccontextmanager
    async def socket(
        self, after: int | None = None, protocol: str = "gavel.v1.json", agent_id: str = "", **headers: str
    ) -> AsyncIterator["Socket"]:
        query = "" if after is None else f"?after={after}"
        path = f"/v1/agents/{agent_id or self.agent_id}/ws{query}"
        async with open_socket(self.node, path, self.key, protocol, **headers) as socket:
            yield socket


class Denied(Exception):
    """The handshake was refused, with this status and problem document."""

    def __init__(self, status: int, document: Any) -> None:
        super().__init__(f"{status}: {document}")
        self.status = status
        self.document = document


class Closed(Exception):
    """The server has closed the socket."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code


class Socket:
    """A websocket client that speaks frames."""

    def __init__(self, stream: trio.SocketStream, is_text: bool, path: str = "") -> None:
        self.stream = stream
        self.path = path
        self.wire = WSConnection(ConnectionType.CLIENT)
        self.is_text = is_text
        self._events: list[Event] = []

    async def event(self) -> Event:
        while not self._events:
            data = await self.stream.receive_some(65_536)
            self.wire.receive_data(data or None)
            self._events = list(self.wire.events())
        return self._events.pop(0)

    async def send_event(self, event: Event) -> None:
        await self.stream.send_all(self.wire.send(event))

    async def send(self, **frame: Any) -> None:
        if self.is_text:
            await self.send_event(TextMessage(data=msgspec.json.encode(frame).decode()))
        else:
            await self.send_event(BytesMessage(data=msgspec.msgpack.encode(frame)))

    async def receive(self) -> dict[str, Any]:
        """The next frame."""
        received: str | bytes = "" if self.is_text else b""
        while True:
            event = await self.event()
            match event:
                case Message():
                    received += event.data
                    if event.message_finished:
                        decode: Any = msgspec.json.decode if self.is_text else msgspec.msgpack.decode
                        frame: dict[str, Any] = decode(received)
                        documented.check_frame(self.path, frame)
                        return frame
                case Ping():
                    await self.send_event(event.response())
                case CloseConnection():
                    raise Closed(event.code, event.reason or "")

    async def next(self, kind: str) -> dict[str, Any]:
        """The next frame that says more than how far the log is; it must be of this type."""
        frame = await self.receive()
        while frame["type"] == "position":
            frame = await self.receive()
        assert frame["type"] == kind, frame
        return frame

    async def ask(self, **frame: Any) -> dict[str, Any]:
        """Sends a frame and returns its ack or problem; nothing else may come between."""
        await self.send(id="asked", **frame)
        answer = await self.receive()
        while answer["type"] == "position":
            answer = await self.receive()
        assert answer.pop("id") == "asked", answer
        if answer["type"] == "ack":
            documented.check_frame(self.path, frame, "receive")
        return answer


@asynccontextmanager
async def open_socket(
    node: Node, path: str, key: str, protocol: str = "gavel.v1.json", **headers: str
) -> AsyncIterator[Socket]:
    address = urlsplit(node.url)
    stream = await trio.open_tcp_stream(address.hostname or "", address.port or 0)
    async with stream:
        socket = Socket(stream, is_text=protocol != "gavel.v1.msgpack", path=path)
        sent = {"Authorization": f"Bearer {key}", **headers}
        lines = [(name.encode(), value.encode()) for name, value in sent.items()]
        offered = [protocol] if protocol else []
        request = Request(host=address.netloc, target=path, subprotocols=offered, extra_headers=lines)
        await socket.send_event(request)
        match await socket.event():
            case AcceptConnection() as accepted:
                assert accepted.subprotocol == (protocol or None)
            case RejectConnection() as rejected:
                body = b""
                while isinstance(event := await socket.event(), RejectData):
                    body += event.data
                    if event.body_finished:
                        break
                raise Denied(rejected.status_code, msgspec.json.decode(body))
        yield socket


@asynccontextmanager
async def open_client(
    settings: GavelSettings, *, guard_seconds: float = GUARD_SECONDS, elements: Elements | None = None
) -> AsyncIterator[Client]:
    """A node, and its admin."""
    with trio.fail_after(guard_seconds):
        # No TLS on loopback: to read the machine's certificates for each client took a third of a node's life.
        async with (
            open_node(settings, elements=elements) as node,
            httpx2.AsyncClient(timeout=GUARD_SECONDS, verify=False) as http,
        ):
            yield Client(node, http, node.admin_token)
        assert (node.counts.faults, node.counts.handler_faults) == (0, 0)


def told(answer: httpx2.Response) -> str:
    """What an answer says, whatever its request was called."""
    return re.sub(r',"instance":"urn:gavel:request:[^"]*"', "", answer.text)


async def recorded(admin: Client, kind: str, stream: str = "") -> int:
    """Waits until an event of this kind stands in the log, or in a stream of it, and tells where."""
    journal, position = admin.node.system.journal, 0
    while True:
        for record in await journal.read(position):
            position = record.position
            if record.kind == kind and stream in ("", record.stream):
                return position
        await journal.wait_past(position)

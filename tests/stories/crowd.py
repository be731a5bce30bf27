"""A crowd of agents on websockets of their own, half of which can't be relied on, and who come back to whatever node there is.

Slow ones answer calls too late, silent ones often not at all; some are killed in the midst of their work and come back with nothing but
the ledger, some claim to have all the room in the world and do one thing at a time; some start everything twice, some tell results after
their lease was taken, and some are cut off by every third award.
"""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any
from urllib.parse import urlsplit

import httpx2
import msgspec
import trio
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, RejectConnection, Request
from wsproto.utilities import ProtocolError

from tests.gateway.clients import Closed, Socket
from tests.stories.outside import Outside, Work

HABITS = ("honest", "slow", "honest", "silent", "honest", "killed", "honest", "boastful", "honest", "hasty", "honest", "late",
          "honest", "cut_off")  # fmt: skip
PROTOCOL = "gavel.v1.msgpack"
LATENESS_SHARE = 0.15
GONE = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, Closed, ProtocolError)
PAUSE_SECONDS = (0.05, 1.0)
HTTP_GONE = (httpx2.NetworkError, httpx2.RemoteProtocolError, httpx2.TimeoutException)
HTTP_SECONDS = 60.0
CLIENTS_AT_ONCE = 40


@dataclass(frozen=True)
class Scale:
    """How much of it there is, and how long things take."""

    agents: int
    tasks: int
    kills: tuple[float, ...]
    """After which shares of the submissions the node is killed."""
    lease_seconds: float
    budget_seconds: float
    open_max: int

    @property
    def skills(self) -> tuple[str, ...]:
        """So many that a call goes to some ten agents."""
        return tuple(f"skill-{number}" for number in range(max(3, self.agents // 5)))


@dataclass
class Town:
    """Where the crowd lives: the node of the moment, the outside world, and what was seen of the node's answers."""

    scale: Scale
    seed: int
    outside: Outside
    http: httpx2.AsyncClient
    url: str = ""
    admin: str = ""
    is_calm: bool = False
    """From then on everybody is honest, so that it comes to an end."""
    refusals: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    _up: trio.Event = field(default_factory=trio.Event)
    _at_once: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(CLIENTS_AT_ONCE))

    def opens(self, url: str, admin: str) -> None:
        """There is a node."""
        self.url, self.admin = url, admin
        self._up.set()

    def closes(self) -> None:
        """There is none."""
        self._up = trio.Event()

    async def door(self) -> str:
        """Where the node is, as soon as there is one."""
        await self._up.wait()
        return self.url

    async def ask(self, method: str, path: str, body: Any = None, key: str = "") -> httpx2.Response:
        """The admin's request, again and again until a node has answered it and had room."""
        async with self._at_once:
            while True:
                url = await self.door()
                headers = {"Authorization": f"Bearer {self.admin}"} | ({"Idempotency-Key": key} if key else {})
                try:
                    answer = await self.http.request(method, url + path, json=body, headers=headers)
                except HTTP_GONE:
                    await trio.sleep(0.1)
                    continue
                if answer.status_code not in (429, 503):
                    return answer
                await trio.sleep(float(answer.headers.get("retry-after", 1)))


class Wire(Socket):
    """A websocket that takes frames as they come: of hundreds of thousands, nobody checks each against the document."""

    def __init__(self, stream: trio.SocketStream) -> None:
        super().__init__(stream, is_text=False)
        self._sending = trio.Lock()

    async def send(self, **frame: Any) -> None:
        async with self._sending:
            await super().send(**frame)

    async def receive(self) -> dict[str, Any]:
        received = b""
        while True:
            match event := await self.event():
                case BytesMessage():
                    received += event.data
                    if event.message_finished:
                        frame: dict[str, Any] = msgspec.msgpack.decode(received)
                        return frame
                case Ping():
                    async with self._sending:
                        await self.send_event(event.response())
                case CloseConnection():
                    raise Closed(event.code, event.reason or "")


@asynccontextmanager
async def open_wire(url: str, path: str, key: str) -> AsyncIterator[Wire]:
    """Raises Closed where the node lets nobody in at the moment."""
    address = urlsplit(url)
    async with await trio.open_tcp_stream(address.hostname or "", address.port or 0) as stream:
        wire = Wire(stream)
        headers = [(b"Authorization", f"Bearer {key}".encode())]
        await wire.send_event(Request(host=address.netloc, target=path, subprotocols=[PROTOCOL], extra_headers=headers))
        match await wire.event():
            case AcceptConnection():
                yield wire
            case RejectConnection() as rejected:
                raise Closed(rejected.status_code, "not let in")


class Member:
    """One of the crowd."""

    def __init__(self, town: Town, number: int) -> None:
        self.town = town
        self.name = f"agent-{number:03}"
        self._kind = HABITS[number % len(HABITS)]
        self._chance = Random(f"{town.seed} {self.name}")
        skills = town.scale.skills
        self._skills = sorted({skills[number % len(skills)], self._chance.choice(skills)})
        self._key = ""
        self._after: int | None = None
        self._numbers = count()
        self._hands = trio.CapacityLimiter(1)

    @property
    def habit(self) -> str:
        return "honest" if self.town.is_calm else self._kind

    async def live(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Registers, then works at whatever node there is, until cancelled."""
        body = {
            "id": self.name,
            "name": self.name,
            "agent_type": "operations",
            "capabilities": self._skills,
            "slots": 16 if self._kind == "boastful" else 4,
            "max_capacity": 1e6 if self._kind == "boastful" else 100.0,
        }
        answer = await self.town.ask("POST", "/v1/agents", body, f"register-{self.name}")
        assert answer.status_code == 201, answer.text
        self._key = answer.json()["key"]
        task_status.started()
        while True:
            url = await self.town.door()
            query = "" if self._after is None else f"?after={self._after}"
            try:
                async with open_wire(url, f"/v1/agents/{self.name}/ws{query}", self._key) as wire:
                    self.town.connections += 1
                    await Shift(self, wire).run()
            except* GONE:
                pass  # the node was killed, or this agent was
            away = self._chance.uniform(*PAUSE_SECONDS)
            if self.habit == "killed" and self._chance.random() < 0.5:
                away = self._chance.uniform(0.5, 2.5) * self.town.scale.lease_seconds
            await trio.sleep(away)


class Shift:
    """A member on one connection: what it has begun ends with it, and what is unsettled is told anew on the next."""

    def __init__(self, member: Member, wire: Wire) -> None:
        self.member = member
        self.town = member.town
        self._wire = wire
        self._chance = member._chance
        self._answers: dict[str, trio.Event] = {}
        self._frames: dict[str, dict[str, Any]] = {}
        self._begun: set[Work] = set()

    async def run(self) -> None:
        """Hears and works until the connection is gone."""
        async with trio.open_nursery() as nursery:
            for work in self.town.outside.unsettled(self.member.name):
                nursery.start_soon(self._tell, work)  # though a newer token may have been there since: the node says so
            while True:
                frame = await self._wire.receive()
                match frame:
                    case {"type": "call"}:
                        nursery.start_soon(self._answer, frame)
                    case {"type": "award", "task_id": task_id, "token": token}:
                        self._take(nursery, Work(task_id, token))
                    case {"type": "ack" | "problem", "id": name} if name in self._answers:
                        self._frames[name] = frame
                        self._answers.pop(name).set()
                self.member._after = frame.get("position", self.member._after)

    def _take(self, nursery: trio.Nursery, work: Work) -> None:
        if self.member.habit == "cut_off" and self._chance.random() < 0.3:
            raise Closed(1006, "cut off")
        if work in self._begun:
            return  # told again after the welcome
        self._begun.add(work)
        for _ in range(2 if self.member.habit == "hasty" else 1):
            nursery.start_soon(self._do, work)

    async def _say(self, **frame: Any) -> dict[str, Any]:
        """What the node answers."""
        name = str(next(self.member._numbers))
        answered = self._answers[name] = trio.Event()
        await self._wire.send(id=name, **frame)
        await answered.wait()
        answer = self._frames.pop(name)
        if answer["type"] == "problem":
            self.town.refusals[answer["code"]] += 1
        return answer

    async def _answer(self, call: dict[str, Any]) -> None:
        chance, habit = self._chance, self.member.habit
        if habit == "silent" and chance.random() < 0.5:
            return
        await trio.sleep(chance.uniform(0, 2.0 if habit == "slow" else 0.05))
        about = {"task_id": call["task_id"], "round": call["round"]}
        if chance.random() < 0.05:
            await self._say(type="refuse", reason="not today", **about)
            return
        boasts = {"eta_seconds": 0.01, "confidence": 1.0, "capacity_offer": 1e6, "price": 0.01}
        bid = {"eta_seconds": round(chance.uniform(0.5, 3.0), 2), "price": round(chance.uniform(1, 9), 2)}
        await self._say(type="bid", **about, **(boasts if habit == "boastful" else bid))

    async def _do(self, work: Work) -> None:
        chance, habit = self._chance, self.member.habit
        if habit in ("silent", "cut_off") and chance.random() < LATENESS_SHARE:
            return  # never begins
        if not self.town.outside.begin(self.member.name, work):
            return
        answer = await self._say(type="start", task_id=work.task_id, token=work.token)
        if answer["type"] == "problem":
            return
        self.town.outside.started(work)
        if habit == "boastful":
            async with self.member._hands:
                await trio.sleep(chance.uniform(0.1, 0.5))
        else:
            await trio.sleep(chance.uniform(0, 2.0 if habit == "slow" else 0.2))
        if habit == "killed" and chance.random() < 0.2:
            raise Closed(1006, "killed")
        if habit == "late" and chance.random() < LATENESS_SHARE:
            await trio.sleep(2 * self.town.scale.budget_seconds + 6.0)
        if chance.random() < 0.03:
            await self._say(type="fail", reason="too hard", task_id=work.task_id, token=work.token)
        else:
            await self._report(work)

    async def _report(self, work: Work) -> None:
        if self.town.outside.prepare(self.member.name, work):
            await self._tell(work)

    async def _tell(self, work: Work) -> None:
        done = {"by": self.member.name, "token": work.token}
        answer = await self._say(type="complete", task_id=work.task_id, token=work.token, result=done)
        self.town.outside.settle(work, is_taken=answer["type"] == "ack")

"""Clients that survive their node: they ask at full rate, keep every acknowledgement, and ask again what was not answered.

Each command over HTTP carries an idempotency key that follows from what it is about, so that whoever asks for the same once more, in
a later life of the node, asks under the same key. What an agent says over its websocket carries none: there a repeat is known by what
it says.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from random import Random
from typing import Any, NamedTuple, cast

import httpx2
import trio
from wsproto.utilities import RemoteProtocolError

from gateway.api.calls import IDEMPOTENCY_HEADER, POSITION_HEADER
from gateway.node import Node
from solvers.formats import write_rudy
from solvers.generators import toroidal_grid
from tests.gateway.clients import Closed, Socket, open_socket

SKILL = "cutting"
SUBMITTERS = 3
PROBLEMS_A_ROUND = 2
DONE = frozenset({200, 201, 202})
REFUSED = frozenset({403, 404, 409, 422})
ANSWER_SECONDS_MAX = 30.0


class Asked(NamedTuple):
    """A command of a client: the event that records it has to be of this kind and to say this."""

    kind: str
    says: dict[str, Any]
    token: str = ""
    method: str = ""
    path: str = ""
    body: dict[str, Any] | None = None
    key: str = ""


class Told(NamedTuple):
    """An acknowledgement. Websockets tell no position: there it is 0."""

    asked: Asked
    status: int
    reply: dict[str, Any]
    position: int


class Gone(Exception):
    """The node was killed while somebody talked to it."""


@dataclass
class Traffic:
    """What was said to a node over all its lives, and what it has answered."""

    chance: Random
    admin: str = ""
    told: list[Told] = field(default_factory=list)
    unanswered: dict[str, Asked] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    """Why the node has refused what carried an idempotency key."""
    repeats: int = 0
    blobs: dict[str, bytes] = field(default_factory=dict)
    submitted: Iterator[int] = field(default_factory=count)
    reached: trio.Event = field(default_factory=trio.Event)
    wanted: int = 0

    def note(self, told: Told) -> None:
        self.told.append(told)
        if len(self.told) >= self.wanted:
            self.reached.set()

    async def more(self, acknowledgements: int) -> None:
        """Waits for so many more acknowledgements."""
        self.wanted, self.reached = len(self.told) + acknowledgements, trio.Event()
        await self.reached.wait()


class Door:
    """The door of one life of a node, for all clients."""

    def __init__(self, url: str, http: httpx2.AsyncClient, traffic: Traffic) -> None:
        self.url = url
        self.http = http
        self.traffic = traffic

    async def ask(self, asked: Asked) -> Told | None:
        """The acknowledgement, which is noted; None where the node refuses. Raises Gone."""
        traffic = self.traffic
        traffic.unanswered[asked.key] = asked
        answer = await self.send(asked.method, asked.path, asked.token, asked.body, {IDEMPOTENCY_HEADER: asked.key})
        traffic.unanswered.pop(asked.key, None)
        if answer.status_code in REFUSED:
            traffic.refused[asked.key] = answer.text
            return None
        assert answer.status_code in DONE, (asked, answer.text)
        told = Told(asked, answer.status_code, answer.json(), int(answer.headers[POSITION_HEADER]))
        traffic.note(told)
        return told

    async def demand(self, asked: Asked) -> Told:
        """The acknowledgement of what there is no reason to refuse."""
        told = await self.ask(asked)
        assert told is not None, (asked, self.traffic.refused[asked.key])
        return told

    async def repeat(self, told: Told) -> None:
        """Asks once more for what was acknowledged: the answer has to be the same."""
        again = await self.demand(told.asked)
        assert (again.status, again.reply) == (told.status, told.reply)
        assert again.position >= told.position
        self.traffic.repeats += 1

    async def send(
        self, method: str, path: str, token: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> httpx2.Response:
        given = ({"Authorization": f"Bearer {token}"} if token else {}) | (headers or {})
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        try:
            return await self.http.request(method, self.url + path, headers=given, **content)
        except (httpx2.NetworkError, httpx2.RemoteProtocolError) as error:
            raise Gone from error


@contextmanager
def until_gone() -> Iterator[None]:
    """Whoever meets the end of the node ends too, after what was answered before."""
    with suppress(Gone):
        yield


# ---- operators


async def submit(door: Door, name: str) -> None:
    """Submits one task after the other, cancels a few, and says some things twice."""
    traffic, chance = door.traffic, door.traffic.chance
    with until_gone():
        for number in traffic.submitted:
            body = {
                "task_type": "analysis",
                "capabilities": [SKILL],
                "description": f"{name} {number}",
                "payload": {"number": number, "bytes": chance.randbytes(8).hex()},
                "bidding_seconds": 2.0,
            }
            asked = Asked("task.TaskSubmitted", body, traffic.admin, "POST", "/v1/tasks", body, f"submit-{number}")
            told = await door.demand(asked)
            if chance.random() < 0.1:
                await door.repeat(told)
            if chance.random() < 0.1:
                await _cancel(door, told.reply["task_id"])


async def _cancel(door: Door, task_id: str) -> None:
    says = {"task_id": task_id, "reason": f"no-more-{task_id[-6:]}"}
    path = f"/v1/tasks/{task_id}?reason={says['reason']}"
    await door.ask(Asked("task.TaskCancelled", says, door.traffic.admin, "DELETE", path, None, f"cancel-{task_id}"))


async def keep_keys(door: Door) -> None:
    """Issues keys and revokes every other one."""
    traffic = door.traffic
    with until_gone():
        for number in traffic.submitted:
            body = {"role": "operator", "label": f"key {number}"}
            asked = Asked("key.KeyIssued", body, traffic.admin, "POST", "/v1/keys", body, f"key-{number}")
            told = await door.demand(asked)
            if number % 2:
                key_id = told.reply["key_id"]
                says = {"key_id": key_id, "reason": "old"}
                path = f"/v1/keys/{key_id}?reason=old"
                await door.ask(Asked("key.KeyRevoked", says, traffic.admin, "DELETE", path, None, f"revoke-{key_id}"))


async def pose_problems(door: Door) -> None:
    """Uploads a few problems, has them solved, and offers one as a task to the house's own solver."""
    traffic, chance = door.traffic, door.traffic.chance
    with until_gone():
        for _ in range(PROBLEMS_A_ROUND):
            seed = chance.randrange(2**31)
            content = write_rudy(toroidal_grid(12, 12, seed))
            digest = sha256(content).hexdigest()
            answer = await door.send("PUT", f"/v1/blobs/{digest}", traffic.admin, content)
            assert answer.status_code in DONE, answer.text
            traffic.blobs[digest] = content
            await _pose(door, seed, digest)


async def _pose(door: Door, seed: int, digest: str) -> None:
    admin = door.traffic.admin
    body: dict[str, Any] = {"name": f"grid-{seed}", "blob": digest}
    asked = Asked("qubo_problem.ProblemRegistered", body, admin, "POST", "/v1/problems", body, f"problem-{seed}")
    problem_id = (await door.demand(asked)).reply["problem_id"]
    body = {"problem_id": problem_id, "seconds": 0.05, "seed": seed}
    await door.ask(Asked("solve_job.SolveQueued", body, admin, "POST", "/v1/solves", body, f"solve-{seed}"))
    body = {
        "task_type": "optimization",
        "capabilities": ["optimization", "qubo"],
        "description": f"grid {seed}",
        "payload": {"problem_id": problem_id, "seconds": 0.05, "seed": seed},
    }
    await door.ask(Asked("task.TaskSubmitted", body, admin, "POST", "/v1/tasks", body, f"optimize-{seed}"))


async def ask_again(door: Door, told: list[Told]) -> None:
    """Asks once more for what an earlier life has left unanswered, and for some of what it has acknowledged."""
    with until_gone():
        for asked in list(door.traffic.unanswered.values()):
            await door.ask(asked)
        for one in told:
            await door.repeat(one)


# ---- agents


@dataclass
class Agent:
    """An agent that hears calls over its websocket, and answers there or over HTTP."""

    agent_id: str
    speaks_http: bool
    token: str = ""
    position: int | None = None
    unanswered: dict[str, tuple[Asked, dict[str, Any]]] = field(default_factory=dict)
    updates: int = 0

    async def work(self, door: Door) -> None:
        """Registers, says again what was not answered, then bids and works."""
        with until_gone():
            await self.register(door)
            await self._update(door)
            query = "" if self.position is None else f"?after={self.position}"
            path = f"/v1/agents/{self.agent_id}/ws{query}"
            try:
                async with open_socket(cast(Node, door), path, self.token) as socket:
                    for _, frame in list(self.unanswered.values()):
                        await socket.send(**frame)
                    while True:
                        await self._hear(door, socket, await socket.receive())
            except (OSError, trio.BrokenResourceError, Closed, RemoteProtocolError) as error:
                raise Gone from error

    async def register(self, door: Door) -> None:
        """Registers, the first time that it gets so far."""
        if self.token:
            return
        profile = {"name": self.agent_id, "agent_type": "performance", "capabilities": [SKILL], "slots": 8}
        says, body = profile | {"agent_id": self.agent_id}, profile | {"id": self.agent_id}
        key = f"register-{self.agent_id}"
        asked = Asked("agent.AgentRegistered", says, door.traffic.admin, "POST", "/v1/agents", body, key)
        self.token = (await door.demand(asked)).reply["key"]

    async def _update(self, door: Door) -> None:
        self.updates += 1
        body = {"description": f"in its life {self.updates}"}
        says = body | {"agent_id": self.agent_id}
        path, key = f"/v1/agents/{self.agent_id}", f"update-{self.agent_id}-{self.updates}"
        await door.ask(Asked("agent.AgentUpdated", says, self.token, "PATCH", path, body, key))

    async def _hear(self, door: Door, socket: Socket, frame: dict[str, Any]) -> None:
        match frame:
            case {"type": "call", "task_id": task_id, "round": number}:
                await self._answer(door, socket, task_id, number)
            case {"type": "award"}:
                await self._do(door, socket, frame)
            case {"type": "ack", "id": name, **reply}:
                asked, _ = self.unanswered.pop(name, (None, None))
                if asked is not None:  # what was said twice is acknowledged twice
                    door.traffic.note(Told(asked, 200, reply, 0))
            case {"type": "problem", "id": name, "status": status}:
                assert status in REFUSED, frame
                self.unanswered.pop(name, None)
        self.position = frame.get("position", self.position)

    async def _answer(self, door: Door, socket: Socket, task_id: str, number: int) -> None:
        dice = Random(f"{self.agent_id} {task_id} {number}")
        name = f"{self.agent_id}-{task_id}-{number}"
        said: dict[str, Any] = {"round": number}
        if dice.random() < 0.1:
            said |= {"reason": "not today"}
            await self._say(door, socket, "task.BidRefused", f"refuse-{name}", task_id, "refuse", said)
        else:
            bid = said | {"price": round(dice.random(), 3), "eta_seconds": 5.0}
            await self._say(door, socket, "task.BidPlaced", f"bid-{name}", task_id, "bid", bid)

    async def _do(self, door: Door, socket: Socket, award: dict[str, Any]) -> None:
        """Begins, and mostly completes; gives up some tasks, and keeps some for ever."""
        task_id, token = award["task_id"], award["token"]
        dice = Random(f"{self.agent_id} {task_id} {token}")
        name = f"{task_id}-{token}"
        said: dict[str, Any] = {"token": token}
        await self._say(door, socket, "task.TaskStarted", f"start-{name}", task_id, "start", said)
        match dice.random():
            case roll if roll < 0.05:
                return
            case roll if roll < 0.1:
                said |= {"reason": "too hard"}
                await self._say(door, socket, "task.TaskFailed", f"fail-{name}", task_id, "fail", said)
            case _:
                said |= {"result": {"by": self.agent_id, "bytes": dice.randbytes(8).hex()}}
                await self._say(door, socket, "task.TaskCompleted", f"complete-{name}", task_id, "complete", said)

    async def _say(
        self, door: Door, socket: Socket, kind: str, name: str, task_id: str, verb: str, said: dict[str, Any]
    ) -> None:
        says = said | {"task_id": task_id, "agent_id": self.agent_id}
        if self.speaks_http:
            method, path, more = VERBS[verb]
            path = f"/v1/tasks/{task_id}/{path}"
            await door.ask(Asked(kind, says, self.token, method, path, said | more, name))
        else:
            frame = {"type": verb, "id": name, "task_id": task_id, **said}
            self.unanswered[name] = (Asked(kind, says), frame)
            await socket.send(**frame)


VERBS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bid": ("POST", "bids", {}),
    "refuse": ("POST", "refusals", {}),
    "start": ("PUT", "status", {"status": "started"}),
    "complete": ("PUT", "status", {"status": "completed"}),
    "fail": ("PUT", "status", {"status": "failed"}),
}
"""How the frames of the websocket are said over HTTP: the method, the end of the path, and what the body says beside."""

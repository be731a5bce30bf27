"""What the door takes breaks nothing behind it: bodies of odd values, and tasks that live through some, in an order given by a seed.

A body may be refused, and nothing else may become of it: no actor is made anew, no read model stops, every command that was recorded can
be read again, and a node that starts on all that goes on.
"""

from pathlib import Path
from random import Random
from typing import Any, get_args

import httpx2
import msgspec
import pytest

from gateway.api.bodies import JSON, MSGPACK, parse
from gateway.api.problems import BadRequest
from gateway.app import ENDPOINTS
from gateway.feeds.frames import FRAME_BY_TYPE
from tests.gateway.attacks.odd_values import Odd
from tests.gateway.clients import AgentClient, Client, open_client, settings_of

SEED = 20_261_122
BODIES, LIVES = 6_000, 25
BODIES_SOAK, LIVES_SOAK = 500_000, 2_000
MOVES = 8
TOLD = frozenset({501, 503, 507})
"""How a node may fail that says so."""

BODY_BY_ROUTE = {(line.method, line.path): line.body for line in ENDPOINTS if line.body not in (None, bytes)}
POLICIES = ("weighted_score", "lowest_cost", "quickest_finish", "least_load", "batch_optimal")
NO_JSON = (
    *(float("nan"), float("inf"), b"bytes", {1: 2, "a": 3}, {None: 1}, {1.5: 1}, {b"k": 1}),
    *(msgspec.msgpack.Ext(5, b"abc"), msgspec.msgpack.Ext(-1, b"\0\0\0\1"), [[2**64 - 1] * 120]),
)


def seeded(request: pytest.FixtureRequest, few: int, many: int) -> tuple[Random, int]:
    """The same each time; another run under --soak, which its output names."""
    is_soak = request.config.getoption("--soak")
    seed = Random().randrange(2**32) if is_soak else SEED
    print("seed", seed)
    return Random(seed), many if is_soak else few


def spoiled(tree: Any, chance: Random) -> Any:
    """With something in it that JSON does not have."""
    if isinstance(tree, dict | list) and tree and chance.random() < 0.8:
        place = chance.choice(list(tree) if isinstance(tree, dict) else range(len(tree)))
        tree[place] = spoiled(tree[place], chance)
        return tree
    return chance.choice(NO_JSON)


def test_a_body_is_taken_or_refused_whatever_is_in_it(request: pytest.FixtureRequest) -> None:
    chance, count = seeded(request, BODIES, BODIES_SOAK)
    odd, kinds = Odd(chance, {}), [*BODY_BY_ROUTE.values(), *FRAME_BY_TYPE.values()]
    for _ in range(count):
        kind, is_json = chance.choice(kinds), chance.random() < 0.5
        tree = odd.value(kind)
        if not is_json and chance.random() < 0.5:
            tree = spoiled(tree, chance)
        raw = msgspec.json.encode(tree) if is_json else msgspec.msgpack.encode(tree)
        if is_json and chance.random() < 0.1:
            raw = raw.replace(b'"', chance.choice((b'"\\ud800', b'"\\u0000')), 1)
        try:
            parse(raw, kind, media_type=JSON if is_json else MSGPACK)
        except BadRequest as refused:
            assert msgspec.json.encode(refused.faults)


class Day:
    """Tasks that live through odd values."""

    def __init__(self, admin: Client, chance: Random) -> None:
        self.admin = admin
        self.chance = chance
        self.agents: list[AgentClient] = []
        self.taken = 0
        self.odd = Odd(chance, {"capabilities": ["cutting"], "agent_id": ["ann0"], "data_subject": ["s1", "s2"]})

    async def send(self, client: Client, method: str, path: str, body: Any = None) -> httpx2.Response:
        is_json = self.chance.random() < 0.6
        headers = {"Authorization": f"Bearer {client.key}", "Content-Type": JSON if is_json else MSGPACK}
        content = b"" if body is None else (msgspec.json if is_json else msgspec.msgpack).encode(body)
        answer = await client.http.request(method, client.node.url + path, content=content, headers=headers)
        assert answer.status_code < 500 or answer.status_code in TOLD, (method, path, content, answer.text)
        self.taken += method != "GET" and answer.status_code < 300
        return answer

    def some(self, method: str, path: str, **sound: Any) -> dict[str, Any]:
        """A sound body in which a few fields are odd."""
        kind = BODY_BY_ROUTE[method, path]
        struct = next((one for one in get_args(kind) if one is not type(None)), kind)
        odd = self.odd.value(struct)
        names = self.chance.sample(sorted(odd), min(len(odd), self.chance.randrange(4)))
        return sound | {name: odd[name] for name in names if name not in ("token", "round", "id")}

    async def life(self, number: int) -> None:
        if len(self.agents) < 4 or number % 5 == 0:
            name = f"ann{number}"
            body = self.some(
                "POST", "/v1/agents", name="A", agent_type="performance", capabilities=["cutting"], slots=9
            )
            made = await self.send(self.admin, "POST", "/v1/agents", body | {"id": name})
            if made.status_code == 201:
                key = made.json()["key"]
                self.agents = [*self.agents[-3:], AgentClient(self.admin.node, self.admin.http, key, name)]
        policy = self.chance.choice(POLICIES)
        body = self.some("POST", "/v1/tasks", task_type="analysis", capabilities=["cutting"], award_policy=policy)
        made = await self.send(self.admin, "POST", "/v1/tasks", body)
        if made.status_code == 202:
            for _ in range(MOVES):
                await self.move(f"/v1/tasks/{made.json()['task_id']}")

    async def move(self, path: str) -> None:
        row = (await self.send(self.admin, "GET", path)).json()
        await self.send(self.admin, "GET", f"{path}/explain")
        if self.chance.random() < 0.1:
            await self.send(self.admin, "PATCH", path, self.some("PATCH", "/v1/tasks/{task_id}"))
        if row["stage"] == "bidding":
            for agent in self.agents:
                bid = self.some("POST", "/v1/tasks/{task_id}/bids", price=1.0, eta_seconds=5.0)
                await self.send(agent, "POST", f"{path}/bids", bid)
        elif row["stage"] in ("awarded", "running"):
            status = self.chance.choice(("started", "completed", "failed"))
            said = self.some("PUT", "/v1/tasks/{task_id}/status", status=status) | {"token": row["token"]}
            for agent in self.agents:
                if agent.agent_id == row["agent_id"]:
                    await self.send(agent, "PUT", f"{path}/status", said)
        elif row["stage"] == "dead_lettered":
            await self.send(self.admin, "POST", f"{path}/requeue", self.some("POST", "/v1/tasks/{task_id}/requeue"))


async def look(admin: Client) -> None:
    """Fails where anything is broken."""
    status = await admin.get("/v1/status")
    assert status["faults"] == []
    assert [kind for kind in status["kinds"] if kind["restarts"]] == []
    journal, position = admin.node.system.journal, 0
    while page := await journal.read(position):
        for record in page:
            if record.meta.command is not None:
                journal.codec.command(record.meta.command)
        position = page[-1].position


async def test_what_is_taken_breaks_nothing_behind_the_door(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    chance, count = seeded(request, LIVES, LIVES_SOAK)
    async with open_client(settings_of(tmp_path), guard_seconds=600) as admin:
        day = Day(admin, chance)
        for number in range(count):
            await day.life(number)
        assert day.taken > 2 * count
        await look(admin)
    async with open_client(settings_of(tmp_path)) as admin:
        await look(admin)

"""Agents that mean ill: each hurts only itself, by refusals that have a name and are counted."""

from contextlib import AbstractAsyncContextManager
from types import SimpleNamespace
from typing import Any

import httpx2
import msgspec
import trio

from agents.coordinating.answers import ANSWERS_MAX
from gateway.feeds.sockets import REPLACED
from tests.gateway.attacks.house import GUARD_SECONDS, House
from tests.gateway.attacks.peers import CLOSE, IDLER, JSON, MALLORY, ROGUE, answered, told
from tests.gateway.attacks.table import attack, slow_attack
from tests.gateway.clients import Closed, Socket, open_socket
from tests.gateway.prometheus import parsed
from tests.gateway.raw import frame, request, upgrade

CAPABILITY = "cutting"
MANY = 3_000


async def asked(house: House, method: str, path: str, body: Any = None) -> Any:
    """What the admin is told."""
    async with httpx2.AsyncClient(timeout=GUARD_SECONDS, verify=False) as http:
        headers = {"Authorization": f"Bearer {house.admin_key}"}
        answer = await http.request(method, house.url + path, json=body, headers=headers)
        assert answer.status_code < 300, answer.text
        return answer.json() if path != "/metrics" else answer.text


async def counted(house: House, code: str) -> float:
    """How often this was refused since the node began."""
    return parsed(await asked(house, "GET", "/metrics")).get(f"gavel_refusals_total {code}", 0.0)


async def submitted(house: House, **changed: Any) -> str:
    """A task for which Mallory and the innocent are called, unless it needs something else."""
    body = {"task_type": "analysis", "capabilities": [CAPABILITY], "bidding_seconds": 60.0} | changed
    return str((await asked(house, "POST", "/v1/tasks", body))["task_id"])


async def cancelled(house: House, task_id: str) -> None:
    """Nobody needs it any more."""
    await asked(house, "DELETE", f"/v1/tasks/{task_id}")


async def called(house: House, task_id: str) -> None:
    """Waits until its book is open."""
    async with open_agent(house, MALLORY) as socket:
        await heard(socket, "call", task_id)


async def heard(socket: Socket, kind: str, task_id: str) -> dict[str, Any]:
    """What the agent is told next of this kind about a task."""
    while (frame := await socket.receive()).get("task_id") != task_id or frame["type"] != kind:
        pass
    return frame


def open_agent(house: House, name: str) -> AbstractAsyncContextManager[Socket]:
    """A websocket of an agent, which is told all that ever concerned it."""
    node: Any = SimpleNamespace(url=house.url)
    return open_socket(node, f"/v1/agents/{name}/ws?after=0", house.agent_keys[name])


def said(**members: Any) -> bytes:
    """A frame of an agent."""
    return frame(1, msgspec.json.encode(members))


@attack
async def a_flood_of_bids(house: House) -> None:
    """A book takes 32 answers of an agent; the others are refused (`answers_too_many`), and are no records."""
    task_id = await submitted(house)
    await called(house, task_id)
    before = await counted(house, "answers_too_many")
    bids = [said(type="bid", id=n, task_id=task_id, price=float(n), eta_seconds=1.0) for n in range(MANY)]
    answers = await told(house, *bids)
    codes = [answer.get("code", "ack") for answer in answers]
    assert {code: codes.count(code) for code in codes} == {"ack": ANSWERS_MAX, "answers_too_many": MANY - ANSWERS_MAX}
    assert await counted(house, "answers_too_many") - before == MANY - ANSWERS_MAX
    row = await asked(house, "GET", f"/v1/tasks/{task_id}")
    assert len(row["bids"]) == 1
    await cancelled(house, task_id)


@attack
async def more_room_than_anybody_has(house: House) -> None:
    """422, by the JSON pointer of what is too much: 64 slots are the most."""
    for body, pointer in (
        ({"slots": 65}, "/slots"),
        ({"slots": 10**15}, "/slots"),
        ({"max_capacity": -1}, "/max_capacity"),
    ):
        content = msgspec.json.encode(body)
        path = f"/v1/agents/{MALLORY}"
        sent = request("PATCH", path, house.agent(MALLORY), JSON, CLOSE, body=content)
        refused = await answered(house, sent, 422, method="PATCH")
        assert {one["pointer"] for one in msgspec.json.decode(refused.body)["errors"]} == {pointer}


@attack
async def the_results_of_others(house: House) -> None:
    """Whoever speaks for a task that is another's is refused by name, whatever token it guesses, and nothing changes."""
    task_id = await submitted(house)
    await called(house, task_id)
    row = await asked(house, "GET", f"/v1/tasks/{task_id}")
    lies = [said(type=verb, id=f"{verb}-{token}", task_id=task_id, token=token)
            for verb in ("start", "complete", "fail") for token in (1, 2, 2**31)]  # fmt: skip
    codes = {answer["code"] for answer in await told(house, *lies)}
    assert codes <= {"token_unknown", "token_stale", "not_the_holder"}, codes
    unknown = await told(house, said(type="complete", id=1, task_id="nobodys", token=1))
    assert [answer["code"] for answer in unknown] == ["task_unknown"]
    after = await asked(house, "GET", f"/v1/tasks/{task_id}")
    assert (after["stage"], after["attempt"], after["token"]) == (row["stage"], row["attempt"], row["token"])
    await cancelled(house, task_id)


@attack
async def a_result_of_ten_megabytes(house: House) -> None:
    """413 over HTTP before it is read, 1009 on a websocket, and 422 by its pointer where it is only longer than a result may be."""
    body = b'{"status":"completed","token":1,"result":{"x":"' + b"x" * 10_000_000 + b'"}}'
    sent = request("PUT", "/v1/tasks/t/status", house.agent(MALLORY), JSON, CLOSE, body=body)
    await answered(house, sent, 413, method="PUT")
    before = await counted(house, "result_unfit")
    task_id = await submitted(house, capabilities=[ROGUE])
    async with open_agent(house, ROGUE) as socket:
        await won(socket, task_id)
        told = await answer_to(socket, type="complete", task_id=task_id, token=1, result={"x": "x" * 100_000})
    assert (told["code"], [one["pointer"] for one in told["errors"]]) == ("result_unfit", ["/result"])
    assert await counted(house, "result_unfit") == before + 1
    await cancelled(house, task_id)


async def won(socket: Socket, task_id: str) -> dict[str, Any]:
    """The award of a task for which this agent alone is called."""
    await heard(socket, "call", task_id)
    await socket.send(type="bid", task_id=task_id, price=0.0, eta_seconds=0.01)
    return await heard(socket, "award", task_id)


async def closed(socket: Socket) -> int:
    """With which code the node closes it."""
    try:
        while True:
            await socket.receive()
    except Closed as end:
        return end.code


async def answer_to(socket: Socket, **frame: Any) -> dict[str, Any]:
    """What the node says to a frame."""
    await socket.send(id="asked", **frame)
    while (answer := await socket.receive()).get("id") != "asked":
        pass
    return answer


@slow_attack()
async def an_award_that_is_never_begun(house: House) -> None:
    """Its budget ends it, the task goes to others, and the agent's figures show the failure."""
    task_id = await submitted(house, capabilities=[IDLER], budget_seconds=0.1)
    async with open_agent(house, IDLER) as socket:
        await won(socket, task_id)
        assert (await heard(socket, "revoked", task_id))["reason"] == "over_budget"
    row = await asked(house, "GET", f"/v1/tasks/{task_id}")
    assert row["stage"] in ("submitted", "bidding")
    await cancelled(house, task_id)


@attack
async def half_an_agent(house: House) -> None:
    """An agent that ends its side of the connection is gone: the node ends the other, and another socket of it is served."""
    async with await house.connect() as stream:
        await stream.send_all(upgrade(f"/v1/agents/{MALLORY}/ws", house.agent(MALLORY)))
        await stream.send_all(said(type="heartbeat", id=1))
        await stream.send_eof()
        with trio.fail_after(GUARD_SECONDS):
            while await stream.receive_some(65_536):
                pass
    assert [answer["type"] for answer in await told(house, said(type="heartbeat", id=2))] == ["ack"]


@attack
async def two_sockets_with_one_name(house: House) -> None:
    """The newest is the good one, the other is closed (4409), and what it had won stays the agent's."""
    task_id = await submitted(house, capabilities=[ROGUE])
    async with open_agent(house, ROGUE) as first:
        award = await won(first, task_id)
        async with open_agent(house, ROGUE) as second:
            done = {"task_id": task_id, "token": award["token"], "result": {}}
            assert (await answer_to(second, type="complete", **done))["type"] == "ack"
            assert await closed(first) == REPLACED

"""Sealed bids from the outside: over sockets and over HTTP, and that nobody is told a price before the book has closed."""

from typing import Any

import msgspec

from aggregates.values.sealed_bids import commitment_of, sealed_text
from tests.gateway.clients import AgentClient, Client, recorded

SECRET = 3.125

SEALED = {"award_policy": "second_price", "bidding_seconds": 20.0, "capabilities": ["cutting"]}


def sealed(task_id: str, agent_id: str, **changes: Any) -> tuple[str, dict[str, Any]]:
    """A commitment, and what opens it."""
    said: dict[str, Any] = {
        "price": SECRET,
        "eta_seconds": 5.0,
        "confidence": 0.5,
        "capacity_offer": 0.0,
        "salt": "ab" * 16,
    } | changes
    return commitment_of(sealed_text(task_id=task_id, round=1, agent_id=agent_id, **said)), said


async def test_bids_are_committed_to_and_opened_over_a_socket(admin: Client) -> None:
    agent, other = await admin.register("a1"), await admin.register("a2")
    async with agent.socket() as socket, other.socket() as second:
        await socket.next("welcome")
        await second.next("welcome")
        task_id = await admin.submit(**SEALED, price_max=9.0)
        call = await socket.next("call")
        await second.next("call")
        assert (call["award_policy"], call["price_max"]) == ("second_price", 9.0)
        refused = await socket.ask(type="bid", task_id=task_id, price=1.0, eta_seconds=1.0)
        assert (refused["type"], refused["code"]) == ("problem", "bids_are_sealed")
        commitment, opening = sealed(task_id, "a1")
        assert (await socket.ask(type="commit", task_id=task_id, commitment=commitment))["round"] == 1
        await second.ask(type="refuse", task_id=task_id)
        reveal = await socket.next("call_reveal")
        assert (reveal["task_id"], reveal["round"]) == (task_id, 1)
        assert 0 < reveal["closes_in"] <= 20.0
        assert (await socket.ask(type="reveal", task_id=task_id, **opening))["type"] == "ack"
        assert (await socket.next("award"))["task_id"] == task_id
    task = await admin.get(f"/v1/tasks/{task_id}")
    (asked,) = (bid["price"] for bid in task["bids"] if bid["agent_id"] == "a1")
    assert (task["price"], task["price_asked"], asked) == (9.0, SECRET, SECRET)


async def test_nobody_is_told_a_price_before_the_book_has_closed(admin: Client) -> None:
    ann, bob = await admin.register("ann"), await admin.register("bob")
    task_id = await admin.submit(**SEALED)
    await recorded(admin, "task.BookOpened")
    openings = {}
    for name, agent in (("ann", ann), ("bob", bob)):
        commitment, openings[name] = sealed(task_id, name, price=SECRET if name == "ann" else 7.0)
        answer = await agent.ask("POST", f"/v1/tasks/{task_id}/commitments", {"commitment": commitment})
        assert (answer.status_code, answer.json()["agent_id"]) == (201, name)
    await recorded(admin, "task.RevealOpened")
    assert (await ann.ask("POST", f"/v1/tasks/{task_id}/reveals", openings["ann"])).status_code == 201
    await recorded(admin, "task.BidRevealed")
    for told in [await everything(bob, task_id), await everything(admin, task_id)]:
        assert str(SECRET) not in told
        assert "ab" * 16 not in told
    row = (await bob.get(f"/v1/tasks/{task_id}/bids?agent_id=ann"))["bids"][0]
    assert (row["state"], row["price"], row["eta_seconds"], len(row["commitment"])) == ("opened", None, None, 64)
    explained = await bob.get(f"/v1/tasks/{task_id}/explain")
    assert explained["waits_for"][0]["detail"] == "round 1: sealed bids are being opened, not yet: 1 of 2"
    assert {one["agent_id"]: one["detail"] for one in explained["agents"]} == {
        "ann": "its sealed bid is in",
        "bob": "has yet to open its bid",
    }
    assert (await bob.ask("POST", f"/v1/tasks/{task_id}/reveals", openings["bob"])).status_code == 201
    await recorded(admin, "task.TaskAwarded")
    told = await everything(bob, task_id)
    assert told.count(str(SECRET)) >= 3  # the row, the award's record, and the explanation
    (row, _) = (await bob.get(f"/v1/tasks/{task_id}/bids?sort=price"))["bids"]
    assert (row["agent_id"], row["state"], row["price"]) == ("ann", "won", SECRET)


async def everything(client: Client | AgentClient, task_id: str) -> str:
    """All that this caller can read of the task."""
    paths = (
        f"/v1/tasks/{task_id}",
        f"/v1/tasks/{task_id}/bids",
        f"/v1/tasks/{task_id}/explain",
        f"/v1/log?limit=500&stream=task-{task_id}&commands=true",
    )
    return "\n".join([msgspec.json.encode(await client.get(path)).decode() for path in paths])

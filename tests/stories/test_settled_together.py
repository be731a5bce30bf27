"""Books that are settled together, as those see it who are outside: submitters and an auditor over HTTP, agents on their websockets."""

import json
from pathlib import Path
from typing import Any

import pytest

from aggregates.values.roles import Role
from gateway.cli import main
from tests.gateway.clients import Client, Socket, open_client, settings_of

TOGETHER = {"award_policy": "batch_optimal", "bidding_seconds": 20.0, "payload": {"n": 1}}
OFFERS = {
    "ann": {"easy": {"price": 1.0, "eta_seconds": 1.0}, "hard": {"price": 1.0, "eta_seconds": 1.0}},
    "bob": {"easy": {"price": 1.2, "eta_seconds": 2.0}, "hard": {"price": 9.0, "eta_seconds": 2.0}},
}
"""Ann is better at both; bob is nearly as good at the easy one."""


async def bid_for_both(socket: Socket, agent_id: str) -> None:
    """Answers two calls as they come; an ack may come before the next call or after it."""
    called, acks = 0, 0
    while called < 2 or acks < 2:
        frame = await socket.receive()
        if frame["type"] == "call":
            offer = OFFERS[agent_id][frame["description"]]
            await socket.send(id=frame["task_id"], type="bid", task_id=frame["task_id"], **offer)
            called += 1
        elif frame["type"] == "ack":
            acks += 1
        else:
            assert frame["type"] in ("position", "welcome"), frame


async def heard(socket: Socket, *kinds: str) -> dict[str, dict[str, Any]]:
    """The next frames of these kinds, in whatever order they come."""
    told: dict[str, dict[str, Any]] = {}
    while told.keys() < set(kinds):
        frame = await socket.receive()
        if frame["type"] in kinds:
            told[frame["type"]] = frame
        else:
            assert frame["type"] == "position", frame
    return told


async def finish(socket: Socket, award: dict[str, Any]) -> None:
    for said in ("start", "complete"):
        answer = await socket.ask(type=said, task_id=award["task_id"], token=award["token"])
        assert answer["type"] == "ack", answer


async def verdicts(admin: Client, task_id: str) -> dict[str, str]:
    told = await admin.get(f"/v1/tasks/{task_id}/explain")
    return {one["agent_id"]: one["reason"] for one in told["agents"]}


async def test_the_better_agent_gets_what_it_is_needed_for_and_everybody_can_see_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_client(settings_of(tmp_path)) as admin:
        ann, bob = await admin.register("ann"), await admin.register("bob")
        submitter = await admin.with_role(Role.OPERATOR)
        async with ann.socket() as first, bob.socket() as second:
            ids = {name: await submitter.submit(description=name, **TOGETHER) for name in ("easy", "hard")}
            await bid_for_both(first, "ann")
            await bid_for_both(second, "bob")
            anns, bobs = await heard(first, "award", "lost"), await heard(second, "award", "lost")
            assert (anns["award"]["task_id"], bobs["award"]["task_id"]) == (ids["hard"], ids["easy"])
            assert (anns["lost"]["task_id"], anns["lost"]["winner"]) == (ids["easy"], "bob")
            assert anns["lost"]["reason"] == "worth_more_elsewhere"
            await finish(first, anns["award"])
            await finish(second, bobs["award"])
        easy = await submitter.get(f"/v1/tasks/{ids['easy']}")
        assert (easy["stage"], easy["agent_id"]) == ("completed", "bob")
        assert "settled in batch 1; worth more elsewhere: ann" in easy["award_reason"]
        assert await verdicts(admin, ids["easy"]) == {"ann": "worth_more_elsewhere", "bob": "won"}
        assert (await verdicts(admin, ids["hard"]))["ann"] == "won"
        book = (await admin.get(f"/v1/tasks/{ids['easy']}/explain"))["book"]
        assert (book["batch"]["number"], book["batch"]["agent_id"], set(book["batch"]["prices"])) == (
            1,
            "bob",
            {"ann", "bob"},
        )
        journal = admin.node.store.place
    capsys.readouterr()  # the log of the node
    assert main(["audit", "replay", str(journal), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["equal"], told["facts"]["false"], told["strays"]) == (told["commands"], 0, [])

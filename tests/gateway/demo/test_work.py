"""What the demo's agents do, on a real node: problems solved and checked, and each decision of the log made again."""

from hashlib import sha256
from typing import Any

import pytest
import trio

from gateway.client import Client as Door
from gateway.demo.work import Undoable, do
from runtime.records import Recorded
from solvers.verify import decode_assignment, recompute
from tests.gateway.clients import BID, Client, Socket

TRIANGLE = b"3 3\n1 2 1\n2 3 1\n1 3 1\n"
DIGEST = sha256(TRIANGLE).hexdigest()


async def work(admin: Client, task_type: str, payload: dict[str, Any], inputs: dict[str, Any] | None = None) -> Any:
    door = Door(admin.node.url, admin.key)
    task = {"task_type": task_type, "payload": payload, "inputs": inputs or {}}
    return await trio.to_thread.run_sync(lambda: do(task, door, seed=3))


async def with_blob(admin: Client) -> dict[str, Any]:
    answer = await admin.http.put(
        f"{admin.node.url}/v1/blobs/{DIGEST}", content=TRIANGLE, headers={"Authorization": f"Bearer {admin.key}"}
    )
    assert answer.status_code == 201, answer.text
    return {"problem": "triangle", "blob": DIGEST, "format": "rudy"}


async def test_a_solution_is_found_and_found_again_by_whoever_checks_it(admin: Client):
    payload = await with_blob(admin)
    solved = await work(admin, "optimization", payload | {"seconds": 0.05})
    assert (solved["value"], solved["variables"], solved["seed"]) == (2, 3, 3)
    assert recompute(TRIANGLE, decode_assignment(solved["assignment"], 3), format="rudy") == 2
    checked = await work(admin, "verification", payload | {"of": "s"}, {"s": solved})
    assert checked == {"value": 2, "claimed": 2, "equal": True}
    checked = await work(admin, "verification", payload | {"of": "s"}, {"s": solved | {"value": 3}})
    assert checked == {"value": 2, "claimed": 3, "equal": False}


@pytest.mark.parametrize("assignment", ["", "////", "not base64", "AA=="])
async def test_an_answer_that_is_none_can_not_be_checked(admin: Client, assignment: str):
    payload = await with_blob(admin)
    answer = {"value": 2, "variables": 30, "assignment": assignment}
    with pytest.raises(Undoable):
        await work(admin, "verification", payload | {"of": "s"}, {"s": answer})


async def test_a_task_of_another_kind_is_not_done(admin: Client):
    with pytest.raises(Undoable, match="deployment"):
        await work(admin, "deployment", {})
    with pytest.raises(Undoable, match="seconds"):
        await work(admin, "optimization", await with_blob(admin))


async def until(socket: Socket, kind: str) -> None:
    """Skips frames up to one of this type."""
    while (await socket.receive())["type"] != kind:
        pass


async def test_every_decision_in_the_log_comes_out_the_same_again(admin: Client):
    agent = await admin.register("ann")
    async with agent.socket() as socket:
        task_id = await admin.submit()
        await until(socket, "call")
        await socket.send(type="bid", task_id=task_id, **BID)
        await until(socket, "award")
        await socket.send(id="done", type="complete", task_id=task_id, token=1, result={"n": 1.5, "text": "é"})
        while (await socket.receive()).get("id") != "done":
            pass
    position = admin.node.system.journal.position
    report = await work(admin, "analysis", {"from": 1, "to": position})
    assert (report["records"], report["from"], report["to"]) == (position, 1, position)
    assert report["wins"] == {"ann": 1}
    assert report["commands"] == report["equal"] > 5
    assert report["different"] == []
    later = await work(admin, "analysis", {"from": position, "to": position})
    assert (later["records"], later["commands"], later["equal"]) == (1, 1, 1)


async def test_a_decision_that_comes_out_otherwise_is_named(admin: Client, monkeypatch: pytest.MonkeyPatch):
    from aggregates import task

    await admin.register("ann")
    task_id = await admin.submit()
    assert task_id
    position = admin.node.system.journal.position
    submitted = next(one.position for one in await _log(admin) if one.kind == "task.TaskSubmitted")
    monkeypatch.setattr(task, "decide", lambda state, command: [])
    report = await work(admin, "analysis", {"from": 1, "to": position})
    assert submitted in report["different"]
    assert report["equal"] < report["commands"]


async def _log(admin: Client) -> list[Recorded]:
    return await admin.node.system.journal.read(0, 500)

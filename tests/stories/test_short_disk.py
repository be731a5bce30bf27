"""A node whose disk is short of room takes no new work, and brings to its end what has begun; then it takes work again."""

from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from gateway.api.calls import IDEMPOTENCY_HEADER, POSITION_HEADER
from runtime.room import LOOK_SECONDS
from tests.gateway.clients import BID
from tests.stories.nodes import serving
from tests.stories.test_full_disk import GUARD_SECONDS, UNSHARE, open_door, short_of_disk
from tests.stories.traffic import DONE, SKILL, Door, Traffic

BYTES_MIN = 2 * 2**20
LEFT_BYTES = 2**20
AGENT = {"id": "ann", "name": "Ann", "agent_type": "performance", "capabilities": [SKILL]}
TASK = {"task_type": "analysis", "capabilities": [SKILL], "bidding_seconds": 10.0}


class Client:
    """Somebody at the door with a key."""

    def __init__(self, door: Door, token: str) -> None:
        self.door = door
        self.token = token

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        answer = await self.door.send(method, path, self.token, body)
        return answer.status_code, answer.json()

    async def ask_and_wait(self, path: str, body: Any) -> Any:
        """Posts something and waits for the record that follows from it."""
        answer = await self.door.send("POST", path, self.token, body)
        assert answer.status_code in DONE, answer.text
        task = path.removesuffix("/bids") if path.endswith("/bids") else answer.headers["location"]
        position = int(answer.headers[POSITION_HEADER])
        await self.door.send("GET", f"{task}?after_position={position}", self.token, None, {"Prefer": "wait=30"})
        return answer.json()


async def awarded(admin: Client, agent: Client) -> str:
    """A task that the agent has won."""
    path = f"/v1/tasks/{(await admin.ask_and_wait('/v1/tasks', TASK))['task_id']}"
    await agent.ask_and_wait(f"{path}/bids", BID)
    return path


async def no_new_work(admin: Client, problem: dict[str, Any]) -> None:
    """Whatever would begin something is refused, and the refusal says why and when to come again."""
    for path, body in (
        ("/v1/tasks", TASK),
        ("/v1/problems", problem),
        ("/v1/solves", {"problem_id": "p", "seconds": 1}),
    ):
        answer = await admin.door.send("POST", path, admin.token, body)
        assert answer.status_code == 507, (path, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["type"] == "urn:gavel:problem:no_room"
        assert f"{BYTES_MIN} are kept for work that has begun" in answer.json()["detail"]
    blob = b"more"
    answer = await admin.door.send("PUT", f"/v1/blobs/{sha256(blob).hexdigest()}", admin.token, blob)
    assert (answer.status_code, answer.json()["type"]) == (507, "urn:gavel:problem:no_room")
    ready = await admin.door.send("GET", "/readyz", "")
    assert ready.status_code == 503
    assert "no new work is taken" in ready.json()["detail"]
    status = (await admin.ask("GET", "/v1/status"))[1]
    assert status["disk_free_bytes"] < BYTES_MIN
    assert any("no new work is taken" in fault for fault in status["faults"])


async def bring_to_its_end(admin: Client, agent: Client, task: str, key_id: str) -> None:
    """What has begun goes on: heartbeats, results, what is revoked, what is read and proven."""
    for status in ({"status": "started", "token": 1}, {"status": "completed", "token": 1, "result": {"value": 2}}):
        assert (await agent.ask("PUT", f"{task}/status", status))[0] == 200
    assert (await agent.ask("POST", "/v1/agents/ann/heartbeat"))[0] == 200
    assert (await admin.ask("DELETE", f"/v1/keys/{key_id}"))[0] == 200
    assert (await admin.ask("GET", task))[1]["stage"] == "completed"
    assert (await admin.ask("GET", "/v1/audit/verify"))[1]["whole"] is True


async def test_a_disk_that_is_short_of_room_takes_no_new_work_and_ends_what_has_begun(tmp_path: Path) -> None:
    tried = await trio.run_process([*UNSHARE, str(tmp_path), "true"], capture_stderr=True, check=False)
    if tried.returncode:
        pytest.skip(f"no file system can be mounted here: {tried.stderr.decode().strip()}")
    world: dict[str, Any] = {"inside": "/proc/{pid}/root", "disk_free_bytes_min": BYTES_MIN, "house_solver": False}
    with trio.fail_after(GUARD_SECONDS):
        async with (
            serving(tmp_path, *UNSHARE, str(tmp_path), **world) as node,
            open_door(node, Traffic(Random(1))) as door,
        ):
            admin = Client(door, door.traffic.admin)
            agent = Client(door, (await admin.ask("POST", "/v1/agents", AGENT))[1]["key"])
            blob = b"3 3\n1 2 1\n1 3 1\n2 3 1\n"
            digest = sha256(blob).hexdigest()
            assert (await admin.ask("PUT", f"/v1/blobs/{digest}", blob))[0] == 201
            spare = (await admin.ask("POST", "/v1/keys", {"role": "auditor"}))[1]["key_id"]
            task = await awarded(admin, agent)
            once = {IDEMPOTENCY_HEADER: "once"}
            first = await door.send("POST", "/v1/tasks", admin.token, TASK, once)
            with short_of_disk(node, LEFT_BYTES):
                await trio.sleep(LOOK_SECONDS)
                again = await door.send("POST", "/v1/tasks", admin.token, TASK, once)
                assert (again.status_code, again.text) == (202, first.text)  # what was done already needs no room
                await no_new_work(admin, {"name": "p", "blob": digest})
                await bring_to_its_end(admin, agent, task, spare)
            await trio.sleep(LOOK_SECONDS)
            assert (await admin.ask("POST", "/v1/tasks", TASK))[0] == 202
            assert (await door.send("GET", "/readyz", "")).status_code == 200
            assert await node.stop() == 0, node.said

"""The examples of request bodies: a node takes every one of them, in the order of the story that they tell."""

import copy
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from gateway.api.examples import (
    ACTION_ID,
    BODIES,
    KEY_ID,
    PROBLEM_ID,
    TASK_ID,
    TRIANGLE,
    TRIANGLE_DIGEST,
    USER_ID,
    VALUES,
    WEBHOOK_ID,
    example,
)
from projections import keys
from tests.gateway import documented
from tests.gateway.clients import AgentClient, Client, open_client, recorded, settings_of


class Branch(msgspec.Struct):
    """Holds its own kind."""

    name: str
    led_to: list["Branch"]


class Story:
    """Sends examples; what has other ids here than in the document is told by `instead`."""

    def __init__(self, admin: Client) -> None:
        self.admin = admin
        self.instead: dict[str, Any] = {}
        self.sent: set[tuple[str, str]] = set()

    async def send(self, method: str, path: str, name: str = "", by: Client | None = None, **changed: Any) -> Any:
        """Sends one example of the operation's body, or all of them; returns the last answer."""
        item = documented.document()["paths"][path][method.lower()]
        examples = item["requestBody"]["content"]["application/json"]["examples"]
        answer: Any = None
        for each in [name] if name else examples:
            body = self._here(copy.deepcopy(examples[each]["value"])) | changed
            told = await (by or self.admin).ask(method, self._here(self._filled(path)), body)
            assert told.status_code < 300, (path, each, told.text)
            self.sent.add((item["operationId"], each))
            answer = told.json()
        return answer

    def _filled(self, path: str) -> str:
        paths = {
            "number": "1",
            "agent_id": "ann",
            "task_id": TASK_ID,
            "action_id": ACTION_ID,
            "name": "keys",
            "path": "coordinator",
        }
        paths |= {
            "key_id": KEY_ID,
            "user_id": USER_ID,
            "webhook_id": WEBHOOK_ID,
            "queue": "reports",
            "key": "deploy",
            "task_type": "analysis",
        }
        for name, value in paths.items():
            path = path.replace(f"{{{name}}}", value)
        return path

    def _here(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._here(part) for name, part in value.items()}
        for there, here in self.instead.items():
            value = value.replace(there, here) if isinstance(value, str) else value
        return value


def all_examples() -> set[tuple[str, str]]:
    return {
        (operation["operationId"], name)
        for item in documented.document()["paths"].values()
        for operation in item.values()
        for name in operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("examples", {})
    }


ISSUER = """
[[issuer]]
url = "https://id.example"
audience = "gavel"
keys = "https://id.example/keys"
default_role = "read_only"
"""


async def test_a_node_takes_every_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    issuers = tmp_path / "issuers.toml"
    issuers.write_text(ISSUER)
    async with open_client(settings_of(tmp_path, token_issuers=issuers)) as admin:
        await _tell(admin, monkeypatch)


async def _tell(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The story."""
    story = Story(admin)
    await story.send("POST", "/v1/keys")
    story.instead[KEY_ID] = (await admin.get("/v1/keys"))["keys"][0]["key_id"]
    await story.send("POST", "/v1/keys/{key_id}/replacement")
    await story.send("POST", "/v1/journals")
    await story.send("POST", "/v1/revocations")
    await _people(story)
    await _webhooks(story)
    await story.send("POST", "/v1/batch")
    await _agents_and_tasks(story)
    await admin.upload(TRIANGLE)
    story.instead[PROBLEM_ID] = (await story.send("POST", "/v1/problems"))["problem_id"]
    await story.send("POST", "/v1/solves")
    await story.send("POST", "/v1/blobs/uploads")
    for outcome in ("done", "failed"):
        story.instead[ACTION_ID] = (await story.send("POST", "/v1/audit/actions"))["action_id"]
        await story.send("PUT", "/v1/audit/actions/{action_id}", outcome)
    await story.send("POST", "/v1/audit/rotations")
    await story.send("PUT", "/v1/actors/{path}/log-level")
    await _read_models(story, monkeypatch)
    assert story.sent == all_examples()


async def _people(story: Story) -> None:
    story.instead[USER_ID] = (await story.send("POST", "/v1/users", "user"))["user_id"]
    await story.send("POST", "/v1/users", "least")
    await story.send("POST", "/session/password")
    story.admin.http.cookies.clear()
    await story.send("PATCH", "/v1/users/{user_id}")
    await story.send("PUT", "/v1/users/{user_id}/password")


async def _webhooks(story: Story) -> None:
    story.instead[WEBHOOK_ID] = (await story.send("POST", "/v1/webhooks"))["webhook_id"]
    await story.send("PATCH", "/v1/webhooks/{webhook_id}")
    for step in ("pause", "secret", "replay", "resume"):
        await story.send("POST", f"/v1/webhooks/{{webhook_id}}/{step}")


async def _agents_and_tasks(story: Story) -> None:
    admin = story.admin
    registered = await story.send("POST", "/v1/agents", "agent")
    ann = AgentClient(admin.node, admin.http, registered["key"], "ann")
    await story.send("PATCH", "/v1/agents/{agent_id}", by=ann)
    ivy = await admin.register("ivy", capabilities=["spelling"])
    await story.send("PUT", "/v1/task-types/{task_type}/schemas")
    await admin.ask("DELETE", "/v1/task-types/analysis/schemas")
    await story.send("POST", "/v1/tasks", "deadline")
    await story.send("POST", "/v1/tasks", "cheapest")
    await story.send("POST", "/v1/tasks", "window")
    await story.send("POST", "/v1/tasks", "queued")
    await story.send("POST", "/v1/tasks", "one at a time")
    await story.send("POST", "/v1/tasks", "regardless")
    await story.send("POST", "/v1/tasks", "widened")
    await story.send("POST", "/v1/tasks", "tried")
    await story.send("POST", "/v1/tasks", "least")
    await _sealed_bids(story, ann, ivy)
    for reports in (("started", "completed"), ("failed",), ("declined",)):
        task_id = (await story.send("POST", "/v1/tasks", "task"))["task_id"]
        await recorded(admin, "task.BookOpened", f"task-{task_id}")
        story.instead[TASK_ID] = task_id
        await story.send("PATCH", "/v1/tasks/{task_id}")
        await story.send("POST", "/v1/tasks/{task_id}/bids", by=ann)
        await story.send("POST", "/v1/tasks/{task_id}/refusals", by=ivy)  # now all have answered
        await recorded(admin, "task.TaskAwarded", f"task-{task_id}")
        await story.send("POST", "/v1/tasks/{task_id}/questions", by=ann)
        await story.send("PUT", "/v1/tasks/{task_id}/questions/{number}/answer")
        for report in reports:
            await story.send("PUT", "/v1/tasks/{task_id}/status", report, by=ann)
    await _inbox(story)
    await story.send("POST", "/v1/assignments:preview")
    await story.send("POST", "/v1/coordination/stop")
    story.instead[TASK_ID] = await admin.submit(capabilities=["spelling"])
    await story.send("POST", "/v1/tasks/{task_id}/assign")
    await admin.ask("POST", "/v1/coordination/start")
    await story.send("PUT", "/v1/concurrency/{key}")
    await story.send("POST", "/v1/queues/{queue}/pause")
    await admin.ask("POST", "/v1/queues/reports/resume")
    await story.send("POST", "/v1/tasks:batch")
    story.instead[TASK_ID] = await admin.dead_letter()
    await story.send("POST", "/v1/tasks/{task_id}/requeue")
    await story.send("POST", "/v1/agents", "least")
    await story.send("POST", "/v1/agents/{agent_id}/drain", by=ann)


async def _inbox(story: Story) -> None:
    eve = await story.admin.person("eve")
    await story.send("PUT", "/v1/inbox/profile", by=eve)
    waits = {"capabilities": ["proofreading"]}
    profile = (await eve.ask("PUT", "/v1/inbox/profile", waits)).json()
    assert profile["agent_id"] == eve.agent_id
    for number, reports in enumerate((("started", "completed"), ("failed",), ("released",))):
        story.instead[TASK_ID] = await story.admin.submit(**waits)
        await story.send("POST", "/v1/inbox/tasks/{task_id}/decline", by=eve)
        await story.send("POST", "/v1/inbox/tasks/{task_id}/take", ("as_listed", "otherwise")[number % 2], by=eve)
        await story.send("POST", "/v1/inbox/tasks/{task_id}/progress", by=eve)
        await story.send("POST", "/v1/inbox/tasks/{task_id}/questions", by=eve)
        for report in reports:
            await story.send("PUT", "/v1/inbox/tasks/{task_id}/status", report, by=eve)
    await story.send("POST", "/v1/inbox/profile/pause", by=eve)


async def _sealed_bids(story: Story, ann: AgentClient, ivy: AgentClient) -> None:
    task_id = story.instead[TASK_ID] = (await story.send("POST", "/v1/tasks", "sealed"))["task_id"]
    await recorded(story.admin, "task.BookOpened", f"task-{task_id}")
    await story.send("POST", "/v1/tasks/{task_id}/commitments", by=ann)
    await ivy.ask("POST", f"/v1/tasks/{task_id}/refusals")
    await recorded(story.admin, "task.RevealOpened", f"task-{task_id}")
    await story.send("POST", "/v1/tasks/{task_id}/reveals", by=ann)


async def _read_models(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    node = story.admin.node
    await node.projector.wait_for(node.system.journal.position)
    with monkeypatch.context() as poisoned:
        poisoned.setattr(keys, "apply", lambda recorded: 1 / 0)
        await story.send("POST", "/v1/keys", "operator")
        await node.projector.wait_for(node.system.journal.position)
    (stops_at,) = (standing.stopped_at for standing in node.projector.status() if standing.reason)
    await story.send("POST", "/v1/projections/{name}/skips", position=stops_at)
    await story.send("POST", "/v1/projections/rebuild", "some")
    while not all(one["rebuild"]["ended"] for one in await _rebuilds(story.admin)):
        await trio.lowlevel.checkpoint()
    await story.send("POST", "/v1/projections/rebuild", "all")


async def _rebuilds(admin: Client) -> list[Any]:
    shown = (await admin.get("/v1/projections"))["projections"]
    return [one for one in shown if one["rebuild"] is not None]


def test_the_triangle_is_what_its_digest_says() -> None:
    assert sha256(TRIANGLE).hexdigest() == TRIANGLE_DIGEST


def test_a_record_that_holds_its_own_kind_has_an_end() -> None:
    (schema,), schemas = msgspec.json.schema_components([Branch], ref_template="#/components/schemas/{name}")
    assert example(schema, schemas)["name"] == VALUES["name"][0]


def test_what_has_not_happened_yet_is_null() -> None:
    choices = {"anyOf": [{"type": "number"}, {"type": "null"}]}
    assert example({"type": "object", "properties": {"ended_at": choices}}, {}) == {"ended_at": None}


def test_bodies_of_requests_are_written_out() -> None:
    assert all(BODIES.values())

"""An operator sees the read models, makes them anew, and takes them past an event that stops them; the log says who did."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aggregates.task import TaskCancelled
from aggregates.values.roles import Role
from projections import tasks
from runtime.records import Recorded
from tests.gateway.clients import Client, open_client, settings_of

apply = tasks.apply


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[Client]:
    async with open_client(settings_of(tmp_path)) as admin:
        yield admin


def poison(monkeypatch: pytest.MonkeyPatch, task_id: str) -> None:
    """From now on the tasks' projection fails at that task's cancellation."""

    def failing(recorded: Recorded) -> Any:
        if isinstance(recorded.event, TaskCancelled) and recorded.event.task_id == task_id:
            raise ValueError("it can't be read")
        return apply(recorded)

    monkeypatch.setattr(tasks, "apply", failing)


async def shown(client: Client, name: str = tasks.NAME) -> Any:
    listed = await client.get("/v1/projections")
    return next(one for one in listed["projections"] if one["name"] == name)


async def cancelled(client: Client) -> int:
    """Cancels a task; returns the position at which the projections stand then, all but those that have stopped."""
    answer = await client.ask("DELETE", f"/v1/tasks/{await client.submit()}")
    position = int(answer.headers["Gavel-Position"])
    await client.node.projector.wait_for(position)
    return position


async def test_a_poisoned_event_stops_its_projection_alone_and_is_skipped_on_record(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = await admin.submit()
    await admin.get(f"/v1/tasks/{task_id}")
    poison(monkeypatch, task_id)
    await admin.ask("DELETE", f"/v1/tasks/{task_id}")
    other = await admin.submit()
    await admin.node.projector.wait_for(admin.node.system.journal.position)
    stopped = await shown(admin)
    at = stopped["stopped_at"]
    assert stopped["position"] == at - 1
    assert stopped["reason"] == "task.TaskCancelled: ValueError: it can't be read"
    assert (await shown(admin, "audit/3"))["reason"] == ""
    assert f"{tasks.NAME} stopped" in (await admin.ask("GET", "/readyz")).text

    why = {"position": at, "reason": "written by a faulty release"}
    elsewhere = await admin.ask("POST", "/v1/projections/tasks/skips", why | {"position": at + 1})
    assert (elsewhere.status_code, elsewhere.json()["type"]) == (409, "urn:gavel:problem:projection_not_stopped_there")
    assert (await admin.ask("POST", "/v1/projections/tasks/skips", why | {"reason": ""})).status_code == 422
    assert (await admin.ask("POST", "/v1/projections/nothing/skips", why)).status_code == 404
    for _ in range(2):
        assert (await admin.ask("POST", "/v1/projections/tasks/skips", why)).status_code == 200

    await admin.node.projector.wait_for(admin.node.system.journal.position, tasks)
    assert ((await shown(admin))["skipped"], (await shown(admin))["reason"]) == ([at], "")
    assert (await admin.get(f"/v1/tasks/{other}"))["task_id"] == other
    records = (await admin.get(f"/v1/log?limit=500&stream=projection-{tasks.NAME}"))["records"]
    assert [(one["kind"], one["data"]["position"], one["data"]["reason"]) for one in records] == [
        ("projection.EventSkipped", at, "written by a faulty release")
    ]
    assert records[0]["principal"].startswith("admin:")

    ended = admin.node.projector.rebuild(tasks.NAME)
    await ended.wait()
    assert ((await shown(admin))["rebuild"]["reason"], (await shown(admin))["skipped"]) == ("", [at])


async def test_a_projection_that_was_mended_tries_again_without_a_restart(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = await admin.submit()
    poison(monkeypatch, task_id)
    await admin.ask("DELETE", f"/v1/tasks/{task_id}")
    await admin.node.projector.wait_for(admin.node.system.journal.position)
    monkeypatch.setattr(tasks, "apply", apply)
    assert (await admin.ask("POST", "/v1/projections/tasks/retry", {})).status_code == 200
    await admin.node.projector.wait_for(admin.node.system.journal.position, tasks)
    assert (await admin.get(f"/v1/tasks/{task_id}"))["stage"] == "cancelled"
    assert (await admin.ask("POST", "/v1/projections/tasks/retry", {})).status_code == 409


async def test_read_models_are_made_anew_while_the_node_serves(admin: Client) -> None:
    await cancelled(admin)
    before = (await admin.node.projector.digests())["tasks"]
    answer = await admin.ask("POST", "/v1/projections/rebuild", {"projections": ["tasks", "audit/3"]})
    assert answer.status_code == 202
    assert sorted(one["name"] for one in answer.json()["projections"] if one["rebuild"]) == ["audit/3", tasks.NAME]
    assert (await admin.ask("POST", "/v1/projections/rebuild", {"projections": ["nothing"]})).status_code == 404
    while not (await shown(admin))["rebuild"]["ended"]:
        assert await admin.get("/v1/tasks")
    after = (await admin.node.projector.digests())["tasks"]
    assert (after.rows, after.sha256) == (before.rows, before.sha256)


async def test_who_only_watches_changes_nothing(admin: Client) -> None:
    auditor = await admin.with_role(Role.AUDITOR)
    assert (await auditor.get("/v1/projections"))["projections"]
    for path in ("rebuild", "tasks/retry", "tasks/skips"):
        answer = await auditor.ask("POST", f"/v1/projections/{path}", {"position": 1, "reason": "x"})
        assert answer.status_code == 403

"""What an environment or a file says of tasks holds for the node that is started with it."""

import time
from pathlib import Path

import pytest
import trio

from gateway import cli
from gateway.node import Elements
from gateway.settings import GavelSettings, load
from runtime.clock import SystemClock
from tests.gateway.clients import BID, AgentClient, Client, open_client, recorded


def settings_of(folder: Path, *files: Path, **environment: str) -> GavelSettings:
    unwatched = {"GAVEL_HANDLER_WARN_SECONDS": "0", "GAVEL_HANDLER_SECONDS_MAX": "0", "GAVEL_HOUSE_SOLVER": "false"}
    placed = {"GAVEL_DATA": str(folder / "data"), "GAVEL_BIND": "127.0.0.1:0"}
    return load(placed | unwatched | environment, config_paths=files)


async def count(admin: Client, kind: str, number: int) -> None:
    """Waits until so many events of a kind stand in the log."""
    journal, position = admin.node.system.journal, 0
    while number:
        for record in await journal.read(position):
            position = record.position
            number -= record.kind == kind
        if number:
            await journal.wait_past(position)


async def win(admin: Client, agent: AgentClient, task_id: str, attempt: int) -> None:
    await count(admin, "task.BookOpened", attempt)
    assert (await agent.ask("POST", f"/v1/tasks/{task_id}/bids", BID)).status_code == 201
    await count(admin, "task.TaskAwarded", attempt)


async def test_three_retries_are_four_attempts_and_one_command_offers_the_dead_letter_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], logs_as_they_were: None
) -> None:
    async with open_client(settings_of(tmp_path, MAX_TASK_RETRIES="3")) as admin:
        agent, task_id = await admin.register("a1"), await admin.submit()
        path = f"/v1/tasks/{task_id}"
        for attempt in (1, 2, 3, 4):
            assert (await admin.get(path))["stage"] != "dead_lettered"
            await win(admin, agent, task_id, attempt)
            failed = {"status": "failed", "token": attempt, "reason": "too hard"}
            assert (await agent.ask("PUT", f"{path}/status", failed)).status_code == 200
        row = await admin.get(path)
        assert (row["stage"], row["reason"]) == ("dead_lettered", "attempt 4 of 4: too hard")
        monkeypatch.setenv("GAVEL_DATA", str(tmp_path / "data"))
        command = ["requeue", task_id, "nothing", "--attempts", "2", "--reason", "once more"]
        assert await trio.to_thread.run_sync(cli.main, command) == 1
        said = capsys.readouterr().err
        assert f"{task_id}: offered again" in said
        assert "nothing: 404" in said
        assert (await admin.get(path))["attempts_max"] == 6
        await win(admin, agent, task_id, 5)
        assert await trio.to_thread.run_sync(cli.main, ["requeue", task_id, "--json"]) == 1
        assert f'"denied":"409 {task_id} is awarded"' in capsys.readouterr().out


async def test_a_timeout_is_the_budget_of_tasks_that_ask_for_none_and_its_end_is_kept(tmp_path: Path) -> None:
    ahead = 0.0
    clock = SystemClock(monotonic=lambda: time.monotonic() + ahead)
    settings = settings_of(tmp_path, TASK_TIMEOUT="60", MAX_TASK_RETRIES="0", GAVEL_LEASE_SECONDS="40")
    async with open_client(settings, elements=Elements(clock)) as admin:
        agent, task_id = await admin.register("a1"), await admin.submit()
        assert (
            await admin.ask("POST", "/v1/tasks", {"task_type": "analysis", "budget_seconds": 61})
        ).status_code == 422
        await win(admin, agent, task_id, 1)
        assert (await admin.get(f"/v1/tasks/{task_id}"))["budget_seconds"] == 60.0
        for seconds in (25.0, 50.0, 66.0):
            ahead = seconds
            assert (await agent.ask("POST", "/v1/agents/a1/heartbeat")).status_code == 200
        await recorded(admin, "task.TaskDeadLettered", f"task-{task_id}")
        assert (await admin.get(f"/v1/tasks/{task_id}"))["reason"] == "attempt 1 of 1: over_budget"


async def test_what_nobody_can_do_is_told_at_the_next_look_of_the_interval(tmp_path: Path) -> None:
    path = tmp_path / "multi-agent.yaml"
    path.write_text("coordination: {interval_seconds: 3600}\n", encoding="utf-8")
    async with open_client(settings_of(tmp_path, path, COORDINATION_INTERVAL="0.05")) as admin:
        await recorded(admin, "task.TaskStalled", f"task-{await admin.submit()}")

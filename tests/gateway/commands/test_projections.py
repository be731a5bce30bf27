"""`gavel projections`: lists, makes anew, skips and tries again, on a node that runs."""

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway import cli
from projections import tasks
from tests.gateway.clients import open_client, settings_of
from tests.gateway.routes.test_projections import poison


async def test_the_command_line_lists_rebuilds_tries_again_and_skips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GAVEL_DATA", str(tmp_path / "data"))

    async def run(*words: str, json_wanted: bool = True) -> tuple[int, Any]:
        command = ["projections", *words, *(["--json"] if json_wanted else [])]
        code = await trio.to_thread.run_sync(cli.main, command)
        told = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("20")]
        return code, json.loads(told[-1]) if json_wanted else "\n".join(told)

    async with open_client(settings_of(tmp_path)) as admin:
        task_id = await admin.submit()
        code, told = await run("rebuild", "tasks")
        assert (code, [one["name"] for one in told["projections"]]) == (0, [tasks.NAME])
        poison(monkeypatch, task_id)
        await admin.ask("DELETE", f"/v1/tasks/{task_id}")
        await admin.node.projector.wait_for(admin.node.system.journal.position)
        code, told = await run("list")
        at = max(one["stopped_at"] for one in told["projections"])
        assert code == 1
        code, text = await run("retry", "tasks", json_wanted=False)
        assert code == 1
        assert f"STOPPED at {at}: task.TaskCancelled: ValueError: it can't be read" in text
        code, told = await run("skip", "tasks", str(at), "--reason", "a faulty release wrote it")
        assert code == 0
        assert [one["skipped"] for one in told["projections"] if one["name"] == tasks.NAME] == [[at]]

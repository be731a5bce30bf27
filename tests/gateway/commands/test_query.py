"""`gavel query`: the read models in SQL, as they stand and as they stood; nothing can be written."""

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway import cli
from tests.gateway.clients import open_client, settings_of

TASKS = "SELECT id, task_type, status, assigned_agent FROM tasks"


async def test_read_models_are_asked_in_sql_as_they_stand_and_as_they_stood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GAVEL_DATA", str(tmp_path / "data"))

    async def run(*words: str) -> tuple[int, Any]:
        code = await trio.to_thread.run_sync(cli.main, ["query", *words, "--json"])
        said = capsys.readouterr()
        told = [line for line in said.out.splitlines() if line.startswith("{")]
        return code, json.loads(told[-1]) if told else said.err

    async with open_client(settings_of(tmp_path)) as admin:
        task_id = await admin.submit(capabilities=[])
        position = admin.node.system.journal.position
        await admin.ask("DELETE", f"/v1/tasks/{task_id}")
        end = admin.node.system.journal.position
        await admin.node.projector.wait_for(end)
        now = {
            "columns": ["id", "task_type", "status", "assigned_agent"],
            "rows": [[task_id, "analysis", "cancelled", None]],
        }
        for _ in range(2):
            assert await run(TASKS) == (0, now)
            assert await run(TASKS, "--as-of", str(end)) == (0, now)
            code, then = await run(TASKS, "--as-of", str(position))
            assert (code, then["rows"][0][0]) == (0, task_id)
            assert then["rows"][0][2] != "cancelled"
            assert (await run(TASKS, "--as-of", "2001-01-01T00:00:00Z"))[1]["rows"] == []
        for words in (
            ["DELETE FROM tasks"],
            ["SELECT nothing"],
            [TASKS, "--as-of", str(end + 900)],
            [TASKS, "--as-of", "x"],
        ):
            code, said = await run(*words)
            assert (code, "gavel: " in said) == (2, True)
        assert len((await admin.get("/v1/tasks"))["tasks"]) == 1
    assert await run(TASKS) == (0, now)

"""`gavel selftest`: what holds is told line by line, what does not is named, and the exit code says which."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway import cli
from gateway.selftest import checked, of_machine
from tests.gateway.certificates import Authority
from tests.gateway.clients import open_client, recorded, settings_of

ON_MACHINE = ["memory", "disk", "clock", "door", "addresses"]
ON_NODE = ["ready", "task", "read models", "journal", "rates", "metrics"]


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


def test_a_node_of_its_own_is_checked_from_the_first_task_to_its_seal_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GAVEL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("GAVEL_BIND", "127.0.0.1:0")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cli.main(["selftest", "--json"]) == 0
    answer = told(capsys)
    assert answer["ok"]
    assert [one["name"] for one in answer["checks"]] == ON_MACHINE + ON_NODE
    assert list(tmp_path.iterdir()) == []


async def test_a_node_that_runs_does_the_task_for_a_tenant_of_its_own_and_what_fails_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GAVEL_DATA", str(tmp_path / "data"))
    assert await trio.to_thread.run_sync(cli.main, ["selftest", "--running"]) == 2
    assert "no node runs on" in capsys.readouterr().err
    async with open_client(settings_of(tmp_path)) as admin:
        assert await trio.to_thread.run_sync(cli.main, ["selftest", "--running"]) == 0
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("ok ", "FAIL"))]
        assert [line[6:18].strip() for line in lines] == ON_MACHINE + ON_NODE
        assert all(line.startswith("ok ") for line in lines), lines
        await recorded(admin, "task.TaskCompleted")
        assert (await admin.get("/v1/tasks"))["tasks"] == []
        admin.node.room.bytes_min = 2**62
        assert await trio.to_thread.run_sync(cli.main, ["selftest", "--running", "--json"]) == 1
        failed = {one["name"]: one["found"] for one in told(capsys)["checks"] if not one["ok"]}
        assert "507" in failed["task"]
        assert {"ready", "task"} <= set(failed) <= {"ready", "task", "metrics"}


async def test_what_is_wrong_with_the_machine_or_the_settings_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = Authority(tmp_path).issue("server", days=3)
    listener, *_ = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    settings = settings_of(
        tmp_path,
        bind=(f"127.0.0.1:{port}",),
        tls_certificate=certificate,
        tls_key=key,
        disk_free_bytes_min=2**62,
    )
    monkeypatch.setattr("gateway.selftest.CLOCK_SECONDS_MIN", 1e12)
    monkeypatch.setattr("gateway.selftest.MEMORY_BYTES_MIN", 2**62)
    found = await trio.to_thread.run_sync(lambda: list(of_machine(settings, is_running=False)))
    listener.socket.close()
    assert [one.name for one in found if not one.ok] == ON_MACHINE
    for one, said in zip(found, ("a node needs", "below", "clock is wrong", "ends in", "is taken"), strict=True):
        assert said in one.found, one


def test_a_fault_of_the_check_itself_is_not_taken_for_an_answer() -> None:
    with pytest.raises(LookupError):
        checked("x", lambda: os.environ["ABSENT"])

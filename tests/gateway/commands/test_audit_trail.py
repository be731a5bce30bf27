"""`gavel audit trail` tells who did what to whom; what is done with a node's files is on record too, or not done."""

from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from eventsourcing.persistence import OperationalError

from gateway.cli import main
from gateway.commands.noting import on_record
from gateway.verdicts import Wrong
from tests.gateway.clients import Client

WHENCE = {"Gavel_Reason": "lost", "Gavel_On_Behalf_Of": "tenant:acme"}


async def gavel(*arguments: str) -> int:
    """The command in this process, beside the node that serves it."""
    return int(await trio.to_thread.run_sync(partial(main, list(arguments))) or 0)


async def said(admin: Client, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert await gavel(*arguments, "--data", str(admin.node.settings.data)) == 0
    return capsys.readouterr().out


async def test_the_trail_is_told_a_line_each_the_newest_last_or_as_json(
    admin: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    made = (await admin.ask("POST", "/v1/keys", {"role": "agent"}, **WHENCE)).json()["key_id"]
    asked = ("audit", "trail", "--subject", f"key-{made}", "--on-behalf-of", "tenant:acme")
    lines = (await said(admin, capsys, *asked)).splitlines()
    assert ["keys.issue" in line or "key.KeyIssued" in line for line in lines] == [True] * 3
    assert all(line.endswith("from 127.0.0.1  on behalf of tenant:acme  because lost") for line in lines)
    told: dict[str, Any] = msgspec.json.decode(await said(admin, capsys, *asked, "--json", "--limit", "2"))
    assert [row["outcome"] for row in told["trail"]] == ["done", "done"]
    assert msgspec.json.decode(await said(admin, capsys, "audit", "trail", "--outcome", "refused", "--json")) == {
        "trail": []
    }


async def test_a_backup_an_export_and_a_query_are_on_record_with_why(
    admin: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await said(admin, capsys, "backup", str(tmp_path / "copy.db"), "--reason", "daily")
    await said(admin, capsys, "log", "export", str(tmp_path / "log.msgpack"))
    await said(admin, capsys, "query", "SELECT 1")
    rows = (await admin.get("/v1/audit/trail?outcome=done&kind=action.ActionEnded"))["trail"]
    assert [row["action"] for row in rows] == ["files.query", "files.export", "files.backup"]
    assert rows[2]["reason"] == "daily"
    assert rows[2]["subject"] == str(tmp_path / "copy.db")


async def test_what_a_running_node_cannot_record_is_not_done(
    admin: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(batch: object) -> None:
        raise OperationalError("database or disk is full")

    def back_up() -> None:
        with on_record(admin.node.settings, "backup", "copy.db"):
            raise AssertionError("it was done")

    with monkeypatch.context() as patched:
        patched.setattr(admin.node.store, "append", fail)
        with pytest.raises(Wrong, match="not done"):
            await trio.to_thread.run_sync(back_up)


async def test_what_fails_is_on_record_as_failed(admin: Client) -> None:
    def back_up() -> None:
        with on_record(admin.node.settings, "backup", "copy.db"):
            raise Wrong("copy.db exists")

    with pytest.raises(Wrong, match="exists"):
        await trio.to_thread.run_sync(back_up)
    (row,) = (await admin.get("/v1/audit/trail?outcome=failed"))["trail"]
    assert (row["action"], row["code"]) == ("files.backup", "Wrong")


async def test_why_and_for_whom_stand_in_the_environment(
    admin: Client, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAVEL_REASON", "a new\nagent")
    monkeypatch.setenv("GAVEL_ON_BEHALF_OF", "tenant:acme")
    await said(admin, capsys, "keys", "create", "--role", "agent")
    (row,) = (await admin.get("/v1/audit/trail?kind=key.KeyIssued&on_behalf_of=tenant:acme"))["trail"]
    assert (row["reason"], row["behalf"]) == ("a new agent", "tenant:acme")

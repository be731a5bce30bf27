"""A whole node whose journal is in PostgreSQL: served, asked, restarted, judged, copied and replayed like any other."""

import json
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import trio

from benchmarks.postgres_server import Server
from gateway import cli
from gateway.storage.folder import FolderUnusable
from runtime.store.contract import Locked
from runtime.verification import verify
from tests.contract.places import make_database
from tests.gateway.clients import TASK, Client, open_client, settings_of
from tests.gateway.test_subjects import erase, found_in, plant

pytestmark = pytest.mark.usefixtures("logs_as_they_were")


@pytest.fixture
def address(server: Server, fresh_name: str) -> str:
    return make_database(server.address, fresh_name)


async def test_a_node_on_postgres_answers_repeats_and_goes_on_after_a_restart(tmp_path: Path, address: str) -> None:
    settings = settings_of(tmp_path, journal=address)
    key = str(uuid4())
    async with open_client(settings) as admin:
        first = await admin.ask("POST", "/v1/tasks", TASK, Idempotency_Key=key)
        assert first.status_code == 202, first.text
        report = (await admin.ask("GET", "/v1/audit/verify")).json()
        assert (report["whole"], report["positions"]) == (True, admin.node.store.position - 1)
        with pytest.raises(Locked):
            async with open_client(settings_of(tmp_path / "other", journal=address)):
                pass
    async with open_client(settings) as admin:
        again = await admin.ask("POST", "/v1/tasks", TASK, Idempotency_Key=key)
        assert (again.status_code, again.json()) == (first.status_code, first.json())
        await admin.node.projector.wait_for(admin.node.system.journal.position)
        assert len((await admin.get("/v1/tasks"))["tasks"]) == 1
    assert not (tmp_path / "data" / "journal.db").exists()


async def test_while_the_server_is_away_readers_are_told_to_come_again(
    tmp_path: Path, address: str, server: Server
) -> None:
    unread = ("/v1/audit/checkpoint", "/v1/log?stream=key-x")
    async with open_client(settings_of(tmp_path, journal=address, ask_seconds_max=0.5)) as admin:
        store: Any = admin.node.store
        store._datastore.pool.timeout = 0.01
        await trio.to_thread.run_sync(server.stop)
        for path in unread:
            answer = await admin.ask("GET", path)
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:gavel:problem:journal_unreadable"), path
            assert answer.headers["retry-after"] == "2"
            assert str(server.folder) not in answer.text
        status = await admin.get("/v1/status")
        assert status["checkpoint"] is None
        assert "the journal can't be read" in status["faults"][-1]
        assert (await admin.ask("POST", "/v1/tasks", TASK)).status_code == 503
        assert (
            await admin.ask("GET", "/v1/audit/verify")
        ).status_code == 503  # that it is asked for is on record first
        await trio.to_thread.run_sync(server.start)
        store._datastore.pool.timeout = 5.0
        for path in unread:
            assert await _answered(admin, path) == 200


async def _answered(admin: Client, path: str) -> int:
    """The status as soon as it is no 503: the actors' memories come back first."""
    for _ in range(100):
        status = (await admin.ask("GET", path)).status_code
        if status != 503:
            return status
        await trio.sleep(0.1)
    return 503


async def test_a_node_on_postgres_has_no_named_journals(tmp_path: Path, address: str) -> None:
    on_files, on_postgres = settings_of(tmp_path), settings_of(tmp_path, journal=address)
    async with open_client(on_postgres) as admin:
        answer = await admin.ask("POST", "/v1/journals", {"name": "acme"})
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:gavel:problem:journals_unavailable")
        assert not admin.node.folder.journals.exists()
    async with open_client(on_files) as admin:
        assert (await admin.ask("POST", "/v1/journals", {"name": "acme"})).status_code == 201
        tenant = Client(admin.node, admin.http, admin.node.folder.named("acme").admin_key.read_text())
        await tenant.submit()
    with pytest.raises(FolderUnusable, match="holds records, and the shared journal"):
        async with open_client(on_postgres):
            pass


async def test_commands_read_a_journal_in_postgres_while_a_node_writes_it(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_client(settings_of(tmp_path, journal=address)) as admin:
        for _ in range(5):
            await admin.submit()
        monkeypatch.setenv("GAVEL_DATA", str(admin.node.folder.path))
        monkeypatch.setenv("GAVEL_JOURNAL", address)
        commands = (
            ["audit", "verify", address, "--json"],
            ["audit", "prove", "3", address, "--json"],
            ["audit", "prove", "3", "--json"],
            ["backup", str(tmp_path / "copy.db"), "--json"],
            ["log", "replay", "--json"],
            ["log", "export", str(tmp_path / "records"), "--json"],
        )
        for command in commands:
            await admin.node.projector.wait_for(admin.node.system.journal.position)
            assert await trio.to_thread.run_sync(cli.main, command) == 0, command
        after_backup = admin.node.store.position - 2  # an export's record of its begin and end
    judged, proven, proven_too, copied, replayed, exported = map(
        json.loads, (line for line in capsys.readouterr().out.splitlines() if line.startswith("{"))
    )
    position = after_backup - 1  # that a backup has begun is in it, and not how it ended
    assert (judged["whole"], judged["positions"]) == (True, position - 1)
    assert proven["position"] == 3
    assert proven_too == proven
    assert (copied["whole"], copied["positions"]) == (True, position)
    assert (replayed["equal"], replayed["records"], exported["records"]) == (True, position + 1, position + 2)
    assert verify(tmp_path / "copy.db").positions == position


async def test_the_read_models_can_stand_in_postgres_too_and_are_found_again_there(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of(tmp_path, journal=address, read_models=address)
    async with open_client(settings) as admin:
        task_id = await admin.submit()
        assert (await admin.ask("DELETE", f"/v1/tasks/{task_id}")).status_code == 200
        before = await admin.get(f"/v1/tasks/{task_id}")
        ended = admin.node.projector.rebuild()
        await ended.wait()
        assert [one.reason for one in admin.node.projector.rebuilds] == [""] * len(admin.node.projector.projections)
        assert await admin.get(f"/v1/tasks/{task_id}") == before
    async with open_client(settings) as admin:
        assert await admin.get(f"/v1/tasks/{task_id}") == before
        trail = (await admin.get("/v1/audit/trail"))["trail"]
        mine = [row for row in trail if row["principal"] == before["submitted_by"]]
        assert (await admin.get(f"/v1/audit/trail?principal={before['submitted_by']}"))["trail"] == mine != []
        monkeypatch.setenv("GAVEL_DATA", str(admin.node.folder.path))
        for name in ("GAVEL_JOURNAL", "GAVEL_READ_MODELS"):
            monkeypatch.setenv(name, address)
        assert await trio.to_thread.run_sync(cli.main, ["log", "replay", "--json"]) == 0
    (told,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("{"))
    assert json.loads(told)["equal"] is True
    assert not (tmp_path / "data" / "read.db").exists()


def test_read_models_that_are_out_of_reach_are_named_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GAVEL_READ_MODELS", "postgresql://ann:secret@127.0.0.1:1/gavel")
    assert cli.main(["serve", "--data", str(tmp_path / "data"), "--bind", "127.0.0.1:0"]) == 2
    said = capsys.readouterr().err
    assert "the read models can't be opened" in said
    assert "secret" not in said


@pytest.mark.parametrize("command", [["audit", "verify", "{}"], ["backup", "copy.db"]])
def test_a_database_without_a_journal_is_named(
    tmp_path: Path,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GAVEL_JOURNAL", address)
    assert cli.main([word.format(address) for word in command]) == 2
    assert "there is no journal main on" in capsys.readouterr().err


def test_a_server_that_is_not_there_is_named_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GAVEL_JOURNAL", "postgresql://ann:secret@127.0.0.1:1/gavel")
    assert cli.main(["serve", "--data", str(tmp_path / "data"), "--bind", "127.0.0.1:0"]) == 2
    said = capsys.readouterr().err
    assert "the journal can't be opened" in said
    assert "secret" not in said


def test_without_the_driver_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "runtime.store.postgres", raising=False)
    monkeypatch.delattr("runtime.store.postgres", raising=False)
    monkeypatch.setenv("GAVEL_JOURNAL", "postgresql:///gavel")
    assert cli.main(["serve", "--data", str(tmp_path / "data"), "--bind", "127.0.0.1:0"]) == 2
    assert "install gavel-runtime[postgres]" in capsys.readouterr().err


async def test_the_first_designs_queries_run_unchanged_on_postgres(tmp_path: Path, address: str) -> None:
    async with open_client(settings_of(tmp_path, read_models=address)) as admin:
        await admin.register("a1")
        task_id = await admin.submit(capabilities=[])
        await admin.node.projector.wait_for(admin.node.system.journal.position)
        agents = "SELECT id, agent_type, status, last_heartbeat FROM agents"
        tasks = "SELECT id, task_type, status, assigned_agent FROM tasks"
        ((name, kind, status, heard),) = await admin.node.projector.query(
            lambda connection: connection.exec_driver_sql(agents).all()
        )
        assert (name, kind, status, heard > 0) == ("a1", "performance", "active", True)
        ((name, kind, status, _),) = await admin.node.projector.query(
            lambda connection: connection.exec_driver_sql(tasks).all()
        )
        assert (name, kind) == (task_id, "analysis")


async def test_an_erased_person_is_in_no_table_of_the_server_any_more(
    address: str, tmp_path: Path, server: Server
) -> None:
    settings = settings_of(tmp_path, journal=address, read_models=address, encrypt_at_rest=True)
    async with open_client(settings) as admin:
        await plant(admin)
        await trio.to_thread.run_sync(checkpoint, address)
        assert {found.partition(" in ")[0] for found in found_in(server.data / "base")} >= {"description", "payload"}
        await erase(admin)
        await trio.to_thread.run_sync(checkpoint, address)
        assert found_in(server.data / "base") == found_in(tmp_path) == set()
        assert (await admin.get("/v1/audit/verify"))["whole"]


def checkpoint(address: str) -> None:
    """Until then files of tables that were replaced are still there."""
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("CHECKPOINT")

"""A node starts and stops in order, keeps its secrets to its owner, and says what keeps it from being ready."""

import os
import stat
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from eventsourcing.persistence import OperationalError

from gateway.node import Exposed, FolderUnusable, PortTaken, open_node
from runtime.errors import Crashed, Exhausted
from runtime.evidence import Unreadable
from runtime.store.recorder import JournalRecorder
from runtime.store.sqlite import Locked
from tests.gateway.clients import TASK, Client, open_client, settings_of


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_the_first_start_makes_a_key_that_the_next_start_takes(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    async with open_client(settings) as admin:
        key = (settings.data / "admin-key").read_text()
        assert key == admin.key
        assert mode(settings.data) == 0o700
        for name in ("admin-key", "node-secret", "journal-key"):
            assert mode(settings.data / name) == 0o600
        note = msgspec.json.decode((settings.data / "node.json").read_bytes())
        assert note == {"url": admin.node.url, "pid": os.getpid()}
        task_id = await admin.submit()
        position = admin.node.system.journal.position
    assert not (settings.data / "node.json").exists()
    async with open_client(settings) as admin:
        assert admin.key == key
        assert (await admin.get(f"/v1/tasks/{task_id}"))["task_id"] == task_id
        assert admin.node.system.journal.position == position


async def test_a_lost_journal_is_noticed_and_a_new_one_takes_the_key_in_the_folder(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    async with open_client(settings) as admin:
        key = admin.key
    for path in settings.data.glob("journal.db*"):
        path.unlink()
    with pytest.raises(Unreadable, match="does not hold the checkpoint"):
        async with open_client(settings):
            pass
    (settings.data / "checkpoints").rename(tmp_path / "kept")
    async with open_client(settings) as admin:
        assert admin.key == key
        assert (await admin.ask("GET", "/v1/tasks")).status_code == 200


async def test_a_disk_that_fails_for_a_moment_ends_no_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failures = JournalRecorder.insert_events, [OperationalError("disk I/O error")] * 2

    def fails_at_first(recorder: JournalRecorder, *arguments: Any, **named: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(recorder, *arguments, **named)

    monkeypatch.setattr(JournalRecorder, "insert_events", fails_at_first)
    monkeypatch.setattr("gateway.parts.TRY_AGAIN_SECONDS", 0.01)
    async with open_client(settings_of(tmp_path)) as admin:
        assert (await admin.ask("GET", "/v1/tasks")).status_code == 200
    assert not failures


async def test_a_node_without_a_door_is_asked_by_its_opener(tmp_path: Path) -> None:
    async with open_node(settings_of(tmp_path), door=False) as node:
        assert node.url == ""
        assert node.faults() == []
        assert not node.folder.node.exists()


async def test_two_nodes_cannot_share_a_folder(tmp_path: Path) -> None:
    async with open_node(settings_of(tmp_path), door=False):
        with pytest.raises(Locked):
            async with open_node(settings_of(tmp_path), door=False):
                pass


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path)) as admin:
        bind = admin.node.url.removeprefix("http://")
        with pytest.raises(PortTaken, match=bind.rpartition(":")[2]):
            async with open_node(settings_of(tmp_path / "other", bind=bind)):
                pass


@pytest.mark.parametrize("bind", ["0.0.0.0:0", "192.0.2.1:8070", "[::]:0", "gavel.example:80"])
async def test_a_door_to_other_machines_needs_a_word(tmp_path: Path, bind: str) -> None:
    with pytest.raises(Exposed):
        async with open_node(settings_of(tmp_path, bind=bind)):
            pass
    assert not (tmp_path / "data").exists()


async def test_a_door_to_other_machines_is_reached_from_this_one(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path, bind="0.0.0.0:0", insecure=True)) as admin:
        assert admin.node.url.startswith("http://127.0.0.1:")
        assert (await admin.ask("GET", "/readyz")).status_code == 200


@pytest.mark.parametrize("name", ["admin-key", "node-secret"])
async def test_a_secret_that_others_can_read_is_refused(tmp_path: Path, name: str) -> None:
    settings = settings_of(tmp_path)
    async with open_node(settings, door=False):
        pass
    (settings.data / name).chmod(0o644)
    with pytest.raises(FolderUnusable, match=name):
        async with open_node(settings, door=False):
            pass


@pytest.mark.parametrize("name", ["admin-key", "node-secret"])
async def test_a_secret_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    settings = settings_of(tmp_path)
    async with open_node(settings, door=False):
        pass
    (settings.data / name).write_text("sesame\n")
    with pytest.raises(FolderUnusable, match=name):
        async with open_node(settings, door=False):
            pass


async def test_a_data_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(FolderUnusable, match="data"):
        async with open_node(settings_of(tmp_path), door=False):
            pass


async def test_health_needs_no_credentials(admin: Client) -> None:
    for path in ("/livez", "/readyz"):
        assert (await admin.http.get(admin.node.url + path)).status_code == 200


async def test_a_full_disk_is_told_and_the_node_lives(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(batch: object) -> None:
        raise OperationalError("database or disk is full")

    position = admin.node.system.journal.position
    with monkeypatch.context() as patched:
        patched.setattr(admin.node.store, "append", fail)
        answer = await admin.ask("POST", "/v1/tasks", TASK)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert "disk is full" in answer.json()["detail"]
        ready = await admin.ask("GET", "/readyz")
        assert (ready.status_code, ready.json()["type"]) == (503, "urn:gavel:problem:not_ready")
        assert "disk is full" in ready.json()["detail"]
        assert (await admin.ask("GET", "/livez")).status_code == 200
    assert admin.node.system.journal.position == position
    await admin.submit()
    assert (await admin.ask("GET", "/readyz")).status_code == 200


async def test_a_bug_is_answered_with_an_id_and_the_node_lives(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def crash(*arguments: object) -> None:
        raise Crashed("e1")

    with monkeypatch.context() as patched:
        patched.setattr(admin.node.projector, "glance", crash)
        answer = await admin.ask("GET", "/v1/tasks")
        assert (answer.status_code, answer.json()["error_id"]) == (500, "e1")
    assert (await admin.ask("GET", "/v1/tasks")).status_code == 200


async def test_an_exhausted_actor_ends_the_node_and_is_named(tmp_path: Path) -> None:
    async def run_and_exhaust() -> None:
        async with open_node(settings_of(tmp_path), door=False) as node:
            node.system.end(Exhausted("coordinator default failed"))
            await trio.sleep_forever()

    with pytest.raises(Exhausted, match="coordinator"):
        await run_and_exhaust()


async def test_a_failure_within_the_node_comes_out_as_itself(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="mine"):
        async with open_node(settings_of(tmp_path)):
            raise LookupError("mine")


async def test_a_node_stops_while_a_client_holds_a_connection(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        async with open_client(settings_of(tmp_path)) as admin:
            port = int(admin.node.url.rpartition(":")[2])
            stream = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
            await stream.send_all(b"GET /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Le")
        with pytest.raises(OSError, match="all attempts"):
            await trio.open_tcp_stream("127.0.0.1", port)

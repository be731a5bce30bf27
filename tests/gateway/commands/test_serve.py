"""`gavel serve` as a service manager sees it, and when an actor is broken for good or does not come back: the reason is its last word."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest
import trio
from structlog.testing import capture_logs

from gateway.api import faults
from gateway.commands import serve as serving
from gateway.commands.serve import is_closed, is_collected
from gateway.settings import resolved
from gateway.verdicts import CRASHED, WRONG
from runtime.verification import verify
from runtime.watchdog import STUCK
from tests import forks
from tests.gateway.certificates import Authority
from tests.gateway.clients import settings_of
from tests.gateway.test_cli import SECONDS_MAX, surroundings

# A node whose security actor, once the node is open, does what it should not.
PROGRAM = """
import sys, threading, time, urllib.request
from agents.securing.security import Security
from aggregates.key import Authenticate
from gateway import cli
from gateway.commands import serve

def knock(settings, node):
    url = node.url
    def send():
        while True:
            token = "gvl_" + "0" * 32 + "_" + "a" * 32
            request = urllib.request.Request(url + "/v1/tasks", headers={"Authorization": "Bearer " + token})
            try:
                urllib.request.urlopen(request, timeout=1).close()
            except OSError:
                pass
    threading.Thread(target=send, daemon=True).start()

handle = Security.handle

def misbehave(self, message):
    if isinstance(message, Authenticate):
        (HOW)
    return handle(self, message)

Security.handle = misbehave
serve.welcome = knock
sys.exit(cli.main(["serve", "--bind", "127.0.0.1:0"]))
"""


def serve(folder: Path, how: str, **settings: str) -> subprocess.CompletedProcess[bytes]:
    environment = surroundings(folder) | {"GAVEL_LOG_FORMAT": "json"} | settings
    return forks.run(PROGRAM.replace("(HOW)", how), folder=folder, environment=environment)


def test_a_node_whose_actor_fails_too_often_ends_with_the_reason(tmp_path: Path) -> None:
    ended = serve(tmp_path, "raise LookupError('no such key')")
    assert ended.returncode == CRASHED, ended.stderr
    last = json.loads(ended.stderr.splitlines()[-1])
    assert (last["level"], last["event"]) == ("critical", "node_stopped")
    assert "security/node failed too often; last: LookupError('no such key')" in last["reason"]
    assert verify(tmp_path / "data" / "journal.db").whole


def test_a_node_that_a_handler_holds_up_ends_with_the_reason(tmp_path: Path) -> None:
    ended = serve(tmp_path, "time.sleep(3600)", GAVEL_HANDLER_WARN_SECONDS="0.2", GAVEL_HANDLER_SECONDS_MAX="0.5")
    assert ended.returncode == STUCK, ended.stderr
    warned, last = map(json.loads, ended.stderr.splitlines()[-2:])
    assert (warned["actor"], warned["message"]) == ("security/node", "Authenticate")
    assert "misbehave" in warned["stack"]
    assert (last["level"], "security/node on Authenticate" in last["reason"]) == ("critical", True)
    assert verify(tmp_path / "data" / "journal.db").whole


def test_a_node_whose_log_can_not_be_written_serves_and_ends_in_order(tmp_path: Path) -> None:
    path, environment = tmp_path / "door", surroundings(tmp_path) | {"GAVEL_HOUSE_SOLVER": "false"}
    with open("/dev/full", "wb", buffering=0) as full:
        command = ("serve", "--bind", f"unix:{path}")
        node = forks.start(forks.GAVEL, *command, folder=tmp_path, environment=environment, output=full, errors=full)
    try:
        transport = httpx2.HTTPTransport(uds=str(path))
        with httpx2.Client(transport=transport, base_url="http://node", timeout=SECONDS_MAX) as client:
            while node.is_running and not path.exists():
                time.sleep(0.01)
            assert node.is_running
            assert client.get("/readyz").status_code == 200
            token = (tmp_path / "data" / "admin-key").read_text().strip()
            bearer = {"Authorization": f"Bearer {token}"}
            for _ in range(3):
                answer = client.post("/v1/tasks", json={"task_type": "analysis"}, headers=bearer)
                assert answer.status_code == 202, answer.text
        node.send_signal(signal.SIGTERM)
        assert node.wait() == 0
    finally:
        node.kill()
    assert verify(tmp_path / "data" / "journal.db").whole


def test_spans_without_their_library_are_refused_before_the_node_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gateway import cli

    monkeypatch.setenv("GAVEL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("GAVEL_OPENTELEMETRY", "true")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    assert cli.main(["serve", "--bind", "127.0.0.1:0"]) == WRONG
    assert "install gavel-runtime[otel]" in capsys.readouterr().err


async def test_what_tells_faults_is_loaded_by_a_thread_once_the_node_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, loaded = serving._Run(settings_of(tmp_path)), []

    def load() -> None:
        loaded.append((threading.current_thread() is threading.main_thread(), run.node is not None))
        trio.from_thread.run_sync(run.stop.set)

    monkeypatch.setattr(faults, "load", load)
    with trio.fail_after(SECONDS_MAX):
        await serving._run(run)
    assert loaded == [(False, True)]


def test_the_log_says_which_source_won_and_what_was_said_in_vain(tmp_path: Path) -> None:
    file = tmp_path / "multi-agent.yaml"
    file.write_text("coordination: {interval_seconds: 30, consensus_threshold: 0.7}\n", encoding="utf-8")
    with capture_logs() as lines:
        serving._tell_sources(resolved({"COORDINATION_INTERVAL": "15"}, config_paths=[file]))
    won, vain = lines
    assert (won["event"], won["setting"], won["value"]) == (
        "setting_overridden",
        "coordination_interval_seconds",
        "15.0",
    )
    assert won["by"] == "environment (COORDINATION_INTERVAL)"
    assert won["over"] == [f"{file} (coordination.interval_seconds)"]
    assert (vain["event"], vain["setting"]) == ("setting_without_effect", "consensus_threshold")


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ({}, []),
        ({"QUANTUM_BACKEND": "local"}, []),
        ({"QUANTUM_BACKEND": "dynex"}, [("backend_not_ready", "not_configured")]),
        (
            {"QUANTUM_BACKEND": "dynex", "GAVEL_DYNEX_API_KEY": "k", "GAVEL_DYNEX_API_SECRET": "s"},
            [("backend_not_ready", "not_implemented")],
        ),
        ({"QUANTUM_BACKEND": "abacus"}, [("backend_unknown", None)]),
    ],
)
def test_the_log_says_that_the_service_which_is_named_can_not_be_reached(
    named: dict[str, str], told: list[tuple[str, str | None]]
) -> None:
    with capture_logs() as lines:
        serving._tell_backend(resolved(named).settings)
    assert [(line["event"], line.get("readiness")) for line in lines] == told


# ---- what the service manager sees


def hear(manager: socket.socket, *expected: str) -> None:
    """Waits until the node has told all these lines, in order, heartbeats aside."""
    for line in expected:
        said = "WATCHDOG=1"
        while said.startswith("WATCHDOG=1"):
            said = manager.recv(1000).decode()
        assert line in said.splitlines(), (line, said)


def knock(port: int, said: bytes) -> socket.socket:
    stream = socket.create_connection(("127.0.0.1", port), timeout=SECONDS_MAX)
    stream.sendall(said)
    return stream


def test_a_service_manager_is_told_all_and_rude_clients_hold_up_no_end(tmp_path: Path) -> None:
    authority, path = Authority(tmp_path), tmp_path / "door"
    certificate, key = authority.issue("server")
    settings = {
        "GAVEL_TLS_CERTIFICATE": str(certificate),
        "GAVEL_TLS_KEY": str(key),
        "GAVEL_DRAIN_SECONDS": "1",
        "GAVEL_HOUSE_SOLVER": "false",
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "WATCHDOG_USEC": "200000",
    }
    binds = "127.0.0.1:0", "http://127.0.0.1:0", f"unix:{path}"
    command = ("serve", *(word for bind in binds for word in ("--bind", bind)))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, ExitStack() as clients:
        manager.bind(settings["NOTIFY_SOCKET"])
        manager.settimeout(SECONDS_MAX)
        environment = surroundings(tmp_path) | settings | {"GAVEL_LOG_FORMAT": "json"}
        with forks.heard(forks.GAVEL, *command, folder=tmp_path, environment=environment) as (node, told):
            hear(manager, "READY=1")
            assert manager.recv(1000) == b"WATCHDOG=1"
            ports: dict[str, int] = {}
            while len(ports) < 3:
                line = told.readline()
                if '"listening"' in line:
                    ports[json.loads(line)["bind"]] = json.loads(line)["port"]
            _check_reload(node, manager, authority, ports[binds[0]])
            for said in (b"\x16\x03\x01", b""):
                clients.enter_context(knock(ports[binds[0]], said))
            token = (tmp_path / "data" / "admin-key").read_text().strip()
            for said in _rude(token):
                clients.enter_context(knock(ports[binds[1]], said))
            node.send_signal(signal.SIGTERM)
            hear(manager, "STOPPING=1")
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(path))
                probe.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert probe.recv(1000).startswith(b"HTTP/1.1 503")
            assert node.wait() == 0
            assert not path.exists()
    assert verify(tmp_path / "data" / "journal.db").whole


def _check_reload(node: forks.Program, manager: socket.socket, authority: Authority, port: int) -> None:
    before = ssl.get_server_certificate(("127.0.0.1", port), ca_certs=str(authority.file))
    authority.issue("server")
    node.send_signal(signal.SIGHUP)
    hear(manager, "RELOADING=1", "READY=1")
    assert ssl.get_server_certificate(("127.0.0.1", port), ca_certs=str(authority.file)) != before


def _rude(token: str) -> list[bytes]:
    """Clients that stop in the middle of everything, or never do what they are told."""
    head = f"Host: x\r\nAuthorization: Bearer {token}\r\n"
    upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    return [
        said.encode()
        for said in (
            "GET /li",
            f"POST /v1/tasks HTTP/1.1\r\n{head}Content-Length: 100\r\n\r\n{{",
            f"GET /v1/feed HTTP/1.1\r\n{head}\r\n",
            f"GET /v1/feed HTTP/1.1\r\n{head}{upgrade}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
    ]


def test_what_a_node_cannot_listen_on_ends_it_as_a_wrong_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gateway import cli

    monkeypatch.setenv("GAVEL_DATA", str(tmp_path / "data"))
    for arguments, named in (
        (["--bind", "unix:/nowhere/door"], "unix:/nowhere/door can't be listened on: No such file"),
        (["--bind", "https://127.0.0.1:0"], "there is no certificate"),
        (["--bind", "127.0.0.1:0", "--bind", "0.0.0.0:0"], "0.0.0.0:0 can be reached from other machines"),
        (["--bind", "systemd"], "LISTEN_FDS"),
    ):
        assert cli.main(["serve", *arguments]) == WRONG
        assert named in capsys.readouterr().err


def test_a_terminal_that_was_closed_is_told_from_one_that_somebody_sits_at() -> None:
    person, terminal = os.openpty()
    assert not is_closed(terminal)
    os.close(person)
    assert is_closed(terminal)
    os.close(terminal)


def test_the_journal_of_systemd_is_told_from_a_terminal_or_a_file(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        found = os.fstat(log.fileno())
        assert is_collected(log.fileno(), f"{found.st_dev}:{found.st_ino}")
        assert not is_collected(log.fileno(), "")
        assert not is_collected(log.fileno(), f"{found.st_dev}:{found.st_ino + 1}")

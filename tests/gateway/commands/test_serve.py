"""`gavel serve` when an actor is broken for good, and when one does not come back: the reason is its last word."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.verdicts import CRASHED, WRONG
from runtime.verification import verify
from runtime.watchdog import STUCK
from tests.gateway.test_cli import SECONDS_MAX, surroundings

ROOT = Path(__file__).parents[3]

# A node whose security actor, once the node is open, does what it should not.
PROGRAM = """
import sys, threading, time, urllib.request
from agents.security import Security
from aggregates.key import Authenticate
from gateway import cli
from gateway.commands import serve

def knock(line):
    url = line.split()[3].rstrip(";")
    def send():
        while True:
            token = "gvl_" + "0" * 32 + "_" + "a" * 32
            request = urllib.request.Request(url + "/v1/tasks", headers={"Authorization": "Bearer " + token})
            try:
                urllib.request.urlopen(request, timeout=1).close()
            except OSError:
                pass
    if line.startswith("Gavel listens"):
        threading.Thread(target=send, daemon=True).start()

handle = Security.handle

def misbehave(self, message):
    if isinstance(message, Authenticate):
        (HOW)
    return handle(self, message)

Security.handle = misbehave
serve.say = knock
sys.exit(cli.main(["serve", "--bind", "127.0.0.1:0"]))
"""


def serve(folder: Path, how: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("(HOW)", how)],
        cwd=ROOT,
        env=surroundings(folder) | {"GAVEL_LOG_FORMAT": "json"} | settings,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
    )


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


def test_spans_without_their_library_are_refused_before_the_node_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gateway import cli

    monkeypatch.setenv("GAVEL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("GAVEL_OPENTELEMETRY", "true")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    assert cli.main(["serve", "--bind", "127.0.0.1:0"]) == WRONG
    assert "install gavel-runtime[otel]" in capsys.readouterr().err

"""`gavel actors` on a node that runs: lists, trees, and log levels."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from aggregates.agent import Heartbeat
from gateway import cli
from gateway.node import open_node
from runtime.system import System
from tests.gateway.clients import settings_of


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    """A node in a thread of its own, on the data folder that commands find."""
    monkeypatch.setenv("GAVEL_DATA", str(tmp_path / "data"))
    is_open, found = threading.Event(), []

    async def serve() -> None:
        async with open_node(settings_of(tmp_path)) as opened:
            end = trio.Event()
            found.append((opened, trio.lowlevel.current_trio_token(), end))
            is_open.set()
            await end.wait()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    assert is_open.wait(30)
    opened, token, end = found[0]
    yield opened.system
    token.run_sync_soon(end.set)
    thread.join()


def test_every_actor_and_every_kind_is_listed(node: System, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["actors"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["actor", "state", "mailbox"]
    assert any(line.split()[:2] == ["security/node", "idle"] for line in lines)
    kinds = lines[lines.index("") + 1 :]
    assert kinds[0].startswith("kind")
    assert {line.split()[0] for line in kinds[1:]} == {kind.name for kind in node.kinds()}


def test_a_tree_tells_what_each_does(node: System, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["actors", "--tree", "--limit", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("  ")[0] in {cell.path for cell in node.walk()}
    assert "handled" in lines[0]
    assert (lines[1] == f"and {len(node.cells) - 1} more") == (len(node.cells) > 1)


def test_a_level_is_set_until_it_is_taken_back(node: System, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["actors", "--log-level", "security/node=debug", "--log-level", "solver=error"]) == 0
    assert capsys.readouterr().out == ""
    assert (node.log_levels.of("security/node", "security"), node.log_levels.of("x", "solver")) == ("debug", "error")
    assert cli.main(["actors", "--tree"]) == 0
    assert "logs from debug" in capsys.readouterr().out
    assert cli.main(["actors", "--json", "--log-level", "security/node=usual"]) == 0
    assert json.loads(capsys.readouterr().out) == {"log_levels": {"security/node": None}}
    assert not node.log_levels.has("security/node")


@pytest.mark.parametrize("text", ["security", "=debug", "security/node=loud"])
def test_what_is_no_level_is_refused_before_anything_is_asked(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["actors", "--log-level", text])
    assert "PATH=LEVEL" in capsys.readouterr().err


def test_an_actor_that_is_not_there_is_named(node: System, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["actors", "--log-level", "nobody=debug"]) == 2
    assert "there is no actor or kind of actors nobody" in capsys.readouterr().err


def test_a_limit_without_sense_is_refused(node: System, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["actors", "--limit", "-1"]) == 2
    assert "actors must be an integer" in capsys.readouterr().err


def test_dead_letters_are_listed_and_sent_again(node: System, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["actors", "--dead-letters"]) == 0
    assert "since the start: none" in capsys.readouterr().out
    node.router.tell(Heartbeat(agent_id="nobody"))
    assert cli.main(["actors", "--dead-letters"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["nobody", "1", "Heartbeat", "nobody", "takes", "its", "type"]
    assert lines[-1] == "since the start: nobody takes its type: 1"
    assert cli.main(["actors", "--send-again", "1"]) == 0
    assert cli.main(["actors", "--dead-letters", "--json"]) == 0
    [letter] = json.loads(capsys.readouterr().out)["dead_letters"]
    assert letter["number"] == 2
    assert cli.main(["actors", "--send-again", "1"]) == 2
    assert "there is no dead letter 1" in capsys.readouterr().err

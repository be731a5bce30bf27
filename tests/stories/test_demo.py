"""`gavel demo` from beginning to end, as a stranger starts it: in a process of its own, from a folder of his own."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from solvers.formats import write_bqp, write_rudy
from solvers.generators import palubeckis, toroidal_grid

SECONDS_MAX = 120
COMMAND = [sys.executable, "-P", "-m", "gateway.cli", "demo", "--problems", "problems"]
KEYS = ["problems", "tasks", "completed", "reawarded", "events", "root", "replay_equal", "verified", "seconds"]
PROBLEM_KEYS = ["name", "variables", "best_known", "value", "gap", "seconds", "winner", "verified_by"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two small problems of different formats, a list of best values that minimizes, and a file that is none of it."""
    problems = tmp_path / "problems"
    problems.mkdir()
    (problems / "grid.txt").write_bytes(write_rudy(toroidal_grid(12, 10, 1)))
    (problems / "dense.bqp").write_bytes(write_bqp(palubeckis(150, 50, 7)))
    (problems / "best_known.json").write_text(json.dumps({"grid": {"best": -84}, "absent": {"best": -1}}))
    (problems / "NOTES.md").write_text("# Two problems\n")
    for name in ("agents", "runtime"):  # somebody else's packages, where the demo is started
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('a foreign package was loaded')\n")
    return tmp_path


def surroundings(**changed: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GAVEL_", "PYTHON", "COV_"))}
    return kept | changed


def test_agents_bid_solve_check_and_lose_one_of_their_number(folder: Path):
    command = [*COMMAND, "--seconds", "3", "--agents", "4", "--seed", "1", "--exit", "--json"]
    done = subprocess.run(
        command, cwd=folder, env=surroundings(TMPDIR=str(folder)), capture_output=True, text=True, timeout=SECONDS_MAX
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert list(told) == KEYS
    assert [problem["name"] for problem in told["problems"]] == ["dense", "grid"]
    for problem in told["problems"]:
        assert list(problem) == PROBLEM_KEYS
        assert problem["winner"]
        assert problem["verified_by"] not in (None, problem["winner"])
        assert problem["seconds"] > 0
    grid = told["problems"][1]
    assert (grid["variables"], grid["best_known"]) == (120, 84)
    assert grid["gap"] == pytest.approx((84 - grid["value"]) / 84, abs=1e-6)
    assert (told["tasks"], told["completed"]) == (5, 5)
    assert told["reawarded"] >= 1
    assert told["replay_equal"] is True
    assert told["verified"] is True
    assert len(bytes.fromhex(told["root"])) == 32
    _check_what_was_shown(done.stderr, told)
    assert not list(folder.glob("gavel-demo-*"))


def _check_what_was_shown(shown: str, told: dict[str, Any]) -> None:
    assert "/session?ticket=" in shown
    assert "NOTES.md is skipped" in shown
    for agent in ("solver-1", "solver-2", "verifier", "analyst"):
        assert f"{agent} is here:" in shown
    assert "house-solver is here (the node itself):" in shown
    for step in (
        "bids for grid",
        "grid goes to",
        "scores 0.",
        "is killed while it holds",
        "was silent for a full lease",
        "is open again",
        "(attempt 2)",
        "has done check of grid",
        "as claimed",
        "decisions came out the same again",
        f"{told['events']} records replayed into fresh read models",
        f"{told['events']} records verified against the signed root {told['root']}: whole",
        "Everything held.",
    ):
        assert step in shown, step


@pytest.mark.rotate(keep=1)
@pytest.mark.parametrize(
    "number,code", [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)], ids=["asked", "killed"]
)
def test_a_demo_that_is_ended_leaves_nobody_behind(folder: Path, number: signal.Signals, code: int):
    command = [*COMMAND, "--seconds", "10"]
    environment = surroundings(GAVEL_DATA=str(folder / "data"))
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        groups: list[int] = []
        handles: list[int] = []
        for line in demo.stdout:
            if " goes to " in line:
                children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()
                groups = [int(child) for child in children]
                handles = [os.pidfd_open(process) for process in alive_in(groups)]
                demo.send_signal(number)
                break
        try:
            assert demo.wait(SECONDS_MAX) == code
        finally:
            demo.kill()
    assert len(groups) >= 4
    for handle in handles:
        assert select.select([handle], [], [], SECONDS_MAX)[0], "an agent has outlived the demo"
        os.close(handle)
    began = monotonic()
    while left := alive_in(groups):  # one that was just born when the others were counted
        assert monotonic() < began + SECONDS_MAX, f"{left} have outlived the demo"
        sleep(0.05)
    assert number is signal.SIGKILL or not (folder / "data" / "node.json").exists()


def alive_in(groups: list[int]) -> dict[int, str]:
    """What runs in these process groups, name by id: agents, and the programs that they started."""
    alive = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            name, _, fields = stat.read_text().rpartition(") ")
            state, _, group, *_ = fields.split()
            if int(group) in groups and state != "Z":  # an orphan that has ended waits for the machine's first process
                alive[int(stat.parent.name)] = name
    return alive

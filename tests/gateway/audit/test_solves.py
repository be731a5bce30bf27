"""`gavel audit replay --solves`: recorded solver runs give the same bits again."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway.cli import main
from runtime.blobs import Blobs
from solvers.build import build
from solvers.formats import write_rudy
from solvers.generators import sparse_random
from solvers.strategies import STRATEGIES
from tests.gateway.audit.altered import alter, find, history
from tests.gateway.clients import open_client, settings_of
from tests.gateway.routes.test_problems import register
from tests.gateway.routes.test_solves import TRIANGLE, ended, queue
from tests.stories.life import GRID, keep_blob


def solves(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> Any:
    assert main(["audit", "replay", "--solves", "--json", *map(str, arguments)]) == code
    return json.loads(capsys.readouterr().out)["solves"]


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which this build has solved two problems."""
    folder = tmp_path_factory.mktemp("solved")

    async def work() -> None:
        async with open_client(settings_of(folder)) as admin:
            for content, target in ((TRIANGLE, 2), (GRID, 20)):
                problem_id = (await register(admin, content)).json()["problem_id"]
                await ended(admin, await queue(admin, problem_id=problem_id, seconds=60, target=target))

    trio.run(work)
    return folder / "data"


def test_a_solve_of_this_build_gives_the_same_bits(solved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = solves(capsys, "--data", solved)
    assert (found["solves"], found["equal"], found["findings"], found["build"]) == (2, 2, [], build())
    assert main(["audit", "replay", "--solves", "--data", str(solved)]) == 0
    assert "2 equal bit for bit" in capsys.readouterr().out


async def test_a_run_of_every_strategy_gives_the_same_bits_wherever_its_time_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_client(settings_of(tmp_path)) as admin:
        problem_id = (await register(admin, write_rudy(sparse_random(16, 6.0, 1)))).json()["problem_id"]
        for strategy in STRATEGIES:
            for seconds in (0.05, 0.3):
                asked = {"problem_id": problem_id, "strategy": strategy.name, "seconds": seconds}
                assert (await ended(admin, await queue(admin, **asked)))["stage"] == "completed"
    capsys.readouterr()  # what the node said
    found = solves(capsys, "--data", tmp_path / "data")
    assert (found["solves"], found["equal"], found["findings"]) == (2 * len(STRATEGIES), 2 * len(STRATEGIES), [])


@pytest.mark.parametrize(
    "said, verdict, reason",
    [
        ({"value": 19.0}, "different", "the recorded assignment is worth "),
        ({"work": 7}, "different", "found by island 0 after 7 steps then"),
        ({"works": [7]}, "different", "work: [7] then"),
        ({"island": 1}, "different", "found by island 1"),
        ({"parameters": {"hottest": 1.0}}, "different", "counted or set themselves"),
        ({"counts": [{"rounds": 1_000_000}]}, "different", "counted or set themselves"),
        ({"trace": []}, "different", "the trace is not the course"),
        ({"trace": [{"work": 0, "value": 20.0, "seconds": 0.1}]}, "different", "the trace is not the course"),
        ({"seed": 12345}, "different", ""),
        ({"seed": 12345, "build": "another"}, "other_build", ""),
        ({"algorithm": "dreaming"}, "not_decidable", "no algorithm dreaming"),
    ],
)
def test_an_altered_run_is_told(
    solved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], said: Any, verdict: str, reason: str
) -> None:
    journal = tmp_path / "journal.db"
    journal.write_bytes((solved / "journal.db").read_bytes())
    position = find(journal, "solve_job.CompleteSolve", lambda told: told["value"] > 2)
    alter(journal, position, lambda record: record["data"].update(said))
    main(["audit", "replay", str(journal), "--solves", "--json", "--blobs", str(solved / "blobs")])
    found = json.loads(capsys.readouterr().out)["solves"]
    (finding,) = found["findings"]
    assert (finding["position"], finding["verdict"], found[verdict]) == (position, verdict, 1)
    assert reason in "; ".join(finding["reasons"])


def test_a_history_of_any_build_is_worth_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = history(tmp_path)
    keep_blob(tmp_path / "blobs")
    found = solves(capsys, journal, "--blobs", tmp_path / "blobs")
    assert (found["solves"], found["different"], found["not_decidable"]) == (3, 0, 0)


def test_a_problem_that_is_gone_leaves_its_solves_not_decidable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = history(tmp_path)
    blobs = tmp_path / "blobs"
    assert main(["audit", "replay", str(journal), "--solves"]) == 2
    assert "--blobs DIR" in capsys.readouterr().err
    assert main(["audit", "replay", str(journal), "--solves", "--blobs", str(blobs)]) == 2
    blobs.mkdir()
    found = solves(capsys, journal, "--blobs", blobs)
    assert (found["not_decidable"], "is not in" in found["findings"][0]["reasons"][0]) == (3, True)
    Blobs(blobs, blob_bytes_max=1 << 20).path(sha256(GRID).hexdigest()).parent.mkdir()
    Blobs(blobs, blob_bytes_max=1 << 20).path(sha256(GRID).hexdigest()).write_bytes(GRID + b"\n")
    assert "is not the blob" in solves(capsys, journal, "--blobs", blobs)["findings"][0]["reasons"][0]

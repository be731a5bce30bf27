"""A recorded day: an auditor makes every decision of a node anew, and all come out equal but those that were tampered with."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from gateway.storage.journal_file import JournalFile, open_journal
from tests.gateway.audit.altered import alter, find
from tests.stories.day import record

TASKS, TASKS_OF_A_DAY = 150, 10_000
PAGE = 10_000


@pytest.fixture(autouse=True)
def _logs_go_their_old_way_afterwards(logs_as_they_were: None) -> None:
    """For all commands."""


def counts(journal: Path) -> tuple[Counter[str], Counter[str]]:
    """How many events of each kind there are, and how many commands of each name."""
    kinds, commands = Counter[str](), Counter[str]()
    with open_journal(journal) as connection:
        file, after = JournalFile(connection, journal), 0
        while records := file.read(after, PAGE):
            kinds.update(one.kind for one in records)
            commands.update(one.meta.command.name for one in records if one.meta.command is not None)
            after = records[-1].position
    return kinds, commands


def replayed(capsys: pytest.CaptureFixture[str], journal: Path, code: int = 0) -> Any:
    assert main(["audit", "replay", str(journal), "--json"]) == code
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def check(journal: Path, capsys: pytest.CaptureFixture[str], tasks: int) -> None:
    """All that was decided is decided as it was; then decisions are tampered with, one after the other."""
    kinds, commands = counts(journal)
    found = replayed(capsys, journal)
    print(f"{found['records']} records, {kinds['task.TaskAwarded']} awards, {found['seconds']} s: {dict(kinds)}")
    assert found["equal"] == found["commands"] == sum(commands.values())
    assert (found["different"], found["not_decidable"], found["newer_rules"], found["diffs"]) == (0, 0, 0, [])
    assert (found["strays_count"], found["facts"]["false"]) == (0, 0)
    assert commands["task.AwardTask"] == kinds["task.TaskAwarded"] + kinds["task.BookVoided"]
    assert kinds["task.TaskAwarded"] > tasks * 0.6
    assert min(kinds[f"task.{name}"] for name in ("TaskCompleted", "TaskFailed", "TaskReopened", "BookVoided")) > 0
    check_tampering(journal, capsys)


def check_tampering(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another winner, a better price for it than it has bid, a figure that was not so: each is found where it stands."""
    won = find(journal, "task.AwardTask", lambda said: len(said["bidders"]) > 1)
    priced = find(journal, "task.PlaceBid", lambda said: said["price"] is not None)
    figured = find(journal, "task.AwardTask", lambda said: len(said["bidders"]) == 1)

    def crown(said: Any) -> None:
        said["data"]["agent_id"] = said["data"]["ranking"][-1]["agent_id"]

    def cheapen(said: Any) -> None:
        said["data"]["price"] = 0.01

    def embellish(said: Any) -> None:
        said["meta"]["command"]["data"]["bidders"][0]["slots"] += 7

    alter(journal, won, crown)
    assert [one["position"] for one in replayed(capsys, journal, code=1)["diffs"]][:1] == [won]
    alter(journal, priced, cheapen)
    assert priced in {one["position"] for one in replayed(capsys, journal, code=1)["diffs"]}
    alter(journal, figured, embellish)
    assert figured in {one["position"] for one in replayed(capsys, journal, code=1)["false_facts"]}


def test_every_award_of_an_hour_is_decided_again_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: int
) -> None:
    record(tmp_path / "journal.db", seed, TASKS)
    check(tmp_path / "journal.db", capsys, TASKS)


@pytest.mark.soak
def test_every_award_of_a_day_of_ten_thousand_tasks_is_decided_again_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: int
) -> None:
    record(tmp_path / "journal.db", seed, TASKS_OF_A_DAY)
    check(tmp_path / "journal.db", capsys, TASKS_OF_A_DAY)

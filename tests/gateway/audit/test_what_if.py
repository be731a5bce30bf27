"""`gavel audit what-if`: a log forked at a position, something changed, and what follows compared."""

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from aggregates.values.ranking import in_force
from gateway.audit.what_if.changes import Change, weighed
from gateway.cli import main
from runtime.verification import verify
from tests.gateway.audit.altered import execute, find, history

ASSUMED = ["--assume", '{"cycle_seconds": 5.0}']
OTHER_RULES = '''"""The first bidder in the alphabet wins."""

from aggregates import task


def decide(state, command):
    events = list(task.decide(state, command))
    for at, event in enumerate(events):
        if isinstance(event, task.TaskAwarded):
            bid = min(state.bids, key=lambda bid: bid.agent_id)
            changed = {"agent_id": bid.agent_id, "price": bid.price}
            values = {name: getattr(event, name) for name in event.__struct_fields__}
            events[at] = task.TaskAwarded(**(values | changed))
    return events
'''


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return history(tmp_path)


def played(capsys: pytest.CaptureFixture[str], journal: Path, *arguments: object, at: int = 8) -> Any:
    given = ["audit", "what-if", str(journal), "--at", str(at), *ASSUMED, *map(str, arguments)]
    assert main([*given, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def outcome(answer: Any, task_id: str) -> Any:
    return next(one for one in answer["outcomes"] if one["task_id"] == task_id)


def test_without_a_change_nothing_differs_and_the_play_keeps_to_the_record(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = journal.read_bytes()
    answer = played(capsys, journal)
    assert (answer["changed"], answer["outcomes"], answer["streams"], answer["parting"]) == (0, [], [], None)
    assert (
        answer["faithful"] >= answer["tasks"] - 2
    )  # one of them is of somebody who was erased: nobody can ask for it again
    assert answer["records"]["without"] == answer["records"]["with_change"] > 100
    assert answer == played(capsys, journal)
    assert (journal.read_bytes(), verify(journal).whole) == (before, True)


@pytest.mark.parametrize("at", [30, 60])
def test_a_fork_anywhere_goes_on_as_the_record_does(journal: Path, capsys: pytest.CaptureFixture[str], at: int) -> None:
    answer = played(capsys, journal, at=at)
    assert (answer["changed"], answer["faithful"] >= answer["tasks"] - 2) == (0, True)


def test_a_command_with_another_price_or_without_one_changes_who_wins(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bid = find(journal, "task.PlaceBid", lambda said: (said["task_id"], said["price"]) == ("first", 1.25))
    for change in ({"position": bid, "set": {"price": 99.0}}, {"position": bid, "drop": True}):
        answer = played(capsys, journal, "--change", json.dumps(change))
        first = outcome(answer, "first")
        assert [first[play]["winner"] for play in ("recorded", "without", "with_change")] == ["bob", "bob", "ann"]
        assert first["with_change"]["stage"] == "completed"  # whoever holds the attempt says what its holder said
        assert "task-first" in answer["streams"]
        assert answer["parting"]["without"]["stream"] == "task-first"


def test_one_command_more_is_told_where_it_parts(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submitted = find(journal, "task.SubmitTask", lambda said: said["task_id"] == "dropped")
    assert main(["log", "tail", str(journal), "--since", str(submitted), "--until", str(submitted), "--json"]) == 0
    at = json.loads(capsys.readouterr().out)["records"][0]["at"]
    change = {"insert": {"command": "task.CancelTask", "data": {"task_id": "second"}, "at": at, "tenant": "acme"}}
    file = tmp_path / "change.json"
    file.write_text(json.dumps([change]))
    answer = played(capsys, journal, "--change", file)
    assert outcome(answer, "second")["with_change"]["stage"] == "cancelled"


def test_another_rule_and_other_weights_decide_otherwise(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "first_wins.py"
    rules.write_text(OTHER_RULES)
    assert outcome(played(capsys, journal, "--rules", f"task={rules}"), "first")["with_change"]["winner"] == "ann"
    weights = {"ranking": {"PRICE_WEIGHT": -2.0}}
    assert outcome(played(capsys, journal, "--change", json.dumps(weights)), "first")["with_change"]["winner"] == "ann"
    assert played(capsys, journal)["changed"] == 0  # nothing of it stays


def test_weights_on_record_hold_in_the_play_but_for_those_that_are_changed() -> None:
    usual = in_force(None)
    recorded = replace(usual, agent_share=0.2, price=0.6, speed=0.2)
    with weighed([Change(ranking={"PRICE_WEIGHT": 0.1})], recorded):
        assert in_force(None) == replace(recorded, price=0.1)
    assert in_force(None) == usual


def test_it_is_told_as_a_table_with_what_was_assumed(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change = {"settings": {"lease_seconds": 600.0}}
    given = ["audit", "what-if", str(journal), "--at", "8", *ASSUMED, "--change", json.dumps(change)]
    assert main(given) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "tasks end otherwise" in text
    assert "without the change" in text
    assert "heartbeats are not on record" in text
    assert "The first difference, at position" in text


def test_what_makes_no_sense_is_refused_by_name(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    award = find(journal, "task.AwardTask")
    bid = find(journal, "task.PlaceBid")
    empty = tmp_path / "empty.py"
    empty.write_text("")
    for arguments, why in (
        (["--at", 0], "--at must be between 1 and"),
        (["--at", 10_000], "--at must be between 1 and"),
        (["--change", "{"], "--change: "),
        (["--change", "none.json"], "can't be read"),
        (["--change", '{"position": 3}'], "is to have fields set, or to be dropped"),
        (["--change", '{"drop": true}'], "each names one of"),
        (["--change", '{"position": 4, "ranking": {"PRICE_WEIGHT": 1}, "drop": true}'], "each names one of"),
        (["--change", '{"ranking": {"LUCK": 1}}'], "ranking has no LUCK; it has AGENT_SHARE"),
        (["--change", f'{{"position": {award}, "drop": true}}'], f"nobody asked for anything at position {award}"),
        (["--change", f'{{"position": {bid}, "set": {{"cost": 1}}}}'], "PlaceBid at position"),
        (["--change", f'{{"position": {bid}, "set": {{"price": -1}}}}'], "Expected `float` >= 0"),
        (["--change", '{"insert": {"command": "task.Dream", "data": {}, "at": 2e9}}'], "no aggregate has a command"),
        (["--change", '{"insert": {"command": "task.ExpireTask", "data": {"task_id": "t"}, "at": 2e9}}'], "nobody may"),
        (["--assume", '{"luck": 1}'], "--assume: "),
        (["--rules", "task"], "--rules takes NOUN=FILE"),
        (["--rules", f"task={empty}"], "has neither of decide, evolve"),
        (["--rules", f"task={tmp_path / 'none.py'}"], "is no Python file"),
    ):
        given = ["audit", "what-if", str(journal), "--at", "8", *map(str, arguments)]
        assert main(given) == 2, arguments
        assert why in capsys.readouterr().err, arguments
    execute(journal, "DELETE FROM stored_events WHERE rowid=3")
    assert main(["audit", "what-if", str(journal), "--at", "8"]) == 2
    assert "no record at position 3" in capsys.readouterr().err

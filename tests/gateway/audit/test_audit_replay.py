"""`gavel audit replay`: old decisions made anew, and the facts that they rested on, as an auditor meets them."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import agents.coordinating.calls
import aggregates.coordination
import aggregates.task
from aggregates.catalog import AGGREGATES
from aggregates.task import RULES
from aggregates.values import ranking
from gateway.audit.facts import Facts
from gateway.audit.look_ups import LookUps
from gateway.cli import main
from gateway.simulation.workload import NodeWorkload
from gateway.storage.journal_file import JournalFile, open_journal
from gateway.upkeep.erasure import erase
from runtime.codec import Codec, Shut
from runtime.decidable import WITHHELD
from runtime.delivery import Context
from runtime.records import Command, CommandRecord
from runtime.replay import Finding, Replay, Undecided
from runtime.simulation import simulate
from tests.gateway.audit.altered import Plain, alter, execute, find, history
from tests.gateway.clients import open_client, settings_of

SHUT = ("user-u1", "task-theirs-alone")
"""Streams of persons, whose keys are erased or not beside the history."""
ERASED = 5
"""How many commands of the history tell of somebody who was erased."""


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return history(tmp_path)


def replayed(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> Any:
    """What the command prints with --json."""
    assert main(["audit", "replay", *map(str, arguments), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def told(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> str:
    """What the command prints for a person."""
    assert main(["audit", "replay", *map(str, arguments)]) == code
    return capsys.readouterr().out


def found(journal: Path, codec: Codec | None = None, **bounds: Any) -> tuple[Replay, Facts, list[Finding]]:
    with open_journal(journal) as connection:
        log = JournalFile(connection, journal)
        look_ups = LookUps(log)
        facts = Facts(look_ups)
        replay = Replay(look_ups, codec or log.codec, last=log.newest_position(), witness=facts, **bounds)
        return replay, facts, list(replay.run())


# ---- decisions


def test_a_history_is_decided_as_it_was(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = replayed(capsys, journal)
    assert answer["commands"] == answer["equal"] + ERASED > 100
    assert [one["stream"] for one in answer["undecided"]] == ["user-u1"] * 3 + ["task-theirs-alone"] * 2
    assert {one["reason"] for one in answer["undecided"]} == {WITHHELD}
    assert {name: answer[name] for name in ("different", "not_decidable", "newer_rules", "diffs", "strays")} == {
        "different": 0,
        "not_decidable": ERASED,
        "newer_rules": 0,
        "diffs": [],
        "strays": [],
    }
    assert answer["facts"]["checked"] > answer["commands"]
    assert (answer["facts"]["bounded"] > 0, answer["facts"]["false"], answer["false_facts"]) == (True, 0, [])
    assert "0 different" in told(capsys, journal)


def test_a_changed_rule_is_shown_field_by_field(
    journal: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "CONFIDENCE_WEIGHT", 0.5)
    answer = replayed(capsys, journal, code=1)
    ranked = ("task.AwardTask", "coordination.AssignBatch")
    awards = [diff for diff in answer["diffs"] if diff["command"] in ranked]
    assert (len(awards), len(awards)) == (answer["different"], len(answer["diffs"]))
    assert {diff["command"] for diff in awards} == set(ranked)
    first = awards[0]
    assert (first["rules_then"], first["rules_now"], first["is_due"]) == (RULES, RULES, True)
    assert (first["asked"]["task_id"], first["state_before"]["stage"]) == ("first", "bidding")
    changed = {change["path"]: (change["then"], change["now"]) for change in first["changes"]}
    assert {path.rpartition(".")[2] for path in changed} == {"score", "reason"}
    then, now = changed["[0].ranking[0].score"]
    assert (first["events_then"][0]["ranking"][0]["score"], first["events_now"][0]["ranking"][0]["score"]) == (
        then,
        now,
    )
    text = told(capsys, journal, code=1)
    assert f"position {first['position']}: task.AwardTask on task-first" in text
    assert "DIFFERENT" in text
    assert "[0].ranking[0].score: " in text


def test_a_rule_that_refuses_or_fails_now_is_a_difference(
    journal: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> Any:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(aggregates.task, "expire", fails)
    (diff,) = replayed(capsys, journal, code=1)["diffs"]
    assert diff["refusal"] == {"code": "ZeroDivisionError", "detail": "by nothing", "is_refusal": False}
    assert "now:  FAILS: ZeroDivisionError by nothing" in told(capsys, journal, code=1)


def test_newer_rules_need_a_review_that_fits_and_says_why(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = tmp_path / "expected.toml"
    monkeypatch.setattr(aggregates.task, "RULES", RULES + 1)
    monkeypatch.setattr(aggregates.coordination, "RULES", aggregates.coordination.RULES + 1)
    assert replayed(capsys, journal)["equal"] > 100  # newer rules that decide alike
    monkeypatch.setattr(ranking, "CONFIDENCE_WEIGHT", 0.5)
    answer = replayed(capsys, journal, "--write-expected", draft, code=1)
    assert (answer["different"], answer["newer_rules"] > 0) == (0, True)
    assert len(answer["review"]["unlisted"]) == answer["newer_rules"]
    assert "score" in draft.read_text()
    answer = replayed(capsys, journal, "--expected", draft, code=1)
    assert (answer["review"]["unlisted"], len(answer["review"]["unnoted"])) == ([], answer["newer_rules"])
    draft.write_text(draft.read_text().replace('note = ""', 'note = "surer bids count for more: \\u00fc"'))
    assert replayed(capsys, journal, "--expected", draft)["review"] == {"unlisted": [], "stale": [], "unnoted": []}
    again = tmp_path / "again.json"
    replayed(capsys, journal, "--expected", draft, "--write-expected", again)
    assert replayed(capsys, journal, "--expected", again)["review"]["unnoted"] == []
    assert replayed(capsys, journal, "--to", 10, "--expected", draft)["review"]["stale"] == []  # not looked at
    monkeypatch.setattr(ranking, "CONFIDENCE_WEIGHT", 0.6)
    answer = replayed(capsys, journal, "--expected", draft, code=1)
    assert len(answer["review"]["stale"]) == len(answer["review"]["unlisted"]) == answer["newer_rules"]
    assert "expected, and not so: task-first at " in told(capsys, journal, "--expected", draft, code=1)


def test_what_newer_rules_decided_is_not_decidable(
    journal: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aggregates.task, "RULES", 0)
    answer = replayed(capsys, journal)
    assert answer["not_decidable"] == len(answer["undecided"]) > 50
    reasons = {one["reason"] for one in answer["undecided"]}
    assert reasons == {f"decided by rules {RULES}, and this program has 0", WITHHELD}


def test_a_range_and_a_stream_are_decided_upon_all_that_came_before(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    every = replayed(capsys, journal)["commands"]
    parts = [replayed(capsys, journal, "--to", 60), replayed(capsys, journal, "--from", 61)]
    assert sum(part["commands"] for part in parts) == every
    assert [part["facts"]["false"] for part in parts] == [0, 0]
    one = replayed(capsys, journal, "--stream", "task-second")
    assert 5 < one["equal"] == one["commands"] < every
    assert main(["audit", "replay", str(journal), "--stream", "task-none"]) == 2
    assert "no commands of a stream task-none" in capsys.readouterr().err


# ---- what can't be decided


class Forgetful(Codec):
    """Can't open what one command says any more."""

    def command(self, record: CommandRecord) -> Command[Any]:
        command = super().command(record)
        if isinstance(command, aggregates.task.FailTask) and command.task_id == "second":
            raise Shut("encrypted")
        return command


def test_what_is_shut_is_not_decidable_and_never_different(journal: Path) -> None:
    replay, _, findings = found(journal, Forgetful(AGGREGATES))
    (finding,) = [one for one in findings if one.stream not in SHUT]
    assert isinstance(finding, Undecided)
    assert (finding.command, finding.reason) == ("task.FailTask", "the command encrypted")
    assert replay.equal == replay.commands - 1 - ERASED


def test_nothing_is_decided_upon_a_record_of_an_unknown_kind(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    position = find(journal, "task.StartTask", lambda said: said["task_id"] == "first")
    execute(journal, "UPDATE stored_events SET topic='task.TaskDreamt' WHERE rowid=?", position)
    answer = replayed(capsys, journal)
    undecided = [one for one in answer["undecided"] if one["stream"] not in SHUT]
    assert [(one["stream"], one["command"]) for one in undecided] == [
        ("task-first", "task.StartTask"),
        ("task-first", "task.CompleteTask"),
    ]
    assert all(f"position {position}" in one["reason"] for one in undecided)
    assert (answer["different"], answer["equal"]) == (0, answer["commands"] - 2 - ERASED)


def test_nothing_is_decided_upon_a_record_that_is_missing(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    position = find(journal, "task.StartTask", lambda said: said["task_id"] == "first")
    execute(journal, "DELETE FROM stored_events WHERE rowid=?", position)
    answer = replayed(capsys, journal)
    (undecided,) = [one for one in answer["undecided"] if one["stream"] not in SHUT]
    assert (undecided["command"], answer["facts"]["unknown"] > 0) == ("task.CompleteTask", True)
    assert "of the stream is missing" in undecided["reason"]


def test_an_event_that_no_command_led_to_is_found(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    position = find(journal, "task.CancelTask")
    alter(journal, position, lambda said: said["meta"].update(command=None))
    answer = replayed(capsys, journal, code=1)
    assert [(one["position"], one["kind"]) for one in answer["strays"]] == [(position, "task.TaskCancelled")]
    assert "follows from no command" in told(capsys, journal, code=1)


@pytest.mark.parametrize("states_max", [1, 3])
def test_how_many_states_are_kept_changes_nothing_that_is_found(journal: Path, states_max: int) -> None:
    replay, facts, findings = found(journal, states_max=states_max, states_bytes_max=1000)
    assert (replay.equal, len(findings)) == (replay.commands - ERASED, ERASED)
    assert (facts.false, len(replay._streams) <= states_max) == ([], True)


# ---- facts


def said_of(name: str, index: int, **changed: Any) -> Any:
    """A change to one of the facts in a list that a command carries."""

    def change(said: Plain) -> None:
        said["meta"]["command"]["data"][name][index] |= changed

    return change


def field(**changed: Any) -> Any:
    return lambda said: said["meta"]["command"]["data"].update(changed)


def without(name: str) -> Any:
    return lambda said: said["meta"]["command"]["data"][name].pop(0)


def _contender(
    said: Plain, role: str = "candidates", facts: Plain | None = None, offered: Plain | None = None, **changed: Any
) -> None:
    """A change to the holder, or to the first of those who are compared with it."""
    one = said["meta"]["command"]["data"][role]
    one = one[0] if isinstance(one, list) else one
    one["facts"] |= facts or {}
    one["offered"] |= offered or {}
    one |= changed


@pytest.mark.parametrize(
    "command, where, change, fact",
    [
        ("task.AwardTask", {"task_id": "first"}, said_of("bidders", 0, running=1), "bidder ann"),
        (
            "task.AwardTask",
            {"task_id": "first"},
            said_of("bidders", 0, recent={"succeeded": 9.0, "kept": 9.0}),
            "bidder ann",
        ),
        ("task.AwardTask", {"task_id": "first"}, said_of("bidders", 1, position=1), "bidder bob"),
        ("task.AwardTask", {"task_id": "first"}, said_of("bidders", 1, lease_seconds=99.0), "bidder bob"),
        ("task.AwardTask", {"task_id": "first"}, without("bidders"), "bidders left out"),
        ("task.OpenBook", {"task_id": "first"}, said_of("candidates", 0, slots=7), "candidate ann"),
        ("task.OpenBook", {"task_id": "first"}, said_of("candidates", 0, used=1.5), "candidate ann"),
        ("task.OpenBook", {"task_id": "first"}, said_of("candidates", 0, max_capacity=None), "candidate ann"),
        ("task.OpenBook", {"task_id": "first"}, said_of("candidates", 0, agent_id="zoe"), "candidate zoe"),
        ("task.AwardTask", {"task_id": "first"}, said_of("bidders", 0, used=40.0), "bidder ann"),
        ("task.AwardTask", {"task_id": "first"}, said_of("bidders", 1, agent_type="decision_engine"), "bidder bob"),
        ("task.OpenBook", {"task_id": "fine"}, said_of("candidates", 0, skills=[{"name": "cutting"}]), "candidate ann"),
        ("task.OpenBook", {"task_id": "near"}, said_of("candidates", 0, region="uk"), "candidate ann"),
        ("task.PlaceBid", {"task_id": "near"}, lambda said: _listed(said, prices={"cutting": 9.0}), "listed"),
        ("task.PlaceBid", {"task_id": "near"}, lambda said: _listed(said, position=2), "listed"),
        ("task.NoteStall", {"task_id": "huge"}, said_of("candidates", 0, max_capacity=9.0), "candidate ann"),
        ("coordination.AssignBatch", {}, said_of("bidders", 0, running=1), "bidder ann"),
        ("coordination.AssignBatch", {}, said_of("books", 0, priority=5), "book of "),
        ("coordination.AssignBatch", {}, said_of("books", 0, bids=[]), "book of "),
        ("coordination.AssignBatch", {}, without("bidders"), "bidders left out"),
        ("task.AwardTask", {"task_id": "joint"}, lambda said: _share(said, number=7), "batch"),
        ("task.AwardTask", {"task_id": "joint"}, lambda said: _share(said, agent_id="cid"), "batch"),
        ("task.AwardTask", {"task_id": "joint"}, lambda said: _share(said, prices={"ann": 7.0}), "prices of the batch"),
        ("task.OpenBook", {"task_id": "first"}, without("candidates"), "candidates left out"),
        ("task.OpenBook", {"task_id": "second"}, said_of("doers", 0, agent_id="ann"), "doer of first"),
        ("task.OpenBook", {"task_id": "second"}, without("doers"), "doers left out"),
        ("task.NoteStall", {"task_id": "sewn"}, without("candidates"), "candidates left out"),
        (
            "task.SubmitTask",
            {"task_id": "second"},
            said_of("dependency_facts", 0, stage="completed"),
            "dependency first",
        ),
        ("task.SubmitTask", {"task_id": "second"}, said_of("dependency_facts", 0, position=1), "dependency first"),
        ("task.SubmitTask", {"task_id": "second"}, field(submitted_with=["first"]), "dependency first"),
        ("task.RebalanceTask", {}, lambda said: _contender(said, "holder", promised=[9.0]), "contender "),
        ("task.RebalanceTask", {}, lambda said: _contender(said, "holder", is_active=False), "contender "),
        ("task.RebalanceTask", {}, lambda said: _contender(said, "holder", facts={"running": 7}), "contender "),
        ("task.RebalanceTask", {}, lambda said: _contender(said, facts={"recent": {"failed": 9.0}}), "contender "),
        ("task.RebalanceTask", {}, lambda said: _contender(said, facts={"used": 1.5}), "contender "),
        ("task.RebalanceTask", {}, lambda said: _contender(said, facts={"position": 2}), "contender "),
        ("task.RebalanceTask", {}, lambda said: _contender(said, facts={"agent_id": "zoe"}), "contender zoe"),
        ("task.RebalanceTask", {}, lambda said: _contender(said, offered={"region": "uk"}), "contender "),
        ("task.UnblockTask", {"task_id": "second"}, field(position=3), "dependency first"),
        ("task.FailDependent", {"task_id": "waits"}, field(stage="failed"), "dependency dropped"),
        ("agent.LoseAgent", {"agent_id": "cid"}, field(last_heard_at=0.0), "last_heard_at"),
        ("task.ExpireLease", {"task_id": "second"}, field(last_heard_at=0.0), "last_heard_at"),
        ("task.ExpireLease", {"task_id": "second"}, field(agent_gone_position=2), "agent_gone_position"),
        ("solve_job.QueueSolve", {"job_id": "j1"}, lambda said: _problem(said, variables=7), "problem grid"),
        ("solve_job.CompleteSolve", {"job_id": "j1"}, field(input_digest="0" * 64), "input_digest"),
        ("solve_job.CompleteSolve", {"job_id": "j1"}, field(seed=1), "seed"),
        ("task.SubmitTask", {"task_id": "hem"}, field(schema=None), "schema"),
        ("task.SubmitTask", {"task_id": "hem"}, field(schema={"version": 1, "position": 2}), "schema"),
        ("task.SubmitTask", {"task_id": "hem"}, field(payload={"hem": "open"}), "payload fits its schema"),
        ("key.IssueKey", {"key_id": "spare"}, field(at=1.0), "stamp"),
    ],
)
def test_a_false_fact_is_found(journal: Path, command: str, where: Plain, change: Any, fact: str) -> None:
    position = find(journal, command, lambda said: where.items() <= said.items())
    alter(journal, position, change)
    _, facts, _ = found(journal)
    assert {one.position for one in facts.false} == {position}
    assert any(one.fact.startswith(fact) for one in facts.false)


def _share(said: Plain, **changed: Any) -> None:
    said["meta"]["command"]["data"]["batch"] |= changed


def test_a_batch_that_was_altered_is_decided_otherwise(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    position = find(journal, "coordination.AssignBatch")
    alter(journal, position, field(agents={}))
    (diff,) = replayed(capsys, journal, code=1)["diffs"]
    assert (diff["position"], diff["refusal"]["code"]) == (position, "batch_unproven")
    alter(journal, position, field(prices=[]))
    assert replayed(capsys, journal, code=1)["different"] == 1


def _listed(said: Plain, **changed: Any) -> None:
    said["meta"]["command"]["data"]["listed"] |= changed


def _problem(said: Plain, **changed: Any) -> None:
    said["meta"]["command"]["data"]["problem"] |= changed


def test_a_false_fact_is_told_with_what_was_so(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    position = find(journal, "task.AwardTask", lambda said: said["task_id"] == "first")
    alter(journal, position, said_of("bidders", 1, running=1, slots=1))
    text = told(capsys, journal, code=1)
    assert f"position {position}: AwardTask on task-first carries a false fact, bidder bob" in text
    assert "DIFFERENT" in text  # who has no slot left wins nothing


# ---- files


def test_what_is_no_journal_or_no_list_is_refused(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE other (name)")
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[[expected]]\nstream = 1\n")
    for arguments, why in (
        ([tmp_path / "none.db"], "there is no journal"),
        ([other], "can't be read"),
        ([journal, "--from", 0], "--from must be 1 or more"),
        ([journal, "--from", 10_000], "there are no records"),
        ([journal, "--expected", wrong], "no list of expected differences"),
        ([journal, "--expected", tmp_path / "none.toml"], "no list of expected differences"),
    ):
        assert main(["audit", "replay", *map(str, arguments)]) == 2
        assert why in capsys.readouterr().err


# ---- of simulated runs


def test_a_coordinator_that_carries_false_facts_is_found_in_a_simulated_run(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = agents.coordinating.calls._facts

    def flatters(task: Any, agent: Any) -> Any:
        return replace(honest(task, agent), completed=99)

    monkeypatch.setattr(agents.coordinating.calls, "_facts", flatters)
    outcome = simulate(NodeWorkload(10.0), 1, faults=())
    assert outcome.invariant == "facts_true"
    assert "bidder " in outcome.detail


# ---- of personal data


@pytest.mark.parametrize("encrypts", [False, True])
async def test_with_the_keys_of_a_data_folder_all_is_decided_and_after_an_erasure_what_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], encrypts: bool
) -> None:
    async with open_client(settings_of(tmp_path, encrypt_at_rest=encrypts)) as admin:
        schema = {"payload": {"required": ["who"]}}
        assert (await admin.ask("PUT", "/v1/task-types/analysis/schemas", schema)).status_code == 200
        about = {"task_type": "analysis", "payload": {"who": "somebody"}}
        task_id = await admin.submit(data_subject="p1", description="somebody's", **about)
        await admin.submit(task_type="testing")
        capsys.readouterr()
        data = ("--data", tmp_path / "data")
        assert replayed(capsys, *data)["not_decidable"] == 0
        apart = replayed(capsys, tmp_path / "data" / "journal.db")
        assert (apart["different"], apart["not_decidable"] > 0) == (0, True)
        context = Context(tenant="default", principal="test")
        await erase(admin.node, "p1", "asked to", context)
        answer = replayed(capsys, *data)
        assert [one["stream"] for one in answer["undecided"]] == [f"task-{task_id}"]
        assert (answer["different"], answer["facts"]["false"]) == (0, 0)
        assert main(["log", "why", task_id, str(tmp_path / "data" / "journal.db"), *map(str, data), "--tree"]) == 0
        assert "somebody's" not in capsys.readouterr().out

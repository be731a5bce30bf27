"""`gavel simulate`: what it prints, what it refuses, and how a run that fails is told."""

import json
from typing import Any

import pytest

from agents.coordinating.coordinator import Coordinator
from gateway.cli import main


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(["simulate", *arguments])
    return code, capsys.readouterr().out


def test_a_run_is_summed_up_in_one_json_object(capsys):
    code, out = told(capsys, "--seed", "1", "--json")
    answer = json.loads(out)
    assert code == 0
    assert set(answer) == {"seed", "ok", "steps", "simulated_seconds", "events", "trace_sha256", "failed"}
    assert (answer["seed"], answer["ok"], answer["failed"]) == (1, True, [])
    assert answer["steps"] >= 1000
    assert answer["events"] >= 100


def test_several_seeds_are_summed_up_the_same_however_many_run_at_a_time(capsys):
    ones = [told(capsys, "--seeds", "4", "--seconds", "5", "--jobs", jobs, "--json") for jobs in ("1", "2")]
    assert ones[0] == ones[1]
    assert json.loads(ones[0][1])["ok"]


def test_a_run_can_be_stopped_at_a_step_and_explained(capsys):
    code, out = told(capsys, "--seed", "1", "--faults", "none", "--until", "200", "--explain")
    lines = out.splitlines()
    assert code == 0
    assert lines[39].split()[0] == "200"
    assert lines[40] == "what led to it:"
    assert lines[lines.index("how all stood:") - 1] == lines[39]
    assert lines[lines.index("how all stood:") + 1].startswith("journal: committed up to")


def test_what_fails_is_told_with_its_invariant_fewer_faults_and_the_line_that_runs_it_again(capsys, monkeypatch):
    def deaf(coordinator: Coordinator, at: float, seconds: float) -> None:
        """Takes whoever could not be heard for silent."""

    monkeypatch.setattr(Coordinator, "paused", deaf)
    faults = "pause@5,late@3,late@4,pause@15,doubled@9"
    code, out = told(capsys, "--seed", "4", "--seconds", "20", "--faults", faults, "--json")
    [failed] = json.loads(out)["failed"]
    assert code == 1
    assert (failed["seed"], failed["invariant"]) == (4, "no_false_suspicion")
    assert all(fault.startswith("pause") for fault in failed["faults"])
    code, out = told(capsys, "--seed", "4", "--seconds", "20", "--faults", faults)
    again = f"again: gavel simulate --seed 4 --seconds 20 --faults {','.join(failed['faults'])} --explain"
    assert code == 1
    assert again in out.splitlines()


@pytest.mark.parametrize(
    "arguments, why",
    [
        (["--seed", "-1"], "--seed must be"),
        (["--seeds", "0"], "--seeds must be"),
        (["--seconds", "0"], "--seconds must be"),
        (["--seconds", "nan"], "--seconds must be"),
        (["--faults", "crash,flood"], "there is no flood"),
        (["--faults", "crash@soon"], "'crash@soon' is no fault"),
        (["--faults", "crash,late@3"], "'crash' is no fault"),
        (["--until", "0"], "--until takes"),
        (["--until", "5", "--seeds", "2"], "--until takes"),
        (["--jobs", "0"], "--jobs must be"),
    ],
)
def test_a_wrong_question_is_refused(capsys: Any, arguments: list[str], why: str) -> None:
    assert main(["simulate", *arguments]) == 2
    assert why in capsys.readouterr().err

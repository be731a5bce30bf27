"""What was decided once is decided so for ever under the same rules: the golden journal, decided anew."""

from types import ModuleType
from typing import Any

import msgspec
import pytest

from aggregates import task
from aggregates.catalog import AGGREGATES
from aggregates.task import TaskSubmitted
from runtime.records import CommandRecord
from tests.aggregates import golden


def test_what_is_kept_is_decided_anew_and_comes_out_equal() -> None:
    assert golden.differing(golden.load()) == []


def test_the_kept_journal_is_the_one_that_would_be_made_today() -> None:
    assert golden.CODEC.pack(golden.make()) == golden.FILE.read_bytes()


@pytest.mark.parametrize("aggregate", AGGREGATES, ids=lambda aggregate: aggregate.__name__)
def test_every_command_and_every_event_is_in_it(aggregate: ModuleType) -> None:
    noun = aggregate.__name__.rpartition(".")[2]
    steps = [step for step in golden.load() if step.stream.startswith(f"{noun}-")]
    assert {step.command.name for step in steps} == {f"{noun}.{kind.__name__}" for kind in aggregate.COMMANDS}
    assert {kind for step in steps for kind, _ in step.events} == {
        f"{noun}.{kind.__name__}" for kind in aggregate.EVENTS
    }


def test_another_decision_under_the_same_number_is_found_and_under_a_new_one_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(task, "decide", lambda state, command: [])
    assert any("task.SubmitTask decided" in fault for fault in golden.differing(golden.load()))
    monkeypatch.setattr(task, "RULES", task.RULES + 1)
    assert golden.differing(golden.load()) == []


def test_a_record_from_before_a_fact_was_kept_is_decided_as_if_there_had_been_no_bound() -> None:
    old: dict[str, Any] = {
        "at": 1.0,
        "tenant": "t",
        "task_id": "t1",
        "task_type": "analysis",
        "budget_seconds": 3600.0,
        "bidding_seconds": 2.0,
        "attempts_max": 10,
        "budget_seconds_max": 3600.0,
    }
    data = msgspec.Raw(msgspec.msgpack.encode(old))
    command = golden.CODEC.command(CommandRecord(name="task.SubmitTask", rules=1, data=data))
    (submitted,) = task.decide(task.initial, command)  # type: ignore[arg-type]
    assert isinstance(submitted, TaskSubmitted)
    assert submitted.attempts_max == 10

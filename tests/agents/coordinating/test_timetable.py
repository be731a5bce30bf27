"""What falls due for a task, at each of its stages."""

import pytest
from msgspec.structs import replace

from agents.coordinating.alarms import Due
from agents.coordinating.entries import TaskEntry
from agents.coordinating.timetable import all_due, due_at
from aggregates.task import HELD, Stage
from tests.agents.coordinating.test_calls import task

FLOOR = 3.0
TIMES = {
    "closes_at": 11.0,
    "cancel_by": 12.0,
    "deadline": 13.0,
    "retry_at": 14.0,
    "not_before": 15.0,
    "awarded_at": 5.0,
}


@pytest.mark.parametrize("stage", [Stage.SUBMITTED, Stage.BLOCKED, Stage.BIDDING, *sorted(HELD)])
@pytest.mark.parametrize("is_person", [False, True])
@pytest.mark.parametrize("times", [{}, TIMES])
def test_all_that_is_due_at_a_stage_is_what_would_be_found_by_asking_for_everything(
    stage: Stage, is_person: bool, times: dict[str, float]
) -> None:
    entry: TaskEntry = replace(task("t1", 1, ("cutting",), stage, ()), is_person=is_person, **times)
    asked = {(at, due) for due in Due if (at := due_at(entry, due, FLOOR))}
    assert set(all_due(entry, FLOOR)) == asked

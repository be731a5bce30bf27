"""Attempts that fail: when the next one may begin, and which is the last."""

import pytest
from msgspec.structs import replace

from aggregates import task
from aggregates.task import ExpireLease, FailTask, OpenBook, SubmitTask, TaskDeadLettered, TaskFailed, TaskReopened
from aggregates.values.retrying import RetryPolicy
from tests.aggregates.outcomes import state
from tests.aggregates.test_task import AWARDED, refusal
from tests.examples import AT, command_by_type

SUBMIT: SubmitTask = command_by_type[SubmitTask]
OPEN: OpenBook = command_by_type[OpenBook]
FAIL: FailTask = command_by_type[FailTask]
EXPIRE: ExpireLease = command_by_type[ExpireLease]
PATIENT = tuple(
    replace(one, retry=RetryPolicy(delay_seconds=30)) if isinstance(one, SubmitTask) else one for one in AWARDED
)


@pytest.mark.parametrize("end", [FAIL, EXPIRE], ids=["given up", "lease expired"])
def test_nobody_is_called_again_before_the_delay_is_over(end: FailTask | ExpireLease) -> None:
    *_, reopened = task.decide(state(task, *PATIENT), end)
    assert isinstance(reopened, TaskReopened)
    assert reopened.not_before == end.at + 30
    again = replace(OPEN, round=2, at=end.at + 29.9)
    assert refusal(again, *PATIENT, end).code == "not_yet"
    assert task.decide(state(task, *PATIENT, end), replace(again, at=end.at + 30))


def test_without_a_delay_it_is_offered_at_once() -> None:
    *_, reopened = task.decide(state(task, *AWARDED), FAIL)
    assert isinstance(reopened, TaskReopened)
    assert reopened.not_before is None


def test_an_attempt_that_nobody_could_do_better_is_the_last() -> None:
    hopeless = replace(FAIL, reason="no such file", retryable=False)
    failed, dead = task.decide(state(task, *PATIENT), hopeless)
    assert isinstance(failed, TaskFailed)
    assert isinstance(dead, TaskDeadLettered)
    assert dead.reason == "attempt 1, not retryable: no such file"


def test_a_delay_is_part_of_what_was_asked() -> None:
    assert refusal(replace(SUBMIT, retry=RetryPolicy(delay_seconds=1), at=AT + 1), SUBMIT).code == "task_exists"


def test_a_delay_that_is_over_sooner_does_not_let_it_begin_before_its_time() -> None:
    held = task.Task(
        stage=task.Stage.AWARDED,
        attempt=1,
        attempts_max=2,
        assignee="ann",
        not_before=AT + 3600,
        retry=RetryPolicy(delay_seconds=5),
    )
    given_up = replace(FAIL, agent_id="ann", token=1, at=AT)
    _, again = task.decide(held, given_up)
    assert isinstance(again, TaskReopened)
    assert again.not_before == AT + 3600

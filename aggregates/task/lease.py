"""A lease: only the holder of the newest token speaks for the task, until it ends or is taken away."""

from collections.abc import Sequence
from hashlib import sha256

from aggregates.task.canceling import ACKNOWLEDGED
from aggregates.task.commands import (
    AskQuestion,
    CompleteTask,
    EndOverrun,
    ExpireLease,
    ExpireTask,
    FailTask,
    ReportProgress,
    StartTask,
)
from aggregates.task.events import (
    LeaseExpired,
    TaskCancelled,
    TaskCompleted,
    TaskDeadLettered,
    TaskEvent,
    TaskExpired,
    TaskFailed,
    TaskReopened,
    TaskStarted,
)
from aggregates.task.state import Task
from aggregates.task.terms import ENDED, HELD, HOLD_OVER, OVER_BUDGET, RELEASES_MAX, Stage, hold_until, over_at
from aggregates.values.document import encoded, faults
from runtime.errors import FieldFault, Refused


def check_lease(task: Task, command: StartTask | CompleteTask | FailTask | AskQuestion | ReportProgress) -> None:
    """Only the holder of the newest token may speak for the task."""
    if command.token > task.attempt:
        text = f"{command.task_id} was awarded {task.attempt} times"
        raise Refused.of([FieldFault("/token", "token_unknown", text)])
    if command.token < task.attempt or task.stage in (Stage.SUBMITTED, Stage.BIDDING):
        raise Refused("token_stale", f"{command.task_id} was taken from the holder of token {command.token}")
    if task.stage not in HELD:
        raise Refused(f"task_is_{task.stage.value}", command.task_id)
    if command.agent_id != task.assignee:
        raise Refused("not_the_holder", f"{command.task_id} was awarded to another agent", status=403)


def start(task: Task, command: StartTask) -> Sequence[TaskEvent]:
    check_lease(task, command)
    if task.stage is Stage.RUNNING:
        return []
    started = TaskStarted(
        task_id=command.task_id, agent_id=command.agent_id, token=command.token, started_at=command.at
    )
    return [started]


def check_open(stage: Stage, task_id: str) -> None:
    if stage in ENDED:
        raise Refused(f"task_is_{stage.value}", task_id)


def completed_so(task: Task, command: CompleteTask) -> bool:
    same = command.token == task.attempt and command.agent_id == task.assignee and command.charged == task.charged
    return same and not faults("result", command.result) and _result_digest(command) == task.result_digest


def _result_digest(command: CompleteTask) -> bytes:
    return sha256(encoded(command.result)).digest()


def complete(task: Task, command: CompleteTask) -> Sequence[TaskEvent]:
    if found := faults("result", command.result):
        raise Refused.of([FieldFault(flaw.pointer, "result_unfit", str(flaw)) for flaw in found])
    if task.deadline is not None and command.at > task.deadline:
        raise Refused("deadline_passed", f"{command.at - task.deadline:.1f} s ago")
    if task.cancel_by and command.at > task.cancel_by:
        raise Refused("deadline_passed", f"it was to be cancelled {command.at - task.cancel_by:.1f} s ago")
    _check_charge(task, command)
    return [
        TaskCompleted(
            task_id=command.task_id,
            agent_id=command.agent_id,
            token=command.token,
            result=command.result,
            result_digest=_result_digest(command),
            seconds=command.at - task.awarded_at,
            data_subject=task.data_subject,
            charged=command.charged,
        )
    ]


def _check_charge(task: Task, command: CompleteTask) -> None:
    most = task.price if not task.surcharge else task.price_max
    if command.charged is not None and most is not None and command.charged > most:
        agreed = "was agreed" if not task.surcharge else "is the most that the task pays"
        raise Refused.of([FieldFault("/charged", "charge_too_high", f"{most:g} {agreed}")])


def decline(task: Task, command: FailTask) -> Sequence[TaskEvent]:
    """Who has won gives the task back before it has begun; a person, whenever they see that it is not for them."""
    if task.is_person:
        return give_back(task, command)
    if task.stage is Stage.RUNNING:
        raise Refused("task_is_running", f"{command.task_id} was begun; what was begun fails")
    return fail(task, command, command.reason or "declined")


def fail(task: Task, command: FailTask | EndOverrun, reason: str) -> Sequence[TaskEvent]:
    """An attempt has failed; while the task is being cancelled, its holder acknowledges that."""
    if task.cancel_by:
        how = ACKNOWLEDGED if isinstance(command, FailTask) else reason
        return [TaskCancelled(task_id=command.task_id, reason=how)]
    subject = task.data_subject if isinstance(command, FailTask) else ""
    failed = TaskFailed(
        task_id=command.task_id,
        agent_id=task.assignee,
        token=task.attempt,
        reason=reason,
        final=False,
        data_subject=subject,
        declined=isinstance(command, FailTask) and command.declined,
    )
    if isinstance(command, FailTask) and not command.retryable:
        told = f"attempt {task.attempt}, not retryable: {reason}"
        return [failed, TaskDeadLettered(task_id=command.task_id, reason=told, data_subject=subject)]
    return [failed, _again(task, command, reason, subject)]


def give_back(task: Task, command: FailTask) -> Sequence[TaskEvent]:
    """What a person gives back is offered to others as it was: that counts as no attempt, so many times."""
    if task.cancel_by or task.releases >= RELEASES_MAX:
        return fail(task, command, command.reason or "given_back")
    failed = TaskFailed(
        task_id=command.task_id,
        agent_id=task.assignee,
        token=task.attempt,
        reason=command.reason or "given_back",
        final=False,
        data_subject=task.data_subject,
        declined=True,
        attempts_max=task.attempts_max + 1,
    )
    again = TaskReopened(
        task_id=command.task_id, attempt=task.attempt + 1, reason=failed.reason, data_subject=task.data_subject
    )
    return [failed, again]


def _again(
    task: Task, command: FailTask | EndOverrun | ExpireLease, reason: str, subject: str = ""
) -> TaskReopened | TaskDeadLettered:
    """`subject` is given where the reason was told by somebody who knows the data."""
    if task.attempt < task.attempts_max:
        delay = task.retry.seconds_after(task.attempt - task.moves)
        return TaskReopened(
            task_id=command.task_id,
            attempt=task.attempt + 1,
            reason=reason,
            data_subject=subject,
            not_before=max(command.at + delay, task.not_before or 0.0) if delay else None,
        )
    reason = f"attempt {task.attempt} of {task.attempts_max}: {reason}"
    return TaskDeadLettered(task_id=command.task_id, reason=reason, data_subject=subject)


def expire_lease(task: Task, command: ExpireLease) -> Sequence[TaskEvent]:
    if not command.agent_gone_position:
        _check_over(task, command)
    reason = HOLD_OVER if task.is_person and not command.agent_gone_position else "lease_expired"
    expired = LeaseExpired(
        task_id=command.task_id, agent_id=task.assignee, token=task.attempt, last_heard_at=command.last_heard_at
    )
    if task.cancel_by:
        return [expired, TaskCancelled(task_id=command.task_id, reason=reason)]
    return [expired, _again(task, command, reason)]


def _check_over(task: Task, command: ExpireLease) -> None:
    """Raises Refused while the holder has it still: a program until it was silent for a term, a person until their time is over."""
    if task.is_person:
        until = hold_until(task.held_since, task.lease_seconds, is_waiting=task.question_at > 0)
        if until > command.at:
            raise Refused("lease_held", f"{task.assignee} has it for {until - command.at:.1f} s yet")
    elif command.last_heard_at + task.lease_seconds > command.at:
        raise Refused("lease_held", f"{task.assignee} was heard within its {task.lease_seconds:g} s")


def end_overrun(task: Task, command: EndOverrun) -> Sequence[TaskEvent]:
    over = over_at(task.awarded_at, task.budget_seconds, task.input_seconds, is_waiting=task.question_at > 0)
    if task.is_person or command.at < over:
        raise Refused("within_budget", command.task_id)
    return fail(task, command, OVER_BUDGET)


def expire(task: Task, command: ExpireTask) -> Sequence[TaskEvent]:
    if task.deadline is None or command.at < task.deadline:
        raise Refused("deadline_ahead", command.task_id)
    return [TaskExpired(task_id=command.task_id, deadline=task.deadline)]

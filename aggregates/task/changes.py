"""What becomes of a task after it was submitted: another priority or deadline, and a new chance for a dead letter."""

from collections.abc import Sequence

from aggregates.task.commands import AmendTask, RequeueTask
from aggregates.task.events import TaskAmended, TaskEvent, TaskRequeued
from aggregates.task.state import Task
from aggregates.task.terms import Stage
from aggregates.values.skills import missing
from runtime.errors import FieldFault, Refused


def amend(task: Task, command: AmendTask) -> Sequence[TaskEvent]:
    if command.deadline is not None and command.deadline <= command.at:
        raise Refused.of([FieldFault("/deadline", "deadline_passed", f"{command.at - command.deadline:.0f} s ago")])
    priority = task.priority if command.priority is None else command.priority
    deadline = task.deadline if command.deadline is None else command.deadline
    if (priority, deadline) == (task.priority, task.deadline):
        return []
    return [TaskAmended(task_id=command.task_id, priority=priority, deadline=deadline)]


def requeue(task: Task, command: RequeueTask) -> Sequence[TaskEvent]:
    if task.stage is not Stage.DEAD_LETTERED and task.requeued_after == task.attempt:
        return []
    if task.stage is not Stage.DEAD_LETTERED:
        raise Refused("not_a_dead_letter", f"{command.task_id} is {task.stage.value}")
    deadline = task.deadline if command.deadline is None else command.deadline
    if found := _requeue_faults(task, command, deadline):
        raise Refused.of(found)
    return [
        TaskRequeued(
            task_id=command.task_id,
            attempt=task.attempt + 1,
            attempts_max=task.attempt + (command.attempts or command.attempts_allowed),
            round=task.round,
            task_type=task.task_type,
            capabilities=task.capabilities,
            priority=task.priority,
            independent_of=task.independent_of,
            doers=command.doers,
            budget_seconds=task.budget_seconds,
            bidding_seconds=task.bidding_seconds,
            deadline=deadline,
            requeued_at=command.at,
            reason=command.reason,
            data_subject=task.data_subject,
            units=task.units,
            skills=task.skills,
            regions=task.regions,
        )
    ]


def _requeue_faults(task: Task, command: RequeueTask, deadline: float | None) -> list[FieldFault]:
    """Everything that keeps a dead letter from being offered again; who did what is no field of the request."""
    found: list[FieldFault] = []
    if deadline is not None and deadline <= command.at:
        found.append(FieldFault("/deadline", "deadline_passed", f"{command.at - deadline:.0f} s ago; give a new one"))
    if (command.attempts or 0) > command.attempts_allowed:
        found.append(FieldFault("/attempts", "attempts_too_many", f"{command.attempts_allowed} is the most"))
    if unclear := missing(task.independent_of, [doer.task_id for doer in command.doers]):
        text = f"it is not at hand any more who did {', '.join(unclear)}"
        found.append(FieldFault("", "independence_unclear", text))
    return found

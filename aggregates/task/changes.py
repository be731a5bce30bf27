"""What becomes of a task after it was submitted: another priority or deadline, and a new chance for a dead letter."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from aggregates.task.commands import AmendTask, RequeueTask
from aggregates.task.events import TaskAmended, TaskEvent, TaskRequeued
from aggregates.task.state import Task
from aggregates.task.submission import window_faults
from aggregates.task.terms import Stage
from aggregates.values.skills import missing
from runtime.errors import FieldFault, Refused

T = TypeVar("T")

AMENDABLE = ("priority", "deadline", "not_before", "estimated_duration", "budget_seconds")
WAITING = (Stage.BLOCKED, Stage.SUBMITTED, Stage.BIDDING)
"""Where the whole of a task is still to be done."""


def amend(task: Task, command: AmendTask) -> Sequence[TaskEvent]:
    if found := list(_amendment_faults(task, command)):
        raise Refused.of(found)
    if all(getattr(command, name) in (None, getattr(task, name)) for name in AMENDABLE):
        return []
    return [
        TaskAmended(
            task_id=command.task_id,
            priority=_given(command.priority, task.priority),
            deadline=_given(command.deadline, task.deadline),
            not_before=command.not_before,
            estimated_duration=command.estimated_duration,
            budget_seconds=command.budget_seconds,
        )
    ]


def _given(asked: T | None, stands: T) -> T:
    return stands if asked is None else asked


def _amendment_faults(task: Task, command: AmendTask) -> Iterator[FieldFault]:
    """Of the times that a task has, those are looked at that this changes: what has become infeasible by waiting keeps nobody from
    giving it another priority."""
    if command.deadline is not None or command.not_before is not None or command.estimated_duration is not None:
        found = window_faults(
            command.at,
            _given(command.deadline, task.deadline),
            _given(command.not_before, task.not_before),
            command.estimated_duration or (task.estimated_duration if task.stage in WAITING else None),
        )
        given = [
            name for name in ("deadline", "not_before", "estimated_duration") if getattr(command, name) is not None
        ]
        for fault in found:
            yield fault if fault.pointer[1:] in given else fault._replace(pointer=f"/{given[0]}")
    if (command.budget_seconds or 0) > command.budget_seconds_max:
        yield FieldFault("/budget_seconds", "budget_too_long", f"{command.budget_seconds_max:g} s is the most")


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
            not_before=task.not_before,
            queue=task.queue,
            price_max=task.price_max,
            assign_to=task.assign_to,
            concurrency=task.concurrency,
            schema_version=task.schema_version,
            no_bids=task.no_bids,
            bidding_seconds_max=task.bidding_seconds_max,
        )
    ]


def _requeue_faults(task: Task, command: RequeueTask, deadline: float | None) -> list[FieldFault]:
    """Everything that keeps a dead letter from being offered again; who did what is no field of the request."""
    window = window_faults(command.at, deadline, task.not_before, task.estimated_duration)
    found = [FieldFault("/deadline", fault.code, f"{fault.detail}; give a new one") for fault in window]
    if (command.attempts or 0) > command.attempts_allowed:
        found.append(FieldFault("/attempts", "attempts_too_many", f"{command.attempts_allowed} is the most"))
    if unclear := missing(task.independent_of, [*(doer.task_id for doer in command.doers), *task.unmet]):
        text = f"it is not at hand any more who did {', '.join(unclear)}"
        found.append(FieldFault("", "independence_unclear", text))
    if task.schema_version and task.schema_version < command.schemas_from.get(task.task_type, task.schema_version + 1):
        text = f"version {task.schema_version} of the schemas of {task.task_type.value} is not at hand any more"
        found.append(FieldFault("", "schema_gone", text))
    return found

"""A task is given to an agent without a book: by somebody who says so, to somebody who could have been called for it."""

from collections.abc import Sequence
from datetime import UTC, datetime

from aggregates.task.commands import AssignTask
from aggregates.task.eligibility import OFF_HOURS, REASONS, Unfit, Wanted, unfit, wanted
from aggregates.task.events import TaskAwarded, TaskEvent
from aggregates.task.people import lease_of
from aggregates.task.state import Task
from aggregates.task.terms import HELD, Stage
from aggregates.values.price_list import price_of
from runtime.errors import Refused

PASSING: tuple[Unfit, ...] = ("off_hours", "slots_full", "capacity_full")
"""What passes by itself: the agent could do it at another time."""


def assign(task: Task, command: AssignTask) -> Sequence[TaskEvent]:
    if task.stage in HELD and task.assignee == command.agent_id:
        return []
    if task.stage is not Stage.SUBMITTED:
        raise Refused(f"task_is_{task.stage.value}", command.task_id)
    if task.dry_run:
        raise Refused("task_is_dry_run", f"nobody is given {command.task_id}")
    asked = _asked(task, command)
    price = _price(task, command, asked)
    despite = " although it is off duty" if command.agent_id in asked.off_duty else ""
    return [
        TaskAwarded(
            task_id=command.task_id,
            round=task.round,
            attempt=task.attempt + 1,
            agent_id=command.agent_id,
            token=task.attempt + 1,
            lease_seconds=lease_of(task, command.lease_seconds, is_person=command.is_person),
            is_person=command.is_person,
            budget_seconds=task.budget_seconds,
            awarded_at=command.at,
            price=price,
            eta_seconds=task.budget_seconds,
            ranking=(),
            reason=f"{command.agent_id} was given it by {command.assigned_by}{despite}",
            units=task.units,
            assigned_by=command.assigned_by,
        )
    ]


def _asked(task: Task, command: AssignTask) -> Wanted:
    return wanted(
        task.capabilities,
        task.independent_of,
        command.doers,
        units=task.units,
        skills=task.skills,
        regions=task.regions,
        duties=command.duties,
        at=command.at,
    )


def _price(task: Task, command: AssignTask, asked: Wanted) -> float:
    """What the agent's list asks. Raises Refused where the agent can't be given the task."""
    if command.candidate is None or command.listed is None:
        raise Refused("agent_not_active", f"{command.agent_id} is no active agent")
    reasons = [one for one in REASONS if one is not OFF_HOURS] if command.override else REASONS
    if reason := unfit(command.candidate, asked, reasons):
        until = f": off duty until {_back(command)}" if reason == "off_hours" else ""
        text = f"{command.agent_id} can't be given it{until}"
        raise Refused(reason, text, status=409 if reason in PASSING else 422)
    price = price_of(command.listed, (task.task_type.value, *task.capabilities))
    if task.price_max is not None and price > task.price_max:
        raise Refused("price_over_budget", f"{command.agent_id} asks {price:g}", status=422)
    return price


def _back(command: AssignTask) -> str:
    """When the agent's next interval on duty begins."""
    since = next(duty.since for duty in command.duties if duty.agent_id == command.agent_id)
    return f"{datetime.fromtimestamp(since, UTC):%Y-%m-%d %H:%M:%S} UTC"

"""A task is given to an agent without a book: by somebody who says so, to somebody who could have been called for it."""

from collections.abc import Sequence

from aggregates.task.commands import AssignTask
from aggregates.task.eligibility import Unfit, unfit, wanted
from aggregates.task.events import TaskAwarded, TaskEvent
from aggregates.task.state import Task
from aggregates.task.terms import HELD, Stage
from aggregates.values.price_list import price_of
from runtime.errors import Refused

PASSING: tuple[Unfit, ...] = ("slots_full", "capacity_full")
"""What passes by itself: the agent could do it at another time."""


def assign(task: Task, command: AssignTask) -> Sequence[TaskEvent]:
    if task.stage in HELD and task.assignee == command.agent_id:
        return []
    if task.stage is not Stage.SUBMITTED:
        raise Refused(f"task_is_{task.stage.value}", command.task_id)
    if task.dry_run:
        raise Refused("task_is_dry_run", f"nobody is given {command.task_id}")
    price = _price(task, command)
    return [
        TaskAwarded(
            task_id=command.task_id,
            round=task.round,
            attempt=task.attempt + 1,
            agent_id=command.agent_id,
            token=task.attempt + 1,
            lease_seconds=command.lease_seconds,
            budget_seconds=task.budget_seconds,
            awarded_at=command.at,
            price=price,
            eta_seconds=task.budget_seconds,
            ranking=(),
            reason=f"{command.agent_id} was given it by {command.assigned_by}",
            units=task.units,
            assigned_by=command.assigned_by,
        )
    ]


def _price(task: Task, command: AssignTask) -> float:
    """What the agent's list asks. Raises Refused where the agent can't be given the task."""
    if command.candidate is None or command.listed is None:
        raise Refused("agent_not_active", f"{command.agent_id} is no active agent")
    asked = wanted(
        task.capabilities,
        task.independent_of,
        command.doers,
        units=task.units,
        skills=task.skills,
        regions=task.regions,
    )
    if reason := unfit(command.candidate, asked):
        raise Refused(reason, f"{command.agent_id} can't be given it", status=409 if reason in PASSING else 422)
    price = price_of(command.listed, (task.task_type.value, *task.capabilities))
    if task.price_max is not None and price > task.price_max:
        raise Refused("price_over_budget", f"{command.agent_id} asks {price:g}", status=422)
    return price

"""What the coordinator can say of leases: how long they hold, and whether a token is the good one. Heartbeats stand nowhere else."""

from agents.coordinating.entries import AgentEntry, TaskEntry
from agents.coordinating.open_tasks import OpenTasks
from aggregates.agent import LeaseLeft
from aggregates.task import HELD, CheckLease, LeaseStanding, Stage


def lease_left(task: TaskEntry, heard_at: float, now: float) -> LeaseLeft:
    """What is left of a lease whose holder was heard then."""
    return LeaseLeft(
        task_id=task.task_id,
        token=task.token,
        seconds_left=_until(task.hold_until if task.is_person else heard_at + task.lease_seconds, now),
        budget_seconds_left=_until(task.over_at, now),
        cancel_seconds_left=_until(task.cancel_by, now) if task.cancel_by else None,
    )


def leases_of(memory: OpenTasks, agent: AgentEntry, heard_at: float, now: float) -> tuple[LeaseLeft, ...]:
    """All that an agent holds."""
    return tuple(lease_left(memory.tasks[name], heard_at, now) for name in sorted(agent.held))


def standing(memory: OpenTasks, command: CheckLease, heard_at: float, now: float) -> LeaseStanding:
    """Whether a token is the good one now; the stage is unknown of tasks that are not at hand: none, or ended long ago."""
    task = memory.tasks.get(command.task_id)
    if task is None:
        ended = memory.ended.get(command.task_id)
        stage, newest, position = (ended.stage, ended.token, ended.position) if ended else (Stage.UNKNOWN, 0, 0)
        return LeaseStanding(
            task_id=command.task_id, token=command.token, newest_token=newest, stage=stage, position=position
        )
    is_good = task.stage in HELD and command.token == task.token
    return LeaseStanding(
        task_id=command.task_id,
        token=command.token,
        is_good=is_good,
        newest_token=task.token,
        agent_id=task.assignee if task.stage in HELD else "",
        stage=task.stage,
        seconds_left=lease_left(task, heard_at, now).seconds_left if is_good else 0.0,
        position=task.position,
    )


def _until(at: float, now: float) -> float:
    return round(max(0.0, at - now), 3)

"""What is different where people do a task: how long it stays with them, and what they say of it on the way."""

from collections.abc import Sequence

from aggregates.task.commands import DeclineOffer, ReportProgress
from aggregates.task.events import OfferDeclined, TaskEvent, TaskProgressed, TaskStarted
from aggregates.task.lease import check_lease, check_open
from aggregates.task.state import Task, is_among
from aggregates.task.terms import DECLINED_MAX, HELD, PROGRESS_MAX, SECONDS_MAX, Stage
from runtime.errors import Refused


def lease_of(task: Task, seconds: float, *, is_person: bool) -> float:
    """The term of a lease; a person has no less than the task is said to take."""
    return max(seconds, min(task.estimated_duration or 0.0, SECONDS_MAX)) if is_person else seconds


def remark(task: Task, command: ReportProgress | DeclineOffer) -> Sequence[TaskEvent]:
    """The holder says how far it is; or somebody who could take it, that they will not."""
    return _report_progress(task, command) if isinstance(command, ReportProgress) else _decline_offer(task, command)


def _report_progress(task: Task, command: ReportProgress) -> Sequence[TaskEvent]:
    """Who says how far it is has begun."""
    check_lease(task, command)
    if task.progress >= PROGRESS_MAX:
        raise Refused("progress_too_often", f"{PROGRESS_MAX} times was told how far {command.task_id} is")
    progressed = TaskProgressed(
        task_id=command.task_id,
        agent_id=command.agent_id,
        token=command.token,
        share=command.share,
        note=command.note,
        progressed_at=command.at,
        data_subject=task.data_subject,
    )
    if task.stage is Stage.RUNNING:
        return [progressed]
    started = TaskStarted(
        task_id=command.task_id, agent_id=command.agent_id, token=command.token, started_at=command.at
    )
    return [started, progressed]


def _decline_offer(task: Task, command: DeclineOffer) -> Sequence[TaskEvent]:
    """Said of a task that waits, once."""
    check_open(task.stage, command.task_id)
    if task.stage in HELD:
        raise Refused(f"task_is_{task.stage.value}", command.task_id)
    if is_among(task.declined, command.agent_id):
        return []
    if len(task.declined) >= DECLINED_MAX:
        raise Refused("declined_too_often", f"{DECLINED_MAX} people would not take {command.task_id}")
    return [
        OfferDeclined(
            task_id=command.task_id,
            agent_id=command.agent_id,
            reason=command.reason,
            data_subject=task.data_subject,
        )
    ]

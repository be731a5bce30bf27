"""A cancellation that leaves the holder some time: it may still finish, or acknowledge by giving up; at the end of its grace the task is
cancelled. Why is told by the request; the end tells how it came to that."""

from collections.abc import Sequence

from aggregates.task.commands import CancelTask, EndGrace
from aggregates.task.events import CancelRequested, TaskCancelled, TaskEvent
from aggregates.task.state import Task
from aggregates.task.terms import HELD
from runtime.errors import Refused

ACKNOWLEDGED = "cancel_acknowledged"
GRACE_OVER = "cancel_grace_over"


def cancel(task: Task, command: CancelTask) -> Sequence[TaskEvent]:
    """At once, unless somebody holds it who is given grace; a second request can only make that shorter."""
    cancel_by = command.at + command.grace_seconds
    if task.stage not in HELD or not command.grace_seconds:
        return [TaskCancelled(task_id=command.task_id, reason=command.reason, data_subject=task.data_subject)]
    if task.cancel_by and task.cancel_by <= cancel_by:
        return []
    return [
        CancelRequested(
            task_id=command.task_id,
            agent_id=task.assignee,
            token=task.attempt,
            cancel_by=cancel_by,
            reason=command.reason,
            data_subject=task.data_subject,
        )
    ]


def end_grace(task: Task, command: EndGrace) -> Sequence[TaskEvent]:
    if not task.cancel_by:
        return []
    if command.at < task.cancel_by:
        raise Refused("grace_ahead", f"{command.task_id} is cancelled in {task.cancel_by - command.at:.3f} s")
    return [TaskCancelled(task_id=command.task_id, reason=GRACE_OVER)]

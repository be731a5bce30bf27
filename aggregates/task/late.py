"""A report that came too late: its lease had been taken, for silence or for overrunning the budget."""

from collections.abc import Sequence

from aggregates.task.commands import NoteLateReport
from aggregates.task.events import LateReported, TaskEvent
from aggregates.task.state import Task
from runtime.errors import Refused


def late_reports_due(recorded: int) -> int:
    """At which number of reports under one token the next is recorded: at 1, 2, 4, 8, …"""
    return max(1, 2 * recorded)


def note_late_report(task: Task, command: NoteLateReport) -> Sequence[TaskEvent]:
    taken = next((one for one in task.taken if one.token == command.token), None)
    if taken is None or taken.agent_id != command.agent_id:
        raise Refused("not_the_holder", f"token {command.token} was not taken from {command.agent_id}", status=403)
    return [
        LateReported(
            task_id=command.task_id,
            agent_id=command.agent_id,
            token=command.token,
            report=command.report,
            count=late_reports_due(taken.late),
            more=late_reports_due(taken.late) - taken.late,
        )
    ]

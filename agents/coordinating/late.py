"""Reports that come after their lease was taken: refused to the agent, and noted on the task's stream.

Of one lease the first is recorded, then the second, the fourth, the eighth, …: however often an agent says it, that costs few records.
Those in between are counted here, and lost with the process.
"""

from collections import OrderedDict

from agents.coordinating.entries import Taken
from agents.coordinating.open_tasks import OpenTasks
from aggregates.task import CompleteTask, FailTask, NoteLateReport, StartTask, late_reports_due, stream
from runtime.actor import Effect
from runtime.errors import Refused

COUNTED_MAX = 10_000
"""Of how many leases reports are counted that are not recorded; the least lately reported is forgotten."""

Report = StartTask | CompleteTask | FailTask


class LateReports:
    """What was said under tokens that were taken away, beyond what is on record."""

    def __init__(self) -> None:
        self._count_by_lease: OrderedDict[tuple[str, int], int] = OrderedDict()

    def answer(self, memory: OpenTasks, command: Report, since: float) -> Effect | None:
        """The note and the refusal, where the agent's lease of this token was taken; None where that is not so, or not known any more:
        of tasks that had ended before `since`, which may be archived, nothing more is recorded."""
        taken = _taken(memory, command, since)
        if taken is None:
            return None
        refusal = Refused("token_stale", f"{command.task_id} was taken from the holder of token {command.token}")
        lease = (command.task_id, command.token)
        count = max(taken.late, self._count_by_lease.get(lease, 0)) + 1
        if count < late_reports_due(taken.late):
            self._count(lease, count)
            raise refusal
        note = NoteLateReport(
            task_id=command.task_id, agent_id=command.agent_id, token=command.token, report=type(command).__name__
        )
        return Effect([(stream(command.task_id), note)], refusal=refusal)

    def _count(self, lease: tuple[str, int], count: int) -> None:
        self._count_by_lease[lease] = count
        self._count_by_lease.move_to_end(lease)
        if len(self._count_by_lease) > COUNTED_MAX:
            self._count_by_lease.popitem(last=False)


def _taken(memory: OpenTasks, command: Report, since: float) -> Taken | None:
    ended = memory.ended.get(command.task_id)
    task = memory.tasks.get(command.task_id) or (ended if ended is not None and ended.at >= since else None)
    found = (one for one in task.taken if one.token == command.token) if task is not None else iter(())
    one = next(found, None)
    return one if one is not None and one.agent_id == command.agent_id else None

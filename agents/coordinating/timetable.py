"""What falls due for a task, when, and what is decided then."""

from collections.abc import Iterator

from agents.coordinating.alarms import Due
from agents.coordinating.calls import Decision, close_book, expire_lease
from agents.coordinating.entries import TaskEntry
from agents.coordinating.open_tasks import OpenTasks
from agents.coordinating.terms import Terms
from aggregates.task import HELD, EndGrace, EndOverrun, ExpireTask, Stage, stream

OF_WAITING = (Due.DEADLINE, Due.RETRY, Due.START)
OF_CALLED = (Due.BOOK, Due.DEADLINE)
OF_HELD = (Due.BUDGET, Due.HOLD, Due.GRACE, Due.DEADLINE)
MAY_BE_DUE = {
    Stage.SUBMITTED: OF_WAITING,
    Stage.BLOCKED: OF_WAITING,
    Stage.BIDDING: OF_CALLED,
    **dict.fromkeys(HELD, OF_HELD),
}
"""What may be due for a task, by its stage: to ask for all else of each submission takes longer than to remember it."""

HOLD_GRACE_SECONDS = 600.0
"""So long has a person at least, after a start or a pause of the node, to say something of a task whose time is over."""


def due_at(task: TaskEntry, due: Due, floor: float) -> float | None:
    """When this is due for the task as it stands now, where nothing was heard before the `floor`; None when it no longer is."""
    match due:
        case Due.BOOK:
            return task.closes_at if task.stage is Stage.BIDDING else None
        case Due.HOLD if task.stage in HELD and task.is_person:
            return max(task.hold_until, floor + min(HOLD_GRACE_SECONDS, task.lease_seconds))
        case Due.BUDGET if task.stage in HELD and not task.is_person:
            return max(task.over_at, floor + task.lease_seconds)
        case Due.GRACE:
            return task.cancel_by if task.stage in HELD else None
        case Due.DEADLINE:
            return task.deadline
        case Due.RETRY:
            return task.retry_at if task.stage is Stage.SUBMITTED else None
        case Due.START:
            return task.not_before if task.stage in (Stage.SUBMITTED, Stage.BLOCKED) else None
        case _:
            return None


def all_due(task: TaskEntry, floor: float) -> Iterator[tuple[float, Due]]:
    """All that is to come for a task, and when."""
    for due in MAY_BE_DUE.get(task.stage, ()):
        if at := due_at(task, due, floor):
            yield at, due


def falls_due(memory: OpenTasks, terms: Terms, task: TaskEntry, due: Due) -> list[Decision]:
    """What is decided of the task itself; nothing where it is only ready to be offered again."""
    match due:
        case Due.BOOK:
            return [close_book(memory, task, terms.weights)]
        case Due.BUDGET:
            return [(stream(task.task_id), EndOverrun(task_id=task.task_id, token=task.token))]
        case Due.HOLD:
            return [expire_lease(task, task.held_since)]
        case Due.GRACE:
            return [(stream(task.task_id), EndGrace(task_id=task.task_id, token=task.token))]
        case Due.DEADLINE:
            return [(stream(task.task_id), ExpireTask(task_id=task.task_id))]
        case _:
            return []

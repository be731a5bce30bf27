"""The tasks that take places: in bidding, or held. One that waits takes none, for others neither: nobody waits for its own dependents."""

from collections.abc import Iterable

from agents.coordinating.entries import TaskEntry
from aggregates.task import HELD, Stage

TAKING = (Stage.BIDDING, *HELD)


class Occupied:
    """All of them; told of each task that has changed."""

    def __init__(self, entries: Iterable[TaskEntry] = ()) -> None:
        self._names: set[str] = set()
        for task in entries:
            self.update(task)

    def __len__(self) -> int:
        return len(self._names)

    def update(self, task: TaskEntry) -> None:
        """Takes in how a task stands now."""
        if task.stage in TAKING:
            self._names.add(task.task_id)
        else:
            self._names.discard(task.task_id)

    def forget(self, task_id: str) -> None:
        """The task has ended."""
        self._names.discard(task_id)

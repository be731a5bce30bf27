"""The tasks that take places: in bidding, or held. One that waits takes none, for others neither: nobody waits for its own dependents.

What people hold takes a place of its key, and none of the node's: it keeps no machine busy, and that for days.
"""

from collections import Counter
from collections.abc import Iterable

from agents.coordinating.entries import TaskEntry
from aggregates.task import HELD, Stage

TAKING = (Stage.BIDDING, *HELD)


class OfKey:
    """The open tasks of one concurrency key."""

    def __init__(self) -> None:
        self.taken: set[str] = set()
        self.open: set[str] = set()
        self.groups: Counter[str] = Counter()
        self.entered_by_task: dict[str, int] = {}
        """Those that wait for no other task, with the position where they began to."""

    def since(self) -> list[str]:
        """Those that wait for no other task, the oldest first."""
        return sorted(self.entered_by_task, key=lambda name: (self.entered_by_task[name], name))


NO_KEY = OfKey()


class Occupied:
    """All of them; told of each task that has changed."""

    def __init__(self, entries: Iterable[TaskEntry] = ()) -> None:
        self.keys: dict[str, OfKey] = {}
        self._names: set[str] = set()
        for task in entries:
            self.update(task)

    def __len__(self) -> int:
        return len(self._names)

    def of(self, key: str) -> OfKey:
        """What is open of a key."""
        return self.keys.get(key, NO_KEY)

    def update(self, task: TaskEntry) -> None:
        """Takes in how a task stands now."""
        is_taking = task.stage in TAKING
        _put(self._names, task.task_id, is_in=is_taking and not task.is_person)
        if task.concurrency is None:
            return
        of_key = self.keys.setdefault(task.concurrency.key, OfKey())
        if task.task_id not in of_key.open:
            of_key.open.add(task.task_id)
            of_key.groups[task.concurrency.group] += 1
        _put(of_key.taken, task.task_id, is_in=is_taking)
        if task.entered:
            of_key.entered_by_task[task.task_id] = task.entered

    def forget(self, task: TaskEntry) -> None:
        """The task has ended."""
        self._names.discard(task.task_id)
        if task.concurrency is None:
            return
        of_key = self.keys[task.concurrency.key]
        of_key.taken.discard(task.task_id)
        of_key.open.discard(task.task_id)
        of_key.groups[task.concurrency.group] -= 1
        of_key.entered_by_task.pop(task.task_id, None)
        if not of_key.open:
            del self.keys[task.concurrency.key]


def _put(names: set[str], name: str, *, is_in: bool) -> None:
    if is_in:
        names.add(name)
    else:
        names.discard(name)

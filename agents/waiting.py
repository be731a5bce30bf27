"""The tasks that wait for a book, in lines of those that need the same: a line that nobody can serve is passed over whole.

Within a line the ready ones stand in order; those whose last book found no winner rest until their pause is over.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from operator import itemgetter

from agents.entries import AgentEntry, Place, TaskEntry
from aggregates.task import Stage

LineKey = tuple[tuple[str, ...], tuple[str, ...]]
"""The skills that are needed, and the agents that are excluded."""


class Line:
    """Tasks that anybody of the same agents could do."""

    def __init__(self, key: LineKey) -> None:
        self.needs = frozenset(key[0])
        self.excluded = frozenset(key[1])
        self.ready: list[Place] = []
        self.resting: dict[str, tuple[float, Place]] = {}

    def names(self) -> list[str]:
        """All its tasks."""
        return [*(name for _, _, name in self.ready), *sorted(self.resting)]


class Waiting:
    """All lines; told of each task that has changed."""

    def __init__(self, entries: Iterable[TaskEntry] = ()) -> None:
        self.lines: dict[LineKey, Line] = {}
        self._pauses: list[tuple[float, str]] = []
        self._key_by_task: dict[str, LineKey] = {}
        self._place_by_task: dict[str, Place] = {}
        for task in entries:
            self.update(task)

    def __len__(self) -> int:
        return len(self._key_by_task)

    def update(self, task: TaskEntry) -> None:
        """Takes in how a task stands now."""
        self.forget(task.task_id)
        if task.stage is not Stage.SUBMITTED:
            return
        key = (task.capabilities, tuple(sorted({doer.agent_id for doer in task.doers})))
        line = self.lines.get(key)
        if line is None:
            line = self.lines[key] = Line(key)
        self._key_by_task[task.task_id], self._place_by_task[task.task_id] = key, task.place
        if task.retry_at:
            line.resting[task.task_id] = (task.retry_at, task.place)
            insort(self._pauses, (task.retry_at, task.task_id))
        else:
            insort(line.ready, task.place)

    def forget(self, task_id: str) -> None:
        """The task waits no longer."""
        key = self._key_by_task.pop(task_id, None)
        if key is None:
            return
        line, place = self.lines[key], self._place_by_task.pop(task_id)
        paused = line.resting.pop(task_id, None)
        if paused is None:
            del line.ready[bisect_left(line.ready, place)]
        else:
            del self._pauses[bisect_left(self._pauses, (paused[0], task_id))]
        if not line.ready and not line.resting:
            del self.lines[key]

    def due(self, at: float) -> list[str]:
        """The resting tasks whose pause is over by `at`."""
        if not self._pauses or self._pauses[0][0] > at:
            return []
        return [name for _, name in self._pauses[: bisect_right(self._pauses, at, key=itemgetter(0))]]

    def resting(self, agent: AgentEntry, *, unless: tuple[str, ...] | None = None) -> list[str]:
        """The resting tasks that this agent could do; but none for which the skills `unless` were enough."""
        offered, before = frozenset(agent.capabilities), frozenset(unless or ())
        return [
            name
            for line in self.lines.values()
            if line.resting and line.needs <= offered and agent.agent_id not in line.excluded
            for name in sorted(line.resting)
            if unless is None or not line.needs <= before
        ]

    def ready(self, at: float) -> list[tuple[Line, list[Place]]]:
        """The lines with the tasks that a book may be opened for at that time, in order."""
        late: dict[LineKey, list[Place]] = {}
        for name in self.due(at):
            late.setdefault(self._key_by_task[name], []).append(self._place_by_task[name])
        found = [(line, line.ready) for key, line in self.lines.items() if line.ready and key not in late]
        found += [(self.lines[key], sorted(self.lines[key].ready + places)) for key, places in late.items()]
        return found

"""When books are opened: a look at what waits is taken only where it may find something, a step at a time, within the node's places."""

from agents.coordinating.alarms import Alarms, Due
from agents.coordinating.calls import OPENINGS_MAX, Decision, openings
from agents.coordinating.open_tasks import OpenTasks
from agents.coordinating.places import Places
from agents.coordinating.terms import Aging

SECOND_LOOK_SECONDS = 1.0
"""When an alarm that was acted on is looked at again, in case the action was refused or its commit failed."""


class Opening:
    """The coordinator's part that opens books."""

    def __init__(self, places: Places, aging: Aging, alarms: Alarms) -> None:
        self.places = places
        self.aging = aging
        self.alarms = alarms
        self._second_look_at = 0.0
        self._looked_position = -1
        self._looked_at = 0.0
        """Until where and when it is known that no book can be opened."""
        self._last = ""
        """The last task of a step that opened as many books as it may: the next step follows when that is committed, so that what
        agents say meanwhile is heard in between."""

    def look(self, memory: OpenTasks, at: float, due: float = 0.0) -> list[Decision]:
        """The books to open, unless a look after the last change, and after what fell `due`, has found none."""
        if memory.stopped_at:
            self.places.rest()
        if not self.may_open(memory, due):
            return []
        memory.rota.turn(at)
        most = self.places.claim(memory, at, self.aging)
        found = openings(memory, at, self.aging, most) if most else []
        if self.places.settle(len(found)) and at >= self._second_look_at:
            self._second_look_at = at + SECOND_LOOK_SECONDS
            self.alarms.set(self._second_look_at, Due.PLACES, "")
        if not found:
            self._looked_position, self._looked_at = memory.moved_position, at
        elif len(found) >= OPENINGS_MAX:
            self._last = found[-1][1].task_id
        return [*found]

    def may_open(self, memory: OpenTasks, due: float = 0.0) -> bool:
        """Whether a look may find something."""
        if memory.stopped_at or (memory.moved_position <= self._looked_position and due <= self._looked_at):
            return False
        # Where the step was refused, the book that it ended with is not open.
        return self._last not in memory.books

    def opened(self, task_id: str) -> None:
        """A book is open: where it was the last of a step, the next step may follow."""
        if task_id == self._last:
            self._last = ""

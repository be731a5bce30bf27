"""The tasks that wait for a book, in lines of those that need the same: a line that nobody can serve is passed over whole.

Within a line all have one priority, queue and concurrency, and the ready ones stand in the order in which they came, whatever waiting is
worth: how lines are merged is for those to say who know that. Those whose last book found no winner rest until their pause is over, or
somebody comes; those that may not begin yet stand aside until then, whoever comes.
"""

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterable
from math import ceil, floor, log10
from operator import itemgetter
from typing import NamedTuple

from agents.coordinating.entries import AgentEntry, Offer, Place, TaskEntry
from aggregates.task import Stage
from aggregates.values.capacity import fits
from aggregates.values.concurrency import Concurrency
from aggregates.values.document import encoded
from aggregates.values.skill_terms import SkillNeed

Needs = tuple[tuple[str, ...], tuple[str, ...], float, bytes, str]
"""The skills that are needed, the agents that are excluded, about how many units are taken (`grade`), and the terms beyond: versions,
attributes, regions; and who alone is called, where that is somebody."""
LineKey = tuple[Needs, int, str, tuple[str, int, str, str]]
"""What is needed, the priority, the queue, and what its concurrency is, as far as it has a key."""

GRADE_DIGITS = 2


def grade(units: float) -> float:
    """The smallest number of two digits that is no less: so many kinds of sizes there are, whatever tasks ask for."""
    if not units:
        return 0.0
    step = 10.0 ** (floor(log10(units)) - GRADE_DIGITS + 1)
    return ceil(round(units / step, 9)) * step


def _concurrency(asked: Concurrency | None) -> tuple[str, int, str, str]:
    """In an order, which None has not."""
    return (asked.key, asked.limit, asked.strategy.value, asked.group) if asked is not None else ("", 0, "", "")


class Line:
    """Tasks that anybody of the same agents could do, as far as skills go."""

    def __init__(
        self,
        key: LineKey,
        skills: tuple[SkillNeed, ...] = (),
        regions: tuple[str, ...] = (),
        concurrency: Concurrency | None = None,
    ) -> None:
        self.key = key
        self.skills, self.regions, self.concurrency = skills, regions, concurrency
        self.asks, self.priority, self.queue, _ = key
        needs, excluded, size, self.terms, self.only = self.asks
        self.needs = frozenset(needs)
        self.excluded = frozenset(excluded)
        self.has_units = size > 0
        self.sizes: Counter[float] = Counter()
        """The units that its tasks take, all of one grade, with the number of tasks of each."""
        self.ready: list[Place] = []
        self.resting: dict[str, tuple[float, Place]] = {}
        self.later: dict[str, tuple[float, Place]] = {}
        """Those that may not begin before some time."""

    def is_served_by(self, offer: Offer) -> bool:
        """Whether this is what its tasks need, but for the units."""
        return self.needs <= offer.capabilities and offer.meets(self.skills, self.regions)

    def may_call(self, agent_id: str) -> bool:
        """Whether nothing but the agent's offer and room speaks against it."""
        return agent_id not in self.excluded and self.only in ("", agent_id)

    def names(self, at: float) -> list[str]:
        """All its tasks that may be begun by then."""
        begun = (name for name, (begins, _) in self.later.items() if begins <= at)
        return [*(name for _, _, name in self.ready), *sorted([*self.resting, *begun])]


class Spot(NamedTuple):
    """Where a task waits, and the units that it takes."""

    line: Line
    place: Place
    units: float


def _key(task: TaskEntry) -> LineKey:
    excluded = tuple(sorted({doer.agent_id for doer in task.doers})) if task.doers else ()
    shared = (task.capabilities, excluded, grade(task.units))
    terms = encoded((task.skills, task.regions)) if task.skills or task.regions else b""
    return ((*shared, terms, task.assign_to), task.priority, task.queue, _concurrency(task.concurrency))


def line_for(task: TaskEntry) -> Line:
    """What the line of a task asks for, whether it waits or not."""
    return Line(_key(task), task.skills, task.regions, task.concurrency)


class Waiting:
    """All lines; told of each task that has changed."""

    def __init__(self, entries: Iterable[TaskEntry] = ()) -> None:
        self.lines: dict[LineKey, Line] = {}
        self._pauses: list[tuple[float, str]] = []
        self._spot_by_task: dict[str, Spot] = {}
        for task in entries:
            self.update(task)

    def __len__(self) -> int:
        return len(self._spot_by_task)

    def update(self, task: TaskEntry) -> None:
        """Takes in how a task stands now."""
        self.forget(task.task_id)
        if task.stage is not Stage.SUBMITTED:
            return
        key, place, units = _key(task), task.place, task.units
        line = self.lines.get(key)
        if line is None:
            line = self.lines[key] = Line(key, task.skills, task.regions, task.concurrency)
        line.sizes[units] += 1
        self._spot_by_task[task.task_id] = Spot(line, place, units)
        if until := task.rests_until:
            aside = line.later if task.not_before else line.resting
            aside[task.task_id] = (until, place)
            insort(self._pauses, (until, task.task_id))
        elif (
            not line.ready or line.ready[-1] < place
        ):  # as a task that is new: to look for its place in a long line takes longer
            line.ready.append(place)
        else:
            insort(line.ready, place)

    def forget(self, task_id: str) -> None:
        """The task waits no longer."""
        spot = self._spot_by_task.pop(task_id, None)
        if spot is None:
            return
        line, place, units = spot
        line.sizes[units] -= 1
        if not line.sizes[units]:
            del line.sizes[units]
        paused = line.resting.pop(task_id, None) or line.later.pop(task_id, None)
        if paused is None:
            del line.ready[bisect_left(line.ready, place)]
        else:
            del self._pauses[bisect_left(self._pauses, (paused[0], task_id))]
        if not line.ready and not line.resting and not line.later:
            del self.lines[line.key]

    def line_of(self, task_id: str) -> Line:
        """The line of a task that waits."""
        return self._spot_by_task[task_id].line

    def due(self, at: float) -> list[str]:
        """The tasks that rest no more by `at`: their pause is over, or they may begin."""
        if not self._pauses or self._pauses[0][0] > at:
            return []
        return [name for _, name in self._pauses[: bisect_right(self._pauses, at, key=itemgetter(0))]]

    def resting(self, agent: AgentEntry, *, unless: Offer | None = None) -> list[str]:
        """The resting tasks that this agent could do; but none for which what it offered before, `unless`, was enough."""
        offer = agent.offer
        return [
            name
            for line in self.lines.values()
            if line.resting and line.may_call(agent.agent_id) and line.is_served_by(offer)
            for most in (unless.max_capacity if unless is not None and line.is_served_by(unless) else None,)
            for name in sorted(line.resting)
            for units in (self._spot_by_task[name].units,)
            if fits(units, offer.max_capacity, 0.0) and (most is None or not fits(units, most, 0.0))
        ]

    def ready(self, at: float) -> list[tuple[Line, list[Place]]]:
        """The lines with the tasks that a book may be opened for at that time, each in order."""
        late: dict[LineKey, list[Place]] = {}
        for name in self.due(at):
            line, place, _ = self._spot_by_task[name]
            late.setdefault(line.key, []).append(place)
        found = [(line, line.ready) for key, line in self.lines.items() if line.ready and key not in late]
        found += [(self.lines[key], sorted(self.lines[key].ready + places)) for key, places in late.items()]
        return found

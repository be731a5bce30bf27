"""Which agents have which skill, who of them a free slot, and who how many units: so that a call need not look at every agent there is.

A person has skills here and never a free slot: nobody is called whose answer takes hours, they come and take what waits.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

from agents.coordinating.entries import AgentEntry, Offer
from agents.coordinating.turns import WHOLE, Awaited, Queue, Round, Walk, degree
from agents.coordinating.waiting import Line
from aggregates import agent as agents
from aggregates.values.capacity import room
from aggregates.values.skill_terms import SkillNeed

EVERYBODY = ""
"""Stands among the skills for needing none."""

FITTING_MAX = 256
"""Of how many terms of skills it is known who serves them; of others it is found out when they are asked for."""

TAKES_SLACK = 1e-9
"""What a quotient may be short of a whole number."""

AgentsBySkill = dict[str, set[str]]

NOBODY = Queue()


class Supply:
    """The active agents by skill, and those with a free slot; told of each agent that has changed, and of each book that begins or ends."""

    def __init__(self, entries: Iterable[AgentEntry] = (), books: Iterable[Collection[str]] = ()) -> None:
        """`books`: whom each of the open ones calls."""
        self.slots = 0
        self.slots_by_agent: dict[str, int] = {}
        self.active: AgentsBySkill = {}
        self.free: dict[str, Queue] = {}
        self._awaited = Awaited()
        self._off_duty: set[str] = set()
        """Who is not to be called now, though there are slots."""
        self._load_by_agent: dict[str, tuple[int, int]] = {}
        """The tasks and slots of those with a free slot."""
        self._skills_by_agent: dict[str, tuple[str, ...]] = {}
        self._offers_by_agent: dict[str, Offer] = {}
        """What the active agents offer."""
        self._fitting: dict[bytes, Fitting] = {}
        """Who serves the terms that were asked for lately, by their bytes."""
        self._rooms = Sizes()
        """The units that are left to each agent with a free slot."""
        self._capacities = Sizes()
        """The units that each active agent could ever hold."""
        for called in books:
            self._awaited.add(sorted(called))
        for agent in entries:
            self.update(agent)

    def update(self, agent: AgentEntry) -> None:
        """Takes in how an agent stands now."""
        name = agent.agent_id
        skills = agent.capabilities if agent.stage is agents.Stage.ACTIVE else None
        before = self._skills_by_agent.get(name)
        free = 0 if name in self._off_duty or agent.is_person else agent.free
        if skills != before:
            self._set_free(agent, 0, before or ())
            _remove(self.active, name, before)
            _add(self.active, name, skills)
            if skills is None:
                del self._skills_by_agent[name]
            else:
                self._skills_by_agent[name] = skills
        self._set_free(agent, free, skills or ())
        self._set_offer(name, agent.offer if skills is not None else None)
        self._rooms.set(name, agent.room if free else None)
        self._capacities.set(name, None if skills is None else room(agent.max_capacity, 0.0))

    def set_off_duty(self, name: str, agent: AgentEntry | None, *, is_off: bool) -> None:
        """Takes in whether an agent is on duty; None where there is none by that name any more."""
        if is_off == (name in self._off_duty):
            return
        if is_off:
            self._off_duty.add(name)
        else:
            self._off_duty.discard(name)
        if agent is not None:
            self.update(agent)

    def fitting(self, line: Line) -> set[str] | None:
        """The active agents whose skills serve what a line needs, in its regions; None where names of skills are all that it needs."""
        terms, needs, regions = line.terms, line.skills, line.regions
        if not terms:
            return None
        found = self._fitting.get(terms)
        if found is None:
            offering = self._offers_by_agent.items()
            found = Fitting(needs, regions, {name for name, offer in offering if offer.meets(needs, regions)})
            if len(self._fitting) >= FITTING_MAX:
                del self._fitting[next(iter(self._fitting))]
            self._fitting[terms] = found
        return found.names

    def _set_offer(self, name: str, offer: Offer | None) -> None:
        if offer == self._offers_by_agent.get(name):
            return
        self._offers_by_agent.pop(name, None)
        if offer is not None:
            self._offers_by_agent[name] = offer
        for one in self._fitting.values():
            if offer is not None and offer.meets(one.needs, one.regions):
                one.names.add(name)
            else:
                one.names.discard(name)

    @property
    def most_room(self) -> float:
        """The most units that anybody with a free slot has left."""
        return self._rooms.most

    def skilled(self, line: Line) -> set[str]:
        """The active agents that have all of these skills, busy or not; of a line that is meant for one that one, whatever it has."""
        if line.only:
            return {line.only} & self._skills_by_agent.keys()
        found = sorted((self.active.get(skill, set()) for skill in line.needs or (EVERYBODY,)), key=len)
        return found[0].intersection(*found[1:])

    def walk(self, line: Line, units: float, round_: Round) -> Walk:
        """Those who could take a task of a line that takes so many units now, as it is their turn."""
        needs, excluded, fitting = line.needs, line.excluded, self.fitting(line)
        first, *others = sorted((self.free.get(skill, NOBODY) for skill in sorted(needs or (EVERYBODY,))), key=len)
        queue: Iterable[tuple[int, str]] = first
        if line.only:
            queue = [(self._degree(line.only), line.only)] if line.only in first else ()
        tests: list[Callable[[str], bool]] = [other.__contains__ for other in others]
        tests += [] if fitting is None else [fitting.__contains__]
        tests += [lambda name: name not in excluded] if excluded else []
        tests += [lambda name: self._rooms.of(name) >= units] if units else []
        return Walk(queue, lambda name: all(test(name) for test in tests), round_)

    def round(self) -> Round:
        """For the calls of one step."""
        return Round(self._degree)

    def spare(self, name: str, units: float) -> int:
        """What is left of an agent with a free slot for tasks of so many units, beside the books that call it: in parts of a WHOLE."""
        return self.takes(name, units) * WHOLE - self._awaited.of(name)

    def open(self, called: Collection[str]) -> None:
        """A book calls these."""
        names = sorted(called)
        self._awaited.add(names)
        self._place_again(names, last=True)

    def close(self, called: Collection[str]) -> None:
        """It has ended."""
        names = sorted(called)
        self._awaited.drop(names)
        self._place_again(names)

    def takes(self, name: str, units: float) -> int:
        """How many tasks of so many units an agent with a free slot could take now."""
        slots = self.slots_by_agent[name]
        return min(slots, int(self._rooms.of(name) / units + TAKES_SLACK)) if units else slots

    def has_free(self, line: Line) -> bool:
        """Whether anybody may have a free slot who has the skills of a line, or the one that it is meant for."""
        return line.needs <= self.free.keys() and (not line.only or line.only in self.slots_by_agent)

    def largest(self, line: Line, *, on_duty: bool = False) -> float:
        """The most units that anybody with the skills of a line could ever hold, busy or not, or of those alone who are on duty; less
        than nothing where nobody has them."""
        fitting = self.fitting(line)
        groups: list[set[str]] = [self.active.get(skill, set()) for skill in line.needs]
        groups += [] if fitting is None else [fitting]
        for capacity, name in self._capacities.of_one(line.only) if line.only else self._capacities.descending():
            if on_duty and name in self._off_duty:
                continue
            if line.may_call(name) and all(name in group for group in groups):
                return capacity
        return -1.0

    def _set_free(self, agent: AgentEntry, slots: int, skills: tuple[str, ...]) -> None:
        name = agent.agent_id
        before = self.slots_by_agent.pop(name, 0)
        self.slots += slots - before
        if slots:
            self.slots_by_agent[name] = slots
            self._load_by_agent[name] = (len(agent.held), agent.slots)
            for skill in () if before else (EVERYBODY, *skills):
                self.free.setdefault(skill, Queue())
            self._place(name, skills)
        elif before:
            del self._load_by_agent[name]
            for skill in (EVERYBODY, *skills):
                self.free[skill].drop(name)
                if not self.free[skill]:
                    del self.free[skill]

    def _degree(self, name: str, more: int = 0) -> int:
        held, slots = self._load_by_agent[name]
        return degree(held, slots, self._awaited.of(name) + more)

    def _place(self, name: str, skills: tuple[str, ...]) -> None:
        """In all queues that an agent with a free slot stands in."""
        number = self._degree(name)
        for skill in (EVERYBODY, *skills):
            self.free[skill].put(name, number)

    def _place_again(self, names: Iterable[str], *, last: bool = False) -> None:
        """Those of the agents that have a free slot: what they await has changed. Hundreds are called at once."""
        load_by_agent, skills_by_agent = self._load_by_agent, self._skills_by_agent
        awaited, free = self._awaited.of, self.free
        everybody = free.get(EVERYBODY, NOBODY)
        for name in names:
            load = load_by_agent.get(name)
            if load is None:
                continue
            number = degree(*load, awaited(name))
            everybody.put(name, number, last=last)
            for skill in skills_by_agent[name]:
                free[skill].put(name, number, last=last)


@dataclass
class Fitting:
    """Who serves some needs in some regions."""

    needs: tuple[SkillNeed, ...]
    regions: tuple[str, ...]
    names: set[str]


@dataclass
class Sizes:
    """Agents by a number of units, from few to many."""

    _sorted: list[tuple[float, str]] = field(default_factory=list)
    _by_agent: dict[str, float] = field(default_factory=dict)

    @property
    def most(self) -> float:
        return self._sorted[-1][0] if self._sorted else 0.0

    def of(self, name: str) -> float:
        """The number of an agent that is in here."""
        return self._by_agent[name]

    def of_one(self, name: str) -> Iterator[tuple[float, str]]:
        """This one alone, where it is in here."""
        if name in self._by_agent:
            yield self._by_agent[name], name

    def descending(self) -> Iterator[tuple[float, str]]:
        """All of them, the most first."""
        return reversed(self._sorted)

    def set(self, name: str, units: float | None) -> None:
        """Takes in what an agent has now; None: it is in here no more."""
        before = self._by_agent.get(name)
        if before == units:
            return
        if before is not None:
            del self._sorted[bisect_left(self._sorted, (before, name))], self._by_agent[name]
        if units is not None:
            self._by_agent[name] = units
            insort(self._sorted, (units, name))


def _add(index: AgentsBySkill, name: str, skills: tuple[str, ...] | None) -> None:
    for skill in () if skills is None else (EVERYBODY, *skills):
        index.setdefault(skill, set()).add(name)


def _remove(index: AgentsBySkill, name: str, skills: tuple[str, ...] | None) -> None:
    for skill in () if skills is None else (EVERYBODY, *skills):
        names = index[skill]
        names.discard(name)
        if not names:
            del index[skill]

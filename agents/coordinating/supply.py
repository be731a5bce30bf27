"""Which agents have which skill, who of them a free slot, and who how many units: so that a call need not look at every agent there is."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from agents.coordinating.entries import AgentEntry, Offer
from aggregates import agent as agents
from aggregates.values.skill_terms import SkillNeed

EVERYBODY = ""
"""Stands among the skills for needing none."""

FITTING_MAX = 256
"""Of how many terms of skills it is known who serves them; of others it is found out when they are asked for."""

TAKES_SLACK = 1e-9
"""What a quotient may be short of a whole number."""

AgentsBySkill = dict[str, set[str]]


class Supply:
    """The active agents by skill, and those with a free slot; told of each agent that has changed."""

    def __init__(self, entries: Iterable[AgentEntry] = ()) -> None:
        self.slots = 0
        self.slots_by_agent: dict[str, int] = {}
        self.active: AgentsBySkill = {}
        self.free: AgentsBySkill = {}
        self._skills_by_agent: dict[str, tuple[str, ...]] = {}
        self._offers_by_agent: dict[str, Offer] = {}
        """What the active agents offer."""
        self._fitting: dict[bytes, Fitting] = {}
        """Who serves the terms that were asked for lately, by their bytes."""
        self._rooms = Sizes()
        """The units that are left to each agent with a free slot."""
        self._capacities = Sizes()
        """The units that each active agent could ever hold."""
        for agent in entries:
            self.update(agent)

    def update(self, agent: AgentEntry) -> None:
        """Takes in how an agent stands now."""
        name = agent.agent_id
        skills = agent.capabilities if agent.stage is agents.Stage.ACTIVE else None
        before = self._skills_by_agent.get(name)
        free = agent.free
        if skills != before:
            self._set_free(name, 0, before or ())
            _remove(self.active, name, before)
            _add(self.active, name, skills)
            if skills is None:
                del self._skills_by_agent[name]
            else:
                self._skills_by_agent[name] = skills
        self._set_free(name, free, skills or ())
        self._set_offer(name, agent.offer if skills is not None else None)
        self._rooms.set(name, agent.room if free else None)
        self._capacities.set(name, None if skills is None else agent.max_capacity)

    def fitting(self, terms: bytes, needs: tuple[SkillNeed, ...], regions: tuple[str, ...]) -> set[str]:
        """The active agents whose skills serve these needs, in these regions; `terms` stands for both."""
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

    def able(
        self, needs: frozenset[str], *, free: bool = True, units: float = 0.0, fitting: set[str] | None = None
    ) -> set[str]:
        """Who has all of these skills, of those who are `fitting`; and, of those with a free slot, as many units left."""
        index = self.free if free else self.active
        found = [index.get(skill) for skill in needs] or [index.get(EVERYBODY)]
        found += [] if fitting is None else [fitting]
        known = sorted((names for names in found if names is not None), key=len)
        if len(known) < len(found):
            return set()
        if not units or not free:
            return known[0].intersection(*known[1:])
        if self._rooms.count(units) < len(known[0]):
            return set(self._rooms.holding(units)).intersection(*known)
        return {name for name in known[0].intersection(*known[1:]) if self._rooms.of(name) >= units}

    def takes(self, name: str, units: float) -> int:
        """How many tasks of so many units an agent with a free slot could take now."""
        slots = self.slots_by_agent[name]
        return min(slots, int(self._rooms.of(name) / units + TAKES_SLACK)) if units else slots

    def largest(self, needs: frozenset[str], excluded: frozenset[str], fitting: set[str] | None = None) -> float:
        """The most units that anybody with these skills could ever hold, busy or not; less than nothing where nobody has them."""
        groups: list[set[str]] = [self.active.get(skill, set()) for skill in needs]
        groups += [] if fitting is None else [fitting]
        for capacity, name in self._capacities.descending():
            if name not in excluded and all(name in group for group in groups):
                return capacity
        return -1.0

    def _set_free(self, name: str, slots: int, skills: tuple[str, ...]) -> None:
        before = self.slots_by_agent.pop(name, 0)
        self.slots += slots - before
        if slots:
            self.slots_by_agent[name] = slots
        if slots and not before:
            _add(self.free, name, skills)
        elif before and not slots:
            _remove(self.free, name, skills)


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

    def count(self, units: float) -> int:
        """How many have as many or more."""
        return len(self._sorted) - bisect_left(self._sorted, (units, ""))

    def holding(self, units: float) -> list[str]:
        """Who has as many or more."""
        return [name for _, name in self._sorted[bisect_left(self._sorted, (units, "")) :]]

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

"""Which agents have which skill, and which of those a free slot: so that a call need not look at every agent there is."""

from collections.abc import Iterable

from agents.entries import AgentEntry
from aggregates import agent as agents

EVERYBODY = ""
"""Stands among the skills for needing none."""

AgentsBySkill = dict[str, set[str]]


class Supply:
    """The active agents by skill, and those with a free slot; told of each agent that has changed."""

    def __init__(self, entries: Iterable[AgentEntry] = ()) -> None:
        self.slots = 0
        self.slots_by_agent: dict[str, int] = {}
        self.active: AgentsBySkill = {}
        self.free: AgentsBySkill = {}
        self._skills_by_agent: dict[str, tuple[str, ...]] = {}
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

    def able(self, needs: frozenset[str], *, free: bool = True) -> set[str]:
        """Who has all of these skills."""
        index = self.free if free else self.active
        found = [index.get(skill) for skill in needs] or [index.get(EVERYBODY)]
        known = sorted((names for names in found if names is not None), key=len)
        return known[0].intersection(*known[1:]) if len(known) == len(found) else set()

    def _set_free(self, name: str, slots: int, skills: tuple[str, ...]) -> None:
        before = self.slots_by_agent.pop(name, 0)
        self.slots += slots - before
        if slots:
            self.slots_by_agent[name] = slots
        if slots and not before:
            _add(self.free, name, skills)
        elif before and not slots:
            _remove(self.free, name, skills)


def _add(index: AgentsBySkill, name: str, skills: tuple[str, ...] | None) -> None:
    for skill in () if skills is None else (EVERYBODY, *skills):
        index.setdefault(skill, set()).add(name)


def _remove(index: AgentsBySkill, name: str, skills: tuple[str, ...] | None) -> None:
    for skill in () if skills is None else (EVERYBODY, *skills):
        names = index[skill]
        names.discard(name)
        if not names:
            del index[skill]

"""When each agent was heard last, and until when it may be silent. A person may be silent for as long as they like.

Heartbeats are volatile: after a start or a pause the `floor` stands for what was not heard, so that every agent, every suspicion and every
lease has one full term before it can end.
"""

from agents.coordinating.calls import Decision, expire_lease
from agents.coordinating.entries import AgentEntry
from agents.coordinating.open_tasks import OpenTasks
from aggregates import agent as agents
from aggregates.agent import ClearAgent, LoseAgent, SuspectAgent, suspect_after

WATCHED = (agents.Stage.ACTIVE, agents.Stage.DRAINING, agents.Stage.SUSPECT)
"""Whose silence means something."""


class Hearing:
    """Who was heard when; `grace_share` is the last part of a term, in which an agent is suspected."""

    def __init__(self, grace_share: float) -> None:
        self.grace_share = grace_share
        self.floor = 0.0
        self.by_agent: dict[str, float] = {}

    def hear(self, agent_id: str, at: float) -> None:
        self.by_agent[agent_id] = at

    def forget(self, agent_id: str) -> None:
        self.by_agent.pop(agent_id, None)

    def heard_at(self, agent: AgentEntry) -> float:
        """From when on its silence counts."""
        return max(self.by_agent.get(agent.agent_id, 0.0), self.floor, agent.since)

    def silent_at(self, agent: AgentEntry) -> float:
        """Until when it may be silent as it stands now."""
        seconds = agent.lease_seconds
        if agent.stage is not agents.Stage.SUSPECT:
            seconds = suspect_after(seconds, self.grace_share)
        return self.heard_at(agent) + seconds

    def on_silence(self, memory: OpenTasks, agent: AgentEntry, tenant: str, at: float) -> list[Decision]:
        """Whoever is silent is suspected first, and lost at the end of the term; only then are its tasks taken from it.

        Nothing where it may be silent for longer, or where its silence means nothing."""
        if agent.stage not in WATCHED or agent.is_person:
            return []
        stream, heard_at = agents.stream(tenant, agent.agent_id), self.heard_at(agent)
        if self._is_heard_again(agent):
            return [(stream, ClearAgent(agent_id=agent.agent_id, heard_at=self.by_agent[agent.agent_id]))]
        if self.silent_at(agent) > at:
            return []
        if agent.stage is not agents.Stage.SUSPECT:
            suspect = SuspectAgent(agent_id=agent.agent_id, last_heard_at=heard_at, grace_share=self.grace_share)
            return [(stream, suspect)]
        held = [memory.tasks[name] for name in sorted(agent.held)]
        lost = LoseAgent(agent_id=agent.agent_id, last_heard_at=heard_at)
        return [(stream, lost), *(expire_lease(task, heard_at) for task in held)]

    def _is_heard_again(self, agent: AgentEntry) -> bool:
        """A suspect has said something. That nobody could hear it for a while (the floor) gives it time, and says nothing of it."""
        is_suspect = agent.stage is agents.Stage.SUSPECT
        return is_suspect and self.by_agent.get(agent.agent_id, 0.0) > agent.suspected_from

"""What a heartbeat is answered: how long the agent's leases hold now; whoever was lost or suspected is back with it."""

from agents.coordinating.hearing import Hearing
from agents.coordinating.leases import leases_of
from agents.coordinating.open_tasks import OpenTasks
from aggregates import agent as agents
from aggregates.agent import ClearAgent, Heartbeat, HeartbeatAck, ReturnAgent
from runtime.actor import Effect, Reply, reply
from runtime.errors import Refused


def beat(memory: OpenTasks, hearing: Hearing, tenant: str, command: Heartbeat, now: float) -> Effect | Reply:
    """The answer, with what is decided where the agent was not taken for well. Raises Refused for one that is not registered."""
    agent = memory.agents.get(command.agent_id)
    if agent is None or agent.stage is agents.Stage.DEREGISTERED:
        raise Refused("agent_unknown", command.agent_id, status=404)
    hearing.hear(command.agent_id, command.at)
    stream = agents.stream(tenant, command.agent_id)
    if agent.stage is agents.Stage.LOST:
        back = HeartbeatAck(lease_seconds=agent.lease_seconds)
        return Effect([(stream, ReturnAgent(agent_id=command.agent_id))], lambda recorded: reply(command, back))
    leases = leases_of(memory, agent, hearing.heard_at(agent), now)
    answer = reply(command, HeartbeatAck(lease_seconds=agent.lease_seconds, leases=leases))
    if agent.stage is agents.Stage.SUSPECT:
        cleared = ClearAgent(agent_id=command.agent_id, heard_at=command.at)
        return Effect([(stream, cleared)], lambda recorded: answer)
    return answer

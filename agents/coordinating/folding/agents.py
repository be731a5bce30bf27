"""What the coordinator remembers of agents: who is there, what they offer, and the figures of those who left."""

from typing import Any

from agents.coordinating.entries import AgentEntry, Offer
from agents.coordinating.figures import Figures
from agents.coordinating.open_tasks import OpenTasks
from aggregates import agent as agents
from aggregates.agent import (
    AgentCleared,
    AgentDeregistered,
    AgentDraining,
    AgentLost,
    AgentRegistered,
    AgentReturned,
    AgentSuspected,
    AgentUpdated,
)
from runtime.records import Recorded

PAST_MAX = 10_000
SKILLS_MAX = 10_000


def register(memory: OpenTasks, event: AgentRegistered, recorded: Recorded) -> None:
    """An agent comes, or comes again with another offer."""
    past = memory.agents.get(event.agent_id)
    entry = AgentEntry(
        agent_id=event.agent_id,
        key_id=event.key_id,
        stage=agents.Stage.ACTIVE,
        generation=event.generation,
        capabilities=event.capabilities,
        specializations=event.specializations,
        slots=event.slots,
        lease_seconds=event.lease_seconds,
        since=recorded.meta.at,
        position=recorded.position,
        max_capacity=event.max_capacity,
        skills=event.skills,
        agent_type=event.agent_type,
        region=event.region,
        price=event.price,
        prices=event.prices,
        working_hours=event.working_hours,
        user_id=event.user_id,
    )
    if past is not None:
        entry.held, entry.units_by_task, entry.figures = past.held, past.units_by_task, past.figures
    elif event.agent_id in memory.departed:
        entry.figures = memory.departed.pop(event.agent_id)
        memory.departed_order.remove(event.agent_id)
    memory.agents[event.agent_id] = entry
    _offer(memory, entry, recorded.position)


def change_agent(memory: OpenTasks, agent: AgentEntry, event: Any, recorded: Recorded) -> None:
    """It offers something else, or is there no longer, or again."""
    agent.position = recorded.position
    match event:
        case AgentUpdated():
            before, slots = agent.offer, agent.slots
            agent.capabilities, agent.specializations = event.capabilities, event.specializations
            agent.slots, agent.max_capacity, agent.skills = event.slots, event.max_capacity, event.skills
            agent.region, agent.price, agent.prices = event.region, event.price, event.prices
            agent.working_hours = event.working_hours
            _offer(memory, agent, recorded.position, before)
            if agent.slots > slots or agent.max_capacity > before.max_capacity:
                free_slot(memory, agent, recorded.position)
        case AgentDraining():
            agent.stage = agents.Stage.DRAINING
        case AgentSuspected():
            agent.stage, agent.suspected_from = agents.Stage.SUSPECT, event.last_heard_at
        case AgentCleared():
            agent.stage, agent.since = event.stage, max(agent.since, event.heard_at)
            _offer(memory, agent, recorded.position)
        case AgentLost():
            agent.stage = agents.Stage.LOST
        case AgentReturned():
            agent.stage, agent.generation = agents.Stage.ACTIVE, event.generation
            agent.since = recorded.meta.at
            _offer(memory, agent, recorded.position)
        case AgentDeregistered():
            agent.stage = agents.Stage.DEREGISTERED
            forget_idle(memory, agent)
    memory.supply.update(agent)


def _offer(memory: OpenTasks, agent: AgentEntry, position: int, before: Offer | None = None) -> None:
    """An agent appears, or offers something else than `before`: pauses end for the tasks that it could do now and could not then."""
    agent.offered_position = position
    memory.supply.update(agent)
    for skill in agent.capabilities:
        if len(memory.skills) < SKILLS_MAX:
            memory.skills.setdefault(skill, position)
    if agent.stage is agents.Stage.ACTIVE and not agent.is_person:
        memory.end_pauses(memory.waiting.resting(agent, unless=before), position)


def free_slot(memory: OpenTasks, agent: AgentEntry, position: int) -> None:
    """A slot or units are free again: pauses end for the tasks that found everybody busy, and that fit now."""
    memory.supply.update(agent)
    if agent.free and not agent.is_person:
        left = agent.room
        resting = map(memory.tasks.__getitem__, memory.waiting.resting(agent))
        fitting = [task.task_id for task in resting if task.wants_slot and (not task.units or task.units <= left)]
        memory.end_pauses(fitting, position)


def forget_idle(memory: OpenTasks, agent: AgentEntry) -> None:
    """An agent that left is kept until its last task has been taken from it."""
    if agent.stage is agents.Stage.DEREGISTERED and not agent.held:
        del memory.agents[agent.agent_id]
        if agent.figures == Figures():
            return
        memory.departed[agent.agent_id] = agent.figures
        memory.departed_order.append(agent.agent_id)
        if len(memory.departed_order) > PAST_MAX:
            del memory.departed[memory.departed_order.pop(0)]

"""Agents come, change and leave: what is decided with that, and what is answered."""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from agents.coordinating.calls import Decision
from agents.coordinating.hours import zone_of
from agents.coordinating.open_tasks import OpenTasks
from agents.coordinating.terms import Terms
from aggregates import agent as agents
from aggregates import key as keys
from aggregates.agent import (
    HOLD_SECONDS_MIN,
    AgentAccepted,
    AgentRegistered,
    DeregisterAgent,
    DrainAgent,
    RegisterAgent,
    UpdateAgent,
)
from aggregates.key import IssueKey, RevokeKey
from aggregates.values.roles import Role
from runtime.actor import Effect, Reply, reply
from runtime.errors import Refused
from runtime.records import Recorded

AGENTS_MAX = 10_000

Change = RegisterAgent | UpdateAgent | DrainAgent | DeregisterAgent


def change(memory: OpenTasks, terms: Terms, tenant: str, command: Change) -> Effect:
    """What an agent asks for of itself, with the keys that come and go with it."""
    known = memory.agents.get(command.agent_id)
    own = known.key_id if known is not None else ""
    if isinstance(command, RegisterAgent):
        if known is None and len(memory.agents) >= AGENTS_MAX:
            raise Refused("agents_too_many", f"{AGENTS_MAX} are registered; deregister some")
        decisions = _registration(terms, tenant, command)
        if own not in ("", command.key_id):
            decisions.append(_revoked(own, "registered anew"))
    else:
        if isinstance(command, UpdateAgent) and command.working_hours is not None:
            command = replace(command, zone_unknown=zone_of(command.working_hours.time_zone) is None)
        decisions = [(agents.stream(tenant, command.agent_id), command)]
        if isinstance(command, DeregisterAgent) and own:
            decisions.append(_revoked(own, "deregistered"))
    return Effect(decisions, _stands(memory, command))


def _registration(terms: Terms, tenant: str, command: RegisterAgent) -> list[Decision]:
    seconds = (terms.lease_seconds, terms.lease_seconds_min, terms.lease_seconds_max)
    if command.user_id:
        seconds = (terms.hold_seconds, min(HOLD_SECONDS_MIN, terms.hold_seconds), terms.hold_seconds_max)
    told = replace(
        command,
        lease_seconds=seconds[0],
        lease_seconds_min=seconds[1],
        lease_seconds_max=seconds[2],
        max_capacity_default=terms.max_capacity,
        zone_unknown=zone_of(command.working_hours.time_zone) is None,
    )
    decisions: list[Decision] = [(agents.stream(tenant, command.agent_id), told)]
    if command.key_id:
        own = IssueKey(
            key_id=command.key_id,
            role=Role.AGENT_OWN,
            digest=command.key_digest,
            agent_id=command.agent_id,
            label=command.name,
            data_subject=command.data_subject,
        )
        decisions.append((keys.stream(command.key_id), own))
    return decisions


def _revoked(key_id: str, reason: str) -> Decision:
    return (keys.stream(key_id), RevokeKey(key_id=key_id, reason=reason))


def _stands(memory: OpenTasks, command: Change) -> Callable[[Sequence[Recorded]], Reply]:
    known = memory.agents.get(command.agent_id)
    generation, key_id = (known.generation, known.key_id) if known is not None else (0, "")

    def answer(recorded: Sequence[Recorded]) -> Reply:
        made = next((record.event for record in recorded if isinstance(record.event, AgentRegistered)), None)
        number, own = (made.generation, made.key_id) if made is not None else (generation, key_id)
        return reply(command, AgentAccepted(agent_id=command.agent_id, generation=number, key_id=own))

    return answer

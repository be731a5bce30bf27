"""Who may register: as many as there may be, and whoever is known already."""

import pytest
from msgspec.structs import replace

from agents.coordinating.membership import AGENTS_MAX, change
from agents.coordinating.open_tasks import OpenTasks
from agents.coordinating.terms import DEFAULT_TERMS
from aggregates.agent import RegisterAgent
from runtime.errors import Refused
from tests.agents.coordinating.test_calls import agent
from tests.examples import TENANT, command_by_type


def test_a_tenant_has_room_for_so_many_agents_and_refuses_the_next() -> None:
    asked: RegisterAgent = command_by_type[RegisterAgent]
    names = [f"a{number:05}" for number in range(AGENTS_MAX)]
    memory = OpenTasks(agents={name: agent(name, ("cutting",), 1) for name in names})
    with pytest.raises(Refused, match="agents_too_many"):
        change(memory, DEFAULT_TERMS, TENANT, replace(asked, agent_id="one-more"))
    assert change(memory, DEFAULT_TERMS, TENANT, replace(asked, agent_id=names[7])).decisions
    del memory.agents[names[8]]
    assert change(memory, DEFAULT_TERMS, TENANT, replace(asked, agent_id="one-more")).decisions

"""How agents stand: what their past says of them, and the timeline that says why one became inactive."""

import msgspec
from starlette.responses import Response

from aggregates.agent import FindReputation, stream
from aggregates.values.reputation import Reputation
from aggregates.values.roles import Permission
from gateway.api import rows
from gateway.api.calls import Call, Endpoint, found
from gateway.api.fields import some_page
from gateway.api.queries import choice
from gateway.api.sorting import listing
from projections import agent_timeline, agents


class Timeline(msgspec.Struct, frozen=True):
    """An agent's moments, the last first; `next` is the `after` of the next page."""

    moments: list[rows.AgentMoment]
    next: int | str | None


async def reputation(call: Call) -> Response:
    """What the agent's past says of it, number by number, as the coordinator brings it to the next award."""
    agent_id = call.path["agent_id"]
    found(await call.look(agents.find, call.tenant, agent_id), "agent", agent_id)
    return call.reply(await call.ask(FindReputation(agent_id=agent_id)))


async def timeline(call: Call) -> Response:
    """What happened to an agent: how it came, was suspected, lost and back, and what was taken from it, each with its reason."""
    agent_id = call.path["agent_id"]
    found(await call.look(agents.find, call.tenant, agent_id), "agent", agent_id)
    narrowed = {one.name: call.asked(one) for one in FILTERS}
    page = await call.read(agent_timeline.page, call.tenant, agent_id=agent_id, **narrowed, **call.wish())
    return call.page("moments", page)


AGENT = "/v1/agents/{agent_id}"
FILTERS = (choice("what", "Only moments at which this happened.", agent_timeline.What),)
routes = (
    Endpoint("GET", f"{AGENT}/reputation", reputation, Permission.AGENTS_READ, reply=Reputation),
    Endpoint(
        "GET",
        f"{AGENT}/timeline",
        timeline,
        Permission.AGENTS_READ,
        reply=Timeline,
        query=(*listing(agent_timeline.SORTS, rows.AgentMoment), *FILTERS),
        rests_on=(stream("{tenant}", "{agent_id}"), "task-", "subject-"),
        also=(some_page(Timeline, "moments", rows.AgentMoment),),
    ),
)

"""Agents: they register and get a key of their own, change, drain, leave, and are heard from."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
from starlette.responses import Response

from aggregates import key as keys
from aggregates.agent import (
    AgentAccepted,
    AgentType,
    DeregisterAgent,
    DrainAgent,
    Heartbeat,
    HeartbeatAck,
    RegisterAgent,
    Stage,
    UpdateAgent,
    stream,
)
from aggregates.values.ids import AgentId
from aggregates.values.roles import Permission
from gateway.api import rows
from gateway.api.bodies import body_type, to_command
from gateway.api.calls import Call, Endpoint, found
from gateway.api.fields import choosing, some_of, some_page
from gateway.api.preferences import RETURN
from gateway.api.queries import READ, REASON, choice, words
from gateway.api.sorting import listing
from gateway.identity.auth import digest_of
from projections import agents


class Registered(msgspec.Struct, frozen=True):
    """What an agent needs from now on: its id, its own key, and where its websocket is."""

    agent_id: str
    generation: int
    key: str
    ws: str


class AgentPage(msgspec.Struct, frozen=True):
    """Agents, the last registered first; `next` is the `after` of the next page."""

    agents: list[rows.Agent]
    next: int | str | None


RegisterAgentBody = msgspec.defstruct(
    "RegisterAgentBody",
    [("id", AgentId | None, None)],
    bases=(body_type(RegisterAgent),),
    namespace={"__doc__": "An agent that registers; without an `id` it is given one."},
    module=__name__,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
)


async def register(call: Call) -> Response:
    """Registers an agent and gives it the key that is its own."""
    body: Any = await call.body(RegisterAgentBody)
    fields = msgspec.structs.asdict(body)
    ids, journal, tokens = call.node.system.ids, call.node.system.journal, call.node.tokens
    named, key_id = fields.pop("id"), ids.new()
    agent_id, token = named or ids.new(), tokens.token(key_id)
    journal.is_new(keys.stream(key_id))
    if named is None:
        journal.is_new(stream(call.tenant, agent_id))
    registration = RegisterAgent(agent_id=agent_id, key_id=key_id, key_digest=digest_of(token), **fields)
    accepted = await call.ask(registration)
    key = token if accepted.key_id == key_id else tokens.token(accepted.key_id)
    path = f"/v1/agents/{accepted.agent_id}"
    return call.reply(
        Registered(accepted.agent_id, accepted.generation, key, f"{path}/ws"), 201, headers={"Location": path}
    )


async def page(call: Call) -> Response:
    """The tenant's agents."""
    narrowed = {one.name: call.asked(one) for one in FILTERS}
    return call.page("agents", await call.read(agents.page, call.tenant, **narrowed, **call.wish()))


async def find(call: Call) -> Response:
    """One agent."""
    name = call.path["agent_id"]
    return call.reply(found(await call.look(agents.find, call.tenant, name, only=call.only), "agent", name))


async def update(call: Call) -> Response:
    """Changes what the body gives and leaves the rest."""
    body: Any = await call.body(body_type(UpdateAgent))
    await call.begin(_subject(call))
    return await call.written(await call.ask(to_command(UpdateAgent, body, agent_id=call.path["agent_id"])), _row(call))


async def drain(call: Call) -> Response:
    """No new tasks for the agent; it finishes those that it holds."""
    body: Any = await call.body_or(body_type(DrainAgent))
    await call.begin(_subject(call))
    return await call.written(await call.ask(to_command(DrainAgent, body, agent_id=call.path["agent_id"])), _row(call))


async def deregister(call: Call) -> Response:
    """The agent leaves; what it holds is offered to others, and its key opens nothing any more."""
    await call.begin(_subject(call))
    accepted = await call.ask(DeregisterAgent(agent_id=call.path["agent_id"], reason=call.reason))
    return await call.written(accepted, _row(call))


def _subject(call: Call) -> str:
    return stream(call.tenant, call.path["agent_id"])


def _row(call: Call) -> Callable[[], Awaitable[Any]]:
    return partial(call.read, agents.find, call.tenant, call.path["agent_id"])


async def heartbeat(call: Call) -> Response:
    """The agent is there, and keeps its leases. For agents without a websocket."""
    return call.reply(await call.ask(Heartbeat(agent_id=call.path["agent_id"])))


AGENT = "/v1/agents/{agent_id}"
STREAM = stream("{tenant}", "{agent_id}")
SHOWN = (stream("{tenant}", ""), "task-", "subject-")
"""An agent's counts are of what became of tasks."""
FILTERS = (
    choice("status", "Only agents that stand here.", Stage),
    choice("agent_type", "Only agents of this type.", AgentType),
    words("capability", "Only agents that offer this skill.", None),
)
PAGE = listing(agents.SORTS, rows.Agent)
SOME_PAGE = some_page(AgentPage, "agents", rows.Agent)
routes = (
    Endpoint(
        "POST", "/v1/agents", register, Permission.AGENTS_ENROLL, RegisterAgentBody, Registered, 201, asks_once=True
    ),
    Endpoint(
        "GET",
        "/v1/agents",
        page,
        Permission.AGENTS_READ,
        reply=AgentPage,
        query=(*PAGE, *FILTERS),
        rests_on=SHOWN,
        also=(SOME_PAGE,),
    ),
    Endpoint(
        "GET",
        AGENT,
        find,
        Permission.AGENTS_READ,
        reply=rows.Agent,
        query=(*READ, choosing(rows.Agent)),
        rests_on=SHOWN,
        guards=STREAM,
        also=(some_of(rows.Agent),),
    ),
    Endpoint(
        "PATCH",
        AGENT,
        update,
        Permission.AGENTS_MANAGE,
        body_type(UpdateAgent),
        AgentAccepted,
        acts=True,
        guards=STREAM,
        others=(204,),
        also=(rows.Agent,),
        headers=(RETURN,),
        asks_once=True,
    ),
    Endpoint(
        "DELETE",
        AGENT,
        deregister,
        Permission.AGENTS_MANAGE,
        reply=AgentAccepted,
        query=(REASON,),
        acts=True,
        guards=STREAM,
        others=(204,),
        also=(rows.Agent,),
        headers=(RETURN,),
        asks_once=True,
    ),
    Endpoint(
        "POST",
        f"{AGENT}/drain",
        drain,
        Permission.AGENTS_MANAGE,
        body_type(DrainAgent) | None,
        AgentAccepted,
        acts=True,
        guards=STREAM,
        others=(204,),
        also=(rows.Agent,),
        headers=(RETURN,),
        asks_once=True,
    ),
    Endpoint("POST", f"{AGENT}/heartbeat", heartbeat, Permission.AGENTS_ACT, reply=HeartbeatAck, asks_once=True),
)

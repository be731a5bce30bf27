"""An agent that comes straight to its websocket with an enrolment key: the query registers it, and it goes on with a key of its own.

Whoever comes again with the same enrolment key and the same profile is the same agent and gets the same key, as often as it likes.
"""

from hashlib import sha256
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.websockets import WebSocket

from aggregates import agent as agents
from aggregates.agent import AgentDeregistered, AgentType, RegisterAgent
from aggregates.values.document import encoded
from aggregates.values.ids import AgentId
from aggregates.values.roles import Principal
from gateway.api.bodies import body_type
from gateway.identity.auth import digest_of, whose
from gateway.parts import Compartment
from runtime.delivery import Context
from runtime.errors import Refused

LISTS = frozenset({"capabilities", "specializations"})
"""What the query names with commas."""
DOCUMENTS = frozenset({"skills", "prices"})
"""What the query says as JSON."""


async def enrol(websocket: WebSocket, node: Compartment, principal: Principal) -> tuple[Principal, str]:
    """The agent as it calls itself from now on, and its own key. Raises Refused or `HTTPException`, as registering does."""
    agent_id = websocket.path_params["agent_id"]
    if "capabilities" not in websocket.query_params:
        raise HTTPException(403, "this takes the agent's own key; an enrolment key has to name its capabilities")
    fields = msgspec.structs.asdict(_profile(agent_id, dict(websocket.query_params)))
    key_id = node.system.ids.new()
    digest = digest_of(node.tokens.token(key_id))
    register = RegisterAgent(agent_id=agent_id, key_id=key_id, key_digest=digest, **fields)
    accepted = await node.system.ask(register, await _once(node, principal, agent_id, fields))
    key = node.tokens.token(accepted.key_id)
    return await whose(digest_of(key), node), key


def _profile(agent_id: str, query: dict[str, str]) -> Any:
    """What the query says of the agent; the rest is as it is for all."""
    query.pop("after", None)
    try:
        said = {name: _said(name, text) for name, text in query.items()}
        msgspec.convert(agent_id, AgentId)  # it comes from the path, not through the body's type
        return msgspec.convert(
            {"name": agent_id, "agent_type": AgentType.OPERATIONS, **said}, body_type(RegisterAgent), strict=False
        )
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refused("query_invalid", str(error), status=422) from error


def _said(name: str, text: str) -> Any:
    if name in DOCUMENTS:
        return msgspec.json.decode(text)
    return text.split(",") if name in LISTS else text


async def _once(node: Compartment, principal: Principal, agent_id: str, fields: dict[str, Any]) -> Context:
    """The same for the same enrolment key and profile, until somebody ends the agent: then it is another registration."""
    journal, stream = node.system.journal, agents.stream(principal.tenant, agent_id)
    records = await journal.read_with(journal.store.read_stream, stream)
    ends = sum(isinstance(recorded.event, AgentDeregistered) for recorded in records)
    digest = sha256(encoded(fields)).digest()
    key = f"{principal.key_id} socket {agent_id} {ends} {digest.hex()}"
    return Context(tenant=principal.tenant, principal=principal.name, key=key, digest=digest)

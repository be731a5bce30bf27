"""An agent that comes straight to its websocket with an enrolment key: the query registers it, and it goes on with a key of its own.

Whoever comes again with the same enrolment key and the same profile is the same agent and gets the same key, as often as it likes.
"""

from hashlib import sha256
from typing import Any

import msgspec
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.websockets import WebSocket

from aggregates import agent as agents
from aggregates.agent import AgentDeregistered, AgentType, RegisterAgent
from aggregates.values.document import encoded
from aggregates.values.roles import Principal
from gateway.api.bodies import body_type, parse
from gateway.api.faults import UNKNOWN_FIELD
from gateway.api.problems import BadRequest, Fault
from gateway.identity.auth import digest_of, whose
from gateway.parts import Compartment
from runtime.delivery import Context

AFTER = "after"
"""What the query says of the socket, not of the agent."""
LISTS = frozenset({"capabilities", "specializations"})
"""What the query names with commas."""
DOCUMENTS = frozenset({"skills", "prices", "working_hours"})
"""What the query says as JSON."""


async def enrol(websocket: WebSocket, node: Compartment, principal: Principal) -> tuple[Principal, str]:
    """The agent as it calls itself from now on, and its own key. Raises Refused, BadRequest or `HTTPException`, as registering does."""
    agent_id = websocket.path_params["agent_id"]
    if "capabilities" not in websocket.query_params:
        raise HTTPException(403, "this takes the agent's own key; an enrolment key has to name its capabilities")
    fields = msgspec.structs.asdict(_profile(agent_id, websocket.query_params))
    key_id = node.system.ids.new()
    digest = digest_of(node.tokens.token(key_id))
    register = RegisterAgent(agent_id=agent_id, key_id=key_id, key_digest=digest, **fields)
    accepted = await node.system.ask(register, await _once(node, principal, agent_id, fields))
    key = node.tokens.token(accepted.key_id)
    return await whose(digest_of(key), node), key


def _profile(agent_id: str, query: QueryParams) -> Any:
    """What the query says of the agent; the rest is as it is for all. Raises BadRequest, which names all that is wrong."""
    kind = body_type(RegisterAgent)
    types = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    texts = {name: text for name, text in query.items() if name != AFTER}
    faults = [Fault(parameter=name, detail="stands twice") for name in texts if len(query.getlist(name)) > 1]
    said = {name: _said(name, text, types.get(name, str)) for name, text in texts.items()}
    try:
        raw = msgspec.json.encode({"name": agent_id, "agent_type": AgentType.OPERATIONS, **said})
        profile = parse(raw, kind)
    except BadRequest as error:
        faults += map(_of_the_query, error.faults)
    if faults:
        raise BadRequest(faults, code="query_invalid")
    return profile


def _of_the_query(fault: Fault) -> Fault:
    """What is wrong with a body, said of the query that it was made of."""
    name, _, inside = fault["pointer"].removeprefix("/").partition("/")
    if fault["detail"] == UNKNOWN_FIELD:
        return Fault(parameter=name, detail="is not a known parameter")
    return Fault(parameter=name, detail=f"/{inside} {fault['detail']}" if inside else fault["detail"])


def _said(name: str, text: str, kind: Any) -> Any:
    if name in LISTS:
        return text.split(",")
    if name in DOCUMENTS:
        return _value(text)
    try:
        return msgspec.to_builtins(msgspec.convert(text, kind, strict=False))
    except msgspec.ValidationError:
        value = _value(text)
        return text if isinstance(value, dict | list) else value


def _value(text: str) -> Any:
    """What a text says as JSON; itself where it is none."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text


async def _once(node: Compartment, principal: Principal, agent_id: str, fields: dict[str, Any]) -> Context:
    """The same for the same enrolment key and profile, until somebody ends the agent: then it is another registration."""
    journal, stream = node.system.journal, agents.stream(principal.tenant, agent_id)
    records = await journal.read_with(journal.store.read_stream, stream)
    ends = sum(isinstance(recorded.event, AgentDeregistered) for recorded in records)
    digest = sha256(encoded(fields)).digest()
    key = f"{principal.key_id} socket {agent_id} {ends} {digest.hex()}"
    return Context(tenant=principal.tenant, principal=principal.name, key=key, digest=digest)

"""The websocket of an agent, opened with the agent's own key, or with an enrolment key that registers it at once."""

from dataclasses import replace
from functools import partial, reduce
from operator import or_
from typing import Any

from starlette.websockets import WebSocket

from aggregates.values.roles import Permission, Principal, Role
from gateway.api.calls import SocketEndpoint
from gateway.api.queries import position, words
from gateway.feeds.frames import FRAME_BY_TYPE, PROTOCOLS
from gateway.feeds.sockets import Still
from gateway.feeds.told_frames import Told
from gateway.identity.auth import check_permission, check_still, digest_of, holds_now, key_digest, whose
from gateway.identity.enrolment import enrol
from gateway.parts import Compartment


async def serve(websocket: WebSocket, node: Compartment, principal: Principal) -> None:
    """Calls, awards and refusals for the agent; bids, results and heartbeats from it."""
    if principal.role is Role.AGENT_OWN:
        check = partial(check_still, websocket, websocket.app.state.node, principal)
        still = Still(check, partial(holds_now, key_digest(websocket), node, principal))
        await node.sockets.serve(websocket, principal, still)
    else:
        check_permission(node, principal, Permission.AGENTS_ENROLL)
        own, key = await enrol(websocket, node, principal)
        digest = digest_of(key)
        still = Still(partial(whose, digest, node), partial(holds_now, digest, node, own))
        await node.sockets.serve(websocket, own, still, key)


CAPABILITIES_CHARACTERS_MAX = 8_000
"""Beyond it, a head is soon longer than any may be: who has more skills than that registers by a body."""

Said: Any = reduce(or_, FRAME_BY_TYPE.values())
"""Any frame that an agent sends."""

_POSITION = position("after", "Go on after this position of the log; without it, or where it is empty, from now.", None)
AFTER = replace(_POSITION, read=lambda text: _POSITION.read(text) if text else None)
CAPABILITIES = words(
    "capabilities",
    "With an enrolment key: registers the agent with these skills, named with commas. Other fields of a registration may follow. "
    "Who registered before with the same key and the same fields is welcome again.",
    None,
    characters_max=CAPABILITIES_CHARACTERS_MAX,
)
routes = (
    SocketEndpoint(
        "/v1/agents/{agent_id}/ws",
        serve,
        Permission.AGENTS_CONNECT,
        query=(AFTER, CAPABILITIES),
        protocols=tuple(protocol.name for protocol in PROTOCOLS),
        hears=Said,
        tells=Told,
        others=True,
    ),
)

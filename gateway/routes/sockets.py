"""The websocket of an agent, opened with the agent's own key."""

from starlette.websockets import WebSocket

from aggregates.key import Principal
from gateway.auth import AGENTS
from gateway.calls import SocketEndpoint
from gateway.parts import Node


async def serve(websocket: WebSocket, node: Node, principal: Principal) -> None:
    """Calls, awards and refusals for the agent; bids, results and heartbeats from it."""
    await node.sockets.serve(websocket, principal)


routes = (SocketEndpoint("/v1/agents/{agent_id}/ws", serve, AGENTS),)

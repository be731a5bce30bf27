"""Calls for proposals as one would write them with Starlette alone: the frames that a node sends, and nothing is kept.

The peer of `benchmarks/rounds.py`. What is told to all alike is encoded once.
"""

import time
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from aggregates.task import TaskType
from aggregates.values.ranking import AwardPolicy
from gateway.feeds.told_frames import Ack, Award, Call, Lost, Welcome

SECONDS_MAX = 3600.0

encode = msgspec.msgpack.encode


class Bid(msgspec.Struct, tag_field="type", tag="bid"):
    """What of a bid's frame matters to whoever keeps nothing."""

    task_id: str
    price: float
    eta_seconds: float
    id: str | int | None = None


class Rounds:
    """All agents' sockets, and the bids of the round that is open."""

    def __init__(self) -> None:
        self.sockets: dict[str, WebSocket] = {}
        self.prices: dict[str, float] = {}
        self.task: dict[str, Any] = {}
        self.position = 0
        self.read = msgspec.msgpack.Decoder(Bid)

    async def call(self, request: Request) -> Response:
        """A task comes, and all agents are called."""
        self.position += 1
        self.task = await request.json() | {"task_id": f"0192f0c1-0000-7000-8000-{self.position:012x}"}
        self.prices = {}
        said = encode(
            Call(
                position=self.position,
                task_id=self.task["task_id"],
                round=1,
                attempt=1,
                task_type=TaskType(self.task["task_type"]),
                capabilities=self.task["capabilities"],
                skills=[],
                priority=3,
                budget_seconds=SECONDS_MAX,
                units=0.0,
                award_policy=AwardPolicy.WEIGHTED_SCORE,
                price_max=None,
                dry_run=False,
                closes_at=time.time() + self.task["bidding_seconds"],
                closes_in=self.task["bidding_seconds"],
                description=self.task["description"],
                payload=self.task["payload"],
                blobs={},
            )
        )
        for socket in self.sockets.values():
            await socket.send_bytes(said)
        return JSONResponse({"task_id": self.task["task_id"]}, 202)

    async def serve(self, socket: WebSocket) -> None:
        """Takes an agent's bids; the last one of a round ends it."""
        agent_id = socket.path_params["agent_id"]
        await socket.accept(socket.scope["subprotocols"][0])
        await socket.send_bytes(
            encode(Welcome(agent_id=agent_id, position=0, lease_seconds=0.0, heartbeat_seconds=0.0, leases=[]))
        )
        self.sockets[agent_id] = socket
        try:
            while True:
                bid = self.read.decode(await socket.receive_bytes())
                self.prices[agent_id] = bid.price
                await socket.send_bytes(encode(Ack(id=bid.id, task_id=bid.task_id, agent_id=agent_id, round=1)))
                if len(self.prices) == len(self.sockets):
                    await self.award()
        except WebSocketDisconnect:
            del self.sockets[agent_id]

    async def award(self) -> None:
        """The lowest price wins."""
        winner = min(self.prices, key=lambda name: (self.prices[name], name))
        task_id, self.position = self.task["task_id"], self.position + 1
        lost = encode(Lost(position=self.position, task_id=task_id, winner=winner, reason="outscored"))
        won = Award(
            position=self.position,
            task_id=task_id,
            token=1,
            attempt=1,
            lease_seconds=SECONDS_MAX,
            seconds_left=SECONDS_MAX,
            budget_seconds=SECONDS_MAX,
            task_type=TaskType(self.task["task_type"]),
            description=self.task["description"],
            payload=self.task["payload"],
            blobs={},
            inputs={},
        )
        for name, socket in self.sockets.items():
            await socket.send_bytes(encode(won) if name == winner else lost)


def plain_rounds() -> Starlette:
    rounds = Rounds()
    return Starlette(
        routes=[
            Route("/v1/tasks", rounds.call, methods=["POST"]),
            WebSocketRoute("/v1/agents/{agent_id}/ws", rounds.serve),
        ]
    )

"""What a call for proposals to many agents costs: a node against the same exchange over the same server, without runtime and journal.

A task is submitted, every agent is called on its websocket and bids, the bids are acknowledged, and everybody hears who won. The node
has each step in its journal, synced, before it tells of it; the peer keeps nothing. Server's CPU for a bid, all that a round is
included; rounds of both sides in turn.
"""

import json
import tempfile
from pathlib import Path

from benchmarks.doors import Door, open_door
from benchmarks.gateway import TASK, ask, authorized, both, upgrade
from benchmarks.knocking import head, knock
from benchmarks.measure import Measured, Row

AGENTS = 500
REPETITIONS = 5
ROUNDS = 20
WARM_ROUNDS = 3
BIDDING_SECONDS = 60.0
TENANT = "rounds"
PROTOCOL = "Sec-WebSocket-Protocol: gavel.v1.msgpack"


def _hired(door: Door, agents: int) -> list[tuple[str, str]]:
    """So many agents with their keys."""
    common = {"agent_type": "performance", "capabilities": ["cutting"], "slots": 64}
    names = [f"agent-{number:03}" for number in range(agents)]
    return [
        (name, ask(door, "POST", "/v1/agents", door.keys[0], {"id": name, "name": name, **common})["key"])
        for name in names
    ]


def round_ws(
    agents: int = AGENTS, rounds: int = ROUNDS, repetitions: int = REPETITIONS, place: Path | None = None
) -> Measured:
    """Microseconds of the server's CPU for a bid."""
    body = json.dumps(TASK | {"bidding_seconds": BIDDING_SECONDS})
    with (
        tempfile.TemporaryDirectory(prefix="gavel-rounds-", dir=place) as folder,
        open_door("node", folder, TENANT) as ours,
        open_door("ours_rounds") as theirs,
    ):
        posted = head("POST", "/v1/tasks", authorized(ours.keys[0]), body=body)
        requests = [upgrade(f"/v1/agents/{name}/ws", authorized(key), PROTOCOL) for name, key in _hired(ours, agents)]

        def cost(door: Door) -> float:
            told = knock(
                "benchmarks.bidders",
                port=door.port,
                pid=door.pid,
                requests=requests,
                posted=posted,
                warm=WARM_ROUNDS,
                rounds=rounds,
                seed=agents,
            )
            return float(told["cpu"] / (agents * rounds) * 1e6)

        return both(lambda: cost(ours), lambda: cost(theirs), repetitions)


ROWS = (
    Row(
        name="round_ws_500",
        measure=round_ws,
        peer="the same exchange over the same server, nothing is kept",
        unit="us CPU per bid",
        better="less",
        goal=0.6,
    ),
)

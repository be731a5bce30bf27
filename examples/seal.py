"""Sealed bids: what an agent says under `second_price`, first the commitment and, once the node calls for it, what opens it.

`seal` needs the standard library alone; copy it. From a shell: TASK ROUND AGENT PRICE ETA_SECONDS prints both frames, the commitment first.
"""

import json
import sys
from hashlib import sha256
from secrets import token_bytes
from struct import pack


def seal(task_id, round_number, agent_id, price, eta_seconds, confidence=1.0, capacity_offer=0.0, salt=""):
    """The two frames; keep the second until the node's `call_reveal`, also over a restart of the agent."""
    salt = salt or token_bytes(16).hex()
    numbers = (price, eta_seconds, confidence, capacity_offer)
    lines = ("gavel sealed bid v1", task_id, round_number, agent_id, *(pack(">d", one).hex() for one in numbers), salt)
    text = "".join(f"{line}\n" for line in lines)
    task = {"task_id": task_id, "round": round_number}
    opening = {"price": price, "eta_seconds": eta_seconds, "confidence": confidence, "capacity_offer": capacity_offer}
    commit = {"type": "commit", **task, "commitment": sha256(text.encode("ascii")).hexdigest()}
    return commit, {"type": "reveal", **task, **opening, "salt": salt}


if __name__ == "__main__":
    task, number, agent, *terms = sys.argv[1:]
    for frame in seal(task, int(number), agent, *map(float, terms)):
        print(json.dumps(frame))

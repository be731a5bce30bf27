"""Whether the node lives and is ready: for whoever starts, watches or balances it. No credentials, no limits."""

import msgspec
from starlette.responses import Response

from gateway.api.calls import Call, Endpoint
from gateway.api.problems import problem


class Live(msgspec.Struct, frozen=True):
    """The process answers."""

    live: bool


class Ready(msgspec.Struct, frozen=True):
    """The node does its work."""

    ready: bool


async def live(call: Call) -> Response:
    """The process answers."""
    return call.reply(Live(True))


async def ready(call: Call) -> Response:
    """The journal commits, and what people read has caught up with it."""
    unready = refuse_unready(call)
    return call.reply(Ready(True)) if unready is None else unready


def refuse_unready(call: Call) -> Response | None:
    """Why the node is not ready; None where it is."""
    faults = call.node.faults()
    if not faults:
        return None
    return problem(503, "not_ready", "Not ready", detail="; ".join(faults), headers={"Retry-After": "1"})


routes = (
    Endpoint("GET", "/livez", live, None, reply=Live),
    Endpoint("GET", "/readyz", ready, None, reply=Ready),
)

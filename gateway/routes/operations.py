"""Work that goes on when its request has been answered: how far it is, for whoever has begun it."""

import trio
from starlette.responses import Response

from aggregates.values.roles import Permission
from gateway.api.calls import Call, Endpoint, found
from gateway.api.operations import PATH, OperationRow
from gateway.api.preferences import WAIT, preferences


async def show(call: Call) -> Response:
    """What becomes of an operation; with `Prefer: wait=N`, as soon as it has ended. It is known until the node ends, or 100 later ones have
    begun."""
    name = call.path["operation_id"]
    operation = found(call.node.operations.find(name, call.tenant, call.principal.name), "operation", name)
    seconds = preferences(call.request.scope).wait
    if seconds:
        call.applied(f"wait={seconds}")
        with trio.move_on_after(seconds):
            await operation.ended.wait()
    return call.reply(operation.row(), headers={"Cache-Control": "no-store"})


routes = (Endpoint("GET", PATH, show, Permission.STATUS_READ, reply=OperationRow, headers=(WAIT,)),)

"""For admins: a new key to sign the journal with, on record."""

from typing import Any

from starlette.responses import Response

from aggregates.journal_key import RotateKey, RotationAccepted
from aggregates.values.roles import Permission
from gateway.api.bodies import body_type
from gateway.api.calls import Call, Endpoint
from gateway.parts import Node, check_whole_node
from gateway.upkeep.rotations import rotate


async def rotation(call: Call) -> Response:
    """Makes a new signing key and records, signed by both, that it follows on the old one."""
    if isinstance(call.node, Node):
        check_whole_node(call.node, call.principal)
    body: Any = await call.body_or(body_type(RotateKey))
    return call.reply(await rotate(call.node, body.reason, call.context()), 201)


routes = (
    Endpoint(
        "POST",
        "/v1/audit/rotations",
        rotation,
        Permission.AUDIT_ROTATE,
        body_type(RotateKey) | None,
        RotationAccepted,
        201,
    ),
)

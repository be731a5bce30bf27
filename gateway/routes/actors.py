"""What an operator may change about the actors of a running node."""

import msgspec
from starlette.responses import Response

from gateway.auth import OPERATORS
from gateway.calls import Call, Endpoint, found
from gateway.parts import Node
from runtime.log_levels import Level
from runtime.recovery import NODE


class LogLevel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The least severe lines that are written; null: as for the others."""

    level: Level | None


async def set_log_level(call: Call) -> Response:
    """Sets from which level on lines about an actor, all below it, or all of a kind are written. It is not recorded, holds from the
    next line on, and ends with the process."""
    wanted, name = await call.body(LogLevel), call.path["path"]
    levels = call.node.system.log_levels
    is_known = levels.has(name) or name in _names(call.node, call.tenant)
    levels.set(found(name if is_known else None, "actor or kind of actors", name), wanted.level)
    return call.reply(wanted)


def _names(node: Node, tenant: str) -> set[str]:
    """What the actors that serve this tenant can be named by: their kinds, their paths, and what leads to them."""
    names = {kind.name for kind in node.system.kinds()}
    for cell in node.system.walk():
        if getattr(cell, "key", "") in (tenant, NODE, ""):
            parts = cell.path.split("/")
            names.update("/".join(parts[:count]) for count in range(1, len(parts) + 1))
    return names


routes = (Endpoint("PUT", "/v1/actors/{path:path}/log-level", set_log_level, OPERATORS, body=LogLevel, reply=LogLevel),)

"""Whether the tenant's work is given out: stopped by an operator, and started again."""

from typing import Any

from starlette.responses import Response

from aggregates.coordination import (
    CoordinationFigures,
    CoordinationStands,
    FindCoordination,
    FindFigures,
    StartCoordination,
    StopCoordination,
    stream,
)
from aggregates.values.roles import Permission
from gateway.api.bodies import body_type, to_command
from gateway.api.calls import Call, Endpoint

Stop = body_type(StopCoordination)


async def find(call: Call) -> Response:
    """Whether work is given out, since when, and why not."""
    return call.reply(await call.ask(FindCoordination()))


async def figures(call: Call) -> Response:
    """The tenant's work in numbers: agents, the queue, how tasks ended, and the scores of active agents."""
    return call.reply(await call.ask(FindFigures()))


async def start(call: Call) -> Response:
    """Agents are called again for what waits. Where that is so, nothing changes."""
    await call.begin(stream(call.tenant))
    return call.reply(await call.ask(StartCoordination()))


async def stop(call: Call) -> Response:
    """Nobody is called any more. Tasks are taken and wait; who holds one finishes it. Where that is so, nothing changes."""
    body: Any = await call.body_or(Stop)
    await call.begin(stream(call.tenant))
    return call.reply(await call.ask(to_command(StopCoordination, body)))


COORDINATION = "/v1/coordination"
routes = (
    Endpoint("GET", COORDINATION, find, Permission.STATUS_READ, reply=CoordinationStands),
    Endpoint("GET", f"{COORDINATION}/figures", figures, Permission.STATUS_READ, reply=CoordinationFigures),
    Endpoint(
        "POST",
        f"{COORDINATION}/start",
        start,
        Permission.TASKS_MANAGE,
        reply=CoordinationStands,
        acts=True,
        asks_once=True,
    ),
    Endpoint(
        "POST",
        f"{COORDINATION}/stop",
        stop,
        Permission.TASKS_MANAGE,
        Stop | None,
        CoordinationStands,
        acts=True,
        asks_once=True,
    ),
)

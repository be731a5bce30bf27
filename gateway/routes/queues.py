"""Queues of tasks: how each stands; paused by an operator, and going on again."""

from typing import Any

from starlette.responses import Response

from aggregates.queue import FindQueues, PauseQueue, QueuesStand, QueueStands, ResumeQueue, stream
from aggregates.values.roles import Permission
from gateway.api.bodies import body_type
from gateway.api.calls import Call, Endpoint

Pause = body_type(PauseQueue)


async def find(call: Call) -> Response:
    """The queues that have open tasks or are paused: how many of their tasks wait and are held, and why a queue is paused."""
    return call.reply(await call.ask(FindQueues()))


async def pause(call: Call) -> Response:
    """Nobody is called for the queue's tasks any more. They are taken and wait; who holds one finishes it. A queue need not have tasks to
    be paused. Where it is, nothing changes."""
    body: Any = await call.body_or(Pause)
    name = call.path["queue"]
    await call.begin(stream(call.tenant, name))
    return call.reply(await call.ask(PauseQueue(queue=name, reason=body.reason, paused_by=call.principal.name)))


async def resume(call: Call) -> Response:
    """Agents are called again for what waits in the queue. Where that is so, nothing changes."""
    name = call.path["queue"]
    await call.begin(stream(call.tenant, name))
    return call.reply(await call.ask(ResumeQueue(queue=name)))


QUEUES = "/v1/queues"
routes = (
    Endpoint("GET", QUEUES, find, Permission.STATUS_READ, reply=QueuesStand),
    Endpoint(
        "POST",
        f"{QUEUES}/{{queue}}/pause",
        pause,
        Permission.TASKS_MANAGE,
        Pause | None,
        QueueStands,
        acts=True,
        asks_once=True,
    ),
    Endpoint(
        "POST",
        f"{QUEUES}/{{queue}}/resume",
        resume,
        Permission.TASKS_MANAGE,
        reply=QueueStands,
        acts=True,
        asks_once=True,
    ),
)

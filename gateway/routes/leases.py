"""Leases: whether a token is the good one, for whoever has to refuse work under an old one."""

from dataclasses import replace

import msgspec
from starlette.responses import Response

from aggregates.task import CheckLease, LeaseStanding, Stage
from aggregates.values.numbers import TOKEN_MAX
from aggregates.values.roles import Permission
from gateway.api.calls import Call, Endpoint, found
from gateway.api.queries import integer
from projections import tasks

TOKEN = replace(
    integer("token", "The token that somebody works under.", None, least=1, most=TOKEN_MAX), is_required=True
)


async def check(call: Call) -> Response:
    """Whether a token is the good one now, and for how long if nothing more is heard of its holder. Answered by the coordinator: no read
    model that lags behind may call a lease good that was taken."""
    task_id, token = call.path["task_id"], call.asked(TOKEN) or 0
    standing = await call.ask(CheckLease(task_id=task_id, token=token))
    if standing.stage is Stage.UNKNOWN:  # there is none, or it ended too long ago to be at hand
        row = found(await call.read(tasks.find, call.tenant, task_id), "task", task_id)
        standing = msgspec.structs.replace(
            standing,
            newest_token=row["token"] or 0,
            stage=Stage(row["stage"]),
            position=row["last_position"],
        )
    return call.reply(standing)


routes = (
    Endpoint(
        "GET",
        "/v1/tasks/{task_id}/lease",
        check,
        Permission.TASKS_READ,
        reply=LeaseStanding,
        query=(TOKEN,),
    ),
)

"""Solves: jobs of the node's own solver on registered problems."""

import msgspec
from starlette.responses import Response

from aggregates.solve_job import CancelSolve, QueueSolve, SolveAccepted, Stage, stream
from aggregates.values.roles import Permission
from gateway import rows
from gateway.bodies import body_type, to_command
from gateway.calls import Call, Endpoint, found
from gateway.queries import PAGE, READ, REASON, choice
from projections import solves

QueueSolveBody = body_type(QueueSolve)


class SolvePage(msgspec.Struct, frozen=True):
    """Solves, the last queued first; `next` is the `after` of the next page."""

    solves: list[rows.Solve]
    next: int | None


async def queue(call: Call) -> Response:
    """Queues a solve; its seed is recorded, so that the run can be made again."""
    body = await call.body(QueueSolveBody)
    accepted = await call.ask(to_command(QueueSolve, body, job_id=call.node.system.ids.new()))
    return call.reply(accepted, 202, headers={"Location": f"/v1/solves/{accepted.job_id}"})


async def page(call: Call) -> Response:
    """The tenant's solves, without their long parts."""
    stage = call.asked(STAGE)
    return call.page(
        "solves", await call.read(solves.newest, call.tenant, stage=stage, before=call.cursor, limit=call.limit)
    )


async def find(call: Call) -> Response:
    """One solve with its result."""
    job_id = call.path["job_id"]
    return call.reply(found(await call.look(solves.find, call.tenant, job_id), "solve", job_id))


async def cancel(call: Call) -> Response:
    """Stops a solve; one that has ended stays as it is."""
    await call.begin(stream(call.path["job_id"]))
    return call.reply(await call.ask(CancelSolve(job_id=call.path["job_id"], reason=call.reason)))


STAGE = choice("stage", "Only solves that stand here.", Stage)
routes = (
    Endpoint("POST", "/v1/solves", queue, Permission.SOLVES_SUBMIT, QueueSolveBody, SolveAccepted, 202),
    Endpoint("GET", "/v1/solves", page, Permission.SOLVES_READ, reply=SolvePage, query=(*PAGE, STAGE)),
    Endpoint("GET", "/v1/solves/{job_id}", find, Permission.SOLVES_READ, reply=rows.WholeSolve, query=READ),
    Endpoint(
        "DELETE",
        "/v1/solves/{job_id}",
        cancel,
        Permission.SOLVES_SUBMIT,
        reply=SolveAccepted,
        query=(REASON,),
        acts=True,
    ),
)

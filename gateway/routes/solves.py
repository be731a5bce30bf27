"""Solves: jobs of the node's own solver on registered problems."""

from functools import partial
from typing import Any

import msgspec
from starlette.responses import Response

from aggregates.solve_job import (
    CancelSolve,
    QueueSolve,
    SolveAccepted,
    SolveCancelled,
    SolveCompleted,
    SolveFailed,
    Stage,
    stream,
)
from aggregates.values.roles import Permission
from aggregates.values.solving import Backend
from gateway.api import rows
from gateway.api.bodies import body_type, to_command
from gateway.api.calls import Call, Endpoint, found
from gateway.api.fields import choosing, some_of, some_page
from gateway.api.preferences import RETURN, WAIT
from gateway.api.queries import READ, REASON, choice, words
from gateway.api.sorting import listing
from gateway.feeds.waiting import awaited
from gateway.routes.solve_requests import read_known
from projections import solves
from runtime.records import Recorded

QueueSolveBody = body_type(QueueSolve)


class SolvePage(msgspec.Struct, frozen=True):
    """Solves, the last queued first; `next` is the `after` of the next page."""

    solves: list[rows.Solve]
    next: int | str | None


async def queue(call: Call) -> Response:
    """Queues a solve; its seed is recorded, so that the run can be made again."""
    body = await call.body(QueueSolveBody)
    known = await read_known(call, body)
    accepted = await call.ask(to_command(QueueSolve, body, job_id=call.node.system.ids.new(), known=known))
    location = {"Location": f"/v1/solves/{accepted.job_id}"}
    row = await awaited(call, stream(accepted.job_id), ends, partial(ended, call, accepted.job_id))
    return call.reply(accepted, 202, headers=location) if row is None else call.reply(row, headers=location)


ENDED = frozenset({Stage.COMPLETED, Stage.FAILED, Stage.CANCELLED})


def ends(record: Recorded) -> bool:
    """Whether a solve has ended."""
    return isinstance(record.event, SolveCompleted | SolveFailed | SolveCancelled)


async def ended(call: Call, job_id: str) -> dict[str, Any] | None:
    """The solve, if it has ended."""
    row = await call.read(solves.find, call.tenant, job_id)
    return row if row is not None and row["stage"] in ENDED else None


async def page(call: Call) -> Response:
    """The tenant's solves, without their long parts."""
    narrowed = {one.name: call.asked(one) for one in FILTERS}
    return call.page("solves", await call.read(solves.page, call.tenant, **narrowed, **call.wish()))


async def find(call: Call) -> Response:
    """One solve with its result."""
    job_id = call.path["job_id"]
    return call.reply(found(await call.look(solves.find, call.tenant, job_id, only=call.only), "solve", job_id))


async def cancel(call: Call) -> Response:
    """Stops a solve; one that has ended stays as it is."""
    await call.begin(stream(call.path["job_id"]))
    accepted = await call.ask(CancelSolve(job_id=call.path["job_id"], reason=call.reason))
    return await call.written(accepted, partial(call.read, solves.find, call.tenant, call.path["job_id"]))


STREAM = stream("{job_id}")
FILTERS = (
    choice("stage", "Only solves that stand here.", Stage),
    words("problem_id", "Only solves of this problem.", None),
    words("task_id", "Only solves for this task.", None),
    words("algorithm", "Only solves that ran with this strategy.", None),
    choice("backend", "Only solves that ran there.", Backend),
    words("blob", "Only solves of the problem in this blob, under whatever name.", None),
)
PAGE = listing(solves.SORTS, rows.Solve)
SOME_PAGE = some_page(SolvePage, "solves", rows.Solve)
routes = (
    Endpoint(
        "POST",
        "/v1/solves",
        queue,
        Permission.SOLVES_SUBMIT,
        QueueSolveBody,
        SolveAccepted,
        202,
        others=(200,),
        also=(rows.WholeSolve,),
        headers=(WAIT,),
        asks_once=True,
    ),
    Endpoint(
        "GET",
        "/v1/solves",
        page,
        Permission.SOLVES_READ,
        reply=SolvePage,
        query=(*PAGE, *FILTERS),
        rests_on=(stream(""),),
        also=(SOME_PAGE,),
    ),
    Endpoint(
        "GET",
        "/v1/solves/{job_id}",
        find,
        Permission.SOLVES_READ,
        reply=rows.WholeSolve,
        query=(*READ, choosing(rows.WholeSolve)),
        rests_on=(STREAM,),
        by_last_position=True,
        also=(some_of(rows.WholeSolve),),
        headers=(WAIT,),
        guards=STREAM,
    ),
    Endpoint(
        "DELETE",
        "/v1/solves/{job_id}",
        cancel,
        Permission.SOLVES_SUBMIT,
        reply=SolveAccepted,
        query=(REASON,),
        acts=True,
        guards=STREAM,
        others=(204,),
        also=(rows.WholeSolve,),
        headers=(RETURN,),
        asks_once=True,
    ),
)

"""Problems: QUBO files that were uploaded as blobs, read once and known by a name."""

from pathlib import Path
from typing import Any

import msgspec
import trio
from starlette.responses import Response

from aggregates.qubo_problem import RegisterProblem
from aggregates.values.ids import Digest
from aggregates.values.qubo import Finite, Format, Sense
from aggregates.values.text import Name
from gateway.auth import EVERYBODY, SUBMITTERS
from gateway.calls import Call, Endpoint, found
from gateway.problems import BadRequest, Fault
from projections import problems


class ProblemBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A problem to be registered; without a format, the file is asked what it is."""

    name: Name
    blob: Digest
    format: Format | None = None
    best_known: Finite | None = None


class ProblemPage(msgspec.Struct, frozen=True):
    """Problems, the last registered first; `next` is the `after` of the next page."""

    problems: list[dict[str, Any]]
    next: int | None


async def register(call: Call) -> Response:
    """Reads the file, so that a broken one is refused here with its line and reason."""
    body = await call.body(ProblemBody)
    facts = await trio.to_thread.run_sync(_read, call.node.blobs.path(body.blob), body)
    command = RegisterProblem(
        problem_id=call.node.system.ids.new(), name=body.name, blob=body.blob, best_known=body.best_known, **facts
    )
    accepted = await call.ask(command)
    row = await call.read(problems.find, call.tenant, accepted.problem_id)
    return call.reply(row, 201)


def _read(path: Path, body: ProblemBody) -> dict[str, Any]:
    from solvers.formats import parse, recognise
    from solvers.triples import FormatError

    if not path.is_file():
        raise BadRequest([Fault(pointer="/blob", detail="there is no such blob; PUT it to /v1/blobs first")])
    written = body.format.value if body.format is not None else recognise(path, body.name)
    if written is None:
        raise BadRequest([Fault(pointer="/blob", detail="no reader recognizes the file")])
    try:
        qubo = parse(path.read_bytes(), body.name, format=written)
    except (FormatError, ValueError, MemoryError) as error:
        raise BadRequest([Fault(pointer="/blob", detail=str(error))]) from error
    facts = {"variables": qubo.variables, "couplings": qubo.couplings, "sense": Sense(qubo.sense)}
    return facts | {"format": Format(written)}


async def page(call: Call) -> Response:
    """The tenant's problems, the last registered first."""
    rows = await call.read(problems.newest, call.tenant, before=call.cursor, limit=call.limit)
    return call.reply(ProblemPage(rows, call.next(rows)))


async def find(call: Call) -> Response:
    """One problem."""
    problem_id = call.path["problem_id"]
    return call.reply(found(await call.read(problems.find, call.tenant, problem_id), "problem", problem_id))


routes = (
    Endpoint("POST", "/v1/problems", register, SUBMITTERS, ProblemBody, dict[str, Any], 201),
    Endpoint("GET", "/v1/problems", page, EVERYBODY, reply=ProblemPage),
    Endpoint("GET", "/v1/problems/{problem_id}", find, EVERYBODY, reply=dict[str, Any]),
)

"""Problems: QUBO files that were uploaded as blobs, read once and known by a name."""

from functools import partial
from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from aggregates.qubo_problem import RegisterProblem, stream
from aggregates.values.ids import Digest
from aggregates.values.qubo import Finite, Format, Sense
from aggregates.values.roles import Permission
from aggregates.values.text import Name
from gateway.api import rows
from gateway.api.bodies import NO_NUL
from gateway.api.calls import Call, Endpoint, found
from gateway.api.fields import choosing, some_of, some_page
from gateway.api.operations import OperationRow, operate
from gateway.api.preferences import ASYNC
from gateway.api.problems import BadRequest, Fault
from gateway.api.queries import READ, choice, words
from gateway.api.sorting import listing
from projections import problems
from runtime.blobs import Blobs, Erased, WrongDigest
from runtime.sealed_files import Damaged
from runtime.threads import run_blocking


class ProblemBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A problem to be registered; without a format, the file is asked what it is."""

    name: Annotated[Name, NO_NUL]
    blob: Digest
    format: Format | None = None
    best_known: Finite | None = None


class ProblemPage(msgspec.Struct, frozen=True):
    """Problems, the last registered first; `next` is the `after` of the next page."""

    problems: list[rows.Problem]
    next: int | str | None


async def register(call: Call) -> Response:
    """Reads the file, so that a broken one is refused here with its line and reason."""
    body = await call.body(ProblemBody)
    if not await run_blocking(call.node.blobs.use, call.tenant, body.blob):
        raise BadRequest([Fault(pointer="/blob", detail="there is no such blob; PUT it to /v1/blobs first")])
    return await operate(call, partial(_registered, call, body), 201)


async def _registered(call: Call, body: ProblemBody) -> Any:
    """The problem's row, when its file was read."""
    async with call.node.visitors.problem_files.taken(call.tenant):
        facts = await run_blocking(_read, call.node.blobs, call.tenant, body)
    command = RegisterProblem(
        problem_id=call.node.system.ids.new(), name=body.name, blob=body.blob, best_known=body.best_known, **facts
    )
    accepted = await call.ask(command)
    return await call.look(problems.find, call.tenant, accepted.problem_id)


def _read(blobs: Blobs, tenant: str, body: ProblemBody) -> dict[str, Any]:
    """What the file says of itself. Size and first bytes are looked at before it is read. Raises BadRequest."""
    from solvers.formats import parse, recognise

    head = _head(blobs, tenant, body.blob)
    written = recognise(head, body.name) if body.format is None else body.format.value
    if written is None or (b"\0" in head and recognise(head) is None):
        raise _broken("no reader recognizes the file")
    try:
        qubo = parse(blobs.read(body.blob, tenant), body.name, format=written)
    except (ValueError, OverflowError, MemoryError, FileNotFoundError, Erased, WrongDigest) as error:
        raise _broken(str(error) or "the problem does not fit into memory") from error
    facts = {"variables": qubo.variables, "couplings": qubo.couplings, "sense": Sense(qubo.sense)}
    return facts | {"format": Format(written)}


def _head(blobs: Blobs, tenant: str, digest: str) -> bytes:
    """The first bytes of a file that is not too large."""
    from solvers.formats import FILE_BYTES_MAX, HEAD_BYTES

    try:
        blob = blobs.find(tenant, digest)
        if (size := blobs.size(blob)) > FILE_BYTES_MAX:
            raise _broken(f"the file has {size} bytes; at most {FILE_BYTES_MAX} are read")
        with blobs.open(blob) as file:
            return file.read(HEAD_BYTES)
    except (FileNotFoundError, Erased, WrongDigest, Damaged) as error:
        raise _broken(str(error)) from error


def _broken(reason: str) -> BadRequest:
    return BadRequest([Fault(pointer="/blob", detail=reason)])


async def page(call: Call) -> Response:
    """The tenant's problems, the last registered first."""
    narrowed = {one.name: call.asked(one) for one in FILTERS}
    return call.page("problems", await call.read(problems.page, call.tenant, **narrowed, **call.wish()))


async def find(call: Call) -> Response:
    """One problem."""
    problem_id = call.path["problem_id"]
    return call.reply(
        found(await call.look(problems.find, call.tenant, problem_id, only=call.only), "problem", problem_id)
    )


FILTERS = (
    words("name", "Only problems of this name.", None),
    choice("format", "Only problems whose file is written so.", Format),
)
PAGE = listing(problems.SORTS, rows.Problem)
SOME_PAGE = some_page(ProblemPage, "problems", rows.Problem)
STREAM = stream("{problem_id}")
routes = (
    Endpoint(
        "POST",
        "/v1/problems",
        register,
        Permission.SOLVES_SUBMIT,
        ProblemBody,
        rows.Problem,
        201,
        others=(202,),
        also=(OperationRow,),
        headers=(ASYNC,),
    ),
    Endpoint(
        "GET",
        "/v1/problems",
        page,
        Permission.SOLVES_READ,
        reply=ProblemPage,
        query=(*PAGE, *FILTERS),
        rests_on=(stream(""),),
        also=(SOME_PAGE,),
    ),
    Endpoint(
        "GET",
        "/v1/problems/{problem_id}",
        find,
        Permission.SOLVES_READ,
        reply=rows.Problem,
        query=(*READ, choosing(rows.Problem)),
        rests_on=(STREAM,),
        by_last_position=True,
        also=(some_of(rows.Problem),),
    ),
)

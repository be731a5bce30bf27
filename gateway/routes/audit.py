"""For auditors: the signed checkpoint, and a verification of every record against it."""

from functools import partial

from starlette.exceptions import HTTPException
from starlette.responses import Response

from aggregates.values.roles import Permission
from gateway.api.calls import Call, Endpoint
from gateway.api.operations import OperationRow, operate
from gateway.api.preferences import ASYNC
from gateway.api.queries import LINES, words
from runtime.evidence import Unreadable
from runtime.threads import run_blocking
from runtime.verification import Report


async def verified(call: Call) -> Response:
    """Reads the journal from the outside and judges it, by what the auditor brings where he brings his own."""
    await call.begin("all records of the journal")
    judge = partial(call.node.store.judge, key=call.asked(KEY), against=call.asked(AGAINST))

    async def verify() -> Report:
        try:
            async with call.node.visitors.verifications.taken(call.tenant):
                return await run_blocking(judge)
        except Unreadable as error:
            raise HTTPException(422, str(error)) from error

    return await operate(call, verify)


async def checkpoint(call: Call) -> Response:
    """The newest signed checkpoint, as a C2SP note: keep it elsewhere, and compare with it later."""
    note = await call.node.system.journal.read_with(call.node.store.checkpoint)
    if note is None:
        raise HTTPException(404, "nothing is recorded yet")
    return Response(note, media_type="text/plain; charset=utf-8")


NOTE_CHARACTERS_MAX = 10_000
KEY = words("key", "The public key that the journal must be signed with, as the report names it.", None)
AGAINST = words(
    "against",
    "The text of a checkpoint that was kept elsewhere: the journal must still hold it.",
    None,
    characters_max=NOTE_CHARACTERS_MAX,
    pattern=LINES,
)
routes = (
    Endpoint(
        "GET",
        "/v1/audit/verify",
        verified,
        Permission.AUDIT_READ,
        reply=Report,
        query=(KEY, AGAINST),
        acts=True,
        others=(202,),
        also=(OperationRow,),
        headers=(ASYNC,),
        is_heavy=True,
    ),
    Endpoint("GET", "/v1/audit/checkpoint", checkpoint, Permission.AUDIT_READ, media="text/plain"),
)

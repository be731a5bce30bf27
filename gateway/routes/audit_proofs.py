"""For auditors: the proof that a record is in the log, and that a later log begins with an earlier one."""

from collections.abc import Callable
from dataclasses import replace

from starlette.exceptions import HTTPException
from starlette.responses import Response

from aggregates.values.roles import Permission
from gateway.api.calls import Call, Endpoint
from gateway.api.queries import flag, integer
from gateway.parts import TENANT
from runtime.evidence import Unreadable
from runtime.kept_checkpoints import read_kept
from runtime.proving import Consistency, NotThere, Proof, checkpoint_of, link, prove


async def proof(call: Call) -> Response:
    """The record at a position with its way to the root of the newest signed checkpoint, or of one of the size that is asked for."""
    position = int(call.path["position"])
    return await _answer(call, lambda: _prove(call, position))


async def consistency(call: Call) -> Response:
    """That the log of `new` records begins with that of `old`."""
    old, new = call.asked(OLD), call.asked(NEW)
    return await _answer(call, lambda: link(call.node.store, old, call.node.store.position if new is None else new))


def _prove(call: Call, position: int) -> Proof:
    """A record of another tenant looks like none, but to those who look after the node."""
    store = call.node.store
    proof = prove(store, position, _note(call, position))
    if call.tenant not in (TENANT, store.codec.meta(proof.body).tenant):
        raise NotThere(f"the journal holds no record {position}")
    return proof


async def _answer(call: Call, question: Callable[[], Proof | Consistency]) -> Response:
    try:
        return call.reply(await call.node.system.journal.read_with(question))
    except NotThere as error:
        raise HTTPException(404, str(error)) from error
    except Unreadable as error:
        raise HTTPException(500, str(error)) from error


def _note(call: Call, position: int) -> str:
    """Those that are kept outside come first: they may be cosigned."""
    size, outside, store = call.asked(SIZE), call.node.keeper.outside, call.node.store
    if call.asked(WITNESSED):
        note = outside.witnessed(max(position, size or 0))
    elif size is None:
        note = store.checkpoint()
    elif outside.path(size).exists():
        note = read_kept(outside.path(size))
    else:
        note = checkpoint_of(store, size)
    if note is None:
        raise NotThere("no such checkpoint is kept")
    return note


SIZE = integer("size", "Proves it to the kept checkpoint of this size; by default to the newest.", None, least=1)
WITNESSED = flag(
    "witnessed", "Proves it to the newest kept checkpoint that a witness has cosigned, of `size` records or more."
)
OLD = replace(integer("old", "How many records the earlier log has.", 0), is_required=True)
NEW = integer("new", "How many the later one has; by default all.", None)
routes = (
    Endpoint("GET", "/v1/audit/proofs/{position}", proof, Permission.AUDIT_READ, reply=Proof, query=(SIZE, WITNESSED)),
    Endpoint("GET", "/v1/audit/consistency", consistency, Permission.AUDIT_READ, reply=Consistency, query=(OLD, NEW)),
)

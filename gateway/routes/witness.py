"""This node as a witness of other logs (C2SP tlog-witness): whoever has a checkpoint that a log has signed may bring it."""

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from aggregates.values.roles import Permission
from gateway.api.bodies import read
from gateway.api.calls import Call, Endpoint
from gateway.parts import Node, check_whole_node
from runtime.evidence import Unreadable
from runtime.threads import run_blocking
from runtime.transparency import NotANote, read_note
from runtime.witness import PLAIN, REQUEST_BYTES_MAX, Witness


class WitnessedLog(msgspec.Struct, frozen=True):
    """A log that the witness knows, and how many records it has cosigned."""

    key: str
    size: int


class WitnessRow(msgspec.Struct, frozen=True):
    """The key under which this node cosigns, and the logs that it does so for: empty where it is no witness."""

    key: str
    logs: list[WitnessedLog]


async def add_checkpoint(call: Call) -> Response:
    """Cosigns a checkpoint that continues the last one, and answers with the signature line; else says the size of that one (409),
    or why not (400, 403, 404, 422)."""
    witness = _witness(call)
    raw = await read(call.request, REQUEST_BYTES_MAX)
    try:
        answer = await run_blocking(witness.add_checkpoint, raw.decode())
    except UnicodeDecodeError as error:
        raise HTTPException(400, "the request is not UTF-8") from error
    except (OSError, Unreadable) as error:
        raise HTTPException(503, f"the witness can't remember: {error}") from error
    if answer.status not in (200, 409):
        raise HTTPException(answer.status, answer.text.strip())
    return Response(answer.text, answer.status, {"Content-Type": answer.media})


async def checkpoint(call: Call) -> Response:
    """The last checkpoint that was cosigned for the log whose origin has this SHA-256, in hexadecimal digits."""
    try:
        note = await run_blocking(_witness(call).last_by_hash, call.path["origin_hash"])
    except Unreadable as error:
        raise HTTPException(503, str(error)) from error
    if note is None:
        raise HTTPException(404, "no checkpoint of this log was ever cosigned")
    return Response(note, media_type=PLAIN)


async def show(call: Call) -> Response:
    """What this node witnesses, and under which key."""
    node = check_whole_node(call.node, call.principal)
    return call.reply(await run_blocking(_row, node.witness) if node.witness is not None else WitnessRow("", []))


def _row(witness: Witness) -> WitnessRow:
    return WitnessRow(
        witness.cosigner.vkey, [WitnessedLog(key.vkey(""), _size(witness, key.name)) for key in witness.trusted]
    )


def _size(witness: Witness, origin: str) -> int:
    try:
        note = witness.last(origin)
        return read_note(note)[0].size if note else 0
    except (NotANote, Unreadable) as error:
        raise HTTPException(503, str(error)) from error


def _witness(call: Call) -> Witness:
    witness = call.node.witness if isinstance(call.node, Node) else None
    if witness is None:
        raise HTTPException(404, "this node is no witness: it knows no logs (GAVEL_WITNESS_LOGS)")
    return witness


routes = (
    Endpoint(
        "POST",
        "/v1/witness/add-checkpoint",
        add_checkpoint,
        None,
        bytes,
        media="*/*",
        others=(409,),
        body_media="text/plain",
    ),
    Endpoint("GET", "/v1/witness/{origin_hash}/checkpoint", checkpoint, None, media="text/plain"),
    Endpoint("GET", "/v1/witness", show, Permission.AUDIT_READ, reply=WitnessRow),
)

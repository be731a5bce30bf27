"""Named journals: an admin of the node isolates a tenant strictly, and sees how the journals are."""

from functools import partial
from typing import Any

import msgspec
from starlette.responses import Response

from aggregates.journal import OpenJournal, stream
from aggregates.values.roles import Permission
from gateway.api.bodies import body_type
from gateway.api.calls import Call, Endpoint
from gateway.api.conditional import reply_by_content
from gateway.api.operations import OperationRow, operate
from gateway.api.preferences import ASYNC
from gateway.api.queries import IF_NONE_MATCH
from gateway.compartments import Berth
from gateway.parts import Node, check_whole_node
from runtime.delivery import Context


class JournalMade(msgspec.Struct, frozen=True):
    """A tenant's own journal, and its first admin key, which stands in the data folder too; empty where the journal was listed before."""

    name: str
    origin: str
    public_key: str
    key: str


class JournalRow(msgspec.Struct, frozen=True):
    """A named journal; `reason` says why it is not open, `faults` what keeps it from being ready."""

    name: str
    origin: str
    public_key: str
    open: bool
    position: int | None
    reason: str
    faults: list[str]


class JournalList(msgspec.Struct, frozen=True):
    """All named journals of the node."""

    journals: list[JournalRow]


async def isolate(call: Call) -> Response:
    """Gives a tenant that has no records yet a journal of its own, and the first key to it; or opens one again that was closed."""
    node = check_whole_node(call.node, call.principal)
    body: Any = await call.body(body_type(OpenJournal))
    await call.begin(stream(body.name))
    return await operate(call, partial(_opened, node, body.name, call.context()), 201)


async def _opened(node: Node, name: str, context: Context) -> JournalMade:
    opened, is_first = await node.isolated.open(name, context)
    key = opened.admin_token if is_first else ""
    return JournalMade(name, opened.store.origin, opened.store.signer.public_key, key)


async def page(call: Call) -> Response:
    """The named journals of the node."""
    listed = [row(berth) for berth in check_whole_node(call.node, call.principal).isolated]
    return reply_by_content(call, JournalList(listed))


def row(berth: Berth) -> JournalRow:
    """How a journal is."""
    facts, opened = berth.facts, berth.compartment
    return JournalRow(
        name=facts.name,
        origin=facts.origin,
        public_key=facts.public_key,
        open=opened is not None,
        position=opened.system.journal.position if opened is not None else None,
        reason="" if opened is not None else berth.reason,
        faults=opened.faults() if opened is not None else [],
    )


routes = (
    Endpoint(
        "POST",
        "/v1/journals",
        isolate,
        Permission.JOURNALS_MANAGE,
        body_type(OpenJournal),
        JournalMade,
        201,
        acts=True,
        others=(202,),
        also=(OperationRow,),
        headers=(ASYNC,),
    ),
    Endpoint(
        "GET",
        "/v1/journals",
        page,
        Permission.NODE_READ,
        reply=JournalList,
        others=(304,),
        headers=(IF_NONE_MATCH,),
    ),
)

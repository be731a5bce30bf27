"""Work that goes on when its request has been answered: 202 with the place to ask about it, for whoever prefers that (`respond-async`).

What stands here is kept in memory, the last OPERATIONS_OF_TENANT_MAX of a tenant, and ends with the process. What was done stands in
the trail.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import trio
from starlette.responses import Response

from gateway.api.preferences import preferences
from gateway.api.problems import document_of
from gateway.api.unless import unless
from gateway.identity.auth import check_still
from runtime.errors import Failure, Overloaded

if TYPE_CHECKING:
    from gateway.api.calls import Call

OPERATIONS_OF_TENANT_MAX = 20
OPERATIONS_MAX = 500
"""Of all tenants of a journal."""
CHECK_SECONDS = 0.5
"""How often it is asked whether the caller would still be let in."""

PATH = "/v1/operations/{operation_id}"

Work = Callable[[], Awaitable[Any]]


class OperationRow(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of work that goes on: `result` is what the request would have been answered with, `problem` why it has failed."""

    operation_id: str
    action: str
    status: Literal["running", "done", "failed"]
    began_at: float
    ended_at: float | None
    result: Any
    problem: Any


class Operation:
    """One piece of work, and whose it is."""

    def __init__(self, operation_id: str, call: "Call") -> None:
        self.id = operation_id
        self.owner = (call.tenant, call.principal.name)
        self.action = call.endpoint.action
        self.began_at = call.node.system.clock.now()
        self.ended_at: float | None = None
        self.result: Any = None
        self.error: Exception | None = None
        self.problem: Any = None
        self.ended = trio.Event()

    def row(self) -> OperationRow:
        status: Literal["running", "done", "failed"] = "running"
        if self.ended_at is not None:
            status = "done" if self.error is None else "failed"
        return OperationRow(
            operation_id=self.id,
            action=self.action,
            status=status,
            began_at=self.began_at,
            ended_at=self.ended_at,
            result=self.result,
            problem=self.problem,
        )


class Operations:
    """What goes on, and what has ended lately."""

    def __init__(self) -> None:
        self._by_id: dict[str, Operation] = {}

    def find(self, operation_id: str, tenant: str, principal: str) -> Operation | None:
        """The operation of this id; None where there is none, or it is another's."""
        found = self._by_id.get(operation_id)
        return found if found is not None and found.owner == (tenant, principal) else None

    def begin(self, call: "Call", work: Work) -> Operation:
        """Has the work done by a task of its own. Raises Overloaded where too much goes on."""
        mine = [one for one in self._by_id.values() if one.owner[0] == call.tenant]
        self._make_room(mine, OPERATIONS_OF_TENANT_MAX, "of this tenant")
        self._make_room(list(self._by_id.values()), OPERATIONS_MAX, "of all tenants")
        operation = Operation(call.node.system.ids.new(), call)
        self._by_id[operation.id] = operation
        call.node.system.start(_run, operation, call, work)
        return operation

    def _make_room(self, known: list[Operation], most: int, whose: str) -> None:
        """What has ended makes room, the oldest first. Raises Overloaded."""
        ended = [one for one in known if one.ended_at is not None]
        forgotten = ended[: max(0, len(known) + 1 - most)]
        if len(known) - len(forgotten) >= most:
            raise Overloaded(f"{most} operations {whose} go on")
        for one in forgotten:
            del self._by_id[one.id]


async def _run(operation: Operation, call: "Call", work: Work) -> None:
    try:
        operation.result = await unless(partial(_until_unwelcome, call), work)
    except Exception as error:  # noqa: BLE001 — told by whoever asks
        operation.error = error
        operation.problem = msgspec.Raw(bytes((await document_of(error, call.request)).body))
    operation.ended_at = call.node.system.clock.now()
    operation.ended.set()
    if call.is_left_open:
        await call.left_open_ended(operation.error)


async def _until_unwelcome(call: "Call") -> None:
    """Raises `HTTPException` as soon as the caller is let in no more."""
    while True:
        await trio.sleep(CHECK_SECONDS)
        with suppress(Failure):  # nobody can say now
            await check_still(call.request, call.request.app.state.node, call.principal)


async def operate(call: "Call", work: Work, status: int = 200) -> Response:
    """Does the work and answers, with this status, with what it comes to; where the caller prefers not to wait for that, with where to ask
    about it."""
    wanted = preferences(call.request.scope)
    if not wanted.respond_async:
        return call.reply(await work(), status)
    operation = call.node.operations.begin(call, work)
    with trio.move_on_after(wanted.wait):
        await operation.ended.wait()
    if operation.ended_at is not None:
        if operation.error is not None:
            raise operation.error
        return call.reply(operation.result, status)
    call.applied("respond-async")
    call.is_left_open = True
    return call.reply(operation.row(), 202, {"Location": PATH.format(operation_id=operation.id)})

"""Tasks: submitted, looked at, cancelled; the winner says that it has begun, is done, or gives up."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from msgspec.structs import replace
from sqlalchemy import Connection
from starlette.exceptions import HTTPException
from starlette.responses import Response

from aggregates.task import (
    AmendTask,
    AssignTask,
    CancelTask,
    DryRunEnded,
    RequeueTask,
    Stage,
    SubmitTask,
    SubmitTasks,
    TaskAccepted,
    TaskCancelled,
    TaskCompleted,
    TaskDeadLettered,
    TaskExpired,
    TaskFailed,
    TaskType,
    stream,
)
from aggregates.task.terms import SECONDS_MAX
from aggregates.values.numbers import INSTANT_MAX, Instant
from aggregates.values.roles import Permission
from gateway.api import rows
from gateway.api.bodies import body_type, to_command
from gateway.api.calls import Call, Endpoint, found
from gateway.api.fields import choosing, some_of, some_page
from gateway.api.preferences import RETURN, WAIT
from gateway.api.problems import BadRequest, Fault
from gateway.api.queries import READ, REASON, Parameter, choice, instant, integer, number, words
from gateway.api.readable import rest_of
from gateway.api.sorting import listing
from gateway.feeds.waiting import awaited
from gateway.routes.reports import Report, to_report
from projections import bids, tasks
from runtime.blobs import Blobs
from runtime.errors import Failure, FieldFault, Refused
from runtime.records import Command, Recorded
from runtime.threads import run_blocking

BIDS_SHOWN_MAX = 100

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Submitted(msgspec.Struct, frozen=True):
    """The task is in the log. Its stage moves on from here by itself."""

    task_id: str
    stage: str


class TaskPage(msgspec.Struct, frozen=True):
    """Tasks without their long fields, the last submitted first; `next` is the `after` of the next page."""

    tasks: list[rows.Task]
    next: int | str | None


class TaskStatus(Report, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the winner says of its task, with the token of its award."""

    status: Literal["started", "completed", "failed", "declined"]


MOMENTS = ("deadline", "not_before")


def _with_moments(command: type[Command[Any]], meaning: str) -> type[msgspec.Struct]:
    """The body of a command, whose times may be moments, too."""
    return msgspec.defstruct(
        f"{command.__name__}Body",
        [(name, Instant | Moment | None, None) for name in MOMENTS if name in command.__struct_fields__],
        bases=(body_type(command),),
        namespace={"__doc__": meaning},
        module=__name__,
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )


SubmitTaskBody = _with_moments(
    SubmitTask,
    "Work to be done. `deadline` and `not_before` are seconds since the epoch, or a moment as RFC 3339 writes it.",
)
AmendTaskBody = _with_moments(
    AmendTask,
    "What changes; the rest is left. Times as at submission: `not_before` is for calls to come, and one that has passed lets the task "
    "begin at once; a budget holds for the attempt under way, too.",
)
AssignTaskBody = body_type(AssignTask)
RequeueTaskBody = _with_moments(
    RequeueTask, "A new chance for a dead letter: as many attempts as the node allows, where none are named."
)


def in_seconds(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with all times in seconds since the epoch."""
    moments = {name: fields[name] for name in MOMENTS if isinstance(fields.get(name), datetime)}
    return fields | {name: moment.timestamp() for name, moment in moments.items()} if moments else fields


def moment_faults(body: Any) -> list[FieldFault]:
    """The moments that no `Instant` is. A body's own type bounds its numbers and can't bound its moments; a command that is recorded with
    such a time could never be read again."""
    return [
        FieldFault(f"/{name}", "moment_out_of_range", "a moment is one of the years from 1970 to 2999")
        for name in MOMENTS
        if isinstance(moment := getattr(body, name, None), datetime) and not 0 <= moment.timestamp() <= INSTANT_MAX
    ]


def _checked(body: Any) -> Any:
    """The body. Raises Refused where moments are out of range."""
    if faults := moment_faults(body):
        raise Refused.of(faults)
    return body


async def submit(call: Call) -> Response:
    """Takes a task on; agents with its skills are called for bids. All that is wrong with it is told at once."""
    task_id = call.node.system.ids.new()
    try:
        body: Any = await call.body(SubmitTaskBody)
    except BadRequest as bad:
        raise BadRequest([*bad.faults, *await _faults_beside(call, task_id, bad)], status=bad.status) from bad
    call.node.system.journal.is_new(stream(task_id))
    command = _submission(call, task_id, _checked(body))
    if command.blobs:
        [command] = await looked_up(call, [command])
    accepted = await call.ask(command)
    location = {"Location": f"/v1/tasks/{accepted.task_id}"}
    row = await awaited(call, stream(accepted.task_id), _ends, partial(_ended, call, accepted.task_id))
    if row is not None:
        return call.reply(row, headers=location)
    return call.reply(Submitted(accepted.task_id, Stage.SUBMITTED.value), 202, headers=location)


def _submission(call: Call, task_id: str, body: Any) -> SubmitTask:
    check_assignees(call, [body])
    fields = in_seconds(msgspec.structs.asdict(body))
    return SubmitTask(task_id=task_id, submitted_by=call.principal.name, **fields)


def check_assignees(call: Call, bodies: Iterable[Any]) -> None:
    """Raises `HTTPException` 403 where a task is meant for one agent, and the caller may not give tasks to agents."""
    named = any(body.assign_to is not None for body in bodies)
    if named and Permission.TASKS_MANAGE not in call.principal.permissions:
        raise HTTPException(403, "assign_to is for those who may assign tasks")


async def looked_up(call: Call, commands: Sequence[SubmitTask]) -> list[SubmitTask]:
    """The submissions, with those of their blobs that the tenant does not have; those that it has are kept from collection."""
    wanted = {digest for command in commands for digest in command.blobs.values()}
    if not wanted:
        return list(commands)
    missing = await run_blocking(_unknown, call.node.blobs, call.tenant, wanted)
    return [
        replace(
            command,
            blobs_missing=tuple(name for name, digest in sorted(command.blobs.items()) if digest in missing),
        )
        for command in commands
    ]


def _unknown(blobs: Blobs, tenant: str, digests: set[str]) -> set[str]:
    return {digest for digest in digests if not blobs.use(tenant, digest)}


async def _faults_beside(call: Call, task_id: str, bad: BadRequest) -> list[Fault]:
    """What the house finds wrong with those fields that have no fault as such."""
    rest = rest_of(bad, SubmitTaskBody, levels=1, stand_ins=STAND_INS, companions=COMPANIONS)
    if rest is None:
        return []
    found = [Fault(pointer=one.pointer, code=one.code, detail=one.detail) for one in moment_faults(rest)]
    try:
        commands = await looked_up(call, [_submission(call, task_id, rest)])
        answer = await call.ask(SubmitTasks(tasks=tuple(commands), only_asks=True))
    except Failure:
        return found  # nobody can say more now; who mends what is known asks again
    return [*found, *(Fault(pointer=one.pointer, code=one.code, detail=one.detail) for one in answer.faults)]


STAND_INS = {"task_type": TaskType.ANALYSIS.value}
"""What takes the place of a field that must be there and has a fault. No other fault depends on it."""
COMPANIONS = {"dependencies": ("independent_of",)}

ENDED = frozenset(
    {Stage.COMPLETED, Stage.FAILED, Stage.DEAD_LETTERED, Stage.CANCELLED, Stage.EXPIRED, Stage.DRY_RUN_ENDED}
)


def _ends(record: Recorded) -> bool:
    """Whether a task may have ended."""
    return isinstance(
        record.event, TaskCompleted | TaskFailed | TaskDeadLettered | TaskCancelled | TaskExpired | DryRunEnded
    )


async def _ended(call: Call, task_id: str) -> dict[str, Any] | None:
    """The task, if it has ended."""
    row = await call.read(_with_bids, call.tenant, task_id)
    return row if row is not None and row["stage"] in ENDED else None


async def page(call: Call) -> Response:
    """The tenant's tasks."""
    narrowed = {one.name: call.asked(one) for one in FILTERS}
    return call.page("tasks", await call.read(tasks.page, call.tenant, **narrowed, **call.wish()))


async def find(call: Call) -> Response:
    """One task with all that is known of it, and its newest bids."""
    task_id = call.path["task_id"]
    return call.reply(found(await call.look(_with_bids, call.tenant, task_id, call.only), "task", task_id))


def _with_bids(
    connection: Connection, tenant: str, task_id: str, only: frozenset[str] | None = None
) -> dict[str, Any] | None:
    """Both as of one moment: a task that is open has no bid that has won."""
    row = tasks.find(connection, tenant, task_id, only=only)
    if row is None or (only is not None and "bids" not in only):
        return row
    return row | {"bids": bids.newest(connection, tenant, task_id=task_id, limit=BIDS_SHOWN_MAX)}


async def amend(call: Call) -> Response:
    """Gives the task another priority or deadline. Who may only submit may amend what they have submitted."""
    body: Any = _checked(await call.body(AmendTaskBody))
    task_id = await own(call)
    fields = in_seconds(msgspec.structs.asdict(body))
    await call.begin(stream(task_id))
    return await call.written(await call.ask(AmendTask(task_id=task_id, **fields)), _row(call))


async def requeue(call: Call) -> Response:
    """Offers a dead letter again, with new attempts."""
    body: Any = _checked(await call.body_or(RequeueTaskBody))
    task_id = call.path["task_id"]
    await call.begin(stream(task_id))
    fields = in_seconds(msgspec.structs.asdict(body))
    return await call.written(await call.ask(RequeueTask(task_id=task_id, **fields)), _row(call))


async def assign(call: Call) -> Response:
    """Gives a task that waits to an agent, without asking for bids."""
    body: Any = await call.body(AssignTaskBody)
    task_id = call.path["task_id"]
    await call.begin(stream(task_id))
    command = to_command(AssignTask, body, task_id=task_id, assigned_by=call.principal.name)
    return await call.written(await call.ask(command), _row(call))


async def own(call: Call) -> str:
    """The id of a task that the caller may change. Raises `HTTPException` 403 where somebody else has submitted it."""
    task_id = call.path["task_id"]
    if Permission.TASKS_MANAGE not in call.principal.permissions:
        row = found(await call.look(tasks.find, call.tenant, task_id), "task", task_id)
        if row["submitted_by"] != call.principal.name:
            raise HTTPException(403, "somebody else has submitted this task")
    return task_id


async def cancel(call: Call) -> Response:
    """Nobody needs the task any more: it ends at once, or when whoever holds it has had so much time to stop. Who may only submit may
    cancel what they have submitted."""
    task_id = await own(call)
    await call.begin(stream(task_id))
    command = CancelTask(task_id=task_id, reason=call.reason, grace_seconds=call.asked(GRACE))
    return await call.written(await call.ask(command), _row(call))


async def report(call: Call) -> Response:
    """The winner reports; a token that is not the newest is refused with 409."""
    command = to_report(await call.body(TaskStatus), call.path["task_id"], call.principal.agent_id)
    return await call.written(await call.ask(command), _row(call))


def _row(call: Call) -> Callable[[], Awaitable[Any]]:
    return partial(call.read, _with_bids, call.tenant, call.path["task_id"])


TASK = "/v1/tasks/{task_id}"
STREAM = stream("{task_id}")
SHOWN = (stream(""), "subject-")
FILTERS: tuple[Parameter[Any], ...] = (
    choice("stage", "Only tasks that stand here.", Stage),
    words("agent_id", "Only tasks that this agent holds or has done.", None),
    words("queue", "Only tasks of this queue.", None),
    choice("task_type", "Only tasks of this type.", TaskType),
    words("submitted_by", "Only tasks that this principal has submitted, as the row names it.", None),
    words("skill", "Only tasks that need this skill.", None),
    integer("priority_min", "Only tasks of this priority or a higher one.", None),
    integer("priority_max", "Only tasks of this priority or a lower one.", None),
    instant("submitted_after", "Only tasks that were submitted after this time."),
    instant("submitted_before", "Only tasks that were submitted before this time."),
)
GRACE = number(
    "grace_seconds",
    "So long may whoever holds the task still complete it, or acknowledge by giving up; 0: it is taken away at once.",
    0.0,
    SECONDS_MAX,
)
PAGE = listing(tasks.SORTS, rows.Task)
SOME_PAGE = some_page(TaskPage, "tasks", rows.Task)

_changes = partial(
    Endpoint,
    reply=TaskAccepted,
    acts=True,
    guards=STREAM,
    others=(204,),
    also=(rows.WholeTask,),
    headers=(RETURN,),
    asks_once=True,
)
"""A line of the table that changes one task, and answers with its row to who prefers that."""

routes = (
    Endpoint(
        "POST",
        "/v1/tasks",
        submit,
        Permission.TASKS_SUBMIT,
        SubmitTaskBody,
        Submitted,
        202,
        others=(200,),
        also=(rows.WholeTask,),
        headers=(WAIT,),
        asks_once=True,
    ),
    Endpoint(
        "GET",
        "/v1/tasks",
        page,
        Permission.TASKS_READ,
        reply=TaskPage,
        query=(*PAGE, *FILTERS),
        rests_on=SHOWN,
        also=(SOME_PAGE,),
    ),
    Endpoint(
        "GET",
        TASK,
        find,
        Permission.TASKS_READ,
        reply=rows.WholeTask,
        query=(*READ, choosing(rows.WholeTask)),
        rests_on=(STREAM, "subject-"),
        guards=STREAM,
        also=(some_of(rows.WholeTask),),
        headers=(WAIT,),
    ),
    Endpoint(
        "DELETE",
        TASK,
        cancel,
        Permission.TASKS_SUBMIT,
        reply=TaskAccepted,
        query=(REASON, GRACE),
        acts=True,
        guards=STREAM,
        others=(204,),
        also=(rows.WholeTask,),
        headers=(RETURN,),
        asks_once=True,
    ),
    _changes("PATCH", TASK, amend, Permission.TASKS_SUBMIT, AmendTaskBody),
    _changes("POST", f"{TASK}/requeue", requeue, Permission.TASKS_MANAGE, RequeueTaskBody | None),
    _changes("POST", f"{TASK}/assign", assign, Permission.TASKS_MANAGE, AssignTaskBody),
    Endpoint(
        "PUT",
        f"{TASK}/status",
        report,
        Permission.AGENTS_ACT,
        TaskStatus,
        TaskAccepted,
        guards=STREAM,
        others=(204,),
        also=(rows.WholeTask,),
        headers=(RETURN,),
        asks_once=True,
    ),
)

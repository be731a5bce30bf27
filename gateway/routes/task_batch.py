"""Many tasks in one call that depend on each other by names within it: all are recorded in one commit, or none."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from aggregates.task import SubmitTask, SubmitTasks, TaskFault, TasksAnswered, stream
from aggregates.values.roles import Permission
from gateway.api.calls import Call, Endpoint
from gateway.api.problems import BadRequest, Fault
from gateway.api.readable import rest_of
from gateway.api.references import circle_in, doubled, order_of
from gateway.routes.tasks import (
    COMPANIONS,
    STAND_INS,
    SubmitTaskBody,
    check_assignees,
    in_seconds,
    looked_up,
    moment_faults,
)

TASKS_MAX = 1_000
FAULTS_MAX = 100
"""How many faults one answer names; whoever has mended those is told the others."""

Ref = Annotated[str, msgspec.Meta(max_length=64, pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$(?!\n)")]

ReferredTask = msgspec.defstruct(
    "ReferredTask",
    [("ref", Ref, "")],
    bases=(SubmitTaskBody,),
    namespace={
        "__doc__": "One of many tasks. Where `dependencies` and `independent_of` of others name its `ref`, they mean this one; any other "
        "name there is the id of a task that was submitted before."
    },
    module=__name__,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
)


class SubmitTasksBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tasks of which all are taken on, or none."""

    tasks: Annotated[list[ReferredTask], msgspec.Meta(min_length=1, max_length=TASKS_MAX)]  # type: ignore[valid-type]


class SubmittedTask(msgspec.Struct, frozen=True, kw_only=True):
    """The id of a task, and the name that it had in the call."""

    task_id: str
    ref: str


class SubmittedTasks(msgspec.Struct, frozen=True, kw_only=True):
    """The tasks are in the log, in the order in which they were given."""

    tasks: list[SubmittedTask]


async def submit(call: Call) -> Response:
    """Takes many tasks on in one commit, or none: where anything is wrong with any of them, all of it is told.

    A task may depend on others of the call by their `ref`. Under an Idempotency-Key the whole call is done once.
    """
    body, unfit = await _body(call)
    check_assignees(call, body.tasks)
    refs = [task.ref for task in body.tasks]
    number_by_ref = {ref: number for number, ref in reversed(list(enumerate(refs))) if ref}
    needs = {number: _within(number, task, number_by_ref) for number, task in enumerate(body.tasks)}
    faults = [*unfit, *_doubled(refs), *_circle(refs, needs), *_out_of_range(body.tasks)]
    order = list(range(len(refs))) if faults else order_of(needs)
    ids = [call.node.system.ids.new() for _ in refs]
    if not faults:
        for task_id in ids:
            call.node.system.journal.is_new(stream(task_id))
    id_by_ref = {ref: ids[number] for ref, number in number_by_ref.items()}
    told = [_command(call, body.tasks[number], ids[number], id_by_ref) for number in order]
    commands = await looked_up(call, told)
    answer: TasksAnswered = await call.ask(SubmitTasks(tasks=tuple(commands), only_asks=bool(faults)))
    ref_by_id = {ids[number]: ref for ref, number in number_by_ref.items()}
    if faults := [*faults, *(_told(fault, order, ref_by_id) for fault in answer.faults[:FAULTS_MAX])]:
        named = sorted(faults, key=_place)[:FAULTS_MAX]
        raise BadRequest(named) if unfit else BadRequest(named, code="tasks_unfit")
    given = sorted(zip(order, answer.task_ids, strict=True))
    return call.reply(SubmittedTasks(tasks=[SubmittedTask(task_id=name, ref=refs[n]) for n, name in given]), 202)


async def _body(call: Call) -> tuple[Any, list[Fault]]:
    """The body, or what can be read of one whose tasks have fields with faults, and these. Raises BadRequest where that is nothing."""
    try:
        return await call.body(SubmitTasksBody), []
    except BadRequest as bad:
        rest = rest_of(bad, SubmitTasksBody, levels=3, stand_ins=STAND_INS, companions=COMPANIONS)
        if rest is None:
            raise
        return rest, bad.faults


def _within(number: int, task: Any, number_by_ref: Mapping[str, int]) -> list[int]:
    """Which of the others a task depends on; on itself is told with what else is wrong with it."""
    return sorted({number_by_ref[name] for name in task.dependencies if name in number_by_ref} - {number})


def _command(call: Call, task: Any, task_id: str, id_by_ref: Mapping[str, str]) -> SubmitTask:
    fields = in_seconds(msgspec.structs.asdict(task))
    del fields["ref"]
    for name in ("dependencies", "independent_of"):
        fields[name] = tuple(id_by_ref.get(one, one) for one in fields[name])
    before = tuple(sorted({id_by_ref[name] for name in task.dependencies if name in id_by_ref}))
    return SubmitTask(task_id=task_id, submitted_by=call.principal.name, submitted_with=before, **fields)


# ---- what is wrong


def _doubled(refs: Sequence[str]) -> list[Fault]:
    return [
        Fault(
            pointer=f"/tasks/{number}/ref", code="ref_taken", detail=f"another task of this call is {refs[number]}, too"
        )
        for number in doubled(refs)
    ]


def _circle(refs: Sequence[str], needs: Mapping[int, Sequence[int]]) -> list[Fault]:
    circle = circle_in(needs)
    if not circle:
        return []
    path = " → ".join(refs[number] for number in circle)
    return [Fault(pointer=f"/tasks/{circle[0]}/dependencies", code="dependency_cycle", detail=path)]


def _out_of_range(tasks: Sequence[Any]) -> list[Fault]:
    return [
        Fault(pointer=f"/tasks/{number}{fault.pointer}", code=fault.code, detail=fault.detail)
        for number, task in enumerate(tasks)
        for fault in moment_faults(task)
    ]


def _told(fault: TaskFault, order: Sequence[int], ref_by_id: Mapping[str, str]) -> Fault:
    """A fault by its place in the body, in the names that the body has."""
    detail = fault.detail
    for task_id, ref in ref_by_id.items():
        detail = detail.replace(task_id, ref) if task_id in detail else detail
    return Fault(pointer=f"/tasks/{order[fault.number]}{fault.pointer}", code=fault.code, detail=detail)


def _place(fault: Fault) -> int:
    return int(fault["pointer"].split("/")[2])


routes = (
    Endpoint(
        "POST",
        "/v1/tasks:batch",
        submit,
        Permission.TASKS_SUBMIT,
        SubmitTasksBody,
        SubmittedTasks,
        202,
        asks_once=True,
    ),
)

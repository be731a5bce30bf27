"""Assignments: how all that waits would best be given out, without giving it out."""

from functools import partial
from typing import Annotated

import msgspec
import trio
from msgspec import Meta
from starlette.responses import Response

from agents.coordinating.assigning import AssignmentPreview, best_for, best_of
from aggregates.coordination import FindOpenWork
from aggregates.values.pointers import child
from aggregates.values.roles import Permission
from aggregates.values.text import Name
from gateway.api.bodies import NO_NUL
from gateway.api.calls import Call, Endpoint
from gateway.api.problems import BadRequest, Fault
from runtime.threads import run_blocking

PAIRS_MAX = 1_000_000
SIDE_MAX = 10_000
FAULTS_MAX = 100
SCORE_MAX = 1e9
SLOTS_MAX = 10_000
_one_at_a_time = trio.CapacityLimiter(1)
"""A preview keeps a core busy for a second or two."""

Score = Annotated[float, Meta(ge=-SCORE_MAX, le=SCORE_MAX)]
Names = Annotated[tuple[Annotated[Name, NO_NUL], ...], Meta(max_length=SIDE_MAX)]


class AssignmentMatrix(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tasks, agents and scores of the caller's own, in place of what waits: a row of scores for each task, null where a pair is forbidden.
    `outside` is what a task is worth unassigned."""

    tasks: Names
    agents: Names
    scores: Annotated[
        tuple[Annotated[tuple[Score | None, ...], Meta(max_length=SIDE_MAX)], ...], Meta(max_length=SIDE_MAX)
    ]
    slots: Annotated[tuple[Annotated[int, Meta(ge=0, le=SLOTS_MAX)], ...], Meta(max_length=SIDE_MAX)]
    outside: Score = 0.0
    epsilon: Annotated[float, Meta(gt=0, le=SCORE_MAX)] | None = None


async def preview(call: Call) -> Response:
    """The best assignment of what waits to whoever is active, or of the caller's own tasks and agents, with a bound on what is better."""
    own = await call.body(AssignmentMatrix) if call.has_body else None
    left = trio.Event()
    if own is None:
        work = partial(best_for, await call.ask(FindOpenWork()), left.is_set)
    else:
        check(own)
        work = partial(best_of, own.tasks, own.agents, own.scores, own.slots, own.outside, own.epsilon, left.is_set)
    try:
        return call.reply(await run_blocking(work, limiter=_one_at_a_time, abandon_on_cancel=True))
    except ValueError as error:
        raise BadRequest([Fault(pointer="/epsilon", detail=str(error))]) from error
    finally:
        left.set()


def check(own: AssignmentMatrix) -> None:
    """Raises BadRequest with everything in which the parts do not fit each other."""
    faults = [*_twice(own.tasks, "/tasks"), *_twice(own.agents, "/agents")]
    tasks, agents = len(own.tasks), len(own.agents)
    if tasks * agents > PAIRS_MAX:
        faults.append(Fault(pointer="", detail=f"{tasks} tasks and {agents} agents are more than {PAIRS_MAX} pairs"))
    if len(own.scores) != tasks:
        faults.append(
            Fault(pointer="/scores", detail=f"must have {tasks} rows, one for each task, not {len(own.scores)}")
        )
    if len(own.slots) != agents:
        faults.append(
            Fault(pointer="/slots", detail=f"must have {agents} items, one for each agent, not {len(own.slots)}")
        )
    for number, row in enumerate(own.scores):
        if len(row) != agents:
            detail = f"must have {agents} items, one for each agent, not {len(row)}"
            faults.append(Fault(pointer=child("/scores", number), detail=detail))
    if faults:
        raise BadRequest(faults[:FAULTS_MAX])


def _twice(names: tuple[str, ...], pointer: str) -> list[Fault]:
    seen: set[str] = set()
    faults = []
    for number, name in enumerate(names):
        if name in seen:
            faults.append(Fault(pointer=child(pointer, number), detail="stands here twice"))
        seen.add(name)
    return faults


routes = (
    Endpoint(
        "POST",
        "/v1/assignments:preview",
        preview,
        Permission.TASKS_READ,
        AssignmentMatrix | None,
        AssignmentPreview,
        is_heavy=True,
    ),
)

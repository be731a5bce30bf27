"""Assignments: how all that waits would best be given out, without giving it out."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Annotated, Any

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
    own = await _own(call) if call.has_body else None
    left = trio.Event()
    if own is None:
        work = partial(best_for, await call.ask(FindOpenWork()), left.is_set)
    else:
        work = partial(best_of, own.tasks, own.agents, own.scores, own.slots, own.outside, own.epsilon, left.is_set)
    try:
        return call.reply(await run_blocking(work, limiter=_one_at_a_time, abandon_on_cancel=True))
    except ValueError as error:
        raise BadRequest([Fault(pointer="/epsilon", detail=str(error))]) from error
    finally:
        left.set()


async def _own(call: Call) -> AssignmentMatrix:
    """The caller's own names and numbers. Raises BadRequest with all that is wrong with them."""
    try:
        own = await call.body(AssignmentMatrix)
    except BadRequest as bad:
        said = bad.said if isinstance(bad.said, dict) else {}
        raise BadRequest([*bad.faults, *misfits(said)][:FAULTS_MAX], status=bad.status) from bad
    if faults := list(islice(misfits(msgspec.structs.asdict(own)), FAULTS_MAX)):
        raise BadRequest(faults)
    return own


def misfits(own: Mapping[str, Any]) -> Iterator[Fault]:
    """Everything in which the parts of a body do not fit each other, as far as they are lists."""
    tasks, agents, scores, slots = (_items(own.get(name)) for name in ("tasks", "agents", "scores", "slots"))
    yield from _twice(tasks or (), "/tasks")
    yield from _twice(agents or (), "/agents")
    if tasks is not None and agents is not None and len(tasks) * len(agents) > PAIRS_MAX:
        detail = f"{len(tasks)} tasks and {len(agents)} agents are more than {PAIRS_MAX} pairs"
        yield Fault(pointer="", detail=detail)
    if tasks is not None and scores is not None and len(scores) != len(tasks):
        yield Fault(pointer="/scores", detail=f"must have {len(tasks)} rows, one for each task, not {len(scores)}")
    of_agents = [("/slots", slots), *((child("/scores", row), _items(said)) for row, said in enumerate(scores or ()))]
    for pointer, items in of_agents:
        if agents is not None and items is not None and len(items) != len(agents):
            detail = f"must have {len(agents)} items, one for each agent, not {len(items)}"
            yield Fault(pointer=pointer, detail=detail)


def _items(said: Any) -> Sequence[Any] | None:
    return said if isinstance(said, list | tuple) else None


def _twice(names: Sequence[Any], pointer: str) -> Iterator[Fault]:
    seen: set[str] = set()
    for number, name in enumerate(names):
        if isinstance(name, str):
            if name in seen:
                yield Fault(pointer=child(pointer, number), detail="stands here twice")
            seen.add(name)


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

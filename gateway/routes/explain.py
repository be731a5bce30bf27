"""Why a task is where it is: who was called, why each agent did not win it, and what it waits for."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection
from starlette.responses import Response

from agents.coordinating.terms import Aging
from agents.explaining.explain import explain
from agents.explaining.explanation import AgentFacts, DependencyFacts, Explanation, Facts, HeldTask
from agents.explaining.story import Story, story_of
from aggregates import coordination, queue
from aggregates.agent import Agent, Stage
from aggregates.agent import stream as stream_of_agent
from aggregates.coordination import FindObstacles, Obstacles
from aggregates.task import Stage as TaskStage
from aggregates.task import stream
from aggregates.values.roles import Permission
from aggregates.values.skill_terms import SkillOffer
from aggregates.values.working_hours import WorkingHours
from gateway.api.calls import Call, Endpoint, found
from gateway.api.queries import PAGE, words
from projections import agents, tasks
from runtime.codec import UnknownKind
from runtime.journal import Journal
from runtime.past import state_at
from runtime.records import Command, Recorded, name_of

RECORDS_MAX = 2_000
"""How many of a task's newest records are read: its last book is among them unless its bidders changed their minds very often."""

HELD_MAX = 100
"""How many tasks are named that the able agents hold."""

ASKED_OF_HELD_MAX = 500
"""Of how many agents it is asked what they hold."""


OPEN_BOOK = "task.OpenBook"

OF_AGENT = words("agent_id", "Only this agent.", None)


class _Past(NamedTuple):
    """What the journal knows: the task's story, how these agents were when its last book was opened, when the position was that is asked
    of, and since when and why no work was given out then."""

    story: Story | None
    then: dict[str, Agent | None]
    at: float
    stopped_at: float
    stop_reason: str
    queue_paused_at: float
    queue_paused_by: str
    queue_pause_reason: str


class _Rows(NamedTuple):
    """What the read models know."""

    position: int
    """Of the last record that the task's row is made of."""
    queue: str
    page: Sequence[dict[str, Any]]
    dependencies: Sequence[dict[str, Any]]
    able: Sequence[dict[str, Any]]
    assignee: dict[str, Any] | None
    offered: frozenset[str]
    held: Sequence[dict[str, Any]]
    ahead: tuple[int, int]
    open_books: int


async def find(call: Call) -> Response:
    """Why a task stands where it does: what it waits for and since when, the ranking of its last book with each term of each score, how it
    ended; and of each agent, page by page, the first reason why it was not called or did not win.

    It tells of the position that the answer names, or of the past (`as_of`). Awards are told from their records, with the figures that
    decided; what a task waits for, by the figures of that position, but for the places of the node, which are told of now alone.
    """
    task_id = call.path["task_id"]
    now = None if call.is_of_the_past else call.node.system.clock.now()
    page = {"only": call.asked(OF_AGENT), "before": call.cursor, "limit": call.limit, "at": now}
    settings = call.node.settings
    aging = Aging(settings.priority_aging_factor, settings.coordination_interval_seconds)
    rows = found(await call.read(_rows, call.tenant, task_id, aging=aging, **page), "task", task_id)
    journal = call.node.system.journal
    position = max(
        call.read_position, rows.position
    )  # the rows may be newer than was asked for, and the story is told as they are
    names = [row["agent_id"] for row in rows.page]
    past = await journal.read_with(_past, journal, call.tenant, task_id, rows.queue, names, position)
    obstacles = Obstacles() if now is None else await call.ask(FindObstacles(task_id=task_id))
    facts = _facts(rows, past, past.at if now is None else now, aging, obstacles)
    call.shows(position)
    following = rows.page[-1]["first_position"] if len(rows.page) == call.limit else None
    told = explain(found(past.story, "task", task_id), facts, following)
    return call.reply(told, headers=call.link_to(following))


# ---- out of the read models


def _rows(
    connection: Connection,
    tenant: str,
    task_id: str,
    *,
    aging: Aging,
    only: str | None,
    before: int | None,
    limit: int,
    at: float | None,
) -> _Rows | None:
    row = tasks.find(connection, tenant, task_id)
    if row is None:
        return None
    if only is None:
        page = agents.newest(connection, tenant, before=before, limit=limit)
    else:
        page = [one for one in (agents.find(connection, tenant, only),) if one is not None]
    linked = [tasks.find(connection, tenant, name) for name in row["dependencies"]]
    is_waiting = row["stage"] == TaskStage.SUBMITTED
    able = agents.with_skills(connection, tenant, row["capabilities"]) if is_waiting else []
    active = [one["agent_id"] for one in able if one["status"] == Stage.ACTIVE]
    return _Rows(
        row["last_position"],
        row["queue"],
        page,
        [one for one in linked if one is not None],
        able,
        agents.find(connection, tenant, row["assign_to"]) if row["assign_to"] else None,
        agents.offered(connection, tenant, row["capabilities"]) if is_waiting else frozenset(),
        tasks.held_by(connection, tenant, active[:ASKED_OF_HELD_MAX], limit=HELD_MAX) if active else [],
        tasks.ahead(connection, tenant, row, tasks.Order(*aging), at) if is_waiting else (0, 0),
        tasks.count(connection, tenant, stage=TaskStage.BIDDING.value) if is_waiting else 0,
    )


def _facts(rows: _Rows, past: _Past, at: float, aging: Aging, obstacles: Obstacles) -> Facts:
    return Facts(
        at=at,
        aging=aging,
        obstacles=obstacles,
        dependencies={row["task_id"]: _dependency(row) for row in rows.dependencies},
        agents=[_agent(row) for row in rows.page],
        then=past.then,
        able=[_agent(row) for row in rows.able],
        assignee=_agent(rows.assignee) if rows.assignee is not None else None,
        skills_offered=rows.offered,
        held=[HeldTask(agent_id=row["agent_id"], task_id=row["task_id"], since=row["awarded_at"]) for row in rows.held],
        ahead=rows.ahead[0],
        ahead_alike=rows.ahead[1],
        open_books=rows.open_books,
        stopped_at=past.stopped_at,
        stop_reason=past.stop_reason,
        queue_paused_at=past.queue_paused_at,
        queue_paused_by=past.queue_paused_by,
        queue_pause_reason=past.queue_pause_reason,
    )


def _agent(row: dict[str, Any]) -> AgentFacts:
    return AgentFacts(
        agent_id=row["agent_id"],
        name=row["name"],
        stage=Stage(row["status"]),
        capabilities=tuple(row.get("capabilities", ())),
        slots=row["slots"],
        running=row["running"],
        since=row["last_event_at"],
        position=row["last_position"],
        max_capacity=row["max_capacity"],
        used=row["used_capacity"],
        skills=msgspec.convert(row["skills"], tuple[SkillOffer, ...]),
        region=row["region"],
        working_hours=msgspec.convert(row["working_hours"], WorkingHours),
        is_person=bool(row["user_id"]),
    )


SINCE = {
    TaskStage.BIDDING: "opened_at",
    TaskStage.AWARDED: "awarded_at",
    TaskStage.RUNNING: "started_at",
    TaskStage.BLOCKED: "submitted_at",
    TaskStage.SUBMITTED: "last_event_at",
}
"""Which column says since when a task stands so; of one that has ended, when it did."""


def _dependency(row: dict[str, Any]) -> DependencyFacts:
    stage = TaskStage(row["stage"])
    since = row[SINCE.get(stage, "ended_at")] or row["last_event_at"]
    return DependencyFacts(task_id=row["task_id"], stage=stage, since=since, agent_id=row["agent_id"] or "")


# ---- out of the journal


def _past(journal: Journal, tenant: str, task_id: str, queue_name: str, names: Sequence[str], position: int) -> _Past:
    """Blocks."""
    records = _records(journal, stream(task_id), position)
    story = story_of(records, _calls(journal, records))
    then: dict[str, Agent | None] = {}
    if story is not None and story.book is not None:
        then = {name: _agent_at(journal, stream_of_agent(tenant, name), story.book.position) for name in names}
    last = journal.store.read(position - 1, 1)
    at = last[0].meta.at if last else 0.0
    stopped_at, stop_reason = _stopped(journal, tenant, position)
    return _Past(story, then, at, stopped_at, stop_reason, *_queue_paused(journal, tenant, queue_name, position))


def _stopped(journal: Journal, tenant: str, position: int) -> tuple[float, str]:
    """Since when no work is given out, and why; 0 where it is."""
    past = state_at(journal.store, journal.folder, coordination.stream(tenant), position)
    if past is None or not past.state.is_stopped:
        return 0.0, ""
    (record,) = journal.store.read_stream(coordination.stream(tenant), after=past.position - 1, limit=1)
    return past.at, getattr(record.event, "reason", "")


def _queue_paused(journal: Journal, tenant: str, name: str, position: int) -> tuple[float, str, str]:
    """Since when the queue is held back, by whom and why; 0 where it is not."""
    past = state_at(journal.store, journal.folder, queue.stream(tenant, name), position)
    if past is None or not past.state.is_paused:
        return 0.0, "", ""
    (record,) = journal.store.read_stream(queue.stream(tenant, name), after=past.position - 1, limit=1)
    event = record.event
    assert isinstance(event, queue.QueuePaused)
    return past.at, event.paused_by, event.reason


def _records(journal: Journal, name: str, position: int) -> list[Recorded]:
    """A stream's first record and its newest ones, up to a position."""
    store = journal.store
    first = store.read_stream(name, limit=1)
    if not first or first[0].position > position:
        return []
    _, version = store.newest_event(name, position)
    after = max(first[0].position, store.position_of_version(name, version - RECORDS_MAX))
    newest = store.read_stream(name, after=after, limit=RECORDS_MAX)
    return [*first, *(record for record in newest if record.position <= position)]


def _calls(journal: Journal, records: Sequence[Recorded]) -> dict[int, Command[Any]]:
    """The command that opened the last book, by its event's position."""
    codec = journal.store.codec
    for record in reversed(records):
        said = record.meta.command
        if said is not None and name_of(said.name) == OPEN_BOOK:
            return {record.position: codec.command(said)}
    return {}


def _agent_at(journal: Journal, name: str, position: int) -> Agent | None:
    try:
        held = journal.folder.fold(name, position).held
    except UnknownKind:
        return None
    state: Agent | None = held.state if held.version else None
    return state


routes = (
    Endpoint(
        "GET",
        "/v1/tasks/{task_id}/explain",
        find,
        Permission.TASKS_READ,
        reply=Explanation,
        query=(*PAGE, OF_AGENT),
    ),
)

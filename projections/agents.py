"""Agents: who is there, what each can do, what it does now and what came of its work."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, func, select
from sqlalchemy.sql import FromClause

from aggregates.agent import (
    EVENTS,
    AgentCleared,
    AgentDeregistered,
    AgentDraining,
    AgentLost,
    AgentRegistered,
    AgentReturned,
    AgentSuspected,
    AgentUpdated,
    Stage,
)
from aggregates.subject import SubjectErased
from aggregates.task import (
    BidCommitted,
    BidPlaced,
    LateReported,
    LeaseExpired,
    TaskAwarded,
    TaskCancelled,
    TaskCompleted,
    TaskDeadLettered,
    TaskExpired,
    TaskFailed,
    TaskRebalanced,
)
from projections import schema
from projections.schema import (
    BY_AGE,
    Only,
    Row,
    Sortable,
    SortKey,
    also,
    also_number,
    document,
    encoded,
    key,
    number,
    text,
    whole,
)
from runtime.records import Add, AddMany, Change, Delete, Insert, Recorded, Update

NAME = "agents/7"

agents = schema.table(
    "agents",
    key("agent_id"),
    text("name"),
    text("agent_type"),
    text("status"),
    document("capabilities"),
    document("specializations"),
    document("skills"),
    text("region"),
    document("prices"),
    document("working_hours"),
    number("max_capacity"),
    whole("slots"),
    number("price"),
    text("description"),
    text("data_subject"),
    text("user_id"),
    text("key_id"),
    number("lease_seconds"),
    whole("generation"),
    text("reason"),
    whole("bids", default=0),
    whole("won", default=0),
    whole("completed", default=0),
    whole("failed", default=0),
    whole("leases_lost", default=0),
    whole("late_reports", default=0),
    number("registered_at"),
    number("last_event_at"),
    number("last_heard_at"),
    also("id", "agent_id"),
    also_number("last_heartbeat", "last_heard_at"),
    paged_by=("status",),
)
"""`last_event_at` tells of the agent's own stream: what happens to its tasks is counted alone. `last_heard_at` is when the
log tells that it was heard: heartbeats are not recorded, their absence is."""

leases = schema.table("agent_leases", key("task_id"), text("agent_id"), number("units"), paged_by=("agent_id",))
"""The tasks that agents hold. An end of a task doesn't say who held it; which agents it frees is known from here."""

TABLES: tuple[Table, ...] = (agents, leases)

HEARS = frozenset(
    (
        *EVENTS,
        BidPlaced,
        BidCommitted,
        TaskAwarded,
        TaskCompleted,
        TaskFailed,
        LeaseExpired,
        LateReported,
        TaskRebalanced,
        TaskDeadLettered,
        TaskCancelled,
        TaskExpired,
        SubjectErased,
    )
)

WITH_SKILLS_MAX = 10_000
"""How many agents of the same skills are looked at for one question: as many as a tenant may have."""

BRIEF = (
    *("agent_id", "name", "status", "slots", "running", "last_event_at"),
    *("max_capacity", "used_capacity", "skills", "region", "working_hours", "user_id"),
)

NOTHING = {"bids": 0, "won": 0, "completed": 0, "failed": 0, "leases_lost": 0, "late_reports": 0}


SORTS = {
    "registered_at": BY_AGE,
    "name": Sortable("name", is_text=True),
    **{name: Sortable(name) for name in ("price", "last_heard_at")},
    **{name: Sortable(name, is_whole=True) for name in ("completed", "failed")},
}


def apply(recorded: Recorded) -> Sequence[Change]:
    event = recorded.event
    match event:
        case BidPlaced() | BidCommitted():  # what comes most, first
            return [_counted(recorded, event.agent_id, "bids")]
        case AgentRegistered():
            return [_registered(recorded, event)]
        case AgentUpdated():
            return [_changed(recorded, event.agent_id, _offer(event))]
        case AgentDraining():
            return [_changed(recorded, event.agent_id, {"status": Stage.DRAINING.value, "reason": event.reason})]
        case AgentDeregistered():
            return [_changed(recorded, event.agent_id, {"status": Stage.DEREGISTERED.value, "reason": event.reason})]
        case AgentSuspected():
            suspect = {"status": Stage.SUSPECT.value, "reason": "not heard from", "last_heard_at": event.last_heard_at}
            return [_changed(recorded, event.agent_id, suspect)]
        case AgentCleared():
            clear = {"status": event.stage.value, "reason": "", "last_heard_at": event.heard_at}
            return [_changed(recorded, event.agent_id, clear)]
        case AgentLost():
            lost = {"status": Stage.LOST.value, "reason": "not heard from", "last_heard_at": event.last_heard_at}
            return [_changed(recorded, event.agent_id, lost)]
        case AgentReturned():
            back = {"status": Stage.ACTIVE.value, "reason": "", "generation": event.generation}
            back["last_heard_at"] = recorded.meta.at
            return [_changed(recorded, event.agent_id, back)]
        case TaskAwarded():
            return [_held(recorded, event), _counted(recorded, event.agent_id, "won")]
        case TaskCompleted():
            return [_freed(recorded, event.task_id), _counted(recorded, event.agent_id, "completed")]
        case TaskFailed():
            return [_freed(recorded, event.task_id), _counted(recorded, event.agent_id, "failed")]
        case LeaseExpired():
            return [_freed(recorded, event.task_id), _counted(recorded, event.agent_id, "leases_lost")]
        case LateReported():
            return [_counted(recorded, event.agent_id, "late_reports", event.more)]
        case TaskRebalanced() | TaskDeadLettered() | TaskCancelled() | TaskExpired():
            return [_freed(recorded, event.task_id)]
        case SubjectErased():
            blank = {"name": "", "description": "", "reason": "erased"}
            return [Update(table=agents, values=blank, where=schema.of_subject(recorded))]
    return ()


def apply_all(batch: Sequence[Recorded]) -> Sequence[Change]:
    """As `apply`, but the bids of an agent are counted together: whatever else happens to its row in between leaves the count, but a new
    registration, which begins it anew."""
    changes: list[Change] = []
    bids: dict[tuple[str, str], int] = {}
    for recorded in batch:
        event = recorded.event
        if type(event) is BidPlaced:
            whose = recorded.meta.tenant, event.agent_id
            bids[whose] = bids.get(whose, 0) + 1
            continue
        if type(event) is AgentRegistered and (whose := (recorded.meta.tenant, event.agent_id)) in bids:
            changes.append(_bids({whose: bids.pop(whose)}))
        changes += apply(recorded)
    return [*changes, _bids(bids)]


def _bids(bids: Mapping[tuple[str, str], int]) -> Change:
    rows = [(count, *whose) for whose, count in bids.items()]
    return AddMany(table=agents, values={}, columns=("bids",), where=("tenant_id", "agent_id"), rows=rows)


def _offer(event: AgentRegistered | AgentUpdated) -> dict[str, Any]:
    return {
        "name": event.name,
        "capabilities": encoded(event.capabilities),
        "specializations": encoded(event.specializations),
        "skills": encoded(event.skills),
        "region": event.region,
        "prices": encoded(event.prices),
        "working_hours": encoded(event.working_hours),
        "max_capacity": event.max_capacity,
        "slots": event.slots,
        "price": event.price,
        "description": event.description,
    }


def _registered(recorded: Recorded, event: AgentRegistered) -> Change:
    """An agent that was there before keeps what it has earned."""
    known = {
        **_offer(event),
        "agent_type": event.agent_type.value,
        "status": Stage.ACTIVE.value,
        "key_id": event.key_id,
        "lease_seconds": event.lease_seconds,
        "data_subject": event.data_subject,
        "user_id": event.user_id or None,
        "generation": event.generation,
        "reason": "",
        "registered_at": recorded.meta.at,
        "last_heard_at": recorded.meta.at,
    }
    if event.generation > 1:
        return _changed(recorded, event.agent_id, known)
    made = {"first_position": recorded.position, **_moved(recorded)}
    return Insert(table=agents, values={**_key(recorded, event.agent_id), **known, **made})


def _key(recorded: Recorded, agent_id: str) -> dict[str, Any]:
    return {"tenant_id": recorded.meta.tenant, "agent_id": agent_id}


def _moved(recorded: Recorded) -> dict[str, Any]:
    return {"last_event_at": recorded.meta.at, "last_position": recorded.position}


def _changed(recorded: Recorded, agent_id: str, values: dict[str, Any]) -> Change:
    return Update(table=agents, values={**values, **_moved(recorded)}, where=_key(recorded, agent_id))


def _counted(recorded: Recorded, agent_id: str, column: str, count: int = 1) -> Change:
    """Counts what happened. All counters are named, so that all counting is of one shape: agents are few and their events many."""
    return Add(table=agents, values={**NOTHING, column: count}, where=_key(recorded, agent_id))


def _held(recorded: Recorded, event: TaskAwarded) -> Change:
    positions = {"first_position": recorded.position, "last_position": recorded.position}
    lease = {"tenant_id": recorded.meta.tenant, "task_id": event.task_id, "agent_id": event.agent_id}
    return Insert(table=leases, values={**lease, "units": event.units, **positions})


def _freed(recorded: Recorded, task_id: str) -> Change:
    return Delete(table=leases, values={}, where={"tenant_id": recorded.meta.tenant, "task_id": task_id})


def _shown() -> FromClause:
    """The agents with `running`, the number of tasks that each holds, and `used_capacity`, the units that they take."""
    held = leases.c.tenant_id == agents.c.tenant_id, leases.c.agent_id == agents.c.agent_id
    running = select(func.count()).select_from(leases).where(*held).scalar_subquery()
    used = select(func.coalesce(func.sum(leases.c.units), 0.0)).select_from(leases).where(*held).scalar_subquery()
    return select(*schema.shown(agents), running.label("running"), used.label("used_capacity")).subquery()


_agents = _shown()


def find(connection: Connection, tenant_id: str, agent_id: str, *, only: Only = None) -> Row | None:
    """An agent, with the number of tasks that it holds as `running` and what they take as `used_capacity`; None when this tenant has
    no such agent."""
    return schema.find_row(connection, _agents, {"tenant_id": tenant_id, "agent_id": agent_id}, only=only)


def newest(
    connection: Connection, tenant_id: str, *, status: str | None = None, before: int | None = None, limit: int = 100
) -> list[Row]:
    """A page of agents, the last registered first."""
    return schema.newest_rows(
        connection, _agents, {"tenant_id": tenant_id, "status": status}, before=before, limit=limit
    )


def page(
    connection: Connection,
    tenant_id: str,
    *,
    capability: str | None = None,
    sort: Sequence[SortKey] = (),
    past: Sequence[Any] | None = None,
    limit: int = 100,
    only: Only = None,
    **where: str | None,
) -> list[Row]:
    """A page of agents that have these values."""
    bounds = [] if capability is None else [schema.holding(_agents.c.capabilities, capability)]
    narrowed = {"tenant_id": tenant_id, **where}
    return schema.page_rows(connection, _agents, narrowed, sort=sort, past=past, limit=limit, only=only, bounds=bounds)


def count(connection: Connection, tenant_id: str, *, status: str | None = None) -> int:
    return schema.count_rows(connection, agents, {"tenant_id": tenant_id, "status": status})


def count_by_status(connection: Connection, tenant_id: str) -> dict[str, int]:
    return schema.count_rows_by(connection, agents, "status", {"tenant_id": tenant_id})


def with_skills(
    connection: Connection, tenant_id: str, skills: Sequence[str], *, limit: int = WITH_SKILLS_MAX
) -> list[Row]:
    """Who has all of these skills, whatever else is said of them, the first registered first; without what is long."""
    shown = [_agents.c[name] for name in (*BRIEF, *schema.POSITIONS)]
    held = [schema.holding(_agents.c.capabilities, skill) for skill in skills]
    chosen = select(*shown).where(_agents.c.tenant_id == tenant_id, *held).order_by(_agents.c.first_position)
    found = connection.execute(chosen.limit(limit))
    documents = ("skills", "working_hours")
    return [{**row._mapping, **{name: msgspec.json.decode(getattr(row, name)) for name in documents}} for row in found]


def offered(connection: Connection, tenant_id: str, skills: Sequence[str]) -> frozenset[str]:
    """Those of the skills that some active agent has."""
    active = (agents.c.tenant_id == tenant_id, agents.c.status == Stage.ACTIVE.value)
    one = select(agents.c.agent_id).where(*active).limit(1)
    return frozenset(
        skill for skill in skills if connection.execute(one.where(schema.holding(agents.c.capabilities, skill))).first()
    )

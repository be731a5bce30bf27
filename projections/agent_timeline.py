"""Agents' timelines: how each came, was suspected, lost and back, drained and left, which tasks it failed or lost, and why."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import Column, Connection, Table

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
)
from aggregates.subject import SubjectErased
from aggregates.task import LateReported, LeaseExpired, TaskFailed, is_taken
from projections import schema
from projections.schema import BY_AGE, Row, key, number, text, whole
from runtime.records import Change, Insert, Recorded, Update
from runtime.tables import WHOLE

NAME = "agent_timeline/2"


class What(StrEnum):
    """What happened to an agent."""

    REGISTERED = "registered"
    UPDATED = "updated"
    SUSPECTED = "suspected"
    CLEARED = "cleared"
    LOST = "lost"
    RETURNED = "returned"
    DRAINING = "draining"
    DEREGISTERED = "deregistered"
    FAILED = "failed"
    GAVE_BACK = "gave_back"
    LEASE_LOST = "lease_lost"
    REPORTED_LATE = "reported_late"


moments = schema.table(
    "agent_timeline",
    key("agent_id"),
    Column("position", WHOLE, primary_key=True),
    text("what"),
    number("at"),
    text("reason"),
    number("last_heard_at"),
    number("silent_seconds"),
    number("lease_seconds"),
    whole("generation"),
    text("task_id"),
    whole("token"),
    text("data_subject"),
    paged_by=("agent_id",),
)
"""One row for each moment. `silent_seconds` since `last_heard_at` say why an agent was suspected or lost: it had `lease_seconds`."""

TABLES: tuple[Table, ...] = (moments,)

HEARS = frozenset((*EVENTS, LeaseExpired, TaskFailed, LateReported, SubjectErased))

SORTS = {"at": BY_AGE}


def apply(recorded: Recorded) -> Sequence[Change]:
    event = recorded.event
    match event:
        case AgentRegistered():
            values = {"generation": event.generation, "lease_seconds": event.lease_seconds}
            return [_moment(recorded, What.REGISTERED, **values)]
        case AgentUpdated():
            return [_moment(recorded, What.UPDATED)]
        case AgentSuspected():
            return [_silent(recorded, What.SUSPECTED, event.last_heard_at, lease_seconds=event.lease_seconds)]
        case AgentCleared():
            return [_moment(recorded, What.CLEARED, last_heard_at=event.heard_at)]
        case AgentLost():
            return [_silent(recorded, What.LOST, event.last_heard_at)]
        case AgentReturned():
            return [_moment(recorded, What.RETURNED, last_heard_at=recorded.meta.at, generation=event.generation)]
        case AgentDraining():
            return [_moment(recorded, What.DRAINING, reason=event.reason)]
        case AgentDeregistered():
            return [_moment(recorded, What.DEREGISTERED, reason=event.reason)]
        case LeaseExpired() | TaskFailed(final=False) if is_taken(event):
            reason = "lease_expired" if isinstance(event, LeaseExpired) else event.reason
            return [_moment(recorded, What.LEASE_LOST, reason=reason, task_id=event.task_id, token=event.token)]
        case TaskFailed(final=False) if event.attempts_max is not None:
            return [_moment(recorded, What.GAVE_BACK, task_id=event.task_id, token=event.token)]
        case TaskFailed(final=False):  # why may be told of a person: it stands with the task
            return [_moment(recorded, What.FAILED, task_id=event.task_id, token=event.token)]
        case LateReported():
            return [_moment(recorded, What.REPORTED_LATE, task_id=event.task_id, token=event.token)]
        case SubjectErased():
            return [Update(table=moments, values={"reason": "erased"}, where=schema.of_subject(recorded))]
    return ()


def _silent(recorded: Recorded, what: What, last_heard_at: float, **values: Any) -> Change:
    seconds = recorded.meta.at - last_heard_at
    told = {"reason": "not heard from", "last_heard_at": last_heard_at, "silent_seconds": seconds}
    return _moment(recorded, what, **told, **values)


def _moment(recorded: Recorded, what: What, **values: Any) -> Change:
    event: Any = recorded.event
    # A task's data subject has no part in why its lease was taken.
    subject = event.data_subject if what in (What.REGISTERED, What.DRAINING, What.DEREGISTERED) else ""
    row = {
        "tenant_id": recorded.meta.tenant,
        "agent_id": event.agent_id,
        "position": recorded.position,
        "what": what.value,
        "at": recorded.meta.at,
        "reason": "",
        "data_subject": subject,
        "first_position": recorded.position,
        "last_position": recorded.position,
    }
    return Insert(table=moments, values=row | values)


def find(connection: Connection, tenant_id: str, agent_id: str, position: int) -> Row | None:
    """The moment of an agent at a position; None where there is none, or it is another tenant's."""
    return schema.find_row(connection, moments, {"tenant_id": tenant_id, "agent_id": agent_id, "position": position})


def newest(
    connection: Connection,
    tenant_id: str,
    *,
    agent_id: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Row]:
    """A page of moments, the last first."""
    return schema.newest_rows(
        connection, moments, {"tenant_id": tenant_id, "agent_id": agent_id}, before=before, limit=limit
    )


page = schema.paged(moments)
"""A page of moments that have these values."""


def count(connection: Connection, tenant_id: str, *, agent_id: str | None = None) -> int:
    return schema.count_rows(connection, moments, {"tenant_id": tenant_id, "agent_id": agent_id})

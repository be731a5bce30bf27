"""What came of each attempt that ran to its end: what can be learned from, a row for each, told apart by the lease's token.

An attempt that was canceled, or cut off by the task's deadline, says nothing of its agent and has no row.
"""

from collections.abc import Sequence
from enum import StrEnum

from sqlalchemy import Column, Connection, Table

from aggregates.task import LeaseExpired, TaskCompleted, TaskFailed, is_taken
from projections import schema
from projections.schema import Row, key, number, text, whole
from runtime.records import Change, Insert, Recorded
from runtime.tables import WHOLE

NAME = "learning_experiences/1"


class Outcome(StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"
    GIVEN_UP = "given_up"
    DECLINED = "declined"
    LEASE_EXPIRED = "lease_expired"
    OVER_BUDGET = "over_budget"


experiences = schema.table(
    "learning_experiences",
    key("task_id"),
    Column("token", WHOLE, primary_key=True),
    text("agent_id"),
    whole("success"),
    text("outcome"),
    number("seconds"),
    number("at"),
    paged_by=("agent_id",),
)
"""`success` is 1 or 0. `seconds` from the award to the result, where there is one. What was asked for stands in `tasks`."""

TABLES: tuple[Table, ...] = (experiences,)

HEARS = frozenset((TaskCompleted, TaskFailed, LeaseExpired))


def apply(recorded: Recorded) -> Sequence[Change]:
    event = recorded.event
    match event:
        case TaskCompleted():
            return [_experience(recorded, event, Outcome.COMPLETED, event.seconds)]
        case TaskFailed(final=False):
            given_up = Outcome.DECLINED if event.declined else Outcome.GIVEN_UP
            return [_experience(recorded, event, Outcome.OVER_BUDGET if is_taken(event) else given_up)]
        case LeaseExpired():
            return [_experience(recorded, event, Outcome.LEASE_EXPIRED)]
    return ()


def _experience(
    recorded: Recorded,
    event: TaskCompleted | TaskFailed | LeaseExpired,
    outcome: Outcome,
    seconds: float | None = None,
) -> Change:
    values = {
        "tenant_id": recorded.meta.tenant,
        "task_id": event.task_id,
        "token": event.token,
        "agent_id": event.agent_id,
        "success": int(outcome is Outcome.COMPLETED),
        "outcome": outcome.value,
        "seconds": seconds,
        "at": recorded.meta.at,
        "first_position": recorded.position,
        "last_position": recorded.position,
    }
    return Insert(table=experiences, values=values)


def find(connection: Connection, tenant_id: str, task_id: str, token: int) -> Row | None:
    """What came of an attempt; None where it has not ended so, or is another tenant's."""
    return schema.find_row(connection, experiences, {"tenant_id": tenant_id, "task_id": task_id, "token": token})


page = schema.paged(experiences)
"""A page of experiences that have these values."""


def newest(
    connection: Connection,
    tenant_id: str,
    *,
    agent_id: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Row]:
    """A page of experiences, the last first."""
    where = {"tenant_id": tenant_id, "agent_id": agent_id}
    return schema.newest_rows(connection, experiences, where, before=before, limit=limit)


def count(connection: Connection, tenant_id: str, *, agent_id: str | None = None) -> int:
    return schema.count_rows(connection, experiences, {"tenant_id": tenant_id, "agent_id": agent_id})

"""Bids: who answered which call for proposals with what, and why each won or lost."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Connection, Integer, Table

from aggregates.subject import SubjectErased
from aggregates.task import (
    BidPlaced,
    BidRefused,
    BidWithdrawn,
    BookVoided,
    TaskAwarded,
    TaskCancelled,
    TaskDeadLettered,
    TaskExpired,
    TaskFailed,
)
from aggregates.values.ranking import Ranked
from projections import schema
from projections.schema import BY_AGE, Row, Sortable, document, encoded, key, number, text, whole
from runtime.records import Change, Insert, Recorded, Update

NAME = "bids/2"

PLACED, WITHDRAWN, REFUSED, WON, LOST = "placed", "withdrawn", "refused", "won", "lost"

bids = schema.table(
    "bids",
    key("task_id"),
    Column("round", Integer, primary_key=True),
    key("agent_id"),
    text("state"),
    number("price"),
    number("eta_seconds"),
    number("confidence"),
    number("capacity_offer"),
    number("expires_at"),
    number("placed_at"),
    whole("rank"),
    number("score"),
    document("terms"),
    text("reason"),
    text("data_subject"),
    number("last_event_at"),
    paged_by=("task_id", "agent_id"),
)
"""One row for each agent that answered in a round; its last answer holds. `rank` counts from 1; `terms` are what makes the score."""

TABLES: tuple[Table, ...] = (bids,)


SORTS = {"placed_at": BY_AGE, **{name: Sortable(name, may_be_empty=True) for name in ("price", "eta_seconds", "score")}}


def apply(recorded: Recorded) -> Sequence[Change]:
    event = recorded.event
    match event:
        case BidPlaced():
            return [_placed(recorded, event)]
        case BidWithdrawn():
            where = _key(recorded, event.task_id, event.round, event.agent_id)
            return [Update(table=bids, values=_moved(recorded, WITHDRAWN, ""), where=where)]
        case BidRefused():
            where = _key(recorded, event.task_id, event.round, event.agent_id)
            made = {"first_position": recorded.position, **_moved(recorded, REFUSED, event.reason)}
            return [Insert(table=bids, values={**where, **made, "data_subject": event.data_subject})]
        case TaskAwarded():
            return [_ranked(recorded, event, rank, ranked) for rank, ranked in enumerate(event.ranking, 1)]
        case BookVoided():
            return [_ranked(recorded, event, rank, ranked) for rank, ranked in enumerate(event.ranking, 1)]
        case TaskFailed() if event.final:
            return [_closed(recorded, event.task_id, "task_failed")]
        case TaskDeadLettered():
            return [_closed(recorded, event.task_id, "task_dead_lettered")]
        case TaskCancelled():
            return [_closed(recorded, event.task_id, "task_cancelled")]
        case TaskExpired():
            return [_closed(recorded, event.task_id, "task_expired")]
        case SubjectErased():
            return [Update(table=bids, values={"reason": "erased"}, where=schema.of_subject(recorded))]
    return ()


def _placed(recorded: Recorded, event: BidPlaced) -> Change:
    values = {
        **_key(recorded, event.task_id, event.round, event.agent_id),
        **_moved(recorded, PLACED, ""),
        "price": event.price,
        "eta_seconds": event.eta_seconds,
        "confidence": event.confidence,
        "capacity_offer": event.capacity_offer,
        "expires_at": event.expires_at,
        "placed_at": event.placed_at,
        "data_subject": "",
        "first_position": recorded.position,
    }
    return Insert(table=bids, values=values)


def _ranked(recorded: Recorded, event: TaskAwarded | BookVoided, rank: int, ranked: Ranked) -> Change:
    if ranked.lost:
        moved = _moved(recorded, LOST, ranked.lost)
    elif isinstance(event, TaskAwarded) and ranked.agent_id == event.agent_id:
        moved = _moved(recorded, WON, event.reason)
    else:
        moved = _moved(recorded, LOST, "outscored")
    judged = {"rank": rank, "score": ranked.score, "terms": encoded(ranked)}
    where = _key(recorded, event.task_id, event.round, ranked.agent_id)
    return Update(table=bids, values={**moved, **judged}, where=where)


def _closed(recorded: Recorded, task_id: str, reason: str) -> Change:
    """A task that ends takes the bids of its open book with it."""
    open_ones = {"tenant_id": recorded.meta.tenant, "task_id": task_id, "state": PLACED}
    return Update(table=bids, values=_moved(recorded, LOST, reason), where=open_ones)


def _key(recorded: Recorded, task_id: str, round_number: int, agent_id: str) -> dict[str, Any]:
    return {"tenant_id": recorded.meta.tenant, "task_id": task_id, "round": round_number, "agent_id": agent_id}


def _moved(recorded: Recorded, state: str, reason: str) -> dict[str, Any]:
    moved = {"last_event_at": recorded.meta.at, "last_position": recorded.position}
    return {"state": state, "reason": reason, **moved}


def find(connection: Connection, tenant_id: str, task_id: str, round_number: int, agent_id: str) -> Row | None:
    """What an agent answered to a task's call of this round; None when it didn't, or the task is another tenant's."""
    return schema.find_row(
        connection,
        bids,
        {"tenant_id": tenant_id, "task_id": task_id, "round": round_number, "agent_id": agent_id},
    )


def newest(
    connection: Connection,
    tenant_id: str,
    *,
    task_id: str | None = None,
    agent_id: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Row]:
    """A page of answers, the last one first."""
    where = {"tenant_id": tenant_id, "task_id": task_id, "agent_id": agent_id}
    return schema.newest_rows(connection, bids, where, before=before, limit=limit)


page = schema.paged(bids)
"""A page of answers that have these values."""


def count(
    connection: Connection,
    tenant_id: str,
    *,
    task_id: str | None = None,
    agent_id: str | None = None,
    state: str | None = None,
) -> int:
    return schema.count_rows(
        connection, bids, {"tenant_id": tenant_id, "task_id": task_id, "agent_id": agent_id, "state": state}
    )

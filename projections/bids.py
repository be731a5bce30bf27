"""Bids: who answered which call for proposals with what, and why each won or lost."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Connection, Integer, Table

from aggregates.subject import SubjectErased
from aggregates.task import (
    BidCommitted,
    BidPlaced,
    BidRefused,
    BidRevealed,
    BidWithdrawn,
    BookOpened,
    BookVoided,
    DryRunEnded,
    TaskAwarded,
    TaskCancelled,
    TaskDeadLettered,
    TaskExpired,
    TaskFailed,
    TaskSubmitted,
)
from aggregates.values.batches import why_lost
from aggregates.values.ranking import Ranked
from aggregates.values.sealed_bids import OpenedBid
from projections import schema
from projections.schema import BY_AGE, Row, Sortable, document, encoded, key, number, text, whole
from runtime.records import Change, Insert, Recorded, Update

NAME = "bids/5"

PLACED, SEALED, OPENED = "placed", "sealed", "opened"
WITHDRAWN, REFUSED, WON, LOST = "withdrawn", "refused", "won", "lost"

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
    text("conditions"),
    number("placed_at"),
    text("commitment"),
    whole("rank"),
    number("score"),
    document("terms"),
    text("reason"),
    text("data_subject"),
    number("last_event_at"),
    paged_by=("task_id",),
)
"""One row for each agent that answered in a round; its last answer holds. `rank` counts from 1; `terms` are what makes the score.
A sealed bid has its `commitment` alone until the book has closed."""

TABLES: tuple[Table, ...] = (bids,)


SORTS = {"placed_at": BY_AGE, **{name: Sortable(name, may_be_empty=True) for name in ("price", "eta_seconds", "score")}}


def apply(recorded: Recorded) -> Sequence[Change]:
    event = recorded.event
    match event:
        case BidPlaced():
            return [_placed(recorded, event)]
        case TaskSubmitted() | BookOpened():  # told elsewhere
            return ()
        case BidCommitted():
            return [_committed(recorded, event)]
        case BidRevealed():
            where = _key(recorded, event.task_id, event.round, event.agent_id)
            return [Update(table=bids, values=_moved(recorded, OPENED, ""), where=where)]
        case BidWithdrawn():
            where = _key(recorded, event.task_id, event.round, event.agent_id)
            return [Update(table=bids, values=_moved(recorded, WITHDRAWN, ""), where=where)]
        case BidRefused():
            where = _key(recorded, event.task_id, event.round, event.agent_id)
            made = {"first_position": recorded.position, **_moved(recorded, REFUSED, event.reason)}
            return [Insert(table=bids, values={**where, **made, "data_subject": event.data_subject})]
        case TaskAwarded() | BookVoided() | DryRunEnded():
            ranked = [_ranked(recorded, event, rank, ranked) for rank, ranked in enumerate(event.ranking, 1)]
            return [*(_told(recorded, event, opened) for opened in event.opened), *ranked]
        case TaskFailed() if event.final:
            return _closed(recorded, event.task_id, "task_failed")
        case TaskDeadLettered():
            return _closed(recorded, event.task_id, "task_dead_lettered")
        case TaskCancelled():
            return _closed(recorded, event.task_id, "task_cancelled")
        case TaskExpired():
            return _closed(recorded, event.task_id, "task_expired")
        case SubjectErased():
            return [Update(table=bids, values={"reason": "erased"}, where=schema.of_subject(recorded))]
    return ()


def _placed(recorded: Recorded, event: BidPlaced) -> Change:
    """Most rows by far are made here, so in one piece."""
    at, position = recorded.meta.at, recorded.position
    values = {
        "tenant_id": recorded.meta.tenant,
        "task_id": event.task_id,
        "round": event.round,
        "agent_id": event.agent_id,
        "state": PLACED,
        "reason": "",
        "last_event_at": at,
        "last_position": position,
        "price": event.price,
        "eta_seconds": event.eta_seconds,
        "confidence": event.confidence,
        "capacity_offer": event.capacity_offer,
        "expires_at": event.expires_at,
        "conditions": event.conditions,
        "placed_at": event.placed_at,
        "data_subject": "",
        "first_position": position,
    }
    return Insert(table=bids, values=values)


def _ranked(recorded: Recorded, event: TaskAwarded | BookVoided | DryRunEnded, rank: int, ranked: Ranked) -> Change:
    winner = event.ranking[0] if isinstance(event, TaskAwarded) and event.ranking else None
    if ranked is winner:
        moved = _moved(recorded, WON, event.reason)
    elif isinstance(event, DryRunEnded):
        would_win = ranked.agent_id == event.winner
        moved = _moved(recorded, LOST, "dry_run" if would_win else ranked.lost or "outscored")
    else:
        moved = _moved(recorded, LOST, why_lost(ranked, winner, event.batch))
    judged = {"rank": rank, "score": ranked.score, "terms": encoded(ranked)}
    where = _key(recorded, event.task_id, event.round, ranked.agent_id)
    return Update(table=bids, values={**moved, **judged}, where=where)


def _committed(recorded: Recorded, event: BidCommitted) -> Change:
    values = {
        **_key(recorded, event.task_id, event.round, event.agent_id),
        **_moved(recorded, SEALED, ""),
        "commitment": event.commitment,
        "placed_at": event.committed_at,
        "data_subject": "",
        "first_position": recorded.position,
    }
    return Insert(table=bids, values=values)


def _told(recorded: Recorded, event: TaskAwarded | BookVoided | DryRunEnded, opened: OpenedBid) -> Change:
    """What a sealed bid was; nobody is told before the book has closed."""
    where = _key(recorded, event.task_id, event.round, opened.agent_id)
    values = {
        "price": opened.price,
        "eta_seconds": opened.eta_seconds,
        "confidence": opened.confidence,
        "capacity_offer": opened.capacity_offer,
        "last_position": recorded.position,
    }
    return Update(table=bids, values=values, where=where)


def _closed(recorded: Recorded, task_id: str, reason: str) -> Sequence[Change]:
    """A task that ends takes the bids of its open book with it."""
    of_task = {"tenant_id": recorded.meta.tenant, "task_id": task_id}
    lost = _moved(recorded, LOST, reason)
    return [Update(table=bids, values=lost, where={**of_task, "state": state}) for state in (PLACED, SEALED, OPENED)]


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

"""Bids: who answered which call for proposals with what, and why each won or lost."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Column, Connection, Table

from aggregates.subject import SubjectErased
from aggregates.task import (
    BidCommitted,
    BidPlaced,
    BidRefused,
    BidRevealed,
    BidWithdrawn,
    BookVoided,
    DryRunEnded,
    TaskAwarded,
    TaskCancelled,
    TaskDeadLettered,
    TaskExpired,
    TaskFailed,
)
from aggregates.values.batches import why_lost
from aggregates.values.sealed_bids import OpenedBid
from projections import schema
from projections.schema import BY_AGE, Row, Sortable, document, encoded_each, key, number, text, whole
from runtime.records import Change, Insert, InsertMany, Recorded, Update, UpdateMany
from runtime.tables import WHOLE

NAME = "bids/6"

PLACED, SEALED, OPENED = "placed", "sealed", "opened"
WITHDRAWN, REFUSED, WON, LOST = "withdrawn", "refused", "won", "lost"

bids = schema.table(
    "bids",
    key("task_id"),
    Column("round", WHOLE, primary_key=True),
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
    is_paged_whole=False,
)
"""One row for each agent that answered in a round; its last answer holds. `rank` counts from 1; `terms` are what makes the score.
A sealed bid has its `commitment` alone until the book has closed."""

TABLES: tuple[Table, ...] = (bids,)

HEARS = frozenset(
    (
        BidPlaced,
        BidCommitted,
        BidRevealed,
        BidWithdrawn,
        BidRefused,
        TaskAwarded,
        BookVoided,
        DryRunEnded,
        TaskFailed,
        TaskDeadLettered,
        TaskCancelled,
        TaskExpired,
        SubjectErased,
    )
)


SORTS = {"placed_at": BY_AGE, **{name: Sortable(name, may_be_empty=True) for name in ("price", "eta_seconds", "score")}}


KEY = ("tenant_id", "task_id", "round", "agent_id")
OFFER = (
    *("round", "agent_id", "price", "eta_seconds", "confidence", "capacity_offer", "expires_at", "conditions"),
    *("placed_at", "first_position"),
)
STANDING = ("state", "reason", "last_event_at", "last_position", "rank", "score", "terms")
OWN = (*OFFER, *STANDING)
"""What is told of each bid that is placed: what it offers, and then how it stands."""

STANDS = len(OFFER)
"""Where in a row its state is."""

Closed = TaskAwarded | BookVoided | DryRunEnded
Book = dict[tuple[int, str], list[Any]]
"""Rows of bids for one task, by round and agent."""

NOBODY: Book = {}


def apply(recorded: Recorded) -> Sequence[Change]:
    event = recorded.event
    match event:
        case BidPlaced():
            own = dict(zip(OWN, _placed(recorded, event), strict=True))
            return [Insert(table=bids, values=_alike(recorded, event) | own)]
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
            told = [_told(recorded, event, opened) for opened in event.opened]
            return told + [_judged(recorded, event, *one) for one in _ranked(recorded, event)]
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


def apply_all(batch: Sequence[Recorded]) -> Sequence[Change]:
    """Bids that are placed and judged in one batch are written once, as judged; all else is as `apply` says of each.

    Until all else has been said the placed ones are kept here, and what would change them in the table changes them here.
    """
    changes: list[Change] = []
    books: dict[tuple[str, str], Book] = {}
    for recorded in batch:
        event = recorded.event
        if type(event) is BidPlaced:
            task = recorded.meta.tenant, event.task_id
            book = books.get(task)
            if book is None:
                book = books[task] = {}
            book[event.round, event.agent_id] = _placed(recorded, event)
        elif isinstance(event, Closed) and not event.opened:
            key = recorded.meta.tenant, event.task_id, event.round
            book = books.get(key[:2], NOBODY)
            written = []
            for agent_id, standing in _ranked(recorded, event):
                row = book.get((event.round, agent_id))
                if row is None:
                    written.append((*standing, *key, agent_id))
                else:
                    row[STANDS:] = standing
            changes.append(UpdateMany(table=bids, values={}, columns=STANDING, where=KEY, rows=written))
        else:
            changes += [change for change in apply(recorded) if _is_for_table(books, change)]
    for (tenant_id, task_id), book in books.items():
        values = {"tenant_id": tenant_id, "task_id": task_id, "data_subject": ""}
        changes.append(InsertMany(table=bids, values=values, columns=OWN, rows=list(book.values())))
    return changes


def _is_for_table(books: Mapping[tuple[str, str], Book], change: Change) -> bool:
    """Changes the placed bids that are still to be written; whether there may be others in the table."""
    where: Mapping[str, Any] = getattr(change, "where", change.values)
    book = books.get((where["tenant_id"], where.get("task_id", "")), NOBODY)
    if "agent_id" not in where:
        for row in book.values():
            if row[STANDS] == where.get("state"):
                _change(row, change)
        return True
    key = where["round"], where["agent_id"]
    if key not in book:
        return True
    if isinstance(change, Insert):
        del book[key]
        return True
    _change(book[key], change)
    return False


def _change(row: list[Any], change: Change) -> None:
    for name, value in change.values.items():
        row[OWN.index(name)] = value


def _alike(recorded: Recorded, event: BidPlaced) -> dict[str, Any]:
    return {"tenant_id": recorded.meta.tenant, "task_id": event.task_id, "data_subject": ""}


def _placed(recorded: Recorded, event: BidPlaced) -> list[Any]:
    """What is a new bid's own, in the order of OFFER and STANDING."""
    at, position = recorded.meta.at, recorded.position
    return [
        event.round,
        event.agent_id,
        event.price,
        event.eta_seconds,
        event.confidence,
        event.capacity_offer,
        event.expires_at,
        event.conditions,
        event.placed_at,
        position,
        PLACED,
        "",
        at,
        position,
        None,
        None,
        None,
    ]


def _ranked(recorded: Recorded, event: Closed) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Of each agent whose bid was ranked, how it stands now, in the order of STANDING."""
    at, position = recorded.meta.at, recorded.position
    winner = event.ranking[0] if isinstance(event, TaskAwarded) and event.ranking else None
    for rank, (ranked, terms) in enumerate(zip(event.ranking, encoded_each(event.ranking), strict=True), 1):
        if ranked is winner:
            state, reason = WON, event.reason
        elif isinstance(event, DryRunEnded):
            state, reason = LOST, "dry_run" if ranked.agent_id == event.winner else ranked.lost or "outscored"
        else:
            state, reason = LOST, why_lost(ranked, winner, event.batch)
        yield ranked.agent_id, (state, reason, at, position, rank, ranked.score, terms)


def _judged(recorded: Recorded, event: Closed, agent_id: str, standing: tuple[Any, ...]) -> Change:
    where = _key(recorded, event.task_id, event.round, agent_id)
    return Update(table=bids, values=dict(zip(STANDING, standing, strict=True)), where=where)


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


def _told(recorded: Recorded, event: Closed, opened: OpenedBid) -> Change:
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
    return dict(zip(KEY, (recorded.meta.tenant, task_id, round_number, agent_id), strict=True))


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

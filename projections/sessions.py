"""Sessions of browsers: for whom, how they signed in, until when. Neither a cookie nor its digest stands here."""

from collections.abc import Sequence

from sqlalchemy import Connection, Table

from aggregates.session import EVENTS, SessionEnded, SessionOpened
from projections import schema
from projections.schema import BY_AGE, Row, Sortable, key, number, text
from runtime.records import Change, Insert, Recorded, Update

NAME = "sessions/1"

sessions = schema.table(
    "sessions",
    key("session_id"),
    text("way"),
    text("user_id"),
    text("key_id"),
    text("reason"),
    number("opened_at"),
    number("ends_at"),
    number("ended_at"),
    paged_by=("user_id", "key_id"),
)

TABLES: tuple[Table, ...] = (sessions,)

HEARS = frozenset(EVENTS)

SORTS = {"opened_at": BY_AGE, "ends_at": Sortable("ends_at")}


def apply(recorded: Recorded) -> Sequence[Change]:
    event = recorded.event
    match event:
        case SessionOpened():
            return [_opened(recorded, event)]
        case SessionEnded():
            ended = {"reason": event.reason, "ended_at": recorded.meta.at, "last_position": recorded.position}
            where = {"tenant_id": recorded.meta.tenant, "session_id": event.session_id}
            return [Update(table=sessions, values=ended, where=where)]
    return ()


def _opened(recorded: Recorded, event: SessionOpened) -> Change:
    values = {
        "tenant_id": recorded.meta.tenant,
        "session_id": event.session_id,
        "way": event.way.value,
        "user_id": event.user_id or None,
        "key_id": event.key_id or None,
        "reason": None,
        "opened_at": recorded.meta.at,
        "ends_at": event.ends_at,
        "ended_at": None,
        "first_position": recorded.position,
        "last_position": recorded.position,
    }
    return Insert(table=sessions, values=values)


def find(connection: Connection, tenant_id: str, session_id: str) -> Row | None:
    """A session; None when this tenant has no such session."""
    return schema.find_row(connection, sessions, {"tenant_id": tenant_id, "session_id": session_id})


def newest(
    connection: Connection,
    tenant_id: str,
    *,
    user_id: str | None = None,
    key_id: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Row]:
    """A page of sessions, the last opened first."""
    where = {"tenant_id": tenant_id, "user_id": user_id, "key_id": key_id}
    return schema.newest_rows(connection, sessions, where, before=before, limit=limit)


page = schema.paged(sessions)
"""A page of sessions that have these values."""


def count(connection: Connection, tenant_id: str, *, user_id: str | None = None) -> int:
    return schema.count_rows(connection, sessions, {"tenant_id": tenant_id, "user_id": user_id})

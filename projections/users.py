"""Users: who may sign in, as what, and since when. No hash of a password stands here."""

from collections.abc import Sequence

from sqlalchemy import Connection, Table

from aggregates.subject import SubjectErased
from aggregates.user import (
    EVENTS,
    PasswordSet,
    Stage,
    UserChanged,
    UserDisabled,
    UserEnabled,
    UserRegistered,
    UserRemoved,
)
from projections import schema
from projections.schema import BY_AGE, Only, Row, Sortable, key, number, text
from runtime.records import Change, Insert, Recorded, Update

NAME = "users/1"

users = schema.table(
    "users",
    key("user_id"),
    text("username"),
    text("email"),
    text("name"),
    text("role"),
    text("status"),
    text("issuer"),
    text("data_subject"),
    text("reason"),
    number("registered_at"),
    number("password_set_at"),
    number("last_event_at"),
    paged_by=("role", "status"),
)

TABLES: tuple[Table, ...] = (users,)

HEARS = frozenset((*EVENTS, SubjectErased))

SORTS = {"registered_at": BY_AGE, "username": Sortable("username", is_text=True)}


def apply(recorded: Recorded) -> Sequence[Change]:
    event, at = recorded.event, recorded.meta.at
    match event:
        case UserRegistered():
            return [_registered(recorded, event)]
        case UserChanged():
            given = {"role": event.role and event.role.value, "email": event.email, "name": event.name}
            return _changed(recorded, event.user_id, {name: said for name, said in given.items() if said is not None})
        case PasswordSet():
            return _changed(recorded, event.user_id, {"password_set_at": at})
        case UserDisabled():
            return _changed(recorded, event.user_id, {"status": Stage.DISABLED.value, "reason": event.reason})
        case UserEnabled():
            return _changed(recorded, event.user_id, {"status": Stage.ACTIVE.value, "reason": None})
        case UserRemoved():
            return _changed(recorded, event.user_id, {"status": Stage.REMOVED.value, "reason": event.reason})
        case SubjectErased():
            blank = {"username": "", "email": "", "name": ""}
            return [Update(table=users, values=blank, where=schema.of_subject(recorded))]
    return ()


def _registered(recorded: Recorded, event: UserRegistered) -> Change:
    at = recorded.meta.at
    values = {
        "tenant_id": recorded.meta.tenant,
        "user_id": event.user_id,
        "username": event.username,
        "email": event.email,
        "name": event.name,
        "role": event.role.value,
        "status": Stage.ACTIVE.value,
        "issuer": event.issuer or None,
        "data_subject": event.data_subject,
        "reason": None,
        "registered_at": at,
        "password_set_at": at if event.has_password else None,
        "last_event_at": at,
        "first_position": recorded.position,
        "last_position": recorded.position,
    }
    return Insert(table=users, values=values)


def _changed(recorded: Recorded, user_id: str, values: dict[str, object]) -> list[Change]:
    stamped = {**values, "last_event_at": recorded.meta.at, "last_position": recorded.position}
    return [Update(table=users, values=stamped, where={"tenant_id": recorded.meta.tenant, "user_id": user_id})]


def find(connection: Connection, tenant_id: str, user_id: str, *, only: Only = None) -> Row | None:
    """A user; None when this tenant has no such user."""
    return schema.find_row(connection, users, {"tenant_id": tenant_id, "user_id": user_id}, only=only)


def newest(
    connection: Connection,
    tenant_id: str,
    *,
    role: str | None = None,
    status: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Row]:
    """A page of users, the last registered first."""
    where = {"tenant_id": tenant_id, "role": role, "status": status}
    return schema.newest_rows(connection, users, where, before=before, limit=limit)


page = schema.paged(users)
"""A page of users who have these values."""


def count(connection: Connection, tenant_id: str, *, role: str | None = None) -> int:
    return schema.count_rows(connection, users, {"tenant_id": tenant_id, "role": role})

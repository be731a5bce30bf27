"""Keys: who was let in, in which role, and until when. Neither a token nor its digest stands here."""

from collections.abc import Sequence

from sqlalchemy import Connection, Table

from aggregates.key import EVENTS, KeyIssued, KeyReplaced, KeyRevoked, Stage
from aggregates.subject import SubjectErased
from projections import schema
from projections.schema import BY_AGE, Only, Row, Sortable, document, encoded, key, number, text
from runtime.records import Change, Insert, Recorded, Update

NAME = "keys/3"

keys = schema.table(
    "keys",
    key("key_id"),
    text("role"),
    text("status"),
    text("agent_id"),
    text("label"),
    text("data_subject"),
    text("reason"),
    number("expires_at"),
    number("issued_at"),
    number("revoked_at"),
    document("scopes"),
    text("successor_id"),
    paged_by=("role",),
)

TABLES: tuple[Table, ...] = (keys,)

HEARS = frozenset((*EVENTS, SubjectErased))

SORTS = {"issued_at": BY_AGE, "expires_at": Sortable("expires_at", may_be_empty=True)}


def apply(recorded: Recorded) -> Sequence[Change]:
    event, at = recorded.event, recorded.meta.at
    match event:
        case KeyIssued():
            return [_issued(recorded, event)]
        case KeyReplaced():
            replaced = {"status": Stage.REPLACED.value, "successor_id": event.successor_id, "expires_at": event.until}
            where = {"tenant_id": recorded.meta.tenant, "key_id": event.key_id}
            return [Update(table=keys, values={**replaced, "last_position": recorded.position}, where=where)]
        case KeyRevoked():
            ended = {"status": Stage.REVOKED.value, "reason": event.reason, "revoked_at": at}
            where = {"tenant_id": recorded.meta.tenant, "key_id": event.key_id}
            return [Update(table=keys, values={**ended, "last_position": recorded.position}, where=where)]
        case SubjectErased():
            return [Update(table=keys, values={"label": ""}, where=schema.of_subject(recorded))]
    return ()


def _issued(recorded: Recorded, event: KeyIssued) -> Change:
    values = {
        "tenant_id": recorded.meta.tenant,
        "key_id": event.key_id,
        "role": event.role.value,
        "status": Stage.ISSUED.value,
        "agent_id": event.agent_id or None,
        "label": event.label,
        "data_subject": event.data_subject,
        "expires_at": event.expires_at,
        "issued_at": recorded.meta.at,
        "scopes": encoded(event.scopes),
        "first_position": recorded.position,
        "last_position": recorded.position,
    }
    return Insert(table=keys, values=values)


def find(connection: Connection, tenant_id: str, key_id: str, *, only: Only = None) -> Row | None:
    """A key; None when this tenant has no such key."""
    return schema.find_row(connection, keys, {"tenant_id": tenant_id, "key_id": key_id}, only=only)


def newest(
    connection: Connection, tenant_id: str, *, role: str | None = None, before: int | None = None, limit: int = 100
) -> list[Row]:
    """A page of keys, the last issued first."""
    return schema.newest_rows(connection, keys, {"tenant_id": tenant_id, "role": role}, before=before, limit=limit)


page = schema.paged(keys)
"""A page of keys that have these values."""


def count(connection: Connection, tenant_id: str, *, role: str | None = None) -> int:
    return schema.count_rows(connection, keys, {"tenant_id": tenant_id, "role": role})

"""Task types: which schemas their payloads and results have to fit, version by version."""

from collections.abc import Sequence
from enum import StrEnum

from sqlalchemy import Column, Connection, Table, tuple_

from aggregates.task_type import EVENTS, SchemasDropped, SchemasSet
from aggregates.values.document import Document
from projections import schema
from projections.schema import BY_AGE, Only, Row, document, encoded, key, number, text
from runtime.records import Change, Insert, Recorded, Update
from runtime.tables import WHOLE

NAME = "task_types/1"


class Status(StrEnum):
    """How a version stands."""

    IN_FORCE = "in_force"
    REPLACED = "replaced"
    DROPPED = "dropped"


task_types = schema.table(
    "task_types",
    key("task_type"),
    Column("version", WHOLE, primary_key=True),
    text("status"),
    document("payload"),
    document("result"),
    text("set_by"),
    number("set_at"),
    number("ended_at"),
    text("reason"),
    paged_by=("task_type", "status"),
)
"""One row for each version of a type's schemas; at most one of them is in force. Without a schema, anything fits."""

TABLES: tuple[Table, ...] = (task_types,)

HEARS = frozenset(EVENTS)

SORTS = {"set_at": BY_AGE}


def apply(recorded: Recorded) -> Sequence[Change]:
    event = recorded.event
    match event:
        case SchemasSet():
            return [_ended(recorded, event.task_type, Status.REPLACED, ""), _set(recorded, event)]
        case SchemasDropped():
            return [_ended(recorded, event.task_type, Status.DROPPED, event.reason)]
    return ()


def _ended(recorded: Recorded, task_type: str, status: Status, reason: str) -> Change:
    values = {
        "status": status.value,
        "ended_at": recorded.meta.at,
        "reason": reason,
        "last_position": recorded.position,
    }
    where = {"tenant_id": recorded.meta.tenant, "task_type": task_type, "status": Status.IN_FORCE.value}
    return Update(table=task_types, values=values, where=where)


def _set(recorded: Recorded, event: SchemasSet) -> Change:
    values = {
        "tenant_id": recorded.meta.tenant,
        "task_type": event.task_type.value,
        "version": event.version,
        "status": Status.IN_FORCE.value,
        "payload": _or_none(event.payload),
        "result": _or_none(event.result),
        "set_by": recorded.meta.principal,
        "set_at": recorded.meta.at,
        "reason": "",
        "first_position": recorded.position,
        "last_position": recorded.position,
    }
    return Insert(table=task_types, values=values)


def _or_none(document: Document | None) -> str | None:
    return encoded(document) if document is not None else None


def find(
    connection: Connection, tenant_id: str, task_type: str, version: int | None = None, *, only: Only = None
) -> Row | None:
    """A version of a type's schemas; the one in force, where none is named. None where there is none."""
    named = {"status": Status.IN_FORCE.value} if version is None else {"version": version}
    where: dict[str, str | int | None] = {"tenant_id": tenant_id, "task_type": task_type, **named}
    return schema.find_row(connection, task_types, where, only=only)


def versions(connection: Connection, tenant_id: str, named: Sequence[tuple[str, int]]) -> list[Row]:
    """These versions of types' schemas, as far as there are such."""
    if not named:
        return []
    bounds = [
        task_types.c.tenant_id == tenant_id,
        tuple_(task_types.c.task_type, task_types.c.version).in_(named),
    ]
    return schema.rows_among(connection, task_types, bounds)


def newest(
    connection: Connection, tenant_id: str, *, status: str | None = None, before: int | None = None, limit: int = 100
) -> list[Row]:
    """A page of versions, the last set first."""
    where = {"tenant_id": tenant_id, "status": status}
    return schema.newest_rows(connection, task_types, where, before=before, limit=limit)


page = schema.paged(task_types)
"""A page of versions that have these values."""


def count(connection: Connection, tenant_id: str) -> int:
    return schema.count_rows(connection, task_types, {"tenant_id": tenant_id})

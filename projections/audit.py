"""The audit trail: who did what, when, why, and caused by what; one row for each event of the journal."""

from collections.abc import Sequence

from sqlalchemy import Column, Connection, Index, Integer, MetaData, Table

from projections import schema
from projections.schema import Row, number, text, whole
from runtime.records import Change, Insert, Recorded, is_personal, name_of

NAME = "audit/1"

audit = Table(
    "audit",
    MetaData(),
    Column("position", Integer, primary_key=True),
    text("tenant_id"),
    text("principal"),
    number("at"),
    number("recorded_at"),
    text("stream"),
    whole("version"),
    text("kind"),
    text("reason"),
    text("command"),
    text("command_id"),
    text("cause"),
    text("correlation"),
    Index("audit_by_age", "tenant_id", "position"),
    Index("audit_by_stream", "tenant_id", "stream", "position"),
    Index("audit_by_correlation", "tenant_id", "correlation", "position"),
)
"""`command` names what was asked for, on its first event alone; `command_id` ties the others to it. `cause` is the id of the
command, or `@position` of the event, that led to it; `correlation` is shared by all that one message set off. A reason that tells of a
data subject stands in the record alone."""

TABLES: tuple[Table, ...] = (audit,)


def apply(recorded: Recorded) -> Sequence[Change]:
    meta = recorded.meta
    values = {
        "position": recorded.position,
        "tenant_id": meta.tenant,
        "principal": meta.principal,
        "at": meta.at,
        "recorded_at": meta.recorded_at,
        "stream": recorded.stream,
        "version": recorded.version,
        "kind": recorded.kind,
        "reason": None if is_personal(recorded.event, "reason") else getattr(recorded.event, "reason", None),
        "command": None if meta.command is None else name_of(meta.command.name),
        "command_id": meta.id,
        "cause": meta.cause,
        "correlation": meta.correlation,
    }
    return [Insert(table=audit, values=values)]


def find(connection: Connection, tenant_id: str, position: int) -> Row | None:
    """The event at a position; None when there is none, or it is another tenant's."""
    return schema.find_row(connection, audit, {"tenant_id": tenant_id, "position": position})


def newest(
    connection: Connection,
    tenant_id: str,
    *,
    stream: str | None = None,
    correlation: str | None = None,
    kind: str | None = None,
    principal: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Row]:
    """A page of events, the last first; the last row's `position` is the next page's `before`."""
    where = {"tenant_id": tenant_id, "stream": stream, "correlation": correlation, "kind": kind, "principal": principal}
    return schema.newest_rows(connection, audit, where, by="position", before=before, limit=limit)


def count(connection: Connection, tenant_id: str, *, stream: str | None = None, kind: str | None = None) -> int:
    return schema.count_rows(connection, audit, {"tenant_id": tenant_id, "stream": stream, "kind": kind})


def count_by_kind(connection: Connection, tenant_id: str) -> dict[str, int]:
    return schema.count_rows_by(connection, audit, "kind", {"tenant_id": tenant_id})

"""Personal data: which records tell of which data subject, for its export and for whoever checks its erasure. None of the data is here."""

from collections.abc import Sequence

from sqlalchemy import Column, Connection, Index, MetaData, Table, case, func, select

from aggregates.catalog import EVENTS_BY_NOUN
from projections import schema
from projections.schema import Row, number, text
from runtime.records import Change, Insert, Recorded
from runtime.tables import WHOLE

NAME = "personal/1"
ERASED = "subject.SubjectErased"

personal = Table(
    "personal_records",
    MetaData(),
    Column("position", WHOLE, primary_key=True),
    text("tenant_id"),
    text("data_subject"),
    text("stream"),
    text("kind"),
    number("at"),
    Index("personal_records_by_subject", "tenant_id", "data_subject", "position"),
)
"""One row for each record of which a part stands under the subject's key, and for each that tells of its erasure."""

TABLES: tuple[Table, ...] = (personal,)

HEARS = frozenset(
    event for events in EVENTS_BY_NOUN.values() for event in events if "data_subject" in event.__struct_fields__
)


def apply(recorded: Recorded) -> Sequence[Change]:
    data_subject = getattr(recorded.event, "data_subject", "")
    if not data_subject:
        return ()
    values = {
        "position": recorded.position,
        "tenant_id": recorded.meta.tenant,
        "data_subject": data_subject,
        "stream": recorded.stream,
        "kind": recorded.kind,
        "at": recorded.meta.at,
    }
    return [Insert(table=personal, values=values)]


def find(connection: Connection, tenant_id: str, position: int) -> Row | None:
    """The record at a position; None where it tells of nobody, or is another tenant's."""
    return schema.find_row(connection, personal, {"tenant_id": tenant_id, "position": position})


def newest(
    connection: Connection,
    tenant_id: str,
    *,
    data_subject: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Row]:
    """A page of records, the last first; the last row's `position` is the next page's `before`."""
    where = {"tenant_id": tenant_id, "data_subject": data_subject}
    return schema.newest_rows(connection, personal, where, by="position", before=before, limit=limit)


def count(connection: Connection, tenant_id: str, *, data_subject: str | None = None) -> int:
    return schema.count_rows(connection, personal, {"tenant_id": tenant_id, "data_subject": data_subject})


def of_subject(
    connection: Connection, tenant_id: str, data_subject: str, *, after: int = 0, limit: int = schema.LIMIT_MAX
) -> list[Row]:
    """Up to `limit` records of a data subject past a position, in order."""
    mine = (personal.c.tenant_id == tenant_id, personal.c.data_subject == data_subject, personal.c.position > after)
    page = select(personal).where(*mine).order_by(personal.c.position).limit(min(limit, schema.LIMIT_MAX))
    return [dict(row) for row in connection.execute(page).mappings()]


def subjects(connection: Connection, tenant_id: str, *, after: str = "", limit: int = 100) -> list[Row]:
    """A page of data subjects in the order of their ids: how many records tell of each, and where the first and last stand."""
    columns = (
        personal.c.data_subject,
        func.count().label("records"),
        func.min(personal.c.position).label("first_position"),
        func.max(personal.c.position).label("last_position"),
    )
    mine = (personal.c.tenant_id == tenant_id, personal.c.data_subject > after)
    page = select(*columns).where(*mine).group_by(personal.c.data_subject).order_by(personal.c.data_subject)
    return [dict(row) for row in connection.execute(page.limit(min(limit, schema.LIMIT_MAX))).mappings()]


def silent_since(connection: Connection, before: float, *, limit: int = 100) -> list[tuple[str, str]]:
    """Tenant and id of some data subjects of whom nothing was recorded since a time, and who were not erased after that."""
    erased = case((personal.c.kind == ERASED, personal.c.position), else_=0)
    whose = (personal.c.tenant_id, personal.c.data_subject)
    silent = (func.max(personal.c.at) < before, func.max(erased) < func.max(personal.c.position))
    found = connection.execute(select(*whose).group_by(*whose).having(*silent).order_by(*whose).limit(limit))
    return [(tenant, data_subject) for tenant, data_subject in found]

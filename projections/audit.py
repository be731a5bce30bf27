"""The audit trail: who did what to whom, when, why, on whose behalf and caused by what; one row for each event of the journal."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import (
    Column,
    Computed,
    Connection,
    Index,
    MetaData,
    Table,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    union_all,
)
from sqlalchemy.sql import ColumnElement

from aggregates.action import ActionBegun, ActionEnded, Origin
from aggregates.trail import IntruderSuspected, RequestRefused, RequestsRefused, StrangersRefused
from projections import schema
from projections.schema import Row, Where, number, text, whole
from runtime.records import Change, Event, Insert, InsertMany, Recorded, is_personal, name_of
from runtime.tables import WHOLE

NAME = "audit/3"

ERA = 8_192
"""So many positions are an era. What each principal did is found by era: every principal of a batch has a place of its own in an index by
principal alone, and in time a page, which all had to be written for each batch (of 500 agents' bids that was a third of all rows' cost)."""

BEGUN, DONE, REFUSED, SUSPECTED = "begun", "done", "refused", "suspected"

audit = Table(
    "audit",
    MetaData(),
    Column("position", WHOLE, primary_key=True),
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
    text("action"),
    text("subject"),
    text("outcome"),
    text("code"),
    whole("count"),
    text("address"),
    text("user_agent"),
    text("request_id"),
    text("behalf"),
    Column("era", WHOLE, Computed(f"position / {ERA}", persisted=True)),
    Index("audit_by_age", "tenant_id", "position"),
    Index("audit_by_stream", "tenant_id", "stream", "position"),
    Index("audit_by_correlation", "tenant_id", "correlation", "position"),
    Index("audit_by_principal", "tenant_id", "era", "principal", "position"),
)
"""`command` names what was asked for, on its first event alone; `command_id` ties the others to it. `cause` is the id of the
command, or `@position` of the event, that led to it; `correlation` is shared by all that one message set off. A reason that tells of a
data subject stands in the record alone.

The columns from `action` on are of the trail's own records: what was done or tried, to whom, how that stands, how many requests it stands
for. All other events were done to their stream; what an administrative action led to has that action's `command_id` as its `cause`.
"""


def _index_where_there(name: str) -> Index:
    """Of the trail's own records alone: to write any other event costs nothing more."""
    there = audit.c[name].is_not(None)
    columns = (audit.c.tenant_id, audit.c[name], audit.c.position)
    return Index(f"audit_by_{name}", *columns, sqlite_where=there, postgresql_where=there)


INDEXES = tuple(map(_index_where_there, ("subject", "outcome", "behalf")))

OF_THE_TRAIL = frozenset(
    (ActionBegun, ActionEnded, RequestRefused, RequestsRefused, StrangersRefused, IntruderSuspected)
)
TABLES: tuple[Table, ...] = (audit,)

WHENCE = ("address", "user_agent", "request_id", "behalf", "reason")
"""What an action says of where it came from, and of why."""


ALIKE = ("tenant_id", "kind", "command")
OWN = (
    "position",
    "principal",
    "at",
    "recorded_at",
    "stream",
    "version",
    "reason",
    "command_id",
    "cause",
    "correlation",
)
"""What is said of every event: much of it the same for many events of a batch, and what is each one's own."""


def apply(recorded: Recorded) -> Sequence[Change]:
    values = dict(zip((*ALIKE, *OWN), (*_alike(recorded), *_own(recorded)), strict=True))
    if type(recorded.event) in OF_THE_TRAIL:
        values |= {"count": 1} | _trail(recorded.event)
    return [Insert(table=audit, values=values)]


def apply_all(batch: Sequence[Recorded]) -> Sequence[Change]:
    """Events of a kind go together; no row is ever changed, so that their order is of no matter."""
    changes: list[Change] = []
    rows_by_kind: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for recorded in batch:
        if type(recorded.event) in OF_THE_TRAIL:
            changes += apply(recorded)
            continue
        alike, own = _alike(recorded), _own(recorded)
        rows = rows_by_kind.get(alike)
        if rows is None:
            rows_by_kind[alike] = [own]
        else:
            rows.append(own)
    for alike, rows in rows_by_kind.items():
        values = dict(zip(ALIKE, alike, strict=True))
        changes.append(InsertMany(table=audit, values=values, columns=OWN, rows=rows))
    return changes


def _alike(recorded: Recorded) -> tuple[Any, ...]:
    command = recorded.meta.command
    return recorded.meta.tenant, recorded.kind, None if command is None else name_of(command.name)


def _own(recorded: Recorded) -> tuple[Any, ...]:
    meta, event = recorded.meta, recorded.event
    reason = getattr(event, "reason", None)
    return (
        recorded.position,
        meta.principal,
        meta.at,
        meta.recorded_at,
        recorded.stream,
        recorded.version,
        None if reason is None or is_personal(event, "reason") else reason,
        meta.id,
        meta.cause,
        meta.correlation,
    )


def _trail(event: Event) -> Row:
    """What a record of the trail itself says."""
    match event:
        case ActionBegun():
            return {"action": event.action, "subject": event.subject, "outcome": BEGUN, **_whence(event.origin)}
        case ActionEnded():
            ended = {"action": event.action, "subject": event.subject, "outcome": event.outcome.value}
            return ended | {"code": event.code or None}
        case RequestRefused():
            origin = event.refusal.origin
            refused = {"action": origin.route, "subject": None, "outcome": REFUSED, "code": event.refusal.code}
            return refused | {"at": event.refusal.at} | _whence(origin)
        case RequestsRefused():
            return {"action": "several", "subject": None, "outcome": REFUSED, "count": event.counted.count}
        case StrangersRefused():
            strangers = {"action": "sign in", "subject": None, "outcome": REFUSED, "count": event.counted.count}
            return strangers | {"address": event.address}
        case IntruderSuspected():
            suspected = {"action": event.pattern.value, "subject": event.source, "outcome": SUSPECTED}
            return suspected | {"count": event.count}
    raise TypeError(event)


def _whence(origin: Origin) -> Row:
    return {
        "address": origin.address or None,
        "user_agent": origin.user_agent or None,
        "request_id": origin.request_id or None,
        "behalf": origin.behalf or None,
        "reason": origin.reason or None,
    }


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
    return _newest(connection, where, before=before, limit=limit)


def _newest(
    connection: Connection,
    where: Where,
    *,
    before: int | None,
    limit: int,
    bounds: Sequence[ColumnElement[bool]] = (),
    are_few: bool = False,
) -> list[Row]:
    """A page; of a principal, from one era after the other until it is full.

    Where the bounds lead to few rows, the principal's are looked for among these: to find those few anew in each era would take as many
    times as long as there are eras.
    """
    kept_to = schema.Bounds(bounds)
    page = partial(schema.newest_rows, connection, audit, by="position", before=before, bounds=kept_to)
    if where["principal"] is None or are_few:
        return page(where, limit=limit)
    rows: list[Row] = []
    most = min(limit, schema.LIMIT_MAX)
    for era in _eras(connection, where, before):
        if len(rows) >= most:
            break
        rows += page({**where, "era": era}, limit=most - len(rows))
    return rows


def _eras(connection: Connection, where: Where, before: int | None) -> Sequence[int]:
    """In which eras a principal did something, the newest first."""
    of_tenant = audit.c.tenant_id == where["tenant_id"]
    newest = connection.execute(select(func.max(audit.c.position)).where(of_tenant)).scalar() or 0
    last = newest if before is None else min(newest, before - 1)
    eras = select(bindparam("last", last // ERA, WHOLE).label("era")).cte("eras", recursive=True)
    eras = eras.union_all(select(eras.c.era - 1).where(eras.c.era > 0))
    was_there = exists().where(of_tenant, audit.c.era == eras.c.era, audit.c.principal == where["principal"])
    return connection.execute(select(eras.c.era).where(was_there).order_by(eras.c.era.desc())).scalars().all()


def trail(
    connection: Connection,
    tenant_id: str,
    *,
    principal: str | None = None,
    subject: str | None = None,
    outcome: str | None = None,
    kind: str | None = None,
    behalf: str | None = None,
    since: float | None = None,
    until: float | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Row]:
    """A page of who did what to whom, the last first. Times are compared with when it happened, `until` not included.

    What an administrative action led to is shown with the action's address, reason and on whose behalf it was.
    """
    where = {"tenant_id": tenant_id, "principal": principal, "kind": kind}
    bounds: list[ColumnElement[bool]] = []
    if subject is not None:
        to_stream = and_(audit.c.stream == subject, audit.c.outcome.is_(None))
        bounds.append(_either(tenant_id, audit.c.subject == subject, to_stream))
    if outcome is not None:
        bounds.append(or_(audit.c.outcome == outcome, *([audit.c.outcome.is_(None)] if outcome == DONE else [])))
    if since is not None:
        bounds.append(audit.c.at >= since)
    if until is not None:
        bounds.append(audit.c.at < until)
    if behalf is not None:
        said = and_(audit.c.tenant_id == tenant_id, audit.c.behalf == behalf)
        chains, begun = (select(column).where(said) for column in (audit.c.correlation, audit.c.command_id))
        led_to = and_(audit.c.correlation.in_(chains), audit.c.cause.in_(begun))
        bounds.append(_either(tenant_id, audit.c.behalf == behalf, led_to))
    are_few = subject is not None or behalf is not None
    page = _newest(connection, where, before=before, limit=limit, bounds=bounds, are_few=are_few)
    return _with_origins(connection, tenant_id, page)


def _either(tenant_id: str, *cases: ColumnElement[bool]) -> ColumnElement[bool]:
    """Rows of one case or another, each found by its own index: of a plain `or` the database would look through all of the tenant."""
    chosen = [select(audit.c.position).where(audit.c.tenant_id == tenant_id, case) for case in cases]
    return audit.c.position.in_(union_all(*chosen))


def _with_origins(connection: Connection, tenant_id: str, page: Sequence[Row]) -> list[Row]:
    """The page with what the actions say of where they came from: those that rows were caused by, and those that rows end."""
    causes = {row["cause"]: row["correlation"] for row in page if row["cause"] and not row["cause"].startswith("@")}
    ended = {row["stream"] for row in page if row["kind"].startswith("action.")}
    caused = and_(audit.c.correlation.in_(causes.values()), audit.c.command_id.in_(causes))
    columns = [audit.c[name] for name in ("command_id", "stream", *WHENCE)]
    chosen = select(*columns).where(
        audit.c.tenant_id == tenant_id, or_(caused, audit.c.stream.in_(ended)), audit.c.outcome == BEGUN
    )
    found = connection.execute(chosen).mappings().all() if causes or ended else []
    origins = {row["command_id"]: row for row in found} | {row["stream"]: row for row in found}
    return [_joined(_whole(row), origins.get(row["cause"]) or origins.get(row["stream"])) for row in page]


def _whole(row: Row) -> Row:
    """The row of an event that is not of the trail: it was done, and to its stream."""
    if row["outcome"] is not None:
        return row
    return row | {"action": row["kind"], "subject": row["stream"], "outcome": DONE, "count": 1}


def _joined(row: Row, origin: Mapping[Any, Any] | None) -> Row:
    if origin is None:
        return row
    return row | {name: origin[name] for name in WHENCE if row[name] in (None, "")}


def count(connection: Connection, tenant_id: str, *, stream: str | None = None, kind: str | None = None) -> int:
    return schema.count_rows(connection, audit, {"tenant_id": tenant_id, "stream": stream, "kind": kind})


def count_by_kind(connection: Connection, tenant_id: str) -> dict[str, int]:
    return schema.count_rows_by(connection, audit, "kind", {"tenant_id": tenant_id})


def related(connection: Connection, tenant_id: str, correlation: str, limit: int) -> list[int]:
    """The positions of the first events that one message set off, in order."""
    chosen = select(audit.c.position).where(audit.c.tenant_id == tenant_id, audit.c.correlation == correlation)
    return list(connection.execute(chosen.order_by(audit.c.position).limit(limit)).scalars())

"""What all tables have in common: how columns are made, how rows are found, paged and given out.

Times are seconds since the epoch, enums stand as their values, structures as JSON text with sorted keys. Rows are found by
tenant and key alone, so that what belongs to others looks like what does not exist. Pages go from the newest row to the
oldest by `first_position`, the position of the event that made the row: the last row's is the next page's `before`.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import (
    Column,
    Computed,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    bindparam,
    func,
    select,
)
from sqlalchemy.exc import MultipleResultsFound
from sqlalchemy.sql import ColumnElement, FromClause, Select

from runtime.prepared import Prepared
from runtime.records import Recorded

LIMIT_MAX = 500
"""How many rows a page holds at most; who asks for more gets as many."""

QUESTIONS_MAX = 512
"""Questions that are kept compiled: a table has a few, one for each way in which its rows are narrowed."""

BEFORE, LIMIT = "before_", "limit_"

Row = dict[str, Any]
Where = Mapping[str, str | int | None]


class JsonText(Text):
    """Text that holds JSON, decoded on its way out. It is written as text, since the engine hands values to drivers as they are."""


_encoder = msgspec.json.Encoder(order="deterministic")


def encoded(value: object) -> str:
    """The JSON text of a value: the same for equal values."""
    return _encoder.encode(value).decode()


def key(name: str) -> Column[Any]:
    return Column(name, Text, primary_key=True)


def text(name: str) -> Column[Any]:
    return Column(name, Text)


def number(name: str) -> Column[Any]:
    return Column(name, Float)


def whole(name: str, *, default: int | None = None) -> Column[Any]:
    return Column(name, Integer, default=default)


def document(name: str) -> Column[Any]:
    return Column(name, JsonText)


def also(name: str, column: str) -> Column[Any]:
    """Another name for a column, for those who ask in SQL: the database computes it, and routes don't show it."""
    return Column(name, Text, Computed(column))


def also_number(name: str, column: str) -> Column[Any]:
    """The same for a number."""
    return Column(name, Float, Computed(column))


def shown(source: Table) -> list[Column[Any]]:
    """The columns of a table but those that are other names for them."""
    return [column for column in source.columns if column.computed is None]


def table(name: str, *columns: Column[Any], paged_by: Sequence[str] = ()) -> Table:
    """A table of things that belong to a tenant, made and last changed by events at these positions.

    `paged_by` names the columns by which pages may be narrowed. Where there is a column `data_subject`, rows are found by it, too.
    """
    positions = (whole("first_position"), whole("last_position"))
    made = Table(name, MetaData(), key("tenant_id"), *columns, *positions)
    for column in ("", *paged_by):
        Index(f"{name}_by_{column or 'age'}", *filter(None, ("tenant_id", column, "first_position")), _table=made)
    if "data_subject" in made.c:
        subjects = made.c.data_subject != ""
        Index(
            f"{name}_by_subject",
            "tenant_id",
            "data_subject",
            _table=made,
            sqlite_where=subjects,
            postgresql_where=subjects,
        )
    return made


def of_subject(recorded: Recorded) -> dict[str, Any]:
    """Which rows an event tells of that names a data subject."""
    return {"tenant_id": recorded.meta.tenant, "data_subject": getattr(recorded.event, "data_subject", "")}


def find_row(connection: Connection, source: FromClause, where: Where) -> Row | None:
    """The one row of this key, or None."""
    asked = {name: value for name, value in where.items() if value is not None}
    found = _finding(source, tuple(asked)).rows(connection, asked)
    if len(found) > 1:
        raise MultipleResultsFound(f"{len(found)} rows of a key")
    return _plain(_names(source), _documents(source), found[0]) if found else None


@lru_cache(QUESTIONS_MAX)
def _finding(source: FromClause, names: tuple[str, ...]) -> Prepared:
    return Prepared(select(*_shown(source)).where(*(source.c[name] == bindparam(name) for name in names)))


def newest_rows(
    connection: Connection,
    source: FromClause,
    where: Where,
    *,
    before: int | None,
    limit: int,
    by: str = "first_position",
    without: Sequence[str] = (),
    bounds: Sequence[ColumnElement[bool]] = (),
) -> list[Row]:
    """A page of rows, newest first, narrowed to those whose columns have these values (None: any) and that keep to these bounds; some
    columns left out."""
    asked: dict[str, Any] = {name: value for name, value in where.items() if value is not None}
    wanted = (source, tuple(asked), before is not None, by, tuple(without))
    page = Prepared(_page(*wanted).where(*bounds)) if bounds else _paging(*wanted)
    asked |= {BEFORE: before, LIMIT: max(0, min(limit, LIMIT_MAX))}
    names, documents = _names(source, tuple(without)), _documents(source)
    return [_plain(names, documents, row) for row in page.rows(connection, asked)]


def _page(
    source: FromClause, names: tuple[str, ...], is_bounded: bool, by: str, without: tuple[str, ...]
) -> Select[Any]:
    columns = [column for column in _shown(source) if column.name not in without]
    chosen = select(*columns).where(*(source.c[name] == bindparam(name) for name in names))
    if is_bounded:
        chosen = chosen.where(source.c[by] < bindparam(BEFORE))
    return chosen.order_by(source.c[by].desc()).limit(bindparam(LIMIT, type_=Integer))


@lru_cache(QUESTIONS_MAX)
def _paging(*wanted: Any) -> Prepared:
    return Prepared(_page(*wanted))


def _shown(source: FromClause) -> list[Any]:
    return shown(source) if isinstance(source, Table) else list(source.c)


def count_rows(connection: Connection, source: FromClause, where: Where) -> int:
    """How many rows have these values in their columns (None: any)."""
    return connection.execute(select(func.count()).select_from(source).where(*_matches(source, where))).scalar_one()


def count_rows_by(connection: Connection, source: FromClause, column: str, where: Where) -> dict[str, int]:
    """How many rows there are for each value of a column."""
    chosen = select(source.c[column], func.count()).where(*_matches(source, where)).group_by(source.c[column])
    return dict(map(tuple, connection.execute(chosen.order_by(source.c[column]))))


def _matches(source: FromClause, where: Where) -> list[ColumnElement[bool]]:
    return [source.c[name] == value for name, value in where.items() if value is not None]


@lru_cache(QUESTIONS_MAX)
def _names(source: FromClause, without: tuple[str, ...] = ()) -> tuple[str, ...]:
    return tuple(column.name for column in _shown(source) if column.name not in without)


@lru_cache(QUESTIONS_MAX)
def _documents(source: FromClause) -> frozenset[str]:
    return frozenset(column.name for column in source.c if isinstance(column.type, JsonText))


def _plain(names: Sequence[str], documents: frozenset[str], values: Sequence[Any]) -> Row:
    """A row as JSON has it."""
    row = dict(zip(names, values, strict=True))
    for name in documents:
        if (text := row.get(name)) is not None:
            row[name] = msgspec.json.decode(text)
    return row

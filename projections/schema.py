"""What all tables have in common: how columns are made, how rows are found, paged and given out.

Times are seconds since the epoch, enums stand as their values, structures as JSON text with sorted keys. Rows are found by
tenant and key alone, so that what belongs to others looks like what does not exist. Pages go from the newest row to the
oldest by `first_position`, the position of the event that made the row: the last row's is the next page's `before`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from math import isfinite
from typing import Any, NamedTuple

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
    and_,
    bindparam,
    false,
    func,
    or_,
    select,
)
from sqlalchemy.exc import MultipleResultsFound
from sqlalchemy.sql import ColumnElement, FromClause, Select

from runtime.prepared import Prepared
from runtime.records import Recorded
from runtime.tables import WHOLE

LIMIT_MAX = 500
"""How many rows a page holds at most; who asks for more gets as many."""

QUESTIONS_MAX = 512
"""Questions that are kept compiled: a table has a few, one for each way in which its rows are narrowed."""

RANKINGS_MAX = 8
"""Texts that are kept of what is told twice: a batch has a few books of hundreds of bids, or many of a few, which are soon encoded."""

LIMIT, PAST = "limit_", "past_"

Row = dict[str, Any]
Where = Mapping[str, str | int | None]
Only = Collection[str] | None
"""The columns that are wanted; None: all."""

WHOLE_MAX = 2**63 - 1
POSITIONS = frozenset({"first_position", "last_position"})
"""What every row is read with, whatever is wanted of it."""


class Sortable(NamedTuple):
    """A column that pages may be sorted by; where it may be empty, rows without a value come last. One that `is_whole` has no number with
    a fraction, nor one past 64 bits, which PostgreSQL would not compare it with."""

    name: str
    may_be_empty: bool = False
    is_text: bool = False
    is_whole: bool = False

    def takes(self, value: object) -> bool:
        """Whether a row may have this here."""
        if value is None:
            return self.may_be_empty
        if self.is_text:
            return isinstance(value, str) and "\0" not in value
        if isinstance(value, float):
            return not self.is_whole and isfinite(value)
        return isinstance(value, int) and abs(value) <= WHOLE_MAX


BY_AGE = Sortable("first_position", is_whole=True)


class SortKey(NamedTuple):
    """A part of the order of a page."""

    column: Sortable
    descending: bool = False


NEWEST_FIRST = (SortKey(BY_AGE, descending=True),)


class JsonText(Text):
    """Text that holds JSON, decoded on its way out. It is written as text, since the engine hands values to drivers as they are."""


_encoder = msgspec.json.Encoder(order="deterministic")
_EMPTY: dict[type, str] = {tuple: "[]", list: "[]", dict: "{}"}


def encoded(value: object) -> str:
    """The JSON text of a value: the same for equal values. Most documents of a row are empty."""
    return _encoder.encode(value).decode() if value or type(value) not in _EMPTY else _EMPTY[type(value)]


class _Itself(NamedTuple):
    """A value that is equal to itself alone, however much is in it."""

    value: tuple[object, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def encoded_each(values: tuple[object, ...]) -> Sequence[str]:
    """The JSON text of each. Those of the last few are kept: a book's ranking is told in two tables, bid by bid and as a whole."""
    return _encoded_each(_Itself(values))


@lru_cache(RANKINGS_MAX)
def _encoded_each(values: _Itself) -> Sequence[str]:
    return tuple(map(encoded, values.value))


def encoded_in_all(values: tuple[object, ...]) -> str:
    """The JSON text of all, as `encoded` has it."""
    return f"[{','.join(encoded_each(values))}]"


def key(name: str) -> Column[Any]:
    return Column(name, Text, primary_key=True)


def text(name: str) -> Column[Any]:
    return Column(name, Text)


def number(name: str) -> Column[Any]:
    return Column(name, Float)


def whole(name: str, *, default: int | None = None) -> Column[Any]:
    return Column(name, WHOLE, default=default)


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


def table(name: str, *columns: Column[Any], paged_by: Sequence[str] = (), is_paged_whole: bool = True) -> Table:
    """A table of things that belong to a tenant, made and last changed by events at these positions.

    `paged_by` names the columns by which pages may be narrowed; where they always are, the table is not `is_paged_whole`, which saves an
    index. Where there is a column `data_subject`, rows are found by it, too.
    """
    positions = (whole("first_position"), whole("last_position"))
    made = Table(name, MetaData(), key("tenant_id"), *columns, *positions)
    for column in (*([""] if is_paged_whole else []), *paged_by):
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


def find_row(connection: Connection, source: FromClause, where: Where, *, only: Only = None) -> Row | None:
    """The one row of this key, or None."""
    asked = {name: value for name, value in where.items() if value is not None}
    wanted = None if only is None else frozenset(only)
    found = _finding(source, tuple(asked), wanted).rows(connection, asked)
    if len(found) > 1:
        raise MultipleResultsFound(f"{len(found)} rows of a key")
    return _plain(_names(source, wanted), _documents(source), found[0]) if found else None


@lru_cache(QUESTIONS_MAX)
def _finding(source: FromClause, names: tuple[str, ...], only: frozenset[str] | None) -> Prepared:
    return Prepared(select(*_chosen(source, only)).where(*(source.c[name] == bindparam(name) for name in names)))


class Bounds:
    """What the rows of a question keep to, whatever its values are: so all of its pages are compiled once."""

    def __init__(self, bounds: Sequence[ColumnElement[bool]] = ()) -> None:
        self._bounds = bounds
        self._pages: dict[tuple[Any, ...], Prepared] = {}

    def paging(self, *shape: Any) -> Prepared:
        """The question for pages of this shape."""
        if not self._bounds:
            return _paging(*shape)
        page = self._pages.get(shape)
        if page is None:
            page = self._pages[shape] = Prepared(_select(*shape).where(*self._bounds))
        return page


UNBOUND = Bounds()


def newest_rows(
    connection: Connection,
    source: FromClause,
    where: Where,
    *,
    before: int | None,
    limit: int,
    by: str = "first_position",
    without: Sequence[str] = (),
    bounds: Bounds = UNBOUND,
) -> list[Row]:
    """A page of rows, newest first, narrowed to those whose columns have these values (None: any) and that keep to these bounds; some
    columns left out."""
    keys, last = (SortKey(Sortable(by), descending=True),), None if before is None else [before]
    return _page(connection, source, where, keys, last, limit=limit, without=without, bounds=bounds)


def page_rows(
    connection: Connection,
    source: FromClause,
    where: Where,
    *,
    sort: Sequence[SortKey] = (),
    past: Sequence[Any] | None = None,
    limit: int = 100,
    only: Only = None,
    without: Collection[str] = (),
    bounds: Sequence[ColumnElement[bool]] = (),
) -> list[Row]:
    """A page of rows in an order (the newest first, where none is named), past the row that has these values in it, the last of them its
    first position: by that rows are told apart that are alike in all else."""
    keys = tuple(_whole(sort))
    wanted = None if only is None else frozenset({*only, *(key.column.name for key in keys)})
    last = None if past is None else [*past[: len(keys) - 1], past[-1]]
    kept_to = Bounds(bounds)
    return _page(connection, source, where, keys, last, wanted=wanted, limit=limit, without=without, bounds=kept_to)


def _page(
    connection: Connection,
    source: FromClause,
    where: Where,
    keys: tuple[SortKey, ...],
    last: Sequence[Any] | None,
    *,
    wanted: frozenset[str] | None = None,
    limit: int,
    without: Collection[str],
    bounds: Bounds,
) -> list[Row]:
    """The rows in this order past the one that has the values `last` in it."""
    asked: dict[str, Any] = {name: value for name, value in where.items() if value is not None}
    empty = None if last is None else tuple(value is None for value in last)
    shape = (source, tuple(asked), keys, empty, wanted, frozenset(without))
    page = bounds.paging(*shape)
    asked |= {f"{PAST}{place}": value for place, value in enumerate(last or ()) if value is not None}
    asked[LIMIT] = max(0, min(limit, LIMIT_MAX))
    names, documents = _names(source, wanted, frozenset(without)), _documents(source)
    return [_plain(names, documents, row) for row in page.rows(connection, asked)]


def _columns(source: FromClause, wanted: frozenset[str] | None, without: Collection[str]) -> list[Any]:
    return [column for column in _chosen(source, wanted) if column.name not in without]


def _select(
    source: FromClause,
    names: tuple[str, ...],
    keys: tuple[SortKey, ...],
    empty: tuple[bool, ...] | None,
    wanted: frozenset[str] | None,
    without: frozenset[str],
) -> Select[Any]:
    """`empty` says which of the values are none that the page before ended with; it is none where there is no page before."""
    chosen = select(*_columns(source, wanted, without)).where(*(source.c[name] == bindparam(name) for name in names))
    if empty is not None:
        last: list[Any] = [None if is_empty else bindparam(f"{PAST}{place}") for place, is_empty in enumerate(empty)]
        chosen = chosen.where(_past(source, keys, last))
    for key in keys:
        column = source.c[key.column.name]
        if key.column.may_be_empty:
            chosen = chosen.order_by(column.is_(None))
        chosen = chosen.order_by(column.desc() if key.descending else column.asc())
    return chosen.limit(bindparam(LIMIT, type_=Integer))


@lru_cache(QUESTIONS_MAX)
def _paging(*shape: Any) -> Prepared:
    return Prepared(_select(*shape))


def paged(source: FromClause, *, without: Collection[str] = ()) -> Callable[..., list[Row]]:
    """The question for a page of a tenant's rows that have these values in their columns (None: any); some columns left out."""

    def page(
        connection: Connection,
        tenant_id: str,
        *,
        sort: Sequence[SortKey] = (),
        past: Sequence[Any] | None = None,
        limit: int = 100,
        only: Only = None,
        **where: str | None,
    ) -> list[Row]:
        wanted = {"tenant_id": tenant_id, **where}
        return page_rows(connection, source, wanted, sort=sort, past=past, limit=limit, only=only, without=without)

    return page


def _whole(sort: Sequence[SortKey]) -> Sequence[SortKey]:
    """An order in which no two rows are alike: it ends with the rows' age, in the direction of what stands before it."""
    for index, key in enumerate(sort):
        if key.column == BY_AGE:
            return sort[: index + 1]
    return (*sort, SortKey(BY_AGE, sort[-1].descending)) if sort else NEWEST_FIRST


def _past(source: FromClause, keys: Sequence[SortKey], values: Sequence[Any]) -> ColumnElement[bool]:
    """What comes after a row with these values: alike up to one of the keys, and past it there."""
    alike: list[ColumnElement[bool]] = []
    ways: list[ColumnElement[bool]] = []
    for key, value in zip(keys, values, strict=True):
        column = source.c[key.column.name]
        if value is not None:
            beyond = column < value if key.descending else column > value
            ways.append(and_(*alike, or_(beyond, column.is_(None)) if key.column.may_be_empty else beyond))
        alike.append(column == value if value is not None else column.is_(None))
    return or_(false(), *ways)


def holding(column: ColumnElement[str], name: str) -> ColumnElement[bool]:
    """That a list of names, as JSON, holds one. It need not be quoted: names have no characters that JSON writes otherwise."""
    return func.replace(column, encoded(name), "") != column


def _chosen(source: FromClause, only: Only) -> list[Any]:
    return [column for column in _shown(source) if only is None or column.name in only or column.name in POSITIONS]


def _shown(source: FromClause) -> list[Any]:
    return shown(source) if isinstance(source, Table) else list(source.c)


def rows_among(
    connection: Connection, source: FromClause, bounds: Sequence[ColumnElement[bool]], *, without: Collection[str] = ()
) -> list[Row]:
    """The rows within these bounds, which name as many as they will: the question is not kept compiled."""
    left_out = frozenset(without)
    found = connection.execute(select(*_columns(source, None, left_out)).where(*bounds))
    names, documents = _names(source, None, left_out), _documents(source)
    return [_plain(names, documents, row) for row in found]


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
def _names(source: FromClause, wanted: frozenset[str] | None, without: frozenset[str] = frozenset()) -> tuple[str, ...]:
    return tuple(column.name for column in _columns(source, wanted, without))


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

"""Row changes in few statements: those of equal shape become one `executemany`, and no row sees them in another order.

One `execute` for each change costs about 50 µs, in a group about 3. The rule that makes grouping safe: two changes of a
table commute when they name different values for a part of the primary key, since no row can be touched by both. The
planner takes the part of the key that all changes of the batch name (when that is nothing, no change of the table is
moved), and lets a change join the first group of its shape before which everything of the same key stands. (To join the
newest such group makes as many groups as rows, when one shape comes twice in the life of a row.) Tables may therefore
carry no unique constraint besides their primary key and no foreign key, and no change may move a row to another key.
"""

import sqlite3
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    Column,
    Connection,
    Table,
    bindparam,
    delete,
    literal_column,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import ClauseElement

from runtime.many_rows import ROWS_AT_ONCE, insert_many, insert_rows, singly, write_many
from runtime.records import Add, AddMany, Change, Delete, Insert, InsertMany, Update, UpdateMany
from runtime.recordsets import packed, recordset
from runtime.tables import FaultyChange, defaults, key_columns, said, written_columns

INTEGER_MAX = 2**63
"""Past it databases add otherwise than Python does."""

TABLES_MAX = 1024

STATEMENTS_MAX = 4096
"""How many distinct statements are kept compiled; a projection has about one for each event that it knows."""

JOINS_IN_UPDATES = sqlite3.sqlite_version_info >= (3, 33)
"""Whether SQLite knows `UPDATE … FROM`; an older one updates row by row."""

Row = dict[str, Any]
_WHERE = "where_"


class Shape(NamedTuple):
    """What changes have in common that one statement can make: everything but the values. An insert's columns are those whose values are
    not what they are by default; none are named where each row may have others."""

    kind: type[Change]
    table: Table
    columns: tuple[str, ...]
    where: tuple[str, ...]


class Group(NamedTuple):
    """Changes of one shape, in order: the rows of one `executemany`."""

    shape: Shape
    changes: list[Change]


class _Place:
    """Where a table's changes stand: the groups of each shape, in order, and the last group that touched each key."""

    def __init__(self) -> None:
        self.groups: dict[Shape, list[int]] = {}
        self.last: dict[Any, int] = {}


class _Rows(NamedTuple):
    """What there is to know of a table to see that changes are of one row."""

    key: int
    key_of: Callable[[Row], Any]
    columns: frozenset[str]
    rest: frozenset[str]
    defaults: Row


class Merged(NamedTuple):
    """Changes of which those to one row became one; in `tangled` tables some are left that may touch the same row."""

    changes: list[Change]
    tangled: set[Table]


def merge(changes: Sequence[Change]) -> Merged:
    """Changes that do the same with fewer: those that name the same row by its whole key become one, at the place of the first.

    A row is written once for what a batch does to it, not once for each event. A change that may touch other rows of a table ends
    what is merged there before it; so does one that can't be carried out, which must fail here as it would alone.
    """
    merged: list[Change] = []
    open_rows: dict[Table, tuple[_Rows, dict[Any, int]]] = {}
    tangled: set[Table] = set()
    for change in changes:
        table = change.table
        known = open_rows.get(table)
        if known is None:
            known = open_rows[table] = (_rows_of(table), {})
        shown, rows = known
        key = _whole_key(change, shown)
        if key is None:
            tangled.add(table)
            rows.clear()
        else:
            at = rows.get(key)
            if at is not None:
                both = _both(merged[at], change)
                if both is not None:
                    merged[at] = both
                    continue
                tangled.add(table)
            rows[key] = len(merged)
        merged.append(change)
    return Merged(merged, tangled)


@lru_cache(TABLES_MAX)
def _rows_of(table: Table) -> _Rows:
    key, columns = key_columns(table), written_columns(table)
    names = frozenset(column.name for column in columns)
    return _Rows(len(key), itemgetter(*key), names, names - set(key), defaults(table))


def _whole_key(change: Change, rows: _Rows) -> Any:
    """The key of the one row that a change is about; None where it is about others too, or can't be carried out."""
    named = values = change.values
    if type(change) is Insert:
        if not rows.columns.issuperset(values):
            return None
    else:
        named = _where(change)
        if len(named) != rows.key or not rows.rest.issuperset(values):
            return None
    try:
        key = rows.key_of(named)
    except KeyError:
        return None
    return None if key is None or (rows.key > 1 and None in key) else key


def _both(first: Change, second: Change) -> Change | None:
    """One change that does what two do to a row, one after the other; None where there is none."""
    kind, was = type(second), type(first)
    if kind is Insert or kind is Delete:
        return second
    if was is Delete:
        return first
    if kind is Update and was is Insert:
        return Insert(table=first.table, values={**first.values, **second.values})
    if kind is Update and was is Update:
        return Update(table=first.table, values={**first.values, **second.values}, where=_where(first))
    if kind is Add and was is Add:
        return _added_twice(first, second)
    return _added(first, second) if was is Insert else None


def _added_twice(first: Change, second: Change) -> Change | None:
    """Whole numbers alone, since the order in which others are added shows in the sum."""
    if first.values.keys() != second.values.keys():
        return None
    values = {name: amount + second.values[name] for name, amount in first.values.items()}
    if not all(type(value) is int and abs(value) < INTEGER_MAX for value in values.values()):
        return None
    return Add(table=first.table, values=values, where=_where(first))


def _added(first: Change, second: Change) -> Change | None:
    """A row that is inserted with what is added to it then."""
    values, defaults = dict(first.values), _rows_of(first.table).defaults
    for name, amount in second.values.items():
        before = values.get(name, defaults[name])
        if not isinstance(before, int | float) or abs(before + amount) >= INTEGER_MAX:
            return None
        values[name] = before + amount
    return Insert(table=first.table, values=values)


def plan(changes: Sequence[Change], tangled: set[Table] | None = None) -> list[Group]:
    """Puts changes into groups that, carried out one after the other, do what the changes would one by one.

    Of a table that is not `tangled` each change is of another row, so that their order does not matter.
    """
    if tangled is not None:
        group_by_shape: dict[Any, Group] = {}
        rest: list[Change] = []
        for change in changes:
            table = change.table
            if table in tangled:
                rest.append(change)
                continue
            # What the shape says, without making one for each change.
            alike = table if type(change) is Insert else (type(change), table, *change.values, None, *_where(change))
            group = group_by_shape.get(alike)
            if group is None:
                group = group_by_shape[alike] = Group(_shape(change), [])
            group.changes.append(change)
        return [*group_by_shape.values(), *(plan(rest) if rest else ())]
    shapes = [_shape(change) for change in changes]
    key_by_shape = _keys(set(shapes))
    places = {shape.table: _Place() for shape in key_by_shape}
    groups: list[Group] = []
    for shape, change in zip(shapes, changes, strict=True):
        place = places[shape.table]
        key = key_by_shape[shape](change)
        same = place.groups.setdefault(shape, [])
        first = bisect_left(same, place.last.get(key, 0))
        if first == len(same):
            same.append(len(groups))
            groups.append(Group(shape, []))
        place.last[key] = same[first]
        groups[same[first]].changes.append(change)
    return groups


def _shape(change: Change) -> Shape:
    kind = type(change)
    if kind is Insert:
        return Shape(Insert, change.table, (), ())
    return Shape(kind, change.table, tuple(change.values), tuple(_where(change)))


def _where(change: Change) -> Row:
    named: Row = change.where  # type: ignore[attr-defined]  # an insert has none, and is never asked
    return named


def _keys(shapes: set[Shape]) -> dict[Shape, Callable[[Change], Any]]:
    """For each shape, what reads the part of the primary key that all shapes of the same table name."""
    named: dict[Table, set[str]] = {}
    for shape in shapes:
        columns = set(key_columns(shape.table))
        if shape.kind is not Insert:
            columns &= set(shape.where)
        named[shape.table] = named.get(shape.table, columns) & columns
    return {shape: _key_reader(shape, sorted(named[shape.table])) for shape in shapes}


def _key_reader(shape: Shape, key: list[str]) -> Callable[[Change], Any]:
    if not key:
        return lambda change: ()
    read = itemgetter(*key)
    return (lambda change: read(change.values)) if shape.kind is Insert else (lambda change: read(_where(change)))


def write(connection: Connection, changes: Sequence[Change]) -> None:
    """Carries out the changes in as few statements as their order allows. Raises FaultyChange or DBAPIError.

    They go to the driver as they are: SQLAlchemy's own way from a statement to `executemany` costs 3 µs a row more.
    Columns whose types convert values on their way in are therefore not for projections; `check` refuses them.
    """
    is_postgres = connection.dialect.name == "postgresql"
    for family, some in groupby(changes, _family):
        if family is InsertMany and not is_postgres:
            insert_rows(connection, [change for change in some if isinstance(change, InsertMany)])
        elif family is UpdateMany and not is_postgres:
            for change in some:
                _update_rows(connection, change)
        else:
            _write(connection, [one for change in some for one in singly(change)], is_postgres=is_postgres)


def _family(change: Change) -> type[Change]:
    """What it is written with. New rows go with others of their columns; updates that are too few for a statement go with single ones."""
    if type(change) is InsertMany:
        return InsertMany
    return UpdateMany if isinstance(change, UpdateMany) and len(change.rows) >= ROWS_AT_ONCE[-1] else Change


def _update_rows(connection: Connection, given: Change) -> None:
    assert isinstance(given, UpdateMany)
    dialect: Any = type(connection.dialect)
    shape = Shape(Add if isinstance(given, AddMany) else Update, given.table, given.columns, given.where)
    rows = write_many(connection, _joined(shape, dialect), given.rows) if JOINS_IN_UPDATES else given.rows
    _write(connection, list(singly(msgspec.structs.replace(given, rows=rows))), is_postgres=False)


def _write(connection: Connection, changes: Sequence[Change], *, is_postgres: bool) -> None:
    dialect: Any = type(connection.dialect)
    merged = merge(changes)
    for group in plan(*merged):
        if is_postgres and _write_at_once(connection, group):
            continue
        if not is_postgres and group.shape.table not in merged.tangled:
            write_alike = _WRITES_ALIKE.get(group.shape.kind)
            group = group if write_alike is None else write_alike(connection, group, dialect)
        text, parameters = _compiled(group.shape, dialect)
        rows = _inserted(group) if group.shape.kind is Insert else map(_matched, group.changes)
        given = [parameters(row) for row in rows]
        if not is_postgres and group.shape.kind is Insert:
            insert_many(connection, text, given)
        elif given:
            connection.exec_driver_sql(text, given)


def _insert_alike(connection: Connection, group: Group, dialect: Any) -> Group:
    """Inserts the rows that name the same columns as many others, and gives back the others.

    To hand SQLite what a column is by default costs as much as any other value, and of a new task nearly half of the columns are so.
    """
    by_columns: dict[tuple[str, ...], list[Change]] = {}
    for change in group.changes:
        by_columns.setdefault(tuple(change.values), []).append(change)
    rest: list[Change] = []
    for columns, alike in by_columns.items():
        whole = len(alike) - len(alike) % ROWS_AT_ONCE[-1]
        if whole:
            text, parameters = _compiled(group.shape._replace(columns=columns), dialect)
            insert_many(connection, text, [parameters(change.values) for change in alike[:whole]])
        rest += alike[whole:]
    return Group(group.shape, rest)


def _update_alike(connection: Connection, group: Group, dialect: Any) -> Group:
    """Updates as many rows in a statement as go in one, and gives back the others. Each is of another row: of two updates of the same row
    SQLite would carry out any one."""
    if not (JOINS_IN_UPDATES and group.shape.columns):
        return group
    text = _joined(group.shape, dialect)
    rows = [(*change.values.values(), *_where(change).values()) for change in group.changes]
    left = write_many(connection, text, rows)
    return Group(group.shape, group.changes[len(rows) - len(left) :])


_WRITES_ALIKE: dict[type[Change], Callable[[Connection, Group, Any], Group]] = {
    Insert: _insert_alike,
    Update: _update_alike,
    Add: _update_alike,
}


@lru_cache(STATEMENTS_MAX)
def _joined(shape: Shape, dialect: Any) -> str:
    """The SQL of an update whose values come as rows: first the columns', then those of the key."""
    statement(shape, dialect.name)  # raises FaultyChange
    quoted = dialect().identifier_preparer.quote
    table, columns, key = quoted(shape.table.name), [*map(quoted, shape.columns)], [*map(quoted, shape.where)]
    given = [f"given.column{number}" for number in range(1, 1 + len(columns) + len(key))]
    plus = [f"{table}.{name} + " if shape.kind is Add else "" for name in columns]
    values = ", ".join(f"{name} = {more}{value}" for name, more, value in zip(columns, plus, given, strict=False))
    matches = " AND ".join(f"{table}.{name} = {value}" for name, value in zip(key, given[len(columns) :], strict=True))
    marks = ", ".join("?" * len(given))
    return f"UPDATE {table} SET {values} FROM (VALUES ({marks})) AS given WHERE {matches}"


def _write_at_once(connection: Connection, group: Group) -> bool:
    """One statement for all rows; False where they have to go one by one."""
    kind, table, columns, where = group.shape
    if kind is Insert:
        columns = tuple(defaults(table))
    one = recordset(kind, table, columns, where)
    if one is None:
        return False
    rows = _inserted(group) if kind is Insert else ({**change.values, **_where(change)} for change in group.changes)
    text = packed(one, list(rows))
    if text is not None:
        connection.exec_driver_sql(one.text, (text,))
    return text is not None


@lru_cache(STATEMENTS_MAX)
def _compiled(shape: Shape, dialect: Any) -> tuple[str, Callable[[Row], Any]]:
    """Compiled once for all databases of a kind, which the class of their dialect says."""
    compiled = statement(shape, dialect.name).compile(dialect=dialect())
    order = getattr(compiled, "positiontup", None)
    return str(compiled), dict if order is None else _in_order(order)


def _in_order(names: list[str]) -> Callable[[Row], Any]:
    if len(names) < 2:
        return lambda row: tuple(row[name] for name in names)
    return itemgetter(*names)


def _inserted(group: Group) -> Iterator[Row]:
    """An insert replaces the whole row, so it names every column; one that is left out has its default, or nothing."""
    table = group.shape.table
    blank = defaults(table)
    columns = len(blank)
    for change in group.changes:
        row = blank | change.values
        if len(row) > columns:
            raise FaultyChange(f"{table.name}: no such columns: {sorted(change.values.keys() - blank.keys())}")
        yield row


def _matched(change: Change) -> Row:
    row = dict(change.values)
    for name, value in _where(change).items():
        if value is None:
            raise FaultyChange(f"{change.table.name}.{name}: nothing is equal to None")
        row[_WHERE + name] = value
    return row


def statement(shape: Shape, dialect: str) -> ClauseElement:
    """The SQL of a shape; `dialect` is `sqlite` or `postgresql`. Raises FaultyChange where the table lacks a column."""
    table = shape.table
    columns = defaults(table) if shape.kind is Insert else table.columns
    if missing := {*shape.columns, *shape.where} - set(columns.keys()):
        raise FaultyChange(f"{table.name}: no such columns: {sorted(missing)}")
    if shape.kind is Insert:
        return _upsert(table, dialect, shape.columns)
    if moved := set(shape.columns) & set(key_columns(table)):
        raise FaultyChange(f"{table.name}: a key never changes: {sorted(moved)}")
    matches = [table.c[name] == bindparam(_WHERE + name, type_=table.c[name].type) for name in shape.where]
    if shape.kind is Delete:
        return delete(table).where(*matches)
    return update(table).where(*matches).values({name: _assigned(shape, table.c[name]) for name in shape.columns})


def _assigned(shape: Shape, column: Column[Any]) -> Any:
    value = bindparam(column.name, type_=column.type)
    return column + value if shape.kind is Add else value


def _upsert(table: Table, dialect: str, given: Sequence[str]) -> ClauseElement:
    """Of a row all of whose columns are written: those that are `given`, or all if none are, and the others as they are by default."""
    insert = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    key, columns = key_columns(table), written_columns(table)
    rest = {column.name: insert.excluded[column.name] for column in columns if column.name not in key}
    insert = insert.values(
        {
            column.name: bindparam(column.name, type_=column.type)
            if column.name in given or not given
            else literal_column(said(column))
            for column in columns
        }
    )
    if not rest:
        return insert.on_conflict_do_nothing(index_elements=key)
    return insert.on_conflict_do_update(index_elements=key, set_=rest)

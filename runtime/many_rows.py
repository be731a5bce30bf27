"""Many rows in one statement of SQLite's, and new rows that come as tuples, whose columns are named once.

A change for each row, its key looked up to see whether another is of the same, and its values picked in the order of the statement cost as
much as SQLite takes for the row.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import sqlite

from runtime.records import Add, AddMany, Change, Insert, InsertMany, Update, UpdateMany
from runtime.tables import FaultyChange, key_columns, said, written_columns

ROWS_AT_ONCE = (128, 16)
"""SQLite's driver gives up the interpreter's lock at each statement, and at each row of `executemany`, and beside a busy event loop has to
fight for it each time. So as many go in one as fit: in two sizes, since each is another statement to prepare."""

VALUES_MAX = 30_000
"""SQLite takes 32,766 values in a statement."""

STATEMENTS_MAX = 1024
"""That are kept: a statement of 128 rows is some kilobytes of text."""

_VALUES = re.compile(r"(?<=VALUES )(\([?, \w.-]+\))")
_quote = sqlite.dialect().identifier_preparer.quote

Values = Sequence[Any]


def write_many(connection: Connection, text: str, rows: Sequence[Values]) -> Sequence[Values]:
    """Carries out a statement with a list of values for many rows at once; the rows that are too few for that are returned."""
    for size in ROWS_AT_ONCE:
        if len(rows) < size:
            continue
        at_once = min(size, VALUES_MAX // len(rows[0]))
        many, whole = _for_many(text, at_once), len(rows) - len(rows) % at_once
        for first in range(0, whole, at_once):
            connection.exec_driver_sql(many, tuple(chain.from_iterable(rows[first : first + at_once])))
        rows = rows[whole:]
    return rows


@lru_cache(STATEMENTS_MAX)
def _for_many(text: str, rows: int) -> str:
    head, values, rest = _VALUES.split(text, maxsplit=1)
    return head + ", ".join([values] * rows) + rest


def insert_many(connection: Connection, text: str, rows: Sequence[Values]) -> None:
    """Inserts many rows in each statement, and what is left over one by one."""
    rows = write_many(connection, text, rows)
    if rows:
        connection.exec_driver_sql(text, [tuple(row) for row in rows])


def singly(given: Change) -> Iterator[Change]:
    """A change for each row of those of many rows."""
    if isinstance(given, InsertMany):
        for row in given.rows:
            yield Insert(table=given.table, values=given.values | dict(zip(given.columns, row, strict=True)))
    elif isinstance(given, UpdateMany):
        kind, columns = Add if isinstance(given, AddMany) else Update, len(given.columns)
        for row in given.rows:
            values = dict(zip(given.columns, row[:columns], strict=True))
            where = dict(zip(given.where, row[columns:], strict=True))
            yield kind(table=given.table, values=values, where=where)
    else:
        yield given


def insert_rows(connection: Connection, several: Iterable[InsertMany]) -> None:
    """Inserts rows; those that are too few for a statement of their own go together with others of the same columns.

    What all rows of a statement have in common is handed to SQLite once: each value takes 60 ns. Raises FaultyChange.
    """
    few: dict[tuple[Table, tuple[str, ...]], list[Values]] = {}
    for given in several:
        rest = _insert_blocks(connection, given)
        if rest:
            same = tuple(given.values.values())
            whole = few.setdefault((given.table, (*given.values, *given.columns)), [])
            whole.extend((*same, *row) for row in rest)
    for (table, columns), rows in few.items():
        rest = _insert_blocks(connection, InsertMany(table=table, values={}, columns=columns, rows=rows))
        if rest:
            connection.exec_driver_sql(_insert(table, (), columns, 1), rest)


def _insert_blocks(connection: Connection, given: InsertMany) -> list[Values]:
    """Inserts as many rows as fill statements, and returns the others."""
    same, names, rows = tuple(given.values.values()), tuple(given.values), list(given.rows)
    for size in ROWS_AT_ONCE:
        at_once = min(size, VALUES_MAX // len(given.columns))
        whole = len(rows) - len(rows) % at_once
        for first in range(0, whole, at_once):
            text = _insert(given.table, names, given.columns, at_once)
            own = chain.from_iterable(rows[first : first + at_once])
            connection.exec_driver_sql(text, (*same, *own))
        rows = rows[whole:]
    return rows


@lru_cache(STATEMENTS_MAX)
def _insert(table: Table, same: tuple[str, ...], columns: tuple[str, ...], rows: int) -> str:
    """The SQL of so many rows, whose values are those of the columns `same`, once, then those of `columns` for each row."""
    given, written = (*same, *columns), written_columns(table)
    names = [column.name for column in written]
    if sorted(given) != sorted(set(given).intersection(names)):
        raise FaultyChange(f"{table.name}: no such columns, or some twice: {sorted(given)}")
    others = [column for column in written if column.name not in given]
    listed = ", ".join(map(_quote, (*given, *(column.name for column in others))))
    # SQLite looks through all numbered values for each: only those that are shared have numbers.
    shared = [f"?{number}" for number in range(1, 1 + len(same))]
    row = ", ".join((*shared, *("?" * len(columns)), *map(said, others)))
    values = ", ".join([f"({row})"] * rows)
    key = key_columns(table)
    sets = ", ".join(f"{_quote(name)} = excluded.{_quote(name)}" for name in names if name not in key)
    again = f"UPDATE SET {sets}" if sets else "NOTHING"
    return (
        f"INSERT INTO {_quote(table.name)} ({listed}) VALUES {values} "
        f"ON CONFLICT ({', '.join(map(_quote, key))}) DO {again}"
    )

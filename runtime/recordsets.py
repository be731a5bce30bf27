"""Row changes as PostgreSQL takes them fastest: all rows of a group in one statement, as JSON that the server reads as a table.

Row by row, each costs 40 µs on this side and as much on the server's; in one statement both cost a quarter. What can't be said so
(bytes, numbers that are not finite, a row that a group changes twice, changes that name no whole key) goes row by row, as with SQLite.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Float, Integer, LargeBinary, Table
from sqlalchemy.dialects import postgresql

from runtime.records import Add, Change, Delete, Insert

STATEMENTS_MAX = 4096
_encode = msgspec.json.Encoder().encode
_dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
_quote = _dialect.identifier_preparer.quote


class Recordset(NamedTuple):
    """A statement that takes rows as one JSON text, `%s`; which of their values are floats; and what reads a row's key."""

    text: str
    floats: tuple[str, ...]
    key_of: Callable[[dict[str, Any]], Any]


@lru_cache(STATEMENTS_MAX)
def recordset(kind: type[Change], table: Table, columns: tuple[str, ...], where: tuple[str, ...]) -> Recordset | None:
    """The statement of changes of one shape; None where they have to go row by row. `columns` are all that is written."""
    key = tuple(column.name for column in table.primary_key)
    named = key if kind is Insert else where
    used = columns if kind is Insert else (*columns, *where)
    if set(named) != set(key) or any(isinstance(table.c[name].type, LargeBinary) for name in used):
        return None
    rows = f"json_to_recordset(%s::json) AS new ({', '.join(_typed(table, name, key) for name in used)})"
    floats = tuple(name for name in used if isinstance(table.c[name].type, Float))
    return Recordset(_text(kind, table, columns, key, rows), floats, itemgetter(*key))


def _typed(table: Table, name: str, key: Sequence[str]) -> str:
    """A key is compared as its column's own type, by its index; other whole numbers may come as floats, and are assigned."""
    kind = table.c[name].type
    whole = isinstance(kind, Integer) and name not in key
    return f"{_quote(name)} {'numeric' if whole else kind.compile(_dialect)}"


def _text(kind: type[Change], table: Table, columns: Sequence[str], key: Sequence[str], rows: str) -> str:
    name = _quote(table.name)
    same = " AND ".join(f"old.{_quote(one)} = new.{_quote(one)}" for one in key)
    if kind is Delete:
        return f"DELETE FROM {name} AS old USING {rows} WHERE {same}"
    if kind is not Insert:
        before = "old.{0} + " if kind is Add else ""
        sets = ", ".join(f"{_quote(one)} = {before.format(_quote(one))}new.{_quote(one)}" for one in columns)
        return f"UPDATE {name} AS old SET {sets} FROM {rows} WHERE {same}"
    listed, rest = ", ".join(map(_quote, columns)), [_quote(one) for one in columns if one not in key]
    sets = ", ".join(f"{one} = excluded.{one}" for one in rest)
    again = f"DO UPDATE SET {sets}" if rest else "DO NOTHING"
    return (
        f"INSERT INTO {name} ({listed}) SELECT {listed} FROM {rows} ON CONFLICT ({', '.join(map(_quote, key))}) {again}"
    )


def packed(one: Recordset, rows: Sequence[dict[str, Any]]) -> str | None:
    """The rows as one JSON text; None where they have to go one by one."""
    if len(set(map(one.key_of, rows))) < len(rows):
        return None
    for name in one.floats:
        if not math.isfinite(sum(row[name] or 0.0 for row in rows)):
            return None
    return _encode(rows).decode()

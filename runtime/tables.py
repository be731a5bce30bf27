"""Tables of read models as those see them who write them: which columns are written, and what each is by default."""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, LargeBinary, String, Table
from sqlalchemy.schema import UniqueConstraint

PLAIN = (String, Integer, Float, Boolean, LargeBinary)
"""The column types (and those derived from them, such as Text) that every driver takes as Python has them."""

WHOLE = BigInteger().with_variant(Integer, "sqlite")
"""Whole numbers below 2**63. PostgreSQL's integers end at 2**31, which half of all seeds and the work of many a solve are past; SQLite's do
not, and it finds a row at once by a key of no other type."""


class FaultyChange(Exception):
    """A change that no table can carry out: a mistake of the projection that made it."""


def key_columns(table: Table) -> list[str]:
    return [column.name for column in table.primary_key]


def written_columns(table: Table) -> list[Column[Any]]:
    """Those that the database does not compute."""
    return [column for column in table.columns if column.computed is None]


def defaults(table: Table) -> dict[str, Any]:
    """All that is written of a row of which nothing is said."""
    return {column.name: getattr(column.default, "arg", None) for column in written_columns(table)}


def said(column: Column[Any]) -> str:
    """In SQL, what a column holds by default: a number, or nothing."""
    default = getattr(column.default, "arg", None)
    return "NULL" if default is None else repr(default)


def check(table: Table) -> None:
    """Refuses a table on which grouping would not be safe. Raises FaultyChange."""
    unique = [str(index.name) for index in table.indexes if index.unique]
    unique += [str(constraint.name) for constraint in table.constraints if isinstance(constraint, UniqueConstraint)]
    converted = [column.name for column in table.columns if not isinstance(column.type, PLAIN)]
    worded = [column.name for column in table.columns if not isinstance(getattr(column.default, "arg", 0), int | float)]
    faults = {
        "no primary key": not table.primary_key.columns,
        f"unique besides its key: {unique}": bool(unique),
        f"foreign keys: {len(table.foreign_keys)}": bool(table.foreign_keys),
        f"types that convert values: {converted}": bool(converted),
        f"defaults that are no numbers: {worded}": bool(worded),
    }
    if any(faults.values()):
        raise FaultyChange(f"{table.name}: {'; '.join(fault for fault, holds in faults.items() if holds)}")

"""Row changes do on PostgreSQL, where a group goes as one statement, what they do on SQLite row by row."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    create_engine,
    select,
)

from benchmarks.postgres_server import Server
from runtime.changes import write
from runtime.read_models import open_database
from runtime.records import Insert, Update
from tests.contract.places import make_database
from tests.runtime.test_changes import batches, metadata, rooms, shelves

odd = Table(
    "odd",
    metadata.__class__(),
    Column("key", Text, primary_key=True),
    Column("number", Float),
    Column("bytes", LargeBinary),
)
wide = Table(
    "wide", MetaData(), Column("key", Text, primary_key=True), Column("number", Float), Column("whole", Integer)
)


@pytest.fixture
def engine(server: Server, fresh_name: str) -> Iterator[Engine]:
    engine = open_database(make_database(server.address, fresh_name), connections_max=1)
    with engine.begin() as connection:
        for table in (shelves, rooms, odd, wide):
            table.create(connection)
    yield engine
    engine.dispose()


def rows_of(connection: Connection, *tables: Table) -> list[list[tuple[Any, ...]]]:
    return [sorted(map(tuple, connection.execute(select(table)))) for table in tables]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(batches)
def test_changes_leave_on_postgres_the_rows_that_they_leave_on_sqlite(engine: Engine, changes: list[Any]) -> None:
    other = create_engine("sqlite://")
    with engine.begin() as postgres, other.begin() as sqlite:
        metadata.create_all(sqlite)
        write(sqlite, changes)
        write(postgres, changes)
        assert rows_of(postgres, shelves, rooms) == rows_of(sqlite, shelves, rooms)
        postgres.rollback()
    other.dispose()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
        st.tuples(st.none() | st.floats(allow_nan=False), st.none() | st.integers(-(2**31), 2**31 - 1)),
        max_size=8,
    )
)
def test_any_text_and_any_number_comes_back_as_it_went(engine: Engine, said: dict[str, tuple[float, int]]) -> None:
    with engine.begin() as connection:
        write(
            connection,
            [Insert(table=wide, values={"key": key, "number": n, "whole": w}) for key, (n, w) in said.items()],
        )
        found = {key: (n, w) for key, n, w in connection.execute(select(wide))}
        assert found == said
        write(
            connection, [Update(table=wide, values={"number": n}, where={"key": key}) for key, (n, _) in said.items()]
        )
        assert {key: (n, w) for key, n, w in connection.execute(select(wide))} == said
        connection.rollback()


def test_bytes_go_row_by_row(engine: Engine) -> None:
    with engine.begin() as connection:
        write(connection, [Insert(table=odd, values={"key": key, "bytes": key.encode()}) for key in ("a", "b")])
        assert rows_of(connection, odd) == [[("a", None, b"a"), ("b", None, b"b")]]

"""Grouped row changes do what the same changes do one by one."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Connection, Float, ForeignKey, Integer, MetaData, Table, Text, create_engine, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import JSON

from runtime.changes import Group, Shape, plan, statement, write
from runtime.many_rows import ROWS_AT_ONCE
from runtime.records import Add, AddMany, Change, Delete, Insert, InsertMany, Update, UpdateMany
from runtime.tables import FaultyChange, check

metadata = MetaData()
shelves = Table(
    "shelves",
    metadata,
    Column("room", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("label", Text),
    Column("books", Integer, default=0),
    Column("weight", Float, default=0.5),
)
rooms = Table("rooms", metadata, Column("room", Text, primary_key=True))

room = st.sampled_from("ab")
number = st.integers(0, 2)
where = st.fixed_dictionaries({}, optional={"room": room, "number": number, "label": st.sampled_from("xyz")})
some_values = st.fixed_dictionaries({}, optional={"label": st.sampled_from("xyz"), "books": st.integers(0, 9)})
values = some_values.filter(bool)
whole_key = st.fixed_dictionaries({"room": room, "number": number})
inserts = st.builds(lambda key, rest: Insert(table=shelves, values=key | rest), whole_key, some_values)
changes = st.one_of(
    inserts,
    inserts,
    st.builds(lambda values, where: Update(table=shelves, values=values, where=where), values, whole_key | where),
    st.builds(lambda n, where: Add(table=shelves, values={"books": n}, where=where), number, whole_key | where),
    st.builds(lambda where: Delete(table=shelves, values={}, where=where), whole_key | where),
    st.builds(lambda room: Insert(table=rooms, values={"room": room}), room),
)

many_inserts = st.builds(
    lambda room, books, row_by_number: InsertMany(
        table=shelves,
        values={"room": room, "books": books},
        columns=("label", "number"),
        rows=[(label, number) for number, label in row_by_number.items()],
    ),
    room,
    number,
    st.dictionaries(number, st.sampled_from("xyz")),
)
many_adds = st.builds(
    lambda books_by_key: AddMany(
        table=shelves,
        values={},
        columns=("books", "weight"),
        where=("room", "number"),
        rows=[(books, 0.25, *key) for key, books in books_by_key.items()],
    ),
    st.dictionaries(st.tuples(room, number), st.integers(-5, 5)),
)
many_updates = st.builds(
    lambda label_by_key: UpdateMany(
        table=shelves,
        values={},
        columns=("label",),
        where=("number", "room"),
        rows=[(label, number, room) for (room, number), label in label_by_key.items()],
    ),
    st.dictionaries(st.tuples(room, number), st.sampled_from("xyz")),
)
many = many_inserts | many_adds | many_updates
batches = st.lists(changes, max_size=30) | st.lists(st.tuples(changes, many), max_size=10).map(
    lambda pairs: [change for pair in pairs for change in pair]
)


def one_by_one(connection: Connection, changes: Sequence[Change]) -> None:
    """The slow twin: each change by itself, in order, in SQLAlchemy's plainest way."""
    for change in changes:
        table: Table = change.table
        match change:
            case InsertMany():
                own = [dict(zip(change.columns, row, strict=True)) for row in change.rows]
                one_by_one(connection, [Insert(table=table, values=change.values | values) for values in own])
            case UpdateMany():
                for row in change.rows:
                    said = dict(zip((*change.columns, *change.where), row, strict=True))
                    values = {name: said[name] for name in change.columns}
                    where = {name: said[name] for name in change.where}
                    kind = Add if isinstance(change, AddMany) else Update
                    one_by_one(connection, [kind(table=table, values=values, where=where)])
            case Insert():
                key = [table.c[column.name] == change.values[column.name] for column in table.primary_key]
                connection.execute(table.delete().where(*key))
                connection.execute(table.insert().values(change.values))
            case Update():
                matches = [table.c[name] == value for name, value in change.where.items()]
                connection.execute(table.update().where(*matches).values(change.values))
            case Add():
                matches = [table.c[name] == value for name, value in change.where.items()]
                added = {name: table.c[name] + value for name, value in change.values.items()}
                connection.execute(table.update().where(*matches).values(added))
            case Delete():
                matches = [table.c[name] == value for name, value in change.where.items()]
                connection.execute(table.delete().where(*matches))


def rows_after(write, changes: Sequence[Change]) -> list[list[tuple[Any, ...]]]:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        metadata.create_all(connection)
        write(connection, changes)
        found = [sorted(map(tuple, connection.execute(select(table)))) for table in (shelves, rooms)]
    engine.dispose()
    return found


@given(batches)
def test_grouped_changes_leave_the_rows_that_single_ones_leave(changes):
    assert rows_after(write, changes) == rows_after(one_by_one, changes)


@given(st.lists(changes, max_size=30))
def test_no_change_is_lost_or_invented(changes):
    planned = [change for group in plan(changes) for change in group.changes]
    assert sorted(map(id, planned)) == sorted(map(id, changes))


def test_interleaved_rows_need_only_as_many_statements_as_one_row():
    many = [
        change
        for n in range(100)
        for change in (
            Insert(table=shelves, values={"room": "a", "number": n}),
            Add(table=shelves, values={"books": 2}, where={"room": "a", "number": n}),
            Update(table=shelves, values={"label": "x"}, where={"room": "a", "number": n}),
            Add(table=shelves, values={"books": 3}, where={"room": "a", "number": n}),
        )
    ]
    assert [(group.shape.kind, len(group.changes)) for group in plan(many)] == [
        (Insert, 100),
        (Add, 100),
        (Update, 100),
        (Add, 100),
    ]


def test_changes_of_whole_rooms_stay_in_order_with_those_of_their_shelves_alone():
    placed = [Insert(table=shelves, values={"room": room, "number": 1}) for room in "ab"]
    emptied = [Update(table=shelves, values={"label": "x"}, where={"room": room}) for room in "ab"]
    mixed = [placed[0], emptied[0], placed[1], emptied[1]]
    assert [group.changes for group in plan(mixed)] == [placed, emptied]


@pytest.mark.parametrize(
    "change, fault",
    [
        (Insert(table=rooms, values={"room": "a", "size": 1}), r"rooms: no such columns: \['size'\]"),
        (Update(table=shelves, values={"sise": 1}, where={"room": "a"}), r"shelves: no such columns: \['sise'\]"),
        (
            Update(table=shelves, values={"number": 1}, where={"room": "a"}),
            r"shelves: a key never changes: \['number'\]",
        ),
        (Delete(table=shelves, values={}, where={"room": None}), r"shelves.room: nothing is equal to None"),
        (
            InsertMany(table=rooms, values={"size": 1}, columns=("room",), rows=[("a",)]),
            r"rooms: no such columns, or some twice: \['room', 'size'\]",
        ),
        (
            InsertMany(table=shelves, values={"room": "a"}, columns=("number", "room"), rows=[(1, "b")]),
            r"shelves: no such columns, or some twice: \['number', 'room', 'room'\]",
        ),
        (
            AddMany(table=rooms, values={}, columns=("size",), where=("room",), rows=[(1, "a")] * 16),
            r"rooms: no such columns: \['size'\]",
        ),
    ],
)
def test_a_change_that_cannot_be_carried_out_is_named(change, fault):
    with pytest.raises(FaultyChange, match=fault):
        rows_after(write, [change])


@pytest.mark.parametrize(
    "columns, fault",
    [
        ([Column("a", Text)], "no primary key"),
        ([Column("a", Text, primary_key=True), Column("b", Text, unique=True)], "unique besides its key"),
        ([Column("a", Text, ForeignKey("rooms.room"), primary_key=True)], "foreign keys: 1"),
        ([Column("a", Text, primary_key=True), Column("b", JSON)], r"types that convert values: \['b'\]"),
    ],
)
def test_a_table_on_which_grouping_is_unsafe_is_refused(columns, fault):
    with pytest.raises(FaultyChange, match=fault):
        check(Table("faulty", MetaData(), *columns))


def test_every_statement_can_be_said_to_postgresql_as_well():
    group = Group(Shape(Insert, shelves, (), ()), [])
    said = str(statement(group.shape, "postgresql").compile(dialect=postgresql.dialect()))
    assert "ON CONFLICT (room, number) DO UPDATE SET label = excluded.label" in said
    said = str(
        statement(Shape(Add, shelves, ("books",), ("room",)), "postgresql").compile(dialect=postgresql.dialect())
    )
    assert (
        said
        == "UPDATE shelves SET books=(shelves.books + %(books)s::INTEGER) WHERE shelves.room = %(where_room)s::VARCHAR"
    )


MANY, FEW = ROWS_AT_ONCE


@pytest.mark.parametrize("count", [FEW - 1, FEW, MANY - 1, MANY, MANY + 3 * FEW + 1])
def test_rows_that_are_inserted_many_at_once_are_those_that_were_meant(count: int) -> None:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    shelved = [Insert(table=shelves, values={"room": "a", "number": n, "label": f"{n}"}) for n in range(count)]
    with engine.begin() as connection:
        write(connection, [*shelved, *(Insert(table=rooms, values={"room": f"{n % 7}"}) for n in range(count))])
        assert connection.execute(select(shelves.c.number, shelves.c.label, shelves.c.books)).all() == [
            (n, f"{n}", 0) for n in range(count)
        ]
        assert len(connection.execute(select(rooms)).all()) == min(count, 7)


@pytest.mark.parametrize("counts", [[FEW - 1], [FEW], [MANY + FEW + 1], [3] * FEW, [MANY, 5, FEW, 2 * FEW - 1]])
def test_rows_that_come_together_are_those_that_were_meant(counts):
    whole = [
        InsertMany(
            table=shelves,
            values={"weight": float(count), "room": f"{place}"},
            columns=("label", "number"),
            rows=[(f"{number}", number) for number in range(count)],
        )
        for place, count in enumerate(counts)
    ]
    again = [
        InsertMany(table=shelves, values={"label": "again"}, columns=("room", "number"), rows=[("0", 0), ("0", 1)])
    ]
    more = [(number, f"{place}", number) for place, count in enumerate(counts) for number in range(0, count + 1, 2)]
    counted = AddMany(table=shelves, values={}, columns=("books",), where=("room", "number"), rows=more)
    labels = [(f"later-{number}", *key) for number, *key in more[::-1]]
    named = UpdateMany(table=shelves, values={}, columns=("label",), where=("room", "number"), rows=labels)
    changes = [*whole, Update(table=shelves, values={"books": 7}, where={"number": 1}), *again, counted, counted, named]
    assert rows_after(write, changes) == rows_after(one_by_one, changes)


@given(st.lists(some_values, min_size=1, max_size=4))
def test_rows_that_name_some_of_their_columns_have_the_others_as_they_are_by_default(named):
    count = FEW * len(named) + 1
    full = [{"room": "a", "number": n, "label": "z", "books": 3, "weight": 7.0} for n in range(count)]
    some = [{"room": "a", "number": n, **named[n % len(named)]} for n in range(count)]

    def one_after_the_other(write):
        def both(connection, changes):
            for rows in (full, some):
                write(connection, [Insert(table=shelves, values=row) for row in rows])

        return both

    assert rows_after(one_after_the_other(write), []) == rows_after(one_after_the_other(one_by_one), [])


@pytest.mark.parametrize("count", [FEW - 1, FEW, MANY + FEW + 1])
@given(label=st.none() | st.text(max_size=3), books=st.integers(-9, 2**40), weight=st.floats(-1e9, 1e9))
def test_rows_that_are_changed_many_at_once_are_those_that_were_named(count, label, books, weight):
    def shelf(n):
        return {"room": "ab"[n % 2], "number": n}

    def then(write):
        def all_of_it(connection, changes):
            write(connection, [Insert(table=shelves, values=shelf(n) | {"label": "x"}) for n in range(0, count, 3)])
            labels = {"label": label, "weight": weight}
            write(connection, [Update(table=shelves, values=labels, where=shelf(n)) for n in range(count)])
            write(
                connection,
                [Add(table=shelves, values={"books": books + n, "weight": 0.25}, where=shelf(n)) for n in range(count)],
            )

        return all_of_it

    assert rows_after(then(write), []) == rows_after(then(one_by_one), [])

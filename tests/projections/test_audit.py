"""What somebody did is found era by era, the newest first, and the tenant is never looked through."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine

from projections import audit, schema
from projections.audit import ERA
from runtime.changes import write
from runtime.prepared import Prepared
from runtime.records import InsertMany

WHO = ("ann", "bob", "cy")
SAID = {"recorded_at": 0.0, "stream": "s", "version": 1, "command_id": "c", "cause": "", "correlation": "c"}
COLUMNS = ("position", "tenant_id", "principal", "kind", "at")


def trail_of(rows: list[tuple[Any, ...]]) -> Any:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        audit.audit.metadata.create_all(connection)
        write(connection, [InsertMany(table=audit.audit, values=SAID, columns=COLUMNS, rows=rows)])
    return engine


positions = st.builds(lambda era, at: era * ERA + at, st.integers(0, 3), st.integers(1, 9) | st.just(ERA))
done = st.tuples(
    positions,
    st.sampled_from(["ours", "theirs"]),
    st.sampled_from(WHO),
    st.sampled_from(["a.B", "c.D"]),
    st.integers(0, 9).map(float),
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(done, max_size=40, unique_by=lambda row: row[0]),
    st.none() | positions,
    st.integers(0, 12),
    st.fixed_dictionaries({}, optional={"kind": st.just("a.B"), "since": st.just(4.0), "subject": st.just("s")}),
)
def test_pages_of_a_principal_are_all_that_it_did_the_newest_first(rows, before, limit, narrowed):
    engine = trail_of(rows)
    with engine.begin() as connection:
        for principal in WHO:
            found = audit.trail(connection, "ours", principal=principal, before=before, limit=limit, **narrowed)
            mine = [
                position
                for position, tenant, who, kind, at in sorted(rows, reverse=True)
                if (tenant, who) == ("ours", principal)
                and (before is None or position < before)
                and kind == narrowed.get("kind", kind)
                and at >= narrowed.get("since", at)
            ]
            assert [row["position"] for row in found] == mine[:limit]
    engine.dispose()


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_a_question_is_compiled_once_for_all_eras_that_it_looks_through(monkeypatch, limit):
    engine, compiled = trail_of([(era * ERA + 1, "ours", "ann", "a.B", 4.0) for era in range(6)]), list[Any]()

    class Counted(Prepared):
        def __init__(self, select: Any) -> None:
            super().__init__(select)
            compiled.append(select)

    monkeypatch.setattr(schema, "Prepared", Counted)
    with engine.begin() as connection:
        found = audit.trail(connection, "ours", principal="ann", since=3.0, limit=limit)
        assert [row["position"] for row in found] == [era * ERA + 1 for era in range(5, -1, -1)][:limit]
    engine.dispose()
    assert len(compiled) == 1


@pytest.mark.parametrize("asked", [{"subject": "s"}, {"behalf": "acme"}])
def test_what_a_question_finds_by_another_index_is_found_once_and_not_in_each_era(asked):
    engine = trail_of([(era * ERA + 1, "ours", "ann", "a.B", 0.0) for era in range(6)])
    questions = list[str]()
    with engine.begin() as connection:
        driver: Any = connection.connection.driver_connection
        driver.set_trace_callback(questions.append)
        audit.trail(connection, "ours", principal="ann", limit=9, **asked)
        driver.set_trace_callback(None)
    engine.dispose()
    assert len(questions) == 1


@pytest.mark.parametrize(
    "asked, index",
    [
        ({}, "audit_by_age"),
        ({"principal": "ann"}, "audit_by_principal"),
        ({"principal": "nobody", "before": 3 * ERA}, "audit_by_principal"),
        ({"subject": "task-t1"}, "audit_by_stream"),
        ({"behalf": "acme"}, "audit_by_behalf"),
    ],
)
def test_no_question_looks_through_the_whole_trail(asked, index):
    engine = trail_of([(position, "ours", WHO[position % 3], "a.B", 0.0) for position in range(1, 4 * ERA, 97)])
    questions = list[str]()
    with engine.begin() as connection:
        driver: Any = connection.connection.driver_connection
        driver.set_trace_callback(questions.append)
        audit.trail(connection, "ours", **asked)
        driver.set_trace_callback(None)
        steps = [step[3] for text in questions for step in driver.execute(f"EXPLAIN QUERY PLAN {text}")]
    engine.dispose()
    assert [step for step in steps if step.startswith("SCAN audit")] == []
    assert any(f" {index} " in step for step in steps), steps

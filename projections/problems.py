"""Problems: the files of couplings that are known by name, and what is known of each."""

from collections.abc import Sequence

from sqlalchemy import Connection, Table

from aggregates.qubo_problem import EVENTS, ProblemRegistered
from projections import schema
from projections.schema import BY_AGE, Only, Row, Sortable, key, number, text, whole
from runtime.records import Change, Insert, Recorded

NAME = "problems/1"

problems = schema.table(
    "problems",
    key("problem_id"),
    text("name"),
    text("format"),
    text("blob"),
    whole("variables"),
    whole("couplings"),
    text("sense"),
    number("best_known"),
    number("registered_at"),
    paged_by=("name",),
)

TABLES: tuple[Table, ...] = (problems,)

HEARS = frozenset(EVENTS)

SORTS = {"registered_at": BY_AGE, "name": Sortable("name", is_text=True)}


def apply(recorded: Recorded) -> Sequence[Change]:
    event = recorded.event
    if not isinstance(event, ProblemRegistered):
        return ()
    values = {
        "tenant_id": recorded.meta.tenant,
        "problem_id": event.problem_id,
        "name": event.name,
        "format": event.format.value,
        "blob": event.blob,
        "variables": event.variables,
        "couplings": event.couplings,
        "sense": event.sense.value,
        "best_known": event.best_known,
        "registered_at": recorded.meta.at,
        "first_position": recorded.position,
        "last_position": recorded.position,
    }
    return [Insert(table=problems, values=values)]


def find(connection: Connection, tenant_id: str, problem_id: str, *, only: Only = None) -> Row | None:
    """A problem; None when this tenant has no such problem."""
    return schema.find_row(connection, problems, {"tenant_id": tenant_id, "problem_id": problem_id}, only=only)


def newest(
    connection: Connection, tenant_id: str, *, name: str | None = None, before: int | None = None, limit: int = 100
) -> list[Row]:
    """A page of problems, the last registered first."""
    return schema.newest_rows(connection, problems, {"tenant_id": tenant_id, "name": name}, before=before, limit=limit)


page = schema.paged(problems)
"""A page of problems that have these values."""


def count(connection: Connection, tenant_id: str) -> int:
    return schema.count_rows(connection, problems, {"tenant_id": tenant_id})

"""The working day as the eventsourcing library has it: the same events, projected into the same rows by the library's own means.

Its `Projection` hands each event to a view: its tracking recorder with one table more, which writes the row and the position that it
stands at in one transaction, as the library's manual shows.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.domain import AggregateEvent
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection
from eventsourcing.sqlite import SQLiteTrackingRecorder
from eventsourcing.utils import get_topic
from msgspec import json as msgspec_json
from sqlalchemy.schema import CreateIndex, CreateTable

from aggregates import task
from benchmarks.workday import TENANT
from projections.tasks import tasks
from runtime.records import Recorded


class Submitted(AggregateEvent):
    task_type: str
    description: str
    capabilities: list[str]
    requirements: dict[str, Any]
    priority: int
    budget_seconds: float
    bidding_seconds: float
    payload: dict[str, Any]
    blobs: dict[str, str]
    attempts_max: int
    retry: dict[str, Any]
    submitted_by: str
    units: float
    skills: list[dict[str, Any]]
    regions: list[str]
    award_policy: str
    queue: str
    concurrency: str | None
    price_max: float | None
    assign_to: str | None
    surcharge: bool
    dry_run: bool


class Opened(AggregateEvent):
    round: int
    eligible: list[str]
    closes_at: float


class Bid(AggregateEvent):
    agent_id: str
    price: float
    eta_seconds: float


class Awarded(AggregateEvent):
    attempt: int
    agent_id: str
    token: int
    lease_seconds: float
    price: float
    eta_seconds: float
    ranking: list[dict[str, Any]]
    reason: str


class Started(AggregateEvent):
    agent_id: str
    token: int


class Completed(AggregateEvent):
    result: dict[str, Any]
    seconds: float
    charged: float | None


def translated(recorded: Recorded) -> AggregateEvent:
    """The same event as the library would have it."""
    event = recorded.event
    head: dict[str, Any] = {
        "originator_id": UUID(recorded.stream.partition("-")[2]),
        "originator_version": recorded.version,
        "timestamp": datetime.fromtimestamp(recorded.meta.at, UTC),
    }
    kinds: dict[type[Any], type[Any]] = {
        task.TaskSubmitted: Submitted,
        task.BookOpened: Opened,
        task.BidPlaced: Bid,
        task.TaskAwarded: Awarded,
        task.TaskStarted: Started,
        task.TaskCompleted: Completed,
    }
    kind = kinds[type(event)]
    said = msgspec_json.decode(msgspec_json.encode(event))
    return kind(**head, **{name: said[name] for name in kind.__annotations__})  # type: ignore[no-any-return]


def fill(library: Application[Any], events: Iterable[Recorded], batch: int = 1000) -> None:
    """Stores the events, each at the position that it has with us."""
    stored = [library.mapper.to_stored_event(translated(recorded)) for recorded in events]
    for first in range(0, len(stored), batch):
        library.recorder.insert_events(stored[first : first + batch])


# ---- the view


def _insert(mark: Callable[[str], str], values: dict[str, Any]) -> str:
    return f"INSERT INTO tasks ({', '.join(values)}) VALUES ({', '.join(map(mark, values))})"


def _update(mark: Callable[[str], str], values: dict[str, Any]) -> str:
    changed = ", ".join(f"{name}={mark(name)}" for name in values if name not in ("tenant_id", "task_id"))
    return f"UPDATE tasks SET {changed} WHERE tenant_id={mark('tenant_id')} AND task_id={mark('task_id')}"


def _table(dialect: Any) -> list[str]:
    statements: list[Any] = [CreateTable(tasks), *(CreateIndex(index) for index in tasks.indexes)]
    return [str(statement.compile(dialect=dialect)) for statement in statements]


class SqliteView(SQLiteTrackingRecorder):
    """On SQLite."""

    def construct_create_table_statements(self) -> list[str]:
        from sqlalchemy.dialects import sqlite

        return [*super().construct_create_table_statements(), *_table(sqlite.dialect())]

    def insert(self, values: dict[str, Any], tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(_insert(":{}".format, values), values)

    def update(self, values: dict[str, Any], tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(_update(":{}".format, values), values)

    def rows(self, question: str) -> list[Any]:
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute(question)
            return [tuple(row) for row in cursor.fetchall()]


class PostgresView(PostgresTrackingRecorder):
    """On PostgreSQL."""

    def create_table(self) -> None:
        from sqlalchemy.dialects import postgresql

        super().create_table()
        with self.datastore.transaction(commit=True) as cursor:
            for statement in _table(postgresql.dialect()):  # type: ignore[no-untyped-call]
                cursor.execute(statement)

    def insert(self, values: dict[str, Any], tracking: Tracking) -> None:
        with self._writing(tracking) as cursor:
            cursor.execute(_insert("%({})s".format, values), values, prepare=True)

    def update(self, values: dict[str, Any], tracking: Tracking) -> None:
        with self._writing(tracking) as cursor:
            cursor.execute(_update("%({})s".format, values), values, prepare=True)

    def rows(self, question: str) -> list[Any]:
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute(question)
            return [tuple(row.values()) for row in cursor.fetchall()]

    @contextmanager
    def _writing(self, tracking: Tracking) -> Iterator[Any]:
        with (
            self.datastore.get_connection() as connection,
            connection.transaction(),
            connection.cursor() as cursor,
        ):
            self._insert_tracking(cursor, tracking)
            yield cursor


# ---- the projection


class Tasks(Projection[Any]):
    """What `projections/tasks.py` does, in the library's words."""

    name = "tasks"
    topics = tuple(map(get_topic, (Submitted, Opened, Awarded, Started, Completed)))

    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        raise AssertionError(domain_event)

    @process_event.register
    def _(self, event: Submitted, tracking: Tracking) -> None:
        at, position = event.timestamp.timestamp(), tracking.notification_id
        self.view.insert(
            {
                **_key(event),
                "task_type": event.task_type,
                "stage": task.Stage.SUBMITTED.value,
                "reason": "submitted",
                "description": event.description,
                "capabilities": _text(event.capabilities),
                "units": event.units,
                "skills": _text(event.skills),
                "regions": _text(event.regions),
                "award_policy": event.award_policy,
                "queue": event.queue or event.task_type,
                "concurrency": event.concurrency,
                "price_max": event.price_max,
                "assign_to": event.assign_to or None,
                "surcharge": int(event.surcharge),
                "dry_run": int(event.dry_run),
                "requirements": _text(event.requirements),
                "priority": event.priority,
                "dependencies": "[]",
                "independent_of": "[]",
                "dependency_policy": task.DependencyPolicy.FAIL.value,
                "unmet": "[]",
                "waiting": 0,
                "budget_seconds": event.budget_seconds,
                "bidding_seconds": event.bidding_seconds,
                "payload": _text(event.payload),
                "blobs": _text(event.blobs),
                "schema_version": 0,
                "attempts_max": event.attempts_max,
                "retry": _text(event.retry),
                "no_bids": '{"then":"wait","rounds_max":null,"call_max":null}',
                "widening": 0,
                "submitted_by": event.submitted_by,
                "data_subject": "",
                "attempt": 0,
                "round": 0,
                "late_reports": 0,
                "questions": 0,
                "submitted_at": at,
                "waits_since": at,
                "first_position": position,
                **_moved(event, tracking),
            },
            tracking,
        )

    @process_event.register
    def _(self, event: Opened, tracking: Tracking) -> None:
        opened = {
            "stage": task.Stage.BIDDING.value,
            "reason": "called",
            "widening": 0,
            "round": event.round,
            "eligible": _text(event.eligible),
            "closes_at": event.closes_at,
            "opened_at": event.timestamp.timestamp(),
        }
        self.view.update({**_key(event), **opened, **_moved(event, tracking)}, tracking)

    @process_event.register
    def _(self, event: Awarded, tracking: Tracking) -> None:
        awarded = {
            "stage": task.Stage.AWARDED.value,
            "attempt": event.attempt,
            "agent_id": event.agent_id,
            "token": event.token,
            "lease_seconds": event.lease_seconds,
            "price": event.price,
            "price_asked": event.price,
            "eta_seconds": event.eta_seconds,
            "award_reason": event.reason,
            "ranking": _text(event.ranking),
            "closes_at": None,
            "reason": "awarded",
            "awarded_at": event.timestamp.timestamp(),
            "started_at": None,
            "progress": None,
            "progress_note": None,
            "progressed_at": None,
        }
        self.view.update({**_key(event), **awarded, **_moved(event, tracking)}, tracking)

    @process_event.register
    def _(self, event: Started, tracking: Tracking) -> None:
        at = event.timestamp.timestamp()
        started = {"stage": task.Stage.RUNNING.value, "reason": "started", "started_at": at}
        self.view.update({**_key(event), **started, **_moved(event, tracking)}, tracking)

    @process_event.register
    def _(self, event: Completed, tracking: Tracking) -> None:
        completed = {
            "stage": task.Stage.COMPLETED.value,
            "reason": "completed",
            "canceling_until": None,
            "result": _text(event.result),
            "seconds": event.seconds,
            "charged": event.charged,
            "ended_at": event.timestamp.timestamp(),
        }
        self.view.update({**_key(event), **completed, **_moved(event, tracking)}, tracking)


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _key(event: AggregateEvent) -> dict[str, Any]:
    return {"tenant_id": TENANT, "task_id": event.originator_id.hex}


def _moved(event: AggregateEvent, tracking: Tracking) -> dict[str, Any]:
    return {"last_event_at": event.timestamp.timestamp(), "last_position": tracking.notification_id}


def project(library: Application[Any], view: SqliteView | PostgresView, page: int = 1000) -> None:
    """All that is recorded, through the projection, event by event; read in pages of a good size rather than the default's ten."""
    projection, mapper, name = Tasks(view), library.mapper, library.name
    position = view.max_tracking_id(name) or 0
    while notifications := library.recorder.select_notifications(position + 1, page, topics=projection.topics):
        for notification in notifications:
            projection.process_event(mapper.to_domain_event(notification), Tracking(name, notification.id))
        position = notifications[-1].id

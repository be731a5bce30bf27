"""Tasks: what was asked for, where each stands, who does it and what came of it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, and_, case, func, or_, select

from aggregates.subject import SubjectErased
from aggregates.task import (
    EVENTS,
    HELD,
    BidCommitted,
    BidPlaced,
    BidRefused,
    BidRevealed,
    BidWithdrawn,
    BookOpened,
    BookVoided,
    CancelRequested,
    DependencyMet,
    DependencyUnmet,
    DryRunEnded,
    LateReported,
    LeaseExpired,
    OfferDeclined,
    QuestionAnswered,
    QuestionAsked,
    RevealOpened,
    Stage,
    TaskAmended,
    TaskAwarded,
    TaskCancelled,
    TaskCompleted,
    TaskDeadLettered,
    TaskExpired,
    TaskFailed,
    TaskProgressed,
    TaskRebalanced,
    TaskReopened,
    TaskRequeued,
    TaskStalled,
    TaskStarted,
    TaskSubmitted,
    TaskUnblocked,
)
from aggregates.values.queues import queue_of
from projections import schema
from projections.schema import (
    BY_AGE,
    Only,
    Row,
    Sortable,
    SortKey,
    also,
    document,
    encoded,
    encoded_in_all,
    key,
    number,
    text,
    whole,
)
from runtime.records import Add, Change, Insert, Recorded, Update

NAME = "tasks/18"

tasks = schema.table(
    "tasks",
    key("task_id"),
    text("task_type"),
    text("stage"),
    text("description"),
    document("capabilities"),
    document("requirements"),
    number("units"),
    document("skills"),
    document("regions"),
    text("award_policy"),
    text("queue"),
    document("concurrency"),
    number("price_max"),
    text("assign_to"),
    whole("surcharge", default=0),
    whole("dry_run", default=0),
    whole("priority"),
    document("dependencies"),
    document("independent_of"),
    text("dependency_policy"),
    document("unmet"),
    whole("waiting"),
    number("budget_seconds"),
    number("bidding_seconds"),
    number("deadline"),
    number("not_before"),
    number("estimated_duration"),
    document("payload"),
    document("blobs"),
    whole("schema_version"),
    whole("attempts_max"),
    document("retry"),
    document("no_bids"),
    whole("widening", default=0),
    text("submitted_by"),
    text("data_subject"),
    whole("attempt", default=0),
    whole("round", default=0),
    document("eligible"),
    number("closes_at"),
    text("agent_id"),
    whole("token"),
    number("lease_seconds"),
    number("canceling_until"),
    text("canceling_reason"),
    number("price"),
    number("price_asked"),
    number("charged"),
    number("eta_seconds"),
    text("award_reason"),
    text("assigned_by"),
    text("would_win"),
    document("ranking"),
    text("reason"),
    document("result"),
    number("seconds"),
    number("submitted_at"),
    number("waits_since"),
    number("unblocked_at"),
    number("opened_at"),
    number("reveal_opened_at"),
    number("awarded_at"),
    number("started_at"),
    number("ended_at"),
    whole("late_reports", default=0),
    whole("questions", default=0),
    text("question"),
    text("answer"),
    number("waits_for_input_since"),
    number("progress"),
    text("progress_note"),
    number("progressed_at"),
    number("last_event_at"),
    also("id", "task_id"),
    also("status", "stage"),
    also("assigned_agent", "agent_id"),
    paged_by=("stage", "agent_id", "priority"),
)
"""`waiting` counts the dependencies that are not complete, but for the `unmet`, which ended without a result. `agent_id` and `token` tell
who holds the task, or held it when it ended. Its place in line counts from `waits_since`, when it was submitted or offered again as a
dead letter, or from `not_before` where that is later. `reason` says why it stands where it stands: what happened to it last;
`award_reason` and `ranking` why the holder won; `progress` (of 1) and its note are what the holder said last. `price` is what was agreed
to pay, `price_asked` what the holder asked, `charged` what it charged in the end where that is something else."""

TABLES: tuple[Table, ...] = (tasks,)

HEARS = frozenset((*EVENTS, SubjectErased)) - {BidCommitted, BidPlaced, BidRefused, BidRevealed, BidWithdrawn}

ERASED = {
    "description": "",
    "canceling_reason": None,
    "payload": encoded({}),
    "result": None,
    "reason": "erased",
    "question": None,
    "answer": None,
    "progress_note": None,
}

LONG = ("requirements", "payload", "blobs", "ranking", "result")
"""Columns that may hold much, left out of pages; `find` shows them."""


SORTS = {"submitted_at": BY_AGE, "priority": Sortable("priority", is_whole=True)}
"""By what pages may be sorted: tasks are submitted in the order of the log."""


def apply(recorded: Recorded) -> Sequence[Change]:
    event, at = recorded.event, recorded.meta.at
    match event:
        case TaskSubmitted():
            return [_submitted(recorded, event)]
        case DependencyMet():
            where = _key(recorded, event.task_id)
            return [Add(table=tasks, values={"waiting": -1}, where=where), _changed(recorded, event.task_id)]
        case DependencyUnmet():
            return [
                Add(table=tasks, values={"waiting": -1}, where=_key(recorded, event.task_id)),
                _changed(recorded, event.task_id, unmet=encoded(event.unmet)),
            ]
        case TaskUnblocked():
            moved = {"stage": Stage.SUBMITTED.value, "reason": "dependencies_over", "unblocked_at": at}
            return [_changed(recorded, event.task_id, **moved)]
        case BookOpened():
            return [_opened(recorded, event)]
        case RevealOpened():
            return [_changed(recorded, event.task_id, closes_at=event.closes_at, reveal_opened_at=at)]
        case TaskStalled():
            return [_changed(recorded, event.task_id, reason=event.reason)]
        case BookVoided():
            return [_changed(recorded, event.task_id, stage=Stage.SUBMITTED.value, closes_at=None, reason=event.reason)]
        case TaskAwarded():
            return [_awarded(recorded, event)]
        case TaskStarted():
            return [_changed(recorded, event.task_id, stage=Stage.RUNNING.value, reason="started", started_at=at)]
        case TaskCompleted():
            return [_completed(recorded, event)]
        case CancelRequested():
            return [_changed(recorded, event.task_id, canceling_until=event.cancel_by, canceling_reason=event.reason)]
        case TaskFailed() if event.final:
            return [_ended(recorded, event.task_id, Stage.FAILED, event.reason)]
        case TaskFailed():
            return [_failed(recorded, event)]
        case TaskProgressed() | OfferDeclined():
            return [_remarked(recorded, event)]
        case QuestionAsked():
            asked = {"questions": event.number, "question": event.question, "answer": None}
            return [_changed(recorded, event.task_id, **asked, waits_for_input_since=event.asked_at)]
        case QuestionAnswered():
            return [_changed(recorded, event.task_id, answer=event.answer, waits_for_input_since=None)]
        case LeaseExpired():
            lost = {"agent_id": None, "waits_for_input_since": None}
            return [_changed(recorded, event.task_id, reason="lease_expired", **lost)]
        case TaskRebalanced():
            return [_rebalanced(recorded, event)]
        case LateReported():
            late = Add(table=tasks, values={"late_reports": event.more}, where=_key(recorded, event.task_id))
            return [late, _changed(recorded, event.task_id)]
        case TaskReopened():
            return [_reopened(recorded, event)]
        case TaskAmended():
            return [_amended(recorded, event)]
        case TaskRequeued():
            return [_requeued(recorded, event)]
        case TaskDeadLettered():
            return [_ended(recorded, event.task_id, Stage.DEAD_LETTERED, event.reason)]
        case TaskCancelled():
            return [_ended(recorded, event.task_id, Stage.CANCELLED, event.reason)]
        case DryRunEnded():
            return [_tried(recorded, event)]
        case TaskExpired():
            return [_ended(recorded, event.task_id, Stage.EXPIRED, "deadline_passed")]
        case SubjectErased():
            return [Update(table=tasks, values=ERASED, where=schema.of_subject(recorded))]
    return ()


def _submitted(recorded: Recorded, event: TaskSubmitted) -> Change:
    values = {
        **_key(recorded, event.task_id),
        "task_type": event.task_type.value,
        "stage": (Stage.BLOCKED if event.waiting_for else Stage.SUBMITTED).value,
        "reason": "dependencies_open" if event.waiting_for else "submitted",
        "description": event.description,
        "capabilities": encoded(event.capabilities),
        "requirements": encoded(event.requirements),
        "units": event.units,
        "skills": encoded(event.skills),
        "regions": encoded(event.regions),
        "award_policy": event.award_policy.value,
        "queue": queue_of(event.queue, event.task_type),
        "concurrency": encoded(event.concurrency) if event.concurrency is not None else None,
        "price_max": event.price_max,
        "assign_to": event.assign_to or None,
        "surcharge": int(event.surcharge),
        "dry_run": int(event.dry_run),
        "priority": event.priority,
        "dependencies": encoded(event.dependencies),
        "independent_of": encoded(event.independent_of),
        "dependency_policy": event.dependency_policy.value,
        "unmet": encoded(event.unmet),
        "waiting": len(event.waiting_for),
        "budget_seconds": event.budget_seconds,
        "bidding_seconds": event.bidding_seconds,
        "deadline": event.deadline,
        "not_before": event.not_before,
        "estimated_duration": event.estimated_duration,
        "payload": encoded(event.payload),
        "blobs": encoded(event.blobs),
        "schema_version": event.schema_version,
        "attempts_max": event.attempts_max,
        "retry": encoded(event.retry),
        "no_bids": encoded(event.no_bids),
        "submitted_by": event.submitted_by,
        "data_subject": event.data_subject,
        "submitted_at": event.submitted_at,
        "waits_since": event.submitted_at,
        "first_position": recorded.position,
        "last_position": recorded.position,
        "last_event_at": recorded.meta.at,
    }
    return Insert(table=tasks, values=values)


def _failed(recorded: Recorded, event: TaskFailed) -> Change:
    lost: dict[str, Any] = {"agent_id": None, "waits_for_input_since": None}
    more = {} if event.attempts_max is None else {"attempts_max": event.attempts_max}
    return _changed(recorded, event.task_id, reason=event.reason, **lost, **more)


def _remarked(recorded: Recorded, event: TaskProgressed | OfferDeclined) -> Change:
    """Who will not take it is told by its records alone."""
    if isinstance(event, OfferDeclined):
        return _changed(recorded, event.task_id)
    told = {"progress": event.share, "progress_note": event.note, "progressed_at": event.progressed_at}
    return _changed(recorded, event.task_id, **told)


def _reopened(recorded: Recorded, event: TaskReopened) -> Change:
    begins = {} if event.not_before is None else {"not_before": event.not_before}
    return _changed(recorded, event.task_id, stage=Stage.SUBMITTED.value, reason=event.reason, **begins)


def _rebalanced(recorded: Recorded, event: TaskRebalanced) -> Change:
    """No attempt: one more is left than before."""
    return _changed(
        recorded,
        event.task_id,
        stage=Stage.SUBMITTED.value,
        reason="rebalanced",
        agent_id=None,
        attempts_max=event.attempts_max,
        waits_for_input_since=None,
    )


def _opened(recorded: Recorded, event: BookOpened) -> Change:
    return _changed(
        recorded,
        event.task_id,
        stage=Stage.BIDDING.value,
        reason="called",
        round=event.round,
        widening=event.widening,
        eligible=encoded(event.eligible),
        closes_at=event.closes_at,
        opened_at=recorded.meta.at,
        reveal_opened_at=None,
    )


def _awarded(recorded: Recorded, event: TaskAwarded) -> Change:
    return _changed(
        recorded,
        event.task_id,
        stage=Stage.AWARDED.value,
        attempt=event.attempt,
        agent_id=event.agent_id,
        token=event.token,
        lease_seconds=event.lease_seconds,
        price=event.price,
        price_asked=event.price if event.price_asked is None else event.price_asked,
        eta_seconds=event.eta_seconds,
        award_reason=event.reason,
        assigned_by=event.assigned_by or None,
        ranking=encoded_in_all(event.ranking),
        closes_at=None,
        reason="awarded",
        awarded_at=event.awarded_at,
        started_at=None,
        progress=None,
        progress_note=None,
        progressed_at=None,
    )


def _tried(recorded: Recorded, event: DryRunEnded) -> Change:
    return _changed(
        recorded,
        event.task_id,
        stage=Stage.DRY_RUN_ENDED.value,
        would_win=event.winner or None,
        price=event.price,
        price_asked=event.price_asked,
        ranking=encoded_in_all(event.ranking),
        reason=event.reason,
        closes_at=None,
        ended_at=recorded.meta.at,
    )


def _completed(recorded: Recorded, event: TaskCompleted) -> Change:
    return _changed(
        recorded,
        event.task_id,
        stage=Stage.COMPLETED.value,
        reason="completed",
        canceling_until=None,
        result=encoded(event.result),
        seconds=event.seconds,
        charged=event.charged,
        ended_at=recorded.meta.at,
        waits_for_input_since=None,
    )


def _ended(recorded: Recorded, task_id: str, stage: Stage, reason: str) -> Change:
    ended = {"stage": stage.value, "reason": reason, "closes_at": None, "ended_at": recorded.meta.at}
    ended["canceling_until"] = None
    ended["waits_for_input_since"] = None
    return _changed(recorded, task_id, **ended)


def _requeued(recorded: Recorded, event: TaskRequeued) -> Change:
    return _changed(
        recorded,
        event.task_id,
        stage=Stage.SUBMITTED.value,
        agent_id=None,
        attempts_max=event.attempts_max,
        deadline=event.deadline,
        reason=event.reason,
        waits_since=event.requeued_at,
        ended_at=None,
    )


def _amended(recorded: Recorded, event: TaskAmended) -> Change:
    told = {name: getattr(event, name) for name in ("not_before", "estimated_duration", "budget_seconds")}
    told = {name: value for name, value in told.items() if value is not None}
    return _changed(recorded, event.task_id, priority=event.priority, deadline=event.deadline, **told)


def _key(recorded: Recorded, task_id: str) -> dict[str, Any]:
    return {"tenant_id": recorded.meta.tenant, "task_id": task_id}


def _changed(recorded: Recorded, task_id: str, **values: Any) -> Change:
    values |= {"last_event_at": recorded.meta.at, "last_position": recorded.position}
    return Update(table=tasks, values=values, where=_key(recorded, task_id))


def find(connection: Connection, tenant_id: str, task_id: str, *, only: Only = None) -> Row | None:
    """A task with all that is known of it, or what is wanted of it; None when this tenant has no such task."""
    return schema.find_row(connection, tasks, {"tenant_id": tenant_id, "task_id": task_id}, only=only)


def newest(
    connection: Connection,
    tenant_id: str,
    *,
    stage: str | None = None,
    agent_id: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Row]:
    """A page of tasks without their LONG columns, the last submitted first."""
    where = {"tenant_id": tenant_id, "stage": stage, "agent_id": agent_id}
    return schema.newest_rows(connection, tasks, where, before=before, limit=limit, without=LONG)


def page(
    connection: Connection,
    tenant_id: str,
    *,
    priority_min: int | None = None,
    priority_max: int | None = None,
    submitted_after: float | None = None,
    submitted_before: float | None = None,
    skill: str | None = None,
    sort: Sequence[SortKey] = (),
    past: Sequence[Any] | None = None,
    limit: int = 100,
    only: Only = None,
    **where: str | None,
) -> list[Row]:
    """A page of tasks without their LONG columns: those that have these values, and all that is bounded within its bounds."""
    bounds = [
        *([] if priority_min is None else [tasks.c.priority >= priority_min]),
        *([] if priority_max is None else [tasks.c.priority <= priority_max]),
        *([] if submitted_after is None else [tasks.c.submitted_at > submitted_after]),
        *([] if submitted_before is None else [tasks.c.submitted_at < submitted_before]),
        *([] if skill is None else [schema.holding(tasks.c.capabilities, skill)]),
    ]
    narrowed = {"tenant_id": tenant_id, **where}
    return schema.page_rows(
        connection, tasks, narrowed, sort=sort, past=past, limit=limit, only=only, without=LONG, bounds=bounds
    )


def count(connection: Connection, tenant_id: str, *, stage: str | None = None) -> int:
    return schema.count_rows(connection, tasks, {"tenant_id": tenant_id, "stage": stage})


def count_by_stage(connection: Connection, tenant_id: str) -> dict[str, int]:
    return schema.count_rows_by(connection, tasks, "stage", {"tenant_id": tenant_id})


class Order(NamedTuple):
    """How the waiting stand in line: by the time since when they wait, a `factor` for so many `seconds`, less the priority."""

    factor: float
    seconds: float


def ahead(connection: Connection, tenant_id: str, task: Row, order: Order, at: float | None) -> tuple[int, int]:
    """How many of the tasks that wait to be offered come before this one; and how many of them need the same skills.

    At that time; None: when anything last happened to any of the tenant's tasks.
    """
    newest = select(func.max(tasks.c.last_event_at)).where(tasks.c.tenant_id == tenant_id).scalar_subquery()
    begun = or_(tasks.c.not_before.is_(None), tasks.c.not_before <= (newest if at is None else at))
    since = case((tasks.c.not_before > tasks.c.waits_since, tasks.c.not_before), else_=tasks.c.waits_since)
    mine = max(task["waits_since"], task["not_before"] or 0.0) * order.factor / order.seconds - task["priority"]
    theirs = since * order.factor / order.seconds - tasks.c.priority
    alike = func.count().filter(tasks.c.capabilities == encoded(task["capabilities"]))
    first = or_(theirs < mine, and_(theirs == mine, tasks.c.first_position < task["first_position"]))
    waiting = (tasks.c.tenant_id == tenant_id, tasks.c.stage == Stage.SUBMITTED.value, begun)
    counted = connection.execute(select(func.count(), alike).select_from(tasks).where(*waiting, first)).one()
    return counted[0], counted[1]


def of_ids(connection: Connection, tenant_id: str, task_ids: Sequence[str]) -> list[Row]:
    """These tasks without their LONG columns, as far as there are such."""
    bounds = [tasks.c.tenant_id == tenant_id, tasks.c.task_id.in_(task_ids)]
    return schema.rows_among(connection, tasks, bounds, without=LONG)


def asking(connection: Connection, tenant_id: str, *, submitted_by: str | None, limit: int) -> list[str]:
    """The tasks whose holders wait for an answer, those that have waited longest first; of one submitter, or of all."""
    open_questions = (
        tasks.c.tenant_id == tenant_id,
        tasks.c.stage.in_([stage.value for stage in HELD]),
        tasks.c.waits_for_input_since.is_not(None),
        *([] if submitted_by is None else [tasks.c.submitted_by == submitted_by]),
    )
    shown = select(tasks.c.task_id).where(*open_questions)
    return list(
        connection.execute(shown.order_by(tasks.c.waits_for_input_since, tasks.c.task_id).limit(limit)).scalars()
    )


def held_by(connection: Connection, tenant_id: str, agent_ids: Sequence[str], *, limit: int) -> list[Row]:
    """Which tasks these agents hold, since when: the last awarded first."""
    held = (
        tasks.c.tenant_id == tenant_id,
        tasks.c.agent_id.in_(agent_ids),
        tasks.c.stage.in_([stage.value for stage in HELD]),
    )
    shown = select(tasks.c.task_id, tasks.c.agent_id, tasks.c.awarded_at).where(*held)
    rows = connection.execute(shown.order_by(tasks.c.awarded_at.desc(), tasks.c.task_id).limit(limit))
    return [dict(row._mapping) for row in rows]

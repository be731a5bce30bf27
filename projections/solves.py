"""Solves: the runs of solvers on problems: what was asked for, what was measured, what ran, and how its value grew.

One row has all from which somebody can learn which strategy suits which problem.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Table

from aggregates.solve_job import (
    EVENTS,
    BackendDegraded,
    SolveCancelled,
    SolveCompleted,
    SolveFailed,
    SolvePlanned,
    SolveProgressed,
    SolveQueued,
    SolveStarted,
    Stage,
)
from projections import schema
from projections.schema import BY_AGE, Only, Row, document, encoded, key, number, text, whole
from runtime.records import Change, Insert, Recorded, Update

NAME = "solves/3"

solves = schema.table(
    "solves",
    key("job_id"),
    text("problem_id"),
    text("problem"),
    text("blob"),
    text("format"),
    text("sense"),
    whole("variables"),
    number("seconds"),
    whole("seed"),
    number("target"),
    whole("work_max"),
    whole("stagnation_work"),
    number("tolerance"),
    whole("threads"),
    text("strategy"),
    text("backend"),
    text("asked_backend"),
    text("asked_strategy"),
    text("degraded"),
    document("warm_start"),
    document("baseline"),
    text("task_id"),
    whole("token"),
    text("stage"),
    number("value"),
    whole("work"),
    number("seconds_taken"),
    text("assignment"),
    text("algorithm"),
    document("features"),
    document("parameters"),
    whole("memory_bytes"),
    text("build"),
    whole("island"),
    document("works"),
    document("counts"),
    document("trace"),
    number("bound"),
    number("gap"),
    document("baseline_run"),
    text("input_digest"),
    number("quantum_advantage"),
    text("reason"),
    number("queued_at"),
    number("started_at"),
    number("ended_at"),
    number("last_event_at"),
    paged_by=("problem_id", "task_id", "stage", "algorithm", "backend", "blob"),
)
"""`seconds` is what was asked for, `seconds_taken` what it took; `value` the best so far; `problem` the problem's name.
`strategy` is what was asked for (null: what suits), `algorithm` what ran. `degraded` says why it did not run where it was asked to."""

TABLES: tuple[Table, ...] = (solves,)

LONG = ("assignment", "trace", "baseline_run")
"""Columns that may hold much, left out of pages; `find` shows them."""

HEARS = frozenset(EVENTS)

SORTS = {"queued_at": BY_AGE}


def apply(recorded: Recorded) -> Sequence[Change]:
    event, at = recorded.event, recorded.meta.at
    match event:
        case SolveQueued():
            return [_queued(recorded, event)]
        case BackendDegraded():
            asked = {"asked_backend": event.asked_backend.value, "asked_strategy": event.asked_strategy or None}
            return [_changed(recorded, event.job_id, **asked, degraded=event.reason)]
        case SolveStarted():
            return [_changed(recorded, event.job_id, stage=Stage.RUNNING.value, started_at=event.started_at)]
        case SolvePlanned():
            return [_planned(recorded, event)]
        case SolveProgressed():
            best = {"value": event.value, "work": event.work, "seconds_taken": event.seconds, "island": event.island}
            return [_changed(recorded, event.job_id, **best)]
        case SolveCompleted():
            return [_completed(recorded, event)]
        case SolveFailed():
            ended = {"stage": Stage.FAILED.value, "reason": event.reason, "ended_at": at}
            return [_changed(recorded, event.job_id, **ended)]
        case SolveCancelled():
            ended = {"stage": Stage.CANCELLED.value, "reason": event.reason, "ended_at": at}
            return [_changed(recorded, event.job_id, **ended)]
    return ()


def _queued(recorded: Recorded, event: SolveQueued) -> Change:
    values = {
        "tenant_id": recorded.meta.tenant,
        "job_id": event.job_id,
        "problem_id": event.problem_id,
        "problem": event.problem.name,
        "blob": event.problem.blob,
        "format": event.problem.format.value,
        "sense": event.problem.sense.value,
        "variables": event.problem.variables,
        "seconds": event.seconds,
        "seed": event.seed,
        "target": event.target,
        "work_max": event.work_max,
        "stagnation_work": event.stagnation_work,
        "tolerance": event.tolerance,
        "threads": event.threads,
        "strategy": event.strategy or None,
        "backend": event.backend.value,
        "warm_start": _document(event.warm_start),
        "baseline": _document(event.baseline),
        "task_id": event.task_id or None,
        "token": event.token or None,
        "stage": Stage.QUEUED.value,
        "queued_at": recorded.meta.at,
        "last_event_at": recorded.meta.at,
        "first_position": recorded.position,
        "last_position": recorded.position,
    }
    return Insert(table=solves, values=values)


def _planned(recorded: Recorded, event: SolvePlanned) -> Change:
    return _changed(
        recorded,
        event.job_id,
        algorithm=event.algorithm,
        features=encoded(event.features),
        memory_bytes=event.memory_bytes,
        build=event.build,
    )


def _completed(recorded: Recorded, event: SolveCompleted) -> Change:
    return _changed(
        recorded,
        event.job_id,
        stage=Stage.COMPLETED.value,
        value=event.value,
        assignment=event.assignment,
        work=event.work,
        seconds_taken=event.seconds,
        algorithm=event.algorithm,
        seed=event.seed,
        build=event.build or None,
        island=event.island,
        works=encoded(event.works),
        counts=encoded(sum(map(Counter, event.counts), Counter())),
        parameters=encoded(event.parameters),
        trace=encoded(event.trace),
        bound=event.bound,
        gap=event.gap,
        baseline_run=_document(event.baseline),
        input_digest=event.input_digest,
        quantum_advantage=event.quantum_advantage,
        ended_at=recorded.meta.at,
    )


def _document(value: msgspec.Struct | None) -> str | None:
    return None if value is None else encoded(value)


def _changed(recorded: Recorded, job_id: str, **values: Any) -> Change:
    values |= {"last_event_at": recorded.meta.at, "last_position": recorded.position}
    return Update(table=solves, values=values, where={"tenant_id": recorded.meta.tenant, "job_id": job_id})


def find(connection: Connection, tenant_id: str, job_id: str, *, only: Only = None) -> Row | None:
    """A run with all that is known of it; None when this tenant has no such run."""
    return schema.find_row(connection, solves, {"tenant_id": tenant_id, "job_id": job_id}, only=only)


def newest(
    connection: Connection,
    tenant_id: str,
    *,
    problem_id: str | None = None,
    task_id: str | None = None,
    stage: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Row]:
    """A page of runs without their LONG columns, the last queued first."""
    where = {"tenant_id": tenant_id, "problem_id": problem_id, "task_id": task_id, "stage": stage}
    return schema.newest_rows(connection, solves, where, before=before, limit=limit, without=LONG)


page = schema.paged(solves, without=LONG)
"""A page of solves, without their LONG columns, that have these values."""


def count(connection: Connection, tenant_id: str, *, stage: str | None = None) -> int:
    return schema.count_rows(connection, solves, {"tenant_id": tenant_id, "stage": stage})

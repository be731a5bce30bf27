"""A solve job: one run of a solver on one problem, with its seed, its counted work and its result.

`commands` and `events` have what may be asked and what happens. What follows from the facts in a command is computed here.
"""

import operator
from collections.abc import Sequence
from enum import StrEnum
from hashlib import sha256

from msgspec.structs import replace

from aggregates.solve_job.commands import (
    COMMANDS,
    CancelSolve,
    CompleteSolve,
    FailSolve,
    PlanSolve,
    ProblemFacts,
    QueueSolve,
    ReportSolve,
    SolveAccepted,
    SolveCommand,
    StartSolve,
)
from aggregates.solve_job.events import (
    EVENTS,
    BackendDegraded,
    SolveCancelled,
    SolveCompleted,
    SolveEvent,
    SolveFailed,
    SolvePlanned,
    SolveProgressed,
    SolveQueued,
    SolveStarted,
)
from aggregates.values.qubo import Sense
from aggregates.values.solving import QUANTUM, VARIABLES_MAX, Backend, Readiness
from runtime.errors import Refused
from runtime.records import State

__all__ = [
    "COMMANDS",
    "EVENTS",
    "RULES",
    "STARTS_MAX",
    "BackendDegraded",
    "CancelSolve",
    "CompleteSolve",
    "FailSolve",
    "PlanSolve",
    "ProblemFacts",
    "QueueSolve",
    "ReportSolve",
    "SolveAccepted",
    "SolveCancelled",
    "SolveCommand",
    "SolveCompleted",
    "SolveEvent",
    "SolveFailed",
    "SolveJob",
    "SolvePlanned",
    "SolveProgressed",
    "SolveQueued",
    "SolveStarted",
    "Stage",
    "StartSolve",
    "decide",
    "evolve",
    "initial",
    "is_closed",
    "stream",
]

RULES = 1

STARTS_MAX = 3
"""A job that keeps ending its node is not started for ever."""


class Stage(StrEnum):
    """Where a job stands."""

    UNKNOWN = "unknown"
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class SolveJob(State, frozen=True, kw_only=True):
    """What decisions about one job need to know."""

    stage: Stage = Stage.UNKNOWN
    queued: SolveQueued | None = None
    starts: int = 0
    node: str = ""
    """The start of a node in which it began last."""
    plan: SolvePlanned | None = None
    best: float | None = None
    work: int = 0
    outcome: SolveCompleted | None = None


initial = SolveJob()


def stream(job_id: str) -> str:
    """The stream of a job."""
    return f"solve_job-{job_id}"


def is_closed(job: SolveJob) -> bool:
    """Whether its records may go to an archive: nothing follows any more."""
    return job.stage in (Stage.COMPLETED, Stage.FAILED, Stage.CANCELLED)


def decide(job: SolveJob, command: SolveCommand) -> Sequence[SolveEvent]:
    match job.stage, command:
        case Stage.UNKNOWN, QueueSolve():
            return _queue(command)
        case stage, QueueSolve():
            if job.queued == _queue(command)[0]:
                return []
            raise Refused("job_exists", f"{command.job_id} is another job, {stage.value}")
        case Stage.UNKNOWN, _:
            raise Refused("job_unknown", command.job_id, status=404)
        case Stage.RUNNING, StartSolve() if command.node == job.node:
            return []
        case ((Stage.QUEUED | Stage.RUNNING), StartSolve()):
            return [_started(job, command)]
        case Stage.RUNNING, PlanSolve():
            return [] if job.plan == (plan := _planned(command)) else [plan]
        case Stage.RUNNING, ReportSolve():
            return _reported(job, command)
        case Stage.RUNNING, CompleteSolve():
            return [_completed(command)]
        case Stage.COMPLETED, CompleteSolve() if job.outcome == _completed(command):
            return []
        case ((Stage.QUEUED | Stage.RUNNING), FailSolve()):
            return [SolveFailed(job_id=command.job_id, reason=command.reason)]
        case Stage.FAILED, FailSolve():
            return []
        case ((Stage.QUEUED | Stage.RUNNING), CancelSolve()):
            return [SolveCancelled(job_id=command.job_id, reason=command.reason)]
        case Stage.CANCELLED, CancelSolve():
            return []
        case stage, _:
            raise Refused(f"job_is_{stage.value}", command.job_id)


def _queue(command: QueueSolve) -> list[SolveEvent]:
    """The job as it will run, where it can; what it lacks is refused, or made up for and told."""
    lacking = _lacking(command)
    queued = _queued(replace(command, backend=Backend.LOCAL, strategy="") if lacking else command)
    if lacking is None:
        return [queued]
    if not command.fallback:
        raise lacking
    degraded = BackendDegraded(
        job_id=command.job_id,
        asked_backend=command.backend,
        asked_strategy=command.strategy,
        backend=queued.backend,
        reason=lacking.detail,
    )
    return [queued, degraded]


def _lacking(command: QueueSolve) -> Refused | None:
    """Why this node can't run it as asked; None where it can."""
    configured = ", ".join(command.configured)
    if command.backend not in command.configured:
        return _not_ready(command, configured)
    if command.strategy not in QUANTUM or command.backend is not Backend.LOCAL:
        return None
    bounds = {simulated.strategy: simulated.variables_max for simulated in command.simulated}
    if command.strategy not in bounds:
        also = f", which simulates {', '.join(bounds)}" if bounds else ""
        detail = f"{command.strategy} runs on a quantum backend, and this node is configured for {configured}{also}"
        return Refused("backend_not_configured", detail, status=422)
    variables, most = command.problem.variables if command.problem else 0, bounds[command.strategy]
    if variables > most:
        detail = f"{command.strategy} is simulated for {most} variables at most; the problem has {variables}"
        return Refused("problem_too_large", detail, status=422)
    return None


def _not_ready(command: QueueSolve, configured: str) -> Refused:
    """What the backend that is asked for lacks."""
    name, standing = command.backend.value, command.standing
    if standing is not None and standing.readiness is Readiness.NOT_IMPLEMENTED:
        detail = f"{name} is not implemented: {standing.reason}; this node runs solves on {configured}"
        return Refused("backend_not_implemented", detail, status=501)
    lacks = f": {standing.reason}" if standing is not None and standing.reason else ""
    detail = f"this node is not configured for {name}{lacks}; it is for {configured}"
    return Refused("backend_not_configured", detail, status=422)


def _queued(command: QueueSolve) -> SolveQueued:
    if command.problem is None:
        raise Refused("problem_unknown", command.problem_id, status=404)
    if command.problem.variables > VARIABLES_MAX:
        detail = f"{command.problem.variables} variables; the node solves problems of {VARIABLES_MAX} at most"
        raise Refused("problem_too_large", detail, status=422)
    seed = command.seed
    if seed is None:
        seed = int.from_bytes(sha256(command.job_id.encode()).digest()[:4], "big")
    return SolveQueued(
        job_id=command.job_id,
        problem_id=command.problem_id,
        problem=command.problem,
        seconds=command.seconds,
        seed=seed,
        target=command.target,
        task_id=command.task_id,
        token=command.token,
        work_max=command.work_max,
        stagnation_work=command.stagnation_work,
        tolerance=command.tolerance,
        threads=command.threads,
        strategy=command.strategy,
        backend=command.backend,
        warm_start=command.warm_start,
        known=command.known,
        baseline=command.baseline,
    )


def _started(job: SolveJob, command: StartSolve) -> SolveStarted | SolveFailed:
    if job.starts == STARTS_MAX:
        return SolveFailed(job_id=command.job_id, reason=f"its node ended {STARTS_MAX} times during it")
    return SolveStarted(job_id=command.job_id, start=job.starts + 1, node=command.node, started_at=command.at)


def _planned(command: PlanSolve) -> SolvePlanned:
    return SolvePlanned(
        job_id=command.job_id,
        algorithm=command.algorithm,
        features=command.features,
        memory_bytes=command.memory_bytes,
        build=command.build,
    )


def _reported(job: SolveJob, command: ReportSolve) -> Sequence[SolveProgressed]:
    assert job.queued is not None
    worse = operator.ge if job.queued.problem.sense is Sense.MIN else operator.le
    if job.best is not None and worse(command.value, job.best):
        return []
    return [
        SolveProgressed(
            job_id=command.job_id,
            value=command.value,
            work=command.work,
            seconds=command.seconds,
            island=command.island,
        )
    ]


def _completed(command: CompleteSolve) -> SolveCompleted:
    baseline, bound = command.baseline, command.bound
    return SolveCompleted(
        job_id=command.job_id,
        value=command.value,
        assignment=command.assignment,
        work=command.work,
        seconds=command.seconds,
        algorithm=command.algorithm,
        seed=command.seed,
        input_digest=command.input_digest,
        quantum_advantage=None if baseline is None else baseline.advantage,
        build=command.build,
        island=command.island,
        works=command.works,
        counts=command.counts,
        parameters=command.parameters,
        trace=command.trace,
        bound=bound,
        gap=None if bound is None else abs(bound - command.value),
        baseline=baseline,
    )


def evolve(job: SolveJob, event: SolveEvent) -> SolveJob:
    match event:
        case SolveQueued():
            return SolveJob(stage=Stage.QUEUED, queued=event)
        case BackendDegraded():
            return job
        case SolveStarted():
            return replace(job, stage=Stage.RUNNING, starts=event.start, node=event.node, plan=None, best=None, work=0)
        case SolvePlanned():
            return replace(job, plan=event)
        case SolveProgressed():
            return replace(job, best=event.value, work=event.work)
        case SolveCompleted():
            return replace(job, stage=Stage.COMPLETED, best=event.value, work=event.work, outcome=event)
        case SolveFailed():
            return replace(job, stage=Stage.FAILED)
        case SolveCancelled():
            return replace(job, stage=Stage.CANCELLED)

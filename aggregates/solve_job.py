"""A solve job: one run of a solver on one problem, with its seed, its counted work and its result."""

import operator
from collections.abc import Sequence
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, get_args

from msgspec import Meta, Struct
from msgspec.structs import replace

from aggregates.values.ids import Digest, JobId, ProblemId
from aggregates.values.numbers import Count, NonNegative, Seed
from aggregates.values.qubo import Finite, Format, Sense
from aggregates.values.text import Note
from runtime.errors import Refused
from runtime.records import Command, Event, House, State

RULES = 1

STARTS_MAX = 3
"""A job that keeps ending its node is not started for ever."""

SolveSeconds = Annotated[float, Meta(ge=0.05, le=600)]
ASSIGNMENT_CHARACTERS_MAX = 63 * 1024
"""What is left of a task's result of 64 KiB when the rest of it is taken off."""

Assignment = Annotated[str, Meta(max_length=ASSIGNMENT_CHARACTERS_MAX)]
"""The packed bits of the variables in base64."""

VARIABLES_MAX = 6 * ASSIGNMENT_CHARACTERS_MAX
"""A larger problem may be registered and solved elsewhere; its assignment would fit into no record."""


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
    queued: "SolveQueued | None" = None
    starts: int = 0
    node: str = ""
    """The start of a node in which it began last."""
    best: float | None = None
    work: int = 0
    outcome: "SolveCompleted | None" = None


initial = SolveJob()


class SolveAccepted(Struct, frozen=True, kw_only=True):
    """The job stands as asked."""

    job_id: JobId


class ProblemFacts(Struct, frozen=True, kw_only=True):
    """What was known of the problem when the job was queued, read at `position` of the log."""

    name: str
    blob: Digest
    format: Format
    sense: Sense
    variables: int
    position: int


class QueueSolve(Command[SolveAccepted], frozen=True, kw_only=True):
    """Solve a problem for so many seconds. Sent by whoever may submit tasks; by the solver actor for a task that it won.

    The solver actor sets `problem`. Without a seed, one is made from the job's id.
    """

    is_new_work = True

    job_id: House[JobId]
    problem_id: ProblemId
    problem: House[ProblemFacts | None] = None
    seconds: SolveSeconds
    seed: Seed | None = None
    target: Finite | None = None
    task_id: House[str] = ""
    token: House[int] = 0


class StartSolve(Command[None], frozen=True, kw_only=True):
    """A worker thread takes the job; again after a restart of the node, whose start is named by `node`. Sent by the solver actor alone."""

    job_id: House[JobId]
    node: House[str] = ""


class ReportSolve(Command[None], frozen=True, kw_only=True):
    """A better value was found. Sent by the solver actor alone, at most twice a second."""

    job_id: House[JobId]
    value: House[float]
    work: House[Count]
    seconds: House[NonNegative]


class CompleteSolve(Command[None], frozen=True, kw_only=True):
    """The time is up or the target reached. Sent by the solver actor alone."""

    job_id: House[JobId]
    value: House[float]
    assignment: House[Assignment]
    work: House[Count]
    seconds: House[NonNegative]
    algorithm: House[str]
    seed: House[Seed]
    input_digest: House[Digest]
    build: House[str] = ""
    """Which kernels, compiler and class of processor computed it; empty in records from before that was noted."""


class FailSolve(Command[None], frozen=True, kw_only=True):
    """The job cannot be done. Sent by the solver actor alone."""

    job_id: House[JobId]
    reason: House[Note]


class CancelSolve(Command[SolveAccepted], frozen=True, kw_only=True):
    """Nobody needs the result any more. Sent by whoever may submit tasks; by the solver actor when the job's task is lost."""

    job_id: House[JobId]
    reason: Note = ""


class SolveQueued(Event, frozen=True, kw_only=True):
    job_id: JobId
    problem_id: ProblemId
    problem: ProblemFacts
    seconds: float
    seed: int
    target: float | None
    task_id: str
    token: int


class SolveStarted(Event, frozen=True, kw_only=True):
    """`start` counts the nodes' starts in which it began: a job that its node did not survive is started again."""

    job_id: JobId
    start: int
    node: str
    started_at: float


class SolveProgressed(Event, frozen=True, kw_only=True):
    job_id: JobId
    value: float
    work: int
    seconds: float


class SolveCompleted(Event, frozen=True, kw_only=True):
    """`quantum_advantage` is measured by a comparison with a classical run; a single run claims none."""

    job_id: JobId
    value: float
    assignment: str
    work: int
    seconds: float
    algorithm: str
    seed: int
    input_digest: str
    quantum_advantage: float | None = None
    build: str = ""


class SolveFailed(Event, frozen=True, kw_only=True):
    job_id: JobId
    reason: str


class SolveCancelled(Event, frozen=True, kw_only=True):
    job_id: JobId
    reason: str


SolveCommand = QueueSolve | StartSolve | ReportSolve | CompleteSolve | FailSolve | CancelSolve
SolveEvent = SolveQueued | SolveStarted | SolveProgressed | SolveCompleted | SolveFailed | SolveCancelled
COMMANDS = get_args(SolveCommand)
EVENTS = get_args(SolveEvent)


def stream(job_id: str) -> str:
    """The stream of a job."""
    return f"solve_job-{job_id}"


def is_closed(job: SolveJob) -> bool:
    """Whether its records may go to an archive: nothing follows any more."""
    return job.stage in (Stage.COMPLETED, Stage.FAILED, Stage.CANCELLED)


def decide(job: SolveJob, command: SolveCommand) -> Sequence[SolveEvent]:
    match job.stage, command:
        case Stage.UNKNOWN, QueueSolve():
            return [_queued(command)]
        case stage, QueueSolve():
            if job.queued == _queued(command):
                return []
            raise Refused("job_exists", f"{command.job_id} is another job, {stage.value}")
        case Stage.UNKNOWN, _:
            raise Refused("job_unknown", command.job_id, status=404)
        case Stage.RUNNING, StartSolve() if command.node == job.node:
            return []
        case ((Stage.QUEUED | Stage.RUNNING), StartSolve()):
            return [_started(job, command)]
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
    )


def _started(job: SolveJob, command: StartSolve) -> SolveStarted | SolveFailed:
    if job.starts == STARTS_MAX:
        return SolveFailed(job_id=command.job_id, reason=f"its node ended {STARTS_MAX} times during it")
    return SolveStarted(job_id=command.job_id, start=job.starts + 1, node=command.node, started_at=command.at)


def _reported(job: SolveJob, command: ReportSolve) -> Sequence[SolveProgressed]:
    assert job.queued is not None
    worse = operator.ge if job.queued.problem.sense is Sense.MIN else operator.le
    if job.best is not None and worse(command.value, job.best):
        return []
    return [SolveProgressed(job_id=command.job_id, value=command.value, work=command.work, seconds=command.seconds)]


def _completed(command: CompleteSolve) -> SolveCompleted:
    return SolveCompleted(
        job_id=command.job_id,
        value=command.value,
        assignment=command.assignment,
        work=command.work,
        seconds=command.seconds,
        algorithm=command.algorithm,
        seed=command.seed,
        input_digest=command.input_digest,
        build=command.build,
    )


def evolve(job: SolveJob, event: SolveEvent) -> SolveJob:
    match event:
        case SolveQueued():
            return SolveJob(stage=Stage.QUEUED, queued=event)
        case SolveStarted():
            return replace(job, stage=Stage.RUNNING, starts=event.start, node=event.node, best=None, work=0)
        case SolveProgressed():
            return replace(job, best=event.value, work=event.work)
        case SolveCompleted():
            return replace(job, stage=Stage.COMPLETED, best=event.value, work=event.work, outcome=event)
        case SolveFailed():
            return replace(job, stage=Stage.FAILED)
        case SolveCancelled():
            return replace(job, stage=Stage.CANCELLED)

"""What happens to a solve job. Fields with a value of their own came later: earlier records lack them."""

from typing import get_args

from msgspec import field

from aggregates.solve_job.commands import ProblemFacts
from aggregates.values.ids import JobId, ProblemId
from aggregates.values.solving import (
    Backend,
    Baseline,
    BaselineRun,
    Counts,
    Known,
    Measures,
    Trace,
    WarmStart,
)
from runtime.records import Event


class SolveQueued(Event, frozen=True, kw_only=True):
    job_id: JobId
    problem_id: ProblemId
    problem: ProblemFacts
    seconds: float
    seed: int
    target: float | None
    task_id: str
    token: int
    work_max: int | None = None
    stagnation_work: int | None = None
    tolerance: float = 0.0
    threads: int = 1
    strategy: str = ""
    backend: Backend = Backend.LOCAL
    warm_start: WarmStart | None = None
    known: Known | None = None
    baseline: Baseline | None = None


class BackendDegraded(Event, frozen=True, kw_only=True):
    """The job was asked to run where this node can't, and to fall back then: it runs on the node's own threads."""

    job_id: JobId
    asked_backend: Backend
    asked_strategy: str
    backend: Backend
    reason: str


class SolveStarted(Event, frozen=True, kw_only=True):
    """`start` counts the nodes' starts in which it began: a job that its node did not survive is started again."""

    job_id: JobId
    start: int
    node: str
    started_at: float


class SolvePlanned(Event, frozen=True, kw_only=True):
    """The problem was measured; with this strategy and build the run goes on. `memory_bytes` is the estimate of what it takes."""

    job_id: JobId
    algorithm: str
    features: Measures
    memory_bytes: int
    build: str


class SolveProgressed(Event, frozen=True, kw_only=True):
    job_id: JobId
    value: float
    work: int
    seconds: float
    island: int = 0


class SolveCompleted(Event, frozen=True, kw_only=True):
    """`quantum_advantage` is how many times as long the baseline took to the best value that both reached; without a baseline there is
    none. `gap` is how far the value is from the proved `bound`, where there is one."""

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
    island: int = 0
    works: tuple[int, ...] = ()
    counts: tuple[Counts, ...] = ()
    parameters: Measures = field(default_factory=dict)
    trace: Trace = ()
    bound: float | None = None
    gap: float | None = None
    baseline: BaselineRun | None = None


class SolveFailed(Event, frozen=True, kw_only=True):
    job_id: JobId
    reason: str


class SolveCancelled(Event, frozen=True, kw_only=True):
    job_id: JobId
    reason: str


SolveEvent = (
    SolveQueued
    | BackendDegraded
    | SolveStarted
    | SolvePlanned
    | SolveProgressed
    | SolveCompleted
    | SolveFailed
    | SolveCancelled
)
EVENTS = get_args(SolveEvent)

"""What may be asked of a solve job; all but the first and the last is said by the solver actor alone."""

from typing import Annotated, get_args

from msgspec import Meta, Struct, field

from aggregates.values.ids import Digest, JobId, ProblemId
from aggregates.values.numbers import Count, NonNegative, Seed, Share
from aggregates.values.qubo import Finite, Format, Sense
from aggregates.values.solving import (
    THREADS_MAX,
    Assignment,
    Backend,
    BackendStanding,
    Baseline,
    BaselineRun,
    Counts,
    Known,
    Measures,
    Simulated,
    SolveSeconds,
    StrategyName,
    Threads,
    Trace,
    WarmStart,
    Work,
)
from aggregates.values.text import Note
from runtime.records import Command, House


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
    couplings: int | None = None
    """None in records from before that was noted."""


class QueueSolve(Command[SolveAccepted], frozen=True, kw_only=True):
    """Solve a problem. Sent by whoever may submit tasks; by the solver actor for a task that it won.

    It ends after so many `seconds`; sooner when each of its `threads` has counted `work_max` steps or, for `stagnation_work` steps,
    has found nothing better by more than `tolerance` times its value, or when one has reached the `target`. Without a `strategy`
    the node takes the one that suits the problem. What this node can't run is refused; with `fallback` it runs on the node's own
    threads instead, and that is recorded. With a `baseline` the job ends with another run that it is measured against. Without a seed,
    one is made from the job's id.
    """

    is_new_work = True

    job_id: House[JobId]
    problem_id: ProblemId
    problem: House[ProblemFacts | None] = None
    """Set by the solver actor."""
    seconds: SolveSeconds
    work_max: Work | None = None
    stagnation_work: Work | None = None
    tolerance: Share = 0.0
    target: Finite | None = None
    seed: Seed | None = None
    threads: Threads = 1
    strategy: StrategyName = ""
    backend: Backend = Backend.LOCAL
    fallback: bool = False
    warm_start: WarmStart | None = None
    known: House[Known | None] = None
    """Set by the gateway, which reads what `warm_start` names."""
    baseline: Baseline | None = None
    configured: House[tuple[Backend, ...]] = (Backend.LOCAL,)
    """The backends that the node can reach, as the solver actor knows it."""
    standing: House[BackendStanding | None] = None
    """How ready the backend is that is asked for; none in records from before that was noted."""
    simulated: House[tuple[Simulated, ...]] = ()
    """The quantum algorithms that the node simulates; none in records from before there were any."""
    task_id: House[str] = ""
    token: House[int] = 0


class StartSolve(Command[None], frozen=True, kw_only=True):
    """A worker thread takes the job; again after a restart of the node, whose start is named by `node`. Sent by the solver actor alone."""

    job_id: House[JobId]
    node: House[str] = ""


class PlanSolve(Command[None], frozen=True, kw_only=True):
    """The problem was read and measured, and a strategy chosen. Sent by the solver actor alone."""

    job_id: House[JobId]
    algorithm: House[str]
    features: House[Measures]
    memory_bytes: House[Count]
    build: House[str]


class ReportSolve(Command[None], frozen=True, kw_only=True):
    """A better value was found. Sent by the solver actor alone, ever more seldom."""

    job_id: House[JobId]
    value: House[float]
    work: House[Count]
    seconds: House[NonNegative]
    island: House[int] = 0


class CompleteSolve(Command[None], frozen=True, kw_only=True):
    """The run has come to its end. Sent by the solver actor alone."""

    job_id: House[JobId]
    value: House[float]
    assignment: House[Assignment]
    work: House[Count]
    """Of the island that found it."""
    seconds: House[NonNegative]
    algorithm: House[str]
    seed: House[Seed]
    input_digest: House[Digest]
    build: House[str] = ""
    """Which kernels, compiler and class of processor computed it; empty in records from before that was noted."""
    island: House[int] = 0
    works: House[Annotated[tuple[int, ...], Meta(max_length=THREADS_MAX)]] = ()
    """Of all islands; empty in records from before there were several."""
    counts: House[Annotated[tuple[Counts, ...], Meta(max_length=THREADS_MAX)]] = ()
    parameters: House[Measures] = field(default_factory=dict)
    trace: House[Trace] = ()
    bound: House[float | None] = None
    """What no assignment can be better than, where the strategy has proved one."""
    baseline: House[BaselineRun | None] = None


class FailSolve(Command[None], frozen=True, kw_only=True):
    """The job cannot be done. Sent by the solver actor alone."""

    job_id: House[JobId]
    reason: House[Note]


class CancelSolve(Command[SolveAccepted], frozen=True, kw_only=True):
    """Nobody needs the result any more. Sent by whoever may submit tasks; by the solver actor when the job's task is lost."""

    job_id: House[JobId]
    reason: Note = ""


SolveCommand = QueueSolve | StartSolve | PlanSolve | ReportSolve | CompleteSolve | FailSolve | CancelSolve
COMMANDS = get_args(SolveCommand)

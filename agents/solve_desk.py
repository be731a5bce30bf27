"""What the solver actor keeps at hand: problems, jobs under way, and tasks that it could do; a fold of the journal."""

from msgspec import Struct, ValidationError, convert, field
from msgspec.structs import replace

from aggregates.agent import AgentDeregistered, AgentRegistered
from aggregates.qubo_problem import ProblemRegistered
from aggregates.solve_job import (
    ProblemFacts,
    SolveCancelled,
    SolveCompleted,
    SolveFailed,
    SolveQueued,
)
from aggregates.task import (
    DryRunEnded,
    LeaseExpired,
    TaskAwarded,
    TaskCancelled,
    TaskCompleted,
    TaskDeadLettered,
    TaskExpired,
    TaskFailed,
    TaskRebalanced,
    TaskRequeued,
    TaskSubmitted,
    TaskType,
)
from aggregates.values.numbers import Seed, Share
from aggregates.values.qubo import Finite
from aggregates.values.solving import SolveSeconds, Threads, Work
from runtime.records import Recorded

HOUSE_SOLVER = "house-solver"
DEAD_MAX = 1_000


class Wanted(Struct, frozen=True, kw_only=True):
    """What the payload of an open optimization task asks for, as far as the solver can do it: the same as of a solve."""

    problem_id: str
    seconds: SolveSeconds
    seed: Seed | None = None
    target: Finite | None = None
    work_max: Work | None = None
    stagnation_work: Work | None = None
    tolerance: Share = 0.0
    threads: Threads = 1
    budget_seconds: float = 0.0
    """Of the task; set here, whatever the payload says."""


class TaskReport(Struct, frozen=True, kw_only=True):
    """How the job for a task ended, kept until the task's own record says so."""

    token: int
    variables: int
    completed: SolveCompleted | None
    reason: str = ""


class Desk(Struct, kw_only=True):
    """The solver's memory of one tenant. Dicts are for look-ups; nothing depends on their order."""

    problems: dict[str, ProblemFacts] = field(default_factory=dict)
    jobs: dict[str, SolveQueued] = field(default_factory=dict)
    """The jobs that have not ended."""
    wanted: dict[str, Wanted] = field(default_factory=dict)
    dead: dict[str, Wanted] = field(default_factory=dict)
    """What the last DEAD_MAX dead letters ask for: they may be offered again."""
    held: dict[str, int] = field(default_factory=dict)
    """The tokens of the tasks that the house solver holds."""
    reports: dict[str, TaskReport] = field(default_factory=dict)
    lease_seconds: float = 0.0
    """The house solver's lease as an agent; 0 while it is not one."""
    dismissed: bool = False
    """It was deregistered: it stays away until somebody registers it again."""
    completed: int = 0
    failed: int = 0


def remember(memory: Desk, recorded: Recorded) -> Desk:
    """Folds an event of a problem, a job, a task or the house solver's own registration."""
    event = recorded.event
    match event:
        case ProblemRegistered():
            memory.problems[event.problem_id] = ProblemFacts(
                name=event.name,
                blob=event.blob,
                format=event.format,
                sense=event.sense,
                variables=event.variables,
                position=recorded.position,
                couplings=event.couplings,
            )
        case AgentRegistered() if event.agent_id == HOUSE_SOLVER:
            memory.lease_seconds, memory.dismissed = event.lease_seconds, False
        case AgentDeregistered() if event.agent_id == HOUSE_SOLVER:
            memory.lease_seconds, memory.dismissed = 0.0, True
        case TaskSubmitted():
            if event.task_type is TaskType.OPTIMIZATION and (wanted := _wanted(event)) is not None:
                memory.wanted[event.task_id] = wanted
        case TaskAwarded() if event.agent_id == HOUSE_SOLVER:
            memory.held[event.task_id] = event.token
        case LeaseExpired() | TaskRebalanced():
            _let_go(memory, event.task_id)
        case TaskFailed() if not event.final:
            _let_go(memory, event.task_id)
        case TaskDeadLettered():
            _let_go(memory, event.task_id)
            if (wanted := memory.wanted.pop(event.task_id, None)) is not None:
                memory.dead[event.task_id] = wanted
            if len(memory.dead) > DEAD_MAX:
                del memory.dead[next(iter(memory.dead))]
        case TaskRequeued():
            if (wanted := memory.dead.pop(event.task_id, None)) is not None:
                memory.wanted[event.task_id] = wanted
        case TaskCompleted() | TaskFailed() | TaskCancelled() | TaskExpired() | DryRunEnded():
            _let_go(memory, event.task_id)
            memory.wanted.pop(event.task_id, None)
        case SolveQueued():
            memory.jobs[event.job_id] = event
        case SolveCompleted():
            memory.completed += 1
            _end(memory, event.job_id, event)
        case SolveFailed():
            memory.failed += 1
            _end(memory, event.job_id, reason=event.reason)
        case SolveCancelled():
            _end(memory, event.job_id, reason=event.reason or "cancelled")
    return memory


def _let_go(memory: Desk, task_id: str) -> None:
    memory.held.pop(task_id, None)
    memory.reports.pop(task_id, None)


def _end(memory: Desk, job_id: str, completed: SolveCompleted | None = None, reason: str = "") -> None:
    job = memory.jobs.pop(job_id, None)
    if job is None:
        return
    task_id, token = job.task_id, job.token
    if task_id and memory.held.get(task_id) == token:
        variables = job.problem.variables
        memory.reports[task_id] = TaskReport(token=token, variables=variables, completed=completed, reason=reason)


def _wanted(event: TaskSubmitted) -> Wanted | None:
    """None when the payload does not name a problem, or asks for what no solve can do."""
    try:
        return replace(convert(event.payload, Wanted), budget_seconds=event.budget_seconds)
    except ValidationError:
        return None

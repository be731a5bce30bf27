"""A task: agents bid for it, one wins, and someone finishes it.

This module says what may be said; `decide` and `evolve` stand at its end. A house field holds a fact that the coordinator read,
with the position of the log at which it read it; what follows from the facts is computed here, so that a replay proves something.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

from aggregates.values.document import Document
from aggregates.values.ids import AgentId, TaskId
from aggregates.values.numbers import Count, Instant, NonNegative, Positive, Priority, Share, Token
from aggregates.values.ranking import Bid, BidderFacts, Ranked
from aggregates.values.skills import Skills
from aggregates.values.text import Note
from runtime.errors import Refused
from runtime.records import Command, Event, House, State

RULES = 1

VOIDS_MAX = 50
"""How many books in a row may find no winner before the task is given up."""

BUDGET_GRACE_SECONDS = 5.0
"""How long over its budget an attempt may run before it fails."""

Seconds = Annotated[float, Meta(gt=0, le=86400 * 7)]
BiddingSeconds = Annotated[float, Meta(ge=0.05, le=60)]
Attempts = Annotated[int, Meta(ge=1, le=10)]
Links = Annotated[tuple[TaskId, ...], Meta(max_length=64)]
Round = Annotated[int, Meta(ge=0, le=2**31)]
"""A book's number within its task, from 1; 0 in a command stands for the book that is open now."""


class TaskType(str, Enum):
    """What kind of work it is; any agent with the skills may bid."""

    ANALYSIS = "analysis"
    TESTING = "testing"
    TRANSFORMATION = "transformation"
    BUG_FIX = "bug_fix"
    MONITORING = "monitoring"
    DEPLOYMENT = "deployment"
    SECURITY_SCAN = "security_scan"
    OPTIMIZATION = "optimization"
    VERIFICATION = "verification"


class Stage(str, Enum):
    """Where a task stands."""

    UNKNOWN = "unknown"
    SUBMITTED = "submitted"
    BLOCKED = "blocked"
    BIDDING = "bidding"
    AWARDED = "awarded"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    DEAD_LETTERED = "dead_lettered"


HELD = (Stage.AWARDED, Stage.RUNNING)
"""An agent holds the task's lease."""
ENDED = (Stage.COMPLETED, Stage.FAILED, Stage.CANCELLED, Stage.EXPIRED, Stage.DEAD_LETTERED)
"""Nothing follows any more."""

VoidReason = Literal["no_bids", "all_refused", "none_fit"]


class Task(State, frozen=True, kw_only=True):
    """What decisions about one task need to know. Tuples of bids and names are kept sorted by agent."""

    stage: Stage = Stage.UNKNOWN
    digest: bytes = b""
    task_type: TaskType = TaskType.ANALYSIS
    capabilities: tuple[str, ...] = ()
    priority: int = 3
    independent_of: tuple[str, ...] = ()
    waiting_for: tuple[str, ...] = ()
    budget_seconds: float = 0.0
    bidding_seconds: float = 0.0
    deadline: float | None = None
    attempts_max: int = 1
    attempt: int = 0
    """Awards so far; the last award's token is the same number."""
    round: int = 0
    voids: int = 0
    """Books in a row that found no winner."""
    eligible: tuple[str, ...] = ()
    closes_at: float = 0.0
    bids: tuple[Bid, ...] = ()
    refused: tuple[str, ...] = ()
    """The eligible agents that answered without a bid, or took theirs back."""
    assignee: str = ""
    awarded_at: float = 0.0
    lease_seconds: float = 0.0
    result_digest: bytes = b""


initial = Task()


class TaskAccepted(Struct, frozen=True, kw_only=True):
    """The task stands as asked."""

    task_id: TaskId


class BidAccepted(Struct, frozen=True, kw_only=True):
    """The answer to the call is in the book of this round."""

    task_id: TaskId
    agent_id: AgentId
    round: int


class DependencyFact(Struct, frozen=True, kw_only=True):
    """Where another task stood at `position` of the log; `unknown` when there is none, or it ended too long ago to be at hand."""

    task_id: TaskId
    stage: Stage
    position: int


class Candidate(Struct, frozen=True, kw_only=True):
    """An active agent that may be offered a task, as it stood at `position` of the log."""

    agent_id: AgentId
    capabilities: tuple[str, ...]
    slots: int
    running: int
    position: int


class Doer(Struct, frozen=True, kw_only=True):
    """Who completed another task; read at `position` of the log."""

    task_id: TaskId
    agent_id: AgentId
    position: int


class SubmitTask(Command[TaskAccepted], frozen=True, kw_only=True):
    """Somebody wants work done. Sent by an enrolment, operator or admin key.

    `independent_of` names dependencies whose doers may not do this task. The coordinator sets the facts: where the dependencies stand,
    which of the capabilities no agent of the tenant has ever offered, and the longest budget that this node allows.
    """

    task_id: House[TaskId]
    task_type: TaskType
    description: Note = ""
    capabilities: Skills = ()
    requirements: Document = {}
    priority: Priority = 3
    dependencies: Links = ()
    independent_of: Links = ()
    budget_seconds: Seconds = 3600.0
    bidding_seconds: BiddingSeconds = 2.0
    deadline: Instant | None = None
    estimated_duration: Positive | None = None
    payload: Document = {}
    attempts_max: Attempts = 3
    submitted_by: House[str] = ""
    dependency_facts: House[tuple[DependencyFact, ...]] = ()
    skills_never_offered: House[tuple[str, ...]] = ()
    budget_seconds_max: House[float] = 3600.0


class UnblockTask(Command[None], frozen=True, kw_only=True):
    """A dependency was completed, at `position` of the log. Sent by the coordinator alone."""

    task_id: House[TaskId]
    dependency: House[TaskId]
    position: House[int]


class FailDependent(Command[None], frozen=True, kw_only=True):
    """A dependency ended without a result, at `position` of the log. Sent by the coordinator alone."""

    task_id: House[TaskId]
    dependency: House[TaskId]
    stage: House[Stage]
    position: House[int]


class OpenBook(Command[None], frozen=True, kw_only=True):
    """Calls for proposals. Sent by the coordinator alone; who of the candidates is eligible is computed here."""

    task_id: House[TaskId]
    round: House[Round]
    candidates: House[tuple[Candidate, ...]]
    doers: House[tuple[Doer, ...]] = ()


class PlaceBid(Command[BidAccepted], frozen=True, kw_only=True):
    """An agent offers to do the task; a second bid of the same agent replaces its first. Sent by the agent itself."""

    task_id: TaskId
    agent_id: House[AgentId]
    round: Round = 0
    price: NonNegative
    eta_seconds: Positive
    confidence: Share = 1.0
    capacity_offer: NonNegative = 0.0
    expires_at: Instant | None = None


class WithdrawBid(Command[BidAccepted], frozen=True, kw_only=True):
    """An agent takes its bid back while the book is open. Sent by the agent itself."""

    task_id: TaskId
    agent_id: House[AgentId]
    round: Round = 0


class RefuseBid(Command[BidAccepted], frozen=True, kw_only=True):
    """An agent says that it will not bid, so that nobody waits for it. Sent by the agent itself."""

    task_id: TaskId
    agent_id: House[AgentId]
    round: Round = 0
    reason: Note = ""


class AwardTask(Command[None], frozen=True, kw_only=True):
    """Closes the book: ranks the bids and awards the task, or finds no winner. Sent by the coordinator alone, with the bidders' facts."""

    task_id: House[TaskId]
    round: House[Round]
    bidders: House[tuple[BidderFacts, ...]]


class StartTask(Command[TaskAccepted], frozen=True, kw_only=True):
    """The winner begins. Sent by the agent itself, with the token of its award."""

    task_id: TaskId
    agent_id: House[AgentId]
    token: Token


class CompleteTask(Command[TaskAccepted], frozen=True, kw_only=True):
    """The work is done. Sent by the agent itself, with the token of its award."""

    task_id: TaskId
    agent_id: House[AgentId]
    token: Token
    result: Document = {}


class FailTask(Command[TaskAccepted], frozen=True, kw_only=True):
    """The agent gives up; the task is offered again while it has attempts left. Sent by the agent itself, with its token."""

    task_id: TaskId
    agent_id: House[AgentId]
    token: Token
    reason: Note = ""


class ExpireLease(Command[None], frozen=True, kw_only=True):
    """The holder was silent for a full term, or is gone (`agent_gone_position`: where the log says so). Sent by the coordinator alone."""

    task_id: House[TaskId]
    token: House[Token]
    last_heard_at: House[Instant]
    agent_gone_position: House[Count] = 0


class EndOverrun(Command[None], frozen=True, kw_only=True):
    """The holder is alive but over the task's budget. Sent by the coordinator alone."""

    task_id: House[TaskId]
    token: House[Token]


class CancelTask(Command[TaskAccepted], frozen=True, kw_only=True):
    """Nobody needs the work any more. Sent by an operator or admin, or by the key that submitted the task."""

    task_id: House[TaskId]
    reason: Note = ""


class ExpireTask(Command[None], frozen=True, kw_only=True):
    """The deadline has passed. Sent by the coordinator alone."""

    task_id: House[TaskId]


class TaskSubmitted(Event, frozen=True, kw_only=True):
    task_id: TaskId
    task_type: TaskType
    description: str
    capabilities: tuple[str, ...]
    requirements: Document
    priority: int
    dependencies: tuple[str, ...]
    independent_of: tuple[str, ...]
    waiting_for: tuple[str, ...]
    """The dependencies that were not complete; the task is blocked until they are."""
    budget_seconds: float
    bidding_seconds: float
    deadline: float | None
    estimated_duration: float | None
    payload: Document
    attempts_max: int
    submitted_by: str
    submitted_at: float
    digest: bytes
    """The sha256 of what was asked for, so that the same submission heard twice is known."""


class DependencyMet(Event, frozen=True, kw_only=True):
    task_id: TaskId
    dependency: TaskId


class TaskUnblocked(Event, frozen=True, kw_only=True):
    """The last dependency was met."""

    task_id: TaskId


class BookOpened(Event, frozen=True, kw_only=True):
    task_id: TaskId
    round: int
    attempt: int
    eligible: tuple[str, ...]
    closes_at: float
    task_type: TaskType
    capabilities: tuple[str, ...]
    priority: int
    budget_seconds: float


class BidPlaced(Event, frozen=True, kw_only=True):
    task_id: TaskId
    round: int
    agent_id: AgentId
    price: float
    eta_seconds: float
    confidence: float
    capacity_offer: float
    expires_at: float | None
    placed_at: float


class BidWithdrawn(Event, frozen=True, kw_only=True):
    task_id: TaskId
    round: int
    agent_id: AgentId


class BidRefused(Event, frozen=True, kw_only=True):
    task_id: TaskId
    round: int
    agent_id: AgentId
    reason: str


class BookVoided(Event, frozen=True, kw_only=True):
    """The book closed without a winner; `ranking` says why each bid lost."""

    task_id: TaskId
    round: int
    reason: VoidReason
    voids: int
    ranking: tuple[Ranked, ...] = ()


class TaskAwarded(Event, frozen=True, kw_only=True):
    """`token` fences the lease: only the newest one is good. `ranking` has the winner first; losers by fault come last."""

    task_id: TaskId
    round: int
    attempt: int
    agent_id: AgentId
    token: int
    lease_seconds: float
    budget_seconds: float
    awarded_at: float
    price: float
    eta_seconds: float
    ranking: tuple[Ranked, ...]
    reason: str


class TaskStarted(Event, frozen=True, kw_only=True):
    task_id: TaskId
    agent_id: AgentId
    token: int
    started_at: float


class TaskCompleted(Event, frozen=True, kw_only=True):
    """`seconds` counts from the award."""

    task_id: TaskId
    agent_id: AgentId
    token: int
    result: Document
    result_digest: bytes
    seconds: float


class TaskFailed(Event, frozen=True, kw_only=True):
    """An attempt failed; with `final` the task itself, which then never had or needs no holder (`agent_id` empty, `token` 0)."""

    task_id: TaskId
    agent_id: str
    token: int
    reason: str
    final: bool


class LeaseExpired(Event, frozen=True, kw_only=True):
    task_id: TaskId
    agent_id: AgentId
    token: int
    last_heard_at: float


class TaskReopened(Event, frozen=True, kw_only=True):
    """`attempt` is the number of the attempt to come."""

    task_id: TaskId
    attempt: int
    reason: str


class TaskDeadLettered(Event, frozen=True, kw_only=True):
    task_id: TaskId
    reason: str


class TaskCancelled(Event, frozen=True, kw_only=True):
    task_id: TaskId
    reason: str


class TaskExpired(Event, frozen=True, kw_only=True):
    task_id: TaskId
    deadline: float


TaskCommand = (
    SubmitTask
    | UnblockTask
    | FailDependent
    | OpenBook
    | PlaceBid
    | WithdrawBid
    | RefuseBid
    | AwardTask
    | StartTask
    | CompleteTask
    | FailTask
    | ExpireLease
    | EndOverrun
    | CancelTask
    | ExpireTask
)
TaskEvent = (
    TaskSubmitted
    | DependencyMet
    | TaskUnblocked
    | BookOpened
    | BidPlaced
    | BidWithdrawn
    | BidRefused
    | BookVoided
    | TaskAwarded
    | TaskStarted
    | TaskCompleted
    | TaskFailed
    | LeaseExpired
    | TaskReopened
    | TaskDeadLettered
    | TaskCancelled
    | TaskExpired
)
COMMANDS = get_args(TaskCommand)
EVENTS = get_args(TaskEvent)


def stream(task_id: str) -> str:
    """The stream of a task."""
    return f"task-{task_id}"

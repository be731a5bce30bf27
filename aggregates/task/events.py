"""What happens to a task."""

from typing import get_args

from msgspec import field

from aggregates.task.terms import BIDDING_SECONDS_MAX, DependencyPolicy, Doer, Stage, StallReason, TaskType, VoidReason
from aggregates.values.batches import BatchShare
from aggregates.values.concurrency import Concurrency
from aggregates.values.document import Document
from aggregates.values.ids import AgentId, TaskId
from aggregates.values.no_bids import WAITS, NoBidPolicy
from aggregates.values.ranking import AwardPolicy, Ranked
from aggregates.values.retrying import AT_ONCE, RetryPolicy
from aggregates.values.sealed_bids import OpenedBid
from aggregates.values.skill_terms import SkillNeed
from aggregates.values.weights import Weights
from runtime.records import Event, Personal, Untold


class TaskSubmitted(Event, frozen=True, kw_only=True):
    task_id: TaskId
    task_type: TaskType
    description: Personal[str]
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
    payload: Personal[Document]
    attempts_max: int
    submitted_by: str
    submitted_at: float
    digest: Personal[bytes]
    """The sha256 of what was asked for, so that the same submission heard twice is known."""
    data_subject: str = ""
    units: float = 0.0
    """How much of an agent's capacity it takes, from the award to the end of the lease."""
    skills: tuple[SkillNeed, ...] = ()
    """What it needs beyond the names, which are among the capabilities."""
    regions: tuple[str, ...] = ()
    retry: RetryPolicy = AT_ONCE
    no_bids: NoBidPolicy = WAITS
    bidding_seconds_max: float = BIDDING_SECONDS_MAX
    """How long a round may be open that is widened."""
    award_policy: AwardPolicy = AwardPolicy.WEIGHTED_SCORE
    not_before: float | None = None
    """Nobody is called for it before then."""
    queue: str = ""
    """Empty: that of its type."""
    concurrency: Concurrency | None = None
    blobs: dict[str, str] = field(default_factory=dict)
    dependency_policy: DependencyPolicy = DependencyPolicy.FAIL
    unmet: tuple[str, ...] = ()
    """The dependencies that had ended without a result, without which it runs."""
    schema_version: int = 0
    """By which version of the schemas of its type payload and result go; 0: by none."""
    price_max: float | None = None
    surcharge: bool = False
    """More may be charged in the end than was agreed, up to `price_max` where there is one."""
    dry_run: bool = False
    assign_to: str = ""
    """Who alone is called for it; empty: whoever can do it."""


class DependencyMet(Event, frozen=True, kw_only=True):
    task_id: TaskId
    dependency: TaskId


class DependencyUnmet(Event, frozen=True, kw_only=True):
    """A dependency ended without a result, at this stage, and the task runs without it. `unmet` are all of these, this one too."""

    task_id: TaskId
    dependency: TaskId
    stage: Stage
    unmet: tuple[str, ...]


class TaskUnblocked(Event, frozen=True, kw_only=True):
    """It waits for no dependency any more."""

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
    units: float = 0.0
    award_policy: AwardPolicy = AwardPolicy.WEIGHTED_SCORE
    widening: int = 0
    """How often it was widened, since the task was offered first or came back."""
    bidding_seconds: float = 0.0
    """How long it is open, where that is widened; else as long as was asked for."""


class TaskStalled(Event, frozen=True, kw_only=True):
    """There is nobody to call; told once, until somebody is called or the reason is another."""

    task_id: TaskId
    reason: StallReason


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
    conditions: str = ""


class BidCommitted(Event, frozen=True, kw_only=True):
    """A sealed bid: nobody but the agent knows what it is."""

    task_id: TaskId
    round: int
    agent_id: AgentId
    commitment: str
    committed_at: float


class RevealOpened(Event, frozen=True, kw_only=True):
    """Those who have committed to a bid are to open it until then."""

    task_id: TaskId
    round: int
    committed: tuple[str, ...]
    closes_at: float


class BidRevealed(Event, frozen=True, kw_only=True):
    """A sealed bid was opened, and is what was committed to or not. What it is, nobody is told before the book closes."""

    task_id: TaskId
    round: int
    agent_id: AgentId
    price: Untold[float]
    eta_seconds: Untold[float]
    confidence: Untold[float]
    capacity_offer: Untold[float]
    salt: Untold[str]
    matches: bool
    revealed_at: float


class BidWithdrawn(Event, frozen=True, kw_only=True):
    task_id: TaskId
    round: int
    agent_id: AgentId


class BidRefused(Event, frozen=True, kw_only=True):
    task_id: TaskId
    round: int
    agent_id: AgentId
    reason: Personal[str]
    data_subject: str = ""


class BookVoided(Event, frozen=True, kw_only=True):
    """The book closed without a winner; `ranking` says why each bid lost. `since` is when the first of `voids` in a row did."""

    task_id: TaskId
    round: int
    reason: VoidReason
    voids: int
    since: float = 0.0
    ranking: tuple[Ranked, ...] = ()
    opened: tuple[OpenedBid, ...] = ()
    batch: BatchShare | None = None
    """The batch in which others were worth more."""
    weights: Weights | None = None
    """By what its ranking was made."""


class TaskAwarded(Event, frozen=True, kw_only=True):
    """`token` fences the lease: only the newest one is good. `ranking` has the winner first, then the others by what they were ordered by;
    losers by fault come last."""

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
    confidence: float | None = None
    """As the winner stated it; in earlier records its term in the ranking is that."""
    units: float = 0.0
    weights: Weights | None = None
    """By what the ranking was made; None: the usual ones."""
    price_asked: float | None = None
    """What the winner asked, where it is paid something else."""
    opened: tuple[OpenedBid, ...] = ()
    """The sealed bids, as they were opened."""
    assigned_by: str = ""
    """Who gave it to the agent without a book."""
    batch: BatchShare | None = None
    """The batch that it was settled in: others may then have a higher score, and be worth more elsewhere."""
    is_person: bool = False
    """The holder is a person: `lease_seconds` is how long it stays with them without a word, and no budget ends it."""

    @property
    def stated_confidence(self) -> float:
        return self.ranking[0].confidence_term if self.confidence is None and self.ranking else self.confidence or 0.0


class DryRunEnded(Event, frozen=True, kw_only=True):
    """The book of a dry run closed: who would have won, if anybody (`winner`), at what `price`, and why. Nobody has it."""

    task_id: TaskId
    round: int
    winner: str
    price: float | None
    price_asked: float | None
    ranking: tuple[Ranked, ...]
    reason: str
    weights: Weights | None = None
    opened: tuple[OpenedBid, ...] = ()


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
    result: Personal[Document]
    result_digest: Personal[bytes]
    seconds: float
    data_subject: str = ""
    charged: float | None = None
    """None: the price that was agreed."""


class TaskFailed(Event, frozen=True, kw_only=True):
    """An attempt failed; with `final` the task itself, which then never had or needs no holder (`agent_id` empty, `token` 0)."""

    task_id: TaskId
    agent_id: str
    token: int
    reason: Personal[str]
    final: bool
    data_subject: str = ""
    declined: bool = False
    """The agent would not begin what it had won, or was a person who gave it back."""
    attempts_max: int | None = None
    """How many attempts there may be now, where this one is not counted."""


class QuestionAsked(Event, frozen=True, kw_only=True):
    """The holder waits for an answer; `number` counts the task's questions."""

    task_id: TaskId
    agent_id: AgentId
    token: int
    number: int
    question: Personal[str]
    question_digest: Personal[bytes]
    asked_at: float
    data_subject: str = ""


class QuestionAnswered(Event, frozen=True, kw_only=True):
    """The holder may go on. The clock of its budget stood still for `waited_seconds`."""

    task_id: TaskId
    agent_id: AgentId
    token: int
    number: int
    answer: Personal[str]
    answer_digest: Personal[bytes]
    answered_by: str
    waited_seconds: float
    data_subject: str = ""


class TaskProgressed(Event, frozen=True, kw_only=True):
    """How far the holder says it is."""

    task_id: TaskId
    agent_id: AgentId
    token: int
    share: float
    note: Personal[str]
    progressed_at: float
    data_subject: str = ""


class OfferDeclined(Event, frozen=True, kw_only=True):
    """A person will not take the task, which waits on for others."""

    task_id: TaskId
    agent_id: AgentId
    reason: Personal[str]
    data_subject: str = ""


class LeaseExpired(Event, frozen=True, kw_only=True):
    task_id: TaskId
    agent_id: AgentId
    token: int
    last_heard_at: float


class TaskRebalanced(Event, frozen=True, kw_only=True):
    """A task that was not begun was taken from its holder, since another agent (`better`) would have been better by far: it waits for a
    book again, and counts for nobody as an attempt (`attempts_max` is one more)."""

    task_id: TaskId
    agent_id: AgentId
    token: int
    attempts_max: int
    score: float
    better: AgentId
    better_score: float


class LateReported(Event, frozen=True, kw_only=True):
    """The agent reported (`report` names its command) after its lease had been taken, and was refused. The `count`th report under this
    token; `more` since the one before on record, since not each is."""

    task_id: TaskId
    agent_id: AgentId
    token: int
    report: str
    count: int
    more: int


class TaskReopened(Event, frozen=True, kw_only=True):
    """`attempt` is the number of the attempt to come. Nobody is called for it before `not_before`, where its task asks for a delay."""

    task_id: TaskId
    attempt: int
    reason: Personal[str]
    data_subject: str = ""
    not_before: float | None = None


class TaskDeadLettered(Event, frozen=True, kw_only=True):
    task_id: TaskId
    reason: Personal[str]
    data_subject: str = ""


class CancelRequested(Event, frozen=True, kw_only=True):
    """The holder of this token is to stop; it may still end the task itself until `cancel_by`."""

    task_id: TaskId
    agent_id: AgentId
    token: int
    cancel_by: float
    reason: Personal[str]
    data_subject: str = ""


class TaskCancelled(Event, frozen=True, kw_only=True):
    task_id: TaskId
    reason: Personal[str]
    data_subject: str = ""


class TaskAmended(Event, frozen=True, kw_only=True):
    """Priority and deadline as they are now, changed or not; of the rest, what is None is as it was."""

    task_id: TaskId
    priority: int
    deadline: float | None
    not_before: float | None = None
    estimated_duration: float | None = None
    budget_seconds: float | None = None


class TaskRequeued(Event, frozen=True, kw_only=True):
    """A dead letter waits for a book again. `attempts_max` counts all attempts, those before too: tokens go on from where they were."""

    task_id: TaskId
    attempt: int
    """The number of the attempt to come."""
    attempts_max: int
    round: int
    """The number of its last book."""
    task_type: TaskType
    capabilities: tuple[str, ...]
    priority: int
    independent_of: tuple[str, ...]
    doers: tuple[Doer, ...]
    budget_seconds: float
    bidding_seconds: float
    deadline: float | None
    requeued_at: float
    reason: Personal[str]
    data_subject: str = ""
    units: float = 0.0
    skills: tuple[SkillNeed, ...] = ()
    regions: tuple[str, ...] = ()
    not_before: float | None = None
    queue: str = ""
    concurrency: Concurrency | None = None
    schema_version: int = 0
    no_bids: NoBidPolicy = WAITS
    bidding_seconds_max: float = BIDDING_SECONDS_MAX
    price_max: float | None = None
    assign_to: str = ""


class TaskExpired(Event, frozen=True, kw_only=True):
    task_id: TaskId
    deadline: float


TaskEvent = (
    TaskSubmitted
    | DependencyMet
    | DependencyUnmet
    | TaskUnblocked
    | BookOpened
    | TaskStalled
    | BidPlaced
    | BidCommitted
    | RevealOpened
    | BidRevealed
    | BidWithdrawn
    | BidRefused
    | BookVoided
    | TaskAwarded
    | DryRunEnded
    | TaskStarted
    | TaskCompleted
    | TaskFailed
    | QuestionAsked
    | QuestionAnswered
    | TaskProgressed
    | OfferDeclined
    | LeaseExpired
    | TaskRebalanced
    | LateReported
    | TaskReopened
    | TaskDeadLettered
    | CancelRequested
    | TaskCancelled
    | TaskAmended
    | TaskRequeued
    | TaskExpired
)
EVENTS = get_args(TaskEvent)

"""What may be asked of a task. A house field holds a fact that the coordinator read, with the position of the log where it stands."""

from typing import get_args

from msgspec import field

from aggregates.task.terms import (
    ATTEMPTS_MAX,
    BIDDING_SECONDS_MAX,
    SECONDS_MAX,
    Attempts,
    BidAccepted,
    BiddingSeconds,
    Candidate,
    Contender,
    DependencyFact,
    DependencyPolicy,
    Doer,
    Duty,
    Grace,
    LeaseStanding,
    Links,
    Round,
    SchemaFact,
    Seconds,
    Stage,
    TaskAccepted,
    TasksAnswered,
    TaskType,
)
from aggregates.values.batches import BatchShare
from aggregates.values.blobs import Blobs
from aggregates.values.concurrency import Concurrency
from aggregates.values.document import Document
from aggregates.values.ids import AgentId, DataSubject, TaskId
from aggregates.values.no_bids import WAITS, NoBidPolicy
from aggregates.values.numbers import Count, Instant, NonNegative, Positive, Priority, Share, Token
from aggregates.values.price_list import ListedPrices
from aggregates.values.queues import SomeQueue
from aggregates.values.ranking import AwardPolicy, BidderFacts
from aggregates.values.retrying import AT_ONCE, RetryPolicy
from aggregates.values.sealed_bids import Commitment, Salt
from aggregates.values.skill_terms import SkillNeeds
from aggregates.values.skills import Regions, Skills
from aggregates.values.text import Note
from aggregates.values.weights import Weights
from runtime.records import Command, House, Personal, Untold


class SubmitTask(Command[TaskAccepted], frozen=True, kw_only=True):
    """Somebody wants work done. Sent by an enrolment, operator or admin key.

    `skills` asks for some in a version or with attributes, and their names are needed as those in `capabilities` are; with `regions`,
    only an agent in one of these may do it. `award_policy` says by what its bids are ordered first; no bid that asks more than
    `price_max` wins, and with `surcharge` more may be charged than was agreed, up to that. In a `dry_run` agents are called and bid, and
    nobody is awarded it: it ends with who would have won. Nobody is called for it before `not_before`. With `assign_to` that agent alone
    is called for it, whoever else could do it. Its `queue` is that of its type where none is named; `concurrency` bounds how many of its
    key are under way at a time. `dependency_policy` says what becomes of it when a dependency ends without a result. `independent_of`
    names dependencies whose doers may not do this task. Budget and attempts are as much as the node allows where none are asked for, and
    its book is open for `BIDDING_SECONDS`. With a `data_subject`, description, payload, result and reasons are that person's data: they
    are encrypted, and can be erased. `blobs` are large values that stand beside the payload, each by a name of its own; the names and
    digests are no secret. The coordinator sets the facts: where the dependencies stand, which of the capabilities no agent of the tenant
    has ever offered, what this node allows at most, and which version of the schemas of its type the payload was found to fit; a record
    from before it did stands for a node that set no bound. `submitted_with` names those dependencies that are submitted before it in the
    same commit: no position of the log could tell of them yet. `blobs_missing` names those of the blobs that the tenant does not have, as
    the door has found; `assignee_unknown` says that there is no agent of the name in `assign_to`.
    """

    is_new_work = True

    task_id: House[TaskId]
    task_type: TaskType
    description: Personal[Note] = ""
    capabilities: Skills = ()
    requirements: Document = field(default_factory=dict)
    priority: Priority = 3
    dependencies: Links = ()
    independent_of: Links = ()
    budget_seconds: Seconds | None = None
    bidding_seconds: BiddingSeconds | None = None
    deadline: Instant | None = None
    estimated_duration: Positive | None = None
    payload: Personal[Document] = field(default_factory=dict)
    attempts_max: Attempts | None = None
    retry: RetryPolicy = AT_ONCE
    no_bids: NoBidPolicy = WAITS
    data_subject: DataSubject = ""
    skills: SkillNeeds = ()
    regions: Regions = ()
    award_policy: AwardPolicy = AwardPolicy.WEIGHTED_SCORE
    not_before: Instant | None = None
    queue: SomeQueue = ""
    concurrency: Concurrency | None = None
    blobs: Blobs = field(default_factory=dict)
    dependency_policy: DependencyPolicy = DependencyPolicy.FAIL
    price_max: NonNegative | None = None
    surcharge: bool = False
    dry_run: bool = False
    assign_to: AgentId | None = None
    submitted_by: House[str] = ""
    dependency_facts: House[tuple[DependencyFact, ...]] = ()
    submitted_with: House[Links] = ()
    schema: House[SchemaFact | None] = None
    skills_never_offered: House[tuple[str, ...]] = ()
    blobs_missing: House[tuple[str, ...]] = ()
    assignee_unknown: House[bool] = False
    budget_seconds_max: House[float] = SECONDS_MAX
    bidding_seconds_max: House[float] = BIDDING_SECONDS_MAX
    attempts_allowed: House[int] = ATTEMPTS_MAX


class SubmitTasks(Command[TasksAnswered], frozen=True, kw_only=True):
    """Somebody wants many tasks done, all of them or none; each comes after those of the others that it depends on.

    Sent as `SubmitTask` is. The coordinator decides them in one step; where anything is wrong with any of them, or this `only_asks`, it
    says what and records nothing.
    """

    is_new_work = True

    tasks: tuple[SubmitTask, ...]
    only_asks: bool = False


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
    """Calls for proposals. Sent by the coordinator alone; who of the candidates is eligible is computed here.

    `passed_over` says whether others could have been called too, whose turn it was not; None in records from before it was said.
    """

    task_id: House[TaskId]
    round: House[Round]
    candidates: House[tuple[Candidate, ...]]
    doers: House[tuple[Doer, ...]] = ()
    duties: House[tuple[Duty, ...]] = ()
    passed_over: House[bool | None] = None
    taker: House[str] = ""
    """The person who has it opened to bid; nobody asks after their hours."""


class NoteStall(Command[None], frozen=True, kw_only=True):
    """Nobody could be called, busy or not: `candidates` are the active agents with the skills, `duties` tell who of them is on duty. Sent
    by the coordinator alone."""

    task_id: House[TaskId]
    candidates: House[tuple[Candidate, ...]] = ()
    doers: House[tuple[Doer, ...]] = ()
    duties: House[tuple[Duty, ...]] = ()


class PlaceBid(Command[BidAccepted], frozen=True, kw_only=True):
    """An agent offers to do the task; a second bid of the same agent replaces its first. Sent by the agent itself.

    Where it names no price, its list does: the coordinator sets `listed`. `conditions` are for people to read, and no place for what tells
    of a person.
    """

    task_id: TaskId
    agent_id: House[AgentId]
    round: Round = 0
    price: NonNegative | None = None
    eta_seconds: Positive
    confidence: Share = 1.0
    capacity_offer: NonNegative = 0.0
    expires_at: Instant | None = None
    conditions: Note = ""
    listed: House[ListedPrices | None] = None


class CommitBid(Command[BidAccepted], frozen=True, kw_only=True):
    """An agent commits to a sealed bid without telling it; a second commitment replaces its first. Sent by the agent itself."""

    task_id: TaskId
    agent_id: House[AgentId]
    round: Round = 0
    commitment: Commitment


class OpenReveal(Command[None], frozen=True, kw_only=True):
    """All commitments are in, or their time is up: they are to be opened. Sent by the coordinator alone."""

    task_id: House[TaskId]
    round: House[Round]


class RevealBid(Command[BidAccepted], frozen=True, kw_only=True):
    """An agent opens the sealed bid that it has committed to. Sent by the agent itself."""

    task_id: TaskId
    agent_id: House[AgentId]
    round: Round = 0
    price: Untold[NonNegative]
    eta_seconds: Untold[Positive]
    confidence: Untold[Share] = 1.0
    capacity_offer: Untold[NonNegative] = 0.0
    salt: Untold[Salt]


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
    reason: Personal[Note] = ""


class AwardTask(Command[None], frozen=True, kw_only=True):
    """Closes the book: ranks the bids and awards the task, or finds no winner. Sent by the coordinator alone, with the bidders' facts."""

    task_id: House[TaskId]
    round: House[Round]
    bidders: House[tuple[BidderFacts, ...]]
    weights: House[Weights | None] = None
    """As the operator has set them; None where they are the usual ones."""
    batch: House[BatchShare | None] = None
    """What was settled for it together with other books, where its task asks for that."""


class AssignTask(Command[TaskAccepted], frozen=True, kw_only=True):
    """Gives a task that waits to an agent, without a book. Sent by an operator or admin. With `override` the agent's working hours are
    passed over. The coordinator sets what the agent is and asks, whether it is on duty, and who did what the task must be
    independent of."""

    task_id: House[TaskId]
    agent_id: AgentId
    reason: Personal[Note] = ""
    override: bool = False
    assigned_by: House[str] = ""
    candidate: House[Candidate | None] = None
    listed: House[ListedPrices | None] = None
    lease_seconds: House[float] = 0.0
    doers: House[tuple[Doer, ...]] = ()
    duties: House[tuple[Duty, ...]] = ()
    is_person: House[bool] = False


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
    result: Personal[Document] = field(default_factory=dict)
    charged: NonNegative | None = None
    """What it costs in the end; None: what was agreed. More is refused unless the task allows it."""


class FailTask(Command[TaskAccepted], frozen=True, kw_only=True):
    """The agent gives up, or declines what it has not begun; the task is offered again while it has attempts left, unless the agent knows
    that nobody can do it, whoever tries. A person may give back what they have begun, and it counts as no attempt. Sent by the agent
    itself, with its token."""

    task_id: TaskId
    agent_id: House[AgentId]
    token: Token
    reason: Personal[Note] = ""
    retryable: bool = True
    declined: House[bool] = False


class AskQuestion(Command[TaskAccepted], frozen=True, kw_only=True):
    """The holder needs to know something. One question of a task is open at a time; until it is answered, the clock of the budget stands
    still. Sent by the agent itself, with its token."""

    task_id: TaskId
    agent_id: House[AgentId]
    token: Token
    question: Personal[Note]


class AnswerQuestion(Command[TaskAccepted], frozen=True, kw_only=True):
    """Whoever knows answers the open question. Sent by an operator or admin, or by the key that submitted the task."""

    task_id: House[TaskId]
    number: House[int]
    answer: Personal[Note]
    answered_by: House[str] = ""


class ReportProgress(Command[TaskAccepted], frozen=True, kw_only=True):
    """The holder says how far the work is, which is a sign of life too. Sent by the agent itself, with its token."""

    task_id: TaskId
    agent_id: House[AgentId]
    token: Token
    share: Share
    note: Personal[Note] = ""


class DeclineOffer(Command[TaskAccepted], frozen=True, kw_only=True):
    """A person will not take a task that waits, and says why: it is not shown to them any more. Sent by that person's agent."""

    task_id: TaskId
    agent_id: House[AgentId]
    reason: Personal[Note] = ""


class ExpireLease(Command[None], frozen=True, kw_only=True):
    """The holder was silent for a full term, or is gone (`agent_gone_position`: where the log says so). Sent by the coordinator alone."""

    task_id: House[TaskId]
    token: House[Token]
    last_heard_at: House[Instant]
    agent_gone_position: House[Count] = 0


class RebalanceTask(Command[None], frozen=True, kw_only=True):
    """Whether a task that was not begun goes back to be offered again, since somebody else would be better by more than `gain`: who of the
    candidates may do it, and what each is worth, is computed here. `rest_seconds` is the least time since the award. Sent by the
    coordinator alone."""

    task_id: House[TaskId]
    token: House[Token]
    holder: House[Contender]
    candidates: House[tuple[Contender, ...]]
    doers: House[tuple[Doer, ...]] = ()
    duties: House[tuple[Duty, ...]] = ()
    gain: House[float]
    rest_seconds: House[float]
    weights: House[Weights | None] = None


class NoteLateReport(Command[None], frozen=True, kw_only=True):
    """The agent reported under a token whose lease had been taken from it, and was refused. Sent by the coordinator alone."""

    task_id: House[TaskId]
    agent_id: House[AgentId]
    token: House[Token]
    report: House[str]


class CheckLease(Command[LeaseStanding], frozen=True, kw_only=True):
    """Somebody asks whether a token is the good one. Answered by the coordinator; records nothing."""

    task_id: House[TaskId]
    token: House[Token]


class EndOverrun(Command[None], frozen=True, kw_only=True):
    """The holder is alive but over the task's budget. Sent by the coordinator alone."""

    task_id: House[TaskId]
    token: House[Token]


class CancelTask(Command[TaskAccepted], frozen=True, kw_only=True):
    """Nobody needs the work any more. Whoever holds it is told, and may go on for `grace_seconds`; without, it loses it at once. Sent by an
    operator or admin, or by the key that submitted the task."""

    task_id: House[TaskId]
    reason: Personal[Note] = ""
    grace_seconds: Grace = 0.0


class EndGrace(Command[None], frozen=True, kw_only=True):
    """The time is over that was left to the holder of a task that is cancelled. Sent by the coordinator alone."""

    task_id: House[TaskId]
    token: House[Token]


class AmendTask(Command[TaskAccepted], frozen=True, kw_only=True):
    """Changes what is given of a task that has not ended, and leaves the rest. Sent by an operator or admin, or by the key that submitted
    the task. A `not_before` holds for calls to come, and one that has passed lets it begin at once; a budget holds for the attempt
    under way, too. The coordinator sets how long a budget may be."""

    task_id: House[TaskId]
    priority: Priority | None = None
    deadline: Instant | None = None
    not_before: Instant | None = None
    estimated_duration: Positive | None = None
    budget_seconds: Seconds | None = None
    budget_seconds_max: House[float] = SECONDS_MAX


class RequeueTask(Command[TaskAccepted], frozen=True, kw_only=True):
    """A dead letter is offered again: with as many more attempts, and until a new deadline where the old one has passed. Sent by an
    operator or admin. The coordinator sets who did what the task must be independent of, and what this node allows at most."""

    is_new_work = True

    task_id: House[TaskId]
    attempts: Attempts | None = None
    deadline: Instant | None = None
    reason: Personal[Note] = ""
    doers: House[tuple[Doer, ...]] = ()
    attempts_allowed: House[int] = ATTEMPTS_MAX
    schemas_from: House[dict[str, int]] = field(default_factory=dict)
    """The oldest version of schemas that is at hand, by task type."""


class ExpireTask(Command[None], frozen=True, kw_only=True):
    """The deadline has passed. Sent by the coordinator alone."""

    task_id: House[TaskId]


TaskCommand = (
    SubmitTask
    | UnblockTask
    | FailDependent
    | OpenBook
    | NoteStall
    | PlaceBid
    | CommitBid
    | OpenReveal
    | RevealBid
    | WithdrawBid
    | RefuseBid
    | AwardTask
    | AssignTask
    | StartTask
    | CompleteTask
    | FailTask
    | AskQuestion
    | AnswerQuestion
    | ReportProgress
    | DeclineOffer
    | ExpireLease
    | RebalanceTask
    | NoteLateReport
    | EndOverrun
    | CancelTask
    | EndGrace
    | AmendTask
    | RequeueTask
    | ExpireTask
)
COMMANDS = get_args(TaskCommand)

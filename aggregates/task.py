"""A task: agents bid for it, one wins, and someone finishes it.

Longer than other modules, since the whole vocabulary of the contract net stands here: state, commands, events, `decide`, `evolve`.
A house field holds a fact that the coordinator read,
with the position of the log at which it read it; what follows from the facts is computed here, so that a replay proves something.
"""

from collections.abc import Sequence
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct, field
from msgspec.structs import asdict, replace

from aggregates.values.document import Document, encoded, faults
from aggregates.values.ids import AgentId, TaskId
from aggregates.values.numbers import Count, Instant, NonNegative, Positive, Priority, Share, Token
from aggregates.values.ranking import Bid, BidderFacts, Ranked, rank
from aggregates.values.skills import Skills, missing
from aggregates.values.text import Note
from runtime.errors import Refused
from runtime.records import Command, Event, House, State

RULES = 1

VOIDS_MAX = 50
"""How many books in a row may find no winner before the task is given up."""

HOUSE_KNOWS = frozenset(
    {
        "at",
        "tenant",
        "submitted_by",
        "dependency_facts",
        "skills_never_offered",
        "budget_seconds_max",
        "bidding_seconds_max",
        "attempts_allowed",
    }
)
"""The fields of a submission that are not what was asked for."""

BIDDING_SECONDS = 2.0
"""How long a book is open where the submission does not say."""

BUDGET_GRACE_SECONDS = 5.0
"""How long over its budget an attempt may run before it fails."""

Seconds = Annotated[float, Meta(gt=0, le=86400 * 7)]
BiddingSeconds = Annotated[float, Meta(ge=0.05, le=60)]
Attempts = Annotated[int, Meta(ge=1, le=100)]
Links = Annotated[tuple[TaskId, ...], Meta(max_length=64)]
Round = Annotated[int, Meta(ge=0, le=2**31)]
"""A book's number within its task, from 1; 0 in a command stands for the book that is open now."""


class TaskType(StrEnum):
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


class Stage(StrEnum):
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

    `independent_of` names dependencies whose doers may not do this task. Budget and attempts are as much as the node allows where none
    are asked for, and its book is open for `BIDDING_SECONDS`.
    The coordinator sets the facts: where the dependencies stand, which of the capabilities no agent of the tenant has ever offered,
    and what this node allows at most.
    """

    task_id: House[TaskId]
    task_type: TaskType
    description: Note = ""
    capabilities: Skills = ()
    requirements: Document = field(default_factory=dict)
    priority: Priority = 3
    dependencies: Links = ()
    independent_of: Links = ()
    budget_seconds: Seconds | None = None
    bidding_seconds: BiddingSeconds | None = None
    deadline: Instant | None = None
    estimated_duration: Positive | None = None
    payload: Document = field(default_factory=dict)
    attempts_max: Attempts | None = None
    submitted_by: House[str] = ""
    dependency_facts: House[tuple[DependencyFact, ...]] = ()
    skills_never_offered: House[tuple[str, ...]] = ()
    budget_seconds_max: House[float] = 3600.0
    bidding_seconds_max: House[float] = 60.0
    attempts_allowed: House[int] = 4


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
    result: Document = field(default_factory=dict)


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


def decide(task: Task, command: TaskCommand) -> Sequence[TaskEvent]:
    match task.stage, command:
        case Stage.UNKNOWN, SubmitTask():
            return _submit(command)
        case stage, SubmitTask():
            if _documents_fit(command) and task.digest == _digest(command):
                return []
            raise Refused("task_exists", f"{command.task_id} is another task, {stage.value}")
        case Stage.UNKNOWN, _:
            raise Refused("task_unknown", command.task_id, status=404)
        case _, UnblockTask():
            return _unblock(task, command)
        case Stage.BLOCKED, FailDependent() if command.dependency in task.waiting_for:
            reason = f"dependency_failed: {command.dependency} is {command.stage.value}"
            return [TaskFailed(task_id=command.task_id, agent_id="", token=0, reason=reason, final=True)]
        case _, FailDependent():
            return []
        case Stage.SUBMITTED, OpenBook() if command.round == task.round + 1:
            return _open(task, command)
        case _, OpenBook():
            return []
        case Stage.BIDDING, (PlaceBid() | WithdrawBid() | RefuseBid()):
            return _answer(task, command)
        case stage, (PlaceBid() | WithdrawBid() | RefuseBid()):
            raise Refused("book_closed", f"{command.task_id} is {stage.value}")
        case Stage.BIDDING, AwardTask() if command.round == task.round:
            return _award(task, command)
        case _, AwardTask():
            return []
        case stage, StartTask():
            _check_lease(task, command)
            started = TaskStarted(
                task_id=command.task_id, agent_id=command.agent_id, token=command.token, started_at=command.at
            )
            return [] if stage is Stage.RUNNING else [started]
        case Stage.COMPLETED, CompleteTask() if _completed_so(task, command):
            return []
        case _, CompleteTask():
            _check_lease(task, command)
            return _complete(task, command)
        case _, FailTask():
            _check_lease(task, command)
            return _fail(task, command, command.reason or "failed")
        case _, (ExpireLease() | EndOverrun()) if task.stage not in HELD or command.token != task.attempt:
            return []
        case _, ExpireLease():
            return _expire_lease(task, command)
        case _, EndOverrun():
            return _end_overrun(task, command)
        case Stage.CANCELLED, CancelTask():
            return []
        case Stage.EXPIRED, ExpireTask():
            return []
        case stage, CancelTask():
            _check_open(stage, command.task_id)
            return [TaskCancelled(task_id=command.task_id, reason=command.reason)]
        case stage, ExpireTask():
            _check_open(stage, command.task_id)
            return _expire(task, command)


def _digest(command: SubmitTask) -> bytes:
    """The sha256 of what was asked for, without what the house knew at the time."""
    asked = {name: value for name, value in asdict(command).items() if name not in HOUSE_KNOWS}
    return sha256(encoded(asked)).digest()


def _documents_fit(command: SubmitTask) -> bool:
    return not (faults("requirements", command.requirements) or faults("payload", command.payload))


def _submit(command: SubmitTask) -> Sequence[TaskEvent]:
    found = _submission_faults(command)
    if found:
        detail = "; ".join(f"{code}: {text}" for code, text in found)
        raise Refused(found[0][0], detail if len(found) > 1 else found[0][1], status=422)
    waiting_for = sorted({fact.task_id for fact in command.dependency_facts if fact.stage is not Stage.COMPLETED})
    return [
        TaskSubmitted(
            task_id=command.task_id,
            task_type=command.task_type,
            description=command.description,
            capabilities=tuple(sorted(set(command.capabilities))),
            requirements=command.requirements,
            priority=command.priority,
            dependencies=tuple(sorted(set(command.dependencies))),
            independent_of=tuple(sorted(set(command.independent_of))),
            waiting_for=tuple(waiting_for),
            budget_seconds=command.budget_seconds or command.budget_seconds_max,
            bidding_seconds=command.bidding_seconds or min(BIDDING_SECONDS, command.bidding_seconds_max),
            deadline=command.deadline,
            estimated_duration=command.estimated_duration,
            payload=command.payload,
            attempts_max=command.attempts_max or command.attempts_allowed,
            submitted_by=command.submitted_by,
            submitted_at=command.at,
            digest=_digest(command),
        )
    ]


def _submission_faults(command: SubmitTask) -> list[tuple[str, str]]:
    """Everything that is wrong with a submission: code and explanation."""
    stages = {fact.task_id: fact.stage for fact in command.dependency_facts}
    found = [("dependency_unknown", name) for name, stage in stages.items() if stage is Stage.UNKNOWN]
    found += [
        ("dependency_failed", f"{name} is {stage.value}")
        for name, stage in stages.items()
        if stage in ENDED and stage is not Stage.COMPLETED
    ]
    found += [("dependency_unknown", name) for name in command.dependencies if name not in stages]
    if unclear := missing(command.independent_of, command.dependencies):
        text = f"independent_of must name dependencies, since nobody knows yet who does {', '.join(unclear)}"
        found.append(("independence_unclear", text))
    if command.skills_never_offered:
        text = f"no agent has ever offered {', '.join(command.skills_never_offered)}"
        found.append(("skill_unknown", text))
    if command.deadline is not None and command.deadline <= command.at:
        found.append(("deadline_passed", f"{command.at - command.deadline:.0f} s ago"))
    if (command.budget_seconds or 0) > command.budget_seconds_max:
        found.append(("budget_too_long", f"{command.budget_seconds_max:g} s is the most"))
    if (command.bidding_seconds or 0) > command.bidding_seconds_max:
        found.append(("bidding_too_long", f"{command.bidding_seconds_max:g} s is the most"))
    if (command.attempts_max or 0) > command.attempts_allowed:
        found.append(("attempts_too_many", f"{command.attempts_allowed} is the most"))
    found += [("requirements_unfit", fault) for fault in faults("requirements", command.requirements)]
    found += [("payload_unfit", fault) for fault in faults("payload", command.payload)]
    return found


def _unblock(task: Task, command: UnblockTask) -> Sequence[TaskEvent]:
    if command.dependency not in task.waiting_for or task.stage is not Stage.BLOCKED:
        return []
    met = DependencyMet(task_id=command.task_id, dependency=command.dependency)
    return [met] if len(task.waiting_for) > 1 else [met, TaskUnblocked(task_id=command.task_id)]


def _open(task: Task, command: OpenBook) -> Sequence[TaskEvent]:
    excluded = {doer.agent_id for doer in command.doers if doer.task_id in task.independent_of}
    eligible = sorted(
        candidate.agent_id
        for candidate in command.candidates
        if candidate.agent_id not in excluded
        and candidate.running < candidate.slots
        and not missing(task.capabilities, candidate.capabilities)
    )
    if not eligible:
        raise Refused("nobody_eligible", command.task_id)
    return [
        BookOpened(
            task_id=command.task_id,
            round=task.round + 1,
            attempt=task.attempt + 1,
            eligible=tuple(eligible),
            closes_at=command.at + task.bidding_seconds,
            task_type=task.task_type,
            capabilities=task.capabilities,
            priority=task.priority,
            budget_seconds=task.budget_seconds,
        )
    ]


def _answer(task: Task, command: PlaceBid | WithdrawBid | RefuseBid) -> Sequence[TaskEvent]:
    if command.agent_id not in task.eligible:
        raise Refused("agent_not_eligible", f"{command.agent_id} was not called for {command.task_id}", status=403)
    if command.round not in (0, task.round) or command.at > task.closes_at:
        raise Refused("book_closed", f"round {command.round or task.round} of {command.task_id} is over")
    match command:
        case PlaceBid():
            return _place_bid(task, command)
        case WithdrawBid():
            if any(bid.agent_id == command.agent_id for bid in task.bids):
                return [BidWithdrawn(task_id=command.task_id, round=task.round, agent_id=command.agent_id)]
            if command.agent_id in task.refused:
                return []
            raise Refused("bid_unknown", f"{command.agent_id} has no bid for {command.task_id}", status=404)
        case RefuseBid():
            refused = BidRefused(
                task_id=command.task_id, round=task.round, agent_id=command.agent_id, reason=command.reason
            )
            return [] if command.agent_id in task.refused else [refused]


def _place_bid(task: Task, command: PlaceBid) -> Sequence[TaskEvent]:
    if command.expires_at is not None and command.expires_at <= command.at:
        raise Refused("bid_expired", "expires_at has passed", status=422)
    if task.deadline is not None and command.at + command.eta_seconds > task.deadline:
        raise Refused("eta_past_deadline", f"{task.deadline - command.at:.1f} s are left", status=422)
    placed = BidPlaced(
        task_id=command.task_id,
        round=task.round,
        agent_id=command.agent_id,
        price=command.price,
        eta_seconds=command.eta_seconds,
        confidence=command.confidence,
        capacity_offer=command.capacity_offer,
        expires_at=command.expires_at,
        placed_at=command.at,
    )
    return [] if _bid(placed) in task.bids else [placed]


def _award(task: Task, command: AwardTask) -> Sequence[TaskEvent]:
    answered = {bid.agent_id for bid in task.bids} | set(task.refused)
    if command.at < task.closes_at and missing(task.eligible, answered):
        raise Refused("book_open", f"not all eligible agents of {command.task_id} have answered")
    topics = (task.task_type.value, *task.capabilities)
    ranking = rank(task.bids, command.bidders, at=command.at, budget_seconds=task.budget_seconds, topics=topics)
    if not ranking or ranking[0].lost:
        return _void(task, command, ranking)
    best = ranking[0]
    bid = next(bid for bid in task.bids if bid.agent_id == best.agent_id)
    facts = next(facts for facts in command.bidders if facts.agent_id == best.agent_id)
    return [
        TaskAwarded(
            task_id=command.task_id,
            round=task.round,
            attempt=task.attempt + 1,
            agent_id=best.agent_id,
            token=task.attempt + 1,
            lease_seconds=facts.lease_seconds,
            budget_seconds=task.budget_seconds,
            awarded_at=command.at,
            price=bid.price,
            eta_seconds=bid.eta_seconds,
            ranking=ranking,
            reason=_why(ranking),
        )
    ]


def _why(ranking: Sequence[Ranked]) -> str:
    best = ranking[0]
    if len(ranking) == 1 or ranking[1].lost:
        return f"{best.agent_id} scored {best.score:g}; no other bid could win"
    second = ranking[1]
    if second.score == best.score:
        return f"{best.agent_id} and {second.agent_id} both scored {best.score:g}; the tie-break decided"
    return f"{best.agent_id} scored {best.score:g}, {second.agent_id} {second.score:g}"


def _void(task: Task, command: AwardTask, ranking: tuple[Ranked, ...]) -> Sequence[TaskEvent]:
    reason: VoidReason = "none_fit"
    if not ranking:
        reason = "no_bids" if missing(task.eligible, task.refused) else "all_refused"
    # A book that found everybody busy says nothing against the task.
    voids = task.voids + (not any(ranked.lost == "slots_full" for ranked in ranking))
    voided = BookVoided(task_id=command.task_id, round=task.round, reason=reason, voids=voids, ranking=ranking)
    if voids < VOIDS_MAX:
        return [voided]
    return [voided, TaskDeadLettered(task_id=command.task_id, reason=f"no winner in {voids} rounds")]


def _check_lease(task: Task, command: StartTask | CompleteTask | FailTask) -> None:
    """Only the holder of the newest token may speak for the task."""
    if command.token > task.attempt:
        raise Refused("token_unknown", f"{command.task_id} was awarded {task.attempt} times", status=422)
    if command.token < task.attempt or task.stage in (Stage.SUBMITTED, Stage.BIDDING):
        raise Refused("token_stale", f"{command.task_id} was taken from the holder of token {command.token}")
    if task.stage not in HELD:
        raise Refused(f"task_is_{task.stage.value}", command.task_id)
    if command.agent_id != task.assignee:
        raise Refused("not_the_holder", f"{command.task_id} was awarded to another agent", status=403)


def _check_open(stage: Stage, task_id: str) -> None:
    if stage in ENDED:
        raise Refused(f"task_is_{stage.value}", task_id)


def _completed_so(task: Task, command: CompleteTask) -> bool:
    same = command.token == task.attempt and command.agent_id == task.assignee
    return same and not faults("result", command.result) and _result_digest(command) == task.result_digest


def _result_digest(command: CompleteTask) -> bytes:
    return sha256(encoded(command.result)).digest()


def _complete(task: Task, command: CompleteTask) -> Sequence[TaskEvent]:
    if found := faults("result", command.result):
        raise Refused("result_unfit", "; ".join(found), status=422)
    if task.deadline is not None and command.at > task.deadline:
        raise Refused("deadline_passed", f"{command.at - task.deadline:.1f} s ago")
    return [
        TaskCompleted(
            task_id=command.task_id,
            agent_id=command.agent_id,
            token=command.token,
            result=command.result,
            result_digest=_result_digest(command),
            seconds=command.at - task.awarded_at,
        )
    ]


def _fail(task: Task, command: FailTask | EndOverrun, reason: str) -> Sequence[TaskEvent]:
    failed = TaskFailed(task_id=command.task_id, agent_id=task.assignee, token=task.attempt, reason=reason, final=False)
    return [failed, _again(task, command.task_id, reason)]


def _again(task: Task, task_id: str, reason: str) -> TaskReopened | TaskDeadLettered:
    if task.attempt < task.attempts_max:
        return TaskReopened(task_id=task_id, attempt=task.attempt + 1, reason=reason)
    return TaskDeadLettered(task_id=task_id, reason=f"attempt {task.attempt} of {task.attempts_max}: {reason}")


def _expire_lease(task: Task, command: ExpireLease) -> Sequence[TaskEvent]:
    if not command.agent_gone_position and command.last_heard_at + task.lease_seconds > command.at:
        raise Refused("lease_held", f"{task.assignee} was heard within its {task.lease_seconds:g} s")
    expired = LeaseExpired(
        task_id=command.task_id, agent_id=task.assignee, token=task.attempt, last_heard_at=command.last_heard_at
    )
    return [expired, _again(task, command.task_id, "lease_expired")]


def _end_overrun(task: Task, command: EndOverrun) -> Sequence[TaskEvent]:
    if command.at < task.awarded_at + task.budget_seconds + BUDGET_GRACE_SECONDS:
        raise Refused("within_budget", command.task_id)
    return _fail(task, command, "over_budget")


def _expire(task: Task, command: ExpireTask) -> Sequence[TaskEvent]:
    if task.deadline is None or command.at < task.deadline:
        raise Refused("deadline_ahead", command.task_id)
    return [TaskExpired(task_id=command.task_id, deadline=task.deadline)]


def evolve(task: Task, event: TaskEvent) -> Task:
    match event:
        case TaskSubmitted():
            return _submitted(event)
        case DependencyMet():
            return replace(task, waiting_for=tuple(name for name in task.waiting_for if name != event.dependency))
        case TaskUnblocked():
            return replace(task, stage=Stage.SUBMITTED, waiting_for=())
        case BookOpened():
            return replace(
                task,
                stage=Stage.BIDDING,
                round=event.round,
                eligible=event.eligible,
                closes_at=event.closes_at,
                bids=(),
                refused=(),
            )
        case BidPlaced():
            bids = (*_without(task.bids, event.agent_id), _bid(event))
            refused = tuple(name for name in task.refused if name != event.agent_id)
            return replace(task, bids=tuple(sorted(bids, key=lambda bid: bid.agent_id)), refused=refused)
        case BidWithdrawn() | BidRefused():
            refused = tuple(sorted({*task.refused, event.agent_id}))
            return replace(task, bids=_without(task.bids, event.agent_id), refused=refused)
        case BookVoided():
            return replace(_closed(task), stage=Stage.SUBMITTED, voids=event.voids)
        case TaskAwarded():
            return replace(
                _closed(task),
                stage=Stage.AWARDED,
                attempt=event.attempt,
                voids=0,
                assignee=event.agent_id,
                awarded_at=event.awarded_at,
                lease_seconds=event.lease_seconds,
            )
        case TaskStarted():
            return replace(task, stage=Stage.RUNNING)
        case TaskCompleted():
            return replace(task, stage=Stage.COMPLETED, result_digest=event.result_digest)
        case TaskFailed() if event.final:
            return replace(_closed(task), stage=Stage.FAILED)
        case TaskFailed() | LeaseExpired():
            return replace(task, assignee="")
        case TaskReopened():
            return replace(task, stage=Stage.SUBMITTED)
        case TaskDeadLettered():
            return replace(_closed(task), stage=Stage.DEAD_LETTERED)
        case TaskCancelled():
            return replace(_closed(task), stage=Stage.CANCELLED)
        case TaskExpired():
            return replace(_closed(task), stage=Stage.EXPIRED)


def _submitted(event: TaskSubmitted) -> Task:
    return Task(
        stage=Stage.BLOCKED if event.waiting_for else Stage.SUBMITTED,
        digest=event.digest,
        task_type=event.task_type,
        capabilities=event.capabilities,
        priority=event.priority,
        independent_of=event.independent_of,
        waiting_for=event.waiting_for,
        budget_seconds=event.budget_seconds,
        bidding_seconds=event.bidding_seconds,
        deadline=event.deadline,
        attempts_max=event.attempts_max,
    )


def _closed(task: Task) -> Task:
    return replace(task, eligible=(), closes_at=0.0, bids=(), refused=())


def _bid(event: BidPlaced) -> Bid:
    return Bid(
        agent_id=event.agent_id,
        price=event.price,
        eta_seconds=event.eta_seconds,
        confidence=event.confidence,
        capacity_offer=event.capacity_offer,
        expires_at=event.expires_at,
    )


def _without(bids: tuple[Bid, ...], agent_id: str) -> tuple[Bid, ...]:
    return tuple(bid for bid in bids if bid.agent_id != agent_id)

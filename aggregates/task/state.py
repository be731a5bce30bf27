"""What decisions about a task need to know, and how events change it."""

from bisect import bisect_left
from collections.abc import Callable
from operator import attrgetter
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from aggregates.task.events import (
    BidCommitted,
    BidPlaced,
    BidRefused,
    BidRevealed,
    BidWithdrawn,
    BookOpened,
    BookVoided,
    CancelRequested,
    DependencyMet,
    DependencyUnmet,
    DryRunEnded,
    LateReported,
    LeaseExpired,
    OfferDeclined,
    QuestionAnswered,
    QuestionAsked,
    RevealOpened,
    TaskAmended,
    TaskAwarded,
    TaskCancelled,
    TaskCompleted,
    TaskDeadLettered,
    TaskEvent,
    TaskExpired,
    TaskFailed,
    TaskProgressed,
    TaskRebalanced,
    TaskReopened,
    TaskRequeued,
    TaskStalled,
    TaskStarted,
    TaskSubmitted,
    TaskUnblocked,
)
from aggregates.task.terms import (
    BIDDING_SECONDS_MAX,
    OVER_BUDGET,
    TAKEN_MAX,
    DependencyPolicy,
    Stage,
    TaskType,
    held_after_answer,
)
from aggregates.values.concurrency import Concurrency
from aggregates.values.no_bids import WAITS, NoBidPolicy, NoWinner
from aggregates.values.ranking import AwardPolicy, Bid
from aggregates.values.retrying import AT_ONCE, RetryPolicy
from aggregates.values.sealed_bids import SealedBid
from aggregates.values.skill_terms import SkillNeed
from runtime.records import State

T = TypeVar("T")

AGENT: Callable[[Bid], str] = attrgetter("agent_id")
SEALER: Callable[[SealedBid], str] = attrgetter("agent_id")


class Taken(Struct, frozen=True, kw_only=True):
    """A lease that was taken from its holder, and the last number of late reports under it that was recorded."""

    token: int
    agent_id: str
    late: int = 0


class Task(State, frozen=True, kw_only=True):
    """What decisions about one task need to know. Tuples of bids and names are kept sorted by agent."""

    stage: Stage = Stage.UNKNOWN
    digest: bytes = b""
    task_type: TaskType = TaskType.ANALYSIS
    capabilities: tuple[str, ...] = ()
    priority: int = 3
    independent_of: tuple[str, ...] = ()
    waiting_for: tuple[str, ...] = ()
    unmet: tuple[str, ...] = ()
    """The dependencies that ended without a result, without which it runs."""
    dependency_policy: DependencyPolicy = DependencyPolicy.FAIL
    budget_seconds: float = 0.0
    bidding_seconds: float = 0.0
    deadline: float | None = None
    not_before: float | None = None
    estimated_duration: float | None = None
    units: float = 0.0
    skills: tuple[SkillNeed, ...] = ()
    regions: tuple[str, ...] = ()
    retry: RetryPolicy = AT_ONCE
    no_bids: NoBidPolicy = WAITS
    bidding_seconds_max: float = BIDDING_SECONDS_MAX
    widening: int = 0
    """How often its rounds were widened, since it was offered first or came back."""
    award_policy: AwardPolicy = AwardPolicy.WEIGHTED_SCORE
    queue: str = ""
    concurrency: Concurrency | None = None
    price_max: float | None = None
    surcharge: bool = False
    dry_run: bool = False
    assign_to: str = ""
    attempts_max: int = 1
    attempt: int = 0
    """Awards so far; the last award's token is the same number."""
    round: int = 0
    voids: int = 0
    """Books in a row that found no winner."""
    voids_since: float = 0.0
    moves: int = 0
    """How often it was taken from a holder for a better one; such an award is no attempt."""
    requeued_after: int = -1
    """The attempts that it had when it was offered again as a dead letter."""
    stalled: str = ""
    """Why there was nobody to call."""
    eligible: tuple[str, ...] = ()
    closes_at: float = 0.0
    bids: tuple[Bid, ...] = ()
    sealed: tuple[SealedBid, ...] = ()
    is_revealing: bool = False
    """The commitments are in, and are being opened."""
    refused: tuple[str, ...] = ()
    """The eligible agents that answered without a bid, or took theirs back."""
    assignee: str = ""
    awarded_at: float = 0.0
    is_assigned: bool = False
    """An operator has given it to its holder."""
    lease_seconds: float = 0.0
    is_person: bool = False
    """The holder is a person, who keeps it for `lease_seconds` without a word."""
    held_since: float = 0.0
    """From when on that counts."""
    progress: int = 0
    """How often was told how far it is."""
    releases: int = 0
    """How often people gave it back without an attempt being counted."""
    declined: tuple[str, ...] = ()
    """The people who will not take it."""
    price: float = 0.0
    """What was agreed with the holder."""
    charged: float | None = None
    cancel_by: float = 0.0
    """When it is cancelled, whoever holds it; 0 where nobody has asked for that."""
    taken: tuple[Taken, ...] = ()
    result_digest: bytes = b""
    data_subject: str = ""
    questions: int = 0
    question_at: float = 0.0
    """When the open question was asked; 0 where none is."""
    question_digest: bytes = b""
    answer_digest: bytes = b""
    input_seconds: float = 0.0
    """How long this attempt has waited for answers."""
    schema_version: int = 0


initial = Task()

STAGE_BY_END: dict[type[TaskEvent], Stage] = {
    TaskDeadLettered: Stage.DEAD_LETTERED,
    TaskCancelled: Stage.CANCELLED,
    TaskExpired: Stage.EXPIRED,
    DryRunEnded: Stage.DRY_RUN_ENDED,
}


def evolve(task: Task, event: TaskEvent) -> Task:
    match event:
        case BidPlaced():  # what comes most, first: to pass by all others takes as long as the rest
            bid = standing_bid(event)
            return replace(task, bids=_with(task.bids, bid, AGENT), refused=_without(task.refused, bid.agent_id, str))
        case TaskSubmitted():
            return _submitted(event)
        case DependencyMet():
            return replace(task, waiting_for=tuple(name for name in task.waiting_for if name != event.dependency))
        case DependencyUnmet():
            waiting_for = tuple(name for name in task.waiting_for if name != event.dependency)
            return replace(task, waiting_for=waiting_for, unmet=event.unmet)
        case TaskUnblocked():
            return replace(task, stage=Stage.SUBMITTED, waiting_for=())
        case BookOpened():
            return _opened(task, event)
        case TaskStalled():
            return replace(task, stalled=event.reason)
        case BidWithdrawn() | BidRefused():
            bids, sealed = _without(task.bids, event.agent_id, AGENT), _without(task.sealed, event.agent_id, SEALER)
            return replace(task, bids=bids, sealed=sealed, refused=_with(task.refused, event.agent_id, str))
        case BidCommitted():
            return _committed(task, event)
        case RevealOpened():
            return replace(task, is_revealing=True, closes_at=event.closes_at)
        case BidRevealed():
            return _revealed(task, event)
        case BookVoided():
            widening = task.widening + (task.no_bids.then is NoWinner.WIDEN)
            voided = replace(_closed(task), voids=event.voids, voids_since=event.since, widening=widening)
            return replace(voided, stage=Stage.SUBMITTED)
        case TaskAwarded():
            return _awarded(task, event)
        case QuestionAsked() | QuestionAnswered():
            return _asked(task, event)
        case TaskStarted():
            return replace(task, stage=Stage.RUNNING, held_since=max(task.held_since, event.started_at))
        case TaskProgressed():
            held_since = max(task.held_since, event.progressed_at)
            return replace(task, progress=task.progress + 1, held_since=held_since)
        case OfferDeclined():
            return replace(task, declined=_with(task.declined, event.agent_id, str))
        case TaskCompleted():
            return replace(task, stage=Stage.COMPLETED, result_digest=event.result_digest, charged=event.charged)
        case CancelRequested():
            return replace(task, cancel_by=event.cancel_by)
        case TaskFailed() if event.final:
            return replace(_closed(task), stage=Stage.FAILED)
        case TaskFailed() if event.attempts_max is not None:
            gone = replace(task, assignee="", question_at=0.0, attempts_max=event.attempts_max)
            return replace(gone, moves=task.moves + 1, releases=task.releases + 1)
        case TaskFailed() | LeaseExpired():
            return replace(task, assignee="", question_at=0.0, taken=_and_taken(task, event))
        case TaskRebalanced():
            return _rebalanced(task, event)
        case LateReported():
            late = Taken(token=event.token, agent_id=event.agent_id, late=event.count)
            return replace(task, taken=tuple(late if one.token == event.token else one for one in task.taken))
        case TaskReopened():
            begins = task.not_before if event.not_before is None else event.not_before
            return replace(task, stage=Stage.SUBMITTED, not_before=begins)
        case TaskDeadLettered() | TaskCancelled() | TaskExpired() | DryRunEnded():
            return replace(_closed(task), stage=STAGE_BY_END[type(event)])
        case TaskAmended():
            return _amended(task, event)
        case TaskRequeued():
            return _requeued(task, event)


def _submitted(event: TaskSubmitted) -> Task:
    return Task(
        stage=Stage.BLOCKED if event.waiting_for else Stage.SUBMITTED,
        digest=event.digest,
        task_type=event.task_type,
        capabilities=event.capabilities,
        priority=event.priority,
        independent_of=event.independent_of,
        waiting_for=event.waiting_for,
        unmet=event.unmet,
        dependency_policy=event.dependency_policy,
        budget_seconds=event.budget_seconds,
        bidding_seconds=event.bidding_seconds,
        deadline=event.deadline,
        not_before=event.not_before,
        estimated_duration=event.estimated_duration,
        units=event.units,
        skills=event.skills,
        regions=event.regions,
        retry=event.retry,
        no_bids=event.no_bids,
        bidding_seconds_max=event.bidding_seconds_max,
        award_policy=event.award_policy,
        queue=event.queue,
        concurrency=event.concurrency,
        price_max=event.price_max,
        surcharge=event.surcharge,
        dry_run=event.dry_run,
        assign_to=event.assign_to,
        attempts_max=event.attempts_max,
        data_subject=event.data_subject,
        schema_version=event.schema_version,
    )


def _awarded(task: Task, event: TaskAwarded) -> Task:
    return replace(
        _closed(task),
        stage=Stage.AWARDED,
        attempt=event.attempt,
        voids=0,
        voids_since=0.0,
        widening=0,
        assignee=event.agent_id,
        awarded_at=event.awarded_at,
        is_assigned=bool(event.assigned_by),
        lease_seconds=event.lease_seconds,
        is_person=event.is_person,
        held_since=event.awarded_at,
        price=event.price,
        stalled="",
        input_seconds=0.0,
    )


def _amended(task: Task, event: TaskAmended) -> Task:
    return replace(
        task,
        priority=event.priority,
        deadline=event.deadline,
        not_before=task.not_before if event.not_before is None else event.not_before,
        estimated_duration=event.estimated_duration or task.estimated_duration,
        budget_seconds=event.budget_seconds or task.budget_seconds,
    )


def _asked(task: Task, event: QuestionAsked | QuestionAnswered) -> Task:
    if isinstance(event, QuestionAnswered):
        waited = task.input_seconds + event.waited_seconds
        since = held_after_answer(task.held_since, task.question_at, event.waited_seconds)
        answered = replace(task, question_at=0.0, answer_digest=event.answer_digest, input_seconds=waited)
        return replace(answered, held_since=since)
    return replace(task, questions=event.number, question_at=event.asked_at, question_digest=event.question_digest)


def _requeued(task: Task, event: TaskRequeued) -> Task:
    return replace(
        task,
        stage=Stage.SUBMITTED,
        attempts_max=event.attempts_max,
        requeued_after=task.attempt,
        deadline=event.deadline,
        assignee="",
        voids=0,
        voids_since=0.0,
        widening=0,
        stalled="",
    )


def _rebalanced(task: Task, event: TaskRebalanced) -> Task:
    return replace(
        task,
        stage=Stage.SUBMITTED,
        attempts_max=event.attempts_max,
        moves=task.moves + 1,
        assignee="",
        taken=_and_taken(task, event),
    )


def is_taken(event: TaskFailed | LeaseExpired | TaskRebalanced) -> bool:
    """Whether the house took the lease; who has given up itself may say so twice."""
    return not isinstance(event, TaskFailed) or event.reason == OVER_BUDGET


def _and_taken(task: Task, event: TaskFailed | LeaseExpired | TaskRebalanced) -> tuple[Taken, ...]:
    if not is_taken(event):
        return task.taken
    return (*task.taken, Taken(token=event.token, agent_id=event.agent_id))[-TAKEN_MAX:]


def _closed(task: Task) -> Task:
    return replace(task, eligible=(), closes_at=0.0, bids=(), sealed=(), is_revealing=False, refused=(), cancel_by=0.0)


def _opened(task: Task, event: BookOpened) -> Task:
    return replace(
        _closed(task),
        stage=Stage.BIDDING,
        round=event.round,
        stalled="",
        eligible=tuple(sorted(event.eligible)),
        closes_at=event.closes_at,
    )


def _committed(task: Task, event: BidCommitted) -> Task:
    made = SealedBid(agent_id=event.agent_id, commitment=event.commitment)
    refused = _without(task.refused, event.agent_id, str)
    return replace(task, sealed=_with(task.sealed, made, SEALER), refused=refused)


def _revealed(task: Task, event: BidRevealed) -> Task:
    sealed = sealed_by(task, event.agent_id) or SealedBid(agent_id=event.agent_id, commitment="")
    opened = replace(sealed, is_opened=True, matches=event.matches, salt=event.salt)
    return replace(task, bids=_with(task.bids, opened_bid(event), AGENT), sealed=_with(task.sealed, opened, SEALER))


def standing_bid(event: BidPlaced) -> Bid:
    return Bid(
        agent_id=event.agent_id,
        price=event.price,
        eta_seconds=event.eta_seconds,
        confidence=event.confidence,
        capacity_offer=event.capacity_offer,
        expires_at=event.expires_at,
        conditions=event.conditions,
    )


def opened_bid(event: BidRevealed) -> Bid:
    """A sealed bid, once it was opened; it stands until the book closes."""
    return Bid(
        agent_id=event.agent_id,
        price=event.price,
        eta_seconds=event.eta_seconds,
        confidence=event.confidence,
        capacity_offer=event.capacity_offer,
        expires_at=None,
    )


def bid_of(task: Task, agent_id: str) -> Bid | None:
    """What an agent offers, if it does."""
    place, found = _place(task.bids, agent_id, AGENT)
    return task.bids[place] if found else None


def sealed_by(task: Task, agent_id: str) -> SealedBid | None:
    """What an agent has committed to, if it has."""
    place, found = _place(task.sealed, agent_id, SEALER)
    return task.sealed[place] if found else None


def is_among(names: tuple[str, ...], name: str) -> bool:
    """Whether a name is one of these, which are sorted: who looks at hundreds one by one, at each bid, takes longer than the bid."""
    place = bisect_left(names, name)
    return place < len(names) and names[place] == name


def _place(ones: tuple[T, ...], name: str, name_of: Callable[[T], str]) -> tuple[int, bool]:
    """Where in the order of names the one of this name stands or would stand, and whether it is there."""
    place = bisect_left(ones, name, key=name_of)
    return place, place < len(ones) and name_of(ones[place]) == name


def _with(ones: tuple[T, ...], one: T, name_of: Callable[[T], str]) -> tuple[T, ...]:
    place, found = _place(ones, name_of(one), name_of)
    return (*ones[:place], one, *ones[place + found :])


def _without(ones: tuple[T, ...], name: str, name_of: Callable[[T], str]) -> tuple[T, ...]:
    if not ones:
        return ones
    place, found = _place(ones, name, name_of)
    return (*ones[:place], *ones[place + 1 :]) if found else ones

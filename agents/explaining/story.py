"""What has become of a task, as far as an explanation needs to know: a fold of its records, or of its first and its last ones.

It says more than the aggregate, which keeps what decisions need: when each thing was so, who was called out of whom, and who answered what.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Literal

from msgspec import Struct, field

from agents.coordinating.folding.books import pause_seconds
from aggregates.task import (
    BidCommitted,
    BidPlaced,
    BidRefused,
    BidRevealed,
    BidWithdrawn,
    BookOpened,
    BookVoided,
    CancelRequested,
    Candidate,
    DependencyMet,
    DependencyUnmet,
    Doer,
    DryRunEnded,
    LeaseExpired,
    OfferDeclined,
    OpenBook,
    QuestionAnswered,
    QuestionAsked,
    RevealOpened,
    Stage,
    TaskAmended,
    TaskAwarded,
    TaskCancelled,
    TaskCompleted,
    TaskDeadLettered,
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
    held_after_answer,
)
from aggregates.task.state import opened_bid, standing_bid
from aggregates.values.batches import BatchShare
from aggregates.values.ranking import Bid, Ranked
from aggregates.values.weights import Weights
from runtime.records import Command, Recorded


class Outcome(StrEnum):
    """How a call for proposals ended; with `ended` the task did before it."""

    OPEN = "open"
    AWARDED = "awarded"
    VOIDED = "voided"
    DRY_RUN = "dry_run"
    ENDED = "ended"


class Answer(Struct, kw_only=True):
    """An agent's last answer to a call."""

    state: Literal["placed", "sealed", "opened", "withdrawn", "refused"]
    at: float
    reason: str = ""
    bid: Bid | None = None


class Book(Struct, kw_only=True):
    """A call for proposals. `candidates` are those out of whom the eligible were found; None where that is not at hand."""

    round: int
    position: int
    opened_at: float
    closes_at: float
    eligible: tuple[str, ...]
    candidates: dict[str, Candidate] | None = None
    doers: tuple[Doer, ...] = ()
    passed_over: bool | None = None
    widening: int = 0
    """Whether others could have been called too; None where that is not known."""
    answers: dict[str, Answer] = field(default_factory=dict)
    outcome: Outcome = Outcome.OPEN
    reason: str = ""
    ended_at: float = 0.0
    ranking: tuple[Ranked, ...] = ()
    weights: Weights | None = None
    is_revealing: bool = False
    """Its bids are sealed, and are being opened."""
    batch: BatchShare | None = None

    @property
    def awaited(self) -> tuple[str, ...]:
        """Who was called and has not answered."""
        if self.is_revealing:
            return tuple(name for name, answer in sorted(self.answers.items()) if answer.state == "sealed")
        return tuple(name for name in self.eligible if name not in self.answers)

    @property
    def sealed(self) -> tuple[str, ...]:
        """Whose sealed bids are in, opened or not."""
        return tuple(name for name, answer in sorted(self.answers.items()) if answer.state in ("sealed", "opened"))


class Attempt(Struct, kw_only=True):
    """An award, and how it went: `over_reason` says why the holder has the task no more."""

    event: TaskAwarded
    started_at: float = 0.0
    cancel: CancelRequested | None = None
    """It is to be stopped, as its holder was told at `cancel_at`."""
    cancel_at: float = 0.0
    asked_at: float = 0.0
    """When the holder asked the question that is open; 0 where none is."""
    input_seconds: float = 0.0
    held_since: float = 0.0
    """From when on counts how long a person has it."""
    over_at: float = 0.0
    over_reason: str = ""


class Story(Struct, kw_only=True):
    """A task as it stands, `since` when it stands so; `ready_at` is since when it could be offered, `retry_at` when a pause ends.

    `priority`, `attempts_max`, `budget_seconds` and `not_before` are as amended; its place in line counts from `waits_since`, or from
    `not_before` where that is later.
    """

    asked: TaskSubmitted
    priority: int
    attempts_max: int
    waits_since: float
    budget_seconds: float
    not_before: float = 0.0
    stage: Stage
    since: float
    ready_at: float = 0.0
    retry_at: float = 0.0
    resumes_at: float = 0.0
    """Before when it is not tried again after an attempt that failed."""
    stalled: str = ""
    waiting_for: tuple[str, ...] = ()
    book: Book | None = None
    attempt: Attempt | None = None
    declined: dict[str, str] = field(default_factory=dict)
    """The people who will not take it, and why."""
    reason: str = ""
    """Why it last ended, or was offered again."""


def story_of(records: Iterable[Recorded], called: Mapping[int, Command[Any]]) -> Story | None:
    """The story that these records tell, the first of which is the submission; `called` has the commands by their events' positions."""
    story: Story | None = None
    for record in records:
        event = record.event
        if isinstance(event, TaskSubmitted):
            story = _submitted(event, record)
        elif story is not None:
            _goes_on(story, record, called.get(record.position))
    return story


def _submitted(event: TaskSubmitted, record: Recorded) -> Story:
    stage = Stage.BLOCKED if event.waiting_for else Stage.SUBMITTED
    return Story(
        asked=event,
        priority=event.priority,
        attempts_max=event.attempts_max,
        waits_since=event.submitted_at,
        budget_seconds=event.budget_seconds,
        not_before=event.not_before or 0.0,
        stage=stage,
        since=record.meta.at,
        ready_at=record.meta.at,
        waiting_for=event.waiting_for,
    )


def _goes_on(story: Story, record: Recorded, command: Command[Any] | None) -> None:
    event, at = record.event, record.meta.at
    match event:
        case DependencyMet() | DependencyUnmet():
            story.waiting_for = tuple(name for name in story.waiting_for if name != event.dependency)
        case TaskUnblocked():
            _ready(story, at)
            story.waiting_for = ()
        case TaskReopened():
            _ready(story, at)
            story.reason, story.resumes_at = event.reason, event.not_before or 0.0
        case TaskAmended():
            story.priority = event.priority
            if event.not_before is not None:
                story.not_before, story.resumes_at = event.not_before, 0.0
            story.budget_seconds = event.budget_seconds or story.budget_seconds
        case TaskRequeued():
            _ready(story, at)
            story.reason, story.attempts_max, story.waits_since = event.reason, event.attempts_max, event.requeued_at
        case TaskStalled():
            story.stalled = event.reason
        case BookOpened():
            _moved(story, Stage.BIDDING, at)
            story.book, story.stalled = _opened(story, event, record, command), ""
        case RevealOpened() if story.book is not None and story.book.round == event.round:
            story.book.is_revealing, story.book.closes_at = True, event.closes_at
        case BidPlaced() | BidCommitted() | BidRevealed() | BidWithdrawn() | BidRefused():
            _answered(story.book, event, at)
        case BookVoided():
            _settled(_book_of(story, event, record), Outcome.VOIDED, event, at)
            _ready(story, at)
            story.retry_at = at + pause_seconds(event.voids)
        case TaskAwarded():
            if not event.assigned_by:
                _settled(_book_of(story, event, record), Outcome.AWARDED, event, at)
            _moved(story, Stage.AWARDED, at)
            story.attempt = Attempt(event=event, held_since=event.awarded_at)
        case TaskStarted():
            _moved(story, Stage.RUNNING, at)
            if story.attempt is not None:
                story.attempt.started_at = story.attempt.held_since = at
        case OfferDeclined():
            story.declined[event.agent_id] = event.reason
        case CancelRequested():
            if story.attempt is not None:
                story.attempt.cancel, story.attempt.cancel_at = event, at
        case TaskProgressed() | QuestionAsked() | QuestionAnswered() if story.attempt is not None:
            _goes_on_with(story.attempt, event)
        case TaskRebalanced():
            _rebalanced(story, event, at)
        case LeaseExpired():
            _over(story, "lease_expired", at)
        case TaskFailed() if not event.final:
            _over(story, event.reason, at)
            story.attempts_max = event.attempts_max or story.attempts_max
        case TaskCompleted():
            _ended(story, Stage.COMPLETED, "", at)
        case TaskFailed():
            _ended(story, Stage.FAILED, event.reason, at)
        case TaskDeadLettered():
            _ended(story, Stage.DEAD_LETTERED, event.reason, at)
        case TaskCancelled():
            _ended(story, Stage.CANCELLED, event.reason, at)
        case DryRunEnded():
            book = _book_of(story, event, record)
            _closed(book, Outcome.DRY_RUN, event.reason, at)
            book.ranking, book.weights = event.ranking, event.weights
            _ended(story, Stage.DRY_RUN_ENDED, event.reason, at)
        case TaskExpired():
            _ended(story, Stage.EXPIRED, "deadline_passed", at)


def _goes_on_with(attempt: Attempt, event: TaskProgressed | QuestionAsked | QuestionAnswered) -> None:
    match event:
        case TaskProgressed():
            attempt.held_since = event.progressed_at
        case QuestionAsked():
            attempt.asked_at = event.asked_at
        case QuestionAnswered():
            attempt.held_since = held_after_answer(attempt.held_since, attempt.asked_at, event.waited_seconds)
            attempt.asked_at, attempt.input_seconds = 0.0, attempt.input_seconds + event.waited_seconds


def _moved(story: Story, stage: Stage, at: float) -> None:
    story.stage, story.since = stage, at


def _ready(story: Story, at: float) -> None:
    _moved(story, Stage.SUBMITTED, at)
    story.ready_at, story.retry_at = at, 0.0


def _rebalanced(story: Story, event: TaskRebalanced, at: float) -> None:
    worth = f"{event.better} was worth {event.better_score:g}, {event.agent_id} {event.score:g}"
    _over(story, f"rebalanced: {worth}", at)
    _ready(story, at)
    story.reason, story.attempts_max = "rebalanced", event.attempts_max


def _opened(story: Story, event: BookOpened, record: Recorded, command: Command[Any] | None) -> Book:
    book = Book(
        round=event.round,
        position=record.position,
        opened_at=event.closes_at - (event.bidding_seconds or story.asked.bidding_seconds),
        widening=event.widening,
        closes_at=event.closes_at,
        eligible=event.eligible,
    )
    if isinstance(command, OpenBook):
        book.candidates, book.doers = {one.agent_id: one for one in command.candidates}, command.doers
        book.passed_over = command.passed_over
    return book


def _book_of(story: Story, event: BookVoided | TaskAwarded | DryRunEnded, record: Recorded) -> Book:
    """The book that ends; where its beginning is not among the records, as far as its end tells of it."""
    if story.book is None:
        at, names = record.meta.at, tuple(sorted(one.agent_id for one in event.ranking))
        story.book = Book(round=event.round, position=record.position, opened_at=at, closes_at=at, eligible=names)
    return story.book


def _answered(
    book: Book | None, event: BidPlaced | BidCommitted | BidRevealed | BidWithdrawn | BidRefused, at: float
) -> None:
    if book is None or book.round != event.round:
        return
    match event:
        case BidPlaced():
            answer = Answer(state="placed", at=at, bid=standing_bid(event))
        case BidCommitted():
            answer = Answer(state="sealed", at=at)
        case BidRevealed():
            answer = Answer(state="opened", at=at, bid=opened_bid(event))
        case BidWithdrawn():
            answer = Answer(state="withdrawn", at=at)
        case BidRefused():
            answer = Answer(state="refused", at=at, reason=event.reason)
    book.answers[event.agent_id] = answer


def _settled(book: Book, outcome: Outcome, event: BookVoided | TaskAwarded, at: float) -> None:
    _closed(book, outcome, event.reason, at)
    book.ranking, book.weights, book.batch = event.ranking, event.weights, event.batch


def _closed(book: Book | None, outcome: Outcome, reason: str, at: float) -> None:
    if book is not None and book.outcome is Outcome.OPEN:
        book.outcome, book.reason, book.ended_at = outcome, reason, at


def _over(story: Story, reason: str, at: float) -> None:
    if story.attempt is not None:
        story.attempt.over_at, story.attempt.over_reason = at, reason


def _ended(story: Story, stage: Stage, reason: str, at: float) -> None:
    _closed(story.book, Outcome.ENDED, f"task_{stage.value}", at)
    _moved(story, stage, at)
    story.reason = reason

"""What is promised of tasks, whatever their agents do, read off the log by other means than the rules that made it.

Only those are called who may do the work, only who was called and has bid is awarded; nothing is done twice or after its end; attempts
are counted to the last; what does not end has a reason on record.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aggregates.agent import (
    AgentCleared,
    AgentDeregistered,
    AgentDraining,
    AgentLost,
    AgentRegistered,
    AgentReturned,
    AgentSuspected,
    AgentUpdated,
    Stage,
)
from aggregates.task import (
    VOIDS_MAX,
    BidCommitted,
    BidPlaced,
    BidRefused,
    BidWithdrawn,
    BookOpened,
    BookVoided,
    CompleteTask,
    DryRunEnded,
    LateReported,
    LeaseExpired,
    TaskAmended,
    TaskAwarded,
    TaskCancelled,
    TaskCompleted,
    TaskDeadLettered,
    TaskExpired,
    TaskFailed,
    TaskRebalanced,
    TaskReopened,
    TaskRequeued,
    TaskStalled,
    TaskStarted,
    TaskSubmitted,
)
from gateway.simulation.boot import REBALANCE_GAIN, REBALANCE_SECONDS
from gateway.simulation.sealed import SealedBook
from gateway.simulation.told import Told, is_person
from runtime.records import Recorded
from runtime.simulation import World

ENDS = (TaskCompleted, TaskCancelled, TaskExpired, TaskDeadLettered, DryRunEnded)
GIVES_UP = (TaskFailed, LeaseExpired)
CLOCK_SLACK_SECONDS = 0.001


@dataclass
class Offer:
    """An agent as it has offered itself."""

    said: AgentRegistered | AgentUpdated
    is_active: bool = True

    def may_do(self, task: TaskSubmitted) -> bool:
        """Whether it has what the task asks for, busy or not."""
        said = self.said
        has_skills = set(task.capabilities) <= set(said.capabilities)
        if task.assign_to not in ("", said.agent_id):
            return False
        return has_skills and (not task.regions or said.region in task.regions) and task.units <= said.max_capacity


@dataclass
class Course:
    """How a task went."""

    asked: TaskSubmitted
    attempts_max: int
    deadline: float | None
    sealed: SealedBook
    called: frozenset[str] = frozenset()
    bidders: set[str] = field(default_factory=set)
    awarded_at: float = 0.0
    is_begun: bool = False
    moves: int = 0
    """How often it was taken back for a better holder."""
    attempts: int = 0
    voids: int = 0
    stalled: str = ""
    last: Any = None
    ended_at: int = 0
    """The position of its end."""
    over_by_token: dict[int, int] = field(default_factory=dict)
    """The position at which the lease of each token was over."""
    done_by: tuple[str, int] | None = None


def check_promises(world: World, records: Sequence[Recorded], told: Told) -> None:
    """Ends the run where one is not kept."""
    book = Promises(world)
    for record in records:
        book.read(record)
    book.check_none_lost(told)
    book.check_stale_refused(told)


class Promises:
    """The tasks and agents of a log, and whether all that happens to them is as promised."""

    def __init__(self, world: World) -> None:
        self.offers: dict[str, Offer] = {}
        self.courses: dict[str, Course] = {}
        self._world = world
        self._position = 0

    def read(self, record: Recorded) -> None:
        """The next record."""
        self._position = record.position
        event: Any = record.event
        match event:
            case AgentRegistered():
                self.offers[event.agent_id] = Offer(event)
            case AgentUpdated():
                self.offers[event.agent_id].said = event
            case AgentSuspected() | AgentLost() | AgentDraining() | AgentDeregistered():
                self.offers[event.agent_id].is_active = False
            case AgentReturned():
                self.offers[event.agent_id].is_active = True
            case AgentCleared():
                self.offers[event.agent_id].is_active = event.stage is Stage.ACTIVE
            case TaskSubmitted():
                self.courses[event.task_id] = Course(event, event.attempts_max, event.deadline, SealedBook(event))
            case _ if (course := self.courses.get(getattr(event, "task_id", ""))) is not None:
                self._go_on(course, event, record.meta.at)

    def _holds(self, invariant: str, condition: bool, course: Course, detail: str) -> None:
        self._world.holds(invariant, condition, f"{course.asked.task_id} at {self._position}: {detail}")

    def _go_on(self, course: Course, event: Any, at: float) -> None:
        is_new_life = isinstance(event, TaskRequeued | LateReported)
        self._holds("end_is_final", not course.ended_at or is_new_life, course, f"{type(event).__name__} after its end")
        self._count(course, event)
        broken = course.sealed.broken_by(event)
        self._holds("sealed_bids_hold", not broken, course, broken)
        match event:
            case BookOpened():
                self._check_call(course, event)
            case BidPlaced() | BidCommitted():
                course.bidders.add(event.agent_id)
            case BidWithdrawn() | BidRefused():
                course.bidders.discard(event.agent_id)
            case TaskAwarded():
                self._check_award(course, event)
            case TaskCompleted():
                self._check_done(course, event, at)
            case TaskStalled():
                course.stalled = event.reason
            case TaskAmended():
                course.deadline = event.deadline
            case TaskRebalanced():
                self._check_move(course, event, at)
            case TaskStarted():
                course.is_begun = True
            case TaskFailed(attempts_max=int() as attempts_max):
                self._check_given_back(course, event)
                course.attempts_max = attempts_max
            case TaskRequeued():
                course.attempts_max, course.deadline, course.ended_at = event.attempts_max, event.deadline, 0
                course.stalled, course.voids = "", 0
        if isinstance(event, (*ENDS, *GIVES_UP, TaskRebalanced)) and course.attempts:
            course.over_by_token.setdefault(course.attempts, self._position)
        if isinstance(event, ENDS) or (isinstance(event, TaskFailed) and event.final):
            course.ended_at = self._position
        course.last = event

    # ---- who may have it

    def _check_call(self, course: Course, event: BookOpened) -> None:
        course.called, course.bidders, course.stalled = frozenset(event.eligible), set(), ""
        for name in sorted(course.called):
            self._check_eligible("only_the_eligible_are_called", course, name)

    def _check_eligible(self, invariant: str, course: Course, name: str) -> None:
        offer, asked = self.offers.get(name), course.asked
        self._holds(invariant, offer is not None and offer.is_active, course, f"{name} is not there")
        self._holds(invariant, offer is not None and offer.may_do(asked), course, f"{name} can't do it")
        self._holds(invariant, name not in self._doers(asked), course, f"{name} did what it must be independent of")

    def _doers(self, asked: TaskSubmitted) -> set[str]:
        """Who did what the task must be independent of."""
        ends = [self.courses[other].done_by for other in asked.independent_of]
        return {done[0] for done in ends if done is not None}

    def _check_award(self, course: Course, event: TaskAwarded) -> None:
        name = "awards_to_the_eligible"
        self._holds(name, event.agent_id in course.called, course, f"{event.agent_id} was not called")
        self._holds(name, event.agent_id in course.bidders, course, f"{event.agent_id} has no bid")
        self._check_eligible(name, course, event.agent_id)
        unmet = [other for other in course.asked.dependencies if self.courses[other].done_by is None]
        self._holds("dependencies_first", not unmet, course, f"{', '.join(unmet)} not done")
        course.awarded_at, course.is_begun = event.awarded_at, False
        course.bidders = set()

    def _check_move(self, course: Course, event: TaskRebalanced, at: float) -> None:
        """What was not begun is taken back for somebody better who can do it, ever less often, and counts for nobody."""
        told = f"from {event.agent_id} to {event.better}"
        fair = event.better_score > event.score + REBALANCE_GAIN and event.attempts_max == course.attempts_max + 1
        self._holds("rebalanced_for_a_better", fair and event.better != event.agent_id, course, told)
        self._check_eligible("rebalanced_for_a_better", course, event.better)
        is_new = event.token == course.attempts and not course.is_begun
        self._holds("rebalanced_before_it_began", is_new, course, told)
        rested = at - course.awarded_at + CLOCK_SLACK_SECONDS >= REBALANCE_SECONDS * 2**course.moves
        self._holds(
            "rebalanced_ever_less", rested, course, f"{told}, {at - course.awarded_at:.3f} s after move {course.moves}"
        )
        course.attempts_max, course.moves = event.attempts_max, course.moves + 1

    def _check_given_back(self, course: Course, event: TaskFailed) -> None:
        """Only what a person gives back is no attempt."""
        fair = event.declined and is_person(event.agent_id)
        told = f"by {event.agent_id}, with {event.attempts_max} attempts then"
        self._holds("given_back_by_people", fair and event.attempts_max == course.attempts_max + 1, course, told)

    # ---- once, and in time

    def _check_done(self, course: Course, event: TaskCompleted, at: float) -> None:
        self._holds("done_once", course.done_by is None, course, f"by {event.agent_id}, and {course.done_by} before")
        in_time = course.deadline is None or at <= course.deadline + CLOCK_SLACK_SECONDS
        self._holds("deadline_kept", in_time, course, f"done at {at}, by {course.deadline} at the latest")
        course.done_by = (event.agent_id, event.token)

    # ---- attempts

    def _count(self, course: Course, event: Any) -> None:
        """An attempt that fails is followed by the next, or by a dead letter where it was the last."""
        gave_up = isinstance(course.last, GIVES_UP) and not getattr(course.last, "final", False)
        is_last = course.attempts >= course.attempts_max
        if gave_up and not course.ended_at:
            wanted: type = TaskDeadLettered if is_last else TaskReopened
            told = f"{type(event).__name__} after attempt {course.attempts} of {course.attempts_max}"
            self._holds("dead_after_attempts_max", isinstance(event, wanted), course, told)
        match event:
            case TaskAwarded():
                course.attempts += 1
                course.voids = 0
                told = f"attempt {course.attempts} of {course.attempts_max}"
                self._holds("dead_after_attempts_max", course.attempts <= course.attempts_max, course, told)
            case BookVoided():
                course.voids += 1
            case TaskDeadLettered() if not gave_up:
                told = (
                    f"dead after {course.attempts} of {course.attempts_max} attempts and {course.voids} books in vain"
                )
                self._holds("dead_after_attempts_max", course.voids >= VOIDS_MAX, course, told)

    # ---- when all is over

    def check_none_lost(self, told: Told) -> None:
        """What was accepted has ended, or says on record why nobody can be called, and there is indeed nobody."""
        for task_id in told.submitted:
            course = self.courses.get(task_id)
            self._world.holds("none_lost", course is not None, f"{task_id} was accepted and is not in the log")
            if course is not None and not course.ended_at:
                self._holds("none_lost", self._is_explained(course), course, "waits, for no reason that is on record")

    def _is_explained(self, course: Course) -> bool:
        waits_for = [self.courses[other] for other in course.asked.dependencies]
        if any(other.done_by is None for other in waits_for):
            return any(self._is_explained(other) for other in waits_for if other.done_by is None)
        able = {name for name, offer in self.offers.items() if offer.may_do(course.asked)}
        return bool(course.stalled) and able <= self._doers(course.asked)

    def check_stale_refused(self, told: Told) -> None:
        """Nobody's word was taken under a token whose lease was over before it was said; who has done a task may say so again."""
        for command, position in told.reports:
            course = self.courses[command.task_id]
            over = course.over_by_token.get(command.token)
            is_repeat = isinstance(command, CompleteTask) and course.done_by == (command.agent_id, command.token)
            is_stale = over is not None and over <= position and not is_repeat
            said = f"{type(command).__name__} of {command.agent_id} under token {command.token}, over since {over}"
            self._holds("stale_token_refused", not is_stale, course, f"{said}, was taken at {position}")

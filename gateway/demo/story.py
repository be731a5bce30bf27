"""What the log tells of the demo: who bid, who won and why, what came of it. Whoever waits for a turn of events waits here."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import trio

from aggregates.agent import AgentRegistered
from aggregates.task import (
    BidPlaced,
    BookVoided,
    LeaseExpired,
    TaskAwarded,
    TaskCompleted,
    TaskDeadLettered,
    TaskFailed,
    TaskRebalanced,
    TaskReopened,
    TaskStarted,
    TaskSubmitted,
    TaskType,
)
from runtime.journal import Journal
from runtime.records import Recorded

PAGE = 500


@dataclass
class Chapter:
    """One task, as far as it has come."""

    task_id: str
    kind: TaskType
    problem: str
    holder: str = ""
    held_since: float = 0.0
    done_by: str = ""
    seconds: float = 0.0
    result: dict[str, Any] = field(default_factory=dict)
    lost_by: list[str] = field(default_factory=list)
    awards: list[str] = field(default_factory=list)
    ended: bool = False

    @property
    def title(self) -> str:
        """How people call it."""
        return {"optimization": self.problem, "verification": f"check of {self.problem}"}.get(self.kind, "the analysis")


class Story:
    """Follows the journal from where the demo begins; `tell` is given a line for each thing that people want to see."""

    def __init__(self, journal: Journal, tell: Callable[[str], None]) -> None:
        self.chapters: dict[str, Chapter] = {}
        self.agents: set[str] = set()
        self._journal = journal
        self._tell = tell
        self._position = journal.position
        self._changed = trio.Event()

    async def follow(self) -> None:
        """Takes the log in as it grows, for ever."""
        while True:
            page = await self._journal.read(self._position, PAGE)
            for recorded in page:
                self._take(recorded)
                self._position = recorded.position
            if page:
                self._changed.set()
                self._changed = trio.Event()
            else:
                await self._journal.wait_past(self._position)

    async def until(self, condition: Callable[[], bool], seconds_max: float) -> bool:
        """Waits until the story has come so far; false where it has not in time."""
        with trio.move_on_after(seconds_max):
            while not condition():
                await self._changed.wait()
        return condition()

    def of(self, kind: TaskType) -> list[Chapter]:
        """The tasks of a type, in the order in which they were submitted."""
        return [chapter for chapter in self.chapters.values() if chapter.kind is kind]

    @property
    def completed(self) -> int:
        """How many tasks were completed."""
        return sum(bool(chapter.done_by) for chapter in self.chapters.values())

    @property
    def reawarded(self) -> int:
        """How many awards followed the loss of a lease."""
        return sum(
            min(len(chapter.lost_by), len(chapter.awards) - 1) for chapter in self.chapters.values() if chapter.awards
        )

    def _take(self, recorded: Recorded) -> None:
        event = recorded.event
        if isinstance(event, AgentRegistered):
            self.agents.add(event.agent_id)
            house = "" if event.key_id else " (the node itself)"
            self._tell(f"{event.agent_id} is here{house}: {', '.join(event.capabilities)}")
        elif isinstance(event, TaskSubmitted):
            problem = str(event.payload.get("problem", ""))
            self.chapters[event.task_id] = Chapter(event.task_id, event.task_type, problem)
        elif (chapter := self.chapters.get(getattr(event, "task_id", ""))) is not None:
            self._turn(chapter, event)

    def _turn(self, chapter: Chapter, event: object) -> None:
        match event:
            case BidPlaced():
                terms = f"price {event.price:g}, {event.eta_seconds:.1f} s, confidence {event.confidence:.2f}"
                self._tell(f"{event.agent_id} bids for {chapter.title}: {terms}")
            case TaskAwarded():
                chapter.holder, chapter.held_since = event.agent_id, trio.current_time()
                chapter.awards.append(event.agent_id)
                again = f" (attempt {event.attempt})" if event.attempt > 1 else ""
                self._tell(f"{chapter.title} goes to {event.agent_id}{again}: {_why(event)}")
            case TaskStarted():
                chapter.held_since = trio.current_time()
            case LeaseExpired():
                chapter.holder = ""
                chapter.lost_by.append(event.agent_id)
                self._tell(f"{event.agent_id} was silent for a full lease and loses {chapter.title}")
            case TaskRebalanced():
                chapter.holder = ""
                self._tell(f"{event.agent_id} gives {chapter.title} back: {event.better} would be better")
            case TaskFailed():
                chapter.holder, chapter.ended = "", event.final
                self._tell(f"{event.agent_id or chapter.title} failed at {chapter.title}: {event.reason}")
            case TaskReopened():
                self._tell(f"{chapter.title} is open again, attempt {event.attempt}: {event.reason.replace('_', ' ')}")
            case BookVoided():
                self._tell(f"nobody won {chapter.title}: {event.reason}")
            case TaskDeadLettered():
                chapter.holder, chapter.ended = "", True
                self._tell(f"{chapter.title} is given up: {event.reason}")
            case TaskCompleted():
                chapter.holder, chapter.ended = "", True
                chapter.done_by, chapter.seconds, chapter.result = event.agent_id, event.seconds, event.result
                self._tell(f"{event.agent_id} has done {chapter.title} in {event.seconds:.1f} s{_found(chapter)}")


def _why(award: TaskAwarded) -> str:
    """The winner's score with what made it, each of at most 1, and what the others had."""
    best, *others = award.ranking
    record = (best.performance_term + best.success_term + best.response_term) / 3
    terms = f"price {best.price_term:.2f}, speed {best.speed_term:.2f}, confidence {best.confidence_term:.2f}"
    why = f"scores {best.score:.3f} ({terms}, idleness {best.load_term:.2f}, record {record:.2f})"
    beaten = [f"{one.agent_id} {one.lost.replace('_', ' ') or f'{one.score:.3f}'}" for one in others]
    return f"{why}; {', '.join(beaten)}" if beaten else f"{why}; nobody else has bid"


def _found(chapter: Chapter) -> str:
    result = chapter.result
    match chapter.kind:
        case TaskType.OPTIMIZATION:
            return f": {result.get('value')}"
        case TaskType.VERIFICATION:
            return f": {result.get('value')}, {'as claimed' if result.get('equal') else 'NOT as claimed'}"
        case TaskType.ANALYSIS:
            return f": {result.get('equal')} of {result.get('commands')} decisions came out the same again"
        case _:
            return ""

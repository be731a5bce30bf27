"""What a person asks of the coordinator: what calls for them, what they hold, and to have a task.

Nobody waits for a person: books call programs, and a person comes and takes what waits. Taking opens a book, in which whoever else is free
is asked too, and bids in it; where nobody else is, it is awarded in the same step.
"""

from typing import Annotated

from msgspec import Meta, Struct

from aggregates.agent import Stage as AgentStage
from aggregates.task.terms import Stage
from aggregates.values.ids import AgentId, TaskId
from aggregates.values.numbers import NonNegative, Positive, Share
from aggregates.values.text import Note
from runtime.records import Command, House

OFFERINGS_MAX = 200
"""How many tasks are told on a page."""

Place = tuple[float, float, int]
"""Where a waiting task stands among all: what its waiting is worth, since when it waits, and where it came in."""


class Taking(Struct, frozen=True, kw_only=True):
    """What came of it: the task is awarded to the person, with the `token` that all reports carry and `seconds_left` until it goes back;
    or its book is open until `closes_at`, since others were asked too."""

    task_id: TaskId
    agent_id: AgentId
    stage: Stage
    round: int
    price: float
    token: int = 0
    seconds_left: float | None = None
    closes_at: float | None = None


class TakeTask(Command[Taking], frozen=True, kw_only=True):
    """A person will do a task that waits: by their price list and as long as it is said to take, where they say nothing else. Sent by that
    person's agent; the coordinator decides the book and the bid, and the award where nobody else is asked."""

    task_id: House[TaskId]
    agent_id: House[AgentId]
    price: NonNegative | None = None
    eta_seconds: Positive | None = None
    confidence: Share = 1.0
    conditions: Note = ""


class Offering(Struct, frozen=True, kw_only=True):
    """A task that a person could take, at the `price` of their list. `obstacle` is why not now; empty: they may. With `closes_at` they have
    bid for it, and the book is open until then."""

    task_id: TaskId
    price: float
    eta_seconds: float
    obstacle: str = ""
    closes_at: float | None = None


class Holding(Struct, frozen=True, kw_only=True):
    """A task that a person has: the token that all reports carry, and for how long it stays with them without a word (`ends_soon` in the
    last part of that). `cancel_seconds_left` is told where they are to stop."""

    task_id: TaskId
    token: int
    seconds_left: float
    ends_soon: bool = False
    cancel_seconds_left: float | None = None


class Inbox(Struct, frozen=True, kw_only=True):
    """What calls for a person, the most urgent first, and what they hold. `next` leads to what they could take besides."""

    agent_id: AgentId
    stage: AgentStage
    is_on_duty: bool
    slots: int
    offers: tuple[Offering, ...] = ()
    bids: tuple[Offering, ...] = ()
    held: tuple[Holding, ...] = ()
    next: Place | None = None


class FindInbox(Command[Inbox | None], frozen=True, kw_only=True):
    """What is in somebody's inbox? None where they have none. Answered by the coordinator; records nothing."""

    agent_id: House[AgentId]
    after: House[Place | None] = None
    most: House[Annotated[int, Meta(ge=0, le=OFFERINGS_MAX)]] = 50
    only: House[str] = ""
    """Only what is told of this task; no page then."""

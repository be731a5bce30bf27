"""A queue of tasks: an operator holds those that wait in it back, and lets them go on. What is held then is finished meanwhile."""

from collections.abc import Sequence
from typing import get_args

from msgspec import Struct
from msgspec.structs import replace

from aggregates.values.queues import Queue as QueueName
from aggregates.values.text import Note
from runtime.records import Command, Event, House, State

RULES = 1


class Queue(State, frozen=True, kw_only=True):
    """What decisions about a queue need to know."""

    is_paused: bool = False


initial = Queue()


class QueueStands(Struct, frozen=True, kw_only=True):
    """A queue's open tasks: those that wait to be offered, those that are in bidding, those that somebody holds, those that wait for
    others; and whether it is paused, since when, by whom and why."""

    name: str
    waiting: int = 0
    bidding: int = 0
    held: int = 0
    blocked: int = 0
    paused: bool = False
    since: float = 0.0
    paused_by: str = ""
    reason: str = ""


class QueuesStand(Struct, frozen=True, kw_only=True):
    """The queues that have open tasks or are paused, by name, and how many more there are."""

    queues: tuple[QueueStands, ...]
    left_out: int = 0


class PauseQueue(Command[QueueStands], frozen=True, kw_only=True):
    """Nobody is called for the queue's tasks any more: books that are open are still awarded, and who holds a task keeps it. Sent by an
    operator or admin."""

    queue: House[QueueName]
    reason: Note = ""
    paused_by: House[str] = ""


class ResumeQueue(Command[QueueStands], frozen=True, kw_only=True):
    """Agents are called again for what waits in it. Sent by an operator or admin."""

    queue: House[QueueName]


class FindQueues(Command[QueuesStand], frozen=True, kw_only=True):
    """How they stand. Answered by the coordinator; records nothing."""


class QueuePaused(Event, frozen=True, kw_only=True):
    queue: QueueName
    reason: str
    paused_by: str


class QueueResumed(Event, frozen=True, kw_only=True):
    queue: QueueName


QueueCommand = PauseQueue | ResumeQueue
QueueEvent = QueuePaused | QueueResumed
COMMANDS = get_args(QueueCommand)
EVENTS = get_args(QueueEvent)


def stream(tenant: str, queue: str) -> str:
    """The stream of a tenant's queue."""
    return f"queue-{tenant}:{queue}"


def decide(state: Queue, command: QueueCommand) -> Sequence[QueueEvent]:
    match command:
        case PauseQueue():
            paused = QueuePaused(queue=command.queue, reason=command.reason, paused_by=command.paused_by)
            return [] if state.is_paused else [paused]
        case ResumeQueue():
            return [QueueResumed(queue=command.queue)] if state.is_paused else []


def evolve(state: Queue, event: QueueEvent) -> Queue:
    return replace(state, is_paused=isinstance(event, QueuePaused))

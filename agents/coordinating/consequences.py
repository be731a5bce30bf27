"""What follows at once from what happened: complete books are awarded, dependents told, and tasks taken from whoever is gone."""

from agents.coordinating.alarms import Alarms, Due
from agents.coordinating.calls import Decision, close_book, expire_lease, tell_dependents
from agents.coordinating.hearing import Hearing
from agents.coordinating.inbox import gone
from agents.coordinating.keys import crowded_out
from agents.coordinating.open_tasks import OpenTasks
from agents.coordinating.terms import Terms
from aggregates.agent import AgentDeregistered, AgentLost
from aggregates.subject import SubjectErased
from aggregates.task import (
    BidCommitted,
    BidPlaced,
    BidRefused,
    BidRevealed,
    BidWithdrawn,
    DependencyMet,
    DependencyUnmet,
    DryRunEnded,
    TaskCancelled,
    TaskCompleted,
    TaskDeadLettered,
    TaskExpired,
    TaskFailed,
    TaskRequeued,
    TaskSubmitted,
    TaskUnblocked,
)
from aggregates.user import UserChanged, UserDisabled, UserRemoved
from runtime.records import Recorded

Answered = BidPlaced | BidCommitted | BidRevealed | BidRefused | BidWithdrawn


def consequences(
    memory: OpenTasks, terms: Terms, hearing: Hearing, alarms: Alarms, recorded: Recorded
) -> list[Decision]:
    """What is decided since this was recorded."""
    event = recorded.event
    match event:
        case AgentLost() | AgentDeregistered():
            return _taken_back(memory, hearing, event.agent_id, recorded.position)
        case UserChanged() | UserDisabled() | UserRemoved() | SubjectErased():
            return gone(memory, recorded.meta.tenant, event)
        case BidPlaced() | BidCommitted() | BidRevealed() | BidRefused() | BidWithdrawn():
            return _settled(memory, terms, alarms, event, recorded.meta.at)
        case TaskSubmitted() | TaskUnblocked() | TaskRequeued():
            return [*crowded_out(memory, event.task_id)]
        case (
            DependencyMet()
            | DependencyUnmet()
            | TaskCompleted()
            | TaskFailed()
            | TaskCancelled()
            | TaskExpired()
            | DryRunEnded()
            | TaskDeadLettered()
        ):
            return tell_dependents(memory, recorded.position)
    return []


def _settled(memory: OpenTasks, terms: Terms, alarms: Alarms, event: Answered, at: float) -> list[Decision]:
    """The award, where this was the last answer of those that were called; books that are settled together wait for others."""
    task = memory.tasks.get(event.task_id)
    if task is None or task.round != event.round or not memory.complete(task):
        return []
    if task.is_batched:
        alarms.set(at, Due.BATCH, "")
        return []
    return [close_book(memory, task, terms.weights)]


def _taken_back(memory: OpenTasks, hearing: Hearing, agent_id: str, position: int) -> list[Decision]:
    agent = memory.agents.get(agent_id)
    if agent is None:
        return []
    held = (memory.tasks[name] for name in sorted(agent.held))
    return [expire_lease(task, hearing.heard_at(agent), position) for task in held]

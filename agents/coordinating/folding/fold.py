"""The fold of the coordinator's memory: what each event changes in it."""

from typing import Any

from agents.coordinating.entries import KeyRule, Pause, TaskEntry, TypeSchemas
from agents.coordinating.folding.agents import change_agent, register
from agents.coordinating.folding.attempts import award, fail, judge_success, note_late, rebalance
from agents.coordinating.folding.books import open_book, take_back_bid, take_bid, void
from agents.coordinating.folding.tasks import amend, end, meet_dependency, requeue, submit, wait
from agents.coordinating.open_tasks import OpenTasks
from aggregates.agent import (
    AgentCleared,
    AgentDeregistered,
    AgentDraining,
    AgentLost,
    AgentRegistered,
    AgentReturned,
    AgentSuspected,
    AgentUpdated,
)
from aggregates.concurrency import ConcurrencyDropped, ConcurrencySet
from aggregates.coordination import BatchAssigned, CoordinationStarted, CoordinationStopped
from aggregates.queue import QueuePaused, QueueResumed
from aggregates.subject import SubjectErased
from aggregates.task import (
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
from aggregates.task_type import SchemasDropped, SchemasSet
from aggregates.user import UserChanged, UserDisabled, UserRemoved
from runtime.records import Recorded

QUIET = frozenset(
    (
        AgentSuspected,
        LateReported,
        BookOpened,
        BidPlaced,
        BidRefused,
        BidWithdrawn,
        TaskStarted,
        QuestionAsked,
        QuestionAnswered,
        TaskStalled,
        DependencyMet,
        DependencyUnmet,
        CancelRequested,
        SchemasSet,
        SchemasDropped,
        BidCommitted,
        RevealOpened,
        BidRevealed,
        TaskProgressed,
        OfferDeclined,
        UserChanged,
        UserDisabled,
        UserRemoved,
        SubjectErased,
    )
)
"""After these no book can be opened that could not be opened before."""


def remember(memory: OpenTasks, recorded: Recorded) -> OpenTasks:
    """Folds an event of an agent or a task."""
    event, position = recorded.event, recorded.position
    memory.end_pauses(memory.waiting.due(recorded.meta.at), position)
    if type(event) not in QUIET:
        memory.moved_position = position
    match event:
        case BidPlaced():  # what comes most, first: to pass by all others takes as long as the rest
            if (task := memory.tasks.get(event.task_id)) is not None:
                task.position = position
                take_bid(memory, task, event, event.placed_at, recorded)
        case TaskSubmitted():
            submit(memory, event, position)
        case CoordinationStopped():
            memory.stopped_at, memory.stop_reason = recorded.meta.at, event.reason
        case CoordinationStarted():
            memory.started_at, memory.stopped_at, memory.stop_reason = recorded.meta.at, 0.0, ""
        case QueuePaused():
            memory.paused[event.queue] = Pause(recorded.meta.at, event.reason, event.paused_by)
        case QueueResumed():
            memory.paused.pop(event.queue, None)
        case SchemasSet() | SchemasDropped():
            memory.schemas.setdefault(event.task_type, TypeSchemas()).take(event, position)
        case BatchAssigned():
            memory.batches = event.number
            memory.slot_prices = {one.agent_id: one.price for one in event.prices if one.price}
        case ConcurrencySet():
            memory.rules[event.key] = KeyRule(event.limit, event.strategy, event.set_by, recorded.meta.at)
        case ConcurrencyDropped():
            memory.rules.pop(event.key, None)
        case AgentRegistered():
            register(memory, event, recorded)
        case (
            AgentUpdated()
            | AgentDraining()
            | AgentSuspected()
            | AgentCleared()
            | AgentLost()
            | AgentReturned()
            | AgentDeregistered()
        ):
            if (agent := memory.agents.get(event.agent_id)) is not None:
                change_agent(memory, agent, event, recorded)
        case TaskRequeued():
            requeue(memory, event, position)
        case LateReported():
            note_late(memory, event, recorded)
        case _:
            if (task := memory.tasks.get(getattr(event, "task_id", ""))) is not None:
                task.position = position
                _change_task(memory, task, event, recorded)
    return memory


def _change_task(memory: OpenTasks, task: TaskEntry, event: Any, recorded: Recorded) -> None:
    match event:
        case DependencyMet() | DependencyUnmet():
            meet_dependency(memory, task, event, recorded.position)
        case TaskUnblocked() | TaskReopened():
            wait(memory, task, event, recorded.position)
        case BookOpened():
            open_book(memory, task, event, position=recorded.position)
        case TaskStalled():
            task.stalled = event.reason
        case BidCommitted():
            take_bid(memory, task, event, event.committed_at, recorded)
        case RevealOpened():
            task.is_revealing, task.closes_at = True, event.closes_at
        case BidRevealed():
            task.revealed.add(event.agent_id)
        case BidRefused() | BidWithdrawn():
            take_back_bid(memory, task, event, recorded)
        case BookVoided():
            void(memory, task, event, recorded)
        case TaskAwarded():
            award(memory, task, event, recorded)
        case TaskStarted():
            task.stage, task.held_since = Stage.RUNNING, max(task.held_since, event.started_at)
        case TaskProgressed():
            task.held_since = max(task.held_since, event.progressed_at)
        case OfferDeclined():
            task.declined.add(event.agent_id)
        case CancelRequested():
            task.cancel_by = event.cancel_by
        case QuestionAsked():
            task.question_at = event.asked_at
        case QuestionAnswered():
            task.held_since = held_after_answer(task.held_since, task.question_at, event.waited_seconds)
            task.question_at, task.input_seconds = 0.0, task.input_seconds + event.waited_seconds
        case TaskAmended():
            amend(memory, task, event, recorded.meta.at)
        case TaskRebalanced():
            rebalance(memory, task, event, recorded.position)
        case LeaseExpired() | TaskFailed(final=False):
            fail(memory, task, event, recorded)
        case TaskCompleted():
            judge_success(memory, task, event, recorded)
            end(memory, task, Stage.COMPLETED, recorded, doer=event.agent_id)
        case TaskFailed():
            end(memory, task, Stage.FAILED, recorded)
        case TaskDeadLettered():
            end(memory, task, Stage.DEAD_LETTERED, recorded)
        case TaskCancelled():
            end(memory, task, Stage.CANCELLED, recorded)
        case DryRunEnded():
            end(memory, task, Stage.DRY_RUN_ENDED, recorded)
        case TaskExpired():
            end(memory, task, Stage.EXPIRED, recorded)

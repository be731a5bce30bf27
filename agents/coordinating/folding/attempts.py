"""What the coordinator remembers of attempts: who holds a task, how the attempt ended, and what that says of who held it."""

from agents.coordinating.entries import AgentEntry, Taken, TaskEntry
from agents.coordinating.folding.agents import forget_idle, free_slot
from agents.coordinating.folding.books import close_book
from agents.coordinating.open_tasks import OpenTasks
from aggregates.task import (
    TAKEN_MAX,
    LateReported,
    LeaseExpired,
    Stage,
    TaskAwarded,
    TaskCompleted,
    TaskFailed,
    TaskRebalanced,
    is_taken,
)
from aggregates.values.reputation import price_held
from runtime.records import Recorded


def award(memory: OpenTasks, task: TaskEntry, event: TaskAwarded, recorded: Recorded) -> None:
    """An agent holds it now."""
    close_book(memory, task)
    task.widening = 0
    task.stage, task.assignee, task.token = Stage.AWARDED, event.agent_id, event.token
    task.awarded_at, task.lease_seconds, task.eta_seconds = event.awarded_at, event.lease_seconds, event.eta_seconds
    task.confidence, task.price = event.stated_confidence, event.price
    task.is_person, task.held_since = event.is_person, event.awarded_at
    task.is_assigned, task.retry_at, task.stalled = bool(event.assigned_by), 0.0, ""
    memory.note(task)
    task.question_at = task.input_seconds = 0.0
    if (agent := memory.agents.get(event.agent_id)) is not None:
        agent.held.append(task.task_id)
        if task.units:
            agent.units_by_task[task.task_id] = task.units
        agent.figures.gain_aside(recorded.meta.at, recorded.position, awards=1)
        agent.position = recorded.position
        memory.supply.update(agent)


def fail(memory: OpenTasks, task: TaskEntry, event: LeaseExpired | TaskFailed, recorded: Recorded) -> None:
    """An attempt has come to nothing, and the task is open still."""
    task.moves += isinstance(event, TaskFailed) and event.attempts_max is not None
    if is_taken(event):
        task.taken = [*task.taken, Taken(token=event.token, agent_id=event.agent_id)][-TAKEN_MAX:]
    _judge_failure(memory, task, recorded, was_begun=task.stage is Stage.RUNNING or not is_taken(event))
    release(memory, task, recorded.position)


def _judge_failure(memory: OpenTasks, task: TaskEntry, recorded: Recorded, *, was_begun: bool) -> None:
    """An attempt came to nothing; one that was taken away before it was begun is a no-show."""
    agent = memory.agents.get(task.assignee)
    if agent is not None and task.task_id in agent.held:
        no_shows = 0.0 if was_begun else 1.0
        _judge(agent, task, recorded, failed=1, no_shows=no_shows)
        if isinstance(recorded.event, TaskFailed) and recorded.event.declined:
            agent.figures.gain_aside(recorded.meta.at, recorded.position, declines=1)


def judge_success(memory: OpenTasks, task: TaskEntry, event: TaskCompleted, recorded: Recorded) -> None:
    """The holder has done it: within its estimate or not, for the price agreed on or not."""
    if (agent := memory.agents.get(event.agent_id)) is not None:
        kept = min(1.0, task.eta_seconds / event.seconds) if event.seconds > 0 else 1.0
        _judge(agent, task, recorded, succeeded=1, kept=kept)
        held = price_held(task.price, task.price if event.charged is None else event.charged)
        agent.figures.gain_aside(recorded.meta.at, recorded.position, charges=1, held=held)


def _judge(agent: AgentEntry, task: TaskEntry, recorded: Recorded, **gains: float) -> None:
    """An attempt has ended; of one that was not bid for, no confidence was stated that could be held against the agent."""
    if task.is_assigned:
        agent.figures.gain(recorded.meta.at, recorded.position, **gains)
    else:
        agent.figures.judge(recorded.meta.at, recorded.position, task.confidence, **gains)


def release(memory: OpenTasks, task: TaskEntry, position: int) -> None:
    """Takes the task from its holder."""
    agent = memory.agents.get(task.assignee)
    task.assignee, task.is_person = "", False
    if agent is None or task.task_id not in agent.held:
        return
    agent.held.remove(task.task_id)
    agent.units_by_task.pop(task.task_id, None)
    agent.position = position
    free_slot(memory, agent, position)
    forget_idle(memory, agent)


def rebalance(memory: OpenTasks, task: TaskEntry, event: TaskRebalanced, position: int) -> None:
    """It waits as long as it has waited since it was asked for; nothing is held against who had it."""
    task.taken = [*task.taken, Taken(token=event.token, agent_id=event.agent_id)][-TAKEN_MAX:]
    task.moves += 1
    release(memory, task, position)
    task.stage = Stage.SUBMITTED
    memory.note(task)


def note_late(memory: OpenTasks, event: LateReported, recorded: Recorded) -> None:
    """Somebody has reported under a lease that it no longer has."""
    if (agent := memory.agents.get(event.agent_id)) is not None:
        agent.figures.gain_aside(recorded.meta.at, recorded.position, late_reports=event.more)
    entry = memory.tasks.get(event.task_id) or memory.ended.get(event.task_id)
    for taken in entry.taken if entry is not None else ():
        if taken.token == event.token:
            taken.late = event.count

"""What the coordinator remembers of tasks: what was asked for, what each waits for, and the newest of those that have ended.

Ended tasks are kept as far as dependencies need them: the newest `ENDED_MAX`. A task that depends on an older one is refused as if that
one did not exist; the clear answer costs less than a search.
"""

from agents.coordinating.entries import EndedTask, TaskEntry
from agents.coordinating.folding.attempts import release
from agents.coordinating.folding.books import close_book
from agents.coordinating.open_tasks import OpenTasks
from aggregates.task import (
    ENDED,
    DependencyMet,
    DependencyUnmet,
    Doer,
    Stage,
    TaskAmended,
    TaskReopened,
    TaskRequeued,
    TaskSubmitted,
    TaskUnblocked,
)
from aggregates.values.queues import queue_of
from runtime.records import Recorded

ENDED_MAX = 20_000


def submit(memory: OpenTasks, event: TaskSubmitted, position: int) -> None:
    """A task is there, and waits for others or for an agent."""
    task = _waiting(event, event.submitted_at, position)
    task.award_policy, task.dry_run = event.award_policy, event.dry_run
    task.estimated_duration = event.estimated_duration
    if event.waiting_for:
        task.stage, task.waiting_for, task.entered = Stage.BLOCKED, event.waiting_for, 0
    memory.tasks[event.task_id] = task
    for name in event.dependencies:
        if name in event.waiting_for:
            memory.dependents.setdefault(name, []).append(event.task_id)
        else:
            _note_doer(memory, task, name)
    memory.note(task)


def requeue(memory: OpenTasks, event: TaskRequeued, position: int) -> None:
    """It waits from now on; what was waited before has led to nothing."""
    task = _waiting(event, event.requeued_at, position)
    task.doers, task.round = list(event.doers), event.round
    memory.tasks[event.task_id] = task
    if (ended := memory.ended.pop(event.task_id, None)) is not None:
        memory.ended_order.remove(event.task_id)
        memory.ended_by_stage[ended.stage.value] -= 1
        task.taken, task.token = ended.taken, ended.token
        task.award_policy, task.estimated_duration = ended.award_policy, ended.estimated_duration
    memory.note(task)


def _waiting(event: TaskSubmitted | TaskRequeued, asked_at: float, position: int) -> TaskEntry:
    """A task that waits since then, or from when it may begin, and for nothing but an agent."""
    not_before = event.not_before or 0.0
    return TaskEntry(
        task_id=event.task_id,
        stage=Stage.SUBMITTED,
        position=position,
        waits_since=max(asked_at, not_before),
        submitted_position=position,
        task_type=event.task_type,
        capabilities=event.capabilities,
        independent_of=event.independent_of,
        deadline=event.deadline,
        budget_seconds=event.budget_seconds,
        bidding_seconds=event.bidding_seconds,
        no_bids=event.no_bids,
        waiting_for=(),
        priority=event.priority,
        units=event.units,
        skills=event.skills,
        regions=event.regions,
        price_max=event.price_max,
        assign_to=event.assign_to,
        not_before=not_before if not_before > asked_at else 0.0,
        asked_at=asked_at,
        queue=queue_of(event.queue, event.task_type),
        concurrency=event.concurrency,
        entered=position,
        schema_version=event.schema_version,
    )


def amend(memory: OpenTasks, task: TaskEntry, event: TaskAmended, at: float) -> None:
    """It is asked for otherwise."""
    task.priority, task.deadline = event.priority, event.deadline
    if event.not_before is not None:
        task.waits_since = max(task.asked_at, event.not_before)
        task.not_before = event.not_before if event.not_before > at else 0.0
    task.budget_seconds = event.budget_seconds or task.budget_seconds
    task.estimated_duration = event.estimated_duration or task.estimated_duration
    memory.note(task)


def meet_dependency(memory: OpenTasks, task: TaskEntry, event: DependencyMet | DependencyUnmet, position: int) -> None:
    """It waits for that task no longer, however that has ended."""
    task.waiting_for = tuple(name for name in task.waiting_for if name != event.dependency)
    _drop_dependent(memory, event.dependency, task.task_id, position)
    if isinstance(event, DependencyMet):
        _note_doer(memory, task, event.dependency)


def wait(memory: OpenTasks, task: TaskEntry, event: TaskUnblocked | TaskReopened, position: int) -> None:
    """It waits for nothing but an agent."""
    task.stage, task.entered = Stage.SUBMITTED, task.entered or position
    if isinstance(event, TaskReopened):
        task.not_before = event.not_before or task.not_before
    memory.note(task)


def _note_doer(memory: OpenTasks, task: TaskEntry, dependency: str) -> None:
    ended = memory.ended.get(dependency)
    if ended is not None and ended.stage is Stage.COMPLETED and dependency in task.independent_of:
        task.doers.append(Doer(task_id=dependency, agent_id=ended.agent_id, position=ended.position))


def end(memory: OpenTasks, task: TaskEntry, stage: Stage, recorded: Recorded, *, doer: str = "") -> None:
    """Nothing more is done about it, whatever it was at."""
    assert stage in ENDED
    position = recorded.position
    release(memory, task, position)
    memory.waiting.forget(task.task_id)
    _leave_key(memory, task)
    close_book(memory, task)
    for name in task.waiting_for:
        _drop_dependent(memory, name, task.task_id, position)
    del memory.tasks[task.task_id]
    ended = memory.ended[task.task_id] = EndedTask(
        stage=stage,
        agent_id=doer,
        position=position,
        told_position=position,
        doers=task.doers if stage is Stage.DEAD_LETTERED else [],
        at=recorded.meta.at,
        token=task.token,
        taken=task.taken,
        award_policy=task.award_policy,
        estimated_duration=task.estimated_duration,
    )
    memory.ended_by_stage[stage.value] = memory.ended_by_stage.get(stage.value, 0) + 1
    if task.task_id in memory.dependents:
        memory.owing[task.task_id] = ended
    memory.ended_order.append(task.task_id)
    if len(memory.ended_order) > ENDED_MAX:
        del memory.ended[memory.ended_order.pop(0)]


def _leave_key(memory: OpenTasks, task: TaskEntry) -> None:
    """The last of a group that goes takes the group's turn with it."""
    memory.occupied.forget(task)
    asked = task.concurrency
    if asked is None or asked.key not in memory.turns:
        return
    if not memory.occupied.of(asked.key).groups[asked.group]:
        memory.turns[asked.key].pop(asked.group, None)
    if not memory.turns[asked.key]:
        del memory.turns[asked.key]


def _drop_dependent(memory: OpenTasks, dependency: str, task_id: str, position: int) -> None:
    names = memory.dependents.get(dependency, [])
    if task_id in names:
        names.remove(task_id)
    # One entry in a fold of the log, two in one that was saved in between.
    for entries in (memory.owing, memory.ended):
        if dependency in memory.owing and dependency in entries:
            entries[dependency].told_position = position
    if not names:
        memory.dependents.pop(dependency, None)
        memory.owing.pop(dependency, None)

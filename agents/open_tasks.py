"""What the coordinator keeps at hand: agents with their loads, open tasks, and who did what lately; a fold of the journal.

Ended tasks are kept as far as dependencies need them: the newest `ENDED_MAX`. A task that depends on an older one is refused as if that
one did not exist; the clear answer costs less than a search.
"""

from bisect import bisect_left, insort
from typing import Any

from msgspec import Struct, field

from aggregates import agent as agents
from aggregates import task as tasks
from aggregates.agent import (
    AgentDeregistered,
    AgentDraining,
    AgentLost,
    AgentRegistered,
    AgentReturned,
    AgentUpdated,
)
from aggregates.task import (
    ENDED,
    BidPlaced,
    BidRefused,
    BidWithdrawn,
    BookOpened,
    BookVoided,
    DependencyMet,
    Doer,
    LeaseExpired,
    Stage,
    TaskAwarded,
    TaskCancelled,
    TaskCompleted,
    TaskDeadLettered,
    TaskExpired,
    TaskFailed,
    TaskReopened,
    TaskStarted,
    TaskSubmitted,
    TaskUnblocked,
)
from runtime.records import Recorded

ENDED_MAX = 20_000
PAST_MAX = 10_000
SKILLS_MAX = 10_000
RETRY_SECONDS_FIRST = 1.0
RETRY_SECONDS_MAX = 60.0
AGING_FACTOR = 0.1
AGING_SECONDS = 30.0
"""A waiting task gains AGING_FACTOR of a priority step every AGING_SECONDS, so that none starves."""


class Figures(Struct, kw_only=True):
    """What an agent's past adds up to, as `BidderFacts` says it."""

    completed: int = 0
    failed: int = 0
    kept_sum: float = 0.0
    answers: int = 0
    answer_seconds_sum: float = 0.0


class AgentEntry(Struct, kw_only=True):
    """An agent: what it offers, what it holds, and what its past adds up to. `position`: the last event that changed this."""

    agent_id: str
    key_id: str
    stage: agents.Stage
    generation: int
    capabilities: tuple[str, ...]
    specializations: tuple[str, ...]
    slots: int
    lease_seconds: float
    since: float
    position: int
    held: list[str] = field(default_factory=list)
    figures: Figures = field(default_factory=Figures)

    @property
    def free(self) -> int:
        """The slots in which it could take a task now."""
        return max(0, self.slots - len(self.held)) if self.stage is agents.Stage.ACTIVE else 0


class TaskEntry(Struct, kw_only=True):
    """An open task. `order` sorts the waiting: small is urgent or long waited for."""

    task_id: str
    stage: Stage
    position: int
    order: float
    submitted_position: int
    capabilities: tuple[str, ...]
    independent_of: tuple[str, ...]
    deadline: float | None
    budget_seconds: float
    bidding_seconds: float
    waiting_for: tuple[str, ...]
    doers: list[Doer] = field(default_factory=list)
    round: int = 0
    eligible: tuple[str, ...] = ()
    opened_at: float = 0.0
    closes_at: float = 0.0
    bidders: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    retry_at: float = 0.0
    voided_position: int = 0
    wants_slot: bool = False
    assignee: str = ""
    token: int = 0
    awarded_at: float = 0.0
    lease_seconds: float = 0.0
    eta_seconds: float = 0.0

    @property
    def place(self) -> tuple[float, int, str]:
        """Where it stands among the waiting."""
        return (self.order, self.submitted_position, self.task_id)


class EndedTask(Struct, kw_only=True):
    """How a task ended, and who did it."""

    stage: Stage
    agent_id: str
    position: int


class OpenTasks(Struct, kw_only=True):
    """The coordinator's memory of one tenant. Dicts are for look-ups; nothing depends on their order."""

    agents: dict[str, AgentEntry] = field(default_factory=dict)
    tasks: dict[str, TaskEntry] = field(default_factory=dict)
    waiting: list[tuple[float, int, str]] = field(default_factory=list)
    books: list[str] = field(default_factory=list)
    dependents: dict[str, list[str]] = field(default_factory=dict)
    ended: dict[str, EndedTask] = field(default_factory=dict)
    ended_order: list[str] = field(default_factory=list)
    departed: dict[str, Figures] = field(default_factory=dict)
    """The figures of agents that left, so that none comes back as a newcomer; the last PAST_MAX to leave."""
    departed_order: list[str] = field(default_factory=list)
    skills: dict[str, int] = field(default_factory=dict)
    """Every skill that an agent has ever offered, with the position of its first offer."""
    supply_position: int = 0
    """When an agent last appeared or changed."""
    slot_position: int = 0
    """When a slot was last freed."""

    def ready(self, task: TaskEntry, at: float) -> bool:
        """Whether a book may be opened again: the pause is over, or what was wanting has come."""
        if task.retry_at <= at or task.voided_position < self.supply_position:
            return True
        return task.wants_slot and task.voided_position < self.slot_position

    def complete(self, task: TaskEntry) -> bool:
        """Whether all that were called have answered."""
        return task.stage is Stage.BIDDING and set(task.eligible) == set(task.answered)


def remember(memory: OpenTasks, recorded: Recorded) -> OpenTasks:
    """Folds an event of an agent or a task."""
    event, position = recorded.event, recorded.position
    match event:
        case AgentRegistered():
            _register(memory, event, recorded)
        case AgentUpdated() | AgentDraining() | AgentLost() | AgentReturned() | AgentDeregistered():
            if (agent := memory.agents.get(event.agent_id)) is not None:
                _change_agent(memory, agent, event, recorded)
        case TaskSubmitted():
            _submit(memory, event, position)
        case _:
            if (task := memory.tasks.get(getattr(event, "task_id", ""))) is not None:
                task.position = position
                _change_task(memory, task, event, recorded)
    return memory


def _register(memory: OpenTasks, event: AgentRegistered, recorded: Recorded) -> None:
    past = memory.agents.get(event.agent_id)
    entry = AgentEntry(
        agent_id=event.agent_id,
        key_id=event.key_id,
        stage=agents.Stage.ACTIVE,
        generation=event.generation,
        capabilities=event.capabilities,
        specializations=event.specializations,
        slots=event.slots,
        lease_seconds=event.lease_seconds,
        since=recorded.meta.at,
        position=recorded.position,
    )
    if past is not None:
        entry.held, entry.figures = past.held, past.figures
    elif event.agent_id in memory.departed:
        entry.figures = memory.departed.pop(event.agent_id)
        memory.departed_order.remove(event.agent_id)
    memory.agents[event.agent_id] = entry
    _offer(memory, event.capabilities, recorded.position)


def _offer(memory: OpenTasks, skills: tuple[str, ...], position: int) -> None:
    memory.supply_position = position
    for skill in skills:
        if len(memory.skills) < SKILLS_MAX:
            memory.skills.setdefault(skill, position)


def _change_agent(memory: OpenTasks, agent: AgentEntry, event: Any, recorded: Recorded) -> None:
    agent.position = recorded.position
    match event:
        case AgentUpdated():
            agent.capabilities, agent.specializations = event.capabilities, event.specializations
            agent.slots = event.slots
            _offer(memory, event.capabilities, recorded.position)
        case AgentDraining():
            agent.stage = agents.Stage.DRAINING
        case AgentLost():
            agent.stage = agents.Stage.LOST
        case AgentReturned():
            agent.stage, agent.generation = agents.Stage.ACTIVE, event.generation
            agent.since = recorded.meta.at
            memory.supply_position = recorded.position
        case AgentDeregistered():
            agent.stage = agents.Stage.DEREGISTERED
            _forget_idle(memory, agent)


def _forget_idle(memory: OpenTasks, agent: AgentEntry) -> None:
    """An agent that left is kept until its last task has been taken from it."""
    if agent.stage is agents.Stage.DEREGISTERED and not agent.held:
        del memory.agents[agent.agent_id]
        if agent.figures == Figures():
            return
        memory.departed[agent.agent_id] = agent.figures
        memory.departed_order.append(agent.agent_id)
        if len(memory.departed_order) > PAST_MAX:
            del memory.departed[memory.departed_order.pop(0)]


def _submit(memory: OpenTasks, event: TaskSubmitted, position: int) -> None:
    task = TaskEntry(
        task_id=event.task_id,
        stage=Stage.BLOCKED if event.waiting_for else Stage.SUBMITTED,
        position=position,
        order=event.submitted_at * AGING_FACTOR / AGING_SECONDS - event.priority,
        submitted_position=position,
        capabilities=event.capabilities,
        independent_of=event.independent_of,
        deadline=event.deadline,
        budget_seconds=event.budget_seconds,
        bidding_seconds=event.bidding_seconds,
        waiting_for=event.waiting_for,
    )
    memory.tasks[event.task_id] = task
    for name in event.dependencies:
        if name in event.waiting_for:
            memory.dependents.setdefault(name, []).append(event.task_id)
        else:
            _note_doer(memory, task, name)
    if task.stage is Stage.SUBMITTED:
        insort(memory.waiting, task.place)


def _note_doer(memory: OpenTasks, task: TaskEntry, dependency: str) -> None:
    ended = memory.ended.get(dependency)
    if ended is not None and dependency in task.independent_of:
        task.doers.append(Doer(task_id=dependency, agent_id=ended.agent_id, position=ended.position))


def _change_task(memory: OpenTasks, task: TaskEntry, event: Any, recorded: Recorded) -> None:
    match event:
        case DependencyMet():
            task.waiting_for = tuple(name for name in task.waiting_for if name != event.dependency)
            _drop_dependent(memory, event.dependency, task.task_id)
            _note_doer(memory, task, event.dependency)
        case TaskUnblocked() | TaskReopened():
            task.stage = Stage.SUBMITTED
            insort(memory.waiting, task.place)
        case BookOpened():
            _open(memory, task, event)
        case BidPlaced():
            _bid(memory, task, event, recorded.position)
        case BidRefused() | BidWithdrawn():
            if event.agent_id in task.bidders:
                task.bidders.remove(event.agent_id)
            if event.agent_id not in task.answered:
                task.answered.append(event.agent_id)
        case BookVoided():
            _void(memory, task, event, recorded)
        case TaskAwarded():
            _award(memory, task, event, recorded.position)
        case TaskStarted():
            task.stage = Stage.RUNNING
        case LeaseExpired():
            _release(memory, task, recorded.position, failed=1)
        case TaskFailed() if not event.final:
            _release(memory, task, recorded.position, failed=1)
        case TaskCompleted():
            _complete(memory, task, event, recorded.position)
        case TaskFailed():
            _end(memory, task, Stage.FAILED, recorded.position)
        case TaskDeadLettered():
            _end(memory, task, Stage.DEAD_LETTERED, recorded.position)
        case TaskCancelled():
            _end(memory, task, Stage.CANCELLED, recorded.position)
        case TaskExpired():
            _end(memory, task, Stage.EXPIRED, recorded.position)


def _open(memory: OpenTasks, task: TaskEntry, event: BookOpened) -> None:
    _leave_waiting(memory, task)
    memory.books.append(task.task_id)
    task.stage, task.round, task.eligible = Stage.BIDDING, event.round, event.eligible
    task.opened_at, task.closes_at = event.closes_at - task.bidding_seconds, event.closes_at
    task.bidders, task.answered = [], []


def _bid(memory: OpenTasks, task: TaskEntry, event: BidPlaced, position: int) -> None:
    agent = memory.agents.get(event.agent_id)
    if agent is not None and event.agent_id not in task.answered:
        agent.figures.answers += 1
        agent.figures.answer_seconds_sum += max(0.0, event.placed_at - task.opened_at)
        agent.position = position
    for names in (task.bidders, task.answered):
        if event.agent_id not in names:
            names.append(event.agent_id)


def _void(memory: OpenTasks, task: TaskEntry, event: BookVoided, recorded: Recorded) -> None:
    memory.books.remove(task.task_id)
    task.stage = Stage.SUBMITTED
    pause = RETRY_SECONDS_FIRST * 2 ** min(20, max(0, event.voids - 1))
    task.retry_at = recorded.meta.at + min(RETRY_SECONDS_MAX, pause)
    task.voided_position = recorded.position
    task.wants_slot = any(ranked.lost == "slots_full" for ranked in event.ranking)
    insort(memory.waiting, task.place)


def _award(memory: OpenTasks, task: TaskEntry, event: TaskAwarded, position: int) -> None:
    memory.books.remove(task.task_id)
    task.stage, task.assignee, task.token = Stage.AWARDED, event.agent_id, event.token
    task.awarded_at, task.lease_seconds, task.eta_seconds = event.awarded_at, event.lease_seconds, event.eta_seconds
    task.retry_at = 0.0
    if (agent := memory.agents.get(event.agent_id)) is not None:
        agent.held.append(task.task_id)
        agent.position = position


def _release(memory: OpenTasks, task: TaskEntry, position: int, *, failed: int = 0) -> None:
    """Takes the task from its holder."""
    agent = memory.agents.get(task.assignee)
    task.assignee = ""
    if agent is None or task.task_id not in agent.held:
        return
    agent.held.remove(task.task_id)
    agent.figures.failed += failed
    agent.position = position
    memory.slot_position = position
    _forget_idle(memory, agent)


def _complete(memory: OpenTasks, task: TaskEntry, event: TaskCompleted, position: int) -> None:
    if (agent := memory.agents.get(event.agent_id)) is not None:
        agent.figures.completed += 1
        agent.figures.kept_sum += min(1.0, task.eta_seconds / event.seconds) if event.seconds > 0 else 1.0
    _end(memory, task, Stage.COMPLETED, position, doer=event.agent_id)


def _end(memory: OpenTasks, task: TaskEntry, stage: Stage, position: int, *, doer: str = "") -> None:
    assert stage in ENDED
    _release(memory, task, position)
    _leave_waiting(memory, task)
    if task.task_id in memory.books:
        memory.books.remove(task.task_id)
    for name in task.waiting_for:
        _drop_dependent(memory, name, task.task_id)
    del memory.tasks[task.task_id]
    memory.ended[task.task_id] = EndedTask(stage=stage, agent_id=doer, position=position)
    memory.ended_order.append(task.task_id)
    if len(memory.ended_order) > ENDED_MAX:
        del memory.ended[memory.ended_order.pop(0)]


def _drop_dependent(memory: OpenTasks, dependency: str, task_id: str) -> None:
    names = memory.dependents.get(dependency, [])
    if task_id in names:
        names.remove(task_id)
    if not names:
        memory.dependents.pop(dependency, None)


def _leave_waiting(memory: OpenTasks, task: TaskEntry) -> None:
    index = bisect_left(memory.waiting, task.place)
    if index < len(memory.waiting) and memory.waiting[index] == task.place:
        del memory.waiting[index]


AGENT_EVENTS = agents.EVENTS
TASK_EVENTS = tasks.EVENTS

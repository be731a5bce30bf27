"""What the coordinator keeps at hand: agents with their loads, open tasks, and who did what lately; a fold of the journal.

Ended tasks are kept as far as dependencies need them: the newest `ENDED_MAX`. A task that depends on an older one is refused as if that
one did not exist; the clear answer costs less than a search.
"""

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from msgspec import Struct, field

from agents.coordinating.entries import AgentEntry, EndedTask, KeyRule, Offer, Pause, Taken, TaskEntry, TypeSchemas
from agents.coordinating.figures import Figures
from agents.coordinating.hours import Rota
from agents.coordinating.occupied import Occupied
from agents.coordinating.supply import Supply
from agents.coordinating.waiting import Waiting
from aggregates import agent as agents
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
from aggregates.task import (
    ENDED,
    SEALED,
    TAKEN_MAX,
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
    Doer,
    DryRunEnded,
    LateReported,
    LeaseExpired,
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
    TaskRebalanced,
    TaskReopened,
    TaskRequeued,
    TaskStalled,
    TaskStarted,
    TaskSubmitted,
    TaskUnblocked,
    is_taken,
)
from aggregates.task.state import standing_bid
from aggregates.task_type import SchemasDropped, SchemasSet
from aggregates.values.no_bids import NoWinner
from aggregates.values.queues import queue_of
from aggregates.values.ranking import FULL
from aggregates.values.reputation import price_held
from runtime.records import Recorded

ENDED_MAX = 20_000
PAST_MAX = 10_000
SKILLS_MAX = 10_000
RETRY_SECONDS_FIRST = 1.0
RETRY_SECONDS_MAX = 60.0

QUIET = (
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
)
"""After these no book can be opened that could not be opened before."""


class OpenTasks(Struct, kw_only=True, dict=True):
    """The coordinator's memory of one tenant. Dicts are for look-ups; nothing depends on their order.

    `supply` and `waiting` say once more, by skill, what stands in `agents` and `tasks`; they are no part of a snapshot.
    """

    agents: dict[str, AgentEntry] = field(default_factory=dict)
    tasks: dict[str, TaskEntry] = field(default_factory=dict)
    books: dict[str, None] = field(default_factory=dict)
    """The open ones, in the order in which they were opened."""
    batched: dict[str, None] = field(default_factory=dict)
    """The open books that are settled together with others."""
    batches: int = 0
    """How many batches were settled."""
    slot_prices: dict[str, float] = field(default_factory=dict)
    """What a slot of each agent was worth in the last batch: where the next one starts from."""
    dependents: dict[str, list[str]] = field(default_factory=dict)
    owing: dict[str, EndedTask] = field(default_factory=dict)
    """The ended tasks of which some dependents have not been told yet."""
    ended: dict[str, EndedTask] = field(default_factory=dict)
    ended_order: list[str] = field(default_factory=list)
    ended_by_stage: dict[str, int] = field(default_factory=dict)
    """How many tasks have ended so, all together; a dead letter that was offered again has not ended."""
    departed: dict[str, Figures] = field(default_factory=dict)
    """The figures of agents that left, so that none comes back as a newcomer; the last PAST_MAX to leave."""
    departed_order: list[str] = field(default_factory=list)
    skills: dict[str, int] = field(default_factory=dict)
    """Every skill that an agent has ever offered, with the position of its first offer."""
    stopped_at: float = 0.0
    """Since when no work is given out; 0 while it is."""
    started_at: float = 0.0
    """Since when it is given out again, where it was stopped before."""
    stop_reason: str = ""
    paused: dict[str, Pause] = field(default_factory=dict)
    """The queues that are held back."""
    rules: dict[str, KeyRule] = field(default_factory=dict)
    """The limits that operators have set, by concurrency key."""
    turns: dict[str, dict[str, int]] = field(default_factory=dict)
    """Where a task of a group was called for last, by key and group, as long as some of that group is open."""
    schemas: dict[str, TypeSchemas] = field(default_factory=dict)
    """What payloads and results have to fit, by task type."""
    moved_position: int = 0
    """The last event after which a book might be opened that could not be opened before."""

    @cached_property
    def supply(self) -> Supply:
        """The agents by skill."""
        return Supply(self.agents.values(), (self.tasks[name].eligible for name in self.books))

    @cached_property
    def rota(self) -> Rota:
        """Who is on duty; whoever has a clock turns it."""
        return Rota(self.agents, self.supply)

    @cached_property
    def waiting(self) -> Waiting:
        """The tasks that wait for a book, by what they need."""
        return Waiting(self.tasks.values())

    def is_wanted(self, task: TaskEntry) -> bool:
        """Whether somebody could take a waiting task now."""
        return self.supply.walk(self.waiting.line_of(task.task_id), task.units, self.supply.round()).has_more()

    @cached_property
    def occupied(self) -> Occupied:
        """The tasks that are called for or held."""
        return Occupied(self.tasks.values())

    def note(self, task: TaskEntry) -> None:
        """Takes in for all look-ups that a task waits now, or waits no longer."""
        self.waiting.update(task)
        self.occupied.update(task)

    def complete(self, task: TaskEntry) -> bool:
        """Whether all that were called have answered."""
        if task.is_revealing:
            return task.stage is Stage.BIDDING and task.bidders == task.revealed
        return task.stage is Stage.BIDDING and task.eligible == task.answered


def remember(memory: OpenTasks, recorded: Recorded) -> OpenTasks:
    """Folds an event of an agent or a task."""
    event, position = recorded.event, recorded.position
    _end_pauses(memory, memory.waiting.due(recorded.meta.at), position)
    if not isinstance(event, QUIET):
        memory.moved_position = position
    match event:
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
            _register(memory, event, recorded)
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
                _change_agent(memory, agent, event, recorded)
        case TaskSubmitted():
            _submit(memory, event, position)
        case TaskRequeued():
            _requeue(memory, event, position)
        case LateReported():
            _note_late(memory, event, recorded)
        case _:
            if (task := memory.tasks.get(getattr(event, "task_id", ""))) is not None:
                task.position = position
                _change_task(memory, task, event, recorded)
    return memory


def _end_pauses(memory: OpenTasks, names: Iterable[str], position: int) -> None:
    for name in names:
        task = memory.tasks[name]
        task.retry_at = task.not_before = 0.0
        memory.note(task)
        memory.moved_position = position


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
        max_capacity=event.max_capacity,
        skills=event.skills,
        agent_type=event.agent_type,
        region=event.region,
        price=event.price,
        prices=event.prices,
        working_hours=event.working_hours,
    )
    if past is not None:
        entry.held, entry.units_by_task, entry.figures = past.held, past.units_by_task, past.figures
    elif event.agent_id in memory.departed:
        entry.figures = memory.departed.pop(event.agent_id)
        memory.departed_order.remove(event.agent_id)
    memory.agents[event.agent_id] = entry
    _offer(memory, entry, recorded.position)


def _offer(memory: OpenTasks, agent: AgentEntry, position: int, before: Offer | None = None) -> None:
    """An agent appears, or offers something else than `before`: pauses end for the tasks that it could do now and could not then."""
    agent.offered_position = position
    memory.supply.update(agent)
    for skill in agent.capabilities:
        if len(memory.skills) < SKILLS_MAX:
            memory.skills.setdefault(skill, position)
    if agent.stage is agents.Stage.ACTIVE:
        _end_pauses(memory, memory.waiting.resting(agent, unless=before), position)


def _free_slot(memory: OpenTasks, agent: AgentEntry, position: int) -> None:
    """A slot or units are free again: pauses end for the tasks that found everybody busy, and that fit now."""
    memory.supply.update(agent)
    if agent.free:
        left = agent.room
        resting = map(memory.tasks.__getitem__, memory.waiting.resting(agent))
        fitting = [task.task_id for task in resting if task.wants_slot and (not task.units or task.units <= left)]
        _end_pauses(memory, fitting, position)


def _change_agent(memory: OpenTasks, agent: AgentEntry, event: Any, recorded: Recorded) -> None:
    agent.position = recorded.position
    match event:
        case AgentUpdated():
            before, slots = agent.offer, agent.slots
            agent.capabilities, agent.specializations = event.capabilities, event.specializations
            agent.slots, agent.max_capacity, agent.skills = event.slots, event.max_capacity, event.skills
            agent.region, agent.price, agent.prices = event.region, event.price, event.prices
            agent.working_hours = event.working_hours
            _offer(memory, agent, recorded.position, before)
            if agent.slots > slots or agent.max_capacity > before.max_capacity:
                _free_slot(memory, agent, recorded.position)
        case AgentDraining():
            agent.stage = agents.Stage.DRAINING
        case AgentSuspected():
            agent.stage, agent.suspected_from = agents.Stage.SUSPECT, event.last_heard_at
        case AgentCleared():
            agent.stage, agent.since = event.stage, max(agent.since, event.heard_at)
            _offer(memory, agent, recorded.position)
        case AgentLost():
            agent.stage = agents.Stage.LOST
        case AgentReturned():
            agent.stage, agent.generation = agents.Stage.ACTIVE, event.generation
            agent.since = recorded.meta.at
            _offer(memory, agent, recorded.position)
        case AgentDeregistered():
            agent.stage = agents.Stage.DEREGISTERED
            _forget_idle(memory, agent)
    memory.supply.update(agent)


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
        not_before=not_before if not_before > asked_at else 0.0,
        asked_at=asked_at,
        queue=queue_of(event.queue, event.task_type),
        concurrency=event.concurrency,
        entered=position,
        schema_version=event.schema_version,
    )


def _submit(memory: OpenTasks, event: TaskSubmitted, position: int) -> None:
    task = _waiting(event, event.submitted_at, position)
    if event.waiting_for:
        task.stage, task.waiting_for, task.entered = Stage.BLOCKED, event.waiting_for, 0
    memory.tasks[event.task_id] = task
    for name in event.dependencies:
        if name in event.waiting_for:
            memory.dependents.setdefault(name, []).append(event.task_id)
        else:
            _note_doer(memory, task, name)
    memory.note(task)


def _requeue(memory: OpenTasks, event: TaskRequeued, position: int) -> None:
    """It waits from now on; what was waited before has led to nothing."""
    task = _waiting(event, event.requeued_at, position)
    task.doers, task.round = list(event.doers), event.round
    memory.tasks[event.task_id] = task
    if (ended := memory.ended.pop(event.task_id, None)) is not None:
        memory.ended_order.remove(event.task_id)
        memory.ended_by_stage[ended.stage.value] -= 1
        task.taken, task.token = ended.taken, ended.token
    memory.note(task)


def _amend(memory: OpenTasks, task: TaskEntry, event: TaskAmended, at: float) -> None:
    task.priority, task.deadline = event.priority, event.deadline
    if event.not_before is not None:
        task.waits_since = max(task.asked_at, event.not_before)
        task.not_before = event.not_before if event.not_before > at else 0.0
    task.budget_seconds = event.budget_seconds or task.budget_seconds
    memory.note(task)


def _note_doer(memory: OpenTasks, task: TaskEntry, dependency: str) -> None:
    ended = memory.ended.get(dependency)
    if ended is not None and ended.stage is Stage.COMPLETED and dependency in task.independent_of:
        task.doers.append(Doer(task_id=dependency, agent_id=ended.agent_id, position=ended.position))


def _note_late(memory: OpenTasks, event: LateReported, recorded: Recorded) -> None:
    if (agent := memory.agents.get(event.agent_id)) is not None:
        agent.figures.gain_aside(recorded.meta.at, recorded.position, late_reports=event.more)
    entry = memory.tasks.get(event.task_id) or memory.ended.get(event.task_id)
    for taken in entry.taken if entry is not None else ():
        if taken.token == event.token:
            taken.late = event.count


def _change_task(memory: OpenTasks, task: TaskEntry, event: Any, recorded: Recorded) -> None:
    match event:
        case DependencyMet():
            task.waiting_for = tuple(name for name in task.waiting_for if name != event.dependency)
            _drop_dependent(memory, event.dependency, task.task_id, recorded.position)
            _note_doer(memory, task, event.dependency)
        case DependencyUnmet():
            task.waiting_for = tuple(name for name in task.waiting_for if name != event.dependency)
            _drop_dependent(memory, event.dependency, task.task_id, recorded.position)
        case TaskUnblocked() | TaskReopened():
            task.stage, task.entered = Stage.SUBMITTED, task.entered or recorded.position
            if isinstance(event, TaskReopened):
                task.not_before = event.not_before or task.not_before
            memory.note(task)
        case BookOpened():
            _open(memory, task, event, position=recorded.position)
        case TaskStalled():
            task.stalled = event.reason
        case BidPlaced():
            _bid(memory, task, event, event.placed_at, recorded)
        case BidCommitted():
            _bid(memory, task, event, event.committed_at, recorded)
        case RevealOpened():
            task.is_revealing, task.closes_at = True, event.closes_at
        case BidRevealed():
            task.revealed.add(event.agent_id)
        case BidRefused() | BidWithdrawn():
            if isinstance(event, BidRefused) and (agent := memory.agents.get(event.agent_id)) is not None:
                agent.figures.gain_aside(recorded.meta.at, recorded.position, refusals=1)
            task.bidders.discard(event.agent_id)
            task.answered.add(event.agent_id)
            task.bids.pop(event.agent_id, None)
            _note_complete(memory, task, recorded)
        case BookVoided():
            _void(memory, task, event, recorded)
        case TaskAwarded():
            _award(memory, task, event, recorded)
        case TaskStarted():
            task.stage = Stage.RUNNING
        case CancelRequested():
            task.cancel_by = event.cancel_by
        case QuestionAsked():
            task.question_at = event.asked_at
        case QuestionAnswered():
            task.question_at, task.input_seconds = 0.0, task.input_seconds + event.waited_seconds
        case TaskAmended():
            _amend(memory, task, event, recorded.meta.at)
        case TaskRebalanced():
            _rebalance(memory, task, event, recorded.position)
        case LeaseExpired() | TaskFailed(final=False):
            if is_taken(event):
                task.taken = [*task.taken, Taken(token=event.token, agent_id=event.agent_id)][-TAKEN_MAX:]
            _judge_failure(memory, task, recorded, was_begun=task.stage is Stage.RUNNING or not is_taken(event))
            _release(memory, task, recorded.position)
        case TaskCompleted():
            _complete(memory, task, event, recorded)
        case TaskFailed():
            _end(memory, task, Stage.FAILED, recorded)
        case TaskDeadLettered():
            _end(memory, task, Stage.DEAD_LETTERED, recorded)
        case TaskCancelled():
            _end(memory, task, Stage.CANCELLED, recorded)
        case DryRunEnded():
            _end(memory, task, Stage.DRY_RUN_ENDED, recorded)
        case TaskExpired():
            _end(memory, task, Stage.EXPIRED, recorded)


def _open(memory: OpenTasks, task: TaskEntry, event: BookOpened, *, position: int) -> None:
    if task.concurrency is not None:
        memory.turns.setdefault(task.concurrency.key, {})[task.concurrency.group] = position
    memory.supply.open(event.eligible)
    memory.books[task.task_id] = None
    task.stage, task.round, task.eligible = Stage.BIDDING, event.round, frozenset(event.eligible)
    task.retry_at, task.stalled = 0.0, ""
    memory.note(task)
    task.opened_position = position
    task.opened_at, task.closes_at = event.closes_at - (event.bidding_seconds or task.bidding_seconds), event.closes_at
    task.bidders, task.answered, task.revealed = set(), set(), set()
    task.is_sealed, task.is_revealing = event.award_policy in SEALED, False
    task.award_policy, task.bids, task.complete_at = event.award_policy, {}, 0.0
    if task.is_batched:
        memory.batched[task.task_id] = None


def _close(memory: OpenTasks, task: TaskEntry) -> None:
    """The task's book has ended, where one is open."""
    if task.task_id in memory.books:
        memory.supply.close(task.eligible)  # while it still stands in the memory that a supply is made from
        del memory.books[task.task_id]
        memory.batched.pop(task.task_id, None)
        task.bids = {}


def _bid(memory: OpenTasks, task: TaskEntry, event: BidPlaced | BidCommitted, at: float, recorded: Recorded) -> None:
    agent = memory.agents.get(event.agent_id)
    if agent is not None and event.agent_id not in task.answered:
        seconds = max(0.0, at - task.opened_at)
        agent.figures.gain(recorded.meta.at, recorded.position, answers=1, answer_seconds=seconds)
        agent.position = recorded.position
    task.bidders.add(event.agent_id)
    task.answered.add(event.agent_id)
    if task.is_batched and isinstance(event, BidPlaced):
        task.bids[event.agent_id] = standing_bid(event)
        _note_complete(memory, task, recorded)


def _note_complete(memory: OpenTasks, task: TaskEntry, recorded: Recorded) -> None:
    if task.is_batched and not task.complete_at and memory.complete(task):
        task.complete_at = recorded.meta.at


def _void(memory: OpenTasks, task: TaskEntry, event: BookVoided, recorded: Recorded) -> None:
    _close(memory, task)
    task.stage = Stage.SUBMITTED
    task.widening += task.no_bids.then is NoWinner.WIDEN
    task.retry_at = recorded.meta.at + pause_seconds(event.voids)
    busy = [ranked.lost in FULL for ranked in event.ranking]
    task.wants_slot = event.reason == "outbid" or any(busy)
    memory.note(task)
    if busy and all(busy) and memory.is_wanted(task):  # other books were quicker, and others than those are free
        _end_pauses(memory, [task.task_id], recorded.position)


def pause_seconds(voids: int) -> float:
    """How long a task rests after so many books in a row without a winner."""
    return min(RETRY_SECONDS_MAX, RETRY_SECONDS_FIRST * 2.0 ** min(20, max(0, voids - 1)))


def _award(memory: OpenTasks, task: TaskEntry, event: TaskAwarded, recorded: Recorded) -> None:
    _close(memory, task)
    task.widening = 0
    task.stage, task.assignee, task.token = Stage.AWARDED, event.agent_id, event.token
    task.awarded_at, task.lease_seconds, task.eta_seconds = event.awarded_at, event.lease_seconds, event.eta_seconds
    task.confidence, task.price = event.stated_confidence, event.price
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


def _judge_failure(memory: OpenTasks, task: TaskEntry, recorded: Recorded, *, was_begun: bool) -> None:
    """An attempt came to nothing; one that was taken away before it was begun is a no-show."""
    agent = memory.agents.get(task.assignee)
    if agent is not None and task.task_id in agent.held:
        no_shows = 0.0 if was_begun else 1.0
        _judge(agent, task, recorded, failed=1, no_shows=no_shows)
        if isinstance(recorded.event, TaskFailed) and recorded.event.declined:
            agent.figures.gain_aside(recorded.meta.at, recorded.position, declines=1)


def _judge(agent: AgentEntry, task: TaskEntry, recorded: Recorded, **gains: float) -> None:
    """An attempt has ended; of one that was not bid for, no confidence was stated that could be held against the agent."""
    if task.is_assigned:
        agent.figures.gain(recorded.meta.at, recorded.position, **gains)
    else:
        agent.figures.judge(recorded.meta.at, recorded.position, task.confidence, **gains)


def _release(memory: OpenTasks, task: TaskEntry, position: int) -> None:
    """Takes the task from its holder."""
    agent = memory.agents.get(task.assignee)
    task.assignee = ""
    if agent is None or task.task_id not in agent.held:
        return
    agent.held.remove(task.task_id)
    agent.units_by_task.pop(task.task_id, None)
    agent.position = position
    _free_slot(memory, agent, position)
    _forget_idle(memory, agent)


def _rebalance(memory: OpenTasks, task: TaskEntry, event: TaskRebalanced, position: int) -> None:
    """It waits as long as it has waited since it was asked for; nothing is held against who had it."""
    task.taken = [*task.taken, Taken(token=event.token, agent_id=event.agent_id)][-TAKEN_MAX:]
    task.moves += 1
    _release(memory, task, position)
    task.stage = Stage.SUBMITTED
    memory.note(task)


def _complete(memory: OpenTasks, task: TaskEntry, event: TaskCompleted, recorded: Recorded) -> None:
    if (agent := memory.agents.get(event.agent_id)) is not None:
        kept = min(1.0, task.eta_seconds / event.seconds) if event.seconds > 0 else 1.0
        _judge(agent, task, recorded, succeeded=1, kept=kept)
        held = price_held(task.price, task.price if event.charged is None else event.charged)
        agent.figures.gain_aside(recorded.meta.at, recorded.position, charges=1, held=held)
    _end(memory, task, Stage.COMPLETED, recorded, doer=event.agent_id)


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


def _end(memory: OpenTasks, task: TaskEntry, stage: Stage, recorded: Recorded, *, doer: str = "") -> None:
    assert stage in ENDED
    position = recorded.position
    _release(memory, task, position)
    memory.waiting.forget(task.task_id)
    _leave_key(memory, task)
    _close(memory, task)
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
    )
    memory.ended_by_stage[stage.value] = memory.ended_by_stage.get(stage.value, 0) + 1
    if task.task_id in memory.dependents:
        memory.owing[task.task_id] = ended
    memory.ended_order.append(task.task_id)
    if len(memory.ended_order) > ENDED_MAX:
        del memory.ended[memory.ended_order.pop(0)]


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

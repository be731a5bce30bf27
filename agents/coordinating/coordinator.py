"""The coordinator of one tenant: calls for proposals, awards tasks, watches leases, budgets and deadlines.

What follows at once follows by `react`: complete books are awarded, dependents unblocked, freed slots offered. What follows from time
alone follows by `wake`. Heartbeats are volatile: the last one of each agent lives in `heard`; after a start or a pause the `floor` stands
for what was not heard, so that every agent, every suspicion and every lease has one full term before it can end.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from agents.coordinating.alarms import Alarm, Alarms, Due
from agents.coordinating.calls import Decision, award, expire_lease, listed_prices, openings, stalls, tell_dependents
from agents.coordinating.entries import AgentEntry, TaskEntry
from agents.coordinating.figures import Figures, told
from agents.coordinating.late import LateReports
from agents.coordinating.leases import leases_of, standing
from agents.coordinating.open_tasks import SKILLS_MAX, OpenTasks, remember
from agents.coordinating.open_work import open_work
from aggregates import agent as agents
from aggregates import coordination as coordinations
from aggregates import key as keys
from aggregates import task as tasks
from aggregates.agent import (
    AgentAccepted,
    AgentCleared,
    AgentCommand,
    AgentDeregistered,
    AgentLost,
    AgentRegistered,
    AgentReturned,
    AgentSuspected,
    ClearAgent,
    DeregisterAgent,
    DrainAgent,
    FindReputation,
    Heartbeat,
    HeartbeatAck,
    LoseAgent,
    RegisterAgent,
    ReturnAgent,
    SuspectAgent,
    UpdateAgent,
    suspect_after,
)
from aggregates.coordination import (
    CoordinationStands,
    FindCoordination,
    FindOpenWork,
    StartCoordination,
    StopCoordination,
)
from aggregates.key import IssueKey, RevokeKey
from aggregates.task import (
    BUDGET_GRACE_SECONDS,
    HELD,
    AmendTask,
    BidAccepted,
    BidPlaced,
    BidRefused,
    BidWithdrawn,
    BookOpened,
    BookVoided,
    CancelTask,
    CheckLease,
    CompleteTask,
    DependencyFact,
    DependencyMet,
    EndOverrun,
    ExpireTask,
    FailTask,
    PlaceBid,
    RefuseBid,
    RequeueTask,
    Stage,
    StartTask,
    SubmitTask,
    SubmitTasks,
    TaskAccepted,
    TaskAmended,
    TaskAwarded,
    TaskCancelled,
    TaskCompleted,
    TaskDeadLettered,
    TaskExpired,
    TaskFailed,
    TaskFault,
    TaskRequeued,
    TasksAnswered,
    TaskSubmitted,
    WithdrawBid,
    skills_needed,
    submission_faults,
)
from aggregates.values.roles import Role
from aggregates.values.skills import missing
from runtime.actor import Actor, Effect, Reply, Surroundings, reply
from runtime.errors import Overloaded, Refused
from runtime.records import Recorded

AGENTS_MAX = 10_000
TASKS_OPEN_MAX = 10_000
ALARMS_SLACK = 4096
SECOND_LOOK_SECONDS = 1.0
"""When an alarm that was acted on is looked at again, in case the action was refused or its commit failed."""

WATCHED = (agents.Stage.ACTIVE, agents.Stage.DRAINING, agents.Stage.SUSPECT)
"""Whose silence means something."""

CoordinatorCommand = (
    RegisterAgent
    | UpdateAgent
    | DrainAgent
    | DeregisterAgent
    | Heartbeat
    | SubmitTask
    | SubmitTasks
    | PlaceBid
    | WithdrawBid
    | RefuseBid
    | StartTask
    | CompleteTask
    | FailTask
    | CancelTask
    | AmendTask
    | RequeueTask
    | StopCoordination
    | StartCoordination
    | FindCoordination
    | CheckLease
    | FindReputation
    | FindOpenWork
)


class Terms(NamedTuple):
    """What the operator may set."""

    lease_seconds: float = 120.0
    grace_share: float = 0.25
    """The last part of a lease's term: who is silent that long is suspected, and lost at its end."""
    budget_seconds_max: float = 3600.0
    bidding_seconds_max: float = 60.0
    attempts_max: int = 4
    cycle_seconds: float = 30.0
    max_capacity: float = agents.MAX_CAPACITY
    lease_seconds_min: float = agents.LEASE_SECONDS_MIN
    lease_seconds_max: float = agents.LEASE_SECONDS_MAX


DEFAULT_TERMS = Terms()


class Coordinator(Actor[CoordinatorCommand, OpenTasks]):
    """One for each tenant. Commands that it decides by itself (`OpenBook`, `AwardTask`, `ExpireLease`, …) are taken from nobody."""

    takes = (
        RegisterAgent,
        UpdateAgent,
        DrainAgent,
        DeregisterAgent,
        Heartbeat,
        SubmitTask,
        SubmitTasks,
        PlaceBid,
        WithdrawBid,
        RefuseBid,
        StartTask,
        CompleteTask,
        FailTask,
        CancelTask,
        AmendTask,
        RequeueTask,
        StopCoordination,
        StartCoordination,
        FindCoordination,
        CheckLease,
        FindReputation,
        FindOpenWork,
    )
    hears = (*agents.EVENTS, *tasks.EVENTS, *coordinations.EVENTS)
    FOLD = 5

    def __init__(self, here: Surroundings, terms: Terms = DEFAULT_TERMS) -> None:
        super().__init__(here)
        self.terms = terms
        self.heard: dict[str, float] = {}
        self.floor = 0.0
        self.began_at = 0.0
        self.late = LateReports()
        self.alarms = Alarms()
        self.looked_position = -1
        self.looked_at = 0.0
        """Until where and when it is known that no book can be opened."""

    @staticmethod
    def fresh() -> OpenTasks:
        return OpenTasks()

    @staticmethod
    def remember(memory: OpenTasks, recorded: Recorded) -> OpenTasks:
        return remember(memory, recorded)

    # ---- what is asked for

    def handle(self, message: CoordinatorCommand) -> Effect | Reply:
        match message:
            case RegisterAgent():
                return self._register(message)
            case UpdateAgent() | DrainAgent():
                return Effect([self._on_agent(message)], self._agent_stands(message))
            case DeregisterAgent():
                return self._deregister(message)
            case Heartbeat():
                return self._heartbeat(message)
            case SubmitTask():
                return self._submit(message)
            case SubmitTasks():
                return self._submit_many(message)
            case PlaceBid() | WithdrawBid() | RefuseBid():
                return self._answer_call(message)
            case StartTask() | CompleteTask() | FailTask():
                self._hear(message.agent_id, message.at)
                return self.late.answer(self.memory, message, self.began_at) or self._on_task(message)
            case CancelTask() | AmendTask():
                return self._on_task(message)
            case RequeueTask():
                return self._requeue(message)
            case StopCoordination() | StartCoordination():
                return self._stop_or_start(message)
            case FindCoordination():
                return reply(message, self._stands())
            case CheckLease():
                return self._check_lease(message)
            case FindReputation():
                return self._find_reputation(message)
            case FindOpenWork():
                return reply(message, open_work(self.memory, message.at))

    def _stop_or_start(self, command: StopCoordination | StartCoordination) -> Effect:
        stood = self._stands()

        def answer(recorded: Sequence[Recorded]) -> Reply:
            if not recorded:
                return reply(command, stood)
            since, reason = recorded[0].meta.at, command.reason if isinstance(command, StopCoordination) else ""
            running = isinstance(command, StartCoordination)
            return reply(command, CoordinationStands(running=running, since=since, reason=reason))

        return Effect([(coordinations.stream(self.here.key), command)], answer)

    def _stands(self) -> CoordinationStands:
        memory = self.memory
        since = memory.stopped_at or memory.started_at
        return CoordinationStands(running=not memory.stopped_at, since=since, reason=memory.stop_reason)

    def _register(self, command: RegisterAgent) -> Effect:
        known = self.memory.agents.get(command.agent_id)
        if known is None and len(self.memory.agents) >= AGENTS_MAX:
            raise Refused("agents_too_many", f"{AGENTS_MAX} are registered; deregister some")
        terms = self.terms
        told = replace(
            command,
            lease_seconds=terms.lease_seconds,
            lease_seconds_min=terms.lease_seconds_min,
            lease_seconds_max=terms.lease_seconds_max,
            max_capacity_default=terms.max_capacity,
        )
        decisions: list[Decision] = [self._on_agent(told)]
        if command.key_id:
            own = IssueKey(
                key_id=command.key_id,
                role=Role.AGENT_OWN,
                digest=command.key_digest,
                agent_id=command.agent_id,
                label=command.name,
                data_subject=command.data_subject,
            )
            decisions.append((keys.stream(command.key_id), own))
        if known is not None and known.key_id not in ("", command.key_id):
            decisions.append(_revoked(known.key_id, "registered anew"))
        return Effect(decisions, self._agent_stands(command))

    def _deregister(self, command: DeregisterAgent) -> Effect:
        decisions: list[Decision] = [self._on_agent(command)]
        known = self.memory.agents.get(command.agent_id)
        if known is not None and known.key_id:
            decisions.append(_revoked(known.key_id, "deregistered"))
        return Effect(decisions, self._agent_stands(command))

    def _on_agent(self, command: AgentCommand) -> Decision:
        return (agents.stream(self.here.key, command.agent_id), command)

    def _agent_stands(
        self, command: RegisterAgent | UpdateAgent | DrainAgent | DeregisterAgent
    ) -> Callable[[Sequence[Recorded]], Reply]:
        known = self.memory.agents.get(command.agent_id)
        generation, key_id = (known.generation, known.key_id) if known is not None else (0, "")

        def answer(recorded: Sequence[Recorded]) -> Reply:
            made = next((record.event for record in recorded if isinstance(record.event, AgentRegistered)), None)
            number, own = (made.generation, made.key_id) if made is not None else (generation, key_id)
            return reply(command, AgentAccepted(agent_id=command.agent_id, generation=number, key_id=own))

        return answer

    def _heartbeat(self, command: Heartbeat) -> Effect | Reply:
        agent = self.memory.agents.get(command.agent_id)
        if agent is None or agent.stage is agents.Stage.DEREGISTERED:
            raise Refused("agent_unknown", command.agent_id, status=404)
        self.heard[command.agent_id] = command.at
        if agent.stage is agents.Stage.LOST:
            back = HeartbeatAck(lease_seconds=agent.lease_seconds)
            again = ReturnAgent(agent_id=command.agent_id)
            return Effect([self._on_agent(again)], lambda recorded: reply(command, back))
        answer = reply(command, self._leases(agent))
        if agent.stage is agents.Stage.SUSPECT:
            cleared = ClearAgent(agent_id=command.agent_id, heard_at=command.at)
            return Effect([self._on_agent(cleared)], lambda recorded: answer)
        return answer

    def _leases(self, agent: AgentEntry) -> HeartbeatAck:
        leases = leases_of(self.memory, agent, self._heard_at(agent), self.here.clock.now())
        return HeartbeatAck(lease_seconds=agent.lease_seconds, leases=leases)

    def _check_lease(self, command: CheckLease) -> Reply:
        task = self.memory.tasks.get(command.task_id)
        holder = self.memory.agents.get(task.assignee) if task is not None else None
        heard_at = self._heard_at(holder) if holder is not None else 0.0
        return reply(command, standing(self.memory, command, heard_at, self.here.clock.now()))

    def _find_reputation(self, command: FindReputation) -> Reply:
        agent = self.memory.agents.get(command.agent_id)
        figures = agent.figures if agent is not None else self.memory.departed.get(command.agent_id, Figures())
        return reply(command, told(command.agent_id, figures, command.at))

    def _submit(self, command: SubmitTask) -> Effect:
        self._check_places(command.task_id)
        return self._on_task(self._told(command))

    def _submit_many(self, command: SubmitTasks) -> Effect | Reply:
        if not command.only_asks and len(self.memory.tasks) + len(command.tasks) > TASKS_OPEN_MAX:
            raise Overloaded(f"{TASKS_OPEN_MAX} tasks may be open", retry_seconds=self.terms.cycle_seconds)
        told = [replace(self._told(one), at=command.at, tenant=command.tenant) for one in command.tasks]
        faults = tuple(
            TaskFault(number=number, code=code, detail=detail)
            for number, one in enumerate(told)
            for code, detail in submission_faults(one)
        )
        if faults or command.only_asks:
            return reply(command, TasksAnswered(faults=faults))
        accepted = TasksAnswered(task_ids=tuple(one.task_id for one in told))
        return Effect([(tasks.stream(one.task_id), one) for one in told], lambda recorded: reply(command, accepted))

    def _told(self, command: SubmitTask) -> SubmitTask:
        """A submission with the facts that it is decided by."""
        facts = tuple(
            self._dependency(name) for name in sorted(set(command.dependencies) - set(command.submitted_with))
        )
        # Where more skills are about than can be remembered, none can be called unknown.
        known = self.memory.skills if len(self.memory.skills) < SKILLS_MAX else {}
        return replace(
            command,
            dependency_facts=facts,
            skills_never_offered=missing(skills_needed(command), known) if known else (),
            budget_seconds_max=self.terms.budget_seconds_max,
            bidding_seconds_max=self.terms.bidding_seconds_max,
            attempts_allowed=self.terms.attempts_max,
        )

    def _check_places(self, task_id: str) -> None:
        if task_id not in self.memory.tasks and len(self.memory.tasks) >= TASKS_OPEN_MAX:
            raise Overloaded(f"{TASKS_OPEN_MAX} tasks are open", retry_seconds=self.terms.cycle_seconds)

    def _requeue(self, command: RequeueTask) -> Effect:
        self._check_places(command.task_id)
        ended = self.memory.ended.get(command.task_id)
        doers = tuple(ended.doers) if ended is not None else ()
        return self._on_task(replace(command, doers=doers, attempts_allowed=self.terms.attempts_max))

    def _dependency(self, task_id: str) -> DependencyFact:
        entry = self.memory.tasks.get(task_id) or self.memory.ended.get(task_id)
        if entry is None:
            return DependencyFact(task_id=task_id, stage=Stage.UNKNOWN, position=0)
        return DependencyFact(task_id=task_id, stage=entry.stage, position=entry.position)

    def _on_task(
        self, command: SubmitTask | StartTask | CompleteTask | FailTask | CancelTask | AmendTask | RequeueTask
    ) -> Effect:
        accepted = TaskAccepted(task_id=command.task_id)
        return Effect([(tasks.stream(command.task_id), command)], lambda recorded: reply(command, accepted))

    def _answer_call(self, command: PlaceBid | WithdrawBid | RefuseBid) -> Effect:
        self._hear(command.agent_id, command.at)
        task = self.memory.tasks.get(command.task_id)
        number = command.round or (task.round if task is not None else 0)
        accepted = BidAccepted(task_id=command.task_id, agent_id=command.agent_id, round=number)
        agent = self.memory.agents.get(command.agent_id)
        if isinstance(command, PlaceBid) and command.price is None and task is not None and agent is not None:
            command = replace(command, listed=listed_prices(task, agent))
        return Effect([(tasks.stream(command.task_id), command)], lambda recorded: reply(command, accepted))

    def _hear(self, agent_id: str, at: float) -> None:
        agent = self.memory.agents.get(agent_id)
        if agent is not None and agent.stage is not agents.Stage.DEREGISTERED:
            self.heard[agent_id] = at
            if agent.stage is agents.Stage.SUSPECT:
                self.alarms.set(at, Due.SILENCE, agent_id)  # by itself: what it says may be refused, and it was heard

    # ---- what follows from what happened

    def concerns(self, recorded: Recorded) -> bool:
        """A bid that is not the last one awaited is what comes most, and nothing follows from it."""
        event, memory = recorded.event, self.memory
        if type(event) is not BidPlaced or (memory.moved_position > self.looked_position and not memory.stopped_at):
            return True
        task = memory.tasks.get(event.task_id)
        return task is not None and memory.complete(task)

    def react(self, recorded: Recorded) -> Effect | None:
        self._set_alarms(recorded)
        decisions = [*self._consequences(recorded), *self._openings(recorded.meta.at)]
        return Effect(decisions) if decisions else None

    def _openings(self, at: float, due: float = 0.0) -> list[Decision]:
        """The books to open, unless a look after the last change, and after what fell `due`, has found none."""
        if self.memory.stopped_at or (self.memory.moved_position <= self.looked_position and due <= self.looked_at):
            return []
        found = openings(self.memory, at)
        if not found:
            self.looked_position, self.looked_at = self.memory.moved_position, at
        return found

    def _consequences(self, recorded: Recorded) -> list[Decision]:
        event = recorded.event
        match event:
            case AgentLost() | AgentDeregistered():
                return self._take_back(event.agent_id, recorded.position)
            case BidPlaced() | BidRefused() | BidWithdrawn():
                task = self.memory.tasks.get(event.task_id)
                complete = task is not None and task.round == event.round and self.memory.complete(task)
                return [award(self.memory, task)] if task is not None and complete else []
            case (
                DependencyMet() | TaskCompleted() | TaskFailed() | TaskCancelled() | TaskExpired() | TaskDeadLettered()
            ):
                return tell_dependents(self.memory, recorded.position)
        return []

    def _take_back(self, agent_id: str, position: int) -> list[Decision]:
        agent = self.memory.agents.get(agent_id)
        held = [self.memory.tasks[name] for name in sorted(agent.held)] if agent is not None else []
        heard_at = self._heard_at(agent) if agent is not None else 0.0
        return [expire_lease(task, heard_at, position) for task in held]

    # ---- what follows from time

    def started(self, at: float) -> None:
        self.floor = self.began_at = at
        self._reset_alarms(at)

    def paused(self, at: float, seconds: float) -> None:
        self.floor = at

    def due(self) -> float | None:
        return self.alarms.soonest()

    def wake(self, at: float) -> Effect | None:
        while (alarm := self.alarms.take(at)) is not None:
            if decisions := self._on_alarm(alarm, at):
                if alarm.due is not Due.CYCLE:  # a cycle comes again by itself
                    self.alarms.set(at + SECOND_LOOK_SECONDS, alarm.due, alarm.name)
                return Effect(decisions)
        return None

    def _on_alarm(self, alarm: Alarm, at: float) -> list[Decision]:
        """What is to be done about it now. One whose time has moved is set again; one whose subject has ended is dropped."""
        if alarm.due is Due.CYCLE:
            self.alarms.set(at + self.terms.cycle_seconds, Due.CYCLE, "")
            return [*tell_dependents(self.memory), *self._openings(at, due=at), *stalls(self.memory)]
        if alarm.due is Due.SILENCE:
            agent = self.memory.agents.get(alarm.name)
            return self._on_silence(agent, at) if agent is not None else []
        task = self.memory.tasks.get(alarm.name)
        due_at = self._due_at(task, alarm.due) if task is not None else None
        if task is None or due_at is None:
            return []
        if due_at > at:
            self.alarms.set(due_at, alarm.due, alarm.name)
            return []
        return self._on_task_alarm(task, alarm.due, at)

    def _due_at(self, task: TaskEntry, due: Due) -> float | None:
        """When this is due for the task as it stands now; None when it no longer is."""
        match due:
            case Due.BOOK:
                return task.closes_at if task.stage is Stage.BIDDING else None
            case Due.BUDGET if task.stage in HELD:
                over = task.awarded_at + task.budget_seconds + BUDGET_GRACE_SECONDS
                return max(over, self.floor + task.lease_seconds)
            case Due.DEADLINE:
                return task.deadline
            case Due.RETRY:
                return task.retry_at if task.stage is Stage.SUBMITTED else None
            case _:
                return None

    def _on_task_alarm(self, task: TaskEntry, due: Due, at: float) -> list[Decision]:
        stream = tasks.stream(task.task_id)
        match due:
            case Due.BOOK:
                return [award(self.memory, task)]
            case Due.BUDGET:
                return [(stream, EndOverrun(task_id=task.task_id, token=task.token))]
            case Due.DEADLINE:
                return [(stream, ExpireTask(task_id=task.task_id))]
            case _:
                return self._openings(at, due=task.retry_at)

    def _on_silence(self, agent: AgentEntry, at: float) -> list[Decision]:
        """Whoever is silent is suspected first, and lost at the end of the term; only then are its tasks taken from it."""
        if agent.stage not in WATCHED:
            return []
        if self._is_heard_again(agent):
            return [self._on_agent(ClearAgent(agent_id=agent.agent_id, heard_at=self.heard[agent.agent_id]))]
        if (due_at := self._silent_at(agent)) > at:
            self.alarms.set(due_at, Due.SILENCE, agent.agent_id)
            return []
        heard_at = self._heard_at(agent)
        if agent.stage is not agents.Stage.SUSPECT:
            suspect = SuspectAgent(agent_id=agent.agent_id, last_heard_at=heard_at, grace_share=self.terms.grace_share)
            return [self._on_agent(suspect)]
        held = [self.memory.tasks[name] for name in sorted(agent.held)]
        lost = LoseAgent(agent_id=agent.agent_id, last_heard_at=heard_at)
        return [self._on_agent(lost), *(expire_lease(task, heard_at) for task in held)]

    def _is_heard_again(self, agent: AgentEntry) -> bool:
        """A suspect has said something. That nobody could hear it for a while (the floor) gives it time, and says nothing of it."""
        is_suspect = agent.stage is agents.Stage.SUSPECT
        return is_suspect and self.heard.get(agent.agent_id, 0.0) > agent.suspected_from

    def _silent_at(self, agent: AgentEntry) -> float:
        """Until when it may be silent as it stands now."""
        seconds = agent.lease_seconds
        if agent.stage is not agents.Stage.SUSPECT:
            seconds = suspect_after(seconds, self.terms.grace_share)
        return self._heard_at(agent) + seconds

    def _heard_at(self, agent: AgentEntry) -> float:
        return max(self.heard.get(agent.agent_id, 0.0), self.floor, agent.since)

    def _set_alarms(self, recorded: Recorded) -> None:
        """The alarms that an event calls for."""
        event = recorded.event
        match event:
            case AgentRegistered() | AgentReturned() | AgentSuspected() | AgentCleared():
                self._watch_agents([self.memory.agents.get(event.agent_id)])
            case TaskSubmitted() | BookOpened() | TaskAwarded() | BookVoided() | TaskAmended() | TaskRequeued():
                self._watch_tasks([self.memory.tasks.get(event.task_id)])
            case AgentDeregistered():
                self.heard.pop(event.agent_id, None)
        if len(self.alarms) > 4 * (len(self.memory.tasks) + len(self.memory.agents)) + ALARMS_SLACK:
            self._reset_alarms(recorded.meta.at)

    def _reset_alarms(self, at: float) -> None:
        self.alarms.clear()
        self.alarms.set(at + self.terms.cycle_seconds, Due.CYCLE, "")
        self._watch_agents(self.memory.agents.values())
        self._watch_tasks(self.memory.tasks.values())

    def _watch_agents(self, entries: Iterable[AgentEntry | None]) -> None:
        for agent in entries:
            if agent is not None:
                self.alarms.set(self._silent_at(agent), Due.SILENCE, agent.agent_id)

    def _watch_tasks(self, entries: Iterable[TaskEntry | None]) -> None:
        for task in entries:
            if task is None:
                continue
            for due in (Due.BOOK, Due.BUDGET, Due.DEADLINE, Due.RETRY):
                if at := self._due_at(task, due):
                    self.alarms.set(at, due, task.task_id)


def _revoked(key_id: str, reason: str) -> Decision:
    return (keys.stream(key_id), RevokeKey(key_id=key_id, reason=reason))

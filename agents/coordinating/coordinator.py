"""The coordinator of one tenant: calls for proposals, awards tasks, watches leases, budgets and deadlines.

What follows at once follows by `react`: complete books are awarded, dependents unblocked, freed slots offered. What follows from time
alone follows by `wake`. What is asked for is worked out beside this module, each kind in its own: `membership`, `submissions`, `leases`, …
"""

from collections.abc import Iterable, Sequence
from math import inf

from msgspec.structs import replace

from agents.coordinating.alarms import Alarm, Alarms, Due
from agents.coordinating.answers import Answers
from agents.coordinating.batches import Batches
from agents.coordinating.calls import (
    OPENINGS_MAX,
    Decision,
    assignment,
    close_book,
    expire_lease,
    listed_prices,
    openings,
    stalls,
    tell_dependents,
)
from agents.coordinating.entries import AgentEntry, TaskEntry
from agents.coordinating.figures import Figures, told
from agents.coordinating.hearing import WATCHED, Hearing
from agents.coordinating.keys import all_keys, crowded_out, key_of, set_or_drop
from agents.coordinating.late import LateReports
from agents.coordinating.leases import leases_of, standing
from agents.coordinating.membership import change
from agents.coordinating.open_tasks import OpenTasks, remember
from agents.coordinating.open_work import open_work
from agents.coordinating.overview import overview
from agents.coordinating.places import Places
from agents.coordinating.queues import all_queues, pause_or_resume
from agents.coordinating.rebalancing import Rebalancing
from agents.coordinating.schemas import change as change_schemas
from agents.coordinating.schemas import check_result
from agents.coordinating.submissions import again, submission, submissions
from agents.coordinating.terms import DEFAULT_TERMS, Terms
from agents.coordinating.timetable import all_due, due_at, falls_due
from aggregates import agent as agents
from aggregates import concurrency as concurrencies
from aggregates import coordination as coordinations
from aggregates import queue as queues
from aggregates import task as tasks
from aggregates import task_type as task_types
from aggregates.agent import (
    AgentCleared,
    AgentDeregistered,
    AgentLost,
    AgentRegistered,
    AgentReturned,
    AgentSuspected,
    AgentUpdated,
    ClearAgent,
    DeregisterAgent,
    DrainAgent,
    FindReputation,
    Heartbeat,
    HeartbeatAck,
    RegisterAgent,
    ReturnAgent,
    UpdateAgent,
)
from aggregates.concurrency import DropConcurrency, FindConcurrency, SetConcurrency
from aggregates.coordination import (
    CoordinationStands,
    FindCoordination,
    FindFigures,
    FindObstacles,
    FindOpenWork,
    Obstacles,
    StartCoordination,
    StopCoordination,
)
from aggregates.queue import FindQueues, PauseQueue, ResumeQueue
from aggregates.task import (
    AmendTask,
    AnswerQuestion,
    AskQuestion,
    AssignTask,
    BidAccepted,
    BidCommitted,
    BidPlaced,
    BidRefused,
    BidRevealed,
    BidWithdrawn,
    BookOpened,
    BookVoided,
    CancelRequested,
    CancelTask,
    CheckLease,
    CommitBid,
    CompleteTask,
    DependencyMet,
    DependencyUnmet,
    DryRunEnded,
    FailTask,
    PlaceBid,
    QuestionAnswered,
    RefuseBid,
    RequeueTask,
    RevealBid,
    RevealOpened,
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
    TaskRebalanced,
    TaskReopened,
    TaskRequeued,
    TasksAnswered,
    TaskSubmitted,
    TaskUnblocked,
    WithdrawBid,
)
from aggregates.task_type import DropSchemas, SetSchemas
from runtime.actor import Actor, Effect, Reply, Surroundings, reply
from runtime.errors import Refused
from runtime.records import Recorded

ALARMS_SLACK = 4096
SECOND_LOOK_SECONDS = 1.0
"""When an alarm that was acted on is looked at again, in case the action was refused or its commit failed."""

CoordinatorCommand = (
    RegisterAgent
    | UpdateAgent
    | DrainAgent
    | DeregisterAgent
    | Heartbeat
    | SubmitTask
    | SubmitTasks
    | PlaceBid
    | CommitBid
    | RevealBid
    | WithdrawBid
    | RefuseBid
    | StartTask
    | CompleteTask
    | FailTask
    | AskQuestion
    | AnswerQuestion
    | CancelTask
    | AmendTask
    | RequeueTask
    | AssignTask
    | StopCoordination
    | StartCoordination
    | FindCoordination
    | CheckLease
    | FindReputation
    | FindOpenWork
    | FindFigures
    | PauseQueue
    | ResumeQueue
    | FindQueues
    | SetSchemas
    | DropSchemas
    | FindObstacles
    | SetConcurrency
    | DropConcurrency
    | FindConcurrency
)


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
        CommitBid,
        RevealBid,
        WithdrawBid,
        RefuseBid,
        StartTask,
        CompleteTask,
        FailTask,
        AskQuestion,
        AnswerQuestion,
        CancelTask,
        AmendTask,
        RequeueTask,
        AssignTask,
        StopCoordination,
        StartCoordination,
        FindCoordination,
        CheckLease,
        FindReputation,
        FindOpenWork,
        FindFigures,
        PauseQueue,
        ResumeQueue,
        FindQueues,
        SetSchemas,
        DropSchemas,
        FindObstacles,
        SetConcurrency,
        DropConcurrency,
        FindConcurrency,
    )
    hears = (
        *agents.EVENTS,
        *tasks.EVENTS,
        *coordinations.EVENTS,
        *queues.EVENTS,
        *concurrencies.EVENTS,
        *task_types.EVENTS,
    )
    FOLD = 18

    def __init__(self, here: Surroundings, terms: Terms = DEFAULT_TERMS, places: Places | None = None) -> None:
        super().__init__(here)
        self.terms = terms
        self.places = places or Places()
        self.second_look_at = 0.0
        self.hearing = Hearing(terms.grace_share)
        self.began_at = 0.0
        self.late = LateReports()
        self.answers = Answers()
        self.alarms = Alarms()
        self.batches = Batches(here, terms, self.alarms)
        self.rebalancing = Rebalancing(terms)
        self.looked_position = -1
        self.looked_at = 0.0
        """Until where and when it is known that no book can be opened."""
        self.opening = ""
        """The last task of a step that opened as many books as it may: the next step follows when that is committed, so that what
        agents say meanwhile is heard in between."""

    @staticmethod
    def fresh() -> OpenTasks:
        return OpenTasks()

    @staticmethod
    def remember(memory: OpenTasks, recorded: Recorded) -> OpenTasks:
        return remember(memory, recorded)

    # ---- what is asked for

    def handle(self, message: CoordinatorCommand) -> Effect | Reply:
        match message:
            case RegisterAgent() | UpdateAgent() | DrainAgent() | DeregisterAgent():
                return change(self.memory, self.terms, self.here.key, message)
            case Heartbeat():
                return self._heartbeat(message)
            case SubmitTask():
                return self._on_task(submission(self.memory, self.terms, message))
            case SubmitTasks():
                return self._submit_many(message)
            case PlaceBid() | CommitBid() | RevealBid() | WithdrawBid() | RefuseBid():
                return self._answer_call(message)
            case AskQuestion():
                self._hear(message.agent_id, message.at)
                return self._on_task(message)
            case AnswerQuestion():
                return self._on_task(message)
            case StartTask() | CompleteTask() | FailTask():
                self._hear(message.agent_id, message.at)
                if isinstance(message, CompleteTask):
                    check_result(self.memory, message)
                return self.late.answer(self.memory, message, self.began_at) or self._on_task(message)
            case AmendTask():
                return self._on_task(replace(message, budget_seconds_max=self.terms.budget_seconds_max))
            case CancelTask():
                return self._on_task(message)
            case AssignTask():
                return self._on_task(assignment(self.memory, message))
            case RequeueTask():
                return self._on_task(again(self.memory, self.terms, message))
            case StopCoordination() | StartCoordination():
                return self._stop_or_start(message)
            case FindCoordination():
                return reply(message, self._stands())
            case CheckLease():
                return self._check_lease(message)
            case FindReputation():
                return self._find_reputation(message)
            case FindOpenWork():
                return reply(message, open_work(self.memory, message.at, self.terms.weights, self.terms.aging))
            case PauseQueue() | ResumeQueue():
                return pause_or_resume(self.memory, self.here.key, message)
            case FindQueues():
                return reply(message, all_queues(self.memory))
            case FindObstacles():
                return reply(message, Obstacles(places=self.places.stands(), key=key_of(self.memory, message.task_id)))
            case SetConcurrency() | DropConcurrency():
                return set_or_drop(self.memory, self.here.key, message)
            case FindConcurrency():
                return reply(message, all_keys(self.memory))
            case FindFigures():
                return reply(message, overview(self.memory, message.at, self.terms.weights))
            case SetSchemas() | DropSchemas():
                return change_schemas(self.memory, self.here.key, message)

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

    def _heartbeat(self, command: Heartbeat) -> Effect | Reply:
        agent = self.memory.agents.get(command.agent_id)
        if agent is None or agent.stage is agents.Stage.DEREGISTERED:
            raise Refused("agent_unknown", command.agent_id, status=404)
        self.hearing.hear(command.agent_id, command.at)
        stream = agents.stream(self.here.key, command.agent_id)
        if agent.stage is agents.Stage.LOST:
            back = HeartbeatAck(lease_seconds=agent.lease_seconds)
            return Effect([(stream, ReturnAgent(agent_id=command.agent_id))], lambda recorded: reply(command, back))
        answer = reply(command, self._leases(agent))
        if agent.stage is agents.Stage.SUSPECT:
            cleared = ClearAgent(agent_id=command.agent_id, heard_at=command.at)
            return Effect([(stream, cleared)], lambda recorded: answer)
        return answer

    def _leases(self, agent: AgentEntry) -> HeartbeatAck:
        leases = leases_of(self.memory, agent, self.hearing.heard_at(agent), self.here.clock.now())
        return HeartbeatAck(lease_seconds=agent.lease_seconds, leases=leases)

    def _check_lease(self, command: CheckLease) -> Reply:
        task = self.memory.tasks.get(command.task_id)
        holder = self.memory.agents.get(task.assignee) if task is not None else None
        heard_at = self.hearing.heard_at(holder) if holder is not None else 0.0
        return reply(command, standing(self.memory, command, heard_at, self.here.clock.now()))

    def _find_reputation(self, command: FindReputation) -> Reply:
        agent = self.memory.agents.get(command.agent_id)
        figures = agent.figures if agent is not None else self.memory.departed.get(command.agent_id, Figures())
        return reply(command, told(command.agent_id, figures, command.at, self.terms.weights))

    def _submit_many(self, command: SubmitTasks) -> Effect | Reply:
        told, faults = submissions(self.memory, self.terms, command)
        if faults or command.only_asks:
            return reply(command, TasksAnswered(faults=tuple(faults)))
        accepted = TasksAnswered(task_ids=tuple(one.task_id for one in told))
        return Effect([(tasks.stream(one.task_id), one) for one in told], lambda recorded: reply(command, accepted))

    def _on_task(
        self,
        command: (
            SubmitTask
            | StartTask
            | CompleteTask
            | FailTask
            | AskQuestion
            | AnswerQuestion
            | CancelTask
            | AmendTask
            | RequeueTask
            | AssignTask
        ),
    ) -> Effect:
        accepted = TaskAccepted(task_id=command.task_id)
        return Effect([(tasks.stream(command.task_id), command)], lambda recorded: reply(command, accepted))

    def _answer_call(self, command: PlaceBid | CommitBid | RevealBid | WithdrawBid | RefuseBid) -> Effect:
        self._hear(command.agent_id, command.at)
        self.answers.count(self.memory, command)
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
            self.hearing.hear(agent_id, at)
            if agent.stage is agents.Stage.SUSPECT:
                self.alarms.set(at, Due.SILENCE, agent_id)  # by itself: what it says may be refused, and it was heard

    # ---- what follows from what happened

    def concerns(self, recorded: Recorded) -> bool:
        """A bid that is not the last one awaited is what comes most, and nothing follows from it."""
        event, memory = recorded.event, self.memory
        if type(event) is not BidPlaced or self._may_open():
            return True
        task = memory.tasks.get(event.task_id)
        return task is not None and memory.complete(task)

    def react(self, recorded: Recorded) -> Effect | None:
        event = recorded.event
        if isinstance(event, BookOpened) and event.task_id == self.opening:
            self.opening = ""
        self._set_alarms(recorded)
        self.places.report(self.memory)
        decisions = [*self._consequences(recorded), *self._openings(recorded.meta.at)]
        return Effect(decisions) if decisions else None

    def _openings(self, at: float, due: float = 0.0) -> list[Decision]:
        """The books to open, unless a look after the last change, and after what fell `due`, has found none."""
        if self.memory.stopped_at:
            self.places.rest()
        if not self._may_open(due):
            return []
        self.memory.rota.turn(at)
        most = self.places.claim(self.memory, at, self.terms.aging)
        found = openings(self.memory, at, self.terms.aging, most) if most else []
        if self.places.settle(len(found)) and at >= self.second_look_at:
            self.second_look_at = at + SECOND_LOOK_SECONDS
            self.alarms.set(self.second_look_at, Due.PLACES, "")
        if not found:
            self.looked_position, self.looked_at = self.memory.moved_position, at
        elif len(found) >= OPENINGS_MAX:
            self.opening = found[-1][1].task_id
        return [*found]

    def _may_open(self, due: float = 0.0) -> bool:
        memory = self.memory
        if memory.stopped_at or (memory.moved_position <= self.looked_position and due <= self.looked_at):
            return False
        # Where the step was refused, the book that it ended with is not open.
        return self.opening not in memory.books

    def _consequences(self, recorded: Recorded) -> list[Decision]:
        event = recorded.event
        match event:
            case AgentLost() | AgentDeregistered():
                return self._take_back(event.agent_id, recorded.position)
            case BidPlaced() | BidCommitted() | BidRevealed() | BidRefused() | BidWithdrawn():
                task = self.memory.tasks.get(event.task_id)
                complete = task is not None and task.round == event.round and self.memory.complete(task)
                if task is None or not complete:
                    return []
                if task.is_batched:
                    self.alarms.set(recorded.meta.at, Due.BATCH, "")
                    return []
                return [close_book(self.memory, task, self.terms.weights)]
            case TaskSubmitted() | TaskUnblocked() | TaskRequeued():
                return [*crowded_out(self.memory, event.task_id)]
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
                return tell_dependents(self.memory, recorded.position)
        return []

    def _take_back(self, agent_id: str, position: int) -> list[Decision]:
        agent = self.memory.agents.get(agent_id)
        held = [self.memory.tasks[name] for name in sorted(agent.held)] if agent is not None else []
        heard_at = self.hearing.heard_at(agent) if agent is not None else 0.0
        return [expire_lease(task, heard_at, position) for task in held]

    # ---- what follows from time

    def started(self, at: float) -> None:
        self.hearing.floor = self.began_at = at
        self._reset_alarms(at)
        self.places.seated(self.memory, self._roused)
        if self.places.are_bounded:
            self.alarms.set(at, Due.PLACES, "")  # what it waited for before is not known any more

    def _roused(self) -> None:
        """There are places that were waited for."""
        self.alarms.set(self.here.clock.now(), Due.PLACES, "")
        self.here.rearm()

    def paused(self, at: float, seconds: float) -> None:
        self.hearing.floor = at

    def due(self) -> float | None:
        return self.alarms.soonest()

    def wake(self, at: float) -> Effect | None:
        self.places.report(self.memory)
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
            told = [*tell_dependents(self.memory), *self._openings(at, due=at), *stalls(self.memory, at)]
            return [*told, *self.rebalancing.moves(self.memory, at)]
        if alarm.due is Due.PLACES:
            return self._openings(at, due=inf)
        if alarm.due is Due.DUTY:
            self.memory.rota.turn(at)
            self._watch_rota()
            return self._openings(at, due=at)
        if alarm.due is Due.BATCH:
            return self.batches.look(self.memory, at)
        if alarm.due is Due.SILENCE:
            agent = self.memory.agents.get(alarm.name)
            return self._on_silence(agent, at) if agent is not None else []
        task = self.memory.tasks.get(alarm.name)
        falls_at = due_at(task, alarm.due, self.hearing.floor) if task is not None else None
        if task is None or falls_at is None:
            return []
        if falls_at > at:
            self.alarms.set(falls_at, alarm.due, alarm.name)
            return []
        if alarm.due is Due.BOOK and task.is_batched:
            return self.batches.look(self.memory, at)
        return falls_due(self.memory, self.terms, task, alarm.due) or self._openings(at, due=falls_at)

    def _on_silence(self, agent: AgentEntry, at: float) -> list[Decision]:
        decisions = self.hearing.on_silence(self.memory, agent, self.here.key, at)
        if not decisions and agent.stage in WATCHED and (silent_at := self.hearing.silent_at(agent)) > at:
            self.alarms.set(silent_at, Due.SILENCE, agent.agent_id)
        return decisions

    def _set_alarms(self, recorded: Recorded) -> None:
        """The alarms that an event calls for."""
        event = recorded.event
        if isinstance(event, AgentRegistered | AgentUpdated | AgentDeregistered):
            self.memory.rota.look(event.agent_id, recorded.meta.at)
            self._watch_rota()
        match event:
            case AgentRegistered() | AgentReturned() | AgentSuspected() | AgentCleared():
                self._watch_agents([self.memory.agents.get(event.agent_id)])
            case (
                TaskSubmitted()
                | BookOpened()
                | RevealOpened()
                | TaskAwarded()
                | BookVoided()
                | TaskReopened()
                | TaskRebalanced()
                | CancelRequested()
                | TaskAmended()
                | TaskRequeued()
                | QuestionAnswered()
            ):
                self._watch_tasks([self.memory.tasks.get(event.task_id)])
            case AgentDeregistered():
                self.hearing.forget(event.agent_id)
        if self.memory.batched:
            self.batches.prepare()
        if len(self.alarms) > 4 * (len(self.memory.tasks) + len(self.memory.agents)) + ALARMS_SLACK:
            self._reset_alarms(recorded.meta.at)
            if self.places.are_bounded:
                self.alarms.set(recorded.meta.at, Due.PLACES, "")  # one that has come may be lost here

    def _reset_alarms(self, at: float) -> None:
        self.alarms.clear()
        self.alarms.set(at + self.terms.cycle_seconds, Due.CYCLE, "")
        self._watch_agents(self.memory.agents.values())
        self._watch_tasks(self.memory.tasks.values())
        self.memory.rota.reset(at)
        self._watch_rota()
        if self.memory.batched:
            self.batches.prepare()
            self.alarms.set(at, Due.BATCH, "")

    def _watch_rota(self) -> None:
        if (changes_at := self.memory.rota.next_change()) is not None:
            self.alarms.set(changes_at, Due.DUTY, "")

    def _watch_agents(self, entries: Iterable[AgentEntry | None]) -> None:
        for agent in entries:
            if agent is not None:
                self.alarms.set(self.hearing.silent_at(agent), Due.SILENCE, agent.agent_id)

    def _watch_tasks(self, entries: Iterable[TaskEntry | None]) -> None:
        for task in entries:
            if task is not None:
                for at, due in all_due(task, self.hearing.floor):
                    self.alarms.set(at, due, task.task_id)

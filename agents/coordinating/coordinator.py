"""The coordinator of one tenant: calls for proposals, awards tasks, watches leases, budgets and deadlines.

What follows at once follows by `react`: complete books are awarded, dependents unblocked, freed slots offered. What follows from time
alone follows by `wake`. What is asked for is worked out beside this module, each kind in its own: `membership`, `submissions`, `leases`, …
"""

from math import inf
from typing import get_args

from msgspec.structs import replace

from agents.coordinating.alarms import Alarm, Alarms, Due
from agents.coordinating.answers import Answers
from agents.coordinating.batches import Batches
from agents.coordinating.calls import Decision, assignment, listed_prices, stalls, tell_dependents
from agents.coordinating.consequences import consequences
from agents.coordinating.entries import AgentEntry
from agents.coordinating.figures import Figures, told
from agents.coordinating.folding.fold import remember
from agents.coordinating.hearing import WATCHED, Hearing
from agents.coordinating.heartbeats import beat
from agents.coordinating.inbox import inbox_of, person, take
from agents.coordinating.keys import all_keys, key_of, set_or_drop
from agents.coordinating.late import LateReports
from agents.coordinating.leases import standing
from agents.coordinating.membership import change
from agents.coordinating.open_tasks import OpenTasks
from agents.coordinating.open_work import open_work
from agents.coordinating.opening import SECOND_LOOK_SECONDS, Opening
from agents.coordinating.overview import overview
from agents.coordinating.places import Places
from agents.coordinating.queues import all_queues, pause_or_resume
from agents.coordinating.rebalancing import Rebalancing
from agents.coordinating.running import stands, stop_or_start
from agents.coordinating.schemas import change as change_schemas
from agents.coordinating.schemas import check_result
from agents.coordinating.submissions import again, submission, submissions
from agents.coordinating.terms import DEFAULT_TERMS, Terms
from agents.coordinating.timetable import all_due, due_at, falls_due
from agents.coordinating.watch import Watch
from aggregates import agent as agents
from aggregates import concurrency as concurrencies
from aggregates import coordination as coordinations
from aggregates import queue as queues
from aggregates import subject as subjects
from aggregates import task as tasks
from aggregates import task_type as task_types
from aggregates.agent import DeregisterAgent, DrainAgent, FindReputation, Heartbeat, RegisterAgent, UpdateAgent
from aggregates.concurrency import DropConcurrency, FindConcurrency, SetConcurrency
from aggregates.coordination import (
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
    BidPlaced,
    BookOpened,
    CancelTask,
    CheckLease,
    CommitBid,
    CompleteTask,
    DeclineOffer,
    FailTask,
    FindInbox,
    PlaceBid,
    RefuseBid,
    ReportProgress,
    RequeueTask,
    RevealBid,
    StartTask,
    SubmitTask,
    SubmitTasks,
    TakeTask,
    TaskAccepted,
    TasksAnswered,
    TaskSubmitted,
    WithdrawBid,
)
from aggregates.task_type import DropSchemas, SetSchemas
from aggregates.user import UserChanged, UserDisabled, UserRemoved
from runtime.actor import Actor, Effect, Reply, Surroundings, reply
from runtime.errors import Failure
from runtime.records import Recorded

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
    | TakeTask
    | ReportProgress
    | DeclineOffer
    | FindInbox
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

    takes = get_args(CoordinatorCommand)
    hears = (
        *agents.EVENTS,
        *tasks.EVENTS,
        *coordinations.EVENTS,
        *queues.EVENTS,
        *concurrencies.EVENTS,
        *task_types.EVENTS,
        *(UserChanged, UserDisabled, UserRemoved),
        *subjects.EVENTS,
    )
    FOLD = 22

    def __init__(self, here: Surroundings, terms: Terms = DEFAULT_TERMS, places: Places | None = None) -> None:
        super().__init__(here)
        self.terms = terms
        self.places = places or Places()
        self.hearing = Hearing(terms.grace_share)
        self.began_at = 0.0
        self.late = LateReports()
        self.answers = Answers()
        self.alarms = Alarms()
        self.opening = Opening(self.places, terms.aging, self.alarms)
        self.batches = Batches(here, terms, self.alarms)
        self.rebalancing = Rebalancing(terms)
        self.watch = Watch(self.alarms, self.hearing, self.batches, self.places, cycle_seconds=terms.cycle_seconds)

    @staticmethod
    def fresh() -> OpenTasks:
        return OpenTasks()

    @staticmethod
    def remember(memory: OpenTasks, recorded: Recorded) -> OpenTasks:
        return remember(memory, recorded)

    # ---- what is asked for

    def handle(self, message: CoordinatorCommand) -> Effect | Reply:
        match message:
            case PlaceBid() | CommitBid() | RevealBid() | WithdrawBid() | RefuseBid():  # what comes most, first
                return self._answer_call(message)
            case RegisterAgent() | UpdateAgent() | DrainAgent() | DeregisterAgent():
                return change(self.memory, self.terms, self.here.key, message)
            case Heartbeat():
                return beat(self.memory, self.hearing, self.here.key, message, self.here.clock.now())
            case SubmitTask():
                return self._on_task(submission(self.memory, self.terms, message))
            case SubmitTasks():
                return self._submit_many(message)
            case AskQuestion() | ReportProgress():
                self._hear(message.agent_id, message.at)
                return self._on_task(message)
            case TakeTask():
                return take(self.memory, self.terms, message)
            case DeclineOffer():
                person(self.memory, message.agent_id)
                return self._on_task(message)
            case FindInbox():
                return reply(message, inbox_of(self.memory, self.terms, message))
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
                return stop_or_start(self.memory, self.here.key, message)
            case FindCoordination():
                return reply(message, stands(self.memory))
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
            | ReportProgress
            | DeclineOffer
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
        """What comes most is a bid that is not the last one awaited, and a task that nobody can do now and that waits for no time and
        nobody's place: nothing follows from these."""
        event, memory = recorded.event, self.memory
        if not isinstance(event, (BidPlaced, TaskSubmitted)) or self.opening.may_open(memory):
            return True
        task = memory.tasks.get(event.task_id)
        if task is None:
            return False
        if type(event) is BidPlaced:
            return memory.complete(task)
        return task.concurrency is not None or any(all_due(task, self.hearing.floor))

    def react(self, recorded: Recorded) -> Effect | None:
        event, memory = recorded.event, self.memory
        if isinstance(event, BookOpened):
            self.opening.opened(event.task_id)
        self.watch.follow(memory, recorded)
        self.places.report(memory)
        follows = consequences(memory, self.terms, self.hearing, self.alarms, recorded)
        decisions = [*follows, *self.opening.look(memory, recorded.meta.at)]
        return Effect(decisions) if decisions else None

    # ---- what follows from time

    def started(self, at: float) -> None:
        self.hearing.floor = self.began_at = at
        self.watch.begin(self.memory, at)
        self.places.seated(self.memory, self._roused)

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
        self.batches.go_on()
        while (alarm := self.alarms.take(at)) is not None:
            if decisions := self._on_alarm(alarm, at):
                if alarm.due is not Due.CYCLE:  # a cycle comes again by itself
                    self.alarms.set(at + SECOND_LOOK_SECONDS, alarm.due, alarm.name)
                return Effect(decisions)
        return None

    def declined(self, failure: Failure) -> None:
        self.batches.declined(failure, self.here.clock.now())

    def _on_alarm(self, alarm: Alarm, at: float) -> list[Decision]:
        """What is to be done about it now. One whose time has moved is set again; one whose subject has ended is dropped."""
        if alarm.due is Due.CYCLE:
            self.alarms.set(at + self.terms.cycle_seconds, Due.CYCLE, "")
            told = [
                *tell_dependents(self.memory),
                *self.opening.look(self.memory, at, due=at),
                *stalls(self.memory, at),
            ]
            return [*told, *self.rebalancing.moves(self.memory, at)]
        if alarm.due is Due.PLACES:
            return self.opening.look(self.memory, at, due=inf)
        if alarm.due is Due.DUTY:
            self.memory.rota.turn(at)
            self.watch.duty(self.memory)
            return self.opening.look(self.memory, at, due=at)
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
        return falls_due(self.memory, self.terms, task, alarm.due) or self.opening.look(self.memory, at, due=falls_at)

    def _on_silence(self, agent: AgentEntry, at: float) -> list[Decision]:
        decisions = self.hearing.on_silence(self.memory, agent, self.here.key, at)
        if not decisions and agent.stage in WATCHED and (silent_at := self.hearing.silent_at(agent)) > at:
            self.alarms.set(silent_at, Due.SILENCE, agent.agent_id)
        return decisions

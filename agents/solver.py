"""The solver of one tenant: it runs solve jobs on worker threads, and bids for optimization tasks as an agent of the house.

A job's kernel runs in slices; it is asked to stop by an event that it looks at between them. A job that its node did not survive is
started again with the same seed. As an agent, `house-solver` answers every call that lists it, and lives by heartbeats like any other.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from threading import Event as ThreadEvent
from typing import Any

import trio
from msgspec.structs import replace

from agents import solve_run
from agents.house_solver import (
    DEFAULT_HOUSE,
    House,
    answer_call,
    failure_of,
    job_for,
    registration,
    report_on_task,
)
from agents.kernel_threads import KernelThreads, Share
from agents.solve_desk import HOUSE_SOLVER, Desk, remember
from aggregates import qubo_problem as problems
from aggregates import solve_job as jobs
from aggregates.agent import AgentDeregistered, AgentRegistered, Heartbeat
from aggregates.qubo_problem import ProblemAccepted, RegisterProblem
from aggregates.solve_job import (
    CancelSolve,
    CompleteSolve,
    FailSolve,
    PlanSolve,
    QueueSolve,
    ReportSolve,
    SolveAccepted,
    SolveCancelled,
    SolveCompleted,
    SolveFailed,
    SolveQueued,
    SolveStarted,
    StartSolve,
)
from aggregates.task import (
    BookOpened,
    CancelRequested,
    CompleteTask,
    FailTask,
    LeaseExpired,
    StartTask,
    TaskAwarded,
    TaskCancelled,
    TaskCompleted,
    TaskDeadLettered,
    TaskExpired,
    TaskFailed,
    TaskRebalanced,
    TaskRequeued,
    TaskSubmitted,
)
from aggregates.values.solving import QUANTUM, Backend, BackendStanding, Readiness, Simulated
from runtime.actor import Actor, Effect, Reply, Surroundings, reply
from runtime.errors import Conflict, Crashed, Failure, NotAnswered, Overloaded, Refused, Unreachable
from runtime.records import Command, Recorded
from runtime.threads import run_blocking
from solvers import backends
from solvers.quantum.sizes import QUBITS_MAX

NOTE_MAX = 2000
PROBLEMS_MAX = 10_000
JOBS_MAX = 1_000
REPORT_SECONDS_MIN = 0.5
REPORT_SHARE = 0.05
"""Of the time that a job has run: so long it waits with its next report."""
REPORTS_MAX = 110
"""What follows from these: the longest job makes no more, however often it gets better."""
SECOND_LOOK_SECONDS = 5.0
ASK_AGAIN_SECONDS = 0.5

SIMULATED = tuple(Simulated(strategy=name, variables_max=QUBITS_MAX) for name in QUANTUM)

SolverCommand = (
    RegisterProblem | QueueSolve | StartSolve | PlanSolve | ReportSolve | CompleteSolve | FailSolve | CancelSolve
)


class Solver(Actor[SolverCommand, Desk]):
    """One for each tenant; `threads` bounds the kernels of all of them together, and their memory."""

    takes = (RegisterProblem, QueueSolve, StartSolve, PlanSolve, ReportSolve, CompleteSolve, FailSolve, CancelSolve)
    hears = (
        AgentRegistered,
        AgentDeregistered,
        *problems.EVENTS,
        *jobs.EVENTS,
        TaskSubmitted,
        BookOpened,
        TaskAwarded,
        CancelRequested,
        LeaseExpired,
        TaskCompleted,
        TaskFailed,
        TaskCancelled,
        TaskExpired,
        TaskDeadLettered,
        TaskRebalanced,
        TaskRequeued,
    )
    FOLD = 4

    def __init__(
        self,
        here: Surroundings,
        read_blob: solve_run.ReadBlob,
        *,
        house: House = DEFAULT_HOUSE,
        threads: KernelThreads | None = None,
        backends: Sequence[backends.Backend] = backends.BACKENDS,
    ) -> None:
        super().__init__(here)
        self.read_blob = read_blob
        self.house = house
        self.threads = threads or KernelThreads(max(1, (os.cpu_count() or 2) - 1))
        self.backend_by_name = {Backend(backend.name): backend for backend in backends}
        self.stops: dict[str, ThreadEvent] = {}
        self.waits: dict[str, trio.CancelScope] = {}
        """The jobs that wait for their threads: one that is cancelled leaves the queue."""
        self.sizing = trio.Lock()
        """So that jobs come to wait in the order in which they were queued, for all that it takes to know their size."""
        self.beat_at: float | None = None

    @staticmethod
    def fresh() -> Desk:
        return Desk()

    @staticmethod
    def remember(memory: Desk, recorded: Recorded) -> Desk:
        return remember(memory, recorded)

    # ---- what is asked for

    def handle(self, message: SolverCommand) -> Effect | Reply:
        match message:
            case RegisterProblem():
                if message.problem_id not in self.memory.problems and len(self.memory.problems) >= PROBLEMS_MAX:
                    raise Refused("problems_too_many", f"{PROBLEMS_MAX} are registered")
                stands = ProblemAccepted(problem_id=message.problem_id)
                stream = problems.stream(message.problem_id)
                return Effect([(stream, message)], lambda recorded: reply(message, stands))
            case QueueSolve():
                if message.job_id not in self.memory.jobs and len(self.memory.jobs) >= JOBS_MAX:
                    raise Overloaded(f"{JOBS_MAX} jobs wait")
                return self._accept(self._with_facts(message))
            case CancelSolve():
                return self._accept(message)
            case StartSolve() | PlanSolve() | ReportSolve() | CompleteSolve() | FailSolve():
                return Effect([(jobs.stream(message.job_id), message)], lambda recorded: reply(message, None))

    def _with_facts(self, message: QueueSolve) -> QueueSolve:
        if message.threads > self.threads.total:
            detail = f"{message.threads} are asked for; this node gives {self.threads.total} to a solve at most"
            raise Refused("threads_too_many", detail, status=422)
        standings = {name: backend.standing() for name, backend in self.backend_by_name.items()}
        configured = tuple(name for name, each in standings.items() if each.readiness.value == Readiness.READY)
        readiness, reason = standings[message.backend]
        return replace(
            message,
            problem=self.memory.problems.get(message.problem_id),
            configured=configured,
            standing=BackendStanding(readiness=Readiness(readiness.value), reason=reason),
            simulated=SIMULATED,
        )

    def _accept(self, command: QueueSolve | CancelSolve) -> Effect:
        accepted = SolveAccepted(job_id=command.job_id)
        return Effect([(jobs.stream(command.job_id), command)], lambda recorded: reply(command, accepted))

    # ---- what follows from what happened

    def concerns(self, recorded: Recorded) -> bool:
        """Of tasks, those that the house's own solver is called for or holds, and those that end."""
        event = recorded.event
        match event:
            case TaskSubmitted() | TaskCompleted() | TaskRequeued():
                return False
            case BookOpened():
                return self.house.bids and HOUSE_SOLVER in event.eligible
            case TaskAwarded() | CancelRequested():
                return event.agent_id == HOUSE_SOLVER
        return True

    def react(self, recorded: Recorded) -> Effect | None:
        event = recorded.event
        if not self.concerns(recorded):
            return None
        match event:
            case SolveQueued():
                self._take_up(event.job_id)
            case SolveStarted():
                return self._say_started(event.job_id)
            case SolveCompleted() | SolveFailed() | SolveCancelled():
                self._let_go(event.job_id)
                return self._telling(*self._reports_due())
            case AgentRegistered() if event.agent_id == HOUSE_SOLVER and self.house.bids:
                self.beat_at = recorded.meta.at + event.lease_seconds / 3
            case BookOpened():
                return self._telling(answer_call(event, self.memory, self.house, self.threads.total))
            case TaskAwarded():
                return self._begin(event)
            case CancelRequested():
                return self._give_up(event.task_id)  # that its job was cancelled is what it will say of the task
            case (
                LeaseExpired() | TaskRebalanced() | TaskFailed() | TaskCancelled() | TaskExpired() | TaskDeadLettered()
            ):
                return self._give_up(event.task_id)
        return None

    def _say_started(self, job_id: str) -> Effect | None:
        job = self.memory.jobs.get(job_id)
        if job is None or not job.task_id:
            return None
        return self._telling(StartTask(task_id=job.task_id, agent_id=HOUSE_SOLVER, token=job.token))

    def _reports_due(self) -> list[Command[Any]]:
        reports = self.memory.reports
        return [report_on_task(task_id, reports[task_id]) for task_id in sorted(reports)]

    def _telling(self, *messages: Command[Any]) -> Effect:
        """Says these once what was recorded stands."""

        def after(recorded: Any) -> None:
            self.here.run(self._say, messages)

        return Effect(after=after)

    async def _say(self, messages: Sequence[Command[Any]]) -> None:
        """What finds no room is lost, and timers make up for it; what is refused would be refused again."""
        for message in messages:
            try:
                await self.here.ask(message)
            except Refused as refused:
                self.here.log.warning("house_solver_refused", message=type(message).__name__, reason=str(refused))
                if isinstance(message, CompleteTask):
                    await self._say([failure_of(message, refused)])
            except Failure as failure:
                self.here.log.info("house_solver_not_heard", message=type(message).__name__, reason=str(failure))

    def _begin(self, event: TaskAwarded) -> Effect:
        queue = job_for(event, self.memory)
        if queue is None:
            lost = FailTask(task_id=event.task_id, agent_id=HOUSE_SOLVER, token=event.token, reason="problem_unknown")
            return self._telling(lost)
        return Effect([(jobs.stream(queue.job_id), queue)])

    def _give_up(self, task_id: str) -> Effect | None:
        """The task was taken from the house solver: what it does for it is of no use any more."""
        names = sorted(name for name, job in self.memory.jobs.items() if job.task_id == task_id)
        decisions = [(jobs.stream(name), CancelSolve(job_id=name, reason="its task was taken away")) for name in names]
        return Effect(decisions) if decisions else None

    # ---- being an agent

    def started(self, at: float) -> None:
        self.beat_at = at if self.house.bids else None
        for job_id in sorted(self.memory.jobs):
            self._take_up(job_id)

    def due(self) -> float | None:
        return self.beat_at

    def wake(self, at: float) -> Effect | None:
        """Registers the house solver, or is heard as an agent three times in a lease."""
        if self.memory.dismissed:
            self.beat_at = None
            return None
        self.beat_at = at + (self.memory.lease_seconds / 3 or SECOND_LOOK_SECONDS)
        if self.memory.lease_seconds:
            return self._telling(Heartbeat(agent_id=HOUSE_SOLVER), *self._reports_due())
        return self._telling(registration(self.house))

    # ---- running jobs

    def _take_up(self, job_id: str) -> None:
        if job_id in self.memory.jobs and job_id not in self.stops:
            self.stops[job_id] = ThreadEvent()
            self.here.run(self._work, job_id)

    async def _work(self, job_id: str) -> None:
        """One job, from its threads to its last word."""
        stop = self.stops[job_id]
        try:
            if (queued := self.memory.jobs.get(job_id)) is None:
                return
            if queued.threads > self.threads.total:
                asked = f"it asks for {queued.threads} threads"
                reason = f"{asked}; this node gives {self.threads.total} since its last start"
                await self._insist(FailSolve(job_id=job_id, reason=reason))
                return
            with trio.CancelScope() as self.waits[job_id]:
                async with self.sizing:
                    most = await run_blocking(solve_run.most_bytes, queued, self.threads.memory_bytes)
                async with self.threads.taken(self.here.key, queued.threads, most) as share:
                    self.waits.pop(job_id, None)
                    if (job := self.memory.jobs.get(job_id)) is not None:
                        await self._solve(job, stop, share)
        except (Refused, Unreachable, Crashed) as failure:
            # Cancelled meanwhile, so its record has the last word; or the node is stopping or the actor made anew: the next takes it up.
            self.here.log.debug("solve_given_up", job_id=job_id, reason=str(failure))
        finally:
            stop.set()
            self.waits.pop(job_id, None)
            self.stops.pop(job_id, None)

    def _let_go(self, job_id: str) -> None:
        """It has ended, perhaps before its run has: that stops after its slice, or does not begin."""
        if (stop := self.stops.get(job_id)) is not None:
            stop.set()
        if (waiting := self.waits.pop(job_id, None)) is not None:
            waiting.cancel()

    async def _solve(self, queued: SolveQueued, stop: ThreadEvent, share: Share) -> None:
        await self._insist(StartSolve(job_id=queued.job_id, node=self.here.ids.start))
        if queued.job_id not in self.memory.jobs:
            return
        progress = solve_run.Progress(queued.job_id)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._report, queued, progress, share)
            outcome = await run_blocking(
                *(solve_run.run, queued, self.backend_by_name[queued.backend], self.read_blob, stop, progress),
                *(share.memory_bytes, self.here.log),
                limiter=self.threads.limiter,
                abandon_on_cancel=True,
            )
            nursery.cancel_scope.cancel()
        if stop.is_set():
            return
        if (plan := progress.plan()) is not None:
            await self._insist(plan)
        if isinstance(outcome, str):
            await self._insist(FailSolve(job_id=queued.job_id, reason=outcome[:NOTE_MAX]))
        else:
            await self._insist(outcome)

    async def _insist(self, message: Command[Any]) -> None:
        """Asks until it is heard: a full journal or a slow disk is no answer. For what may be said twice. Raises Refused, Unreachable."""
        while True:
            try:
                await self.here.ask(message)
            except Overloaded as full:
                await trio.sleep(full.retry_seconds)
            except (Conflict, NotAnswered):
                await trio.sleep(ASK_AGAIN_SECONDS)
            else:
                return

    async def _report(self, queued: SolveQueued, progress: solve_run.Progress, share: Share) -> None:
        """Tells what was chosen, and better values as they come: often at first, then ever more seldom.

        Once it is known what the job takes, the rest of its memory is given back.
        """
        began_at, is_planned = self.here.clock.now(), False
        while True:
            await trio.sleep(report_pause_seconds(self.here.clock.now() - began_at))
            with suppress(Failure):  # what is not heard is said again, or the next report says more
                if not is_planned and (plan := progress.plan()) is not None:
                    share.shrink(solve_run.planned_bytes(queued, plan, share.memory_bytes))
                    self.here.tell(plan)
                    is_planned = True
                if (report := progress.report()) is not None:
                    self.here.tell(report)


def report_pause_seconds(elapsed_seconds: float) -> float:
    """How long a job that has run for so long waits with its next report."""
    return max(REPORT_SECONDS_MIN, REPORT_SHARE * elapsed_seconds)

"""How evenly work is spread over agents: what the coordinator gives out, against the same tasks given to anybody at random.

Everything is decided by the real coordinator over a real journal; only time is made up: it jumps to the next moment at which something
happens. Agents differ fourfold in speed and have one to four slots, bid for whatever they are called for, and say truthfully how long they
need; a task costs the same wherever it is done. Tasks come at random moments, as much work as FULL of what all could do. A load is busy
seconds for each slot: so nobody seems idle for having many slots. What comes out is the same in each run.
"""

import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, closing
from functools import partial
from heapq import heappop, heappush
from pathlib import Path
from random import Random
from typing import NamedTuple

import trio

from agents.coordinating.coordinator import Coordinator
from agents.coordinating.terms import Terms
from aggregates.agent import AgentType, RegisterAgent
from aggregates.catalog import AGGREGATES
from aggregates.task import BookOpened, CompleteTask, PlaceBid, SubmitTask, TaskAwarded, TaskType
from aggregates.values.ranking import AwardPolicy
from benchmarks.following import follow
from benchmarks.measure import Measured, NotMeasurable, Row
from runtime.codec import Codec
from runtime.delivery import Context
from runtime.ids import Ids
from runtime.simulation import Machine, World, simulate
from runtime.store.sqlite import SqliteStore
from runtime.system import Role, System, open_system
from runtime.transparency import Signer

AGENTS, TASKS = 20, 10_000
SPEEDS = (0.5, 0.75, 1.0, 1.5, 2.0)
SLOTS_MAX = 4
WORK_SECONDS, WORK_SECONDS_MIN, WORK_SECONDS_MAX = 20.0, 2.0, 100.0
"""Of a task for an agent of speed 1: on average, at least and at most."""
FULL = 0.7
TENANT = "bench"
TERMS = Terms(lease_seconds=1e7, budget_seconds_max=1e6, bidding_seconds_max=1e6)
GOAL = 0.8


class Worker(NamedTuple):
    """An agent as it is."""

    name: str
    speed: float
    slots: int


class Job(NamedTuple):
    """A task: when it comes, and the seconds that it takes at speed 1."""

    name: str
    at: float
    work: float


def crew(agents: int) -> list[Worker]:
    """Every speed with every number of slots."""
    return [Worker(f"a{n:02}", SPEEDS[n % len(SPEEDS)], 1 + n // len(SPEEDS) % SLOTS_MAX) for n in range(agents)]


def jobs(tasks: int, workers: Sequence[Worker]) -> list[Job]:
    """So many, at random moments."""
    chance, at, found = Random(4), 0.0, []
    rate = FULL * sum(one.speed * one.slots for one in workers) / WORK_SECONDS
    for number in range(tasks):
        at += chance.expovariate(rate)
        work = min(WORK_SECONDS_MAX, max(WORK_SECONDS_MIN, chance.expovariate(1 / WORK_SECONDS)))
        found.append(Job(f"t{number:05}", at, work))
    return found


def gini(loads: Sequence[float]) -> float:
    """0 where all are the same, near 1 where one has everything: the mean difference of two, by twice the mean."""
    ordered, count = sorted(loads), len(loads)
    return sum((2 * place - count + 1) * load for place, load in enumerate(ordered)) / (count * sum(ordered))


def at_random(workers: Sequence[Worker], given: Sequence[Job]) -> list[float]:
    """The load of each where every task goes to any agent, whatever that does already."""
    chance, busy = Random(5), [0.0] * len(workers)
    for job in given:
        number = chance.randrange(len(workers))
        busy[number] += job.work / workers[number].speed
    return _by_slot(workers, busy)


def among_the_free(workers: Sequence[Worker], given: Sequence[Job]) -> list[float]:
    """The load of each where every task goes to any agent with a free slot, or waits for the next that is free: who knows that is no
    stranger to balance, and where slots are scarce nobody can be idle."""
    chance, busy = Random(5), [0.0] * len(workers)
    held, waiting = [0] * len(workers), deque[Job]()
    ends: list[tuple[float, int]] = []

    def begin(job: Job, number: int, at: float) -> None:
        seconds = job.work / workers[number].speed
        busy[number] += seconds
        held[number] += 1
        heappush(ends, (at + seconds, number))

    def end() -> None:
        at, number = heappop(ends)
        held[number] -= 1
        if waiting:
            begin(waiting.popleft(), number, at)

    for job in given:
        while ends and ends[0][0] <= job.at:
            end()
        free = [number for number, one in enumerate(workers) if held[number] < one.slots]
        if free:
            begin(job, chance.choice(free), job.at)
        else:
            waiting.append(job)
    while ends:
        end()
    return _by_slot(workers, busy)


def _by_slot(workers: Sequence[Worker], busy: Sequence[float]) -> list[float]:
    return [seconds / one.slots for seconds, one in zip(busy, workers, strict=True)]


class Shift:
    """The agents at work: they bid, and do what they are given."""

    def __init__(self, system: System, workers: Sequence[Worker], given: Sequence[Job], policy: AwardPolicy) -> None:
        self.system = system
        self.workers = {one.name: one for one in workers}
        self.jobs = {one.name: one for one in given}
        self.policy = policy
        self.busy = dict.fromkeys(self.workers, 0.0)

    async def run(self) -> None:
        """Until all is done."""
        for one in self.workers.values():
            await self._ask(
                RegisterAgent(
                    agent_id=one.name,
                    name=one.name,
                    agent_type=AgentType.OPERATIONS,
                    capabilities=("cutting",),
                    slots=one.slots,
                )
            )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._submit)
            awarded = 0
            journal = self.system.journal
            async with aclosing(follow(journal, journal.position)) as pages:
                async for records in pages:
                    for recorded in records:
                        event = recorded.event
                        if isinstance(event, BookOpened):
                            await self._bid(event)
                        elif isinstance(event, TaskAwarded):
                            awarded += 1
                            nursery.start_soon(self._work, event)
                    if awarded == len(self.jobs):
                        break

    async def _ask(self, command: object, name: str = "operator:bench") -> None:
        await self.system.ask(command, Context(tenant=TENANT, principal=name))  # type: ignore[arg-type]

    async def _submit(self) -> None:
        began = trio.current_time()
        for job in self.jobs.values():
            await trio.sleep_until(began + job.at)
            await self._ask(
                SubmitTask(
                    task_id=job.name,
                    task_type=TaskType.ANALYSIS,
                    capabilities=("cutting",),
                    award_policy=self.policy,
                    submitted_by="operator:bench",
                )
            )

    async def _bid(self, call: BookOpened) -> None:
        job = self.jobs[call.task_id]
        sent = [
            self.system.post(
                PlaceBid(
                    task_id=call.task_id,
                    agent_id=name,
                    round=call.round,
                    price=job.work,
                    eta_seconds=job.work / self.workers[name].speed,
                ),
                Context(tenant=TENANT, principal=f"agent:{name}"),
            )
            for name in call.eligible
        ]
        for delivery in sent:
            await delivery.wait()

    async def _work(self, award: TaskAwarded) -> None:
        seconds = self.jobs[award.task_id].work / self.workers[award.agent_id].speed
        await trio.sleep(seconds)
        self.busy[award.agent_id] += seconds
        done = CompleteTask(task_id=award.task_id, agent_id=award.agent_id, token=award.token, result={})
        await self._ask(done, f"agent:{award.agent_id}")

    def loads(self) -> list[float]:
        """Of each, by slot."""
        return _by_slot(list(self.workers.values()), list(self.busy.values()))


def coordinated(workers: Sequence[Worker], given: Sequence[Job], policy: AwardPolicy) -> list[float]:
    """The load of each where the coordinator gives the tasks out."""
    found: list[float] = []

    async def workload(world: World) -> None:
        machine = Machine(world, partial(_boot, world))
        async with trio.open_nursery() as nursery:
            await nursery.start(machine.run)
            shift = Shift(await machine.up(), workers, given, policy)
            await shift.run()
            found.extend(shift.loads())
            await machine.stop()
            nursery.cancel_scope.cancel()

    outcome = simulate(workload, seed=1, faults=())
    if not outcome.ok or not found:
        raise NotMeasurable(f"{outcome.invariant}: {outcome.detail}")
    return found


@asynccontextmanager
async def _boot(world: World, folder: Path) -> AsyncIterator[System]:
    clock = world.clock()
    signer = Signer.load_or_make(folder / "journal-key")
    roster = (Role(Coordinator, make=lambda here: Coordinator(here, TERMS)),)
    with closing(SqliteStore(folder / "journal.db", Codec(AGGREGATES), signer)) as store:
        ids = Ids(clock, world.chance("ids").randbytes)
        async with open_system(store, roster, clock=clock, ids=ids, chance=world.chance("node")) as system:
            yield system


def balance(policy: AwardPolicy, agents: int = AGENTS, tasks: int = TASKS) -> Measured:
    """The Gini coefficient of the loads."""
    workers = crew(agents)
    given = jobs(tasks, workers)
    ours, theirs = gini(coordinated(workers, given, policy)), gini(at_random(workers, given))
    free = gini(among_the_free(workers, given))
    print(f"{policy}: {ours:.3f}, at random: {theirs:.3f}, at random among the free: {free:.3f}", file=sys.stderr)
    return Measured(ours=[ours], theirs=[theirs])


def _row(name: str, policy: AwardPolicy) -> Row:
    return Row(
        name=name,
        measure=partial(balance, policy),
        peer="each task to any agent at random",
        unit=f"Gini coefficient of busy seconds per slot, {policy}",
        better="less",
        goal=GOAL,
        at_most=True,
    )


ROWS = (_row("gini", AwardPolicy.WEIGHTED_SCORE), _row("gini_least_load", AwardPolicy.LEAST_LOAD))

"""A whole node in a process of its own, with agents that bid for what they are called for: what the rows on coordination are measured with.

`python -m benchmarks.crowds` reads how many there are of what, and says what it took.

The node is that of `gavel serve` over a data folder of its own, its journal on a disk and synced, but without a door: agents are told of
calls by the log, as their sockets are, and their bids are handed to the actor that takes them. So they cost little, but what they cost is
counted: they share the process with the node.
"""

import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import trio

from aggregates.agent import AgentType, RegisterAgent
from aggregates.coordination import StartCoordination, StopCoordination
from aggregates.task import BookOpened, PlaceBid, SubmitTask, SubmitTasks, TaskAwarded, TaskType
from benchmarks.following import follow
from benchmarks.measure import NotMeasurable
from gateway.node import Node, open_node
from gateway.settings import GavelSettings
from runtime.delivery import Context, Delivery
from runtime.garbage import collect_seldom
from runtime.ids import Ids
from runtime.records import Recorded
from runtime.telemetry import configure

T = TypeVar("T")

TENANT = "bench"
SKILLS = ("cutting", "drawing", "painting", "sewing", "writing")
SLOTS_MIN, SLOTS_MAX = 2, 5
PRIORITIES = 5
SECONDS_MAX = 3600.0
"""Leases and calls for bids outlast a measurement."""
WORK_SECONDS_MAX = 200.0
"""Whatever takes longer is not measured."""
AT_ONCE = 1_000
"""So many tasks are submitted, agents registered or bids made before any of them is waited for."""


class Taken(NamedTuple):
    """What the awards took, from the start of the coordination until the last was committed; `cpu` is of all threads."""

    awards: int
    bids: int
    seconds: float
    cpu: float


def agent(number: int) -> RegisterAgent:
    """One of a crowd: it has two of five skills, and two to five slots."""
    name = f"a{number:05}"
    skills = (SKILLS[number % 5], SKILLS[(number + 1 + number // 5 % 4) % 5])
    return RegisterAgent(
        agent_id=name,
        name=name,
        agent_type=AgentType.OPERATIONS,
        capabilities=skills,
        specializations=skills[:1],
        slots=SLOTS_MIN + number % (SLOTS_MAX - SLOTS_MIN + 1),
    )


def task(number: int, ids: Ids) -> SubmitTask:
    """One of a queue: it needs one of five skills, and has one of five priorities."""
    return SubmitTask(
        task_id=ids.new(),
        task_type=TaskType.ANALYSIS,
        description=f"Task {number}",
        capabilities=(SKILLS[number * 3 % 5],),
        priority=1 + number // 5 % PRIORITIES,
        bidding_seconds=SECONDS_MAX,
        payload={"seed": number},
        submitted_by="operator:bench",
    )


def bid(call: BookOpened, name: str) -> PlaceBid:
    """What an agent asks for, and how long it takes: always the same."""
    number = int(name[1:])
    return PlaceBid(
        task_id=call.task_id,
        agent_id=name,
        round=call.round,
        price=1.0 + number * 37 % 101 / 100,
        eta_seconds=5.0 + number * 53 % 97 / 10,
        confidence=0.8 + number % 20 / 100,
    )


class Crowd:
    """The agents and tasks of one tenant."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.context = Context(tenant=TENANT, principal="operator:bench")
        self.bids = self.awards = 0

    async def gather(self, agents: int, tasks: int) -> None:
        """All are there and nothing is given out."""
        ids = self.node.system.ids
        await self.node.system.ask(StopCoordination(reason="until all are there"), self.context)
        for some in _parts([agent(number) for number in range(agents)]):
            await self._settled([self.node.system.post(one, self.context) for one in some])
        for numbers in _parts(range(tasks)):
            await self.node.system.ask(SubmitTasks(tasks=tuple(task(one, ids) for one in numbers)), self.context)

    async def give_out(self, awards: int) -> Taken:
        """Coordination starts and all who are called bid, until so many tasks are awarded and that is committed."""
        journal = self.node.system.journal
        began, spent = time.perf_counter(), time.process_time()
        async with aclosing(follow(journal, journal.position)) as pages:
            await self.node.system.ask(StartCoordination(), self.context)
            async for records in pages:
                await self._answer(records)
                if self.awards >= awards:
                    break
        return Taken(self.awards, self.bids, time.perf_counter() - began, time.process_time() - spent)

    async def _answer(self, records: Sequence[Recorded]) -> None:
        sent: list[Delivery] = []
        for recorded in records:
            event = recorded.event
            if isinstance(event, TaskAwarded):
                self.awards += 1
            elif isinstance(event, BookOpened):
                sent += [self._bid(event, name) for name in event.eligible]
                if len(sent) >= AT_ONCE:
                    await self._settled(sent)
                    sent = []
        await self._settled(sent)

    def _bid(self, call: BookOpened, name: str) -> Delivery:
        self.bids += 1
        return self.node.system.post(bid(call, name), Context(tenant=TENANT, principal=f"agent:{name}"))

    async def _settled(self, sent: Sequence[Delivery]) -> None:
        for delivery in sent:
            await delivery.wait()


def _parts(things: Sequence[T]) -> Iterator[tuple[T, ...]]:
    """AT_ONCE of them at a time."""
    rest = iter(things)
    while part := tuple(islice(rest, AT_ONCE)):
        yield part


async def work(agents: int, tasks: int, awards: int, folder: str) -> Taken:
    """A node over a new data folder, from nothing until so many of the tasks are awarded."""
    settings = GavelSettings(
        data=Path(folder),
        house_solver=False,
        lease_seconds=SECONDS_MAX,
        bidding_seconds_max=SECONDS_MAX,
        tasks_open_max=max(tasks, 1),
    )
    with trio.fail_after(WORK_SECONDS_MAX):
        async with open_node(settings, door=False) as node:
            crowd = Crowd(node)
            await crowd.gather(agents, tasks)
            gc.collect()
            return await crowd.give_out(awards)


def taken(agents: int, tasks: int, awards: int, place: Path | None = None) -> Taken:
    """The same in a process of its own, its folder below `place`. Raises NotMeasurable."""
    with tempfile.TemporaryDirectory(prefix="gavel-crowd-", dir=place) as folder:
        spec = {"agents": agents, "tasks": tasks, "awards": awards, "folder": f"{folder}/data"}
        command = [sys.executable, "-m", "benchmarks.crowds"]
        done = subprocess.run(command, input=json.dumps(spec), capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMeasurable(done.stderr)
    return Taken(*json.loads(done.stdout))


async def _main() -> None:
    collect_seldom()
    print(json.dumps(await work(**json.load(sys.stdin))))


if __name__ == "__main__":
    configure("console", "error")
    trio.run(_main)

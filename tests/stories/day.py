"""A day of a node by a seed, or a part of one: agents and tasks of all sorts, under every award policy, on a virtual clock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import trio

from aggregates.agent import AgentType, Heartbeat, RegisterAgent, UpdateAgent
from aggregates.task import (
    ENDED,
    BookOpened,
    CancelTask,
    CompleteTask,
    FailTask,
    PlaceBid,
    RefuseBid,
    RequeueTask,
    StartTask,
    SubmitTask,
    TaskAwarded,
    TaskType,
)
from aggregates.values.ranking import AwardPolicy
from aggregates.values.skill_terms import SkillNeed, SkillOffer
from gateway.node import Elements, open_node
from gateway.parts import Node
from gateway.settings import GavelSettings
from runtime.delivery import Context
from runtime.errors import Overloaded, Refused
from runtime.records import Command
from runtime.simulation import Machine, World, simulate
from runtime.store.copies import copy_database

R = TypeVar("R")

TENANT = "default"
TASK_SECONDS = 8.64
"""Between two submissions: ten thousand make a day."""
CALM_SECONDS = 86_400.0
LEASE_SECONDS = 120.0
AGENTS = 24
SKILLS = tuple(f"skill-{number}" for number in range(10))
REGIONS = ("north", "south", "west")
UNITS = (0.0, 10.0, 30.0, 60.0)
PAGE = 500
RECENT = 30


class Worker:
    """An agent with habits of its own: what it can, how long it takes, how often it fails, and how true what it says is."""

    def __init__(self, day: "Day", number: int) -> None:
        self.day = day
        self.name = f"agent-{number:02}"
        self.chance = chance = Random(f"{day.seed} {self.name}")
        self.skills = tuple(sorted({SKILLS[number % len(SKILLS)], *chance.sample(SKILLS, 2)}))
        self.pace = chance.uniform(0.5, 3.0)
        self.fails = chance.choice((0.0, 0.02, 0.1, 0.4))
        self.boasts = chance.random() < 0.3
        self.mute = chance.choice((0.0, 0.0, 0.1, 0.5))
        """How often it does not answer a call."""
        self.vanishes = chance.random() < 0.25

    async def run(self) -> None:
        """Registers, and is heard from, but for the hours in which some are away."""
        offers = tuple(
            SkillOffer(name=skill, version=self.chance.choice(("1.4", "2.0", "3.1"))) for skill in self.skills
        )
        command = RegisterAgent(
            agent_id=self.name,
            name=self.name,
            agent_type=self.chance.choice(list(AgentType)),
            capabilities=self.skills,
            specializations=self.skills[: self.chance.randint(0, 1)],
            skills=offers,
            region=self.chance.choice(REGIONS),
            slots=self.chance.randint(1, 4),
            max_capacity=self.chance.choice((50.0, 100.0)),
            prices={self.skills[0]: round(self.chance.uniform(1, 9), 2)},
            key_id=f"key-{self.name}",
            key_digest=sha256(self.name.encode()).digest(),
        )
        await self.day.ask(command, self.name)
        while True:
            await trio.sleep(LEASE_SECONDS / 3)
            if self.vanishes and self.chance.random() < 0.01:
                await trio.sleep(self.chance.uniform(0, 4 * LEASE_SECONDS))
            if self.chance.random() < 0.002:
                await self.day.ask(UpdateAgent(agent_id=self.name, slots=self.chance.randint(1, 4)), self.name)
            await self.day.ask(Heartbeat(agent_id=self.name), self.name)

    async def answer(self, call: BookOpened) -> None:
        """Bids, mostly."""
        dice = self._dice(call.task_id, call.round)
        await trio.sleep(dice.uniform(0.1, 4.0))
        if dice.random() < self.mute:
            return
        command: Command[Any]
        if dice.random() < 0.1:
            command = RefuseBid(task_id=call.task_id, agent_id=self.name, round=call.round, reason="not now")
        else:
            eta = round(dice.uniform(5, 120) * (0.3 if self.boasts else self.pace), 2)
            command = PlaceBid(
                task_id=call.task_id,
                agent_id=self.name,
                round=call.round,
                price=None if dice.random() < 0.2 else round(dice.uniform(1, 10), 2),
                eta_seconds=eta,
                confidence=1.0 if self.boasts else round(dice.uniform(0.4, 1.0), 2),
            )
        await self.day.try_to(command, self.name)

    async def work(self, award: TaskAwarded) -> None:
        """Does what it has won, more or less in time."""
        dice, task_id, token = self._dice(award.task_id, award.token), award.task_id, award.token
        await trio.sleep(dice.uniform(0.1, 5.0))
        if dice.random() < 0.02:
            return  # never begins
        await self.day.try_to(StartTask(task_id=task_id, agent_id=self.name, token=token), self.name)
        await trio.sleep(award.eta_seconds * dice.uniform(0.7, 3.0 if self.boasts else 1.3))
        if dice.random() < self.fails:
            await self.day.try_to(
                FailTask(task_id=task_id, agent_id=self.name, token=token, reason="too hard"), self.name
            )
        else:
            done = CompleteTask(task_id=task_id, agent_id=self.name, token=token, result={"by": self.name})
            await self.day.try_to(done, self.name)

    def _dice(self, *about: object) -> Random:
        return Random(f"{self.day.seed} {self.name} {about}")


class Day:
    """The workload of a simulation; a copy of the journal that it leaves is put at a path."""

    def __init__(self, journal: Path, seed: int, tasks: int) -> None:
        self.journal = journal
        self.seed = seed
        self.tasks = tasks
        self.chance = Random(f"{seed} submitter")
        self._workers: dict[str, Worker] = {}
        self._node: Node

    async def __call__(self, world: World) -> None:
        machine = Machine(world, partial(_boot, world))
        async with trio.open_nursery() as nursery:
            await nursery.start(machine.run)
            self._node = await machine.up()
            for number in range(AGENTS):
                worker = Worker(self, number)
                self._workers[worker.name] = worker
                nursery.start_soon(worker.run)
            nursery.start_soon(self._dispatch, nursery)
            with world.within(self.tasks * TASK_SECONDS + CALM_SECONDS, "day_ends", "tasks are still open"):
                await self._submit(world)
                await self._until_ended()
            await machine.stop()
            copy_database(machine.folder / "journal.db", self.journal)
            nursery.cancel_scope.cancel()

    async def ask(self, command: Command[R], name: str) -> R:
        """The answer, as soon as there is room. Raises Refused."""
        while True:
            try:
                return await self._node.system.ask(command, Context(tenant=TENANT, principal=name))
            except Overloaded as full:
                await trio.sleep(full.retry_seconds)

    async def try_to(self, command: Command[Any], name: str) -> None:
        """Says what may come too late."""
        try:
            await self.ask(command, name)
        except Refused:
            return

    async def _dispatch(self, nursery: trio.Nursery) -> None:
        """Tells each agent what the log says to it."""
        journal, position = self._node.system.journal, 0
        while True:
            await journal.wait_past(position)
            for record in await journal.read(position, PAGE):
                position = record.position
                match record.event:
                    case BookOpened() as call:
                        for name in call.eligible:
                            if name in self._workers:
                                nursery.start_soon(self._workers[name].answer, call)
                    case TaskAwarded() as award if award.agent_id in self._workers:
                        nursery.start_soon(self._workers[award.agent_id].work, award)

    async def _submit(self, world: World) -> None:
        names: list[str] = []
        for number in range(self.tasks):
            await trio.sleep(self.chance.expovariate(1 / TASK_SECONDS))
            command = self._task(number, names, world.wall())
            try:
                await self.ask(command, "submitter")
            except Refused as refused:
                assert refused.code == "dependency_failed", refused
            else:
                names.append(command.task_id)
            if self.chance.random() < 0.02:
                await self.try_to(
                    CancelTask(task_id=self.chance.choice(names[-RECENT:]), reason="no more"), "submitter"
                )
            if self.chance.random() < 0.1:
                await self.try_to(RequeueTask(task_id=self.chance.choice(names[-RECENT:]), attempts=1), "operator")

    def _task(self, number: int, before: list[str], now: float) -> SubmitTask:
        chance = self.chance
        skills = tuple(sorted(chance.sample(SKILLS, 1 if chance.random() < 0.8 else 2)))
        links = (chance.choice(before[-RECENT:]),) if before and chance.random() < 0.15 else ()
        return SubmitTask(
            task_id=f"t{number}",
            task_type=chance.choice(list(TaskType)),
            capabilities=skills,
            skills=(SkillNeed(name=skills[0], version=">=2"),) if chance.random() < 0.1 else (),
            regions=tuple(sorted(chance.sample(REGIONS, 2))) if chance.random() < 0.2 else (),
            requirements={"resources": {"memory": chance.choice(UNITS)}},
            priority=chance.randint(1, 5),
            dependencies=links,
            independent_of=links if chance.random() < 0.5 else (),
            award_policy=chance.choice(list(AwardPolicy)),
            bidding_seconds=round(chance.uniform(1, 20), 2),
            budget_seconds=round(chance.uniform(60, 600), 1),
            attempts_max=chance.randint(1, 4),
            deadline=now + chance.uniform(1_000, 7_000),
            submitted_by="submitter",
        )

    async def _until_ended(self) -> None:
        while True:
            cell = self._node.system.cells.get(("coordinator", TENANT))
            assert cell is not None
            assert cell.actor is not None
            if all(task.stage in ENDED for task in cell.actor.memory.tasks.values()):
                return
            await trio.sleep(10.0)


@asynccontextmanager
async def _boot(world: World, folder: Path) -> AsyncIterator[Node]:
    settings = GavelSettings(
        data=folder,
        lease_seconds=LEASE_SECONDS,
        house_solver=False,
        disk_free_bytes_min=0,
        handler_warn_seconds=0.0,
        handler_seconds_max=0.0,
    )
    elements = Elements(clock=world.clock(), entropy=world.chance("entropy").randbytes, chance=world.chance("node"))
    async with open_node(settings, door=False, elements=elements) as node:
        yield node


def record(journal: Path, seed: int, tasks: int) -> None:
    """Lives a day of so many tasks, and leaves its journal at a path."""
    outcome = simulate(Day(journal, seed, tasks), seed, faults=())
    if not outcome.ok:
        raise AssertionError(f"{outcome.invariant}: {outcome.detail}")

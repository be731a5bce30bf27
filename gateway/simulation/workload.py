"""The workload of `gavel simulate`: a node, its agents and submitters for some minutes, then calm, then everything is checked."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from agents.coordinating.entries import TaskEntry
from agents.coordinating.terms import DEFAULT_TERMS
from aggregates.agent import suspect_after
from aggregates.task import ENDED, TaskSubmitted
from gateway.parts import Node
from gateway.simulation.boot import boot
from gateway.simulation.clients import KINDS as CLIENT_KINDS
from gateway.simulation.clients import SKILLS, TENANT, Agent
from gateway.simulation.hindsight import auditor_of, check_facts
from gateway.simulation.leases import check_leases, check_told
from gateway.simulation.people import Person
from gateway.simulation.promises import check_promises
from gateway.simulation.submitters import Officer, Submitter, planted
from gateway.simulation.told import Told
from runtime.records import Recorded
from runtime.simulation import KINDS as MACHINE_KINDS
from runtime.simulation import Machine, World
from runtime.simulation.explain import standing
from runtime.simulation.invariants import check
from runtime.simulation.ledger import Ledger
from runtime.timers import BEAT_SECONDS, PAUSE_SECONDS_MIN

KINDS = (*MACHINE_KINDS, *CLIENT_KINDS)

SECONDS = 60.0
LEASE_SECONDS = 30.0
SUSPECT_SECONDS = suspect_after(LEASE_SECONDS, DEFAULT_TERMS.grace_share)
AGENTS = {"ann": SKILLS, "bob": SKILLS[:2], "cid": SKILLS[1:]}
"""Each agent's skills. Ann never dies."""
IMMORTAL = "ann"
TASKS_A_MINUTE = 8
SUBMITTERS = 2
ERASURES = 3
"""How often somebody is erased in a run."""
TASKS_MAX = 200
"""How many a submitter submits at most, however long the run."""
STEPS_MIN, EVENTS_MIN = 1000, 100
NOTICED_SECONDS = PAUSE_SECONDS_MIN + BEAT_SECONDS
"""A pause that the node can't overlook, wherever in its round it falls."""
NOTED_SECONDS = 2 * LEASE_SECONDS
"""Several rounds, in which the coordinator notes what nobody can do."""
CALM_SECONDS = 1800.0
"""How long after the last submission every task must have ended."""


class NodeWorkload:
    """Runs a node for so many simulated seconds of submissions, and until all that was submitted has ended."""

    def __init__(self, seconds: float | None = None) -> None:
        """Without `seconds` a run goes on until it has STEPS_MIN steps and EVENTS_MIN events."""
        self.seconds = SECONDS if seconds is None else seconds
        self.has_minimum = seconds is None

    async def __call__(self, world: World) -> None:
        mortals = tuple(name for name in AGENTS if name != IMMORTAL)
        told = Told(Ledger(world), tuple(AGENTS), mortals, LEASE_SECONDS, SUSPECT_SECONDS)
        machine = Machine(world, partial(self._boot, world, told))
        world.stands = partial(self._standing, machine)
        world.on_pause = partial(self._note_pause, machine, told)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.age)
            await nursery.start(machine.run)
            agents = [Agent(world, machine, told, name, skills) for name, skills in AGENTS.items()]
            for agent in agents:
                await agent.register()
            person = Person(world, machine, told)
            await person.join()
            async with trio.open_nursery() as working:
                for agent in agents:
                    working.start_soon(agent.run)
                working.start_soon(person.run)
                async with trio.open_nursery() as submitting:
                    count = min(TASKS_MAX, max(2, round(TASKS_A_MINUTE * self.seconds / 60)))
                    for number in range(SUBMITTERS):
                        submitter = Submitter(world, machine, told, f"sub{number}")
                        submitting.start_soon(submitter.run, count, self.seconds)
                    submitting.start_soon(Officer(world, machine, told, "officer").run, ERASURES, self.seconds)
                more = Submitter(world, machine, told, "more")
                while self.has_minimum and (world.steps < STEPS_MIN or world.events < EVENTS_MIN):
                    await more.run(2, SECONDS / TASKS_A_MINUTE)
                with world.within(CALM_SECONDS, "every_task_ends", "tasks were still open"):
                    await self._until_ended(world, machine, told)
                for agent in agents:
                    agent.is_over.set()
                person.is_over.set()
            await self._check(world, machine, told)
            await machine.stop()
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def _boot(self, world: World, told: Told, folder: Path) -> AsyncIterator[Node]:
        async with boot(world, folder, lease_seconds=LEASE_SECONDS) as node:
            told.starts(node.system.journal.position, node.system.clock.now())
            yield node

    def _standing(self, machine: Machine[Node]) -> list[str]:
        node = machine.life.node
        return list(standing(node.system)) if node is not None else ["there is no node now"]

    def _note_pause(self, machine: Machine[Node], told: Told, seconds: float) -> None:
        node = machine.life.node
        if node is not None and seconds >= NOTICED_SECONDS:
            told.paused(node.system.clock.now())

    async def _until_ended(self, world: World, machine: Machine[Node], told: Told) -> None:
        """Everything that goes wrong has gone wrong, and every task has ended that somebody can do."""
        await machine.peace()
        while True:
            node = await machine.up()
            cell = node.system.cells.get(("coordinator", TENANT))
            memory = cell.actor.memory if cell is not None and cell.actor is not None else None
            if memory is not None and all(
                self._is_settled(memory.tasks[name], told) for name in told.submitted if name in memory.tasks
            ):
                break
            await trio.sleep(1.0)
        await trio.sleep(NOTED_SECONDS)

    def _is_settled(self, task: TaskEntry, told: Told) -> bool:
        """It has ended, or waits for what nobody can do."""
        return task.stage in ENDED or told.may_wait(task.task_id)

    async def _check(self, world: World, machine: Machine[Node], told: Told) -> None:
        node = await machine.up()
        auditor = auditor_of(node.store)
        await check(world, node.system, told.ledger, node.projector, auditor)
        records = node.store.read(0, node.system.journal.position)
        check_promises(world, records, told)
        check_facts(world, auditor)
        check_leases(world, records, told)
        check_told(world, records, told)
        _check_erased(world, machine.folder, records, told)


def _check_erased(world: World, folder: Path, records: Sequence[Recorded], told: Told) -> None:
    """Of whom was erased nothing stands in any file, and nothing can be read; the others' data can be."""
    content_by_name = {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
    for task_id in sorted(told.erased):
        secret = planted(task_id).encode()
        found = [name for name, content in content_by_name.items() if secret in content]
        world.holds("erased_is_gone", not found, f"{task_id} is in {', '.join(found)}")
    for record in records:
        if isinstance(record.event, TaskSubmitted) and record.event.data_subject:
            is_blank = record.withheld and not record.event.description
            world.holds("erased_is_gone", record.event.task_id not in told.erased or is_blank, f"at {record.position}")
            said = record.event.description == planted(record.event.task_id)
            world.holds("kept_is_read", is_blank or said, f"at {record.position}: {record.event.description!r}")

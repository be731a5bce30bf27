"""Where it happens once more: the real actors over the forked journal, on a simulated machine whose clock is the log's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import trio
from msgspec.structs import replace

from agents.coordinating.coordinator import Coordinator
from agents.coordinating.terms import Terms
from agents.roster import ROSTER
from agents.solver import Solver
from aggregates.agent import Heartbeat
from aggregates.task import BookOpened, RevealOpened, TaskAwarded
from gateway.audit.what_if.changes import Change, codec_with, weighed
from gateway.audit.what_if.fork import fork
from gateway.audit.what_if.script import Line, Presence, Script
from gateway.verdicts import Wrong
from runtime.clock import SystemClock
from runtime.codec import Codec
from runtime.delivery import Context
from runtime.errors import Failure
from runtime.ids import Ids
from runtime.records import Command, Recorded
from runtime.simulation import Machine, World, simulate
from runtime.store.log import Log
from runtime.store.sqlite import SqliteStore
from runtime.system import Role, System, open_system
from runtime.transparency import Signer

SEED = 1
BEATS_A_LEASE = 3
SETTLE_SECONDS = 1.0
"""How long after the last word it goes on: so that what follows at once has followed."""

HANG_SECONDS = 1e9
PAGE = 1_000


class Happened(NamedTuple):
    """What was recorded after the fork, and how many of the words in the script were refused."""

    records: list[Recorded]
    said: int
    refused: int


class SilentSolver(Solver):
    """Decides what it is told, and neither bids nor runs a kernel: what it said is in the script."""

    def started(self, at: float) -> None:
        self.beat_at = None

    def react(self, recorded: Recorded) -> None:
        return None


class Play:
    """The workload of a simulation: it plays a script on a fork, and keeps what was recorded."""

    def __init__(self, log: Log, before: int, script: Script, terms: Terms, codec: Codec) -> None:
        self.log = log
        self.before = before
        self.script = script
        self.terms = terms
        self.codec = codec
        self.signer = Signer.make()
        """Thrown away with the fork."""
        self.records: list[Recorded] = []
        self.said = 0
        self.refused = 0
        self._starts_at = 0.0

    async def __call__(self, world: World) -> None:
        machine = Machine(world, partial(self._boot, world))
        self._starts_at = fork(
            self.log, self.before, self.script.owing, machine.folder / "journal.db", self.codec, self.signer
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(machine.run)
            system = await machine.up()
            async with trio.open_nursery() as playing:
                playing.start_soon(self._follow, system, playing)
                for presence in self.script.presences:
                    playing.start_soon(self._beat, system, presence)
                with world.within(HANG_SECONDS, "script_ends", "the script does not end"):
                    await self._speak(system)
                    await self._sleep_until(self.script.ends_at + SETTLE_SECONDS)
                playing.cancel_scope.cancel()
            await machine.stop()
            self.records = self._read(machine.folder / "journal.db")
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def _boot(self, world: World, folder: Path) -> AsyncIterator[System]:
        def at() -> float:
            return self._starts_at + world.now

        clock = SystemClock(at, at)
        roster = [self._hired(role) for role in ROSTER]
        with closing(SqliteStore(folder / "journal.db", self.codec, self.signer)) as store:
            ids = Ids(clock, world.chance("ids").randbytes)
            async with open_system(store, roster, clock=clock, ids=ids, chance=world.chance("node")) as system:
                yield system

    def _read(self, journal: Path) -> list[Recorded]:
        with closing(SqliteStore(journal, self.codec, self.signer)) as store:
            found: list[Recorded] = []
            after = self.before - 1
            while page := store.read(after, PAGE):
                found += page
                after = page[-1].position
            return found

    def _hired(self, role: Role) -> Role:
        if role.actor is Coordinator:
            return role._replace(make=lambda here: Coordinator(here, self.terms))
        if role.actor is Solver:
            return role._replace(make=lambda here: SilentSolver(here, _no_blob))
        return role

    # ---- saying

    async def _sleep_until(self, at: float) -> None:
        await trio.sleep_until(max(at - self._starts_at, trio.current_time()))

    async def _speak(self, system: System) -> None:
        for line in self.script.lines:
            await self._sleep_until(line.at)
            await self._say(system, line.message, line.context)

    async def _say(self, system: System, message: Command[Any], context: Context) -> None:
        self.said += 1
        try:
            await system.ask(message, context)
        except Failure:
            self.refused += 1

    async def _follow(self, system: System, nursery: trio.Nursery) -> None:
        """Has agents answer what is called and awarded, as long after it as they did."""
        position = self.before - 1
        while True:
            await system.journal.wait_past(position)
            for record in await system.journal.read(position, PAGE):
                position = record.position
                event = record.event
                if isinstance(event, BookOpened):
                    for line in self.script.answers.get(("book", event.task_id, event.round), ()):
                        nursery.start_soon(self._answer, system, record.meta.at, line, "")
                elif isinstance(event, RevealOpened):
                    for line in self.script.answers.get(("reveal", event.task_id, event.round), ()):
                        nursery.start_soon(self._answer, system, record.meta.at, line, "")
                elif isinstance(event, TaskAwarded):
                    for line in self.script.answers.get(("award", event.task_id, event.token), ()):
                        nursery.start_soon(self._answer, system, record.meta.at, line, event.agent_id)

    async def _answer(self, system: System, at: float, line: Line, holder: str) -> None:
        await self._sleep_until(at + line.at)
        message, context = line.message, line.context
        if holder and holder != getattr(message, "agent_id", holder):
            message = replace(message, agent_id=holder)
            context = replace(context, principal=f"agent:{holder}")
        await self._say(system, message, context)

    async def _beat(self, system: System, presence: Presence) -> None:
        """An agent is heard from while it was there, and for the last time when it was."""
        step = presence.lease_seconds / BEATS_A_LEASE
        at = max(presence.since, self._starts_at)
        context = Context(tenant=presence.tenant, principal=f"agent:{presence.agent_id}")
        while at <= presence.until:
            await self._sleep_until(at)
            with suppress(Failure):  # it may not be registered there
                await system.ask(Heartbeat(agent_id=presence.agent_id), context)
            at = presence.until if at < presence.until < at + step else at + step


def play(
    log: Log,
    before: int,
    script: Script,
    terms: Terms,
    changes: list[Change],
    rules: Any,
) -> Happened:
    """Lets the script happen. Blocks; not to be called where Trio runs. Raises Wrong."""
    work = Play(log, before, script, terms, codec_with(rules))
    with weighed(changes, script.weights):
        outcome = simulate(work, SEED, faults=())
    if not outcome.ok:
        raise Wrong(f"it could not be played: {outcome.invariant}: {outcome.detail}")
    return Happened(work.records, work.said, work.refused)


def _no_blob(digest: str) -> bytes:
    raise AssertionError(f"nobody reads {digest} here")

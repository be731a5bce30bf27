"""Who talks to the simulated node: whoever asks keeps asking until it knows; and agents, with all their habits.

They are at the far end of a poor line: a request or its answer may be lost, late or doubled, and the node may be gone. What carries an
idempotency key is asked again under the same one; what agents say of a task may be said twice.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, TypeVar

import msgspec
import trio
from msgspec.structs import replace

from aggregates.agent import AgentType, Heartbeat, RegisterAgent, UpdateAgent
from aggregates.task import (
    CommitBid,
    CompleteTask,
    FailTask,
    PlaceBid,
    RefuseBid,
    RevealBid,
    StartTask,
)
from aggregates.values.ranking import AwardPolicy
from aggregates.values.sealed_bids import commitment_of, sealed_text
from gateway.feeds.translator import Frame, Translator
from gateway.parts import Node
from gateway.simulation.told import UNITS_MAX, Told
from runtime.delivery import Context
from runtime.errors import Failure, Overloaded, Refused
from runtime.records import Command
from runtime.simulation import Gone, Kind, Machine, NoAnswer, World

R = TypeVar("R")

TENANT = "default"
SKILLS = ("cutting", "sewing", "dyeing")
PERSONS = ("p1", "p2")
SLOTS = 2
UNITS = (20.0, 50.0, 70.0)
"""What tasks take of an agent, which has the 100 of one that names no capacity: some pairs are too much."""
NEWEST = 3
WAITING_SHARE, WAITING_SECONDS = 0.15, (10.0, 60.0)
"""Of awards that their winner is slow to begin: some are taken back meanwhile."""
LIES_SHARE = 0.1
"""Of sealed bids that are opened otherwise than was committed to."""
DAWDLE_SECONDS = 200.0
"""Longer than any budget."""
FEED_SECONDS = 8.0
FEED_EVENTS_MAX = 100
RETRY_SECONDS = (0.05, 1.5)

AGENT_DIES = Kind("agent_dies", "an agent falls silent, for a while or for ever", 1.5, seconds_max=120.0)
AGENT_LIES = Kind(
    "agent_lies", "an agent says what is not so: results of others' tasks, old tokens, bids out of turn", 5.0
)
AGENT_DAWDLES = Kind("agent_dawdles", "an agent goes on with its work long after the budget", 3.0, seconds_max=40.0)
AGENT_FORGETS = Kind("agent_forgets", "an agent never begins what it has won", 2.0, seconds_max=20.0)
AGENT_BOASTS = Kind("agent_boasts", "an agent says that it has more room than it has, or less", 3.0)
KINDS = (AGENT_DIES, AGENT_LIES, AGENT_DAWDLES, AGENT_FORGETS, AGENT_BOASTS)


def commitment_to(opening: RevealBid) -> str:
    """What an agent commits to that will open its bid so."""
    text = sealed_text(
        task_id=opening.task_id,
        round=opening.round,
        agent_id=opening.agent_id,
        price=opening.price,
        eta_seconds=opening.eta_seconds,
        confidence=opening.confidence,
        capacity_offer=opening.capacity_offer,
        salt=opening.salt,
    )
    return commitment_of(text)


class Client:
    """Somebody with a name who asks the node until there is an answer."""

    def __init__(self, world: World, machine: Machine[Node], told: Told, name: str) -> None:
        self.world = world
        self.machine = machine
        self.told = told
        self.name = name
        self.chance = world.chance(name)

    async def ask(self, command: Command[R], *, key: str = "", principal: str = "") -> R:
        """The answer. Raises Refused; whatever else happens is asked again."""
        digest = sha256(msgspec.msgpack.encode(command)).digest() if key else b""
        context = Context(tenant=TENANT, principal=principal or self.name, key=key, digest=digest)
        while True:
            try:
                answer, position = await self._call(command, context)
            except Refused as refused:
                if refused.code != "request_erased":  # that tells that it was done
                    self.told.refused(context, refused)
                raise
            except (Gone, NoAnswer):
                await self._wait()
            except Overloaded as overloaded:
                await trio.sleep(overloaded.retry_seconds)
            except Failure:
                await self._wait()
            else:
                self.told.answered(context, command, answer, position)
                return answer

    async def _call(self, command: Command[R], context: Context) -> tuple[R, int]:
        """The answer, and where the journal stood when it was asked for."""

        async def work(node: Node) -> tuple[R, int]:
            position = node.system.journal.position
            if context.key:
                return await self.told.ledger.ask(node.system, command, context), position
            return await node.system.ask(command, context), position

        return await self.machine.call(self.name, type(command).__name__, work)

    async def _wait(self) -> None:
        await trio.sleep(self.chance.uniform(*RETRY_SECONDS))


class Agent(Client):
    """Registers, is heard from, hears what concerns it, bids, works, and tells results."""

    def __init__(self, world: World, machine: Machine[Node], told: Told, name: str, skills: Sequence[str]) -> None:
        super().__init__(world, machine, told, name)
        self.skills = tuple(skills)
        self.position = 0
        self.is_over = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._sealed: dict[tuple[str, int], RevealBid] = {}
        """What opens the bids that it has committed to."""

    async def run(self) -> None:
        """Works, once registered, until it is told that all is over; falls silent where a fault wants it."""
        while not self.is_over.is_set():
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._beat)
                self._nursery.start_soon(self._listen)
                self._nursery.start_soon(self._lie)
                self._nursery.start_soon(self._boast)
                seconds = await self._until_it_dies()
                self._nursery.cancel_scope.cancel()
            if not self.is_over.is_set():
                self.world.note("fault", AGENT_DIES.name, agent=self.name, seconds=seconds)
                with trio.move_on_after(seconds):
                    await self.is_over.wait()

    async def register(self) -> None:
        """Offers its services."""
        command = RegisterAgent(
            agent_id=self.name,
            name=self.name,
            agent_type=AgentType.OPERATIONS,
            capabilities=self.skills,
            slots=SLOTS,
            key_id=f"key-{self.name}",
            key_digest=sha256(self.name.encode()).digest(),
        )
        await self.ask(command, key=f"register-{self.name}")

    async def _until_it_dies(self) -> float:
        """Waits for its end or the end of all; returns for how long it will be silent."""
        for fault in self.world.faults.of(AGENT_DIES):
            meant = self.world.faults.chance(fault).choice(self.told.mortals) == self.name
            if not meant or fault.at < self.world.now:
                continue
            with trio.move_on_at(fault.at):
                await self.is_over.wait()
                return 0.0
            self.world.faults.strikes(AGENT_DIES, self.world.now)
            return self.world.faults.seconds(fault)
        await self.is_over.wait()
        return 0.0

    # ---- being heard from

    async def _beat(self) -> None:
        """Says at a third of its lease that it is there."""
        while True:
            lease_seconds = await self._heartbeat()
            await trio.sleep(lease_seconds / 3 * self.chance.uniform(0.6, 1.0))

    async def _heartbeat(self) -> float:
        async def work(node: Node) -> tuple[float, float, int]:
            at, life = node.system.clock.now(), len(self.told.hearings) - 1
            context = Context(tenant=TENANT, principal=f"agent:{self.name}")
            return (await node.system.ask(Heartbeat(agent_id=self.name), context)).lease_seconds, at, life

        while True:
            try:
                lease_seconds, at, life = await self.machine.call(self.name, "Heartbeat", work, seconds=2.0)
            except (Gone, NoAnswer, Failure):
                await self._wait()
            else:
                self.told.heard(life, self.name, at)
                return lease_seconds

    # ---- hearing

    async def _listen(self) -> None:
        """Hears everything that the log says to it, in order, from where it was."""
        while True:
            try:
                frames, position = await self.machine.call(self.name, "Feed", self._feed)
            except (Gone, NoAnswer, Failure):
                await self._wait()
                continue
            for frame in frames:
                self._hear(frame)
            self.position = position

    async def _feed(self, node: Node) -> tuple[list[Frame], int]:
        """What concerns the agent next, as soon as there is something; like a websocket it brings nothing else."""
        journal, translator = node.system.journal, Translator(node.system.journal)
        position, frames = self.position, list[Frame]()
        with trio.move_on_after(FEED_SECONDS):
            while not frames:
                await journal.wait_past(position)
                for record in await journal.read(position, FEED_EVENTS_MAX):
                    frames += await translator.frames(record, self.name)
                    position = record.position
        return frames, position

    def _hear(self, frame: Frame) -> None:
        assert self._nursery is not None
        if frame["type"] == "call":
            is_sealed = frame["award_policy"] == AwardPolicy.SECOND_PRICE
            self._nursery.start_soon(self._answer, frame["task_id"], frame["round"], is_sealed)
        elif frame["type"] == "call_reveal":
            self._nursery.start_soon(self._open, frame["task_id"], frame["round"])
        elif frame["type"] == "award":
            self._nursery.start_soon(self._do, frame["task_id"], frame["token"], frame["payload"])

    # ---- bidding and working

    async def _answer(self, task_id: str, number: int, is_sealed: bool) -> None:
        dice = self.world.dice(self.name, task_id, number)
        await trio.sleep(dice.uniform(0.0, 0.5))
        if dice.random() < 0.1:
            await self._say(RefuseBid(task_id=task_id, agent_id=self.name, round=number, reason="not now"))
            return
        price, eta_seconds = round(dice.uniform(1, 10), 2), round(dice.uniform(1, 20), 2)
        said: dict[str, Any] = {"task_id": task_id, "agent_id": self.name, "round": number}
        if not is_sealed:
            await self._say(PlaceBid(**said, price=price, eta_seconds=eta_seconds))
            return
        salt = dice.randbytes(16).hex()
        opening = RevealBid(**said, price=price, eta_seconds=eta_seconds, salt=salt)
        self._sealed[task_id, number] = opening
        await self._say(CommitBid(**said, commitment=commitment_to(opening)))

    async def _open(self, task_id: str, number: int) -> None:
        """Opens a sealed bid; a liar asks for less than it has committed to, now that the others can do so no more."""
        opening = self._sealed.pop((task_id, number), None)
        if opening is None:
            return  # it heard the call before, and opened it
        if self._is_struck_by(AGENT_LIES) or self.world.dice("opens", task_id, number, self.name).random() < LIES_SHARE:
            opening = replace(opening, price=round(opening.price / 2, 2))
        await self._say(opening)

    async def _do(self, task_id: str, token: int, payload: dict[str, Any]) -> None:
        dice = self.world.dice(self.name, task_id, token)
        if self._is_struck_by(AGENT_FORGETS):
            return
        begins = self.world.dice("begins", self.name, task_id, token)
        if begins.random() < WAITING_SHARE:
            await trio.sleep(begins.uniform(*WAITING_SECONDS))
        await self._say(StartTask(task_id=task_id, agent_id=self.name, token=token))
        await trio.sleep(payload.get("seconds", 1.0) * dice.uniform(0.5, 2.0))
        if self._is_struck_by(AGENT_DAWDLES):
            await trio.sleep(DAWDLE_SECONDS)
        if dice.random() < 0.1:
            await self._say(FailTask(task_id=task_id, agent_id=self.name, token=token, reason="too hard"))
        else:
            result = {"by": self.name, "token": token}
            await self._say(CompleteTask(task_id=task_id, agent_id=self.name, token=token, result=result))

    async def _say(self, command: Command[Any]) -> None:
        """What may come too late: then it is refused, and that is an answer."""
        try:
            await self.ask(command, principal=f"agent:{self.name}")
        except Refused:
            return

    def _is_struck_by(self, kind: Kind) -> bool:
        fault = self.world.faults.lasts(kind, self.world.now)
        return fault is not None and self.world.faults.chance(fault).choice(self.told.agents) == self.name

    async def _boast(self) -> None:
        for fault in self.world.faults.of(AGENT_BOASTS):
            dice = self.world.faults.chance(fault)
            if dice.choice(self.told.agents) != self.name or fault.at < self.world.now:
                continue
            await trio.sleep_until(fault.at)
            self.world.faults.strikes(AGENT_BOASTS, self.world.now)
            slots, capacity = dice.randint(1, 4), dice.choice((UNITS[-1], UNITS_MAX))
            self.world.note("fault", AGENT_BOASTS.name, agent=self.name, slots=slots, max_capacity=capacity)
            await self._say(UpdateAgent(agent_id=self.name, slots=slots, max_capacity=capacity))

    async def _lie(self) -> None:
        for fault in self.world.faults.of(AGENT_LIES):
            dice = self.world.faults.chance(fault)
            if dice.choice(self.told.agents) != self.name or fault.at < self.world.now:
                continue
            await trio.sleep_until(fault.at)
            self.world.faults.strikes(AGENT_LIES, self.world.now)
            tasks = list(self.told.submitted)
            if not tasks:
                continue
            # Of the newest there is most to be had: their books are open, their work is under way.
            task_id, token = dice.choice(tasks[-NEWEST:] if dice.random() < 0.5 else tasks), dice.randint(1, 3)
            lies = (
                CompleteTask(task_id=task_id, agent_id=self.name, token=token, result={"by": self.name, "lie": True}),
                FailTask(task_id=task_id, agent_id=self.name, token=token, reason="a lie"),
                StartTask(task_id=task_id, agent_id=self.name, token=token),
                PlaceBid(task_id=task_id, agent_id=self.name, price=0.0, eta_seconds=0.1),
            )
            lie = dice.choice(lies)
            self.world.note("fault", AGENT_LIES.name, agent=self.name, says=type(lie).__name__, task=task_id)
            await self._say(lie)

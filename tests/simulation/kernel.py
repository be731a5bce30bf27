"""The kernel of actors under simulation, without a journal: full mailboxes, parked senders, timers over restarts, stash, notices, stops.

Every third seed runs without the interceptor, so that an asker also runs an idle actor in its own step.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import trio

from runtime.actors import Actors, Props, open_actors
from runtime.delivery import Context, Receipt
from runtime.errors import Failure, Overloaded
from runtime.keyed import spawn_keyed
from runtime.life import Life
from runtime.pools import SmallestMailbox, spawn_pool
from runtime.ref import ActorRef
from runtime.simulation import Kind, World
from runtime.simulation.faults import CLOCK_JUMPS, HANDLER_RAISES, PAUSE, SLOW_ACTOR
from runtime.supervision import Backoff, Directive, Supervision
from tests.simulation.kernel_actors import (
    Book,
    Clerk,
    Desk,
    Gate,
    Mourn,
    Mourner,
    Parent,
    Poison,
    PoolDesk,
    Push,
    SlowDesk,
    Turn,
)

IMPATIENT = Kind("impatient", "a caller leaves before it is answered", 20.0)
POISON = Kind("poison", "an actor is told something that it fails on", 6.0)
KERNEL_KINDS: Sequence[Kind] = (HANDLER_RAISES, SLOW_ACTOR, PAUSE, CLOCK_JUMPS, IMPATIENT, POISON)

SENDERS = 6
ROUNDS = 8
STOPS = 4
CALLERS = 5
MAILBOX_MAX = 2
ASK_SECONDS = 3.0
ANSWER_SECONDS_MAX = 5.0
STOP_SECONDS = 0.5
REST_SECONDS_MAX = 120.0
"""Actors that fail again and again wait longer each time before the next message."""
KEYS = ("red", "green", "blue")

# Failing is part of the plan: nobody is given up for it.
LASTING = Supervision(restarts_max=10_000, exhausted=Directive.STOP)
PATIENT = LASTING._replace(backoff=Backoff(seconds=0.2, seconds_max=1.0))
SMALL = Props(mailbox_max=MAILBOX_MAX, stash_max=3, supervision=LASTING)


class Kernel:
    """The workload."""

    def __init__(self, seconds: float = 20.0) -> None:
        self.seconds = seconds

    async def __call__(self, world: World) -> None:
        async with self.open(world) as actors, trio.open_nursery() as nursery:
            nursery.start_soon(world.age)
            scene = Scene(world, actors, self.seconds)
            await scene.play()
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def open(self, world: World) -> AsyncIterator[Actors]:
        if world.seed % 3:
            async with world.actors(ask_seconds_max=ASK_SECONDS) as actors:
                yield actors
        else:
            clock = world.clock()
            chance = world.chance("actors")
            async with open_actors(
                clock=clock, ids=world.ids(clock), chance=chance, ask_seconds_max=ASK_SECONDS
            ) as actors:
                yield actors


class Scene:
    """One run: who is there, and what is done to them at once."""

    def __init__(self, world: World, actors: Actors, seconds: float) -> None:
        self.world = world
        self.actors = actors
        self.seconds = seconds
        self.book = book = Book(world)
        self.withdrawn: list[str] = []
        self.answered: list[str] = []
        self.sent: list[str] = []
        self.mourned: list[ActorRef] = []
        Parent.props = Props(supervision=PATIENT)
        self.gate = actors.spawn(lambda here: Gate(here, book), "gate", SMALL)
        self.mourner = actors.spawn(lambda here: Mourner(here, book), "mourner", Props(supervision=LASTING))
        self.parent = actors.spawn(lambda here: Parent(here, book), "parent", Props(supervision=PATIENT))
        self.clerks = spawn_keyed(
            actors, lambda here, key: Clerk(here, book, key), "clerks", lambda push: str(push.key),
            props=SMALL, idle_seconds=0.5, live_max=2,
        )  # fmt: skip
        self.pool = spawn_pool(actors, lambda here: PoolDesk(here, book), "pool", 2, SmallestMailbox(), props=SMALL)
        self.desks: list[ActorRef] = [
            actors.spawn(lambda here: Desk(here, book), "desk", SMALL),
            actors.spawn(lambda here: SlowDesk(here, book), "slow", SMALL),
            actors.spawn(lambda here: SlowDesk(here, book), "lean", SMALL._replace(telemetry=False)),
        ]

    async def play(self) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(SENDERS):
                nursery.start_soon(self.send, f"sender-{number}")
            nursery.start_soon(self.turn)
            nursery.start_soon(self.poison)
            nursery.start_soon(self.resize)
            for number in range(STOPS):
                nursery.start_soon(self.stop_one, number)
        self.world.faults.end()
        await self.gate.ask(Turn(is_open=True))
        await trio.sleep(3 * ASK_SECONDS)
        with self.world.within(REST_SECONDS_MAX, "every_caller_answered", "somebody waits in front of an actor"):
            await self.until_idle()
        self.judge()

    async def until_idle(self) -> None:
        while True:
            await trio.sleep(1.0)
            if not any(self.waiting(cell) for cell in self.actors.walk()):
                return

    def waiting(self, cell: Life) -> int:
        """How many wait there; the ticker's timers ring on."""
        if cell.name == "ticker":
            return 0
        extras = cell._extras
        return len(cell._queue or ()) + (len(extras.parked) + len(extras.stash) if extras is not None else 0)

    # ---- what is done

    async def send(self, name: str) -> None:
        """Sends to anybody, in any way."""
        chance = self.world.chance(name)
        for number in range(ROUNDS):
            await trio.sleep(chance.expovariate(2 * ROUNDS / self.seconds))
            to = chance.choice([*self.desks, self.gate, self.clerks, self.pool])
            count = chance.choice((1, 1, 2 * MAILBOX_MAX))
            async with trio.open_nursery() as nursery:
                for part in range(count):
                    push = Push(
                        name=f"{name}-{number}-{part}", key=chance.choice(KEYS), seconds=chance.choice((0.0, 0.1, 0.4))
                    )
                    way = chance.choice((self.tell, self.tell_when_free, self.ask, self.ask))
                    nursery.start_soon(way, name, to, push)

    async def tell(self, sender: str, to: ActorRef, push: Push) -> None:
        self.world.note(sender, "tells", to=to.path, push=push.name)
        try:
            to.tell(push, context=_context(sender))
        except Overloaded:
            self.withdrawn.append(push.name)
        else:
            self.sent.append(push.name)

    async def tell_when_free(self, sender: str, to: ActorRef, push: Push) -> None:
        self.world.note(sender, "tells when free", to=to.path, push=push.name)
        with self.world.within(60.0, "every_caller_answered", f"{push.name} was never let in"):
            await to.tell_when_free(push, context=_context(sender))
            self.sent.append(push.name)

    async def ask(self, sender: str, to: ActorRef, push: Push) -> None:
        """Asks, and may leave early."""
        receipt = Receipt()
        impatient = self.world.faults.strikes(IMPATIENT, self.world.now)
        seconds = self.world.faults.chance(impatient).uniform(0.0, 0.5) if impatient is not None else float("inf")
        self.world.note(sender, "asks", to=to.path, push=push.name)
        with self.world.within(ANSWER_SECONDS_MAX, "every_caller_answered", f"{push.name} to {to.path}"):
            with trio.move_on_after(seconds):
                try:
                    answer = await to.ask(push, context=_context(sender), receipt=receipt)
                    self.world.holds("replies_match_questions", answer == push.name, f"{push.name}: {answer}")
                    self.answered.append(push.name)
                except Failure as failure:
                    self.world.note(sender, "hears", failure=type(failure).__name__, push=push.name)
        self.world.note(sender, "has asked", push=push.name, fate=receipt.fate)
        if receipt.fate == "withdrawn":
            self.withdrawn.append(push.name)

    async def turn(self) -> None:
        """Opens and shuts the gate."""
        chance = self.world.chance("turn")
        for number in range(ROUNDS):
            await trio.sleep(chance.expovariate(ROUNDS / self.seconds))
            await self.gate.tell_when_free(Turn(is_open=number % 2 == 0), context=_context("turn"))

    async def resize(self) -> None:
        """Makes the pool smaller and larger."""
        chance = self.world.chance("resize")
        for _ in range(ROUNDS):
            await trio.sleep(chance.expovariate(ROUNDS / self.seconds))
            self.pool.resize(chance.randrange(1, 4))

    async def poison(self) -> None:
        """Makes actors fail."""
        chance = self.world.chance("poison")
        for fault in self.world.faults.of(POISON):
            await trio.sleep_until(fault.at)
            self.world.faults.strikes(POISON, self.world.now)
            ticker = self.actors.children["parent"]._extra().children.get("ticker")
            others = [self.parent, *self.desks]
            to = ticker if ticker is not None and chance.random() < 0.6 else chance.choice(others)
            self.world.note("fault", POISON.name, actor=to.path)
            await to.tell_when_free(Poison(), context=_context("poison"))

    async def stop_one(self, number: int) -> None:
        """Stops an actor before which callers of all kinds wait: each of them is told, and nothing is handled after that."""
        name, chance = f"mortal-{number}", self.world.chance(f"mortal {number}")
        await trio.sleep(chance.uniform(0, self.seconds))
        place = chance.choice((Desk, SlowDesk))
        ref = self.actors.spawn(partial(place, book=self.book), name, SMALL)
        self.mourned.append(ref)
        await self.mourner.tell_when_free(Mourn(ref=ref), context=_context(name))
        with self.world.within(ANSWER_SECONDS_MAX, "every_caller_answered", f"{name} has stopped, and somebody waits"):
            async with trio.open_nursery() as nursery:
                for caller in range(CALLERS):
                    push = Push(name=f"{name}-{caller}", seconds=chance.choice((0.1, 2.0)))
                    nursery.start_soon(chance.choice((self.tell_when_free, self.ask)), f"{name}-caller", ref, push)
                await trio.sleep(chance.choice((0.0, 0.05, 0.3)))
                for _ in range(2):
                    nursery.start_soon(self.stop, ref)

    async def stop(self, ref: ActorRef) -> None:
        await ref.stop(STOP_SECONDS)
        self.world.note("stopper", "has stopped", actor=ref.path)
        self.book.gone.add(ref)

    # ---- what must hold in the end

    def judge(self) -> None:
        world, book = self.world, self.book
        failed = sum(1 for fault in world.faults.struck if fault.kind == HANDLER_RAISES.name)
        for name in self.withdrawn:
            world.holds("withdrawn_is_never_handled", not book.handled[name], name)
        for name in self.answered:
            world.holds("handled_once", book.handled[name] == 1, f"{name} was answered")
        done = {*book.handled, *book.turned_away}
        lost = [name for name in self.sent if not (name in done or name.startswith("mortal"))]
        world.holds("nothing_sent_lost", len(lost) <= failed, f"{lost}")
        unmourned = [ref.path for ref in self.mourned if not book.notices[ref]]
        world.holds("death_told_once", len(unmourned) <= failed, f"{unmourned} are not mourned")


def _context(sender: str) -> Context:
    return Context(tenant="t", principal=sender)

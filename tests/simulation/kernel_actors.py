"""Actors for the simulation of the kernel, and the book in which it is kept what happened to every message."""

from collections import Counter, defaultdict
from typing import Any

import trio

from runtime.actor import Actor, Stashed, reply
from runtime.actors import Here
from runtime.errors import Overloaded
from runtime.records import Command
from runtime.ref import ActorRef, Terminated
from runtime.simulation import World

BEAT_SECONDS = 0.3


class Push(Command[str], frozen=True, kw_only=True):
    """A message of which it is known what became of it."""

    name: str
    key: str = ""
    seconds: float = 0.0


class Turn(Command[None], frozen=True, kw_only=True):
    """Opens a gate, or shuts it."""

    is_open: bool


class Poison(Command[None], frozen=True, kw_only=True):
    """Whoever takes it fails."""


class Beat(Command[None], frozen=True, kw_only=True):
    """A timer's message, and the incarnation that set it."""

    incarnation: int


class Mourn(Command[None], frozen=True, kw_only=True):
    """Asks for a death notice."""

    ref: Any


class Book:
    """What happened in a run."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.handled: Counter[str] = Counter()
        self.notices: Counter[ActorRef] = Counter()
        self.gone: set[ActorRef] = set()
        self.turned_away: set[str] = set()
        self.living: defaultdict[str, set[ActorRef]] = defaultdict(set)
        self.last: dict[ActorRef, int] = {}
        self.incarnations = 0

    def handles(self, here: Here, message: Push, *, in_order: bool = True) -> None:
        """An actor has got a message: not after its end, once, and in the order in which they were sent."""
        world, ref = self.world, here.ref
        world.holds("nothing_handled_after_stop", ref not in self.gone, f"{message.name} by {ref.path}")
        self.handled[message.name] += 1
        world.holds("handled_once", self.handled[message.name] == 1, message.name)
        assert here.current is not None
        if in_order:
            last = self.last.get(ref, 0)
            world.holds("fair_admission", here.current.id > last, f"{ref.path}: {here.current.id} after {last}")
            self.last[ref] = here.current.id


class Noting(Actor[Any, None]):
    """Knows its book."""

    __slots__ = ("book", "here")
    here: Here

    def __init__(self, here: Here, book: Book) -> None:
        super().__init__(here)
        self.book = book


class Desk(Noting):
    """Answers at once."""

    takes = (Push, Poison)

    def handle(self, message: Any) -> Any:
        if isinstance(message, Poison):
            raise RuntimeError("poison")
        self.book.handles(self.here, message)
        return reply(message, message.name)


class SlowDesk(Noting):
    """Takes its time, so that others wait in front of it."""

    takes = (Push, Poison)

    async def handle(self, message: Any) -> Any:
        if isinstance(message, Poison):
            raise RuntimeError("poison")
        self.book.handles(self.here, message)
        await trio.sleep(message.seconds)
        return reply(message, message.name)


class PoolDesk(SlowDesk):
    """One of several, of whom one leaves now and then: none of its messages is lost by that."""


class Gate(Noting):
    """Puts messages aside while it is shut."""

    takes = (Push, Turn)
    __slots__ = ("is_open",)

    def __init__(self, here: Here, book: Book) -> None:
        super().__init__(here, book)
        self.is_open = False

    def handle(self, message: Any) -> Any:
        if isinstance(message, Turn):
            self.is_open = message.is_open
            if self.is_open:
                self.here.unstash()
            return reply(message, None)
        if not self.is_open:
            return self._put_aside(message)
        self.book.handles(self.here, message, in_order=False)
        return reply(message, message.name)

    def _put_aside(self, message: Push) -> Stashed:
        try:
            return self.here.stash()
        except Overloaded:
            self.book.turned_away.add(message.name)
            raise


class Ticker(Noting):
    """Sets timers when it begins; what an incarnation has set, no later one hears."""

    takes = (Beat, Poison)
    __slots__ = ("incarnation",)

    def started(self, at: float) -> None:
        self.book.incarnations += 1
        self.incarnation = self.book.incarnations
        self.here.timers.start("beat", Beat(incarnation=self.incarnation), BEAT_SECONDS, every=BEAT_SECONDS)
        # A timer of the same key would be void by that alone.
        self.here.timers.start(self.incarnation, Beat(incarnation=self.incarnation), BEAT_SECONDS * 2)

    def handle(self, message: Any) -> None:
        if isinstance(message, Poison):
            raise RuntimeError("poison")
        heard = f"{self.here.ref.path}: the timer of incarnation {message.incarnation} rang in {self.incarnation}"
        self.book.world.holds("timers_end_with_incarnation", message.incarnation == self.incarnation, heard)


class Parent(Noting):
    """Has a ticker below; begins anew with a new one."""

    takes = (Poison,)

    def started(self, at: float) -> None:
        self.here.spawn(lambda here: Ticker(here, self.book), "ticker", props=self.props)

    props: Any = None

    def handle(self, message: Poison) -> None:
        raise RuntimeError("poison")


class Mourner(Noting):
    """Watches others and counts death notices."""

    def handle(self, message: Any) -> None:
        if isinstance(message, Mourn):
            self.here.watch(message.ref)
        elif isinstance(message, Terminated):
            self.book.notices[message.ref] += 1
            told = f"{message.ref.path} was mourned {self.book.notices[message.ref]} times"
            self.book.world.holds("death_told_once", self.book.notices[message.ref] == 1, told)
            self.book.world.holds("death_told_once", not message.ref.alive, f"{message.ref.path} lives")


class Clerk(Noting):
    """One of a key: there is never another at the same time."""

    takes = (Push,)
    __slots__ = ("key",)

    def __init__(self, here: Here, book: Book, key: str) -> None:
        super().__init__(here, book)
        self.key = key

    def started(self, at: float) -> None:
        self.book.living[self.key].add(self.here.ref)
        self._alone()

    def stopped(self) -> None:
        self.book.living[self.key].discard(self.here.ref)

    def _alone(self) -> None:
        living = self.book.living[self.key]
        self.book.world.holds("one_of_a_key", living == {self.here.ref}, f"{len(living)} of {self.key}")

    async def handle(self, message: Push) -> Any:
        self._alone()
        self.book.handles(self.here, message)
        await trio.sleep(message.seconds)
        return reply(message, message.name)

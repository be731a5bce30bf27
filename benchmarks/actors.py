"""Our side of the runtime's bench: what asking, telling, spawning and keeping actors costs, in an open system.

Messages carry a context; ids, causes, deadlines, histograms and supervision are as they always are.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import cycle, islice
from typing import Any

import trio
import trio.testing

from benchmarks.arrivals import Arrivals
from benchmarks.measure import cost
from runtime.actor import Actor, Reply, Surroundings, reply
from runtime.actors import Actors, Make, Props
from runtime.delivery import Context
from runtime.records import Command
from runtime.ref import ActorRef

CONTEXT = Context(tenant="bench", principal="bench")
DEADLINE_SECONDS = 1.0
QUEUED = Props(caller_runs=False)
"""All messages go through the mailbox."""


class Add(Command[int], frozen=True, kw_only=True):
    number: int


ONE = Add(number=1)


class Counter(Actor[Any, None]):
    """Adds, and answers the sum."""

    __slots__ = ("total",)
    takes = (Add,)

    def __init__(self, here: Surroundings) -> None:
        super().__init__(here)
        self.total = 0

    def handle(self, message: Add) -> Reply:
        self.total += message.number
        return reply(message, self.total)


class AsyncCounter(Actor[Any, None]):
    """The same as a coroutine."""

    __slots__ = ("total",)
    takes = (Add,)

    def __init__(self, here: Surroundings) -> None:
        super().__init__(here)
        self.total = 0

    async def handle(self, message: Add) -> Reply:
        self.total += message.number
        return reply(message, self.total)


class Taker(Actor[Any, None]):
    """Counts what arrives."""

    __slots__ = ("arrivals",)
    takes = (Add,)

    def __init__(self, here: Surroundings, arrivals: Arrivals) -> None:
        super().__init__(here)
        self.arrivals = arrivals

    def handle(self, message: Add) -> None:
        arrivals = self.arrivals
        arrivals.missing -= message.number
        if not arrivals.missing:
            arrivals.all.set()


@asynccontextmanager
async def _spawned(actors: Actors, make: Make, props: Props, count: int = 1) -> AsyncIterator[list[ActorRef]]:
    refs = [actors.spawn(make, props=props) for _ in range(count)]
    yield refs
    for ref in refs:
        ref.stop_soon()
    await trio.testing.wait_all_tasks_blocked()


async def _call(refs: list[ActorRef], asks: int) -> None:
    for ref in islice(cycle(refs), asks):
        await ref.ask(ONE, context=CONTEXT)


async def ask(props: Props, asks: int, actors: Actors, recipients: int = 1) -> float:
    """CPU microseconds an ask, of one caller and so many actors in turn."""
    async with _spawned(actors, Counter, props, recipients) as refs:
        return await cost(partial(_call, refs, asks), asks)


async def ask_at_once(make: Make, asks: int, callers: int, actors: Actors) -> float:
    """CPU microseconds an ask, of many callers and one actor, through its mailbox."""

    async def everybody() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(callers):
                nursery.start_soon(_call, refs, asks // callers)

    async with _spawned(actors, make, QUEUED) as refs:
        return await cost(everybody, asks)


async def ask_with_a_deadline(asks: int, actors: Actors) -> float:
    """CPU microseconds an ask with a deadline of its own."""

    async def in_turn() -> None:
        for _ in range(asks):
            await ref.ask(ONE, seconds=DEADLINE_SECONDS, context=CONTEXT)

    async with _spawned(actors, Counter, QUEUED) as [ref]:
        return await cost(in_turn, asks)


async def ask_in_fail_after(asks: int, actors: Actors) -> float:
    """CPU microseconds of the same ask with Trio's own kind of deadline around it."""

    async def in_turn() -> None:
        for _ in range(asks):
            with trio.fail_after(DEADLINE_SECONDS):
                await ref.ask(ONE, context=CONTEXT)

    async with _spawned(actors, Counter, QUEUED) as [ref]:
        return await cost(in_turn, asks)


async def tell(messages: int, recipients: int, actors: Actors) -> float:
    """CPU microseconds a message, to each of so many actors in turn, waiting where there is no room."""
    arrivals = Arrivals(messages)

    async def send_all() -> None:
        for ref in islice(cycle(refs), messages):
            await ref.tell_when_free(ONE, context=CONTEXT)
        await arrivals.all.wait()

    async with _spawned(actors, lambda here: Taker(here, arrivals), QUEUED, recipients) as refs:
        return await cost(send_all, messages)


async def spawn(count: int, actors: Actors) -> float:
    """CPU microseconds from nothing to an actor that takes messages."""
    refs = []

    async def spawn_all() -> None:
        for _ in range(count):
            refs.append(actors.spawn(Counter))  # noqa: PERF401 - as its peer does

    spent = await cost(spawn_all, count)
    for ref in refs:
        ref.stop_soon()
    await trio.testing.wait_all_tasks_blocked()
    return spent


@asynccontextmanager
async def idle(count: int, actors: Actors) -> AsyncIterator[list[ActorRef]]:
    """So many actors that have had one message each and wait for the next."""
    async with _spawned(actors, Counter, Props(), count) as refs:
        for ref in refs:
            await ref.tell_when_free(ONE, context=CONTEXT)
        await trio.testing.wait_all_tasks_blocked()
        yield refs


async def latencies(asks: int, actors: Actors) -> list[float]:
    """Microseconds of each ask to one actor, while a producer sends another as much as it takes.

    By the thread's own clock: nothing sleeps here, so it is the wall clock without what other processes take.
    """
    times = []

    async def produce() -> None:
        while True:
            await busy.tell_when_free(ONE, context=CONTEXT)

    async with _spawned(actors, Counter, QUEUED, 2) as [busy, other], trio.open_nursery() as nursery:
        nursery.start_soon(produce)
        for _ in range(asks):
            started = time.thread_time()
            await other.ask(ONE, context=CONTEXT)
            times.append((time.thread_time() - started) * 1e6)
        nursery.cancel_scope.cancel()
    return times

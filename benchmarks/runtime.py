"""What a message costs: our actors, everything on, against raw Trio memory channels and against pykka.

CPU time of all threads; `tail` is the time that the asker waits. `docs/benchmarks.md` says what each row measures.
"""

import gc
import statistics
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import trio

from benchmarks import actors, channels, threads
from benchmarks.actors import QUEUED, AsyncCounter, Counter
from benchmarks.measure import Measured, Row, Side, interleaved
from runtime.actors import Actors, Props, open_actors

ROUNDS = 9
ASKS = 10_000
ASKS_AT_ONCE = 20_000
CALLERS = 1000
TELLS = 100_000
FEWER = 5
"""The peers are this many times slower: as many messages fewer keep the bench short."""
RECIPIENTS = 1000
SPAWNED = 10_000
SLOTS_BEFORE = 10
FEW, MANY = 10, 100_000
LATENCIES = 3000
IN_CALLERS_STEP = Props()
LEAN = Props(telemetry=False)

Ours = Callable[[Actors], Awaitable[float]]


def both(ours: Ours, theirs: Side, rounds: int = ROUNDS) -> Measured:
    """The peer in turn with one system of actors."""

    async def measure() -> Measured:
        async with open_actors() as system:
            return await interleaved(partial(ours, system), theirs, rounds)

    return trio.run(measure)


def ask(props: Props, rounds: int = ROUNDS, asks: int = ASKS, answers_wait: bool = True) -> Measured:
    """One caller and one actor."""
    ours = partial(actors.ask, props, asks * FEWER if props.caller_runs else asks)
    return both(ours, partial(channels.ask, asks, answers_wait), rounds)


def ask_at_once(
    make: type[Counter] | type[AsyncCounter],
    rounds: int = ROUNDS,
    asks: int = ASKS_AT_ONCE,
    callers: int = CALLERS,
    answers_wait: bool = True,
) -> Measured:
    """Many callers and one actor, through its mailbox."""
    theirs = partial(channels.ask_at_once, asks, callers, answers_wait)
    return both(partial(actors.ask_at_once, make, asks, callers), theirs, rounds)


def ask_deadline(rounds: int = ROUNDS, asks: int = ASKS) -> Measured:
    """Through the mailbox, with a deadline of its own; against Trio's own way to give the same ask one."""

    async def measure() -> Measured:
        async with open_actors() as system:
            ours, theirs = (
                partial(actors.ask_with_a_deadline, asks, system),
                partial(actors.ask_in_fail_after, asks, system),
            )
            return await interleaved(ours, theirs, rounds)

    return trio.run(measure)


def tell(recipients: int = 1, rounds: int = ROUNDS, tells: int = TELLS) -> Measured:
    """One producer, a message to each of so many in turn."""
    return both(partial(actors.tell, tells, recipients), partial(channels.tell, tells // FEWER, recipients), rounds)


def spawn(rounds: int = ROUNDS, count: int = SPAWNED) -> Measured:
    """From nothing to an actor that takes messages; to a task that waits for them."""
    return both(partial(actors.spawn, count), partial(channels.spawn, count), rounds)


def idle_bytes(rounds: int = 3, count: int = SPAWNED // 5) -> Measured:
    """The heap of one that has had a message and waits for the next."""
    return both(
        lambda system: _heap(lambda n: actors.idle(n, system), count), lambda: _heap(channels.idle, count), rounds
    )


async def _heap(idle: Callable[[int], AbstractAsyncContextManager[list[Any]]], count: int) -> float:
    async with idle(SLOTS_BEFORE):  # not counted: what is made once
        pass
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        async with idle(count) as kept:
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
            assert len(kept) == count
        return (after - before) / count
    finally:
        tracemalloc.stop()


def against_pykka(ours: Ours, theirs: Callable[[], float], rounds: int) -> Measured:
    """Both in this process: while its two threads talk, our loop waits."""

    async def side() -> float:
        return theirs()

    return both(ours, side, rounds)


def pykka_ask(rounds: int = ROUNDS, asks: int = ASKS) -> Measured:
    """One caller; our actor is idle and runs in the caller's own step, theirs has its thread."""
    return against_pykka(partial(actors.ask, IN_CALLERS_STEP, asks * FEWER), partial(threads.ask, asks), rounds)


def pykka_tell(rounds: int = ROUNDS, tells: int = TELLS) -> Measured:
    """One to one; ours waits where there is no room, theirs has no bound."""
    return against_pykka(partial(actors.tell, tells, 1), partial(threads.tell, tells), rounds)


def tail(rounds: int = ROUNDS, asks: int = LATENCIES) -> Measured:
    """p99 of an ask through a mailbox, while one producer saturates another actor."""

    async def ours(system: Actors) -> float:
        return _p99(await actors.latencies(asks, system))

    async def theirs() -> float:
        return _p99(await channels.latencies(asks))

    return both(ours, theirs, rounds)


def _p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]


def grow(rounds: int = 3, few: int = FEW, many: int = MANY) -> Measured:
    """An ask to each of many actors in turn, in units of what it costs among few."""

    async def times(system: Actors) -> float:
        among_few = await actors.ask(IN_CALLERS_STEP, many, system, few)
        return await actors.ask(IN_CALLERS_STEP, many, system, many) / among_few

    async def unit() -> float:
        return 1.0

    return both(times, unit, rounds)


RAW = "two tasks and raw Trio memory channels"
AT_ONCE = "raw channels that answer without waiting"
US = "us CPU per message"


def _cost(
    name: str,
    measure: Callable[[], Measured],
    peer: str,
    goal: float | None,
    unit: str = US,
    ours_max: float | None = None,
) -> Row:
    return Row(name=name, measure=measure, peer=peer, unit=unit, better="less", goal=goal, ours_max=ours_max)


ROWS = (
    _cost("ask_idle", partial(ask, IN_CALLERS_STEP), RAW, 15),
    _cost("ask_idle_lean", partial(ask, LEAN), RAW, 25),
    _cost("ask_queued", partial(ask, QUEUED), RAW, 1.3),
    _cost("ask_1000", partial(ask_at_once, Counter), "1,000 tasks that call one over raw channels", 3),
    _cost("ask_deadline", ask_deadline, "the same ask in trio.fail_after", 1.5),
    _cost("ask_async", partial(ask_at_once, AsyncCounter), "1,000 tasks that call one over raw channels", 2),
    _cost("tell", tell, RAW, 10),
    _cost("fanout", partial(tell, RECIPIENTS), "1,000 tasks with a raw channel each", 8),
    _cost("spawn", spawn, "a task and a channel", 7, unit="us CPU per actor"),
    _cost("idle_bytes", idle_bytes, "a task and a channel", 10, unit="bytes per actor", ours_max=400),
    _cost("pykka_ask", pykka_ask, "pykka", 30),
    _cost("pykka_tell", pykka_tell, "pykka", 4),
    Row(name="tail", measure=tail, peer="raw channels", unit="us p99", better="less", goal=3, at_most=True),
    _cost("grow", grow, "10 actors", None, unit="times the cost among 10 actors"),
    _cost("ask_queued_at_once", partial(ask, QUEUED, answers_wait=False), AT_ONCE, None),
    _cost("ask_1000_at_once", partial(ask_at_once, Counter, answers_wait=False), AT_ONCE, None),
)

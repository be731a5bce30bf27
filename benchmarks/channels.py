"""The peer of the runtime's bench: tasks and raw Trio memory channels, with no actor around them.

Questions and messages go by `await send(…)`, which waits where there is no room, as `ask` and `tell_when_free` do. Answers do the same by
default; with `answers_wait=False` they go by `send_nowait`, which saves a turn of the loop and is right as long as each
caller keeps a channel of its own for one answer at a time. Everything that can be is set up before the clock starts.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle, islice

import trio
import trio.testing

from benchmarks.arrivals import Arrivals
from benchmarks.measure import cost

ROOM = 1024
"""As much as an actor's mailbox has by default."""

Answers = trio.MemorySendChannel[int]
Messages = trio.MemoryReceiveChannel[int]
Questions = trio.MemorySendChannel[tuple[int, Answers]]


@asynccontextmanager
async def _server(answers_wait: bool) -> AsyncIterator[Questions]:
    """A task that adds what it is sent, and answers the sum over the channel that came with it."""
    to_server, questions = trio.open_memory_channel[tuple[int, Answers]](ROOM)

    async def answer() -> None:
        total = 0
        async for number, to_caller in questions:
            total += number
            await to_caller.send(total)

    async def answer_at_once() -> None:
        total = 0
        async for number, to_caller in questions:
            total += number
            to_caller.send_nowait(total)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer if answers_wait else answer_at_once)
        yield to_server
        nursery.cancel_scope.cancel()


async def _call(to_server: Questions, asks: int) -> None:
    to_caller, answers = trio.open_memory_channel[int](1)
    for _ in range(asks):
        await to_server.send((1, to_caller))
        await answers.receive()


async def ask(asks: int, answers_wait: bool = True) -> float:
    """CPU microseconds a question, of one caller and one server."""
    async with _server(answers_wait) as to_server:
        return await cost(lambda: _call(to_server, asks), asks)


async def ask_at_once(asks: int, callers: int, answers_wait: bool = True) -> float:
    """CPU microseconds a question, of many callers and one server."""

    async def everybody() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(callers):
                nursery.start_soon(_call, to_server, asks // callers)

    async with _server(answers_wait) as to_server:
        return await cost(everybody, asks)


async def _take(messages: Messages, arrivals: Arrivals) -> None:
    async for number in messages:
        arrivals.missing -= number
        if not arrivals.missing:
            arrivals.all.set()


async def tell(messages: int, actors: int = 1) -> float:
    """CPU microseconds a message, to each of so many tasks in turn."""
    arrivals = Arrivals(messages)

    async def send_all() -> None:
        for to_actor in islice(cycle(to_actors), messages):
            await to_actor.send(1)
        await arrivals.all.wait()

    async with trio.open_nursery() as nursery:
        to_actors = []
        for _ in range(actors):
            to_actor, inbox = trio.open_memory_channel[int](ROOM)
            to_actors.append(to_actor)
            nursery.start_soon(_take, inbox, arrivals)
        await trio.testing.wait_all_tasks_blocked()
        spent = await cost(send_all, messages)
        nursery.cancel_scope.cancel()
    return spent


async def _drop(messages: Messages) -> None:
    async for _ in messages:
        pass


async def spawn(tasks: int) -> float:
    """CPU microseconds to open a channel and to start a task that waits for a message from it."""
    channels: list[Answers] = []

    async def start_all() -> None:
        for _ in range(tasks):
            to_task, inbox = trio.open_memory_channel[int](ROOM)
            channels.append(to_task)
            nursery.start_soon(_drop, inbox)
        for _ in range(2):  # after the second all of them have run
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        spent = await cost(start_all, tasks)
        nursery.cancel_scope.cancel()
    return spent


@asynccontextmanager
async def idle(tasks: int) -> AsyncIterator[list[Answers]]:
    """So many tasks that have had one message each and wait for the next."""
    async with trio.open_nursery() as nursery:
        channels = []
        for _ in range(tasks):
            to_task, inbox = trio.open_memory_channel[int](ROOM)
            channels.append(to_task)
            nursery.start_soon(_drop, inbox)
        for to_task in channels:
            await to_task.send(1)
        await trio.testing.wait_all_tasks_blocked()
        yield channels
        nursery.cancel_scope.cancel()


async def latencies(asks: int) -> list[float]:
    """Microseconds of each question to one server, while a producer sends another task as much as it takes.

    By the thread's own clock: nothing sleeps here, so it is the wall clock without what other processes take.
    """
    to_busy, messages = trio.open_memory_channel[int](ROOM)
    to_caller, answers = trio.open_memory_channel[int](1)
    times = []

    async def produce() -> None:
        while True:
            await to_busy.send(1)

    async with _server(answers_wait=True) as to_server, trio.open_nursery() as nursery:
        nursery.start_soon(_drop, messages)
        nursery.start_soon(produce)
        for _ in range(asks):
            started = time.thread_time()
            await to_server.send((1, to_caller))
            await answers.receive()
            times.append((time.thread_time() - started) * 1e6)
        nursery.cancel_scope.cancel()
    return times

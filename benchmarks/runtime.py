"""What a message costs: an ask to an idle actor, everything on, against two tasks that talk over raw Trio memory channels."""

import math
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import trio

from benchmarks.account import AskBalance, Clerk
from benchmarks.measure import Measured, Row
from runtime.clock import SystemClock
from runtime.codec import Codec
from runtime.delivery import Context
from runtime.ids import Ids
from runtime.store.sqlite import SqliteStore
from runtime.system import Role, System, open_system
from runtime.transparency import Signer

ROUNDS = 7
ASKS = 20_000
CONTEXT = Context(tenant="bench", principal="bench")


def ask_idle(rounds: int = ROUNDS, asks: int = ASKS) -> Measured:
    """CPU microseconds a message: one caller, one actor with a plain handler that answers at once."""
    return trio.run(_ask_idle, rounds, asks)


async def _ask_idle(rounds: int, asks: int) -> Measured:
    ours, theirs = [], []
    clock = SystemClock()
    with tempfile.TemporaryDirectory() as folder:
        codec = Codec([sys.modules["benchmarks.account"]])
        store = SqliteStore(Path(folder) / "journal.db", codec, Signer.load_or_make(Path(folder) / "journal-key"))
        try:
            async with open_system(store, [Role(Clerk)], clock=clock, ids=Ids(clock)) as system:
                await _ask(system, asks // 10)
                for _ in range(rounds):
                    ours.append(await _cost(partial(_ask, system, asks), asks))
                    theirs.append(await _cost(partial(_talk, asks), asks))
        finally:
            store.close()
    return Measured(ours=ours, theirs=theirs)


async def _cost(work: Callable[[], Awaitable[None]], messages: int) -> float:
    started = time.process_time()
    await work()
    return (time.process_time() - started) / messages * 1e6


async def _ask(system: System, asks: int) -> None:
    question = AskBalance(account="a")
    for _ in range(asks):
        await system.ask(question, CONTEXT)


async def _talk(asks: int) -> None:
    """Two tasks, one channel each way."""
    to_actor, questions = trio.open_memory_channel[int](math.inf)
    to_caller, answers = trio.open_memory_channel[int](math.inf)

    async def answer() -> None:
        async for question in questions:
            await to_caller.send(question)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        for number in range(asks):
            await to_actor.send(number)
            await answers.receive()
        await to_actor.aclose()


ROWS = (
    Row(
        name="ask_idle",
        measure=ask_idle,
        peer="two tasks and raw Trio memory channels",
        unit="us CPU per message",
        better="less",
        goal=15,
    ),
)

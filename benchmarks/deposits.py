"""Many callers who deposit at once, each waiting for the commit: the load of the rows that compare two journals of ours."""

import time
from typing import NamedTuple

import trio

from benchmarks.account import Deposit
from runtime.delivery import Context
from runtime.system import System

CONTEXT = Context(tenant="bench", principal="bench")


class Pace(NamedTuple):
    """Commands per second, and microseconds of CPU of all threads for each."""

    per_second: float
    cpu_microseconds: float


async def deposits(system: System, names: list[str], seconds: float) -> Pace:
    """One caller for each account, for so long."""
    count, began, cpu = 0, time.perf_counter(), time.process_time()

    async def call(name: str) -> None:
        nonlocal count
        while time.perf_counter() < began + seconds:
            await system.ask(Deposit(account=name, cents=1), CONTEXT)
            count += 1

    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(call, name)
    return Pace(count / (time.perf_counter() - began), (time.process_time() - cpu) / count * 1e6)

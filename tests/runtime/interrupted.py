"""A busy system for a process of its own, interrupted at any moment and begun again. Prints `ready`, then how it has ended."""

import gc
import io
import random
import signal
import sys
import traceback
from typing import Any

import trio

from runtime.actor import Actor, Reply, reply
from runtime.actors import Actors, Here, Props, open_actors
from runtime.errors import Crashed, Overloaded, Unreachable
from runtime.records import Command
from runtime.ref import ActorRef
from runtime.telemetry import configure


class Step(Command[int], frozen=True, kw_only=True):
    left: int


class Adds(Actor[Step, None]):
    def handle(self, message: Step) -> Reply:
        return reply(message, sum(range(50)))


class Passes(Actor[Step, None]):
    """Asks others, in nurseries and under deadlines, and has work and timers beside it."""

    def __init__(self, here: Here, others: list[ActorRef]) -> None:
        super().__init__(here)
        self.here: Here = here
        self.others = others

    async def handle(self, message: Step) -> Reply:
        if message.left == 0:
            return reply(message, 0)
        self.here.timers.start("key", Step(left=0), 0.001, every=0.001)
        self.here.run(self._work)
        async with trio.open_nursery() as nursery:
            for other in random.sample(self.others, 2):
                nursery.start_soon(other.ask, Step(left=0))
        await trio.sleep(random.random() / 1000)
        return reply(message, 1)

    async def _work(self) -> None:
        await self.others[0].ask(Step(left=0))


@trio.lowlevel.enable_ki_protection  # Python itself may be interrupted between a call and its `await`
async def ask_on(ref: ActorRef, asked: Any) -> None:
    while True:
        try:
            with trio.move_on_after(random.random() / 100):
                await ref.ask(Step(left=1))
            ref.tell(Step(left=0)) if random.random() < 0.1 else await ref.tell_when_free(Step(left=0))
        except Overloaded:
            await trio.lowlevel.checkpoint()
        except (Crashed, Unreachable):
            return  # told that the system ends, or by somebody who was told so in a nursery


async def main() -> None:
    actors: Actors
    async with open_actors(stop_seconds_max=1) as actors, trio.open_nursery() as nursery:
        plain = [actors.spawn(Adds, None, Props(caller_runs=bool(number % 2))) for number in range(4)]
        refs = [actors.spawn(lambda here: Passes(here, plain), None, Props(mailbox_max=8)) for _ in range(4)]
        for number in range(20):
            nursery.start_soon(ask_on, [*plain, *refs][number % 8], number)
        for _ in range(50):
            await trio.lowlevel.checkpoint()
        print("ready", flush=True)


def interruptions(error: BaseException) -> bool:
    """Whether it is nothing but Ctrl-C."""
    if isinstance(error, BaseExceptionGroup):
        return all(interruptions(one) for one in error.exceptions)
    return isinstance(error, KeyboardInterrupt)


def run_once() -> str:
    """How it ended, once all that was left over has been collected."""
    try:
        trio.run(main)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the test wants to know
        how = "interrupted" if interruptions(error) else "".join(traceback.format_exception(error))
    else:
        how = "by itself"
    gc.collect()
    return how


if __name__ == "__main__":
    # Whoever is started in the background of a shell inherits that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    configure("console", "critical", stream=io.StringIO())
    sys.unraisablehook = lambda unraisable: print("unraisable", unraisable.exc_value, unraisable.object, flush=True)
    for _ in range(int(sys.argv[1])):
        print(run_once(), flush=True)

"""The kernel and the obvious actor, told the same by the same random programs, do the same."""

import random
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from runtime.actor import Actor, Reply, reply
from runtime.actors import Props, open_actors
from runtime.errors import Crashed, Refused
from runtime.records import Command
from runtime.supervision import Supervision
from tests.runtime.puppets import nothing_is_left
from tests.runtime.twin import NaiveRef

STEPS = ("ask", "ask", "ask", "tell", "tell", "refuse", "crash", "rest")


class Step(Command[Any], frozen=True, kw_only=True):
    sender: int
    number: int
    how: str


class Program:
    """What each sender does in turn, and what was seen of it."""

    def __init__(self, seed: int, actors: int, senders: int, steps: int) -> None:
        chance = random.Random(seed)
        self.steps = [[(chance.choice(STEPS), chance.randrange(actors)) for _ in range(steps)] for _ in range(senders)]
        self.handled: list[list[Step]] = [[] for _ in range(actors)]
        self.answers: list[list[Any]] = [[] for _ in range(senders)]

    def handle(self, actor: int, step: Step) -> Reply:
        self.handled[actor].append(step)
        if step.how == "refuse":
            raise Refused("no")
        if step.how == "crash":
            raise ValueError("crash")
        return reply(step, (actor, step.sender, step.number))

    async def send(self, sender: int, refs: list[Any]) -> None:
        for number, (how, actor) in enumerate(self.steps[sender]):
            step = Step(sender=sender, number=number, how=how)
            if how == "rest":
                await trio.lowlevel.checkpoint()
            elif how == "tell":
                refs[actor].tell(step)
            else:
                try:
                    self.answers[sender].append(await refs[actor].ask(step))
                except (Refused, Crashed) as failure:
                    self.answers[sender].append((type(failure).__name__, number))

    async def run(self, refs: list[Any]) -> None:
        async with trio.open_nursery() as nursery:
            for sender in range(len(self.steps)):
                nursery.start_soon(self.send, sender, refs)
        for ref in refs:
            await ref.ask(Step(sender=-1, number=0, how="ask"))

    def seen(self) -> Any:
        """Each sender's answers, and what each actor has handled of each sender, in order."""
        by_sender = [
            [[step.number for step in handled if step.sender == sender] for sender in range(len(self.steps))]
            for handled in self.handled
        ]
        return self.answers, by_sender


def plain(program: Program, actor: int) -> Callable[..., Actor[Any, Any]]:
    class Plain(Actor[Step, None]):
        def handle(self, message: Step) -> Reply:
            return program.handle(actor, message)

    return Plain


def waits(program: Program, actor: int) -> Callable[..., Actor[Any, Any]]:
    class Waits(Actor[Step, None]):
        async def handle(self, message: Step) -> Reply:
            for _ in range(message.number % 3):
                await trio.lowlevel.checkpoint()
            return program.handle(actor, message)

    return Waits


@asynccontextmanager
async def twins(program: Program, kinds: list[Any]):
    async with trio.open_nursery() as nursery:
        refs = [NaiveRef(partial(kind(program, number), None)) for number, kind in enumerate(kinds)]
        for ref in refs:
            nursery.start_soon(ref.run)
        yield refs
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def kernel(program: Program, kinds: list[Any], props: list[Props]):
    async with open_actors() as actors:
        yield [
            actors.spawn(kind(program, number), None, props[number % len(props)]) for number, kind in enumerate(kinds)
        ]
        nothing_is_left(actors)


async def seen_with(opened: Any, program: Program) -> Any:
    async with opened as refs:
        await program.run(refs)
    return program.seen()


ENDURING = Supervision(restarts_max=10_000)
BOUNDS = [
    Props(supervision=ENDURING),
    Props(supervision=ENDURING, caller_runs=False),
    Props(supervision=ENDURING, caller_runs=False, mailbox_max=600),
]


@settings(max_examples=200)
@given(seed=st.integers(0, 2**32), actors=st.integers(1, 6), senders=st.integers(1, 12), steps=st.integers(1, 40))
def test_the_kernel_does_what_the_obvious_actor_does(seed: int, actors: int, senders: int, steps: int) -> None:
    async def main() -> None:
        kinds = [random.Random(seed + n).choice([plain, waits]) for n in range(actors)]
        ours, theirs = (Program(seed, actors, senders, steps) for _ in range(2))
        assert await seen_with(kernel(ours, kinds, BOUNDS), ours) == await seen_with(twins(theirs, kinds), theirs)

    with capture_logs():  # hundreds of stacks
        trio.run(main)


async def test_senders_that_wait_for_room_are_handled_once_each_and_in_their_order() -> None:
    program = Program(1, 1, 40, 0)

    async def send(ref: Any, sender: int) -> None:
        for number in range(25):
            await ref.tell_when_free(Step(sender=sender, number=number, how="tell"))

    async with kernel(program, [waits], [Props(mailbox_max=3)]) as [ref], trio.open_nursery() as nursery:
        for sender in range(40):
            nursery.start_soon(send, ref, sender)
        nursery.start_soon(_until, lambda: len(program.handled[0]) == 1000)
    assert program.seen()[1] == [[list(range(25))] * 40]


async def _until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("kind", [plain, waits])
async def test_an_ask_without_an_answer_yet_is_never_given_somebody_elses(kind: Any) -> None:
    """A late answer to a caller who has left must not reach whoever asks next."""
    program = Program(2, 1, 1, 0)
    async with kernel(program, [kind], [Props(caller_runs=False)]) as [ref]:
        for number in range(200):
            with trio.move_on_after(0) if number % 2 else trio.CancelScope():
                answer: Awaitable[Any] = ref.ask(Step(sender=7, number=number, how="ask"))
                assert await answer == (0, 7, number)
        assert await ref.ask(Step(sender=8, number=0, how="ask")) == (0, 8, 0)

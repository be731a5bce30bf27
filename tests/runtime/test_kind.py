"""What is measured of a kind's messages, and that nothing but the measuring depends on it."""

from typing import Any

import pytest
import trio

from runtime.actor import Actor, Reply, Stashed, reply
from runtime.actors import Actors, Here, Props, open_actors
from runtime.errors import Crashed, NotAnswered, Refused, Unreachable
from runtime.kind import MEASURED_FIRST, MEASURED_THEN_EVERY
from runtime.records import Command
from runtime.ref import ActorRef
from tests.runtime.puppets import nothing_is_left


class Say(Command[Any], frozen=True, kw_only=True):
    what: str


class Parrot(Actor[Any, None]):
    """Keeps quiet until it is told to speak; is refused what is rude, and fails at what is unspeakable."""

    takes = (Say,)

    def __init__(self, here: Here) -> None:
        super().__init__(here)
        self.here: Here = here
        self.is_quiet = False
        self.heard: list[tuple[str, int]] = []

    def handle(self, message: Say) -> Reply | Stashed | None:
        match message.what:
            case "quiet":
                self.is_quiet = True
            case "speak":
                self.is_quiet = False
                self.here.unstash()
            case "rude":
                raise Refused("rude")
            case "unspeakable":
                raise ValueError
            case "sulk":
                self.here.stop_soon("offended")
            case "and then":
                self.here.ref.tell(Say(what="then"))
            case "heard":
                return reply(message, list(self.heard))
            case word if self.is_quiet:
                return self.here.stash()
            case word:
                current = self.here.current
                assert current is not None
                assert current.message is message
                self.heard.append((word, current.id - current.cause if current.cause else 0))
                return reply(message, word)
        return None


async def outcomes(ref: ActorRef) -> list[Any]:
    """What a caller hears of everything that a message can meet."""
    heard: list[Any] = []

    async def ask(what: str, **settings: Any) -> None:
        try:
            heard.append((what, await ref.ask(Say(what=what), **settings)))
        except (Refused, Crashed, NotAnswered, Unreachable) as error:
            heard.append((what, type(error).__name__))

    for what in ("hello", "rude", "and then", "heard", "quiet"):
        await ask(what)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "later")
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0) as scope:
            await ask("never, its caller leaves")
        assert scope.cancelled_caught
        await ask("never, its time is over", seconds=0)
        ref.tell(Say(what="speak"))
    for what in ("heard", "unspeakable", "heard", "sulk", "hello"):
        await ask(what)
    return heard


async def in_full(actors: Actors, props: Props) -> list[Any]:
    ref = actors.spawn(Parrot, props=props)
    told = await outcomes(ref)
    nothing_is_left(actors)
    return told


@pytest.mark.parametrize("caller_runs", [False, True])
async def test_an_actor_whose_times_nobody_wants_does_all_else_that_others_do(caller_runs: bool) -> None:
    async with open_actors() as actors:
        measured = await in_full(actors, Props(caller_runs=caller_runs))
        lean = await in_full(actors, Props(caller_runs=caller_runs, telemetry=False))
        assert measured == lean
        assert [one[1] for one in lean if one[0] in ("rude", "unspeakable", "hello", "never, its time is over")] == [
            "hello",
            "Refused",
            "NotAnswered",
            "Crashed",
            "Unreachable",
        ]
        times = [sum(kind.handled_ns) + sum(kind.waited_ns) for kind in actors.kinds()]
        assert times[0] > 0
        assert times[1] == 0, "its times are not measured"


async def test_in_its_askers_step_a_message_has_all_that_it_has_from_a_mailbox() -> None:
    """It is made only when somebody wants it: its number, cause and context are those of its ask all the same."""
    async with open_actors() as actors:
        free, queued = (actors.spawn(Parrot, props=Props(caller_runs=runs)) for runs in (True, False))
        for ref in (free, queued):
            await ref.ask(Say(what="and then"))  # the next message is caused by this one, and is one younger
            assert await ref.ask(Say(what="heard")) == [("then", 1)]


@pytest.mark.parametrize("caller_runs", [False, True])
async def test_the_first_messages_of_a_kind_are_all_measured_and_later_ones_stand_for_others(caller_runs: bool) -> None:
    async with open_actors() as actors:
        ref = actors.spawn(Parrot, props=Props(caller_runs=caller_runs))
        [kind] = actors.kinds()
        for count in range(1, MEASURED_FIRST + 1):
            await ref.ask(Say(what="hello"))
            assert sum(kind.handled_ns) == count
        for _ in range(100 * MEASURED_THEN_EVERY):
            await ref.ask(Say(what="hello"))
        total = MEASURED_FIRST + 100 * MEASURED_THEN_EVERY
        assert abs(sum(kind.handled_ns) - total) < MEASURED_THEN_EVERY
        assert kind.measured == MEASURED_FIRST
        if not caller_runs:
            assert kind.waited_ns != [0] * 65
            assert sum(kind.waited_ns) == sum(kind.handled_ns)


async def test_what_waits_when_measuring_grows_rarer_counts_as_what_it_stands_for() -> None:
    async with open_actors() as actors:
        ref = actors.spawn(Parrot, props=Props(mailbox_max=2 * MEASURED_FIRST))
        [kind] = actors.kinds()
        for _ in range(2 * MEASURED_FIRST):
            ref.tell(Say(what="hello"))
        await ref.ask(Say(what="heard"))
        assert abs(sum(kind.handled_ns) - 2 * MEASURED_FIRST) <= MEASURED_THEN_EVERY
        assert kind.all_measured_until == MEASURED_FIRST


async def test_no_rhythm_of_messages_hides_one_kind_from_being_measured() -> None:
    """Of two kinds that are asked in turn, both are measured alike."""

    class Other(Parrot):
        pass

    async with open_actors() as actors:
        refs = [actors.spawn(Parrot), actors.spawn(Other)]
        rounds = MEASURED_FIRST + 20 * MEASURED_THEN_EVERY
        for _ in range(rounds):
            for ref in refs:
                await ref.ask(Say(what="hello"))
        for kind in actors.kinds():
            assert abs(sum(kind.handled_ns) - rounds) < MEASURED_THEN_EVERY


async def test_what_the_gone_have_handled_is_counted_still() -> None:
    async with open_actors() as actors:
        ref = actors.spawn(Parrot)
        for _ in range(3):
            await ref.ask(Say(what="hello"))
        await ref.ask(Say(what="sulk"))
        [kind] = actors.kinds()
        assert not ref.alive
        assert kind.handled_by_gone == 4

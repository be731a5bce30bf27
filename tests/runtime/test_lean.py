"""Actors whose times are not measured do all else that others do."""

from typing import Any

import pytest
import trio

from runtime.actor import Actor, Reply, Stashed, reply
from runtime.actors import Actors, Props, open_actors
from runtime.errors import Crashed, Refused
from runtime.records import Command
from runtime.ref import ActorRef


class Say(Command[Any], frozen=True, kw_only=True):
    what: str


class Parrot(Actor[Any, None]):
    """Keeps quiet until it is told to speak; is refused what is rude, and fails at what is unspeakable."""

    __slots__ = ("is_quiet",)
    takes = (Say,)

    def __init__(self, here: Any) -> None:
        super().__init__(here)
        self.is_quiet = False

    def handle(self, message: Say) -> Reply | Stashed | None:
        match message.what:
            case "quiet":
                self.is_quiet = True
            case "speak":
                self.is_quiet = False
                self.here.unstash()  # type: ignore[attr-defined]
            case "rude":
                raise Refused("rude")
            case "unspeakable":
                raise ValueError
            case word if self.is_quiet:
                return self.here.stash()  # type: ignore[attr-defined,no-any-return]
            case word:
                return reply(message, (word, self.here.current.cause))  # type: ignore[attr-defined]
        return None


def parrot(actors: Actors, caller_runs: bool) -> ActorRef:
    return actors.spawn(Parrot, props=Props(caller_runs=caller_runs, telemetry=False))


@pytest.mark.parametrize("caller_runs", [False, True])
async def test_a_lean_actor_answers_refuses_fails_and_puts_aside_like_any_other(caller_runs: bool) -> None:
    async with open_actors() as actors:
        ref = parrot(actors, caller_runs)
        assert await ref.ask(Say(what="hello")) == ("hello", 0)
        with pytest.raises(Refused):
            await ref.ask(Say(what="rude"))
        with pytest.raises(Crashed):
            await ref.ask(Say(what="unspeakable"))
        await ref.ask(Say(what="quiet"))
        answers = []
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                answers.append(await ref.ask(Say(what="later")))

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            assert answers == []
            ref.tell(Say(what="speak"))
        assert answers == [("later", 0)]
        [kind] = actors.kinds()
        assert kind.restarts == 1
        assert sum(kind.handled_ns) == 0, "its times are not measured"


async def test_an_actor_has_its_times_measured_unless_it_is_told_not_to() -> None:
    async with open_actors() as actors:
        ref = actors.spawn(Parrot)
        for _ in range(3):
            await ref.ask(Say(what="hello"))
        [kind] = actors.kinds()
        assert sum(kind.handled_ns) == 3

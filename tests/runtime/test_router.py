"""Messages find their actor by their type: one, a pool, or one by key; nobody's are refused or kept as dead letters."""

from typing import Any, assert_type

import pytest
import trio.testing

from runtime.actor import Actor, Reply, reply
from runtime.actors import Here, Props, open_actors
from runtime.errors import AskCycle, Unreachable
from runtime.keyed import spawn_keyed
from runtime.pools import RoundRobin, spawn_pool
from runtime.records import Command
from tests.runtime.keys import Hear, Plain, Story, key_of

blocked = trio.testing.wait_all_tasks_blocked


class Square(Command[int], frozen=True, kw_only=True):
    number: int


class Say(Command[str], frozen=True, kw_only=True):
    text: str


class Unknown(Command[None], frozen=True, kw_only=True):
    pass


class Squares(Actor[Square, None]):
    takes = (Square,)

    def handle(self, message: Square) -> Reply:
        return reply(message, message.number**2)


class Speaker(Actor[Say, None]):
    """Asks and tells by type alone."""

    takes = (Say,)

    def __init__(self, here: Here) -> None:
        super().__init__(here)
        self.here: Here = here

    async def handle(self, message: Say) -> Reply:
        match message.text:
            case "tell":
                self.here.tell(Hear(key="a"))
                self.here.tell(Unknown())
            case "round":
                await self.here.ask(Say(text="again"))
            case "unknown":
                await self.here.ask(Unknown())
        nine = await self.here.ask(Square(number=3))
        return reply(message, f"{message.text} {nine}")


async def test_actors_and_others_reach_each_other_by_the_type_of_a_message() -> None:
    story = Story()
    async with open_actors() as actors:
        actors.router.add(spawn_pool(actors, Squares, "pool", 2, RoundRobin()))
        actors.router.add(actors.spawn(Speaker, "speaker"), Say)
        actors.router.add(spawn_keyed(actors, lambda here, key: Plain(here, key, story), "plain", key_of), Hear)
        assert_type(await actors.router.ask(Square(number=2)), int)
        assert await actors.router.ask(Say(text="tell")) == "tell 9"
        actors.router.tell(Hear(key="b"))
        await actors.router.tell_when_free(Hear(key="b"))
        assert await actors.router.ask(Hear(key="a")) == 2
        assert await actors.router.ask(Hear(key="b")) == 3
        with pytest.raises(AskCycle, match="speaker → speaker"):
            await actors.router.ask(Say(text="round"))
        assert sorted(one.__name__ for one in actors.router.types()) == ["Hear", "Say", "Square"]


async def test_what_nobody_takes_is_refused_to_an_asker_and_a_dead_letter_of_a_teller() -> None:
    async with open_actors() as actors:
        actors.router.add(actors.spawn(Speaker, "speaker"))
        actors.router.add(actors.spawn(Squares))
        for ask in (actors.router.ask(Unknown()), actors.router.ask(Say(text="unknown"))):
            with pytest.raises(Unreachable, match="nobody takes Unknown"):
                await ask
        actors.router.tell(Unknown())
        await actors.router.tell_when_free(Unknown())
        letters = actors.dead_letters.newest()
        assert [(letter.message, letter.ref.path, letter.reason) for letter in letters] == [
            (Unknown(), "nobody", "nobody takes its type")
        ] * 2


async def test_a_type_is_taken_once_and_the_error_names_both() -> None:
    async with open_actors() as actors:
        first, second = actors.spawn(Squares, "first"), actors.spawn(Squares, "second")
        actors.router.add(first)
        with pytest.raises(ValueError, match="Square is taken by first already, second can't take it too"):
            actors.router.add(second, Say, Square)
        with pytest.raises(Unreachable):
            await actors.router.ask(Say(text=""))
        actors.router.remove(Square)
        actors.router.add(second)
        assert actors.router.types() == {Square: second}
        with pytest.raises(KeyError):
            actors.router.remove(Say)


async def test_who_does_not_say_what_it_takes_is_given_types() -> None:
    class Anything(Actor[Any, None]):
        pass

    async with open_actors() as actors:
        with pytest.raises(ValueError, match="some says of no type that it takes it: name them"):
            actors.router.add(actors.spawn(Anything, "some"))


async def test_one_that_is_gone_is_not_replaced_by_nobody() -> None:
    async with open_actors() as actors:
        ref = actors.spawn(Squares, "squares", Props(caller_runs=False))
        actors.router.add(ref)
        await ref.stop()
        with pytest.raises(Unreachable, match="squares is gone"):
            await actors.router.ask(Square(number=2))
        actors.router.tell(Square(number=2))
        assert [letter.ref for letter in actors.dead_letters.newest()] == [ref]

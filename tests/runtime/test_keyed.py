"""Actors by key: made by their first message, passivated when idle, and no message lost, doubled or overtaken meanwhile."""

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from runtime.actor import Actor, Reply, reply
from runtime.actors import Actors, Here, Props, open_actors
from runtime.errors import AskCycle, Crashed, Exhausted, NotAnswered, Unreachable
from runtime.group import is_idle
from runtime.keyed import Keyed, spawn_keyed
from runtime.ref import ActorRef
from runtime.supervision import Backoff, Directive, Supervision
from tests.runtime import puppets
from tests.runtime.keys import Hear, Plain, Story, Waiter, forever, key_of

blocked = trio.testing.wait_all_tasks_blocked


def family_of(actors: Actors, story: Story, actor: type[Plain] = Plain, **settings: Any) -> Keyed[str]:
    return spawn_keyed(actors, lambda here, key: actor(here, key, story), "family", key_of, **settings)


def hear(key: str, number: int = 0, what: Callable[[Any], Any] | None = None) -> Hear:
    return Hear(key=key, number=number, what=what)


def boom(_: object) -> None:
    raise ValueError("boom")


async def test_the_first_message_for_a_key_makes_its_actor() -> None:
    story = Story()
    async with open_actors() as actors:
        family = family_of(actors, story)
        assert family.find("a") is None
        assert [await family.ask(hear(key)) for key in "aba"] == [1, 1, 2]
        family.tell(hear("a"))
        await family.tell_when_free(hear("c"))
        assert await family.ask(hear("a")) == 4
        found = family.find("a")
        assert found is not None
        assert found.path == "family/a"
        assert (family.live, family.made, family.passivated) == (3, 3, 0)
    assert not story.live


async def test_who_is_idle_for_long_is_passivated_and_the_next_message_makes_a_new_one(autojump_clock: Any) -> None:
    story = Story()
    async with open_actors() as actors:
        family = family_of(actors, story, idle_seconds=40.0)
        await family.ask(hear("a"))
        await trio.sleep(30)
        await family.ask(hear("b"))
        await trio.sleep(9.9)
        assert story.live == {"a", "b"}
        await trio.sleep(15)
        assert story.live == {"b"}
        assert await family.ask(hear("a")) == 1
        await trio.sleep(60)
        assert (family.live, family.made, family.passivated) == (0, 3, 3)


async def test_others_are_served_while_very_many_are_passivated() -> None:
    story = Story()
    async with open_actors() as actors:
        family, other = family_of(actors, story), actors.spawn(Other, props=Props(caller_runs=False))
        for number in range(5000):
            await family.ask(hear(str(number)))
        family.live_max = 1
        await family.ask(hear("first"))
        await other.ask(hear("x"))
        assert family.live > 4000
        await blocked()
        assert (family.live, family.passivated) == (1, 5000)


class Other(Actor[Hear, None]):
    def handle(self, message: Hear) -> Reply:
        return reply(message, 0)


async def test_who_is_used_again_and_again_stays(autojump_clock: Any) -> None:
    story = Story()
    async with open_actors() as actors:
        family = family_of(actors, story, idle_seconds=10.0)
        for count in range(1, 20):
            assert await family.ask(hear("a")) == count
            await trio.sleep(9.9)


async def test_the_least_recently_used_goes_where_too_many_live() -> None:
    story = Story()
    async with open_actors() as actors:
        family = family_of(actors, story, live_max=3)
        for key in "abcad":
            await family.ask(hear(key))
        assert story.live == {"a", "c", "d"}
        assert story.live_peak == 3


@pytest.mark.parametrize("why", ["handler", "queue", "work", "stash", "timer", "child", "below"])
async def test_who_is_busy_is_never_passivated(why: str) -> None:
    story = Story()

    def busy(self: Any) -> None:
        match why:
            case "queue":
                self.here.ref.tell(hear("a", 2))
            case "work":
                self.here.run(forever, None)
            case "stash":
                self.here.stash()
            case "timer":
                self.here.timers.start("key", hear("a"), 1000.0)
            case "child":
                child = self.here.spawn(lambda here: Waiter(here, "child", story))
                child.tell(hear("child", 0, forever))
            case "below":
                child = self.here.spawn(lambda here: Plain(here, "child", story))
                child.tell(hear("child", 0, lambda it: it.here.run(forever, None)))

    async with open_actors(stop_seconds_max=0.01) as actors:
        family = family_of(actors, story, Waiter if why == "handler" else Plain, live_max=1)
        if why == "handler":
            family.tell(hear("a", 1, forever))
        else:
            family.tell(hear("a", 1, busy))
        if why != "queue":
            await blocked()
        assert not family.passivate("a")
        family.tell(hear("b"))
        family.tell(hear("c"))
        assert "a" in story.live
        await blocked()
        assert ("a" in story.live) == (why != "queue")


async def test_messages_wait_for_the_next_incarnation_while_one_says_farewell() -> None:
    story, done = Story(), trio.Event()
    answers: dict[int, int] = {}

    async def ask(family: Keyed[str], number: int) -> None:
        answers[number] = await family.ask(hear("a", number))

    async with open_actors() as actors, trio.open_nursery() as nursery:
        family = family_of(actors, story, Waiter, farewell=done)
        await family.ask(hear("a", 0))
        old = family.find("a")
        assert old is not None
        assert family.passivate("a")
        assert not family.passivate("a")
        for number in range(1, 4):
            nursery.start_soon(ask, family, number)
            await blocked()
        old.tell(hear("a", 4))
        with trio.move_on_after(0):
            await family.ask(hear("a", 5))
        with pytest.raises(NotAnswered):
            await family.ask(hear("a", 6), seconds=0.01)
        assert answers == {}
        assert sorted(cell.path for cell in actors.walk()) == ["family", "family/a", "family/a (leaving)"]
        done.set()
        await blocked()
        assert answers == {1: 1, 2: 2, 3: 3}
    heard: list[tuple[str, str, Any]] = [("heard", "a", number) for number in range(5)]
    born, gone = ("begun", "a", None), ("ended", "a", None)
    assert story.lines == [born, heard[0], ("farewell", "a", done), gone, born, *heard[1:], gone]


async def test_every_address_of_a_key_leads_to_whoever_lives() -> None:
    story = Story()
    async with open_actors() as actors:
        family = family_of(actors, story)
        dormant = family.ref("a")
        assert (dormant.alive, family.live) == (False, 0)
        assert await dormant.ask(hear("a")) == 1
        refs = []
        await dormant.ask(hear("a", 0, lambda self: refs.append(self.here.ref)))
        assert family.passivate("a")
        assert await refs[0].ask(hear("a")) == 1
        refs[0].tell(hear("a"))
        assert await dormant.ask(hear("a")) == 3
        assert family.made == 2


async def test_the_last_words_of_one_that_goes_may_be_for_itself_and_for_others() -> None:
    story = Story()
    async with open_actors() as actors:
        family = family_of(actors, story, live_max=2)
        left = ["b", "a"]

        def last_words(key: str) -> None:
            if left:
                family.tell(hear(left.pop(), 7))
                family.tell(hear("z", 8))

        story.last_words = last_words
        for key in "abc":
            assert await family.ask(hear(key)) == 1
        await blocked()
        assert story.heard("a") == [0, 7]
        assert sorted(story.heard("z")) == [8, 8]
        assert family.live <= 2


async def test_the_last_words_of_one_that_goes_may_be_for_the_one_that_it_makes_room_for() -> None:
    story = Story()
    async with open_actors() as actors:
        family = family_of(actors, story, live_max=1)
        await family.ask(hear("a"))
        story.last_words = lambda key: family.tell(hear("b", 1)) if key == "a" else None
        assert await family.ask(hear("b", 2)) == 2
        assert story.heard("b") == [1, 2]


async def test_last_words_that_make_others_do_not_nest() -> None:
    story = Story()
    async with open_actors() as actors:
        family = family_of(actors, story)
        for number in range(2000):
            await family.ask(hear(f"old {number}"))
        family.live_max = 1
        story.last_words = lambda key: family.tell(hear(key.replace("old", "new"))) if "old" in key else None
        await family.ask(hear("first"))
        await blocked()
        assert (family.made, family.live) == (4001, 1)
        assert not actors.counts["crashed"]


async def test_one_that_stops_itself_turns_away_what_waited_and_is_made_anew() -> None:
    story = Story()
    async with open_actors() as actors:
        family = family_of(actors, story)
        family.tell(hear("a", 1, lambda self: self.here.stop_soon("enough")))
        family.tell(hear("a", 2))
        await blocked()
        assert [letter.message.number for letter in actors.dead_letters.newest()] == [2]
        assert await family.ask(hear("a", 3)) == 1
        assert story.heard() == [1, 3]


async def test_one_that_is_stopped_while_it_waits_for_the_one_before_leaves_that_one_alone() -> None:
    story, done = Story(), trio.Event()
    async with open_actors() as actors:
        family = family_of(actors, story, Waiter, farewell=done)
        await family.ask(hear("a", 0))
        family.passivate("a")
        for number in (1, 2):
            family.tell(hear("a", number))
            waiting = family.find("a")
            assert waiting is not None
            waiting.stop_soon("not wanted")
        family.tell(hear("a", 3))
        await blocked()
        assert story.live == {"a"}
        done.set()
        await blocked()
        assert story.heard() == [0, 3]
        assert [letter.message.number for letter in actors.dead_letters.newest()] == [2, 1]


async def test_a_farewell_that_fails_ends_its_actor_and_the_next_one_lives() -> None:
    class Rude(Plain):
        def handle(self, message: Any) -> Any:
            if message == "farewell":
                raise ValueError("boom")
            return super().handle(message)

    story = Story()
    async with open_actors() as actors:
        backoff = Supervision(backoff=Backoff(seconds=1000.0))
        family = family_of(actors, story, Rude, farewell="farewell", props=Props(supervision=backoff))
        await family.ask(hear("a"))
        family.passivate("a")
        family.tell(hear("a", 1))
        assert await family.ask(hear("a", 2)) == 2
        assert actors.counts["crashed"] == 1


async def test_a_circle_through_one_that_leaves_is_found() -> None:
    story = Story()
    async with open_actors() as actors:
        errors: list[AskCycle] = []

        class Saver(Waiter):
            async def handle(self, message: Any) -> Any:  # type: ignore[override]
                if message == "farewell":
                    with pytest.raises(AskCycle, match=r"b → .*a → .*a .leaving. → .*b") as caught:
                        await family.ask(hear("b", 0, lambda _: family.ask(hear("a"))))
                    errors.append(caught.value)
                    return None
                return await super().handle(message)

        family = family_of(actors, story, Saver, farewell="farewell")
        await family.ask(hear("a"))
        family.passivate("a")
        await blocked()
        assert len(errors) == 1
        assert await family.ask(hear("a")) == 1


async def test_a_key_whose_constructor_raises_is_given_up_and_tried_anew_by_the_next_message() -> None:
    left = [6]

    class Late(Plain):
        def __init__(self, here: Any, key: str, story: Story) -> None:
            if left[0] and key == "bad":
                left[0] -= 1
                raise ValueError("not yet")
            super().__init__(here, key, story)

    story = Story()
    with capture_logs():
        await _tries_late(story, left, Late)


async def _tries_late(story: Story, left: list[int], late: type[Plain]) -> None:
    async with open_actors() as actors:
        family = family_of(actors, story, late)
        with pytest.raises(Unreachable, match=r"failed .error"):
            await family.ask(hear("bad"))
        assert await family.ask(hear("good")) == 1
        assert (family.live, left) == (1, [0])
        assert await family.ask(hear("bad")) == 1
        left[0] = 3
        family.passivate("bad")
        family.tell(hear("bad", 5))
        assert await family.ask(hear("bad", 6)) == 2


async def test_a_restart_storm_of_many_keys_loses_only_what_failed(autojump_clock: Any) -> None:
    keys, rounds = [str(number) for number in range(300)], 10
    story = Story()
    async with open_actors() as actors:
        props = Props(supervision=Supervision(backoff=Backoff(), restarts_max=3, exhausted=Directive.STOP))

        class Storm(Plain):
            def stopped(self) -> None:
                story.live.discard(self.key)

            def handle(self, message: Any) -> Any:
                if message.what is not None:
                    story.live.discard(self.key)
                return super().handle(message)

        family = family_of(actors, story, Storm, props=props, live_max=50)
        crashes = 0

        async def ask(key: str) -> None:
            nonlocal crashes
            for number in range(rounds):
                fails = number % 2 == 0
                try:
                    await family.ask(hear(key, number, boom if fails else None))
                except (Crashed, Unreachable):
                    crashes += 1

        with capture_logs():
            async with trio.open_nursery() as nursery:
                for key in keys:
                    nursery.start_soon(ask, key)
        await trio.sleep(100)
        assert all(story.heard(key) == list(range(rounds)) for key in keys)
        assert crashes == len(keys) * rounds // 2
        assert family.live == 0


async def test_what_an_actor_escalates_ends_the_system() -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(Exhausted, match="failed too often"), flatten_subgroups=True):
        async with open_actors() as actors:
            escalating = Props(supervision=Supervision(otherwise=Directive.ESCALATE))
            family = family_of(actors, Story(), props=escalating)
            with pytest.raises(Crashed):
                await family.ask(hear("a", 0, boom))
            await trio.sleep_forever()


async def test_ten_thousand_keys_live_in_the_places_of_a_hundred() -> None:
    story = Story()
    async with open_actors() as actors:
        family = family_of(actors, story, live_max=100)
        for round_ in (1, 2):
            for number in range(10_000):
                assert await family.ask(hear(str(number), number)) == 1
            assert (family.live, family.made) == (100, 10_000 * round_)
        assert story.live_peak == 100
        # All at once: who has messages is not passivated, but as soon as there are none.
        for number in range(10_000):
            family.tell(hear(str(number), number))
        await blocked()
        assert family.live == 100
    assert sorted(story.heard()) == sorted([*range(10_000)] * 3)


async def test_a_family_that_is_stopped_turns_messages_away_and_tells_every_asker() -> None:
    story = Story()
    async with open_actors() as actors, trio.open_nursery() as nursery:
        family = family_of(actors, story, Waiter, farewell=trio.Event())
        refused = []

        async def ask(key: str) -> None:
            with pytest.raises(Unreachable):
                await family.ask(hear(key, 0, forever))
            refused.append(key)

        await family.ask(hear("b"))
        family.passivate("b")
        for key in "ab":
            nursery.start_soon(ask, key)
        await blocked()
        assert not await family.stop(0.01)
        await blocked()
        assert sorted(refused) == ["a", "b"]
        with pytest.raises(Unreachable):
            await family.ask(hear("c"))
        family.tell(hear("c"))
        assert len(actors.dead_letters) == 1
        assert not story.live


async def test_a_system_that_ends_tells_those_who_wait_for_the_next_incarnation() -> None:
    refused = []

    async def ask(family: Keyed[str]) -> None:
        with pytest.raises(Unreachable):
            await family.ask(hear("a"))
        refused.append("a")

    async with trio.open_nursery() as nursery:
        async with open_actors(stop_seconds_max=0.01) as actors:
            family = family_of(actors, Story(), Waiter, farewell=trio.Event())
            await family.ask(hear("a"))
            family.passivate("a")
            nursery.start_soon(ask, family)
            await blocked()
        assert await _soon(refused)


async def _soon(refused: list[str]) -> list[str]:
    await blocked()
    return refused


async def test_a_family_says_what_is_wrong_with_its_bounds_and_keys() -> None:
    async with open_actors() as actors:
        with pytest.raises(ValueError, match=r"idle_seconds is 0: .*; live_max is 0"):
            spawn_keyed(actors, Plain, "family", key_of, idle_seconds=0, live_max=0)  # type: ignore[arg-type]
        family = spawn_keyed(actors, Plain, "family", key_of)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="there is a family already"):
            spawn_keyed(actors, Plain, "family", key_of)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"a key of family is a str or an int, not \('a', 1\)"):
            family.tell(hear(("a", 1)))  # type: ignore[arg-type]


KEYS = "abc"
Step = tuple[str, str]
ACTS = ("ask", "tell", "tell when free", "address", "passivate", "let", "time", "pause", "leave")


@settings(max_examples=100)
@given(
    steps=st.lists(st.tuples(st.sampled_from(ACTS), st.sampled_from(KEYS)), max_size=60),
    waits=st.booleans(),
    says_farewell=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_whatever_passivation_races_with_each_message_is_heard_once_and_in_order(
    steps: list[Step], waits: bool, says_farewell: bool, seed: int
) -> None:
    """Messages are sent before, in and after every step of a passivation, by senders that come and go."""
    clock = trio.testing.MockClock()
    race = Race(waits, random.Random(seed), clock)
    trio.run(race.run, steps, says_farewell, clock=clock)


class Race:
    """One family, and those who send to it."""

    def __init__(self, waits: bool, chance: random.Random, clock: trio.testing.MockClock) -> None:
        self.waits, self.chance, self.clock = waits, chance, clock
        self.story, self.gate = Story(), trio.Event()
        self.story.last_words = self.say_last_words
        self.sent: dict[str, list[int]] = {key: [] for key in KEYS}
        self.withdrawn: set[int] = set()
        self.last: set[int] = set()
        self.last_words_left = 30
        self.askers: list[tuple[trio.CancelScope, int]] = []
        self.numbers = iter(range(1_000_000))

    async def wait(self) -> None:
        """Of a farewell, and of some messages: until the gate is opened."""
        await self.gate.wait()

    def open_gate(self) -> None:
        gate, self.gate = self.gate, trio.Event()
        gate.set()

    def message(self, key: str) -> Hear:
        number = next(self.numbers)
        self.sent[key].append(number)
        is_slow = self.waits and self.chance.random() < 0.2
        return hear(key, number, (lambda _: self.wait()) if is_slow else None)

    def say_last_words(self, key: str) -> None:
        if self.last_words_left and self.chance.random() < 0.5:
            self.last_words_left -= 1
            words = self.message(self.chance.choice(KEYS))
            self.last.add(words.number)
            self.family.tell(words)

    async def run(self, steps: list[Step], says_farewell: bool) -> None:
        async with open_actors(ask_seconds_max=1e6) as actors, trio.open_nursery() as self.nursery:
            actor, farewell = (Waiter if self.waits else Plain), (self if says_farewell else None)
            self.family = family_of(actors, self.story, actor, farewell=farewell, live_max=2, idle_seconds=8.0)
            self.refs: dict[str, list[ActorRef]] = {key: [self.family.ref(key)] for key in KEYS}
            for act, key in steps:
                await self.act(act, key)
            await self.settle()
            assert not actors.dead_letters.newest()
            assert not actors.counts["crashed"]
            self.check()

    async def act(self, act: str, key: str) -> None:
        match act:
            case "ask":
                one, scope = self.message(key), trio.CancelScope()
                self.askers.append((scope, one.number))
                self.nursery.start_soon(self.ask, one, scope)
                await blocked()
            case "tell":
                self.family.tell(self.message(key))
            case "tell when free":
                await self.family.tell_when_free(self.message(key))
            case "address":
                self.refs[key].append(self.family.ref(key))
                self.chance.choice(self.refs[key]).tell(self.message(key))
            case "passivate":
                self.family.passivate(key)
            case "let":
                self.open_gate()
            case "time":
                self.clock.jump(self.chance.uniform(0, 12))
            case "pause":
                await blocked()
            case "leave" if self.askers:
                scope, number = self.askers.pop(self.chance.randrange(len(self.askers)))
                if number not in self.story.heard():
                    self.withdrawn.add(number)
                scope.cancel()
                await blocked()

    async def ask(self, one: Hear, scope: trio.CancelScope) -> None:
        with scope:
            await self.family.ask(one)

    async def settle(self) -> None:
        """Opens the gate as long as anybody stands before it."""
        self.last_words_left = 0
        for _ in range(200):
            self.open_gate()
            await blocked()
            if not self.family._leaving and all(is_idle(cell) for cell in self.family._cells.values()):
                return
        raise AssertionError(f"somebody never goes: {self.family._leaving} {self.family._cells}")

    def check(self) -> None:
        for key in KEYS:
            heard = self.story.heard(key)
            expected = [number for number in self.sent[key] if number not in self.withdrawn]
            assert sorted(heard) == sorted(expected)
            # Who goes speaks while somebody else's message is on its way: two senders, each with an order of its own.
            assert [number for number in heard if number not in self.last] == [
                number for number in expected if number not in self.last
            ]


async def test_a_message_whose_sender_was_made_to_wait_keeps_its_actor() -> None:
    """Every so many messages let others run before they are sent; the actor may neither go meanwhile nor say farewell."""
    story = Story()
    async with open_actors() as actors:
        family = family_of(actors, story, live_max=1, farewell="farewell")

        async def send(key: str) -> None:
            for number in range(300):
                await family.ask(hear(key, number))
                await family.tell_when_free(hear(key, number))

        async with trio.open_nursery() as nursery:
            for key in "abcd":
                nursery.start_soon(send, key)
        await blocked()
        assert not actors.dead_letters.newest()
        expected = [number for number in range(300) for _ in "at"]
        assert all(story.heard(key) == expected for key in "abcd")
        for key in "abcd":
            lines = [line[0] for line in story.lines if line[1] == key]
            assert all(following == "ended" for line, following in pairwise(lines) if line == "farewell")


async def test_a_family_below_an_actor_ends_with_it_and_with_each_of_its_incarnations() -> None:
    families: list[Any] = []

    class Boss(puppets.Plain):
        def __init__(self, here: Here) -> None:
            super().__init__(here)
            families.append(
                here.spawn_keyed(lambda here, key: puppets.Plain(here), "family", lambda message: "ann", live_max=10)
            )

    with capture_logs():
        async with open_actors() as actors:
            boss = actors.spawn(Boss, "boss")
            assert await families[0].ask(puppets.Do(what="heard")) == ["heard"]
            assert [cell.path for cell in actors.walk()] == ["boss", "boss/family", "boss/family/ann"]
            with pytest.raises(Crashed):
                await boss.ask(puppets.does(puppets.boom))
            await blocked()
            with pytest.raises(Unreachable):
                await families[0].ask(puppets.Do(what="too late"))
            assert await families[1].ask(puppets.Do(what="anew")) == ["anew"]
            await boss.stop()
            assert not list(actors.walk())

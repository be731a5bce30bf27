"""Dead letters: kept, counted by reason, bounded, and sent again."""

from typing import Any

import pytest
import trio
import trio.testing

from runtime.actor import Actor
from runtime.actors import Actors, Here, Props, open_actors
from runtime.delivery import Context
from runtime.errors import Overloaded, Unreachable
from runtime.keyed import spawn_keyed
from runtime.letters import LETTERS_MAX, REASONS_MAX
from runtime.ref import ActorRef
from tests.runtime.keys import Hear, Plain, Story, key_of

blocked = trio.testing.wait_all_tasks_blocked
SOMEBODY = Context(tenant="t", principal="p")


class Keeps(Actor[Any, None]):
    def __init__(self, here: Here, heard: list[Any]) -> None:
        super().__init__(here)
        self.here: Here = here
        self.heard = heard

    def handle(self, message: Any) -> None:
        current = self.here.current
        assert current is not None
        self.heard.append((message, current.context))


class Holds(Keeps):
    async def handle(self, message: Any) -> None:  # type: ignore[override]
        await trio.sleep_forever()


def spawn(actors: Actors, heard: list[Any], **props: Any) -> ActorRef:
    return actors.spawn(lambda here: Keeps(here, heard), props=Props(**props))


async def test_what_is_told_to_one_that_is_gone_is_kept_and_reaches_another_with_its_context() -> None:
    heard: list[Any] = []
    async with open_actors() as actors:
        gone, other = spawn(actors, heard), spawn(actors, heard)
        await gone.stop()
        gone.tell("one", context=SOMEBODY)
        await gone.tell_when_free("two")
        newest = actors.dead_letters.newest()
        assert [(one.number, one.message, one.ref, one.reason) for one in newest] == [
            (2, "two", gone, "stopped"),
            (1, "one", gone, "stopped"),
        ]
        assert actors.dead_letters.newest(1) == newest[:1]
        actors.dead_letters.send_again(newest[1], other)
        await blocked()
        assert heard == [("one", SOMEBODY)]
        assert actors.dead_letters.newest() == newest[:1]
        with pytest.raises(KeyError, match="dead letter 1 is not kept any more"):
            actors.dead_letters.send_again(newest[1], other)
        assert (len(actors.dead_letters), dict(actors.dead_letters.count_by_reason)) == (2, {"stopped": 2})


async def test_what_waited_for_one_that_stops_is_kept_with_its_reason_and_asks_are_answered_instead() -> None:
    refused = []

    async def ask(ref: ActorRef) -> None:
        with pytest.raises(Unreachable, match="not wanted"):
            await ref.ask(Hear(key="a"))
        refused.append("a")

    async with open_actors() as actors, trio.open_nursery() as nursery:
        ref = actors.spawn(lambda here: Holds(here, []), props=Props(mailbox_max=3))
        ref.tell("begun")
        await blocked()
        ref.tell("waiting")
        nursery.start_soon(ask, ref)
        await blocked()
        ref.tell("waiting too")
        nursery.start_soon(ref.tell_when_free, "parked")
        await blocked()
        assert not await ref.stop(0.01, "not wanted")
        assert [letter.message for letter in actors.dead_letters.newest()] == ["parked", "waiting too", "waiting"]
        assert dict(actors.dead_letters.count_by_reason) == {"not wanted": 3}
        await blocked()
        assert refused == ["a"]


async def test_one_that_finds_no_room_when_it_is_sent_again_stays_where_it_was() -> None:
    async with open_actors() as actors:
        gone, full = spawn(actors, []), spawn(actors, [], mailbox_max=1)
        await gone.stop()
        for number in range(3):
            gone.tell(number)
        before = actors.dead_letters.newest()
        full.tell("in front")
        with pytest.raises(Overloaded):
            actors.dead_letters.send_again(before[1], full)
        assert actors.dead_letters.newest() == before


async def test_one_that_nobody_hears_again_is_a_new_dead_letter_also_when_it_is_the_oldest_of_too_many() -> None:
    async with open_actors() as actors:
        gone = spawn(actors, [])
        await gone.stop()
        for number in range(LETTERS_MAX + 5):
            gone.tell(number)
        letters = actors.dead_letters
        kept = letters.newest(2 * LETTERS_MAX)
        assert [letter.message for letter in kept] == list(range(LETTERS_MAX + 4, 4, -1))
        assert letters.find(5) is None
        oldest = letters.find(6)
        assert oldest is not None
        assert oldest.message == 5
        letters.send_again(oldest)
        assert letters.newest(1)[0].message == 5
        assert letters.newest(2 * LETTERS_MAX)[1:] == kept[:-1]
        assert len(letters) == letters.count_by_reason["stopped"] == LETTERS_MAX + 6


async def test_reasons_are_counted_without_their_details_and_only_so_many_of_them() -> None:
    async with open_actors() as actors:
        for number in range(REASONS_MAX + 10):
            for detail in "ab":
                gone = spawn(actors, [])
                gone.tell("x")
                gone.stop_soon(f"reason {number} (case {detail})")
        counts = actors.dead_letters.count_by_reason
        assert counts["reason 0"] == 2
        assert counts["other"] == 20
        assert len(counts) == REASONS_MAX + 1


async def test_one_for_a_key_that_was_given_up_reaches_the_next_of_that_key() -> None:
    story = Story()
    async with open_actors() as actors:
        family = spawn_keyed(actors, lambda here, key: Plain(here, key, story), "family", key_of)
        family.tell(Hear(key="a", what=lambda self: self.here.stop_soon("enough")))
        family.tell(Hear(key="a", number=7))
        await blocked()
        [letter] = actors.dead_letters.newest()
        actors.dead_letters.send_again(letter)
        await blocked()
        assert story.heard() == [0, 7]
        assert actors.dead_letters.newest() == []


async def test_one_whose_type_nobody_took_reaches_whoever_takes_it_now() -> None:
    story = Story()
    async with open_actors() as actors:
        actors.router.tell(Hear(key="a", number=7))
        [letter] = actors.dead_letters.newest()
        assert actors.dead_letters.count_by_reason["nobody takes its type"] == 1
        actors.router.add(spawn_keyed(actors, lambda here, key: Plain(here, key, story), "family", key_of), Hear)
        actors.dead_letters.send_again(letter)
        await blocked()
        assert story.heard() == [7]

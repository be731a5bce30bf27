"""The tree of actors as it stands: what each does, who waits for whom, what waits and for how long, and how long handlers took."""

from bisect import bisect_left
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from runtime.actor import Actor, Reply, Stashed, reply
from runtime.actors import Actors, Here, Props, open_actors
from runtime.ages import NOTE_SECONDS
from runtime.errors import Crashed
from runtime.records import Command
from runtime.ref import ActorRef
from runtime.supervision import Backoff, Supervision
from runtime.tree import ActorRow, summed, times, tree

blocked = trio.testing.wait_all_tasks_blocked


class Do(Command[Any], frozen=True, kw_only=True):
    what: Any


class Plain(Actor[Do, None]):
    def __init__(self, here: Here) -> None:
        super().__init__(here)
        self.here: Here = here

    def handle(self, message: Do) -> Reply | Stashed:
        found = message.what(self)
        return found if isinstance(found, Stashed) else reply(message, found)


class Waiter(Actor[Do, None]):
    def __init__(self, here: Here) -> None:
        super().__init__(here)
        self.here: Here = here

    async def handle(self, message: Do) -> Reply:
        return reply(message, await message.what(self))


async def rest() -> None:
    await trio.lowlevel.checkpoint()


def rows(actors: Actors) -> dict[str, ActorRow]:
    return {row.path: row for row in tree(actors).actors}


@asynccontextmanager
async def held(actors: Actors, ref: ActorRef) -> AsyncIterator[None]:
    """Has an `async` handler wait for as long as the block takes."""
    gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ref.ask, Do(what=lambda _: gate.wait()))
        await blocked()
        yield
        gate.set()


async def test_parents_stand_before_their_children_and_each_is_told_of() -> None:
    async with open_actors() as actors:
        parent, _ = actors.spawn(Plain, "parent"), actors.spawn(Waiter, "other")
        child = await parent.ask(Do(what=lambda self: self.here.spawn(Plain, "child")))
        await child.ask(Do(what=lambda self: self.here.spawn(Waiter)))
        await child.ask(Do(what=lambda self: self.here.timers.start("key", Do(what=None), 60.0)))
        found = tree(actors)
        assert [(row.path, row.depth, row.kind) for row in found.actors] == [
            ("parent", 0, "plain"),
            ("parent/child", 1, "plain"),
            ("parent/child/waiter-1", 2, "waiter"),
            ("other", 0, "waiter"),
        ]
        first, second = found.actors[:2]
        assert (first.state, first.children, first.handled) == ("idle", 1, 1)
        assert (second.timers, second.children, second.handled) == (1, 1, 2)
        assert [(kind.kind, kind.actors, kind.handler_seconds.count) for kind in found.kinds] == [
            ("plain", 2, 3),
            ("waiter", 2, 0),
        ]


async def test_who_waits_for_whom_is_told() -> None:
    async with open_actors() as actors:
        first, second = actors.spawn(Waiter, "first"), actors.spawn(Waiter, "second")
        async with held(actors, second), trio.open_nursery() as nursery:
            nursery.start_soon(first.ask, Do(what=lambda _: second.ask(Do(what=lambda _: rest()))))
            await blocked()
            found = rows(actors)
            assert (found["first"].state, found["first"].waits_for) == ("waiting", ["second"])
            assert (found["second"].state, found["second"].waits_for, found["second"].mailbox) == ("waiting", [], 1)
            assert found["first"].message == "Do"
            nursery.cancel_scope.cancel()


async def test_what_waits_and_for_how_long_is_told(autojump_clock: trio.testing.MockClock) -> None:
    async with open_actors() as actors:
        ref = actors.spawn(Waiter, "busy", Props(mailbox_max=2))
        async with held(actors, ref), trio.open_nursery() as nursery:
            await trio.sleep(10)
            for _ in range(2):
                ref.tell(Do(what=lambda _: rest()))
            await trio.sleep(7)
            nursery.start_soon(ref.tell_when_free, Do(what=lambda _: rest()))
            await trio.sleep(5)
            row = rows(actors)["busy"]
            assert (row.mailbox, row.mailbox_peak, row.mailbox_max, row.parked) == (2, 2, 2, 1)
            assert row.oldest_seconds is not None
            assert 12 - NOTE_SECONDS <= row.oldest_seconds <= 12
            nursery.cancel_scope.cancel()
        await blocked()
        assert rows(actors)["busy"].oldest_seconds is None


async def test_what_was_put_aside_and_who_begins_anew_is_told() -> None:
    async with open_actors() as actors:
        props = Props(supervision=Supervision(backoff=Backoff(seconds=60.0)))
        broken, door = actors.spawn(Plain, "broken", props), actors.spawn(Plain, "door")
        door.tell(Do(what=lambda self: self.here.stash()))
        with pytest.raises(Crashed):
            await broken.ask(Do(what=lambda _: 1 // 0))
        await blocked()
        found = rows(actors)
        assert (found["broken"].state, found["broken"].failures, found["broken"].restarts) == ("restarting", 1, 1)
        assert (found["door"].stash, found["door"].oldest_seconds) == (1, 0.0)
        assert next(kind for kind in tree(actors).kinds if kind.kind == "plain").restarts == 1


async def test_a_stopping_actor_is_seen_until_it_is_gone() -> None:
    async with open_actors() as actors:
        ref = actors.spawn(Waiter, "slow")
        async with held(actors, ref):
            ref.stop_soon()
            assert rows(actors)["slow"].state == "stopping"
        assert rows(actors) == {}


async def test_a_long_list_is_cut_and_says_how_many_more_there_are() -> None:
    async with open_actors() as actors:
        for number in range(20):
            actors.spawn(Plain, f"p{number}")
        found = tree(actors, rows_max=5, wanted=lambda cell: cell.name != "p0")
        assert [row.path for row in found.actors] == ["p1", "p2", "p3", "p4", "p5"]
        assert (found.more, found.kinds[0].actors) == (14, 20)


async def test_an_actor_of_its_own_level_says_so() -> None:
    async with open_actors() as actors:
        actors.spawn(Plain, "loud")
        actors.log_levels.set("plain", "debug")
        assert rows(actors)["loud"].log_level == "debug"


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=50))
def test_quantiles_are_never_too_small_and_at_most_doubled(measured: list[int]) -> None:
    histogram = [0] * 65
    for nanoseconds in measured:
        histogram[nanoseconds.bit_length()] += 1
    found, ordered = times(histogram), sorted(measured)
    assert found.count == len(measured)
    for told, share in ((found.p50, 0.5), (found.p99, 0.99), (found.max, 1.0)):
        ranks = [(place + 1) / len(ordered) for place in range(len(ordered))]
        true = ordered[bisect_left(ranks, share)]
        assert told is not None
        assert true / 1e9 <= told <= 2 * true / 1e9


def test_nothing_measured_is_nothing_told() -> None:
    found = times(summed([[0] * 65, [0] * 65]))
    assert (found.count, found.p50, found.p99, found.max) == (0, None, None, None)

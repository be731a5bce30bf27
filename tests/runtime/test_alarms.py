"""Timers by key: fixed delay and fixed rate, started anew, cancelled, and over with their actor."""

from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from runtime.actor import Actor
from runtime.actors import Here, Props, open_actors
from runtime.errors import Crashed
from runtime.supervision import Supervision
from tests.runtime.puppets import Do, Plain, boom, does, nothing_is_left

ENDURES = Props(supervision=Supervision(restarts_max=100))


class Bell(Actor[Any, None]):
    """Notes when it hears what, and sleeps for as long as it is told."""

    def __init__(self, here: Here, heard: list[Any]) -> None:
        super().__init__(here)
        self.here: Here = here
        self.heard = heard
        self.began = trio.current_time()

    async def handle(self, message: Any) -> None:
        self.heard.append((message, round(trio.current_time() - self.began, 3)))
        if isinstance(message, Do):
            await message.what(self)


@pytest.fixture
def clock(mock_clock: trio.testing.MockClock) -> trio.testing.MockClock:
    mock_clock.autojump_threshold = 0
    return mock_clock


async def rings(seconds: float, *, fixed_rate: bool, busy: float = 0.0, for_seconds: float = 10.0) -> list[float]:
    heard: list[Any] = []
    async with open_actors() as actors:
        ref = actors.spawn(lambda here: Bell(here, heard))

        async def begin(self: Bell) -> None:
            self.here.timers.start("key", "rings", seconds, every=seconds, fixed_rate=fixed_rate)

        async def work(_: Bell) -> None:
            await trio.sleep(busy)

        ref.tell(does(begin))
        await trio.sleep(2.5)
        ref.tell(does(work))
        await trio.sleep(for_seconds - 2.5)
        await ref.stop()
        left = len(heard)
        await trio.sleep(100)
        assert len(heard) == left
        nothing_is_left(actors)
    return [at for message, at in heard if message == "rings"]


async def test_a_fixed_delay_and_a_fixed_rate_are_the_same_to_an_actor_that_is_free(clock: object) -> None:
    for fixed_rate in (False, True):
        assert await rings(1, fixed_rate=fixed_rate, for_seconds=5.5) == [1, 2, 3, 4, 5]


async def test_of_one_key_one_message_waits_at_a_time_while_the_actor_is_busy(clock: object) -> None:
    for fixed_rate in (False, True):
        assert await rings(1, fixed_rate=fixed_rate, busy=3.2, for_seconds=8.5) == [1, 2, 5.7, 6, 7, 8]


async def test_a_fixed_rate_keeps_its_beat_over_a_pause_and_a_fixed_delay_begins_a_new_one(
    mock_clock: trio.testing.MockClock,
) -> None:
    heard: dict[bool, list[Any]] = {False: [], True: []}
    async with open_actors() as actors:
        for fixed_rate, kept in heard.items():
            ref = actors.spawn(Plain)
            await ref.ask(does(partial(_begin, kept, fixed_rate)))
        await trio.testing.wait_all_tasks_blocked()
        for seconds in (1.0, 1.0, 3.5, 0.5, 0.5, 0.5, 0.5):
            mock_clock.jump(seconds)
            await trio.testing.wait_all_tasks_blocked()
        assert heard[True] == pytest.approx([_began() + at for at in (1, 2, 5.5, 6, 7)])
        assert heard[False] == pytest.approx([_began() + at for at in (1, 2, 5.5, 6.5, 7.5)])


def _begin(kept: list[Any], fixed_rate: bool, self: Plain) -> None:
    self.heard = kept
    self.here.timers.start("key", does(_noted), 1, every=1, fixed_rate=fixed_rate)


def _began() -> float:
    return trio.current_time() - 7.5


def _noted(self: Plain) -> None:
    self.heard.append(trio.current_time())


async def test_timers_end_with_their_incarnation_and_with_their_actor(clock: object) -> None:
    with capture_logs():
        async with open_actors() as actors:
            ref = actors.spawn(Plain, None, ENDURES)
            for number in range(3):
                await ref.ask(does(partial(_start, number)))
            with pytest.raises(Crashed):
                await ref.ask(does(boom))
            await trio.sleep(10)
            assert await ref.ask(Do(what="heard")) == ["heard"]
            await ref.ask(does(lambda self: self.here.timers.start("last", "old", 1, every=1)))
            here = await ref.ask(does(lambda self: self.here))
            await ref.stop()
            here.timers.start("too late", "old", 0, every=1)
            await trio.sleep(200)
            assert len(actors.alarms) == 0


def _start(key: int, self: Plain) -> None:
    self.here.timers.start(key, "old", 1, every=1)


async def test_what_an_ending_incarnation_starts_in_its_last_words_is_void_too(clock: object) -> None:
    class LastWords(Plain):
        def stopped(self) -> None:
            self.here.timers.start("key", "rings", 0, every=1)
            self.here.run(trio.sleep_forever)

    async with open_actors() as actors:
        ref: Any = actors.spawn(LastWords)
        await ref.stop()
        await trio.sleep(20)
        assert (len(actors.alarms), ref._extras.work) == (0, set())


async def test_a_cancelled_timers_message_is_void_where_it_waits_already(clock: object) -> None:
    heard: list[Any] = []

    async def begin(self: Bell) -> None:
        self.here.timers.start("one", "one", 1)
        self.here.timers.start("two", "two", 1)
        await trio.sleep(5)
        assert self.here.timers.cancel("one")
        assert not self.here.timers.cancel("one")
        assert not self.here.timers.cancel("never")

    async with open_actors() as actors:
        ref = actors.spawn(lambda here: Bell(here, heard))
        ref.tell(does(begin))
        await trio.sleep(10)
        assert heard[1:] == [("two", 5)]
        nothing_is_left(actors)


@pytest.mark.parametrize(
    ("seconds", "every"), [(-1, 0), (0, -1), (0, 1e-12), (float("nan"), 0), (0, float("nan")), (1, 0.0009)]
)
async def test_a_time_that_would_ring_without_end_is_refused(seconds: float, every: float) -> None:
    async with open_actors() as actors:
        ref = actors.spawn(Plain)

        def start(self: Plain) -> str:
            with pytest.raises(ValueError, match="a timer after"):
                self.here.timers.start("key", 1, seconds, every=every)
            return "refused"

        assert await ref.ask(does(start)) == "refused"


async def test_timers_that_are_started_anew_all_the_time_take_no_memory(clock: object) -> None:
    async with open_actors() as actors:
        ref: Any = actors.spawn(Plain)

        def start(self: Plain) -> None:
            for _ in range(5000):
                self.here.timers.start("same", 1, 1000)

        def start_each(self: Plain) -> None:
            for number in range(500):
                self.here.timers.start(number, 1, 0.0)

        await ref.ask(does(start))
        assert len(actors.alarms) < 200
        await ref.ask(does(start_each))
        await trio.sleep(1)
        await ref.ask(does(lambda self: self.here.timers.start("new", 1, 1)))
        assert len(ref._extras.timers) < 10


async def test_an_hour_passes_in_no_time_while_nothing_is_asked(clock: object) -> None:
    async with open_actors() as actors:
        ref = actors.spawn(Plain)
        await ref.ask(does(lambda self: self.here.timers.start("key", "an hour", 3600.0)))
        await trio.sleep(3601.0)
        assert await ref.ask(Do(what=1)) == ["an hour", 1]

"""The end of an actor and of a system: everybody who waits is told, nothing is left, and nobody waits for ever."""

import gc
import math
import weakref
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from runtime.actor import Actor
from runtime.actors import DEPTH_MAX, Actors, Here, Props, open_actors
from runtime.delivery import Receipt
from runtime.errors import AskCycle, Crashed, Unreachable
from runtime.ref import ActorRef, Terminated
from runtime.supervision import Backoff, Directive, Supervision
from tests.runtime.puppets import Do, Plain, Waiter, boom, does, done, forever, nothing_is_left

blocked = trio.testing.wait_all_tasks_blocked


@pytest.fixture
def clock(mock_clock: trio.testing.MockClock) -> trio.testing.MockClock:
    mock_clock.autojump_threshold = 0
    return mock_clock


async def _is_unreachable(ref: ActorRef, message: Do, match: str, receipt: Receipt | None = None) -> None:
    with pytest.raises(Unreachable, match=match):
        await ref.ask(message, receipt=receipt)


async def _parks(ref: ActorRef) -> None:
    await ref.tell_when_free(does(done))


@pytest.mark.parametrize("how", ["stop", "stop twice", "stop_soon", "system"])
async def test_an_end_past_its_deadline_answers_every_caller_and_reports_who_was_slow(clock: object, how: str) -> None:
    async with trio.open_nursery() as outside:
        async with open_actors(stop_seconds_max=3) as actors:
            began = trio.current_time()
            ref = actors.spawn(Waiter, "ref", Props(mailbox_max=1))
            receipts = [Receipt() for _ in range(3)]
            outside.start_soon(_is_unreachable, ref, does(forever), "in the middle", receipts[0])
            await blocked()
            for receipt in receipts[1:]:
                outside.start_soon(_is_unreachable, ref, does(done), "is gone", receipt)
                await blocked()
            outside.start_soon(_parks, ref)
            await blocked()
            if how == "stop":
                assert not await ref.stop(3)
            elif how == "stop twice":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ref.stop, 50)
                    nursery.start_soon(ref.stop, 3)
            elif how == "stop_soon":
                ref.stop_soon()
                await trio.sleep(3.01)
        assert trio.current_time() - began == pytest.approx(3, abs=0.02)
        assert list(actors.slow_to_stop) == ["ref"]
        assert len(actors.dead_letters) == 1
        nothing_is_left(actors)


async def test_what_has_begun_is_completed_before_the_stop_is(clock: object) -> None:
    async def slow(_: object) -> str:
        await trio.sleep(2)
        return "completed"

    answers = []
    async with open_actors() as actors, trio.open_nursery() as nursery:
        ref = actors.spawn(Waiter)

        async def ask() -> None:
            answers.append(await ref.ask(does(slow)))

        nursery.start_soon(ask)
        await blocked()
        assert await ref.stop()
        await blocked()
        assert answers == ["completed"]
        assert not actors.slow_to_stop


@pytest.mark.parametrize("kind", [Plain, Waiter])
async def test_an_actor_that_stops_itself_answers_that_message_and_turns_the_others_away(kind: Any) -> None:
    def stops(self: Any) -> str:
        self.here.stop_soon("enough")
        return "last words"

    async with open_actors() as actors, trio.open_nursery() as nursery:
        ref, answers = actors.spawn(kind, props=Props(caller_runs=False)), []

        async def ask() -> None:
            answers.append(await ref.ask(does(stops)))

        nursery.start_soon(ask)
        await trio.lowlevel.checkpoint()
        for _ in range(5):
            nursery.start_soon(_is_unreachable, ref, does(done), "is gone")
        await blocked()
        assert answers == ["last words"]
        assert not list(actors.walk())
        ref.tell(Do(what="late"))
        await ref.tell_when_free(Do(what="late"))
        assert [letter.reason for letter in actors.dead_letters.newest()] == ["stopped", "stopped"]


async def test_who_waits_for_its_own_end_or_its_parents_is_told_so() -> None:
    async def stops_itself(self: Waiter) -> None:
        with pytest.raises(AskCycle, match="can't wait for its end"):
            await self.here.ref.stop()

    async def stops_its_parent(self: Waiter) -> None:
        parent: Any = self.here.parent
        with pytest.raises(AskCycle, match="can't wait for its end"):
            await parent.stop()

    async with open_actors() as actors:
        parent = actors.spawn(Plain)
        child = await parent.ask(does(lambda self: self.here.spawn(Waiter)))
        await child.ask(does(stops_itself))
        await child.ask(does(stops_its_parent))
        assert (parent.alive, child.alive) == (True, True)


async def test_two_that_wait_for_each_others_end_are_both_cut_off(clock: object) -> None:
    async with open_actors() as actors, trio.open_nursery() as nursery:
        one, two = actors.spawn(Waiter), actors.spawn(Waiter)

        def stops(ref: ActorRef) -> Do:
            async def stop(_: object) -> None:
                await trio.sleep(0.5)  # both have begun by then
                await ref.stop(1)

            return does(stop)

        nursery.start_soon(_is_unreachable, one, stops(two), "in the middle")
        nursery.start_soon(_is_unreachable, two, stops(one), "in the middle")
        await trio.sleep(2)
        assert not list(actors.walk())


async def test_work_that_stops_its_own_actor_ends_with_it() -> None:
    async with open_actors() as actors:
        ref = actors.spawn(Plain)

        async def work() -> None:
            await ref.stop()

        await ref.ask(does(lambda self: self.here.run(work)))
        await blocked()
        assert not ref.alive
        nothing_is_left(actors)


async def test_children_that_begin_something_after_the_deadline_are_cut_off_too(clock: object) -> None:
    """The parent's handler takes its time to end; meanwhile its child begins a message that never ends."""

    async def takes_its_time(_: object) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)

    async with trio.open_nursery() as outside:
        async with open_actors() as actors:
            parent = actors.spawn(Waiter, "parent")
            child = await parent.ask(does(lambda self: self.here.spawn(Waiter, "child")))
            outside.start_soon(_is_unreachable, parent, does(takes_its_time), "in the middle")
            outside.start_soon(_asks_later, child)
            await blocked()
            assert not await parent.stop(1)
            assert not list(actors.walk())


async def _asks_later(ref: ActorRef) -> None:
    await trio.sleep(2)
    await _is_unreachable(ref, does(forever), "gone|in the middle")


async def test_a_supervisors_stop_has_a_deadline_too(clock: object) -> None:
    async with open_actors(stop_seconds_max=2) as actors, trio.open_nursery() as nursery:
        parent = actors.spawn(Plain)
        child = await parent.ask(does(lambda self: self.here.spawn(Waiter)))
        nursery.start_soon(_is_unreachable, child, does(forever), "in the middle: its parent stops")
        await blocked()
        parent.stop_soon()
        await trio.sleep(2.1)
        assert not list(actors.walk())


async def test_a_start_that_is_stopped_or_fails_in_the_middle_leaves_nothing() -> None:
    class Slow(Actors):
        async def prepare(self, nursery: trio.Nursery) -> None:
            await trio.sleep_forever()

    class Broken(Actors):
        async def prepare(self, nursery: trio.Nursery) -> None:
            self.spawn(Waiter, "early")
            raise ValueError("no")

    for ticks in range(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Slow().run)
            for _ in range(ticks):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    broken = Broken()
    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="no"), flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            await nursery.start(broken.run)
    with pytest.raises(RuntimeError, match="nothing is spawned"):
        broken.spawn(Plain)


async def test_a_thousand_starts_and_stops_leave_no_task_and_no_actor() -> None:
    made: weakref.WeakSet[Actor[Any, Any]] = weakref.WeakSet()

    class PlainOnce(Plain):
        def __init__(self, here: Here) -> None:
            super().__init__(here)
            made.add(self)

    tasks = trio.lowlevel.current_statistics().tasks_living
    for number in range(1000):
        async with open_actors() as actors:
            ref = actors.spawn(Waiter if number % 2 else PlainOnce)
            ref.tell(does(lambda self: self.here.run(trio.sleep_forever)))
            if number % 3:
                await ref.ask(does(lambda self: self.here.spawn(Waiter)))
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    del actors, ref
    gc.collect()
    assert len(made) <= 1


# ---- watching


class Watcher(Plain):
    def handle(self, message: Any) -> Any:
        self.heard.append(message) if not isinstance(message, Do) else None
        return super().handle(message) if isinstance(message, Do) else None


def watches(ref: ActorRef, message: Any = None) -> Do:
    return does(lambda self: self.here.watch(ref, message))


async def test_a_death_notice_comes_exactly_once_also_for_the_dead_and_not_after_unwatch() -> None:
    async with open_actors() as actors:
        watcher, one, two, three = (actors.spawn(Watcher) for _ in range(4))
        await watcher.ask(watches(one))
        await watcher.ask(watches(one))
        await watcher.ask(watches(two, "two is gone"))
        await watcher.ask(watches(three))
        await watcher.ask(does(lambda self: self.here.unwatch(three)))
        for ref in (one, two, three):
            await ref.stop(reason="over")
            await ref.stop()
        await blocked()
        await watcher.ask(watches(one, "one is long gone"))
        await blocked()
        heard = [Terminated(one, "over"), "two is gone", "one is long gone"]
        assert await watcher.ask(does(lambda self: self.heard)) == heard


async def test_watchers_that_are_gone_are_forgotten_and_a_watch_outlives_a_restart() -> None:
    with capture_logs():
        async with open_actors() as actors:
            watched: Any = actors.spawn(Plain)
            for _ in range(50):
                watcher = actors.spawn(Watcher)
                await watcher.ask(watches(watched))
                await watcher.stop()
            assert not watched._extras.watchers
            watcher = actors.spawn(Watcher, None, Props(supervision=Supervision()))
            await watcher.ask(watches(watched))
            await watcher.ask(does(lambda self: self.here.watch(self.here.ref)))
            with pytest.raises(Exception, match="the actor failed"):
                await watcher.ask(does(boom))
            await watched.stop(reason="over")
            await blocked()
            assert await watcher.ask(does(lambda self: self.heard)) == [Terminated(watched, "over")]


async def test_watchers_hear_of_a_constructor_that_fails_too_often() -> None:
    class Never(Plain):
        def __init__(self, here: Here) -> None:
            raise ValueError("never")

    with capture_logs():
        async with open_actors() as actors:
            parent, watcher = actors.spawn(Plain, None, Props(supervision=Supervision(restarts_max=99))), None
            watcher = actors.spawn(Watcher)
            never = await parent.ask(does(lambda self: self.here.spawn(Never)))
            await watcher.ask(watches(never, "never came"))
            await blocked()
            assert await watcher.ask(does(lambda self: self.heard)) == ["never came"]


async def test_names_are_the_parents_and_free_again_after_the_end() -> None:
    async with open_actors() as actors:
        one = actors.spawn(Plain, "name")
        with pytest.raises(ValueError, match="there is a name already"):
            actors.spawn(Plain, "name")
        child = await one.ask(does(lambda self: self.here.spawn(Plain, "name")))
        assert (one.path, child.path) == ("name", "name/name")
        await one.stop()
        actors.spawn(Plain, "name")
        anonymous = [actors.spawn(Plain), actors.spawn(Plain, ""), actors.spawn(Plain)]
        assert len({ref.path for ref in anonymous}) == 3


async def test_dead_letters_are_counted_and_can_be_sent_again() -> None:
    async with open_actors() as actors:
        one, two = actors.spawn(Plain), actors.spawn(Plain)
        await one.stop()
        for number in range(3):
            one.tell(Do(what=number))
        assert actors.dead_letters.count_by_reason == {"stopped": 3}
        for letter in reversed(actors.dead_letters.newest()):
            actors.dead_letters.send_again(letter, two)
        assert await two.ask(Do(what=3)) == [0, 1, 2, 3]
        assert actors.dead_letters.newest() == []


async def test_work_that_is_slow_to_end_is_reported_too(clock: object) -> None:
    async def shielded() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(20)

    async with open_actors() as actors:
        ref = actors.spawn(Plain, "busy")
        await ref.ask(does(lambda self: self.here.run(shielded)))
        await trio.sleep(1)
        with capture_logs() as lines:
            assert not await ref.stop(5)
        assert list(actors.slow_to_stop) == [line["actor"] for line in lines] == ["busy"]


@pytest.mark.parametrize("how", ["cancelled", "an error", "exhausted"])
async def test_an_actor_is_told_that_it_stopped_however_its_system_ends(how: str) -> None:
    told: list[str] = []

    class Telling(Plain):
        def stopped(self) -> None:
            told.append(self.here.ref.path)
            if self.here.ref.name == "first":
                raise ValueError("of no consequence")

    with capture_logs(), trio.CancelScope() as scope:
        try:
            async with open_actors() as actors:
                for name in ("first", "second"):
                    ref = actors.spawn(Telling, name, Props(supervision=Supervision(restarts_max=0)))
                await ref.ask(does(lambda self: self.here.spawn(Telling, "child")))
                if how == "exhausted":
                    with pytest.raises(Crashed):
                        await ref.ask(does(boom))
                elif how == "cancelled":
                    scope.cancel()
                else:
                    raise KeyError(how)
                await trio.sleep_forever()
        except ExceptionGroup as group:
            assert how != "cancelled"
            assert len(group.exceptions) == 1
    assert sorted(told) == ["first", "second", "second/child"]
    assert told.index("second/child") < told.index("second")


async def test_parents_above_one_another_are_bounded_and_end_in_one_step() -> None:
    async with open_actors() as actors:
        ref = actors.spawn(Plain, "top")
        for _ in range(DEPTH_MAX):
            ref = await ref.ask(does(lambda self: self.here.spawn(Plain, "child")))
        with capture_logs() as lines, pytest.raises(Crashed):
            await ref.ask(does(lambda self: self.here.spawn(Plain, "child")))
        assert "more than 100 parents" in str(lines[0]["exc_info"])
        assert ref.path.count("/") == DEPTH_MAX
    assert not actors.children


@pytest.mark.parametrize(
    ("props", "faults"),
    [
        (Props(mailbox_max=0), ["mailbox_max is 0"]),
        (Props(mailbox_max=-1, stash_max=-1), ["mailbox_max is -1", "stash_max is -1"]),
        (
            Props(supervision=Supervision(restarts_max=-1, window_seconds=math.nan)),
            ["restarts_max is -1", "window_seconds is nan"],
        ),
        (Props(supervision=Supervision(exhausted=Directive.RESTART)), ["exhausted is Directive.RESTART"]),  # type: ignore[arg-type]
        (
            Props(supervision=Supervision(backoff=Backoff(seconds=-1, seconds_max=math.inf, factor=0.5, jitter=2))),
            ["backoff.seconds is -1", "backoff.seconds_max is inf", "backoff.factor is 0.5", "backoff.jitter is 2"],
        ),
    ],
)
async def test_props_that_nobody_can_keep_are_refused_with_every_fault(props: Props, faults: list[str]) -> None:
    async with open_actors() as actors:
        with pytest.raises(ValueError, match=r"must|room") as refused:
            actors.spawn(Plain, None, props)
        assert [fault.partition(":")[0] for fault in str(refused.value).split("; ")] == faults
        assert not actors.children


def test_limits_of_a_system_that_nobody_can_keep_are_refused() -> None:
    with pytest.raises(ValueError, match=r"handler_seconds_max is -1: .*; ask_seconds_max is nan: "):
        Actors(ask_seconds_max=math.nan, handler_seconds_max=-1)

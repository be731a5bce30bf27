"""Failures: who decides, what restarts, in what order, how often, and that there is one incarnation at a time."""

import random
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from runtime.actor import Reply
from runtime.actors import Actors, Here, Props, open_actors
from runtime.errors import Crashed, Exhausted, Refused, Unreachable
from runtime.ref import ActorRef
from runtime.supervision import Backoff, Directive, Failures, Supervision
from tests.runtime.puppets import Do, Plain, Waiter, boom, does, done, forever, nothing_is_left

blocked = trio.testing.wait_all_tasks_blocked
ENDURING = Supervision(restarts_max=10_000)
ENDURES = Props(supervision=ENDURING)


@pytest.fixture(autouse=True)
def _quiet():
    with capture_logs():
        yield


def fails(error: BaseException) -> Do:
    def fail(_: object) -> None:
        raise error

    return does(fail)


async def test_the_type_of_the_error_decides() -> None:
    policy = Supervision(
        by_error=((KeyError, Directive.RESUME), (LookupError, Directive.STOP), (OSError, Directive.ESCALATE)),
        otherwise=Directive.RESTART,
    )
    async with open_actors() as actors:
        parent = actors.spawn(Plain, "parent", ENDURES)

        async def child() -> Any:
            return await parent.ask(does(lambda self: self.here.spawn(Plain, None, Props(supervision=policy))))

        ref = await child()
        await ref.ask(Do(what=1))
        for error, heard in ((KeyError(), [1, 2]), (ValueError(), [2]), (Refused("no"), [2, 2])):
            with pytest.raises((Crashed, Refused)):
                await ref.ask(fails(error))
            assert await ref.ask(Do(what=2)) == heard
        with pytest.raises(Crashed):
            await ref.ask(fails(IndexError()))
        assert not ref.alive
        await parent.ask(Do(what="kept"))
        ref = await child()
        with pytest.raises(Crashed):
            await ref.ask(fails(OSError()))
        assert (ref.alive, parent.alive) == (False, True)
        assert await parent.ask(Do(what="afresh")) == ["afresh"]
        nothing_is_left(actors)


async def test_children_with_one_policy_for_all_restart_together_and_the_others_go_on() -> None:
    together = Props(supervision=Supervision(together=True, restarts_max=100))
    async with open_actors() as actors:
        parent = actors.spawn(Plain)

        def spawn(self: Plain) -> list[ActorRef]:
            return [self.here.spawn(Plain, None, props) for props in (together, together, ENDURES)]

        one, two, other = await parent.ask(does(spawn))
        for ref in (one, two, other):
            await ref.ask(Do(what=1))
        with pytest.raises(Crashed):
            await two.ask(does(boom))
        assert [await ref.ask(Do(what=2)) for ref in (one, two, other)] == [[2], [2], [1, 2]]


async def test_each_child_has_a_budget_of_its_own_that_renews_itself(mock_clock: trio.testing.MockClock) -> None:
    policy = Supervision(restarts_max=2, window_seconds=10, exhausted=Directive.STOP)
    async with open_actors() as actors:
        one, two = (actors.spawn(Plain, None, Props(supervision=policy)) for _ in range(2))
        for _ in range(5):
            for ref in (one, two, one, two):
                with pytest.raises(Crashed):
                    await ref.ask(does(boom))
            mock_clock.jump(10.1)
        assert (one.alive, two.alive) == (True, True)
        for _ in range(3):
            with pytest.raises(Crashed):
                await one.ask(does(boom))
        assert (one.alive, two.alive) == (False, True)


def test_a_row_of_failures_waits_longer_each_time_and_ends_after_a_quiet_window() -> None:
    policy = Supervision(backoff=Backoff(seconds=1, factor=2, seconds_max=10, jitter=0), window_seconds=5)
    failures, chance, at, waits = Failures(), random.Random(1), 100.0, []
    for _ in range(6):
        waits.append(failures.wait(at, policy, chance))
        at += waits[-1] + 5
    assert waits == [1, 2, 4, 8, 10, 10]
    assert failures.wait(at + 0.1, policy, chance) == 1
    jitter = Backoff(seconds=1, jitter=0.5)
    assert all(0.5 < jitter.wait(1, chance) <= 1 for _ in range(100))
    assert jitter.wait(10**6, chance) <= jitter.seconds_max


@pytest.mark.parametrize("window_seconds", [0.0, 1e-9])
def test_no_window_is_too_short_to_count(window_seconds: float) -> None:
    assert not Failures().add(5.0, Supervision(window_seconds=window_seconds, restarts_max=1))


async def test_a_restart_asked_for_while_one_backs_off_makes_one_incarnation(
    mock_clock: trio.testing.MockClock,
) -> None:
    """All-for-one with a back-off: each sibling's failure asks the others to restart again."""
    mock_clock.autojump_threshold = 0
    made: list[Any] = []

    class Counted(Waiter):
        def __init__(self, here: Here) -> None:
            super().__init__(here)
            made.append(here.ref)

    def policy(seconds: float) -> Props:
        backoff = Backoff(seconds=seconds, factor=1, jitter=0)
        return Props(supervision=Supervision(together=True, backoff=backoff, restarts_max=100))

    async with open_actors() as actors:
        parent = actors.spawn(Plain)

        def spawn(self: Plain) -> list[ActorRef]:
            return [self.here.spawn(Counted, None, policy(seconds)) for seconds in (10, 1)]

        slow, quick = await parent.ask(does(spawn))
        made.clear()
        await _crashes(slow)
        for _ in range(4):
            await _crashes(quick)
        await trio.sleep(4.5)
        assert (made.count(slow), made.count(quick)) == (0, 5)
        assert await slow.ask(does(done)) == 0
        await trio.sleep(100)
        assert (made.count(slow), made.count(quick)) == (1, 5)


async def _crashes(ref: ActorRef) -> None:
    with pytest.raises((Crashed, Unreachable)):
        await ref.ask(does(boom))


async def test_a_stop_while_it_backs_off_or_is_made_leaves_nobody(mock_clock: trio.testing.MockClock) -> None:
    mock_clock.autojump_threshold = 0
    backs_off = Props(supervision=Supervision(backoff=Backoff(seconds=60), restarts_max=100))

    class Brief(Plain):
        def __init__(self, here: Here) -> None:
            super().__init__(here)
            here.stop_soon("brief")

    async with open_actors() as actors:
        ref, brief = actors.spawn(Waiter, "ref", backs_off), actors.spawn(Brief, "brief")
        watcher = actors.spawn(Plain)
        await watcher.ask(does(lambda self: [self.here.watch(one) for one in (ref, brief)] and None))
        await _crashes(ref)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_is_gone, ref)
            await blocked()
            assert await ref.stop()
        assert not brief.alive
        heard = await watcher.ask(Do(what=0))
        assert heard[:2] == [("gone", "brief"), ("gone", "stopped")]
        await trio.sleep(100)
        assert not ref.alive
        assert [cell.path for cell in actors.walk()] == [watcher.path]


async def _is_gone(ref: ActorRef) -> None:
    with pytest.raises(Unreachable):
        await ref.ask(does(done))


async def test_a_handler_that_waits_ends_with_its_incarnation_and_the_next_begins_after_it() -> None:
    """By a failure beside it: one message at a time holds over a restart, however long the old handler takes to end."""
    running, peak = 0, 0

    class Careful(Waiter):
        async def handle(self, message: Do) -> Reply:
            nonlocal running, peak
            running += 1
            peak = max(peak, running)
            try:
                return await super().handle(message)
            finally:
                with trio.CancelScope(shield=True):
                    for _ in range(5):
                        await trio.lowlevel.checkpoint()
                running -= 1

    async with open_actors() as actors:
        ref = actors.spawn(Careful, None, ENDURES)
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(_ended_in_the_middle, ref)
                await blocked()
                nursery.start_soon(ref.ask, does(done))
                await blocked()
        await blocked()
        assert (running, peak) == (0, 1)
        nothing_is_left(actors)


async def _ended_in_the_middle(ref: ActorRef) -> None:
    async def breaks() -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError("beside")

    async def begin(self: Waiter) -> None:
        self.here.run(breaks)
        await trio.sleep_forever()

    with pytest.raises(Unreachable, match="in the middle: restarted"):
        await ref.ask(does(begin))


async def test_a_child_that_fails_in_its_parents_first_step_restarts_the_parent_after_that_step() -> None:
    escalates = Props(supervision=Supervision(otherwise=Directive.ESCALATE))
    made: list[int] = []
    after: list[int] = []

    class Parent(Waiter):
        def __init__(self, here: Here) -> None:
            super().__init__(here)
            made.append(1)

    async def begin(self: Parent) -> None:
        child = self.here.spawn(Plain, "child", escalates)
        with pytest.raises(Crashed):
            await child.ask(does(boom))
        after.append(len(made))
        with pytest.raises(RuntimeError, match="nothing is spawned"):
            self.here.spawn(Plain)
        await trio.lowlevel.checkpoint()
        after.append(-1)

    async with open_actors() as actors:
        ref = actors.spawn(Parent, "parent", ENDURES)
        with pytest.raises(Unreachable, match="in the middle: restarted"):
            await ref.ask(does(begin))
        assert await ref.ask(does(done)) == 0
        assert (len(made), after) == (2, [1])
        nothing_is_left(actors)


async def test_a_parent_waits_for_its_children_before_it_begins_anew_but_not_for_ever(
    mock_clock: trio.testing.MockClock,
) -> None:
    mock_clock.autojump_threshold = 0
    order: list[str] = []

    class Child(Waiter):
        def stopped(self) -> None:
            order.append("child stopped")

    class Parent(Plain):
        def __init__(self, here: Here) -> None:
            super().__init__(here)
            order.append("parent made")

    async with open_actors(stop_seconds_max=5) as actors:
        ref = actors.spawn(Parent, "parent", ENDURES)
        child: ActorRef = await ref.ask(does(lambda self: self.here.spawn(Child, "child")))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cut_off, child)
            await blocked()
            await _crashes(ref)
            began = trio.current_time()
            assert await ref.ask(Do(what=1)) == [1]
            assert trio.current_time() - began == pytest.approx(5)
        assert order == ["parent made", "child stopped", "parent made"]
        assert list(actors.slow_to_stop) == ["parent/child"]


async def _cut_off(ref: ActorRef) -> None:
    with pytest.raises(Unreachable, match="in the middle: its parent restarts"):
        await ref.ask(does(forever))


async def test_a_restart_storm_ends_with_the_system_and_every_asker_is_told() -> None:
    told: list[str] = []

    async def storm(ref: ActorRef) -> None:
        for _ in range(100):
            try:
                await ref.ask(does(boom))
            except (Crashed, Unreachable) as error:
                told.append(type(error).__name__)

    async with trio.open_nursery() as outside:
        with pytest.RaisesGroup(pytest.RaisesExc(Exhausted, match="failed too often"), flatten_subgroups=True):
            async with open_actors() as actors:
                ref = actors.spawn(Waiter, "ref", Props(mailbox_max=3))
                for _ in range(10):
                    outside.start_soon(storm, ref)
                await trio.sleep_forever()
    assert len(told) == 1000
    assert told.count("Crashed") == 6


async def test_a_storm_within_the_budget_loses_no_message() -> None:
    heard: list[int] = []

    def note(number: int) -> Any:
        def noted(_: object) -> None:
            heard.append(number)
            if number % 3 == 0:
                raise ValueError(number)

        return does(noted)

    async with open_actors() as actors:
        for kind in (Plain, Waiter):
            heard.clear()
            ref = actors.spawn(kind, None, Props(supervision=ENDURING, caller_runs=False))
            for number in range(900):
                ref.tell(note(number))
            await ref.ask(does(lambda _: None))
            assert heard == list(range(900))
            nothing_is_left(actors)


@pytest.mark.parametrize("kind", [Plain, Waiter])
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), BaseException("any")])
@pytest.mark.parametrize("caller_runs", [False, True])
async def test_what_is_no_exception_ends_the_system_and_every_asker_is_told(
    kind: Any, error: BaseException, caller_runs: bool
) -> None:
    told: list[str] = []

    async def ask(ref: ActorRef, message: Do) -> None:
        with pytest.raises(Unreachable) as caught:
            await ref.ask(message)
        told.append(str(caught.value))

    async def all_ask(refs: list[ActorRef]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, refs[1], does(forever))
            await blocked()
            nursery.start_soon(ask, refs[0], fails(error))
            await trio.lowlevel.checkpoint()
            for _ in range(2):
                nursery.start_soon(ask, refs[0], does(str))

    async with trio.open_nursery() as outside:
        with pytest.RaisesGroup(type(error), flatten_subgroups=True):
            async with open_actors() as actors:
                refs = [actors.spawn(kind, None, Props(caller_runs=caller_runs)), actors.spawn(Waiter)]
                outside.start_soon(all_ask, refs)
                await trio.sleep_forever()
    assert len(told) == 4
    assert any(type(error).__name__ in one for one in told)


async def test_what_is_no_exception_ends_the_system_from_a_constructor_and_from_work_too() -> None:
    class Bad(Plain):
        def __init__(self, here: Here) -> None:
            raise SystemExit(1)

    async def work() -> None:
        raise SystemExit(2)

    async def spawn(actors: Actors) -> None:
        assert not actors.spawn(Bad).alive

    async def run(actors: Actors) -> None:
        await actors.spawn(Plain).ask(does(lambda self: self.here.run(work)))

    for act in (spawn, run):
        with pytest.RaisesGroup(SystemExit, flatten_subgroups=True):
            async with open_actors() as actors:
                await act(actors)
                await trio.sleep_forever()


async def test_a_cancelled_handler_or_work_that_fails_as_well_is_a_failure_of_that_actor_alone() -> None:
    """Its nursery raises an exception group in which a cancellation and a failure are mixed."""

    async def fails_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("on the way out")

    async def nursery_of_them(*_: object) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails_when_cancelled)
            nursery.start_soon(trio.sleep_forever)

    async with open_actors() as actors:
        for seconds in (0.0, 0.01):
            ref = actors.spawn(Waiter)
            await ref.ask(does(lambda self: self.here.run(nursery_of_them)))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_told_unreachable, ref, nursery_of_them)
                await blocked()
                assert not await ref.stop(seconds)
        assert actors.counts["crashed"] == 4
        restarted = actors.spawn(Plain)
        await restarted.ask(does(lambda self: self.here.run(nursery_of_them)))
        await blocked()
        await _crashes(restarted)
        await blocked()
        assert await restarted.ask(Do(what=1)) == [1]


async def _told_unreachable(ref: ActorRef, what: Any) -> None:
    with pytest.raises(Unreachable, match="in the middle"):
        await ref.ask(does(what))


async def test_a_constructor_that_may_not_resume_restarts_and_one_that_spawned_first_leaves_no_orphan() -> None:
    left = [3]

    class Late(Plain):
        def __init__(self, here: Here) -> None:
            super().__init__(here)
            here.spawn(Waiter, "child")
            here.timers.start("key", "late", 0, every=1)
            here.run(trio.sleep_forever)
            if left[0]:
                left[0] -= 1
                raise ValueError("not yet")

    async with open_actors() as actors:
        ref = actors.spawn(Late, "late", Props(supervision=Supervision(otherwise=Directive.RESUME)))
        assert await ref.ask(Do(what=1)) in ([1], ["late", 1])
        assert [cell.path for cell in actors.walk()] == ["late", "late/child"]
        cell: Any = ref
        assert len(cell._extras.work) == 1
        assert len(cell._extras.timers) == 1


async def test_a_child_whose_constructor_fails_too_often_fails_its_parent_after_the_parents_step() -> None:
    class Never(Plain):
        def __init__(self, here: Here) -> None:
            raise ValueError("never")

    policy = Props(supervision=Supervision(otherwise=Directive.ESCALATE))
    async with open_actors() as actors:
        for kind in (Plain, Waiter):
            ref = actors.spawn(kind, None, ENDURES)
            child: ActorRef = await ref.ask(does(lambda self: self.here.spawn(Never, None, policy)))
            assert not child.alive
            assert ref.alive
            assert await ref.ask(does(lambda _: "afresh")) == "afresh"
        nothing_is_left(actors)


async def test_work_started_just_before_a_restart_ends_with_its_incarnation() -> None:
    ran: list[int] = []

    async def work() -> None:
        ran.append(1)
        await trio.sleep_forever()

    def begin(self: Plain) -> None:
        self.here.run(work)
        raise ValueError("and fail")

    async with open_actors() as actors:
        ref: Any = actors.spawn(Plain, None, ENDURES)
        for _ in range(5):
            with pytest.raises(Crashed):
                await ref.ask(does(begin))
        await blocked()
        assert await ref.ask(Do(what=1)) == [1]
        assert (ran, ref._extras.work) == ([], set())


async def test_whatever_work_raises_is_the_actors_failure() -> None:
    async def refuses() -> None:
        raise Refused("no")

    async with open_actors() as actors:
        ref = actors.spawn(Plain, None, ENDURES)
        await ref.ask(Do(what=1))
        await ref.ask(does(lambda self: self.here.run(refuses)))
        await blocked()
        assert await ref.ask(Do(what=2)) == [2]


async def test_top_actors_with_one_policy_for_all_restart_together_too() -> None:
    together = Props(supervision=Supervision(together=True))
    async with open_actors() as actors:
        first, second = actors.spawn(Plain, None, together), actors.spawn(Plain, None, together)
        third = actors.spawn(Plain)
        for ref in (first, second, third):
            await ref.ask(Do(what="old"))
        with capture_logs(), pytest.raises(Crashed):
            await first.ask(does(boom))
        assert [await ref.ask(Do(what="new")) for ref in (first, second, third)] == [["new"], ["new"], ["old", "new"]]


async def test_the_next_incarnation_begins_after_the_work_of_the_one_before() -> None:
    steps: list[str] = []

    class Works(Plain):
        def __init__(self, here: Here) -> None:
            super().__init__(here)
            steps.append("made")
            here.run(self.work)

        async def work(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    for _ in range(5):
                        await trio.lowlevel.checkpoint()
                steps.append("work ended")

    async with open_actors() as actors:
        ref = actors.spawn(Works, None, ENDURES)
        for _ in range(3):
            await blocked()
            with pytest.raises(Crashed):
                await ref.ask(does(boom))
        await blocked()
    assert steps == ["made", "work ended"] * 4

"""Who runs next: nobody starves, a handler that waits keeps its actor alone, and what a handler opens or sets stays its own."""

import contextvars
import gc
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from runtime.actor import Actor, Reply
from runtime.actors import Props, open_actors
from runtime.dispatcher import PASS_STEPS, QUANTUM, SPARES_MAX
from runtime.errors import AskCycle, Crashed, NotAnswered, Unreachable
from runtime.ref import ActorRef
from runtime.supervision import Supervision
from tests.runtime.puppets import Do, Plain, Waiter, boom, does, done, nothing_is_left

blocked = trio.testing.wait_all_tasks_blocked
ENDURES = Props(supervision=Supervision(restarts_max=1000))
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@pytest.mark.parametrize("kind", [Plain, Waiter])
async def test_one_flooded_actor_does_not_starve_a_hundred_others(kind: Any) -> None:
    """Between two messages of anybody else, the flooded one handles QUANTUM at most; a pass is PASS_STEPS long."""
    order: list[int] = []

    def note(number: int) -> Do:
        return does(lambda _: order.append(number))

    async with open_actors() as actors:
        flooded = actors.spawn(kind, None, Props(mailbox_max=100_000, caller_runs=False))
        others = [actors.spawn(kind, None, Props(caller_runs=False)) for _ in range(100)]
        for _ in range(50_000):
            flooded.tell(note(0))
        for _ in range(3):
            for number, ref in enumerate(others, 1):
                ref.tell(note(number))
        await others[-1].ask(does(lambda _: None))
        first = order.index(100)
        assert order[:first].count(0) <= QUANTUM
        ticks = 0
        while len(order) < 50_300:
            before = len(order)
            await trio.lowlevel.checkpoint()
            assert len(order) - before <= 2 * (PASS_STEPS + QUANTUM)  # the leader may run before and after this task
            ticks += 1
        assert ticks > 100
        nothing_is_left(actors)


async def test_an_actor_that_tells_itself_for_ever_lets_the_world_go_on() -> None:
    async with open_actors() as actors:
        ref = actors.spawn(Plain)

        def again(self: Plain) -> None:
            if not self.heard:
                self.here.ref.tell(does(again))

        ref.tell(does(again))
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        assert await ref.ask(Do(what="end")) == ["end"]


async def test_ten_thousand_idle_actors_are_one_task_and_as_many_more_as_handlers_wait() -> None:
    async with open_actors() as actors:
        refs = [actors.spawn(Waiter) for _ in range(10_000)]
        for ref in refs:
            assert await ref.ask(does(done)) == 0
        assert actors.dispatcher.tasks == 1
        gate = trio.Event()
        async with trio.open_nursery() as nursery:
            for ref in refs[:100]:
                nursery.start_soon(ref.ask, does(lambda _: gate.wait()))
            await blocked()
            assert actors.dispatcher.tasks == 101
            gate.set()
        await blocked()
        assert actors.dispatcher.tasks <= SPARES_MAX + 1


async def test_a_handler_may_open_nurseries_scopes_and_generators_before_it_waits_first() -> None:
    async def numbers() -> AsyncIterator[int]:
        with trio.CancelScope():
            for number in range(3):
                yield number
                await trio.lowlevel.checkpoint()

    async def add(to: list[int], number: int) -> None:
        await trio.lowlevel.checkpoint()
        to.append(number)

    async def opens(self: Waiter) -> list[int]:
        found: list[int] = []
        with trio.move_on_after(10), trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                with trio.fail_after(10):
                    for number in range(3):
                        nursery.start_soon(add, found, number)
                    found.extend([10 + number async for number in numbers()])
        with trio.move_on_after(0) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught
        return sorted(found)

    async with open_actors() as actors:
        refs = [actors.spawn(Waiter) for _ in range(5)]
        found: list[Any] = []

        async def ask(ref: ActorRef) -> None:
            found.append(await ref.ask(does(opens)))

        for _ in range(20):
            async with trio.open_nursery() as nursery:
                for ref in refs:
                    nursery.start_soon(ask, ref)
        assert found == [[0, 1, 2, 10, 11, 12]] * 100
        nothing_is_left(actors)


async def test_what_a_handler_sets_in_its_context_is_not_seen_by_the_next_one_nor_by_its_caller() -> None:
    async def leaves_it(_: object) -> str:
        before = variable.get()
        variable.set("one")
        await trio.lowlevel.checkpoint()
        return before + variable.get()

    def leaves_it_at_once(_: object) -> str:
        before = variable.get()
        variable.set("two")
        return before

    async def keeps_token(_: object) -> str:
        token = variable.set("three")
        await trio.lowlevel.checkpoint()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_sees, "three")
        variable.reset(token)
        return variable.get()

    variable.set("callers")
    async with open_actors() as actors:
        one, two = actors.spawn(Waiter), actors.spawn(Waiter)
        for _ in range(3):
            for ref in (one, two):
                assert await ref.ask(does(leaves_it)) == "unsetone"
                assert await ref.ask(does(leaves_it_at_once)) == "unset"
                assert await ref.ask(does(keeps_token)) == "unset"
                ref.tell(does(leaves_it_at_once))  # and of those that are handled in one turn
                assert await ref.ask(does(leaves_it_at_once)) == "unset"
    assert variable.get() == "callers"


async def rests(_: object) -> None:
    await trio.lowlevel.checkpoint()


async def _sees(value: str) -> None:
    assert variable.get() == value


async def test_a_handler_that_swallows_its_cancellation_is_waited_for_and_answers() -> None:
    async def stubborn(_: object) -> str:
        for _ in range(3):
            with suppress(trio.Cancelled):
                await trio.sleep_forever()
        ended.append(True)
        return "in spite of all"

    ended: list[bool] = []
    async with open_actors() as actors:
        ref, answers = actors.spawn(Waiter), []

        async def ask() -> None:
            answers.append(await ref.ask(does(stubborn)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await blocked()
            assert not await ref.stop(0)
            assert ended, "the stop has waited for the handler"
        assert answers == ["in spite of all"]
        other = actors.spawn(Waiter)
        assert await other.ask(does(rests)) is None
        nothing_is_left(actors)


# ---- circles


def asks(ref: ActorRef, what: Any) -> Do:
    async def ask(_: object) -> Any:
        return await ref.ask(does(what))

    return does(ask)


@pytest.mark.parametrize("length", [1, 2, 5])
async def test_a_circle_of_asks_is_an_error_that_names_all_of_it(length: int) -> None:
    async with open_actors() as actors:
        refs = [actors.spawn(Waiter, f"actor{number}") for number in range(length)]
        message: Any = done
        for ref in [refs[0], *reversed(refs[1:])]:
            message = asks(ref, message).what
        names = " → ".join([f"actor{length - 1}", *(f"actor{number}" for number in range(length))])
        with pytest.raises(AskCycle, match=f"^{names}$"):
            await refs[0].ask(does(message))
        assert [await ref.ask(does(done)) for ref in refs] == [0] * length
        nothing_is_left(actors)


async def test_a_circle_is_found_wherever_in_a_nursery_it_is_closed() -> None:
    async with open_actors() as actors:
        one, two, three = (actors.spawn(Waiter, name) for name in ("one", "two", "three"))

        async def ask_all(_: object) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(three.ask, does(rests))
                nursery.start_soon(_is_told_of_the_circle, two, asks(one, done))

        await one.ask(does(ask_all))
        nothing_is_left(actors)


async def _is_told_of_the_circle(ref: ActorRef, message: Do) -> None:
    with pytest.raises(AskCycle):
        await ref.ask(message)


async def test_a_long_chain_or_a_wide_one_is_no_circle_and_costs_little() -> None:
    """Asked from the far end on, each ask has the whole chain before it; over layers of pairs there are 2**40 ways."""
    async with open_actors() as actors:
        gate = trio.Event()
        refs = [actors.spawn(Waiter) for _ in range(3000)]

        async def held(_: object) -> None:
            await gate.wait()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(refs[0].ask, does(held))
            await blocked()
            for before, ref in pairwise(refs):
                nursery.start_soon(ref.ask, asks(before, done))
                if before is refs[1500]:
                    await blocked()
            await blocked()
            gate.set()
        gate = trio.Event()
        layers = [[actors.spawn(Waiter) for _ in range(2)] for _ in range(40)]

        def asks_both(layer: list[ActorRef]) -> Any:
            async def ask(_: object) -> None:
                async with trio.open_nursery() as nursery:
                    for ref in layer:
                        nursery.start_soon(ref.ask, does(done))

            return ask

        async with trio.open_nursery() as nursery:
            for ref in layers[0]:
                nursery.start_soon(ref.ask, does(held))
            await blocked()
            for below, layer in pairwise(layers):
                for ref in layer:
                    nursery.start_soon(ref.ask, does(asks_both(below)))
                await blocked()
            gate.set()
        nothing_is_left(actors)


async def test_work_and_tasks_in_somebody_elses_nursery_do_not_keep_the_actor_from_answering() -> None:
    told: list[Any] = []
    async with open_actors() as actors, trio.open_nursery() as nursery:
        one, two = actors.spawn(Waiter, "one"), actors.spawn(Waiter, "two")

        async def ask_two() -> None:
            told.append(await two.ask(asks(one, done)))

        async def leaves_tasks(self: Waiter) -> None:
            self.here.run(ask_two)
            nursery.start_soon(ask_two)
            await trio.lowlevel.checkpoint()
            await blocked()

        await one.ask(does(leaves_tasks), seconds=5)
        while len(told) < 2:
            await trio.lowlevel.checkpoint()
        assert min(told) == 1  # only then: the first handler had ended
        nothing_is_left(actors)


# ---- interceptors


async def test_interceptors_see_deny_alter_and_answer_each_delivery() -> None:
    seen: list[tuple[str, Any]] = []

    def outer(ref: ActorRef, message: Any, handle: Any) -> Any:
        seen.append(("outer", message.what))
        if message.what == "denied":
            raise Unreachable("denied")
        if message.what == "broken":
            raise ValueError("broken")
        return handle(message)

    def inner(ref: ActorRef, message: Any, handle: Any) -> Any:
        seen.append(("inner", message.what))
        if message.what == "altered":
            message = does(lambda _: "another")
        return handle(message)

    with capture_logs():
        async with open_actors(interceptors=(outer, inner)) as actors:
            for kind in (Plain, Waiter):
                seen.clear()
                ref = actors.spawn(kind, None, ENDURES)
                assert await ref.ask(Do(what="altered")) == "another"
                with pytest.raises(Unreachable, match="denied"):
                    await ref.ask(Do(what="denied"))
                with pytest.raises(Crashed):
                    await ref.ask(Do(what="broken"))
                assert await ref.ask(Do(what="altered")) == "another"
                altered = [("outer", "altered"), ("inner", "altered")]
                assert seen == [*altered, ("outer", "denied"), ("outer", "broken"), *altered]
            nothing_is_left(actors)
            gc.collect()


async def test_an_interceptor_may_answer_in_place_of_an_async_handler() -> None:
    def answers(ref: ActorRef, message: Any, handle: Any) -> Any:
        return None if message.what is done else handle(message)

    async with open_actors(interceptors=(answers,)) as actors:
        ref = actors.spawn(Waiter)
        assert await ref.ask(does(done)) is None
        assert await ref.ask(does(lambda self: self.done)) == 0


async def test_without_interceptors_an_idle_actor_runs_in_its_askers_step() -> None:
    steps: list[bool] = []

    class Looks(Actor[Do, None]):
        def handle(self, message: Do) -> None:
            steps.append(trio.lowlevel.current_task() is message.what)

    async with open_actors() as actors:
        await actors.spawn(Looks).ask(Do(what=trio.lowlevel.current_task()))
    async with open_actors(interceptors=(lambda ref, message, handle: handle(message),)) as actors:
        await actors.spawn(Looks).ask(Do(what=trio.lowlevel.current_task()))
    assert steps == [True, False]


async def test_a_late_answer_disturbs_nobody() -> None:
    async with open_actors() as actors:
        ref, gate = actors.spawn(Waiter), trio.Event()

        async def late(_: object) -> str:
            await gate.wait()
            return "late"

        with pytest.raises(NotAnswered) as caught:
            await ref.ask(does(late), seconds=0)
        assert caught.value.begun
        gate.set()
        assert await ref.ask(does(done)) == 1
        with capture_logs():
            gate = trio.Event()

            async def fails_late(_: object) -> None:
                await gate.wait()
                boom(_)

            with pytest.raises(NotAnswered):
                await ref.ask(does(fails_late), seconds=0)
            gate.set()
            assert await ref.ask(does(done)) == 0
        nothing_is_left(actors)


@pytest.mark.parametrize("rests", [True, False])
async def test_another_thread_is_told_off_and_leaves_nobody_stuck(rests: bool) -> None:
    told: list[BaseException] = []

    def intrudes(ref: ActorRef) -> None:
        try:
            ref.tell(Do(what="from elsewhere"))
        except RuntimeError as error:
            told.append(error)

    async with open_actors() as actors:
        ref = actors.spawn(Plain)
        if not rests:  # then it is noticed only when the message is in the mailbox
            ref.tell(Do(what="before"))
        await blocked()
        thread = threading.Thread(target=intrudes, args=(ref,))
        thread.start()
        await trio.to_thread.run_sync(thread.join)
        await blocked()
        heard = [] if rests else ["before", "from elsewhere"]
        assert await ref.ask(Do(what="after"), seconds=1) == [*heard, "after"]
        ref.tell(Do(what="a last one"))
        await blocked()
        assert not actors.ages.rests
    [error] = told
    assert "trio.from_thread" in str(error)


async def test_interceptors_that_wait_are_around_every_handler() -> None:
    steps: list[str] = []

    async def waits(ref: ActorRef, message: Any, handle: Any) -> Any:
        steps.append("before")
        await trio.lowlevel.checkpoint()
        answered = await handle(message)
        steps.append("after")
        return answered

    def answers(ref: ActorRef, message: Any, handle: Any) -> Any:
        return Reply("at once") if message.what is done else handle(message)

    with capture_logs():
        for interceptors in ((waits, answers), (answers, waits), (partial(waits),)):
            async with open_actors(interceptors=interceptors) as actors:
                for kind in (Plain, Waiter):
                    ref = actors.spawn(kind, None, ENDURES)
                    steps.clear()
                    assert await ref.ask(does(lambda _: "answered")) == "answered"
                    assert steps == ["before", "after"]
                    with pytest.raises(Crashed):
                        await ref.ask(does(boom))
                    if answers in interceptors:
                        assert await ref.ask(does(done)) == "at once"
                nothing_is_left(actors)

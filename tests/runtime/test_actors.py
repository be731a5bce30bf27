"""Actors in memory: asked and told, restarted and stopped, watched, timed, and held back."""

from typing import Any

import pytest
import trio
import trio.testing

from runtime.actor import Actor, Reply, Stashed, reply
from runtime.actors import Here, Props, open_actors
from runtime.delivery import Receipt
from runtime.errors import AskCycle, Crashed, Exhausted, NotAnswered, Overloaded, Unreachable
from runtime.ref import ActorRef
from runtime.supervision import Directive, Supervision
from tests.runtime.puppets import Do, Plain, Waiter, boom, does, done

blocked = trio.testing.wait_all_tasks_blocked


async def test_an_actor_that_fails_starts_afresh_and_its_mailbox_waits() -> None:
    async with open_actors() as actors:
        ref = actors.spawn(Plain, "p")
        assert await ref.ask(Do(what=1)) == [1]
        with pytest.raises(Crashed):
            await ref.ask(does(boom))
        assert await ref.ask(Do(what=2)) == [2]
        for message in (does(boom), Do(what=3)):
            ref.tell(message)
        assert await ref.ask(Do(what=4)) == [3, 4]


async def test_one_failure_too_many_ends_the_system() -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(Exhausted, match="p failed too often"), flatten_subgroups=True):
        async with open_actors() as actors:
            ref = actors.spawn(Plain, "p", Props(supervision=Supervision(restarts_max=2)))
            for _ in range(3):
                with pytest.raises(Crashed):
                    await ref.ask(does(boom))
            await trio.sleep_forever()


async def test_a_handler_that_waits_keeps_its_own_actor_alone() -> None:
    async with open_actors() as actors:
        slow, other, gate = actors.spawn(Waiter), actors.spawn(Waiter), trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(slow.ask, does(lambda _: gate.wait()))
            await blocked()
            assert await other.ask(does(done)) == 0
            receipt = Receipt()
            with trio.move_on_after(0.01):
                await slow.ask(does(done), receipt=receipt)
            assert receipt.fate == "withdrawn"
            with pytest.raises(NotAnswered) as caught:
                await slow.ask(does(done), seconds=0.01)
            assert not caught.value.begun
            gate.set()
        assert await slow.ask(does(done)) == 1


async def test_what_has_begun_is_done_although_its_asker_left() -> None:
    async with open_actors() as actors:
        ref, gate, receipt = actors.spawn(Waiter), trio.Event(), Receipt()
        with trio.move_on_after(0.01):
            await ref.ask(does(lambda _: gate.wait()), receipt=receipt)
        assert receipt.fate == "begun"
        gate.set()
        assert await ref.ask(does(done)) == 1


async def test_an_ask_that_would_never_be_answered_names_the_whole_circle() -> None:
    async with open_actors() as actors:
        first, second = actors.spawn(Waiter, "first"), actors.spawn(Waiter, "second")

        def back(_: object) -> Any:
            return first.ask(does(done))

        def there(_: object) -> Any:
            return second.ask(does(back))

        with pytest.raises(AskCycle, match="second → first → second"):
            await first.ask(does(there))
        assert await first.ask(does(done)) == 0


async def test_children_end_before_their_parent_and_watchers_hear_of_it_once() -> None:
    async with open_actors() as actors:
        parent = actors.spawn(Plain, "parent")
        child: ActorRef = await parent.ask(does(lambda self: self.here.spawn(Waiter, "child")))
        watcher = actors.spawn(Plain)
        await watcher.ask(does(lambda self: self.here.watch(parent, "parent is gone")))
        await watcher.ask(does(lambda self: self.here.watch(child)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_is_told_unreachable, child)
            await blocked()
            assert not await parent.stop(0.01)
        assert (parent.alive, child.alive) == (False, False)
        assert list(actors.slow_to_stop) == ["parent/child"]
        await watcher.ask(does(lambda self: self.here.watch(parent)))
        await blocked()
        gone = ("gone", "stopped")
        assert await watcher.ask(Do(what=1)) == [("gone", "its parent stops"), "parent is gone", gone, 1]
        parent.tell(Do(what=1))
        [letter] = actors.dead_letters.newest()
        assert (letter.message, letter.reason) == (Do(what=1), "stopped")


async def _forever(_: object) -> None:
    await trio.sleep_forever()


async def _is_told_unreachable(ref: ActorRef) -> None:
    with pytest.raises(Unreachable, match="in the middle"):
        await ref.ask(does(_forever))


async def test_a_timer_started_anew_makes_its_older_message_void() -> None:
    async with open_actors() as actors:
        ref = actors.spawn(Plain)

        await ref.ask(does(lambda self: self.here.timers.start("key", "rings", 0.0)))
        await blocked(0.01)
        assert await ref.ask(Do(what="x")) == ["rings", "x"]
        held = actors.spawn(Waiter)
        gate = trio.Event()

        async def overtaken(self: Waiter) -> None:
            self.here.timers.start("key", does(lambda it: setattr(it, "done", 100)), 0.0)
            await gate.wait()
            self.here.timers.start("key", does(lambda it: setattr(it, "done", 200)), 0.0)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(held.ask, does(overtaken))
            await blocked(0.01)
            gate.set()
        await blocked(0.01)
        assert await held.ask(does(done)) == 201


class Door(Actor[Do, None]):
    """Puts everything aside until it is opened."""

    def __init__(self, here: Here) -> None:
        super().__init__(here)
        self.here: Here = here
        self.is_open = False
        self.count = 0

    def handle(self, message: Do) -> Reply | Stashed:
        if message.what == "open":
            self.is_open = True
            self.here.unstash()
            return reply(message, None)
        if not self.is_open:
            return self.here.stash()
        self.count += 1
        return reply(message, (message.what, self.count))


async def test_what_was_put_aside_is_answered_later_in_its_order() -> None:
    answers = []

    async def ask(ref: ActorRef, number: int) -> None:
        answers.append(await ref.ask(Do(what=number)))

    async with open_actors() as actors:
        ref = actors.spawn(Door, props=Props(stash_max=3))
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(ask, ref, number)
                await blocked()
            with pytest.raises(Overloaded):
                await ref.ask(Do(what=3))
            await ref.ask(Do(what="open"))
    assert sorted(answers) == [(0, 1), (1, 2), (2, 3)]


async def test_a_sender_waits_for_room_or_is_refused_as_it_likes() -> None:
    async with open_actors() as actors:
        ref = actors.spawn(Plain, props=Props(mailbox_max=4, caller_runs=False))
        async with trio.open_nursery() as nursery:
            for number in range(4):
                ref.tell(number)
            with pytest.raises(Overloaded):
                ref.tell(4)
            for number in range(10, 20):
                nursery.start_soon(ref.tell_when_free, number)
        heard = await ref.ask(Do(what="x"))
        assert heard[:4] == [0, 1, 2, 3]
        assert sorted(heard[4:-1]) == list(range(10, 20))


class Gate(Actor[Any, None]):
    """Its handler waits until it is opened; keeps the order of what it heard."""

    def __init__(self, here: Here) -> None:
        super().__init__(here)
        self.opened = trio.Event()
        self.heard: list[Any] = []

    async def handle(self, message: Any) -> None:
        await self.opened.wait()
        self.heard.append(message)


async def test_parked_senders_are_let_in_first_come_first_served_and_newcomers_cannot_overtake() -> None:
    made: list[Gate] = []

    def make(here: Here) -> Gate:
        made.append(Gate(here))
        return made[-1]

    async with open_actors() as actors, trio.open_nursery() as nursery:
        ref = actors.spawn(make, props=Props(mailbox_max=4))
        ref.tell("begun")
        await blocked()
        for number in range(4):
            ref.tell(number)
        scopes = [trio.CancelScope() for _ in range(6)]

        async def send(number: int) -> None:
            with scopes[number]:
                await ref.tell_when_free(f"parked {number}")

        for number in range(6):
            nursery.start_soon(send, number)
            await blocked()
        scopes[1].cancel()
        await blocked()
        with pytest.raises(Overloaded):
            ref.tell("newcomer")
        made[0].opened.set()
        await blocked()
        parked = [f"parked {number}" for number in (0, 2, 3, 4, 5)]
        assert made[0].heard == ["begun", 0, 1, 2, 3, *parked]


async def test_asks_that_were_withdrawn_take_no_room() -> None:
    async with open_actors() as actors, trio.open_nursery() as nursery:
        ref, gate = actors.spawn(Waiter, props=Props(mailbox_max=8)), trio.Event()
        nursery.start_soon(ref.ask, does(lambda _: gate.wait()))
        await blocked()
        for _ in range(50):
            with trio.move_on_after(0):
                await ref.ask(does(done))
        ref.tell(does(done))
        gate.set()
        assert await ref.ask(does(done)) == 2


async def test_a_constructor_that_raises_is_a_failure_like_any_other() -> None:
    left = [2]

    class Late(Plain):
        def __init__(self, here: Here) -> None:
            super().__init__(here)
            if left[0]:
                left[0] -= 1
                raise ValueError("not yet")

    async with open_actors() as actors:
        assert await actors.spawn(Late).ask(Do(what=1)) == [1]
        left[0] = 100
        never = actors.spawn(Late, "never", Props(supervision=Supervision(exhausted=Directive.STOP)))
        watcher = actors.spawn(Plain)
        await watcher.ask(does(lambda self: self.here.watch(never)))
        with pytest.raises(Unreachable):
            await never.ask(Do(what=1))
        await blocked()
        [gone, _] = await watcher.ask(Do(what=1))
        assert gone[0] == "gone"
        assert gone[1].startswith("failed (error ")


async def test_what_was_put_aside_comes_before_what_waits() -> None:
    order: list[str] = []

    class Opens(Actor[Do, None]):
        def __init__(self, here: Here) -> None:
            super().__init__(here)
            self.here: Here = here
            self.is_open = False

        def handle(self, message: Do) -> Any:
            if message.what == "open":
                self.is_open = True
                self.here.unstash()
            elif not self.is_open:
                return self.here.stash()
            else:
                order.append(message.what)
            return None

    async with open_actors() as actors:
        ref = actors.spawn(Opens)
        for what in ("aside 1", "aside 2", "open", "waited 1", "waited 2"):
            ref.tell(Do(what=what))
        await blocked()
    assert order == ["aside 1", "aside 2", "waited 1", "waited 2"]


async def test_nobody_is_let_in_nor_overtakes_before_half_of_the_room_is_free() -> None:
    step = trio.Semaphore(0)
    heard: list[Any] = []

    class Stepwise(Actor[Any, None]):
        async def handle(self, message: Any) -> None:
            await step.acquire()
            heard.append(message)

    async with open_actors() as actors, trio.open_nursery() as nursery:
        ref = actors.spawn(Stepwise, props=Props(mailbox_max=4))
        for number in range(5):
            ref.tell(number)
            await blocked()
        nursery.start_soon(ref.tell_when_free, "parked")
        await blocked()
        for left in (4, 3, 2):  # in the mailbox, when the handler has ended
            assert nursery.child_tasks
            with pytest.raises(Overloaded):
                ref.tell("newcomer")
            step.release()
            await blocked()
            assert bool(nursery.child_tasks) == (left > 2)
        ref.tell("last")
        for _ in range(5):
            step.release()
        await blocked()
        assert heard == [0, 1, 2, 3, 4, "parked", "last"]

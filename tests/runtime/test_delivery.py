"""Callers that leave at any moment: what they are told is true, and nothing of them stays behind."""

import random
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from runtime.actor import Actor, Reply, reply
from runtime.actors import MESSAGES_BETWEEN_CHECKPOINTS, Actors, Here, Props, open_actors
from runtime.delivery import Context, Receipt
from runtime.errors import AskCycle, Crashed, NotAnswered, Overloaded, Unreachable
from runtime.records import Command
from runtime.supervision import Supervision
from tests.runtime.puppets import Do, Plain, Waiter, boom, does, done, forever, nothing_is_left

blocked = trio.testing.wait_all_tasks_blocked


class Note(Command[int], frozen=True, kw_only=True):
    number: int
    rests: int = 0


def noting(handled: list[int], is_async: bool) -> Any:
    class Plainly(Actor[Note, None]):
        def handle(self, message: Note) -> Reply:
            handled.append(message.number)
            return reply(message, message.number)

    class Slowly(Actor[Note, None]):
        async def handle(self, message: Note) -> Reply:
            handled.append(message.number)
            for _ in range(message.rests):
                await trio.lowlevel.checkpoint()
            return reply(message, message.number)

    return Slowly if is_async else Plainly


async def ticks(count: int) -> None:
    for _ in range(count):
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("mailbox_max", [1, 2, 1000])
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("caller_runs", [False, True])
async def test_a_caller_cancelled_at_any_tick_is_told_what_became_of_its_message(
    mailbox_max: int, is_async: bool, caller_runs: bool
) -> None:
    """Parked, queued, begun, answered in the same tick: each number of ticks meets the caller somewhere else."""
    handled: list[int] = []
    receipts: dict[int, tuple[Receipt, list[Any]]] = {}
    props = Props(mailbox_max=mailbox_max, caller_runs=caller_runs)

    async def ask(ref: Any, number: int, after: int) -> None:
        receipt, answers = receipts[number] = Receipt(), []
        async with trio.open_nursery() as nursery:

            async def leave() -> None:
                await ticks(after)
                nursery.cancel_scope.cancel()

            if after == 0:
                nursery.cancel_scope.cancel()
            nursery.start_soon(leave)
            answers.append(await ref.ask(Note(number=number, rests=number % 3), receipt=receipt))
            nursery.cancel_scope.cancel()

    async with open_actors() as actors:
        ref = actors.spawn(noting(handled, is_async), None, props)
        for after in range(12):
            async with trio.open_nursery() as nursery:
                for caller in range(20):
                    nursery.start_soon(ask, ref, after * 100 + caller, after)
        assert await ref.ask(Note(number=-1)) == -1
        nothing_is_left(actors)
    fates = {receipt.fate for receipt, _ in receipts.values()}
    for number, (receipt, answers) in receipts.items():
        assert handled.count(number) == (receipt.fate != "withdrawn"), (number, receipt.fate)
        assert answers in ([], [number])
        assert not answers or receipt.fate == "answered"
    assert fates >= ({"answered", "withdrawn"} if is_async or not caller_runs else {"answered"})


@pytest.mark.parametrize("seed", range(8))
async def test_whoever_leaves_in_a_storm_of_deadlines_cancellations_and_failures_hears_the_truth(
    seed: int, mock_clock: trio.testing.MockClock
) -> None:
    chance = random.Random(seed)
    mock_clock.autojump_threshold = 0
    handled: list[int] = []
    told: dict[int, str] = {}

    class Stormy(Actor[Note, None]):
        async def handle(self, message: Note) -> Reply:
            handled.append(message.number)
            await trio.sleep(message.rests / 10)
            if message.number % 17 == 0:
                raise ValueError("storm")
            return reply(message, message.number)

    async def ask(ref: Any, number: int, start: float, limit: float, leaves: float, rests: int) -> None:
        await trio.sleep(start)
        receipt = Receipt()
        with trio.move_on_after(leaves):
            try:
                assert await ref.ask(Note(number=number, rests=rests), seconds=limit, receipt=receipt) == number
                told[number] = "handled"
            except NotAnswered as error:
                assert error.begun == (receipt.fate == "begun")
                told[number] = "handled" if error.begun else "withdrawn"
            except Crashed:
                assert number % 17 == 0
                told[number] = "handled"
            return
        told[number] = "withdrawn" if receipt.fate == "withdrawn" else "handled"

    props = Props(mailbox_max=5, supervision=Supervision(restarts_max=1000))
    with capture_logs():
        async with open_actors() as actors:
            refs = [actors.spawn(Stormy, None, props) for _ in range(3)]
            async with trio.open_nursery() as nursery:
                for number in range(400):
                    how = chance.uniform(0, 5), chance.uniform(0, 4), chance.uniform(0, 4), chance.randrange(4)
                    nursery.start_soon(ask, chance.choice(refs), number, *how)
            await trio.sleep(10)
            for ref in refs:
                await ref.ask(Note(number=-1))
            nothing_is_left(actors)
            await trio.sleep(60)
            assert len(actors.deadlines) == 0
    assert sorted(told) == list(range(400))
    assert [n for n in range(400) if handled.count(n) != (told[n] == "handled")] == []
    assert set(told.values()) == {"handled", "withdrawn"}


async def test_a_caller_cancelled_in_the_tick_of_its_answer_has_the_answer() -> None:
    answers, receipt, scope = [], Receipt(), trio.CancelScope()
    async with open_actors() as actors, trio.open_nursery() as nursery:
        ref = actors.spawn(Plain, None, Props(caller_runs=False))

        async def ask() -> None:
            with scope:
                answers.append(await ref.ask(does(answers_and_is_followed), receipt=receipt))

        def answers_and_is_followed(_: object) -> str:
            ref.tell(does(lambda _: scope.cancel()))  # handled in the same turn, after the answer has left
            return "the answer"

        nursery.start_soon(ask)
        await blocked()
        assert scope.cancel_called
        assert (answers, receipt.fate) == (["the answer"], "answered")


async def test_a_mailbox_stays_at_its_bound_for_minutes_while_its_callers_time_out(
    mock_clock: trio.testing.MockClock,
) -> None:
    mock_clock.autojump_threshold = 0
    told: list[bool] = []

    async def ask(ref: Any) -> None:
        with pytest.raises(NotAnswered) as caught:
            await ref.ask(does(done), seconds=2)
        told.append(caught.value.begun)

    async with open_actors() as actors:
        ref, gate = actors.spawn(Waiter, props=Props(mailbox_max=8)), trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_ask_begun, ref, gate)
            await trio.sleep(0.1)
            for _ in range(300):
                for _ in range(20):
                    nursery.start_soon(ask, ref)
                await trio.sleep(1)
                cell: Any = ref
                assert len(cell._queue) <= 8
                assert len(cell._extras.parked) <= 100
            await trio.sleep(3)
            gate.set()
        assert await ref.ask(does(done)) == 1
        nothing_is_left(actors)
    assert told == [False] * 6000


async def _ask_begun(ref: Any, gate: trio.Event) -> None:
    await ref.ask(does(lambda _: gate.wait()), seconds=10_000)


async def test_ten_thousand_parked_senders_are_let_in_in_order_but_those_that_left() -> None:
    heard: list[Any] = []
    gate = trio.Event()

    class Gated(Actor[Do, None]):
        async def handle(self, message: Do) -> None:
            await gate.wait()
            heard.append(message.what)

    async with open_actors() as actors:
        ref: Any = actors.spawn(Gated, props=Props(mailbox_max=4))
        scopes = [trio.CancelScope() for _ in range(10_000)]

        async def send(number: int) -> None:
            with scopes[number]:
                await ref.tell_when_free(Do(what=number))

        async with trio.open_nursery() as nursery:
            ref.tell(Do(what="begun"))
            await blocked()
            for number in range(10_000):
                nursery.start_soon(send, number)
            await blocked()
            order = [delivery.message.what for delivery in (*ref._queue, *ref._extras.parked)]
            for number in range(0, 10_000, 3):
                scopes[number].cancel()
            await blocked()
            with pytest.raises(Overloaded):
                ref.tell(Do(what="newcomer"))
            gate.set()
        await ref.ask(Do(what="last"))
        queued = order[:4]
        assert heard == ["begun", *[number for number in order if number % 3 or number in queued], "last"]
        nothing_is_left(actors)


async def test_what_was_put_aside_may_be_withdrawn_or_turned_away() -> None:
    class Aside(Plain):
        def handle(self, message: Any) -> Any:
            if message.what == "later":
                return self.here.stash()
            if message.what == "twice":
                self.here.stash()
                return self.here.stash()
            if message.what == "and fail":
                self.here.stash()
                raise ValueError("and fail")
            if message.what == "and stop":
                self.here.stop_soon()
                return self.here.stash()
            if message.what == "now":
                self.here.unstash()
            return super().handle(message)

    async with open_actors() as actors:
        ref = actors.spawn(Aside, props=Props(stash_max=3))
        for _ in range(10):
            receipt = Receipt()
            with trio.move_on_after(0):
                await ref.ask(Do(what="later"), receipt=receipt)
            assert receipt.fate == "withdrawn"
        with pytest.raises(NotAnswered):
            await ref.ask(Do(what="twice"), seconds=0)
        with pytest.raises(Crashed):
            await ref.ask(Do(what="and fail"))
        assert await ref.ask(Do(what="now")) == ["now"]
        await blocked()
        nothing_is_left(actors)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_is_gone, ref, "later")
            await blocked()
            nursery.start_soon(_is_gone, ref, "and stop")
        assert not ref.alive


async def _is_gone(ref: Any, what: str) -> None:
    with pytest.raises(Unreachable, match="is gone"):
        await ref.ask(Do(what=what))


async def test_a_caller_is_cancelled_at_its_checkpoint_before_anything_is_sent() -> None:
    async with open_actors() as actors:
        ref, waiter, receipts = actors.spawn(Plain), actors.spawn(Waiter), []
        with trio.CancelScope() as scope:
            scope.cancel()
            for _ in range(2 * MESSAGES_BETWEEN_CHECKPOINTS):
                receipts.append(Receipt())
                await ref.ask(Do(what=len(receipts)), receipt=receipts[-1])
        assert len(receipts) <= MESSAGES_BETWEEN_CHECKPOINTS + 1
        assert [receipt.fate for receipt in receipts] == ["answered"] * (len(receipts) - 1) + ["withdrawn"]
        assert len(await ref.ask(Do(what="all"))) == len(receipts)
        sent = 0
        with trio.CancelScope() as scope:
            scope.cancel()
            for _ in range(2 * MESSAGES_BETWEEN_CHECKPOINTS):
                await waiter.tell_when_free(does(done))
                sent += 1
        assert await waiter.ask(does(done)) == sent


async def test_an_asker_outside_the_system_is_told_when_it_ends() -> None:
    """Whoever waits in a task that the system does not own hangs unless it is told: queued, parked, put aside and begun."""
    told: list[str] = []
    begun: list[Actors] = []

    async def ask(ref: Any, message: Any) -> None:
        with pytest.raises(Unreachable) as caught:
            await ref.ask(message)
        told.append(str(caught.value))

    class Aside(Plain):
        def handle(self, message: Any) -> Any:
            return self.here.stash()

    async with trio.open_nursery() as outside:
        with trio.CancelScope() as scope:
            async with open_actors() as actors:
                begun.append(actors)
                waiter, aside = actors.spawn(Waiter, "waiter", Props(mailbox_max=1)), actors.spawn(Aside, "aside")
                plain = actors.spawn(Plain, "plain")
                for message in (does(forever), does(done), does(done)):
                    outside.start_soon(ask, waiter, message)
                    await blocked()
                outside.start_soon(ask, aside, Do(what=1))
                await blocked()
                scope.cancel()
                await trio.sleep_forever()
    assert len(told) == 4
    assert sum("in the middle: the system ends" in one for one in told) == 1, told
    for ref in (waiter, aside, plain):
        with pytest.raises(Unreachable, match="gone"):
            await ref.ask(Do(what=1))
        ref.tell(Do(what=1))
    assert len(begun[0].dead_letters) == 3


async def test_an_unknown_message_is_refused_at_the_door_and_an_unknown_tell_too() -> None:
    class Picky(Plain):
        takes = (Note,)

    async with open_actors() as actors:
        ref = actors.spawn(Picky, "picky")
        with pytest.raises(Unreachable, match="picky does not take Do"):
            await ref.ask(does(boom))
        with pytest.raises(Unreachable, match="picky does not take Do"):
            ref.tell(does(boom))
        assert ref.alive
        nothing_is_left(actors)


class Wrong(Plain):
    def handle(self, message: Any) -> Any:
        return 7


class WrongLater(Waiter):
    async def handle(self, message: Any) -> Any:
        return 7


@pytest.mark.parametrize("kind", [Wrong, WrongLater])
async def test_a_wrong_return_is_a_failure_that_says_so(kind: Any) -> None:
    with capture_logs() as logs:
        async with open_actors() as actors:
            with pytest.raises(Crashed):
                await actors.spawn(kind, "wrong").ask(Do(what=1))
    [line] = logs
    assert "wrong returned int" in str(line["exc_info"])


async def test_a_plain_handler_that_returns_a_coroutine_leaves_none_unawaited() -> None:
    class Wrong(Plain):
        def handle(self, message: Any) -> Any:
            return forever(message)

    async with open_actors() as actors:
        with pytest.raises(Crashed):
            await actors.spawn(Wrong).ask(Do(what=1))


async def test_a_nested_ask_ends_with_the_deadline_of_the_one_that_it_serves(
    mock_clock: trio.testing.MockClock,
) -> None:
    mock_clock.autojump_threshold = 0

    class Boss(Waiter):
        def __init__(self, here: Here) -> None:
            super().__init__(here)
            self.lazy = here.spawn(Waiter, "lazy")

    async with open_actors() as actors:
        boss, started = actors.spawn(Boss), trio.current_time()
        told: list[tuple[str, float]] = []

        async def asks(self: Boss) -> None:
            with pytest.raises(NotAnswered):
                await self.lazy.ask(does(forever))
            told.append(("ask", trio.current_time() - started))

        async def tells(self: Boss) -> None:
            """Nobody waits for what is told, so it has all the time of the default."""
            boss.tell(does(asks_late))
            self.here.run(works)

        async def works() -> None:
            await trio.sleep(2)
            await boss.ask(does(done))
            told.append(("work", trio.current_time() - started))

        async def asks_late(self: Boss) -> None:
            await trio.sleep(5)
            assert await self.here.spawn(Waiter).ask(does(done)) == 0
            told.append(("late", trio.current_time() - started))

        with pytest.raises(NotAnswered):
            await boss.ask(does(asks), seconds=1)
        await trio.sleep(100)
        [(_, seconds)] = told
        assert 1 <= seconds < 1.2
        told.clear()
        started = trio.current_time()
        await boss.ask(does(tells), seconds=1)
        await trio.sleep(20)
        assert [(what, round(seconds)) for what, seconds in told] == [("late", 5), ("work", 5)]


async def test_a_message_knows_its_cause_its_root_and_on_whose_behalf_it_was_sent() -> None:
    async with open_actors() as actors:
        first, second = actors.spawn(Waiter), actors.spawn(Plain)
        seen: list[Any] = []
        whose: list[tuple[str, str]] = []

        def note(self: Any) -> None:
            current = self.here.current
            seen.append((current.id, current.cause, current.root))
            whose.append((current.context.tenant, current.context.principal))

        async def work() -> None:
            await trio.lowlevel.checkpoint()
            second.tell(does(note))
            await second.ask(does(note))

        async def hand_on(self: Waiter) -> None:
            note(self)
            await second.ask(does(note))
            second.tell(does(note))
            self.here.run(work)

        await first.ask(does(hand_on), context=Context(tenant="t", principal="ann"))
        await blocked()
        (one, cause, root), *others = seen
        assert (cause, root) == (0, one)
        assert [(cause, root) for _, cause, root in others] == [(one, one)] * 4
        assert whose == [("t", "ann")] * 5


async def test_hung_asks_hold_no_settled_ones_in_memory(mock_clock: trio.testing.MockClock) -> None:
    mock_clock.autojump_threshold = 0
    async with open_actors() as actors, trio.open_nursery() as nursery:
        hung, quick = actors.spawn(Waiter), actors.spawn(Plain, props=Props(caller_runs=False))
        nursery.start_soon(_hangs, hung)
        await blocked()
        for _ in range(20):
            for _ in range(500):
                await quick.ask(does(len_of_heard))
            await trio.sleep(0.06)
        assert len(actors.deadlines) < 3000
        nursery.cancel_scope.cancel()


def len_of_heard(plain: Plain) -> int:
    return len(plain.heard)


async def _hangs(ref: Any) -> None:
    await ref.ask(does(forever))


async def test_an_ask_for_seconds_that_are_no_number_is_refused_and_keeps_nobody_waiting() -> None:
    async with open_actors() as actors:
        asker, asked = actors.spawn(Waiter), actors.spawn(Waiter)
        with capture_logs() as lines, pytest.raises(Crashed):
            await asker.ask(does(lambda self: asked.ask(does(done), seconds=float("nan"))))
        assert "nan seconds" in str(lines[0]["exc_info"])
        nothing_is_left(actors)


async def test_a_message_of_a_timer_follows_from_the_message_that_started_it(autojump_clock: object) -> None:
    seen: list[Any] = []

    class Rings(Actor[Do, None]):
        def __init__(self, here: Here) -> None:
            super().__init__(here)
            here.timers.start("first", does(note), 1.0)

        def handle(self, message: Do) -> Reply:
            return reply(message, message.what(self))

    def note(self: Any) -> None:
        now = self.here.current
        seen.append((now.cause, now.root, now.context.tenant, now.context.correlation))

    def start(self: Any) -> int:
        self.here.timers.start("again", does(note), 1.0, every=1.0)
        now: int = self.here.current.id
        return now

    async def later(self: Any, root: list[int]) -> None:
        await trio.lowlevel.checkpoint()
        self.here.timers.start("work", does(note), 0.5)

    usual = Context(tenant="usual", principal="nobody")
    async with open_actors(context=usual) as actors:
        ref = actors.spawn(Rings)
        await trio.sleep(1.1)
        assert [(cause, tenant) for cause, _, tenant, _ in seen] == [(0, "usual")]
        seen.clear()
        ann = Context(tenant="t", principal="ann", correlation="c")
        number = await ref.ask(does(start), context=ann)
        await trio.sleep(2.1)
        assert seen == [(number, number, "t", "c")] * 2
        await ref.ask(does(lambda self: self.here.timers.cancel("again")))
        seen.clear()
        await ref.ask(does(lambda self: self.here.run(later, self, [])), context=ann)
        await trio.sleep(1)
        [(cause, root, tenant, _)] = seen
        assert cause == root > number
        assert tenant == "t"


@pytest.mark.parametrize("length", [1, 2, 3])
async def test_a_circle_of_handlers_that_wait_for_room_is_an_error_that_names_all_of_it(length: int) -> None:
    """Each handler fills the next one's mailbox: nobody would ever make room."""
    names = [f"actor{number}" for number in range(length)]

    def flood(self: Any) -> Any:
        after = refs[(names.index(self.here.ref.name) + 1) % length]
        return send(after)

    async def send(after: Any) -> None:
        for _ in range(3):
            await after.tell_when_free(does(done))

    errors: list[Unreachable] = []

    async def ask(ref: Any) -> None:
        try:
            await ref.ask(does(flood))
        except AskCycle as error:
            errors.append(error)

    async with open_actors() as actors:
        refs = [actors.spawn(Waiter, name, Props(mailbox_max=2)) for name in names]
        async with trio.open_nursery() as nursery:
            for ref in refs:
                nursery.start_soon(ask, ref)
        [error] = errors
        assert str(error).count(" → ") == length
        assert all(name in str(error) for name in names)
        await blocked()
        nothing_is_left(actors)

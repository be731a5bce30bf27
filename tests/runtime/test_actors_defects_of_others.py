"""Defects that were reproduced in other actor libraries, each with a test that shows that it is not one of ours.

The names: autogen-core 0.7.5, pykka 4.5.0, xoscar 0.12.2, Thespian 4.0.1.
"""

from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from runtime.actor import Actor, Reply, reply
from runtime.actors import Here, Props, open_actors
from runtime.delivery import Receipt
from runtime.errors import AskCycle, Crashed, NotAnswered, Unreachable
from runtime.records import Command
from runtime.ref import ActorRef
from runtime.supervision import Supervision
from tests.runtime.puppets import does, done, nothing_is_left

blocked = trio.testing.wait_all_tasks_blocked


class Change(Command[int], frozen=True, kw_only=True):
    by: int = 1
    fails: bool = False


class Account(Actor[Change, None]):
    """Has two halves to each change, and time or a failure in between."""

    def __init__(self, here: Here, log: list[str]) -> None:
        super().__init__(here)
        self.here: Here = here
        self.log = log
        self.cents = 0

    async def handle(self, message: Change) -> Reply:
        before = self.cents
        self.log.append("debit")
        self.cents += 1000
        await trio.sleep(0.1)
        if message.fails:
            raise ValueError("between the halves")
        self.log.append("credit")
        self.cents = before + message.by
        return reply(message, self.cents)


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture(autouse=True)
def _quiet():
    with capture_logs():
        yield


ENDURES = Props(supervision=Supervision(restarts_max=1000))


async def test_autogen_a_hundred_concurrent_changes_of_one_agent_lost_99(
    log: list[str], autojump_clock: object
) -> None:
    async with open_actors() as actors:
        account = actors.spawn(lambda here: Account(here, log))
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(account.ask, Change())
        assert await account.ask(Change(by=0)) == 100


async def test_autogen_an_ask_in_flight_at_the_stop_was_never_resolved(log: list[str], autojump_clock: object) -> None:
    told: list[str] = []

    async def ask(ref: ActorRef) -> None:
        try:
            cents = await ref.ask(Change())
            told.append(f"{cents}")
        except Unreachable as error:
            told.append(type(error).__name__)

    async with open_actors() as actors, trio.open_nursery() as nursery:
        account = actors.spawn(lambda here: Account(here, log))
        for _ in range(4):
            nursery.start_soon(ask, account)
        await blocked()
        await actors.stop()
        await blocked()
        assert sorted(told) == ["1", "Unreachable", "Unreachable", "Unreachable"]


async def test_autogen_a_failure_of_what_was_only_told_was_seen_by_nobody(
    log: list[str], autojump_clock: object
) -> None:
    with capture_logs() as lines:
        async with open_actors() as actors:
            account = actors.spawn(lambda here: Account(here, log), "account", ENDURES)
            account.tell(Change(fails=True))
            await trio.sleep(1)
            assert actors.counts["crashed"] == 1
            cell: Any = account
            assert cell.crashes == 1
    assert [(line["event"], line["actor"], line["log_level"]) for line in lines] == [
        ("actor failed", "account", "error")
    ]


async def test_pykka_an_ask_while_the_actor_stops_was_never_answered() -> None:
    class Brief(Actor[Change, None]):
        def handle(self, message: Change) -> Reply:
            return reply(message, message.by)

    outcomes = 0

    async def ask(ref: ActorRef, ticks: int) -> None:
        nonlocal outcomes
        for _ in range(ticks):
            await trio.lowlevel.checkpoint()
        with suppress(Unreachable):
            assert await ref.ask(Change(by=ticks)) == ticks
        outcomes += 1

    async with open_actors() as actors:
        for after in range(6):
            for caller_runs in (False, True):
                ref = actors.spawn(Brief, None, Props(mailbox_max=3, caller_runs=caller_runs))
                async with trio.open_nursery() as nursery:
                    for number in range(50):
                        nursery.start_soon(ask, ref, number % 8)
                    for _ in range(after):
                        await trio.lowlevel.checkpoint()
                    ref.stop_soon()
        assert outcomes == 600
        nothing_is_left(actors)


@pytest.mark.parametrize("asked", [False, True])
async def test_pykka_an_actor_died_of_a_tell_and_lived_on_half_changed_after_an_ask(
    log: list[str], asked: bool, autojump_clock: object
) -> None:
    async with open_actors() as actors:
        account = actors.spawn(lambda here: Account(here, log), "account", ENDURES)
        assert await account.ask(Change()) == 1
        if asked:
            with pytest.raises(Crashed):
                await account.ask(Change(fails=True))
        else:
            account.tell(Change(fails=True))
        assert await account.ask(Change(by=0)) == 0  # afresh, in both cases


async def test_pykka_and_xoscar_two_that_ask_each_other_hung() -> None:
    class Asks(Actor[Any, None]):
        other: ActorRef

        async def handle(self, message: Any) -> Reply:
            value = message.what(self)
            return reply(message, await value if hasattr(value, "__await__") else value)

    async with open_actors() as actors:
        one, two = actors.spawn(Asks, "one"), actors.spawn(Asks, "two")
        with pytest.raises(AskCycle, match="two → one → two"):
            await one.ask(does(lambda _: two.ask(does(lambda _: one.ask(does(done))))))


@pytest.mark.parametrize("cancelled", [False, True])
async def test_xoscar_a_handler_was_aborted_between_its_halves_when_its_asker_left(
    log: list[str], cancelled: bool, autojump_clock: object
) -> None:
    async with open_actors() as actors:
        account, receipt = actors.spawn(lambda here: Account(here, log)), Receipt()
        if cancelled:
            with trio.move_on_after(0.05):
                await account.ask(Change(), receipt=receipt)
        else:
            with pytest.raises(NotAnswered, match="had begun and will complete"):
                await account.ask(Change(), seconds=0.001, receipt=receipt)
        assert receipt.fate == "begun"
        await account.ask(Change())
        assert log == ["debit", "credit", "debit", "credit"]


async def test_thespian_the_late_reply_of_one_was_given_to_the_next_ask_of_another(
    log: list[str], autojump_clock: object
) -> None:
    async with open_actors() as actors:
        slow, fast = (actors.spawn(lambda here: Account(here, log)) for _ in range(2))
        await fast.ask(Change(by=500))
        with trio.move_on_after(0.05):
            await slow.ask(Change(by=7))
        assert await fast.ask(Change()) == 501
        assert await slow.ask(Change()) == 8


async def test_thespian_the_limit_of_an_ask_was_ignored(log: list[str], autojump_clock: object) -> None:
    async with open_actors() as actors:
        account, began = actors.spawn(lambda here: Account(here, log)), trio.current_time()

        async def stuck(_: object) -> None:
            await trio.sleep(1000)

        class Stuck(Actor[Any, None]):
            async def handle(self, message: Any) -> None:
                await message.what(self)

        with pytest.raises(NotAnswered):
            await actors.spawn(Stuck).ask(does(stuck), seconds=0.3)
        assert 0.3 <= trio.current_time() - began < 0.5
        assert await account.ask(Change()) == 1

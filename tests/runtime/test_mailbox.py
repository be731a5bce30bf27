"""Mailboxes: bounded, first in first out, and fair to whoever waits for room."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from runtime.errors import Overloaded
from runtime.journal import Context
from runtime.mailbox import Envelope, Mailbox
from tests.runtime.bank import Ask

CONTEXT = Context(tenant="t", principal="p")


def _envelope(name: str) -> Envelope:
    return Envelope(Ask(account=name), CONTEXT)


def _name(envelope: Envelope) -> str:
    message = envelope.message
    assert isinstance(message, Ask)
    return message.account


async def test_parked_senders_are_admitted_in_order_and_newcomers_cannot_overtake() -> None:
    mailbox = Mailbox(4)
    for number in range(4):
        mailbox.put(_envelope(f"first{number}"))
    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(mailbox.put_when_free, _envelope(f"parked{number}"))
            await wait_all_tasks_blocked()
        with pytest.raises(Overloaded):
            mailbox.put(_envelope("newcomer"))
        popped = [_name(mailbox.pop()), _name(mailbox.pop())]
        with pytest.raises(Overloaded):
            mailbox.put(_envelope("newcomer"))
        while len(popped) < 10:
            await wait_all_tasks_blocked()
            popped.append(_name(mailbox.pop()))
    assert popped == [f"first{n}" for n in range(4)] + [f"parked{n}" for n in range(6)]
    assert mailbox.peak == 4


async def test_a_parked_sender_that_is_cancelled_leaves_nothing_behind() -> None:
    mailbox = Mailbox(2)
    mailbox.put(_envelope("a"))
    mailbox.put(_envelope("b"))
    async with trio.open_nursery() as nursery:
        scopes = [trio.CancelScope() for _ in range(3)]

        async def park(number: int) -> None:
            with scopes[number]:
                await mailbox.put_when_free(_envelope(f"p{number}"))

        for number in range(3):
            nursery.start_soon(park, number)
            await wait_all_tasks_blocked()
        scopes[1].cancel()
        await wait_all_tasks_blocked()
        popped = [_name(mailbox.pop())]
        # Admitted and cancelled in the same step: it was sent.
        scopes[0].cancel()
        while len(mailbox):
            await wait_all_tasks_blocked()
            popped.append(_name(mailbox.pop()))
    assert popped == ["a", "b", "p0", "p2"]
    assert not mailbox.full

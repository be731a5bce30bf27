"""Two accounts, a transfer, a crash between its halves: `python examples/bank.py FOLDER [crash]`, as often as you like."""

import os
import signal
import sys
from functools import partial
from pathlib import Path

import trio

from runtime import actor, clock, codec, delivery, errors, ids, records, system, transparency, verification
from runtime.store.sqlite import SqliteStore


class Pay(records.Command[None], frozen=True, kw_only=True):
    account: str
    cents: int
    to: str = ""


class Balances(records.Command[dict[str, int]], frozen=True, kw_only=True):
    pass


class Paid(records.Event, frozen=True, kw_only=True):
    account: str
    cents: int
    to: str = ""


class Account:  # what is recorded of one account, and what may be; its state is its cents
    initial, COMMANDS, EVENTS, RULES = 0, (Pay,), (Paid,), 1

    @staticmethod
    def decide(cents, pay):
        if cents + pay.cents < 0:
            raise errors.Refused("funds_missing")
        return [Paid(account=pay.account, cents=pay.cents, to=pay.to)]

    @staticmethod
    def evolve(cents, paid):
        return cents + paid.cents


class Teller(actor.Actor):
    takes, hears, fresh = (Pay, Balances), (Paid,), dict

    def handle(self, message):
        if isinstance(message, Balances):
            return actor.reply(message, dict(self.memory))
        return actor.Effect([(f"Account-{message.account}", message)])

    @staticmethod
    def remember(memory, recorded):
        paid = recorded.event
        return memory | {paid.account: memory.get(paid.account, 0) + paid.cents}

    def react(self, recorded):  # to each record once, whatever happens: the other half
        paid = recorded.event
        if paid.to and "crash" in sys.argv:
            os.kill(os.getpid(), signal.SIGKILL)
        return actor.Effect([(f"Account-{paid.to}", Pay(account=paid.to, cents=-paid.cents))]) if paid.to else None


async def main(folder):
    signer = transparency.Signer.load_or_make(folder / "key")
    store, time = SqliteStore(folder / "journal.db", codec.Codec([Account]), signer), clock.SystemClock()
    ann = partial(delivery.Context, tenant="bank", principal="ann")  # with a key: done once, however often asked
    async with system.open_system(store, [system.Role(Teller)], clock=time, ids=ids.Ids(time)) as bank:
        await bank.ask(Pay(account="ann", cents=100), ann(key="a deposit"))
        await bank.ask(Pay(account="ann", cents=-30, to="bob"), ann(key="a transfer"))
        print(await bank.ask(Balances(), ann()), "whole:", verification.verify(folder / "journal.db").whole)
    store.close()


trio.run(main, Path(sys.argv[1]))

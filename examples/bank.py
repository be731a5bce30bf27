"""Two accounts, a transfer, a crash between its halves: `python examples/bank.py FOLDER [crash]`, as often as you like."""

import signal
import sys
from pathlib import Path

import trio

from runtime import actor, clock, codec, delivery, errors, ids, records, system, transparency, verification
from runtime.store.sqlite import SqliteStore


class Pay(records.Command[int], frozen=True, kw_only=True):
    account: str
    cents: int
    to: str = ""


class Paid(records.Event, frozen=True, kw_only=True):
    pay: Pay
    balance: int


class Account:  # what may be, and what is recorded of it; the state of an account is its balance
    initial, COMMANDS, EVENTS, RULES = 0, (Pay,), (Paid,), 1

    def decide(balance, pay):
        if balance + pay.cents < 0:
            raise errors.Refused("funds_missing")
        return [Paid(pay=pay, balance=balance + pay.cents)]

    def evolve(balance, paid):
        return paid.balance


class Teller(actor.Actor):
    takes, hears = (Pay,), (Paid,)

    def handle(self, pay):  # the answer leaves after the commit
        return actor.Effect([(f"Account-{pay.account}", pay)], lambda paid: actor.reply(pay, paid[0].event.balance))

    def react(self, recorded):  # to each record once, whatever happens: the other half of a transfer
        pay = recorded.event.pay
        if pay.to and "crash" in sys.argv:
            signal.raise_signal(signal.SIGKILL)
        return actor.Effect([(f"Account-{pay.to}", Pay(account=pay.to, cents=-pay.cents))]) if pay.to else None


async def main(folder):
    payments = Pay(account="ann", cents=100), Pay(account="ann", cents=-30, to="bob"), Pay(account="bob", cents=-3)
    store = SqliteStore(folder / "log.db", codec.Codec([Account]), transparency.Signer.load_or_make(folder / "key"))
    time, who = clock.SystemClock(), {"tenant": "bank", "principal": "somebody"}
    async with system.open_system(store, [system.Role(Teller)], clock=time, ids=ids.Ids(time)) as bank:
        for number, pay in enumerate(payments):  # with a key each is done once, however often it is asked for
            print(f"{pay.account} has", await bank.ask(pay, delivery.Context(key=f"payment {number}", **who)))
    store.close()
    print("whole:", verification.verify(folder / "log.db").whole)


trio.run(main, Path(sys.argv[1]))

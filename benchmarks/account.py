"""A small domain of its own for the benches: accounts that take deposits, and a clerk who takes the commands."""

from collections.abc import Sequence
from typing import Any

import msgspec

from runtime.actor import Actor, Effect, Reply, reply
from runtime.records import Command, Event, State

RULES = 1


class Balance(msgspec.Struct, frozen=True):
    """What an account holds."""

    cents: int


class Account(State, frozen=True, kw_only=True):
    cents: int = 0


initial = Account()


class Deposit(Command[Balance], frozen=True, kw_only=True):
    account: str
    cents: int


class AskBalance(Command[Balance], frozen=True, kw_only=True):
    """A question; records nothing."""

    account: str


class Deposited(Event, frozen=True, kw_only=True):
    account: str
    cents: int


COMMANDS = (Deposit,)
EVENTS = (Deposited,)


def stream(account: str) -> str:
    """The stream of an account."""
    return f"account-{account}"


def decide(account: Account, command: Deposit) -> Sequence[Deposited]:
    return [Deposited(account=command.account, cents=command.cents)]


def evolve(account: Account, event: Deposited) -> Account:
    return Account(cents=account.cents + event.cents)


class Clerk(Actor[Any, None]):
    """Takes deposits, and answers questions at once."""

    takes = (Deposit, AskBalance)

    def handle(self, message: Any) -> Effect | Reply:
        if isinstance(message, AskBalance):
            return reply(message, EMPTY)
        return Effect([(stream(message.account), message)], lambda recorded: reply(message, EMPTY))


EMPTY = Balance(0)

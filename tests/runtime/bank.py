"""A domain of its own for the runtime's tests: accounts, transfers, and a clerk who greets large deposits."""

from collections.abc import Sequence
from typing import Any, get_args

import msgspec

from runtime.actor import Actor, Effect, Reply, reply
from runtime.errors import Refused
from runtime.records import Command, Event, Recorded, State


class Balance(msgspec.Struct, frozen=True):
    cents: int


class Account(State, frozen=True, kw_only=True):
    open: bool = False
    cents: int = 0


initial = Account()


class Deposit(Command[Balance], frozen=True, kw_only=True):
    account: str
    cents: int


class Transfer(Command[Balance], frozen=True, kw_only=True):
    source: str
    target: str
    cents: int


class Withdraw(Command[None], frozen=True, kw_only=True):
    account: str
    cents: int


class Greet(Command[None], frozen=True, kw_only=True):
    account: str


class Ask(Command[Balance], frozen=True, kw_only=True):
    account: str


class Break(Command[None], frozen=True, kw_only=True):
    how: str


class Deposited(Event, frozen=True, kw_only=True):
    account: str
    cents: int


class Withdrawn(Event, frozen=True, kw_only=True):
    account: str
    cents: int


class Greeted(Event, frozen=True, kw_only=True):
    account: str


EVENTS = get_args(Deposited | Withdrawn | Greeted)
COMMANDS = get_args(Deposit | Withdraw | Greet)
RULES = 1
LARGE_CENTS = 1_000_000


def stream(account: str) -> str:
    return f"bank-{account}"


def decide(account: Account, command: Any) -> Sequence[Event]:
    match command:
        case Deposit():
            return [Deposited(account=command.account, cents=command.cents)]
        case Withdraw() if command.cents > account.cents:
            raise Refused("funds_missing", f"has {account.cents}")
        case Withdraw():
            return [Withdrawn(account=command.account, cents=command.cents)]
        case Greet():
            return [Greeted(account=command.account)]
    raise AssertionError(command)


def evolve(account: Account, event: Any) -> Account:
    match event:
        case Deposited():
            return Account(open=True, cents=account.cents + event.cents)
        case Withdrawn():
            return Account(open=True, cents=account.cents - event.cents)
    return account


class Ledger(msgspec.Struct):
    cents_by_account: dict[str, int] = {}
    greeted: int = 0


class Teller(Actor[Any, Ledger]):
    takes = (Deposit, Transfer, Withdraw, Greet, Ask, Break)
    hears = (Deposited, Withdrawn, Greeted)

    @staticmethod
    def fresh() -> Ledger:
        return Ledger(cents_by_account={})

    def handle(self, message: Any) -> Effect | Reply:
        match message:
            case Ask():
                return reply(message, Balance(self.memory.cents_by_account.get(message.account, 0)))
            case Deposit():
                cents = self.memory.cents_by_account.get(message.account, 0) + message.cents
                return Effect([(stream(message.account), message)], lambda recorded: reply(message, Balance(cents)))
            case Transfer():
                take = Withdraw(account=message.source, cents=message.cents)
                give = Deposit(account=message.target, cents=message.cents)
                left = self.memory.cents_by_account.get(message.source, 0) - message.cents
                return Effect(
                    [(stream(message.target), give), (stream(message.source), take)],
                    lambda recorded: reply(message, Balance(left)),
                )
            case Break(how="work"):
                self.here.run(self._fail)
                return reply(message, None)
            case Break():
                raise RuntimeError(message.how)
        return Effect([(stream(message.account), message)], lambda recorded: reply(message, None))

    async def _fail(self) -> None:
        raise RuntimeError("work")

    @staticmethod
    def remember(memory: Ledger, recorded: Recorded) -> Ledger:
        match recorded.event:
            case Deposited(account=account, cents=cents):
                memory.cents_by_account[account] = memory.cents_by_account.get(account, 0) + cents
            case Withdrawn(account=account, cents=cents):
                memory.cents_by_account[account] = memory.cents_by_account.get(account, 0) - cents
            case Greeted():
                memory.greeted += 1
        return memory

    def react(self, recorded: Recorded) -> Effect | None:
        match recorded.event:
            case Deposited(account=account, cents=cents) if cents >= LARGE_CENTS:
                return Effect([(stream(account), Greet(account=account))])
        return None

"""A concurrency key's limit as an operator has set it: it holds for all tasks of the key, whatever they say themselves."""

from collections.abc import Sequence
from typing import get_args

from msgspec import Struct

from aggregates.values.concurrency import Key, Limit, Strategy
from runtime.records import Command, Event, House, State

RULES = 1


class KeyLimit(State, frozen=True, kw_only=True):
    """What decisions about a key's limit need to know; a limit of 0: none is set."""

    limit: int = 0
    strategy: Strategy = Strategy.QUEUE


initial = KeyLimit()


class PlaceHolder(Struct, frozen=True, kw_only=True):
    """A task that has one of the places, since then: in bidding, or held by an agent."""

    task_id: str
    agent_id: str
    since: float


class KeyStands(Struct, frozen=True, kw_only=True):
    """A key: its limit, how many tasks have a place and which (a few of them), how many wait. `set_by` names who has set the limit, `since`
    when; where nobody has, it is that of the newest task."""

    key: str
    limit: int
    strategy: Strategy
    taken: int = 0
    waiting: int = 0
    blocked: int = 0
    holders: tuple[PlaceHolder, ...] = ()
    set_by: str = ""
    since: float = 0.0


class KeysStand(Struct, frozen=True, kw_only=True):
    """The keys that have open tasks or a limit that was set, by name, and how many more there are."""

    keys: tuple[KeyStands, ...]
    left_out: int = 0


class SetConcurrency(Command[KeyStands], frozen=True, kw_only=True):
    """The key has this limit from now on; who has a place keeps it. Sent by an operator or admin."""

    key: House[Key]
    limit: Limit
    strategy: Strategy = Strategy.QUEUE
    set_by: House[str] = ""


class DropConcurrency(Command[KeyStands], frozen=True, kw_only=True):
    """What tasks of the key say holds again. Sent by an operator or admin."""

    key: House[Key]


class FindConcurrency(Command[KeysStand], frozen=True, kw_only=True):
    """How the keys stand. Answered by the coordinator; records nothing."""


class ConcurrencySet(Event, frozen=True, kw_only=True):
    key: Key
    limit: int
    strategy: Strategy
    set_by: str


class ConcurrencyDropped(Event, frozen=True, kw_only=True):
    key: Key


ConcurrencyCommand = SetConcurrency | DropConcurrency
ConcurrencyEvent = ConcurrencySet | ConcurrencyDropped
COMMANDS = get_args(ConcurrencyCommand)
EVENTS = get_args(ConcurrencyEvent)


def stream(tenant: str, key: str) -> str:
    """The stream of a tenant's key."""
    return f"concurrency-{tenant}:{key}"


def decide(state: KeyLimit, command: ConcurrencyCommand) -> Sequence[ConcurrencyEvent]:
    match command:
        case SetConcurrency() if (state.limit, state.strategy) == (command.limit, command.strategy):
            return []
        case SetConcurrency():
            return [
                ConcurrencySet(key=command.key, limit=command.limit, strategy=command.strategy, set_by=command.set_by)
            ]
        case DropConcurrency():
            return [ConcurrencyDropped(key=command.key)] if state.limit else []


def evolve(state: KeyLimit, event: ConcurrencyEvent) -> KeyLimit:
    match event:
        case ConcurrencySet():
            return KeyLimit(limit=event.limit, strategy=event.strategy)
        case ConcurrencyDropped():
            return initial

"""The three outcomes of a command: it decides, it was already so, it is refused."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from runtime.errors import Refused
from runtime.records import Command


def state(aggregate: ModuleType, *commands: Command[Any]) -> Any:
    """The state after these commands, one after the other."""
    folded = aggregate.initial
    for command in commands:
        for event in aggregate.decide(folded, command):
            folded = aggregate.evolve(folded, event)
    return folded


class Outcome(NamedTuple):
    """A command after others: what it says when it decides, when it was already so, and why it may be refused."""

    command: Command[Any]
    decides: Sequence[str]
    after: Sequence[Command[Any]]
    already: Sequence[Command[Any]]
    refused: str
    when: Sequence[Command[Any]]


def check(aggregate: ModuleType, outcome: Outcome) -> None:
    """All three."""
    decided = aggregate.decide(state(aggregate, *outcome.after), outcome.command)
    assert [type(event).__name__ for event in decided] == list(outcome.decides)
    assert list(aggregate.decide(state(aggregate, *outcome.already), outcome.command)) == []
    with pytest.raises(Refused) as caught:
        aggregate.decide(state(aggregate, *outcome.when), outcome.command)
    assert caught.value.code == outcome.refused


def named(outcome: Outcome) -> str:
    """How a case is called."""
    return type(outcome.command).__name__

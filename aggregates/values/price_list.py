"""Price lists: what an agent asks for a task where its bid names no price.

The price of a task is the largest of those that the list has for its type and for the skills that it needs, and the base price where
the list has none of them.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated

from msgspec import Meta, Struct

from aggregates.values.numbers import NonNegative
from aggregates.values.skills import Skill, missing
from aggregates.values.task_types import TaskType

Prices = Annotated[dict[Skill, NonNegative], Meta(max_length=64)]
"""By the type of the task, or by a skill that it needs."""


class ListedPrices(Struct, frozen=True, kw_only=True):
    """What of an agent's list is about a task, as it stood at `position` of the log."""

    base: float
    prices: dict[str, float] = {}
    position: int


def about(prices: Mapping[str, float], topics: Iterable[str]) -> dict[str, float]:
    """The prices that are about these: a task's type and the skills that it needs."""
    return {topic: prices[topic] for topic in sorted({*topics}) if topic in prices}


def price_of(listed: ListedPrices, topics: Iterable[str]) -> float:
    """The price of a task with these topics."""
    return max(about(listed.prices, topics).values(), default=listed.base)


def unlisted_prices(prices: Iterable[str], capabilities: Iterable[str]) -> tuple[str, ...]:
    """What has a price, and is neither a type of tasks nor one of the capabilities."""
    return missing(prices, {*TaskType, *capabilities})

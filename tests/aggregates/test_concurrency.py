"""A key's limit is set, changed and dropped; what is so already is decided once."""

import msgspec
import pytest
from msgspec.structs import replace

from aggregates import concurrency
from aggregates.concurrency import ConcurrencyDropped, ConcurrencySet, DropConcurrency, SetConcurrency
from aggregates.values.concurrency import Concurrency, Strategy
from tests.aggregates.outcomes import state
from tests.examples import command_by_type

SET: SetConcurrency = command_by_type[SetConcurrency]
DROP: DropConcurrency = command_by_type[DropConcurrency]


def test_a_limit_is_set_once_and_another_is_another() -> None:
    fact = ConcurrencySet(key="deploy", limit=2, strategy=Strategy.ROUND_ROBIN, set_by="operator:k1")
    assert list(concurrency.decide(concurrency.initial, SET)) == [fact]
    assert concurrency.decide(state(concurrency, SET), SET) == []
    more = replace(SET, limit=3)
    assert list(concurrency.decide(state(concurrency, SET), more)) == [replace(fact, limit=3)]
    other = replace(SET, strategy=Strategy.QUEUE)
    assert list(concurrency.decide(state(concurrency, SET), other)) == [replace(fact, strategy=Strategy.QUEUE)]


def test_a_limit_is_dropped_once() -> None:
    assert list(concurrency.decide(state(concurrency, SET), DROP)) == [ConcurrencyDropped(key="deploy")]
    assert concurrency.decide(state(concurrency, SET, DROP), DROP) == []
    assert concurrency.decide(concurrency.initial, DROP) == []


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"key": ""},
        {"key": "a/b"},
        {"key": "a\n"},
        {"key": "a", "limit": 0},
        {"key": "a", "limit": 10_001},
        {"key": "a", "strategy": "first"},
        {"key": "a", "group": "b c"},
        {"key": "a", "kee": "a"},
    ],
)
def test_what_is_no_concurrency(asked: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(asked, Concurrency)

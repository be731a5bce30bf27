"""What is kept at hand has a bound in bytes, and what is not committed yet stays."""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from runtime.actor import Actor, Effect, reply
from runtime.delivery import Context
from runtime.states import (
    ENTRIES_MIN,
    ENTRY_BYTES,
    LOOK_BYTES_MAX,
    NESTED_MAX,
    NEW_EVENT_BYTES,
    Cache,
    Held,
    States,
    memory_bytes,
)
from runtime.system import DEFAULT_BOUNDS, Role
from tests.runtime.bank import Ask, Balance, Deposit, Greet, Transfer
from tests.runtime.test_system import bank


class Kept(NamedTuple):
    position: int


class Listed(msgspec.Struct, frozen=True):
    names: tuple[str, ...] = ()


class Idle(Actor[Any, None]):
    """Answers, and decides nothing."""

    takes = (Greet,)

    def handle(self, message: Any) -> Effect:
        return Effect([], lambda recorded: reply(message, None))


def held(version: int, *names: str) -> Held:
    return Held(Listed(names), version, "t", version, sys.modules["tests.runtime.bank"])


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 50), st.integers(0, 5))), st.integers(0, 5))
def test_a_cache_holds_what_was_used_last_within_its_bound(puts: list[tuple[int, int, int]], committed: int) -> None:
    cache: Cache[int, Kept] = Cache(100)
    newest: dict[int, int] = {}
    for name, size, position in puts:
        cache.put(name, Kept(position), size)
        newest.pop(name, None)
        newest[name] = size
    cache.shrink(committed, 0)
    assert list(cache) == list(newest)[len(newest) - len(cache) :]
    assert cache.bytes == sum(newest[name] for name in cache)
    assert cache.bytes <= 100 or next(iter(cache.values())).position > committed


def test_what_rests_on_records_that_are_not_committed_stays() -> None:
    cache: Cache[str, Kept | None] = Cache(10)
    for name, position in (("a", 1), ("b", 3), ("c", 2)):
        cache.put(name, Kept(position), 10)
    cache.put("d", None, 10)
    cache.shrink(2, 0)
    assert list(cache) == ["b", "c", "d"]
    cache.shrink(3, 0)
    assert list(cache) == ["d"]


def test_what_a_step_has_had_fetched_stays_however_large_it_is() -> None:
    states = States(1)
    for name in ("a", "b"):
        states.measure(name, held(1, "x" * 1000))
    states.shrink(1, 2)
    assert list(states) == ["a", "b"]


def test_a_state_that_grows_is_measured_as_it_grows() -> None:
    states = States()
    names: tuple[str, ...] = ()
    for version in range(1, 3000):
        names = (*names, f"name {version}")
        grown = held(version, *names)
        states.renew("a", grown, len(msgspec.msgpack.encode(names[-1])) + 20)
        truth = ENTRY_BYTES + memory_bytes(grown.state)
        assert truth / 2 < states.bytes <= truth


def test_a_state_that_does_not_grow_is_looked_at_ever_more_rarely() -> None:
    states = States()
    looks = [v for v in range(1, 30_000) if states.renew("a", held(v, "a"), 50)]
    assert len(looks) < 40
    assert looks[-1] - looks[-2] <= LOOK_BYTES_MAX // 50 + 1


def test_a_stream_without_records_counts_for_a_guess_until_it_has_some() -> None:
    states = States(10**6)
    states.begin("new", held(0))
    guessed = states.bytes
    assert guessed > ENTRY_BYTES
    assert not states.renew("new", held(1, "a"), NEW_EVENT_BYTES - 1)
    assert states.bytes == guessed
    assert states.renew("new", held(2, "a", "b"), 1)
    assert states.bytes == ENTRY_BYTES + memory_bytes(Listed(("a", "b")))


def test_forgotten_states_leave_nothing_behind() -> None:
    states = States(0)
    for version in range(1, 100):
        states.renew(f"s{version}", held(version), 50)
        states.copied[f"s{version}"] = version
    states.shrink(99, 0)
    assert (len(states), states.bytes, states.copied, states._left, states._looks) == (0, 0, {}, {}, {})
    states.renew("a", held(1), 50)
    states.clear()
    assert (len(states), states.bytes, states._left) == (0, 0, {})


@pytest.mark.parametrize("count", [NESTED_MAX // 2, 10 * NESTED_MAX + 7])
def test_large_collections_are_measured_by_a_part_of_what_is_nested_in_them(count: int) -> None:
    one = memory_bytes([1000.5, "x" * 50])
    many = memory_bytes([[1000.5, "x" * 50] for _ in range(count)])
    assert many - memory_bytes([None] * count) == pytest.approx(count * one, rel=0.2)


def test_what_is_nested_without_end_is_measured_all_the_same() -> None:
    deep: list[object] = []
    for _ in range(10_000):
        deep = [deep]
    assert memory_bytes(deep) > 0


async def test_a_stream_that_fell_out_is_fetched_before_the_step(tmp_path: Path) -> None:
    accounts = [f"a{number}" for number in range(4 * ENTRIES_MIN)]
    async with bank(tmp_path, DEFAULT_BOUNDS._replace(state_cache_bytes_max=0)) as system:

        async def work(number: int) -> None:
            context = Context(tenant=f"t{number % 3}", principal="ann")
            mine = accounts[number % 3 :: 3]
            for account in mine:
                await system.ask(Deposit(account=account, cents=5), context)
            for source, target in zip(mine, reversed(mine), strict=True):
                if source != target:
                    await system.ask(Transfer(source=source, target=target, cents=1), context)
            for account in mine[:3]:
                assert await system.ask(Ask(account=account), context) == Balance(5)

        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(work, number)
        states = system.journal._states
        assert len(states) <= ENTRIES_MIN
        for name in accounts:
            assert system.journal.folder.fold(f"bank-{name}").held.state.cents == 5


async def test_answers_without_effect_are_forgotten_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.journal.REPLY_CACHE_BYTES_MAX", 1)
    async with bank(tmp_path, role=Role(Idle)) as system:
        for number in range(2 * ENTRIES_MIN):
            context = Context(tenant="t1", principal="ann", key=f"k{number}", digest=b"d")
            await system.ask(Greet(account="a"), context)
        assert len(system.journal._kept) <= ENTRIES_MIN + 1
        assert system.journal.position == 0

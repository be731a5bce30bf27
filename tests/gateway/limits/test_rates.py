"""Rates: exactly so many are let in, whoever asks and whenever; who waits as long as told is let in; nothing grows without bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.limits import rates
from gateway.limits.rates import RETRY_SECONDS_MAX, Kind, Rate, Rates
from gateway.settings import GavelSettings


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Bucket:
    """The slow twin: a bucket of tokens that fills steadily, reckoned in whole parts of a second."""

    PARTS = 1_000

    def __init__(self, per_second: int, burst: int) -> None:
        self.rate, self.size = per_second, burst * self.PARTS
        self.level, self.at = self.size, 0

    def ask(self, at: int) -> bool:
        self.level, self.at = min(self.size, self.level + (at - self.at) * self.rate), at
        if self.level < self.PARTS:
            return False
        self.level -= self.PARTS
        return True


@given(st.integers(1, 50), st.integers(1, 20), st.lists(st.integers(0, 400), max_size=120))
def test_it_lets_in_what_a_bucket_of_tokens_would(per_second: int, burst: int, steps: list[int]) -> None:
    clock, at = Hand(), 0
    clock.now = 0.0
    rate, bucket = Rate(per_second, burst, clock), Bucket(per_second, burst)
    for step in steps:
        at += step
        clock.now = at / Bucket.PARTS
        seen = rate.look("k").is_let_in
        assert rate.ask("k").is_let_in is bucket.ask(at) is seen


@given(st.floats(0.1, 5000), st.integers(1, 100), st.integers(0, 300))
def test_who_waits_as_long_as_told_is_let_in(per_second: float, burst: int, asked: int) -> None:
    clock = Hand()
    rate = Rate(per_second, burst, clock)
    for _ in range(asked):
        standing = rate.ask("k")
    if asked and not standing.is_let_in:
        clock.now += standing.wait
        assert rate.ask("k").is_let_in


def test_in_ten_seconds_a_thousand_a_second_are_ten_thousand_and_the_burst() -> None:
    clock, let_in = Hand(), 0
    rate = Rate(1000.0, 100, clock)
    for _ in range(200_000):
        let_in += rate.ask("k").is_let_in
        clock.now += 10.0 / 200_000
    assert abs(let_in - 10_100) <= 1


def test_remaining_tells_how_many_more_could_come_at_once() -> None:
    rate = Rate(2.0, 5, Hand())
    told = [rate.ask("k") for _ in range(6)]
    assert [one.remaining for one in told] == [4, 3, 2, 1, 0, 0]
    assert [one.is_let_in for one in told] == [True] * 5 + [False]
    assert told[5].wait == pytest.approx(0.5)


def test_keys_have_a_bound_and_who_is_in_debt_is_not_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "KEYS_MAX", 100)
    clock = Hand()
    rate = Rate(1.0, 10, clock)
    for _ in range(10):
        assert rate.ask("greedy").is_let_in
    for number in range(1000):
        rate.ask(f"k{number}")
    assert len(rate) <= 100
    assert not rate.ask("greedy").is_let_in


def _rates(clock: Hand, **changed: float) -> Rates:
    return Rates(replace(GavelSettings(), **changed), clock)


def test_classes_principals_and_tenants_are_counted_apart() -> None:
    clock = Hand()
    limits = _rates(clock, reads_per_second=1.0, writes_per_second=1.0, tenant_requests_per_second=3.0)
    first = limits.ask("acme", "ann", Kind.READ)
    assert (first.is_let_in, first.policy, first.standing) == (True, '"read";q=2;w=2', '"read";r=1;t=1')
    assert limits.ask("acme", "ann", Kind.READ).is_let_in
    late = limits.ask("acme", "ann", Kind.READ)
    assert (late.is_let_in, late.retry_seconds, late.standing) == (False, 1, '"read";r=0;t=2')
    assert limits.ask("acme", "ann", Kind.WRITE).is_let_in
    assert limits.ask("acme", "bob", Kind.READ).is_let_in
    assert limits.ask("globex", "ann", Kind.READ).is_let_in
    for name in ("c", "d"):
        assert limits.ask("acme", name, Kind.READ).is_let_in
    of_tenant = limits.ask("acme", "e", Kind.READ)
    assert (of_tenant.is_let_in, of_tenant.standing.partition(";")[0]) == (False, '"tenant"')


def test_what_a_tenant_is_refused_is_not_counted_for_the_principal() -> None:
    clock = Hand()
    limits = _rates(clock, reads_per_second=1.0, tenant_requests_per_second=1.0)
    for name in ("a", "b"):
        assert limits.ask("acme", name, Kind.READ).is_let_in
    for _ in range(5):
        assert not limits.ask("acme", "c", Kind.READ).is_let_in
    clock.now += 1.0
    assert limits.ask("acme", "c", Kind.READ).standing == '"tenant";r=0;t=2'


def test_nobody_is_told_to_wait_longer_than_ten_seconds() -> None:
    limits = _rates(Hand(), heavy_per_minute=1.0)
    assert limits.ask("acme", "ann", Kind.HEAVY).is_let_in
    late = limits.ask("acme", "ann", Kind.HEAVY)
    assert (late.is_let_in, late.retry_seconds) == (False, RETRY_SECONDS_MAX)

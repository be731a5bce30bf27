"""What an agent's past says of it: it fades by half in a week, comes to the same by any way, and tells the boastful from the sure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregates.values.reputation import HALF_LIFE_SECONDS, TICK_SECONDS, Aside, Recent, faded, gained, tick_of

AT = 1_795_262_400.0
ticks = st.integers(0, 20_000)


def test_after_each_half_life_a_half_is_left() -> None:
    then = gained(Recent(), AT, succeeded=8, stated=4.0)
    for halvings in range(4):
        now = faded(then, tick_of(AT + halvings * HALF_LIFE_SECONDS))
        assert (now.succeeded, now.stated) == (pytest.approx(8 / 2**halvings), pytest.approx(4 / 2**halvings))
    assert faded(then, tick_of(AT + 1000 * HALF_LIFE_SECONDS)).succeeded < 1e-15
    assert gained(Recent(), 0.0, succeeded=8) == gained(gained(Recent(), 0.0, succeeded=3), 0.0, succeeded=5)


@given(ticks, ticks)
def test_fading_in_two_steps_is_fading_in_one(first: int, second: int) -> None:
    then = Recent(succeeded=1.0)
    assert faded(faded(then, first), first + second).succeeded == pytest.approx(faded(then, first + second).succeeded)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.integers(0, 500)), max_size=40))
def test_every_rate_lies_between_none_and_all(attempts: list[tuple[bool, float, int]]) -> None:
    recent, at = Recent(), AT
    for is_success, stated, waited in attempts:
        at += waited * TICK_SECONDS
        recent = gained(recent, at, stated=stated, **({"succeeded": 1, "kept": 0.5} if is_success else {"failed": 1}))
    for rate in (recent.success_rate, recent.kept_rate, recent.response, recent.trust):
        assert 0 <= rate <= 1


def test_what_was_long_ago_weighs_less_than_what_was_of_late() -> None:
    def after(*outcomes: str) -> float:
        recent = Recent()
        for week, name in enumerate(outcomes):
            recent = gained(recent, AT + week * HALF_LIFE_SECONDS, **{name: 1})
        return recent.success_rate

    assert (
        after("failed", "failed", "succeeded", "succeeded") > 0.5 > after("succeeded", "succeeded", "failed", "failed")
    )


def test_a_no_show_is_worse_than_a_failure() -> None:
    assert Recent(succeeded=4, failed=1, no_shows=1).success_rate < Recent(succeeded=4, failed=1).success_rate


def test_who_claims_more_than_comes_of_it_is_trusted_less_and_who_claims_less_gains_nothing() -> None:
    boastful, sure, modest = (Recent(succeeded=10, failed=10, stated=stated) for stated in (20.0, 10.0, 5.0))
    assert boastful.trust == pytest.approx(12 / 22)
    assert sure.trust == modest.trust == Recent().trust == 1.0


def test_the_score_of_stated_confidence_is_the_mean_of_its_squared_misses() -> None:
    assert Aside().brier_score is None
    aside = gained(gained(Aside(), AT, judged=1, squares=0.04), AT, judged=1, squares=0.64)
    assert aside.brier_score == pytest.approx(0.34)

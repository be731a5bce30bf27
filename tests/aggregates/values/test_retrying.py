"""Delays between attempts: none unless asked for, never shorter than the one before, and bounded however many there are."""

from hypothesis import given
from hypothesis import strategies as st

from aggregates.values.retrying import AT_ONCE, DELAY_SECONDS_MAX, RetryPolicy

seconds = st.floats(0, DELAY_SECONDS_MAX)
policies = st.builds(RetryPolicy, delay_seconds=seconds, factor=st.floats(1, 10), delay_seconds_max=seconds)


@given(policies, st.integers(1, 10**9))
def test_a_delay_is_never_shorter_than_the_one_before_and_never_too_long(policy: RetryPolicy, attempt: int) -> None:
    assert 0 <= policy.seconds_after(attempt) <= policy.seconds_after(attempt + 1) <= policy.delay_seconds_max


def test_it_doubles_until_it_is_the_longest() -> None:
    policy = RetryPolicy(delay_seconds=5, delay_seconds_max=60)
    assert [policy.seconds_after(attempt) for attempt in range(1, 7)] == [5, 10, 20, 40, 60, 60]


def test_unasked_it_is_tried_at_once() -> None:
    assert [AT_ONCE.seconds_after(attempt) for attempt in (1, 2, 100)] == [0, 0, 0]

"""Pace: a peer's waiting is paid for with bytes, and nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.door.pace import Allowance, Pace


def test_one_byte_in_nine_seconds_runs_out_and_a_slow_line_does_not():
    drip, line = Pace(10, 1024), Pace(10, 1024)
    drip.moved(1, 9)
    assert drip.seconds_left < 1.01
    drip.moved(1, 2)
    assert drip.seconds_left < 0
    for _ in range(1000):
        line.moved(9 * 1024, 9)
    assert line.seconds_left == 10


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 100))))
def test_who_is_always_fast_enough_has_all_the_time_and_nobody_has_more(moves: list[tuple[int, float]]):
    pace = Pace(10, 1024)
    for size, seconds in moves:
        pace.moved(size, seconds)
        assert pace.seconds_left <= 10
    if all(seconds * 1024 <= size for size, seconds in moves):
        assert pace.seconds_left == 10


@given(st.floats(1, 100), st.lists(st.floats(0, 1), max_size=200))
def test_no_second_allows_more_than_twice_its_share_and_who_keeps_to_it_is_never_refused(
    per_second: float, gaps: list[float]
):
    allowance, now, allowed = Allowance(per_second), 0.0, list[float]()
    for gap in gaps:
        now += gap
        if allowance.take(now):
            allowed.append(now)
    assert all(sum(1 for other in allowed if one <= other <= one + 1) <= 2 * per_second + 1 for one in allowed)
    steady = Allowance(per_second)
    assert all(steady.take(1.001 * number / per_second) for number in range(50))

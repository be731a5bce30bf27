"""Trying again happens at the times that the policy says, for the errors that it names, and hides none of them."""

import itertools
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from random import Random

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from runtime import retry as policies
from runtime.errors import Overloaded, Refused
from runtime.retry import Policy, Wait, delays, retry

SECONDS = st.floats(0.0, 1e6)
RETRY_AFTER_SECONDS = 30.0


class Flaky:
    """Fails with each of `errors` in turn, then answers; remembers when it was asked."""

    def __init__(self, errors: Iterable[BaseException]) -> None:
        self._errors = iter(errors)
        self.asked_at: list[float] = []
        self._since = trio.current_time()

    async def __call__(self, answer: str) -> str:
        self.asked_at.append(round(trio.current_time() - self._since, 9))
        for error in self._errors:
            raise error
        return answer


def first(count: int, wait: Wait) -> list[float]:
    return list(itertools.islice(delays(wait), count))


async def test_the_policy_as_it_stands_tries_at_0_1_and_3_seconds(autojump_clock: trio.testing.MockClock):
    flaky = Flaky([OSError("one"), OSError("two")])
    assert await retry(Policy(), flaky, "here") == "here"
    assert flaky.asked_at == [0.0, 1.0, 3.0]


async def test_the_last_error_is_raised_with_notes_of_the_earlier_ones(autojump_clock: trio.testing.MockClock):
    errors = [OSError("one"), KeyError("two"), OSError("three")]
    flaky = Flaky(errors)
    with pytest.raises(OSError, match="three") as caught:
        await retry(Policy(), flaky, "here")
    assert caught.value is errors[2]
    assert caught.value.__notes__ == ["attempt 1 failed: OSError('one')", "attempt 2 failed: KeyError('two')"]
    assert len(flaky.asked_at) == 3


@pytest.mark.parametrize(
    "policy, error",
    [
        (Policy(), Refused("no_such_thing")),
        (Policy(retried=(OSError,)), ValueError("bad")),
        (Policy(retried=(OSError,), never=(FileNotFoundError,)), FileNotFoundError("gone")),
        (Policy(), ExceptionGroup("several", [OSError("one"), Refused("no_such_thing")])),
    ],
)
async def test_what_the_policy_does_not_retry_is_raised_at_once(
    policy: Policy, error: Exception, autojump_clock: trio.testing.MockClock
):
    flaky = Flaky([error])
    with pytest.raises(type(error)) as caught:
        await retry(policy, flaky, "here")
    assert caught.value is error
    assert flaky.asked_at == [0.0]


async def test_group_is_tried_again_when_each_in_it_would_be(autojump_clock: trio.testing.MockClock):
    flaky = Flaky([ExceptionGroup("several", [OSError("one"), OSError("two")])])
    assert await retry(Policy(retried=(OSError,)), flaky, "here") == "here"


@pytest.mark.parametrize(
    "error",
    [
        Overloaded("full", retry_seconds=RETRY_AFTER_SECONDS),
        ExceptionGroup("several", [OSError("one"), Overloaded("full", retry_seconds=RETRY_AFTER_SECONDS)]),
    ],
)
async def test_overloaded_is_asked_again_when_it_said(error: Exception, autojump_clock: trio.testing.MockClock):
    flaky = Flaky([error])
    await retry(Policy(), flaky, "here")
    assert flaky.asked_at == [0.0, RETRY_AFTER_SECONDS]


async def test_delay_that_would_pass_the_deadline_is_not_waited_for(autojump_clock: trio.testing.MockClock):
    flaky = Flaky([OSError(str(number)) for number in range(9)])
    with pytest.raises(OSError, match="1"):
        await retry(Policy(attempts_max=9, seconds_max=3.0), flaky, "here")
    assert flaky.asked_at == [0.0, 1.0]
    assert trio.current_time() < 3.0


async def test_deadline_cuts_an_attempt_short_and_tells_of_the_earlier_ones(autojump_clock: trio.testing.MockClock):
    flaky = Flaky([OSError("one")])

    async def slow() -> None:
        await flaky("here")
        await trio.sleep_forever()

    with pytest.raises(trio.TooSlowError) as caught:
        await retry(Policy(seconds_max=5.0), slow)
    assert trio.current_time() == 5.0
    assert caught.value.__notes__ == ["attempt 1 failed: OSError('one')"]


async def test_time_limit_of_an_attempt_is_a_failure_like_another(autojump_clock: trio.testing.MockClock):
    flaky = Flaky([])

    async def slow_twice() -> str:
        with trio.fail_after(1.0):
            await flaky("here")
            if len(flaky.asked_at) < 3:
                await trio.sleep_forever()
        return "at last"

    assert await retry(Policy(), slow_twice) == "at last"
    assert flaky.asked_at == [0.0, 2.0, 5.0]


@pytest.mark.parametrize("errors", [[], [OSError("one")]], ids=["in an attempt", "between two"])
async def test_cancellation_ends_it_at_once(errors: Sequence[Exception], autojump_clock: trio.testing.MockClock):
    flaky = Flaky(errors)

    async def hang() -> None:
        await flaky("here")
        await trio.sleep_forever()

    with trio.move_on_after(0.5) as scope:
        await retry(Policy(), hang)
    assert scope.cancelled_caught
    assert flaky.asked_at == [0.0]


async def test_function_that_only_returns_an_awaitable_is_awaited(autojump_clock: trio.testing.MockClock):
    flaky = Flaky([OSError("one")])
    lazy: Callable[[], Awaitable[str]] = lambda: flaky("here")  # noqa: E731
    assert await retry(Policy(), lazy) == "here"


async def test_notes_are_bounded(autojump_clock: trio.testing.MockClock):
    flaky = Flaky([OSError(str(number)) for number in range(100)])
    with pytest.raises(OSError, match="39") as caught:
        await retry(Policy(attempts_max=40), flaky, "here")
    assert len(caught.value.__notes__) == policies.NOTES_MAX


@pytest.mark.parametrize("bad", [{"attempts_max": 0}, {"seconds_max": 0.0}, {"seconds_max": math.nan}])
def test_policy_without_room_for_an_attempt_is_no_policy(bad: dict[str, float]):
    with pytest.raises(ValueError, match="no attempt fits"):
        Policy(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_delays_are_finite_and_never_negative(bad: float):
    for make in (policies.fixed, policies.linear, policies.exponential):
        with pytest.raises(ValueError, match="a delay of"):
            make(bad)
    with pytest.raises(ValueError, match="shrink"):
        policies.exponential(1.0, 0.5)


def test_delays_as_they_are_named():
    assert first(4, policies.fixed(2.0)) == [2.0, 2.0, 2.0, 2.0]
    assert first(4, policies.linear(1.0, 2.0)) == [1.0, 3.0, 5.0, 7.0]
    assert first(4, policies.exponential(0.5, 3.0)) == [0.5, 1.5, 4.5, 13.5]
    assert first(8, policies.exponential())[-2:] == [policies.DELAY_SECONDS_MAX] * 2


@given(SECONDS, SECONDS, SECONDS, st.integers(1, 40))
def test_linear_delays_are_the_formula_under_a_ceiling(start: float, step: float, most: float, count: int):
    expected = [min(most, start + step * n) for n in range(count)]
    assert first(count, policies.linear(start, step, seconds_max=most)) == pytest.approx(expected)


@given(SECONDS, st.floats(1.0, 10.0), SECONDS)
def test_exponential_delays_are_the_formula_under_a_ceiling(start: float, factor: float, most: float):
    expected = [min(most, start * factor**n) for n in range(300)]
    assert first(300, policies.exponential(start, factor, seconds_max=most)) == pytest.approx(expected)


@given(st.integers(), SECONDS, st.floats(1.0, 4.0))
def test_jitter_stays_in_its_band_and_one_seed_gives_one_sequence(seed: int, start: float, factor: float):
    wait = policies.exponential(start, factor)
    plain = first(30, wait)
    full = first(30, policies.full_jitter(wait, Random(seed)))
    equal = first(30, policies.equal_jitter(wait, Random(seed)))
    assert all(0.0 <= delay <= most for delay, most in zip(full, plain, strict=True))
    assert all(most / 2 <= delay <= most for delay, most in zip(equal, plain, strict=True))
    assert full == first(30, policies.full_jitter(wait, Random(seed)))


@given(st.integers(), st.floats(0.001, 10.0), st.floats(10.0, 1e4))
def test_decorrelated_delays_grow_from_the_one_before(seed: int, start: float, most: float):
    sequence = first(50, policies.decorrelated_jitter(Random(seed), start, seconds_max=most))
    assert all(
        start <= delay <= min(most, 3 * before) for before, delay in itertools.pairwise([max(start, 0.0), *sequence])
    )

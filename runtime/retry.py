"""Trying again: which failures, how often, after what delays and how long in all. The loop is tenacity's.

Ours is what tenacity leaves to the process: jitter comes from a `random.Random` that the caller seeds, and time is Trio's, so
that a policy is tested on a virtual clock. Tenacity's `async for attempt in …` is not offered: `with attempt:` holds a
cancellation back until the next turn of the loop. `delays` gives the sequence to who writes a loop.
"""

import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import TypeVar, TypeVarTuple

import tenacity
import trio

from runtime.errors import Overloaded, Refused

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# From how the trying stands (`attempt_number` from 1, `upcoming_sleep`: the delay before this one) to seconds.
Wait = Callable[[tenacity.RetryCallState], float]

DELAY_SECONDS_MAX = 60.0
NOTES_MAX = 8  # earlier errors told with the last one, the newest


def fixed(seconds: float) -> Wait:
    """The same delay each time."""
    return tenacity.wait_fixed(_positive(seconds))


def linear(first: float = 1.0, step: float = 1.0, *, seconds_max: float = DELAY_SECONDS_MAX) -> Wait:
    """`first + step * n` seconds after attempt n = 0, 1, 2, …, at most `seconds_max`."""
    return tenacity.wait_incrementing(_positive(first), _positive(step), _positive(seconds_max))


def exponential(first: float = 1.0, factor: float = 2.0, *, seconds_max: float = DELAY_SECONDS_MAX) -> Wait:
    """`first * factor ** n` seconds after attempt n = 0, 1, 2, …, at most `seconds_max`; as it stands 1, 2, 4, 8, …"""
    if factor < 1.0:
        raise ValueError(f"delays that shrink (factor {factor}) press harder the longer it fails")
    return tenacity.wait_exponential(_positive(first), _positive(seconds_max), factor)


def full_jitter(wait: Wait, random: Random) -> Wait:
    """Between nothing and what `wait` says: spreads a crowd best, and may try again at once."""
    return lambda state: random.uniform(0.0, wait(state))


def equal_jitter(wait: Wait, random: Random) -> Wait:
    """Between half of what `wait` says and all of it."""
    return lambda state: random.uniform(0.5, 1.0) * wait(state)


def decorrelated_jitter(random: Random, first: float = 1.0, *, seconds_max: float = DELAY_SECONDS_MAX) -> Wait:
    """Between `first` and three times the delay before, at most `seconds_max` (Brooker, AWS Architecture Blog, 2015)."""
    _positive(first), _positive(seconds_max)
    return lambda state: min(seconds_max, random.uniform(first, 3.0 * max(first, state.upcoming_sleep)))


def _positive(seconds: float) -> float:
    if not (math.isfinite(seconds) and seconds >= 0.0):
        raise ValueError(f"a delay of {seconds} seconds")
    return seconds


DOUBLING = exponential()


def delays(wait: Wait) -> Iterator[float]:
    """The delays that `wait` gives, in seconds, without end: to look at, or for a loop of one's own."""
    state = tenacity.RetryCallState(tenacity.AsyncRetrying(), None, (), {})
    while True:
        state.upcoming_sleep = wait(state)
        yield state.upcoming_sleep
        state.attempt_number += 1


@dataclass(frozen=True, kw_only=True)
class Policy:
    """When to try again; as it stands three attempts, at 0, 1 and 3 seconds.

    `attempts_max` counts the first one, too. Errors of the classes `retried` are tried again unless they are of a class in
    `never`; `Refused` is never: the same question gets the same answer. `Overloaded` waits at least its `retry_seconds`. A
    group of exceptions is tried again when each in it would be. `seconds_max` bounds attempts and delays together.
    """

    attempts_max: int = 3
    wait: Wait = DOUBLING
    retried: tuple[type[Exception], ...] = (Exception,)
    never: tuple[type[Exception], ...] = ()
    seconds_max: float = math.inf

    def __post_init__(self) -> None:
        if self.attempts_max < 1 or not self.seconds_max > 0.0:
            raise ValueError(f"no attempt fits: {self.attempts_max} attempts in {self.seconds_max} seconds")

    def retries(self, error: BaseException) -> bool:
        """Whether trying again may help after this error."""
        if isinstance(error, BaseExceptionGroup):
            return all(self.retries(one) for one in error.exceptions)
        return isinstance(error, self.retried) and not isinstance(error, (Refused, *self.never))

    def delay(self, state: tenacity.RetryCallState) -> float:
        """Seconds until the next attempt, when the last one failed."""
        error = None if state.outcome is None else state.outcome.exception()
        return max(self.wait(state), _asked_for(error))


def _asked_for(error: BaseException | None) -> float:
    if isinstance(error, BaseExceptionGroup):
        return max(_asked_for(one) for one in error.exceptions)
    return error.retry_seconds if isinstance(error, Overloaded) else 0.0


async def retry(policy: Policy, function: Callable[[*Ts], Awaitable[T]], *arguments: *Ts) -> T:
    """Awaits `function(*arguments)` until it succeeds; only for what may be done twice.

    Raises the last error, with a note for each earlier one: of a class that is not tried again, of the last attempt, or at
    once where the next delay would pass the deadline. Raises `trio.TooSlowError` when the deadline cuts an attempt short.
    Cancellation passes through at once.
    """
    ends_at = trio.current_time() + policy.seconds_max
    earlier: deque[str] = deque(maxlen=NOTES_MAX)

    def over(state: tenacity.RetryCallState) -> bool:
        late = trio.current_time() + state.upcoming_sleep >= ends_at
        return late or state.attempt_number >= policy.attempts_max

    def note(state: tenacity.RetryCallState) -> None:
        error = None if state.outcome is None else state.outcome.exception()
        earlier.append(f"attempt {state.attempt_number} failed: {error!r}")

    async def attempt() -> T:  # tenacity awaits only what it sees to be a coroutine function, and a lambda is none
        return await function(*arguments)

    retrying = tenacity.AsyncRetrying(
        sleep=trio.sleep,
        stop=over,
        wait=policy.delay,
        retry=tenacity.retry_if_exception(policy.retries),
        before_sleep=note,
        reraise=True,
    )
    try:
        with trio.fail_at(ends_at):
            return await retrying(attempt)
    except Exception as error:
        for line in earlier:
            error.add_note(line)
        raise

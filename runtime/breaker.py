"""A circuit breaker: what keeps failing is left alone for a while, then asked by a few before everybody may again.

    CLOSED ── failures_max in the window, or rate_max of at least calls_min ──► OPEN
    OPEN ── recovery_seconds later, by the next call ──► HALF_OPEN
    HALF_OPEN ── successes_min probes succeed ──► CLOSED
    HALF_OPEN ── one probe fails ──► OPEN

Rules. 1. The window is what the last `calls_max` calls came to within `window_seconds`; it is empty after each change of state.
2. Only a failure opens it. 3. A call counts in the state in which it began: the late result of a call from before the circuit
opened neither closes it nor keeps it open. 4. A call that is cancelled says nothing about the other side: it is neither success nor
failure, and its place as a probe is free again. 5. No step waits, so Trio's tasks need no lock.
"""

import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar, TypeVarTuple

import trio

from runtime.errors import Overloaded, Refused

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Circuit(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitOpen(Overloaded):
    """The breaker `name` let nobody through; `retry_seconds` is what is left of its recovery, or all of it while others probe."""

    def __init__(self, name: str, retry_seconds: float) -> None:
        super().__init__(f"{name} has failed too often and is left alone", retry_seconds=retry_seconds)
        self.name = name


@dataclass(frozen=True)
class Change:
    """What a listener hears: the breaker's name, the states, and when by the breaker's clock."""

    name: str
    before: Circuit
    after: Circuit
    at: float


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a circuit opens and closes; `rate_max` is a share in (0, 1]. Of `failures_max` and `rate_max` one may be None: not asked.

    `probes_max` calls at most run at the same time while it is half open. A probe that never ends holds its place: give calls a
    deadline.
    """

    failures_max: int | None = 5
    rate_max: float | None = None
    calls_min: int = 10
    calls_max: int = 100
    window_seconds: float = 60.0
    recovery_seconds: float = 30.0
    probes_max: int = 1
    successes_min: int = 1

    def __post_init__(self) -> None:
        faults = [
            f"{name} is {value}, and must be more than 0"
            for name, value in vars(self).items()
            if value is not None and not value > 0
        ]
        if self.rate_max is not None and self.rate_max > 1.0:
            faults.append(f"rate_max is {self.rate_max}, and must be at most 1")
        if self.failures_max is None and self.rate_max is None:
            faults.append("neither failures_max nor rate_max is set: the circuit would never open")
        if max(self.failures_max or 0, self.calls_min) > self.calls_max:
            faults.append(f"calls_max is {self.calls_max}: failures_max and calls_min would never be reached")
        if math.isinf(self.recovery_seconds):
            faults.append("recovery_seconds is infinite: the circuit would never close")
        if faults:
            raise ValueError("; ".join(faults))


def is_failure(error: Exception) -> bool:
    """Every error but a refusal, which is an answer; a group fails by any that it holds."""
    if isinstance(error, ExceptionGroup):
        return any(is_failure(one) for one in error.exceptions)
    return not isinstance(error, Refused)


class Breaker:
    """One circuit, for one thing that is called.

    `fails` says of an exception whether it counts as a failure; one that doesn't counts as a success. `listener` hears each change
    of state as it happens; what it raises reaches the caller. `clock` tells seconds that never go back.
    """

    def __init__(
        self,
        name: str,
        limits: Limits | None = None,
        *,
        fails: Callable[[Exception], bool] = is_failure,
        clock: Callable[[], float] = trio.current_time,
        listener: Callable[[Change], object] | None = None,
    ) -> None:
        self.name = name
        self.limits = limits or Limits()
        self._fails = fails
        self._clock = clock
        self._listener = listener
        self._circuit = Circuit.CLOSED
        self._term = 0  # changes of state so far: a call counts in the term in which it began
        self._window: deque[tuple[float, bool]] = deque(
            maxlen=self.limits.calls_max
        )  # when it ended, whether it failed
        self._opened_at = -math.inf
        self._probes = 0
        self._successes = 0

    @property
    def circuit(self) -> Circuit:
        """The state; an open circuit says so until the first call after its recovery."""
        return self._circuit

    async def call(self, function: Callable[[*Ts], Awaitable[T]], *arguments: *Ts) -> T:
        """Awaits `function(*arguments)` if the circuit lets it through; raises `CircuitOpen`, or what the function raises."""
        async with self.attempt():
            return await function(*arguments)

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[None]:
        """Around one call: how the block ends is how the call went. Raises `CircuitOpen` instead of entering."""
        term = self._admit()
        failed: bool | None = None
        try:
            yield
            failed = False
        except Exception as error:
            failed = self._fails(error)
            raise
        finally:
            if term == self._term:
                self._settle(failed)

    def _admit(self) -> int:
        now = self._clock()
        if self._circuit is Circuit.OPEN:
            left = self._opened_at + self.limits.recovery_seconds - now
            if left > 0.0:
                raise CircuitOpen(self.name, left)
            self._turn(Circuit.HALF_OPEN, now)
        if self._circuit is Circuit.HALF_OPEN:
            if self._probes >= self.limits.probes_max:
                raise CircuitOpen(self.name, self.limits.recovery_seconds)
            self._probes += 1
        return self._term

    def _settle(self, failed: bool | None) -> None:
        """A call of this term has ended; None: it was cancelled."""
        half_open = self._circuit is Circuit.HALF_OPEN
        self._probes -= half_open
        if failed is None:
            return
        now = self._clock()
        if not half_open:
            self._window.append((now, failed))
            if failed and self._too_many(now):
                self._turn(Circuit.OPEN, now)
        elif failed:
            self._turn(Circuit.OPEN, now)
        else:
            self._successes += 1
            if self._successes >= self.limits.successes_min:
                self._turn(Circuit.CLOSED, now)

    def _too_many(self, now: float) -> bool:
        limits, window = self.limits, self._window
        while now - window[0][0] >= limits.window_seconds:
            window.popleft()
        failures = sum(failed for _, failed in window)
        if limits.failures_max is not None and failures >= limits.failures_max:
            return True
        return (
            limits.rate_max is not None
            and len(window) >= limits.calls_min
            and failures >= limits.rate_max * len(window)
        )

    def _turn(self, after: Circuit, now: float) -> None:
        before, self._circuit = self._circuit, after
        self._term += 1
        self._window.clear()
        self._probes = self._successes = 0
        if after is Circuit.OPEN:
            self._opened_at = now
        if self._listener is not None:
            self._listener(Change(self.name, before, after, now))

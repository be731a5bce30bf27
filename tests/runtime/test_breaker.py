"""A circuit opens on what fails, closes on what works again, and hears nothing that came too late or was cancelled."""

import math
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from runtime.breaker import Breaker, Change, Circuit, CircuitOpen, Limits
from runtime.errors import Overloaded, Refused

TWO_IN_A_MINUTE = Limits(failures_max=2, recovery_seconds=30.0)


async def answer(text: str) -> str:
    await trio.lowlevel.checkpoint()
    return text


async def fail(error: BaseException) -> None:
    await trio.lowlevel.checkpoint()
    raise error


def state(breaker: Breaker) -> Circuit:
    return breaker.circuit  # a call's result: mypy holds an attribute that was compared for constant


async def failing(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(OSError, match="down"):
            await breaker.call(fail, OSError("down"))


async def test_circuit_opens_recovers_and_tells_of_each_change(autojump_clock: trio.testing.MockClock):
    heard: list[Change] = []
    breaker = Breaker("store", TWO_IN_A_MINUTE, listener=heard.append)
    assert await breaker.call(answer, "here") == "here"
    await failing(breaker, 2)
    await trio.sleep(10.0)
    with pytest.raises(CircuitOpen) as caught:
        await breaker.call(answer, "here")
    assert caught.value.retry_seconds == 20.0
    assert isinstance(caught.value, Overloaded)
    await trio.sleep(caught.value.retry_seconds)
    assert await breaker.call(answer, "here") == "here"
    closed, opened, half = Circuit.CLOSED, Circuit.OPEN, Circuit.HALF_OPEN
    steps = [(closed, opened, 0.0), (opened, half, 30.0), (half, closed, 30.0)]
    assert heard == [Change("store", before, after, at) for before, after, at in steps]


async def test_open_circuit_calls_nobody(autojump_clock: trio.testing.MockClock):
    breaker = Breaker("store", TWO_IN_A_MINUTE)
    await failing(breaker, 2)
    with pytest.raises(CircuitOpen, match="store"):
        await breaker.call(fail, AssertionError("it was called"))


async def test_probe_that_fails_opens_it_for_another_term(autojump_clock: trio.testing.MockClock):
    breaker = Breaker("store", TWO_IN_A_MINUTE)
    await failing(breaker, 2)
    await trio.sleep(30.0)
    await failing(breaker)
    await trio.sleep(29.0)
    with pytest.raises(CircuitOpen):
        await breaker.call(answer, "here")


async def test_refusals_are_answers_and_so_is_what_the_caller_says(autojump_clock: trio.testing.MockClock):
    breaker = Breaker("store", Limits(failures_max=1))
    with pytest.raises(Refused):
        await breaker.call(fail, Refused("no_such_thing"))
    with pytest.raises(ExceptionGroup):
        await breaker.call(fail, ExceptionGroup("one", [Refused("no_such_thing")]))
    assert state(breaker) == Circuit.CLOSED
    choosy = Breaker("store", Limits(failures_max=1), fails=lambda error: isinstance(error, OSError))
    with pytest.raises(KeyError):
        await choosy.call(fail, KeyError("x"))
    assert state(choosy) == Circuit.CLOSED
    await failing(choosy)
    assert state(choosy) == Circuit.OPEN


async def test_group_with_a_failure_is_a_failure():
    breaker = Breaker("store", Limits(failures_max=1))
    with pytest.raises(ExceptionGroup):
        await breaker.call(fail, ExceptionGroup("two", [Refused("no_such_thing"), OSError("down")]))
    assert state(breaker) == Circuit.OPEN


async def test_rate_needs_its_minimum_of_calls():
    breaker = Breaker("store", Limits(failures_max=None, rate_max=0.5, calls_min=4))
    await failing(breaker, 3)
    assert state(breaker) == Circuit.CLOSED
    await failing(breaker)
    assert state(breaker) == Circuit.OPEN


async def test_failures_of_long_ago_are_forgotten(autojump_clock: trio.testing.MockClock):
    breaker = Breaker("store", Limits(failures_max=2, window_seconds=60.0))
    for _ in range(5):
        await failing(breaker)
        await trio.sleep(60.0)
    assert state(breaker) == Circuit.CLOSED


async def test_only_the_last_calls_are_in_the_window():
    breaker = Breaker("store", Limits(failures_max=2, calls_min=1, calls_max=3))
    await failing(breaker)
    for _ in range(2):
        await breaker.call(answer, "here")
    await failing(breaker)
    assert state(breaker) == Circuit.CLOSED
    await failing(breaker)
    assert state(breaker) == Circuit.OPEN


async def test_what_failed_before_it_recovered_is_forgotten(autojump_clock: trio.testing.MockClock):
    breaker = Breaker("store", Limits(failures_max=2, recovery_seconds=1.0, window_seconds=60.0))
    await failing(breaker, 2)
    await trio.sleep(1.0)
    await breaker.call(answer, "here")
    await failing(breaker)
    assert state(breaker) == Circuit.CLOSED


async def test_probes_are_bounded_and_a_cancelled_one_frees_its_place(autojump_clock: trio.testing.MockClock):
    breaker = Breaker("store", Limits(failures_max=1, recovery_seconds=1.0, probes_max=2))
    await failing(breaker)
    await trio.sleep(1.0)
    async with trio.open_nursery() as probes:
        for _ in range(2):
            probes.start_soon(breaker.call, trio.sleep_forever)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(CircuitOpen):
            await breaker.call(answer, "here")
        probes.cancel_scope.cancel()
    assert state(breaker) == Circuit.HALF_OPEN
    assert await breaker.call(answer, "here") == "here"
    assert state(breaker) == Circuit.CLOSED


async def test_late_success_from_before_it_opened_does_not_close_it(autojump_clock: trio.testing.MockClock):
    breaker = Breaker("store", Limits(failures_max=1, recovery_seconds=1.0))
    go = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(breaker.call, go.wait)
        await trio.testing.wait_all_tasks_blocked()
        await failing(breaker)
        await trio.sleep(1.0)
        async with breaker.attempt():  # half open now, and its one probe is out
            go.set()
            await trio.testing.wait_all_tasks_blocked()
            assert state(breaker) == Circuit.HALF_OPEN
            with pytest.raises(CircuitOpen):
                await breaker.call(answer, "here")
    assert state(breaker) == Circuit.CLOSED


@pytest.mark.parametrize(
    "bad, fault",
    [
        ({"failures_max": 0}, "failures_max is 0"),
        ({"failures_max": None}, "never open"),
        ({"rate_max": 1.5}, "at most 1"),
        ({"failures_max": 101}, "never be reached"),
        ({"recovery_seconds": math.inf}, "never close"),
        ({"window_seconds": math.nan}, "window_seconds is nan"),
    ],
)
def test_limits_that_make_no_sense_are_named(bad: dict[str, Any], fault: str):
    with pytest.raises(ValueError, match=fault):
        Limits(**bad)


class Model:
    """The slow twin: keeps every call there was and reads the rules off the list."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.circuit = Circuit.CLOSED
        self.changed_at = [0]  # the last is the present term
        self.term_by_call: dict[int, int] = {}
        self.ended: list[tuple[int, int, bool]] = []  # term, time, failed

    def turn(self, circuit: Circuit, now: int) -> None:
        self.circuit = circuit
        self.changed_at.append(now)

    def begins(self, call: int, now: int) -> bool:
        if self.circuit is Circuit.OPEN and now - self.changed_at[-1] >= self.limits.recovery_seconds:
            self.turn(Circuit.HALF_OPEN, now)
        term = len(self.changed_at)
        probes = list(self.term_by_call.values()).count(term)
        full = self.circuit is Circuit.HALF_OPEN and probes >= self.limits.probes_max
        if self.circuit is Circuit.OPEN or full:
            return False
        self.term_by_call[call] = term
        return True

    def ends(self, call: int, now: int, failed: bool | None) -> None:
        term = self.term_by_call.pop(call)
        if failed is None or term != len(self.changed_at):
            return
        self.ended.append((term, now, failed))
        outcomes = [(at, bad) for in_term, at, bad in self.ended if in_term == term]
        if self.circuit is Circuit.HALF_OPEN:
            if failed:
                self.turn(Circuit.OPEN, now)
            elif len(outcomes) >= self.limits.successes_min:
                self.turn(Circuit.CLOSED, now)
        elif failed and self.trips(
            [bad for at, bad in outcomes[-self.limits.calls_max :] if now - at < self.limits.window_seconds]
        ):
            self.turn(Circuit.OPEN, now)

    def trips(self, window: list[bool]) -> bool:
        limits = self.limits
        by_count = limits.failures_max is not None and sum(window) >= limits.failures_max
        rate = sum(window) / len(window)
        return by_count or (limits.rate_max is not None and len(window) >= limits.calls_min and rate >= limits.rate_max)


def at_once(step: Coroutine[Any, Any, Any]) -> None:
    """Runs what never waits: a step that did would fail here."""
    with pytest.raises(StopIteration):
        step.send(None)


LIMITS = st.builds(
    Limits,
    failures_max=st.integers(1, 3),
    rate_max=st.sampled_from([None, 0.25, 0.5, 1.0]),
    calls_min=st.integers(1, 3),
    calls_max=st.integers(3, 5),
    window_seconds=st.integers(1, 20),
    recovery_seconds=st.integers(1, 8),
    probes_max=st.integers(1, 3),
    successes_min=st.integers(1, 3),
)
# Seconds that pass, then a call that begins (None) or what becomes of one that runs: which, and whether it failed (None: cancelled).
# The list has a least length: by itself hypothesis makes short ones, and few of those recover from an opened circuit.
END = st.tuples(st.integers(0, 9), st.sampled_from([False, True, None]))
STEPS = st.lists(st.tuples(st.integers(0, 3), st.none() | END), min_size=40, max_size=80)


@given(LIMITS, STEPS)
def test_breaker_does_what_the_model_does(limits: Limits, steps: list[tuple[int, tuple[int, bool | None] | None]]):
    now = 0
    breaker, model = Breaker("store", limits, clock=lambda: now), Model(limits)
    running: dict[int, AbstractAsyncContextManager[None]] = {}
    for call, (seconds, end) in enumerate(steps):
        now += seconds
        if end is None:
            block = breaker.attempt()
            if model.begins(call, now):
                at_once(block.__aenter__())
                running[call] = block
            else:
                with pytest.raises(CircuitOpen) as caught:
                    block.__aenter__().send(None)
                assert 0.0 < caught.value.retry_seconds <= limits.recovery_seconds
        elif running:
            which, failed = sorted(running)[end[0] % len(running)], end[1]
            error = {False: None, True: OSError("down"), None: KeyboardInterrupt()}[failed]
            model.ends(which, now, failed)
            at_once(running.pop(which).__aexit__(type(error) if error else None, error, None))
        assert breaker.circuit is model.circuit

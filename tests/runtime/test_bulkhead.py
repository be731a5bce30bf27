"""A compartment runs no more than its threads, holds no more than its queue, and is full without making others full."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from runtime.bulkhead import Bulkhead, Compartment, Crowded
from runtime.errors import Overloaded


class Gate:
    """Holds threads until it opens, and counts how many it has held at once."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open = False
        self.inside = self.inside_peak = 0

    def pass_through(self, word: str = "through") -> str:
        with self._changed:
            self.inside += 1
            self.inside_peak = max(self.inside_peak, self.inside)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._open)
            self.inside -= 1
            self._changed.notify_all()
        return word

    def open(self) -> None:
        with self._changed:
            self._open = True
            self._changed.notify_all()

    async def holds(self, count: int) -> None:
        def wait() -> None:
            with self._changed:
                self._changed.wait_for(lambda: self.inside == count)

        await trio.to_thread.run_sync(wait)


@contextmanager
def gate() -> Iterator[Gate]:
    one = Gate()
    try:
        yield one
    finally:
        one.open()  # a test that fails must not leave threads behind


async def hold(compartment: Compartment, held: Gate) -> None:
    await compartment.run(held.pass_through)


async def test_work_runs_on_a_thread_and_its_result_or_error_comes_back():
    compartment = Compartment("disk", threads_max=1, waiting_max=0)
    assert await compartment.run(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await compartment.run(divmod, 1, 0)
    assert compartment.figures().busy == 0


async def test_past_the_threads_calls_wait_and_past_the_queue_they_are_refused():
    compartment = Compartment("disk", threads_max=2, waiting_max=1)
    with gate() as held:
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(hold, compartment, held)
            await held.holds(2)
            nursery.start_soon(hold, compartment, held)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(Crowded, match="disk: no thread is free and 1 calls wait already") as caught:
                await compartment.run(held.pass_through)
            full = compartment.figures()
            held.open()
    assert isinstance(caught.value, Overloaded)
    assert (full.busy, full.waiting, full.refused) == (2, 1, 1)
    empty = compartment.figures()
    assert (empty.busy, empty.waiting, empty.busy_peak, empty.waiting_peak) == (0, 0, 2, 1)
    assert held.inside_peak == 2


async def test_full_compartment_leaves_the_others_alone():
    bulkhead = Bulkhead([Compartment(name, threads_max=1, waiting_max=0) for name in ("disk", "mail")])
    with gate() as held:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hold, bulkhead["disk"], held)
            await held.holds(1)
            assert await bulkhead["mail"].run(len, "abc") == 3
            with pytest.raises(Crowded):
                await bulkhead["disk"].run(len, "abc")
            held.open()
    assert {name: figures.refused for name, figures in bulkhead.figures().items()} == {"disk": 1, "mail": 0}


async def test_wait_has_a_deadline_and_the_work_has_none(autojump_clock: trio.testing.MockClock):
    compartment = Compartment("disk", threads_max=1, waiting_max=5)
    with gate() as held:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hold, compartment, held)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(Crowded, match=r"within 3\.0 s"):
                await compartment.run(held.pass_through, wait_seconds_max=3.0)
            assert trio.current_time() >= 3.0
            held.open()
    assert compartment.figures().expired == 1
    assert await compartment.run(held.pass_through, wait_seconds_max=0.0) == "through"


async def test_who_is_cancelled_while_waiting_leaves_the_queue():
    compartment = Compartment("disk", threads_max=1, waiting_max=1)
    with gate() as held:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hold, compartment, held)
            await held.holds(1)
            with trio.CancelScope() as scope:
                nursery.start_soon(_cancel_when_blocked, scope)
                await compartment.run(held.pass_through)
            assert scope.cancelled_caught
            assert compartment.figures().waiting == 0
            held.open()


async def test_abandoned_work_holds_its_place_until_it_ends():
    compartment = Compartment("disk", threads_max=1, waiting_max=1)
    with gate() as held:
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                nursery.start_soon(_cancel_when_blocked, scope)
                await compartment.run(held.pass_through, abandon_on_cancel=True)
            assert scope.cancelled_caught
            left = compartment.figures()
            assert (left.busy, left.abandoned) == (1, 1)
            held.open()
            assert await compartment.run(held.pass_through, "after it") == "after it"
    done = compartment.figures()
    assert (done.busy, done.abandoned) == (0, 0)


async def test_without_leave_to_abandon_the_cancelled_caller_waits_for_the_end():
    compartment = Compartment("disk", threads_max=1, waiting_max=0)
    with gate() as held:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hold, compartment, held)
            await held.holds(1)
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await trio.testing.wait_all_tasks_blocked()
                assert compartment.figures().busy == 1
                held.open()
    assert held.inside == 0


async def _cancel_when_blocked(scope: trio.CancelScope) -> None:
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()


@given(threads=st.integers(1, 3), waiting=st.integers(0, 3), calls=st.integers(0, 9))
def test_of_many_calls_as_many_are_taken_as_there_is_room(threads: int, waiting: int, calls: int):
    compartment = Compartment("disk", threads_max=threads, waiting_max=waiting)
    refused: list[Crowded] = []

    async def call(held: Gate) -> None:
        try:
            await compartment.run(held.pass_through)
        except Crowded as error:
            refused.append(error)

    async def main() -> None:
        with gate() as held:
            async with trio.open_nursery() as nursery:
                for _ in range(calls):
                    nursery.start_soon(call, held)
                await trio.testing.wait_all_tasks_blocked()
                await held.holds(min(calls, threads))
                held.open()
            assert held.inside_peak <= threads

    trio.run(main)
    assert len(refused) == compartment.figures().refused == max(0, calls - threads - waiting)
    assert compartment.figures().waiting_peak == min(waiting, max(0, calls - threads))


def test_compartments_that_make_no_sense_are_named():
    with pytest.raises(ValueError, match="disk: 0 threads"):
        Compartment("disk", threads_max=0, waiting_max=1)
    with pytest.raises(ValueError, match="two compartments are called disk"):
        Bulkhead([Compartment("disk", threads_max=1, waiting_max=0) for _ in range(2)])
    with pytest.raises(KeyError, match="no compartment tape: there are disk"):
        Bulkhead([Compartment("disk", threads_max=1, waiting_max=0)])["tape"]

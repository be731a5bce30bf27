"""Bulkheads: each kind of blocking work has its own few threads and its own short queue, so that one that is stuck sinks alone.

The threads and the fair queue for them are Trio's (`CapacityLimiter`); ours are the end of the queue, the deadline for waiting and
the figures.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar, TypeVarTuple, cast

import trio

from runtime.errors import Overloaded

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

RETRY_SECONDS = 1.0


class Crowded(Overloaded):
    """The compartment `name` has no thread free, and no room to wait or no more time; nothing of the work was begun."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(f"{name}: {detail}", retry_seconds=RETRY_SECONDS)
        self.name = name


@dataclass(frozen=True, kw_only=True)
class Figures:
    """How a compartment stands: `busy`, `waiting` and `abandoned` are of now, the others since the start.

    busy: threads at work, the abandoned ones among them. abandoned: threads at work for a caller that was cancelled.
    refused: calls that found the queue full. expired: calls whose time to wait ran out.
    """

    busy: int
    waiting: int
    abandoned: int
    busy_peak: int
    waiting_peak: int
    refused: int
    expired: int


class Compartment:
    """`threads_max` calls at the same time, and `waiting_max` more that wait for one of them to end, in order."""

    def __init__(self, name: str, *, threads_max: int, waiting_max: int) -> None:
        if threads_max < 1 or waiting_max < 0:
            raise ValueError(f"{name}: {threads_max} threads and room for {waiting_max} to wait")
        self.name = name
        self.waiting_max = waiting_max
        self._limiter = trio.CapacityLimiter(threads_max)
        self._abandoned = 0
        self._busy_peak = self._waiting_peak = self._refused = self._expired = 0

    async def run(
        self,
        function: Callable[[*Ts], T],
        *arguments: *Ts,
        wait_seconds_max: float = math.inf,
        abandon_on_cancel: bool = False,
    ) -> T:
        """Runs `function(*arguments)` on a thread of this compartment; returns or raises what it does.

        Raises `Crowded` at once if the queue is full, or after `wait_seconds_max` without a thread; the work itself has no deadline.
        Who is cancelled while waiting leaves the queue. Who is cancelled during the work waits for its end, as a thread can't be
        stopped. With `abandon_on_cancel` they leave at once: the thread works on for nobody, its result or error is dropped,
        and it holds its place in the compartment until it ends.
        """
        place = _Place(self, wait_seconds_max)
        try:
            return await trio.to_thread.run_sync(
                partial(function, *arguments),
                thread_name=self.name,
                abandon_on_cancel=abandon_on_cancel,
                limiter=cast(trio.CapacityLimiter, place),  # documented: any object with these two methods
            )
        finally:
            place.leave()

    def figures(self) -> Figures:
        return Figures(
            busy=self._limiter.borrowed_tokens,
            waiting=self._limiter.statistics().tasks_waiting,
            abandoned=self._abandoned,
            busy_peak=self._busy_peak,
            waiting_peak=self._waiting_peak,
            refused=self._refused,
            expired=self._expired,
        )

    async def _wait(self, borrower: object, seconds_max: float) -> None:
        waiting = self._limiter.statistics().tasks_waiting
        if waiting >= self.waiting_max:
            self._refused += 1
            raise Crowded(self.name, f"no thread is free and {waiting} calls wait already")
        self._waiting_peak = max(self._waiting_peak, waiting + 1)
        with trio.move_on_after(seconds_max):
            await self._limiter.acquire_on_behalf_of(borrower)
            return
        self._expired += 1
        raise Crowded(self.name, f"no thread was free within {seconds_max} s")


class _Place:
    """What Trio asks for a thread's place: one call, its own time to wait, and whether the caller left before the thread ended."""

    def __init__(self, compartment: Compartment, wait_seconds_max: float) -> None:
        self._compartment = compartment
        self._wait_seconds_max = wait_seconds_max
        self._held = self._abandoned = False

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        compartment = self._compartment
        try:
            compartment._limiter.acquire_on_behalf_of_nowait(borrower)
        except trio.WouldBlock:
            await compartment._wait(borrower, self._wait_seconds_max)
        self._held = True
        compartment._busy_peak = max(compartment._busy_peak, compartment._limiter.borrowed_tokens)

    def release_on_behalf_of(self, borrower: object) -> None:
        self._compartment._limiter.release_on_behalf_of(borrower)
        self._held = False
        self._compartment._abandoned -= self._abandoned

    def leave(self) -> None:
        self._abandoned = self._held
        self._compartment._abandoned += self._abandoned


class Bulkhead:
    """The compartments of a program, by name."""

    def __init__(self, compartments: Iterable[Compartment]) -> None:
        self._compartment_by_name: dict[str, Compartment] = {}
        for compartment in compartments:
            if self._compartment_by_name.setdefault(compartment.name, compartment) is not compartment:
                raise ValueError(f"two compartments are called {compartment.name}")

    def __getitem__(self, name: str) -> Compartment:
        """The compartment of this name; raises `KeyError` with the names that there are."""
        if name not in self._compartment_by_name:
            raise KeyError(f"no compartment {name}: there are {', '.join(sorted(self._compartment_by_name))}")
        return self._compartment_by_name[name]

    def figures(self) -> dict[str, Figures]:
        return {name: compartment.figures() for name, compartment in self._compartment_by_name.items()}

"""Where blocking work is done: on a thread of its own, in order, or on one of Trio's; a simulation stands in for both.

A thread of its own is cheaper by half than a hop to Trio's pool. All blocking work of the runtime goes through here, so that what runs
inside a simulation has no thread: see `runtime.simulation`.
"""

import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

import outcome
import trio

T = TypeVar("T")
A = TypeVar("A")
Done = Callable[[outcome.Outcome[T]], None]
Job = tuple[Callable[[], Any], Done[Any]]


class Worker(Protocol):
    """Runs what it is given, one after the other."""

    async def run(self, function: Callable[..., T], /, *arguments: Any) -> T:
        """Runs `function(*arguments)`. It can't be cancelled: what was begun ends, and its outcome is told."""

    def start(self, function: Callable[[A], T], argument: Callable[[], A], done: Done[T], /) -> None:
        """Runs `function(argument())` when its turn has come, and calls `done` with the outcome, in the event loop; nobody waits."""

    def close(self) -> None:
        """Ends it, after what it has been given."""


class Threads(Protocol):
    """What does blocking work in the place of threads."""

    def open_worker(self, name: str) -> Worker: ...

    async def run(
        self,
        function: Callable[..., T],
        arguments: tuple[Any, ...],
        limiter: trio.CapacityLimiter | None,
        abandon_on_cancel: bool,
    ) -> T: ...


instead: trio.lowlevel.RunVar[Threads | None] = trio.lowlevel.RunVar("instead of threads", default=None)
"""What stands in for threads in this run of Trio."""


def open_worker(name: str) -> Worker:
    """A place for one kind of blocking work, in order. To be closed."""
    stand_in = instead.get()
    return Thread(name) if stand_in is None else stand_in.open_worker(name)


async def run_blocking(
    function: Callable[..., T],
    *arguments: Any,
    limiter: trio.CapacityLimiter | None = None,
    abandon_on_cancel: bool = False,
) -> T:
    """Runs `function(*arguments)` on one of Trio's threads, as `trio.to_thread.run_sync` does."""
    stand_in = instead.get()
    if stand_in is not None:
        return await stand_in.run(function, arguments, limiter, abandon_on_cancel)
    return await trio.to_thread.run_sync(function, *arguments, limiter=limiter, abandon_on_cancel=abandon_on_cancel)


class Thread:
    """A thread that runs what it is given, and tells the event loop when each has ended."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._token = trio.lowlevel.current_trio_token()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, done = job
            result = outcome.capture(work)
            try:
                self._token.run_sync_soon(done, result)
            except trio.RunFinishedError:
                return
            del job, work, result, done

    async def run(self, function: Callable[..., T], /, *arguments: Any) -> T:
        """See `Worker`."""
        task = trio.lowlevel.current_task()

        def done(result: outcome.Outcome[T]) -> None:
            trio.lowlevel.reschedule(task, result)

        self._jobs.put((partial(function, *arguments), done))
        value: T = await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        return value

    def start(self, function: Callable[[A], T], argument: Callable[[], A], done: Done[T], /) -> None:
        """See `Worker`."""
        self._jobs.put((lambda: function(argument()), done))

    def close(self) -> None:
        """See `Worker`."""
        self._jobs.put(None)
        self._thread.join()

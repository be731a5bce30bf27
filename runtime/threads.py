"""One thread for one kind of blocking work, in order: cheaper by half than a pool hop, and a place that a simulation can stand in for."""

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import outcome
import trio

T = TypeVar("T")
Job = tuple[Callable[..., Any], tuple[Any, ...], Callable[[outcome.Outcome[Any]], None]]


class Worker:
    """A thread that runs what it is given, one after the other, and tells the event loop when each has ended."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._token = trio.lowlevel.current_trio_token()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            function, arguments, done = job
            result = outcome.capture(function, *arguments)
            try:
                self._token.run_sync_soon(done, result)
            except trio.RunFinishedError:
                return
            del job, result, done

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Runs `function(*arguments)` on the thread. It can't be cancelled: what was begun ends, and its outcome is told."""
        task = trio.lowlevel.current_task()

        def done(result: outcome.Outcome[T]) -> None:
            trio.lowlevel.reschedule(task, result)

        self._jobs.put((function, arguments, done))
        value: T = await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        return value

    def close(self) -> None:
        """Ends the thread after what it has been given."""
        self._jobs.put(None)
        self._thread.join()

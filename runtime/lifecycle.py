"""Ordered start with rollback, and stop in reverse within a deadline.

Rules. 1. A step begins when the one before it is ready. 2. When a step fails to start or to become ready, what had started is stopped in
reverse, and the error names the step. 3. The stop has one deadline for all steps: whoever has not ended by then is cancelled, and
`slow_to_stop` names it. It happens in full also where whoever started it is cancelled, at whatever moment. 4. A context manager is entered
and left in a task of its own, so that it may hold a nursery; if it fails in between, all steps are stopped and its error is raised.
"""

import math
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple

import structlog
import trio

from runtime.ref import ActorRef

log = structlog.get_logger()

STOP_SHARE_KEPT = 0.05
"""Of the time for the stop, what is kept for each that comes later: one that is slow must not make the others seem so."""


class Step(NamedTuple):
    """What is started: `start` spawns an actor and returns its address, or makes an async context manager.

    `ready` is given the address, or what the context manager yields, and returns when it is ready: an ask that is answered, for instance.
    """

    name: str
    start: Callable[[], ActorRef | AbstractAsyncContextManager[Any]]
    ready: Callable[[Any], Awaitable[object]] | None = None
    start_seconds_max: float = 30.0
    """For the start and the readiness together."""


class NotStarted(Exception):
    """A step did not start, or was not ready in time; `step` names it, the cause says why. What had started before it is stopped."""

    def __init__(self, step: str, detail: str) -> None:
        super().__init__(detail)
        self.step = step


class Entered:
    """A context manager in a task of its own: entered, and left when it is told to."""

    def __init__(self, manager: AbstractAsyncContextManager[Any]) -> None:
        self.value: Any = None
        self._manager = manager
        self._is_entered = False
        self._error: Exception | None = None
        self._leave = trio.Event()
        self._left = trio.Event()
        self._scope = trio.CancelScope()

    async def start(self, nursery: trio.Nursery) -> None:
        """Enters it; what it raises is raised here. What it raises later is the nursery's."""
        await nursery.start(self._run)
        if self._error is not None:
            raise self._error

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        try:
            with self._scope:
                async with self._manager as self.value:
                    self._is_entered = True
                    task_status.started()
                    # From here on it is left in its turn, and not when whoever started it is cancelled, unless that was before.
                    self._scope.shield = trio.current_effective_deadline() != -math.inf
                    await self._leave.wait()
        except Exception as error:
            if self._is_entered:
                raise
            self._error = error
            task_status.started()
        finally:
            self._left.set()

    async def stop(self, seconds: float) -> bool:
        """Leaves it; returns whether it had ended in time."""
        self._leave.set()
        with trio.move_on_after(seconds):
            await self._left.wait()
            return True
        self._scope.cancel()
        await self._left.wait()
        return False


class Started:
    """What `start_all` has started: a value for each step's name, in the order of the start."""

    def __init__(self, stop_seconds_max: float) -> None:
        self.values: dict[str, Any] = {}
        self.slow_to_stop: list[str] = []
        """Who had to be cancelled; filled by the stop."""
        self._stop_seconds_max = stop_seconds_max
        self._running: list[tuple[str, ActorRef | Entered]] = []

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    async def _start(self, steps: Sequence[Step], nursery: trio.Nursery) -> None:
        for place, step in enumerate(steps, 1):
            try:
                with trio.fail_after(step.start_seconds_max):
                    await self._begin(step, nursery)
            except Exception as error:
                late = isinstance(error, trio.TooSlowError)
                why = f"was not ready within {step.start_seconds_max:g} s" if late else f"did not start: {error!r}"
                raise NotStarted(step.name, f"step {place} of {len(steps)}, {step.name}, {why}") from error

    async def _begin(self, step: Step, nursery: trio.Nursery) -> None:
        begun = step.start()
        if isinstance(begun, ActorRef):
            value: Any = begun
            self._running.append((step.name, begun))
            if not begun.alive:
                raise RuntimeError(f"{begun.path} has ended already")
        else:
            entered = Entered(begun)
            await entered.start(nursery)
            value = entered.value
            self._running.append((step.name, entered))
        if step.ready is not None:
            await step.ready(value)
        self.values[step.name] = value

    async def _stop(self) -> None:
        """Stops all, the last one first; nothing cuts it short but its deadline."""
        deadline = trio.current_time() + self._stop_seconds_max
        with trio.CancelScope(shield=True):
            while self._running:
                name, running = self._running.pop()
                left = max(0.0, deadline - trio.current_time())
                kept = min(left / 2, len(self._running) * STOP_SHARE_KEPT * self._stop_seconds_max)
                if not await running.stop(left - kept):
                    self.slow_to_stop.append(name)
                    log.warning("step was slow to stop", step=name)


@asynccontextmanager
async def start_all(steps: Sequence[Step], *, stop_seconds_max: float = 5.0) -> AsyncIterator[Started]:
    """Starts the steps in their order, and stops them in reverse at the end of the block, all within `stop_seconds_max`.

    Raises NotStarted where a step fails (with whatever the others raised while they were stopped, in one group); ValueError where two
    steps have one name.
    """
    twice = sorted(name for name, count in Counter(step.name for step in steps).items() if count > 1)
    if twice:
        raise ValueError(f"more than one step is named {', '.join(twice)}")
    started, failure = Started(stop_seconds_max), None
    try:
        async with trio.open_nursery() as nursery:
            try:
                await started._start(steps, nursery)
                yield started
            except NotStarted as error:
                failure = error
            finally:
                await started._stop()
    except BaseExceptionGroup as others:
        if failure is None:
            raise
        raise BaseExceptionGroup(str(failure), [failure, *others.exceptions]) from None
    if failure is not None:
        raise failure

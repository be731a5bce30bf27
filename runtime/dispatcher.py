"""Who runs next: ready actors in turn, all on one task, the leader; another task leads on only while a handler waits.

A handler is stepped by the leader itself. Most never wait: a plain function, or an `async def` that ends without having had to. One that
does wait keeps the leader's task, and a spare takes the queue over at that moment. So ten thousand idle actors are one task, and as many
tasks exist as handlers wait. What is done between two looks at the rest of the world is bounded: QUANTUM messages of one actor, PASS_STEPS
in all.
"""

import contextvars
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Protocol

import trio

from runtime.errors import ELSEWHERE

QUANTUM = 64
PASS_STEPS = 256
SPARES_MAX = 16
"""Tasks kept for later when their handlers have ended."""


class Waiting:
    """A handler that has to wait: its coroutine, what it waits for, and what to do when it has ended."""

    __slots__ = ("coroutine", "ended", "is_over", "run", "scope", "since_ns", "trap", "what")

    ended: Callable[[Any, BaseException | None], None]

    def __init__(
        self, coroutine: Coroutine[Any, Any, Any], trap: Any, run: Callable[..., Any], what: Any, since_ns: int = 0
    ) -> None:
        self.coroutine = coroutine
        self.trap = trap
        self.run = run
        """Takes its steps in its own context."""
        self.what = what
        self.is_over = False
        """To be cancelled at once."""
        self.since_ns = since_ns
        """When the handler began, by `perf_counter_ns`."""
        self.scope: trio.CancelScope | None = None


class Runnable(Protocol):
    """What the dispatcher runs: up to so many messages, now, without waiting."""

    def turn(self, quantum: int) -> "int | Waiting": ...


class Dispatcher:
    """The queue of those who are ready, and the tasks that run them."""

    def __init__(self) -> None:
        self.ready: deque[Runnable] = deque()
        self.waiting: set[Waiting] = set()
        self._nursery: trio.Nursery | None = None
        self._sleeper: trio.lowlevel.Task | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._spares: list[trio.lowlevel.Task] = []
        self._blocked_by_task: dict[trio.lowlevel.Task, Waiting | None] = {}

    @property
    def tasks(self) -> int:
        """How many tasks there are: one that leads, those whose handlers wait, and spares."""
        return len(self._blocked_by_task)

    def runs(self, task: trio.lowlevel.Task, what: Any) -> bool:
        """Whether this task is the one that runs that one's handler, or is in a nursery of it."""
        while task not in self._blocked_by_task:
            nursery = task.parent_nursery
            if nursery is None:
                return False
            task = nursery.parent_task
        blocked = self._blocked_by_task[task]
        return blocked is None or blocked.what is what

    def add(self, runnable: Runnable) -> None:
        """Queues a runnable behind the others."""
        self.ready.append(runnable)
        if self._sleeper is not None:
            try:
                trio.lowlevel.reschedule(self._sleeper)
            except RuntimeError:
                # Nobody may be left queued with nobody to run him, but that all else went well was luck: so it is told.
                assert self._token is not None
                self._token.run_sync_soon(self._wake)
                raise RuntimeError(ELSEWHERE) from None
            self._sleeper = None

    def _wake(self) -> None:
        if self._sleeper is not None:
            task, self._sleeper = self._sleeper, None
            trio.lowlevel.reschedule(task)

    def add_once(self, runnable: Runnable) -> None:
        """Queues a runnable that may be queued already."""
        if runnable not in self.ready:
            self.add(runnable)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs what is ready, until cancelled."""
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as self._nursery:
            self._promote()
            task_status.started()
            await trio.sleep_forever()

    def _promote(self) -> None:
        """Makes somebody the leader."""
        if self._spares:
            trio.lowlevel.reschedule(self._spares.pop())
        elif self._nursery is not None:
            # In a context of its own: a handler's context variables are not the next one's.
            contextvars.Context().run(self._nursery.start_soon, self._work)

    @trio.lowlevel.enable_ki_protection
    async def _work(self) -> None:
        """One task: leads, sees its own handler through when that has to wait, then is a spare.

        Ctrl-C is raised in the handlers alone (`Kind.is_made`), and else in the main task: never between two steps of this.
        """
        task = trio.lowlevel.current_task()
        self._blocked_by_task[task] = None
        try:
            while True:
                # Open before the handler's own scopes are; one that has ended a handler is used up.
                with trio.CancelScope() as scope:
                    while not scope.cancel_called:
                        await self._lead(scope)
                        if not (scope.cancel_called or await self._stand_by()):
                            return
                if not await self._stand_by():
                    return
        finally:
            del self._blocked_by_task[task]

    async def _lead(self, scope: trio.CancelScope) -> None:
        """Leads until a handler has to wait; then sees that handler through."""
        task = trio.lowlevel.current_task()
        while (blocked := self._pass()) is None:
            if self.ready:
                await trio.lowlevel.checkpoint()
            else:
                self._sleeper = task
                await trio.lowlevel.wait_task_rescheduled(self._abort_sleep)
        blocked.scope = scope
        if blocked.is_over:
            scope.cancel()
        self._blocked_by_task[task] = blocked
        self.waiting.add(blocked)
        self._promote()
        try:
            await self._finish(blocked)
        finally:
            self._blocked_by_task[task] = None

    def _pass(self) -> Waiting | None:
        """Runs who is ready, up to a bound; ends early with a handler that has to wait."""
        ready, steps = self.ready, 0
        while ready and steps < PASS_STEPS:
            done = ready.popleft().turn(QUANTUM)
            if type(done) is Waiting:
                return done
            steps += done  # type: ignore[operator]
        return None

    def _abort_sleep(self, _: object) -> trio.lowlevel.Abort:
        self._sleeper = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def _finish(self, blocked: Waiting) -> None:
        try:
            value = await _carry_on(blocked.coroutine, blocked.trap, blocked.run)
        except BaseException as error:
            self.waiting.discard(blocked)
            blocked.ended(None, error)
            cancelled, _ = without_cancelled(error)
            if cancelled is not None:
                raise cancelled from None
        else:
            self.waiting.discard(blocked)
            blocked.ended(value, None)

    async def _stand_by(self) -> bool:
        """Waits to lead again; False where there are spares enough."""
        if len(self._spares) >= SPARES_MAX:
            return False
        task = trio.lowlevel.current_task()
        self._spares.append(task)

        def abort(_: object) -> trio.lowlevel.Abort:
            self._spares.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        return True


def without_cancelled(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """What of an exception Trio has to see, and what else there is of it: a handler's nursery may raise both at once."""
    if isinstance(error, trio.Cancelled):
        return error, None
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)
    return None, error


@types.coroutine
def _carry_on(coroutine: Coroutine[Any, Any, Any], trap: Any, run: Callable[..., Any]) -> Generator[Any, Any, Any]:
    """Awaits a coroutine of which the first step was already taken, in this task, and has yielded `trap`."""
    while True:
        try:
            sent = yield trap
        except BaseException as error:
            try:
                trap = run(coroutine.throw, error)
            except StopIteration as stop:
                return stop.value
        else:
            try:
                trap = run(coroutine.send, sent)
            except StopIteration as stop:
                return stop.value

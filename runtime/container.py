"""A dependency container for programs on Trio: what a table of bindings says, made when first wanted and closed in reverse order.

Rules. 1. What is made once is made once: who asks meanwhile waits; if making it fails or is cancelled, the next who asks tries again.
2. A context manager is entered and left in a task of its own, below the container: it may hold a nursery or a cancel scope, and the task
that asked first may end or be cancelled without it. (Libraries enter it in the task that asks; on Trio that breaks the task's scopes.)
3. Closing follows the construction in reverse and leaves nothing open, whatever raises; of what closing is under cancellation, each
context manager decides as it would in an `async with`. 4. One that fails while it is in use takes the container down with its error.
"""

from collections.abc import AsyncIterator, Hashable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from inspect import isawaitable
from typing import Any, TypeVar, overload

import trio

from runtime.bindings import Binding, Bindings, Life, Misbound, Plan, scoped, singleton, transient

__all__ = ["Binding", "Container", "Life", "Misbound", "open_container", "scoped", "singleton", "transient"]

T = TypeVar("T")


class Closed(Exception):
    """The container or the scope is closed; it makes nothing more."""


class Container:
    """Gives what is bound. A scope is a container, too: what is scoped is its own, what is made once comes from the outermost."""

    def __init__(self, bindings: Bindings, nursery: trio.Nursery, outermost: "Container | None") -> None:
        self._bindings = bindings
        self._nursery = nursery
        self._outermost = outermost or self
        self._made: dict[Hashable, Any] = {}
        self._lock_by_wanted: dict[Hashable, trio.Lock] = {}
        self._hosted: list[tuple[trio.Event, trio.Event]] = []  # to leave, and left, in the order of construction
        self._failed: list[Exception] = []
        self._closed = False

    @overload
    async def get(self, wanted: type[T]) -> T: ...
    @overload
    async def get(self, wanted: Any) -> Any: ...
    async def get(self, wanted: Any) -> Any:
        """What is bound to `wanted`, made now if need be.

        Raises `Misbound` if nothing is, or if it is scoped and this is no scope; `Closed`; and what its factories raise.
        A factory must not call this: what it needs are its parameters, where a circle is found before anything waits for itself.
        """
        return await self._give(wanted)

    def open_scope(self) -> AbstractAsyncContextManager["Container"]:
        """A container for one piece of work: what is scoped is made for it at most once, and closed with it."""
        return _opened(self._bindings, self._outermost)

    async def _give(self, wanted: Hashable) -> Any:
        plan = self._bindings.plan(wanted, held=self._outermost is self)
        match plan.binding.life:
            case Life.SINGLETON:
                return await self._outermost._once(plan)
            case Life.SCOPED:
                return await self._once(plan)
            case Life.TRANSIENT:
                return await self._make(plan)

    async def _once(self, plan: Plan) -> Any:
        if plan.wanted not in self._made:
            async with self._lock_by_wanted.setdefault(plan.wanted, trio.Lock()):
                if plan.wanted not in self._made:
                    self._made[plan.wanted] = await self._make(plan)
        self._check_open()
        return self._made[plan.wanted]

    async def _make(self, plan: Plan) -> Any:
        self._check_open()
        given = {}
        for parameter, wanted in plan.wanted_by_parameter.items():
            given[parameter] = None if wanted is None else await self._give(wanted)
        made = plan.make(given)
        if isawaitable(made) and not isinstance(plan.binding.factory, type):
            made = await made
        if plan.binding.enter and (hasattr(made, "__aenter__") or hasattr(made, "__enter__")):
            self._check_open()
            made = await self._nursery.start(self._host, made)
        self._check_open()
        return made

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("the container is closed")

    async def _host(self, manager: Any, *, task_status: trio.TaskStatus[Any]) -> None:
        """The task in which `manager` is entered and left; before it is entered, it is cancelled with the task that asked."""
        leave, left = trio.Event(), trio.Event()
        guard = trio.CancelScope()
        try:
            with guard:
                async with AsyncExitStack() as stack:
                    if hasattr(manager, "__aenter__"):
                        value = await stack.enter_async_context(manager)
                    else:
                        value = stack.enter_context(manager)
                    # The last moment at which who asked may have been cancelled: from here on, we belong to the container.
                    await trio.lowlevel.checkpoint_if_cancelled()
                    task_status.started(value)
                    self._hosted.append((leave, left))
                    if not self._closed:
                        # Cancelled with the container, all would leave at once; they leave when it is their turn.
                        guard.shield = True
                        await leave.wait()
                        guard.shield = False
                    leave.set()
            if not leave.is_set():
                raise RuntimeError(f"{manager!r} ended while it was in use")
        except Exception as error:
            if not leave.is_set():
                raise
            self._failed.append(error)
        finally:
            left.set()

    async def _close(self) -> None:
        self._closed = True
        with trio.CancelScope(shield=True):
            while self._hosted:
                leave, left = self._hosted.pop()
                leave.set()
                await left.wait()
        if self._failed:
            raise ExceptionGroup("not everything could be closed", self._failed)


def open_container(*bindings: Binding) -> AbstractAsyncContextManager[Container]:
    """Opens a container over this table; nothing is made yet. Raises `Misbound` with every fault of the table.

    On the way out raises an `ExceptionGroup` of what closing raised, and what the block raised as it is.
    """
    return _opened(Bindings(bindings), None)


@asynccontextmanager
async def _opened(bindings: Bindings, outermost: Container | None) -> AsyncIterator[Container]:
    raised: Exception | None = None  # by the block or by closing: it leaves as it came, not in the nursery's group
    try:
        async with trio.open_nursery() as nursery:
            container = Container(bindings, nursery, outermost)
            try:
                try:
                    yield container
                finally:
                    await container._close()
            except Exception as error:  # noqa: BLE001 - raised below, where the nursery has ended
                raised = error
    except BaseExceptionGroup as group:
        if raised is None:
            raise
        both, raised = [*group.exceptions, raised], None
        raise group.derive(both) from None
    finally:
        if raised is not None:  # even when cancelled: a failure to close must not be lost
            raise raised

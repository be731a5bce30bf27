"""Several actors behind one address: a group chooses who gets a message; a member goes without losing one.

A member that leaves is stopped when nothing waits there any more and nothing is on its way to it.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import trio
from trio.lowlevel import enable_ki_protection

from runtime.actor import Actor, Reply
from runtime.cell import Cell
from runtime.delivery import Context, Receipt
from runtime.errors import Refused
from runtime.kind import IDLE, STOPPED, Kind
from runtime.life import Life, Work
from runtime.props import Props
from runtime.records import Command
from runtime.supervision import Directive, Supervision

if TYPE_CHECKING:
    from runtime.actors import Actors

R = TypeVar("R")

ROOT = Props(supervision=Supervision(otherwise=Directive.ESCALATE))
"""What a member escalates is the business of whoever the group is below."""


def is_at_rest(cell: Cell) -> bool:
    """Whether nothing waits there, runs there or works beside it."""
    extras = cell._extras
    return cell._state <= IDLE and not cell._queue and (extras is None or not (extras.parked or extras.work))


def is_idle(cell: Cell) -> bool:
    """Whether nothing is lost when it goes: it is at rest, has put nothing aside, no timer of its own will ring, and so for all below."""
    extras = cell._extras
    if not is_at_rest(cell) or (isinstance(cell, Member) and cell._expected):
        return False
    if extras is None:
        return True
    return (
        not extras.stash
        and all(alarm.is_over for alarm in extras.timers.values())
        and all(is_idle(child) for child in extras.children.values())
    )


class LeavingName(str):
    """The name of one that leaves while another has its name already: equal to itself alone."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


class Member(Cell):
    """A place in a group."""

    __slots__ = ("_expected", "_leaves")

    def __init__(self, group: "Group", kind: Kind, make: Any, name: str | int) -> None:
        super().__init__(group._system, kind, make, name, group)
        self._expected = 0
        """Messages on their way: their senders were made to wait before they had sent them."""
        self._leaves = ""
        """Why it goes, once it is to go."""

    @enable_ki_protection
    async def ask(
        self,
        message: Command[R],
        *,
        seconds: float | None = None,
        context: Context | None = None,
        receipt: Receipt | None = None,
    ) -> R:
        cell = self._current()
        cell._expected += 1
        try:
            return await Cell.ask(cell, message, seconds=seconds, context=context, receipt=receipt)
        finally:
            cell._arrived()

    @enable_ki_protection
    def tell(self, message: Any, *, context: Context | None = None) -> None:
        Cell.tell(self._current(), message, context=context)

    @enable_ki_protection
    async def tell_when_free(self, message: Any, *, context: Context | None = None) -> None:
        cell = self._current()
        cell._expected += 1
        try:
            await Cell.tell_when_free(cell, message, context=context)
        finally:
            cell._arrived()

    def _current(self) -> "Member":
        """Who gets what is sent to this address now."""
        return self

    def _arrived(self) -> None:
        self._expected -= 1
        if self._leaves:
            self._leave_at_rest()

    # ---- leaving

    def leave(self, reason: str) -> None:
        """Stops it when it has finished what it has. What it put aside is turned away then; its timers end."""
        self._leaves = reason
        self._extra()  # one that has no extras ends its turn without a look at anything
        self._leave_at_rest()

    def _leave_at_rest(self) -> None:
        if self._leaves and not self._expected and is_at_rest(self):
            self.stop_soon(self._leaves)

    def _after_turn(self) -> None:
        super()._after_turn()
        if self._leaves:
            self._leave_at_rest()

    def _begin(self) -> None:
        super()._begin()
        if self._leaves:
            self._leave_at_rest()

    async def _do(
        self, work: Callable[..., Awaitable[None]], cause: Work, arguments: tuple[Any, ...], scope: trio.CancelScope
    ) -> None:
        try:
            await super()._do(work, cause, arguments, scope)
        finally:
            self._leave_at_rest()


class Root(Actor[Any, None]):
    """Above the members of a group: takes nothing itself."""

    def handle(self, message: Any) -> Reply | None:
        raise Refused("not_for_a_group")


class Group(Cell):
    """The address of a group, and the parent of its members. What ends it, ends them."""

    __slots__ = ()

    def __init__(self, actors: "Actors", name: str, parent: Life | None) -> None:
        super().__init__(actors, actors._kind(Root, ROOT), Root, name, parent)

    def _settle(self) -> None:
        """Takes its place below its parent, or at the top."""
        self._system.siblings(self._parent, str(self.name))[self.name] = self
        self._incarnate()

    def choose(self, message: Any) -> Member:
        """Who gets this message; one that is stopped where nobody can."""
        raise NotImplementedError

    @enable_ki_protection
    async def ask(
        self,
        message: Command[R],
        *,
        seconds: float | None = None,
        context: Context | None = None,
        receipt: Receipt | None = None,
    ) -> R:
        return await self.choose(message).ask(message, seconds=seconds, context=context, receipt=receipt)

    def tell(self, message: Any, *, context: Context | None = None) -> None:
        self.choose(message).tell(message, context=context)

    @enable_ki_protection
    async def tell_when_free(self, message: Any, *, context: Context | None = None) -> None:
        await self.choose(message).tell_when_free(message, context=context)

    def _make_way(self, leaving: Cell) -> None:
        """Gives up the name of one that leaves, for the next of that name."""
        children = self._extra().children
        if children.get(leaving.name) is leaving and not isinstance(leaving.name, LeavingName):
            del children[leaving.name]
            leaving.name = LeavingName(f"{leaving.path.rpartition('/')[2]} (leaving)")
            children[leaving.name] = leaving

    def _nobody(self, member: Member) -> Member:
        """A place that is stopped before it began: an ask is refused there, a tell is a dead letter."""
        member._state = STOPPED
        return member

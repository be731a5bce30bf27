"""A message on its way: why it was sent and for whom, how far it has come, and who waits for its answer.

A delivery is settled once: by the answer, by a failure, or by its withdrawal. One that has begun is never withdrawn: its caller may
leave, the message is still handled to its end.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import msgspec
import trio

from runtime.errors import NotAnswered

WAITING, BEGUN, SETTLED, WITHDRAWN = range(4)
Fate = Literal["", "answered", "withdrawn", "begun"]


class Unmoved(NamedTuple):
    """That nothing was recorded of a stream past a position. What belongs to another tenant is left to whoever decides: to this one it
    looks like nothing."""

    tenant: str
    position: int


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """On whose behalf and why a message is sent. `key` is the client's idempotency key, `digest` what it was first used for;
    `traceparent` and `tracestate` are the W3C headers that came with it.

    `expects` says at which version the client believes streams to be, or up to which position it knows them: a decision about one that is
    elsewhere is a Conflict, about one that has moved on Stale.
    """

    tenant: str
    principal: str
    cause: str = ""
    correlation: str = ""
    key: str = ""
    digest: bytes = b""
    traceparent: str = ""
    tracestate: str = ""
    expects: Mapping[str, int | Unmoved] | None = None


class Cause(NamedTuple):
    """Of a message what those that follow from it are told; kept where the message itself would be held for too long."""

    id: int
    root: int
    context: Context | None


class Receipt:
    """What became of an ask: `answered` (a failure is an answer too), `withdrawn` (it was not and will not be handled), or `begun` (it
    completes without its caller, who has left). Empty before the ask."""

    __slots__ = ("fate",)

    def __init__(self) -> None:
        self.fate: Fate = ""


class Failed(msgspec.Struct, frozen=True):
    """An answer that is an exception; told apart from a value by its type alone."""

    error: BaseException


class Delivery(msgspec.Struct):
    """One message for one actor. `id`, `cause` and `root` count the messages of this process; the runtime sets them."""

    message: Any
    cell: Any
    id: int
    cause: int
    root: int
    context: Context | None
    asked: bool = False
    state: int = WAITING
    deadline: float = 0.0
    """In Trio's time; 0: none."""
    task: Any = None
    """Who waits: a task of Trio's, or what `when_settled` is to call."""
    result: Any = None
    queued_ns: int = 0

    def settle(self, result: Any) -> None:
        """Tells whoever waits; nobody may, or not any more."""
        if self.state >= SETTLED:
            return
        self.state = SETTLED
        self.result = result
        if self.task is not None:
            task, self.task = self.task, None
            _wake(task)

    def leave(self, detail: str = "the deadline has passed") -> None:
        """Nobody waits any more: withdrawn if it was not begun; if it was, it completes without an asker."""
        if self.state >= SETTLED:
            return
        begun = self.state == BEGUN
        name = type(self.message).__name__
        what = "had begun and will complete" if begun else "was withdrawn before it had begun"
        error = NotAnswered(f"{detail}: {name} {what}", begun=begun)
        self.asked = False
        if not begun:
            self.state = WITHDRAWN
            self.cell.withdrew()
        self.result = Failed(error)
        if self.task is not None:
            task, self.task = self.task, None
            _wake(task)

    def when_settled(self, do: Callable[[], None]) -> None:
        """In place of a wait: has this called as soon as there is an answer, which may be here and now. It is called in somebody else's
        step, so it must be short and never fail."""
        if self.result is not None:
            do()
        else:
            self.task = do

    async def wait(self) -> Any:
        """The answer, once it is there. A caller that is cancelled leaves."""
        if self.result is None:
            self.task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self.abort)
        return self.answer()

    def answer(self) -> Any:
        """The answer; raises where it is a failure."""
        result = self.result
        if type(result) is Failed:
            raise result.error
        return result.value

    def abort(self, _: object) -> trio.lowlevel.Abort:
        """What Trio calls when the caller is cancelled."""
        self.task = None
        self.leave("its caller has left")
        return trio.lowlevel.Abort.SUCCEEDED


def _wake(waiting: Any) -> None:
    if type(waiting) is trio.lowlevel.Task:
        trio.lowlevel.reschedule(waiting)
    else:
        waiting()

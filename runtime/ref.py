"""An actor's address: what everybody may hold and send to, for ever.

A message to an actor that is gone is a dead letter; an ask raises Unreachable.
"""

from typing import Any, NamedTuple, TypeVar

from runtime.delivery import Context, Receipt
from runtime.records import Command

R = TypeVar("R")


class ActorRef:
    """The address of an actor."""

    __slots__ = ()

    name: str | int

    @property
    def path(self) -> str:
        """Its name, below those of its parents."""
        raise NotImplementedError

    @property
    def alive(self) -> bool:
        """Whether it takes messages, now or once it is restarted."""
        raise NotImplementedError

    async def ask(
        self,
        message: Command[R],
        *,
        seconds: float | None = None,
        context: Context | None = None,
        receipt: Receipt | None = None,
    ) -> R:
        """Sends a message and waits for its answer, `seconds` at most (by default the system's `ask_seconds_max`).

        Raises the refusal that the actor answers with; NotAnswered when the time is over, which tells whether the message had begun;
        Crashed when the actor failed; Unreachable when it is gone or goes; AskCycle when the actor waits for the asker. A caller that is
        cancelled withdraws its message if it has not begun; `receipt` tells which.
        """
        raise NotImplementedError

    def tell(self, message: Any, *, context: Context | None = None) -> None:
        """Sends a message without waiting. Raises Overloaded where there is no room; to an actor that is gone it is a dead letter."""
        raise NotImplementedError

    async def tell_when_free(self, message: Any, *, context: Context | None = None) -> None:
        """Sends a message as soon as there is room, in the order in which senders came."""
        raise NotImplementedError

    def stop_soon(self, reason: str = "stopped") -> None:
        """Ends the actor after the message that it handles now; whoever else waits is told so."""
        raise NotImplementedError

    async def stop(self, seconds: float | None = None, reason: str = "stopped") -> bool:
        """Ends it and waits until it and its children are gone. A handler that waits longer than `seconds` is cancelled: then False."""
        raise NotImplementedError


class Terminated(NamedTuple):
    """A death notice: what its watcher is told unless it chose a message of its own."""

    ref: ActorRef
    reason: str

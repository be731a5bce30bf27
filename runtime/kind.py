"""What all actors of one make have in common, and the states in which an actor may be."""

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any, Literal

from trio.lowlevel import disable_ki_protection

from runtime.actor import Actor
from runtime.ref import ActorRef
from runtime.supervision import DEFAULT, Supervision

FREE, IDLE, QUEUED, RUNNING, AWAITING, STOPPING, SUSPENDED, STOPPED = range(8)
"""FREE: idle, and an asker may run it in its own step. AWAITING: its handler waits. SUSPENDED: between two incarnations."""
State = Literal["idle", "queued", "running", "waiting", "stopping", "restarting", "stopped"]
STATES: tuple[State, ...] = ("idle", "idle", "queued", "running", "waiting", "stopping", "restarting", "stopped")


Interceptor = Callable[[ActorRef, Any, Callable[[Any], Any]], Any]
"""Called with the actor's address, the message, and what hands it on; returns what that returns, or raises in its place."""


def may_wait(function: Callable[..., Any]) -> bool:
    """Whether it is an `async def`, or an object that is called by one."""
    return iscoroutinefunction(function) or iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


class Kind:
    """What all actors of one make have in common: how they are made, kept and supervised, and how long their messages took."""

    __slots__ = (
        "actor",
        "caller_runs",
        "handled_ns",
        "interceptors",
        "is_async",
        "mailbox_max",
        "name",
        "rest",
        "restarts",
        "stash_max",
        "supervision",
        "takes",
        "waited_ns",
    )

    def __init__(
        self,
        name: str,
        *,
        mailbox_max: int,
        stash_max: int = 1024,
        supervision: Supervision = DEFAULT,
        interceptors: tuple[Interceptor, ...] = (),
        caller_runs: bool = True,
    ) -> None:
        self.name = name
        self.mailbox_max = mailbox_max
        self.stash_max = stash_max
        self.supervision = supervision
        self.interceptors = interceptors
        self.caller_runs = caller_runs and not interceptors
        self.actor: type[Actor[Any, Any]] | None = None
        self.is_async = False
        self.takes: frozenset[type] = frozenset()
        self.rest = IDLE
        self.restarts = 0
        self.handled_ns = [0] * 65
        """How many messages took up to 2**i - 1 ns, by i."""
        self.waited_ns = [0] * 65
        """The same of the time in the mailbox, of every 16th message."""

    def is_made(self, actor: type[Actor[Any, Any]]) -> None:
        """Learns from an incarnation what its handler is like. Raises TypeError where another came before: a kind makes one class."""
        if actor is self.actor:
            return
        if self.actor is not None:
            raise TypeError(
                f"{self.name} made a {actor.__name__} after a {self.actor.__name__}: spawn them as two kinds"
            )
        self.actor = actor
        # An interceptor that waits makes every handler one that may.
        self.is_async = may_wait(actor.handle) or any(may_wait(one) for one in self.interceptors)
        if not may_wait(actor.handle) and hasattr(actor.handle, "__code__"):
            # Ctrl-C splits no step of the runtime, and no `await` of a handler; but a plain one that hangs can be ended.
            disable_ki_protection(actor.handle)
        self.takes = frozenset(actor.takes)
        self.rest = FREE if self.caller_runs and not self.is_async else IDLE

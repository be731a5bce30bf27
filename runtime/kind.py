"""What all actors of one make have in common, and the states in which an actor may be."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from runtime.actor import Actor
from runtime.ref import ActorRef
from runtime.supervision import DEFAULT, Supervision

if TYPE_CHECKING:
    from runtime.actors import Here

FREE, IDLE, QUEUED, RUNNING, AWAITING, STOPPING, SUSPENDED, STOPPED = range(8)
"""FREE: idle, and an asker may run it in its own step. AWAITING: its handler waits. SUSPENDED: between two incarnations."""
STATES = ("idle", "idle", "queued", "running", "waiting", "stopping", "restarting", "stopped")


Interceptor = Callable[[ActorRef, Any, Callable[[Any], Any]], Any]
"""Called with the actor's address, the message, and what hands it on; returns what that returns, or raises in its place."""


class Kind:
    """What all actors of one make have in common: how they are made, kept and supervised, and how long their messages took."""

    __slots__ = (
        "handled_ns",
        "interceptors",
        "is_async",
        "mailbox_max",
        "make",
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
        make: "Callable[[Here], Actor[Any, Any]]",
        name: str,
        *,
        mailbox_max: int,
        stash_max: int = 1024,
        supervision: Supervision = DEFAULT,
        interceptors: tuple[Interceptor, ...] = (),
        caller_runs: bool = True,
    ) -> None:
        self.make = make
        self.name = name
        self.mailbox_max = mailbox_max
        self.stash_max = stash_max
        self.supervision = supervision
        self.interceptors = interceptors
        self.is_async = _is_async(make)
        self.takes: frozenset[type] = frozenset(getattr(make, "takes", ()))
        self.rest = FREE if caller_runs and not (self.is_async or interceptors) else IDLE
        self.restarts = 0
        self.handled_ns = [0] * 65
        """How many messages took up to 2**i - 1 ns, by i."""
        self.waited_ns = [0] * 65
        """The same of the time in the mailbox, of every 16th message."""


def _is_async(make: Any) -> bool:
    handle = getattr(make, "handle", None)
    return bool(getattr(getattr(handle, "__code__", None), "co_flags", 0) & 0x80)

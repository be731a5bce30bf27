"""What all actors of one make have in common, and the states in which an actor may be."""

from collections.abc import Callable
from inspect import iscoroutinefunction
from time import perf_counter_ns
from typing import Any, Literal

from trio.lowlevel import disable_ki_protection

from runtime.actor import Actor
from runtime.ref import ActorRef
from runtime.supervision import DEFAULT, Supervision

FREE, PROMPT, IDLE, QUEUED, RUNNING, AWAITING, STOPPING, SUSPENDED, STOPPED = range(9)
"""FREE: idle, and an asker may run its handler in its own step. PROMPT: the same of a journaled one, whose step is more than that.
AWAITING: its handler waits. SUSPENDED: between two incarnations."""
State = Literal["idle", "queued", "running", "waiting", "stopping", "restarting", "stopped"]
STATES: tuple[State, ...] = (
    "idle",
    "idle",
    "idle",
    "queued",
    "running",
    "waiting",
    "stopping",
    "restarting",
    "stopped",
)


Interceptor = Callable[[ActorRef, Any, Callable[[Any], Any]], Any]
"""Called with the actor's address, the message, and what hands it on; returns what that returns, or raises in its place."""


MEASURED_FIRST = 256
MEASURED_THEN_EVERY = 17
"""The times of a kind's first messages are all measured, then those of one in so many, which stands for all of them.

That is told by the message's number in the system. A prime, so that no rhythm in which messages of several sorts are sent has the same sort
measured always.
"""
LOOKED_AT_EVERY = 257
"""Where times are not wanted, `begun` is asked of one message in so many, in vain. So small a number since Python keeps its remainders
ready."""


def may_wait(function: Callable[..., Any]) -> bool:
    """Whether it is an `async def`, or an object that is called by one."""
    return iscoroutinefunction(function) or iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


class Kind:
    """What all actors of one make have in common: how they are made, kept and supervised, and how long their messages took."""

    __slots__ = (
        "actor",
        "all_measured_until",
        "caller_runs",
        "handled_by_gone",
        "handled_ns",
        "interceptors",
        "is_async",
        "mailbox_max",
        "measured",
        "measured_every",
        "name",
        "rest",
        "restarts",
        "stash_max",
        "supervision",
        "takes",
        "telemetry",
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
        telemetry: bool = True,
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
        self.handled_by_gone = 0
        """How many messages those actors have handled that are gone."""
        self.telemetry = telemetry
        self.measured = 0
        self.measured_every = 1 if telemetry else LOOKED_AT_EVERY
        """A message whose number is a multiple of this one is measured, if `begun` says so."""
        self.all_measured_until = 0
        self.handled_ns = [0] * 65
        """How many messages took up to 2**i - 1 ns, by i: as far as they were measured, one for all that it stands for."""
        self.waited_ns = [0] * 65
        """The same of the time in the mailbox."""

    def begun(self, number: int) -> int:
        """The time, by `perf_counter_ns`, if the times of this message are to be measured, else 0.

        Asked once of each message whose number is a multiple of `measured_every`.
        """
        if not self.telemetry:
            return 0
        if self.measured_every == 1:
            self.measured += 1
            self.all_measured_until = number
            if self.measured == MEASURED_FIRST:
                self.measured_every = MEASURED_THEN_EVERY
        return perf_counter_ns()

    def handled(self, number: int, ns: int) -> None:
        """Counts how long the handler of a measured message took."""
        self.handled_ns[ns.bit_length()] += 1 if number <= self.all_measured_until else MEASURED_THEN_EVERY

    def waited(self, number: int, queued_ns: int) -> int:
        """Counts how long a measured message has waited; returns the time by which it did."""
        now = perf_counter_ns()
        weight = 1 if number <= self.all_measured_until else MEASURED_THEN_EVERY
        self.waited_ns[max(0, now - queued_ns).bit_length()] += weight
        return now

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

"""What an actor is: a handler that returns effects, a fold that it keeps at hand, and reactions to what was recorded.

The rules that the runtime keeps for every actor:

1. One message at a time. `handle`, `react` and `wake` are plain functions: nothing can cancel them half way.
2. They return what to decide and what to answer; the runtime loads states, decides, folds and does the I/O. `handle` may be run
   again before anything is decided (when a state had to be fetched first), so it changes nothing but caches.
3. The answer leaves after the commit. `after` runs after the commit too, at most once: that is the place for side effects.
4. `memory` is a fold of the journal: `remember` runs on every event that the actor hears, in the order of the journal, and again on
   every rebuild. It may change the memory that it is given, and depends on nothing else. What is kept elsewhere may be lost at any line.
5. `react` runs once for each event that the actor hears, past a durable position. `memory` may be ahead of the event by then; the
   aggregates' `decide` has the last word.
"""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import msgspec
from structlog.typing import FilteringBoundLogger

from runtime.errors import Failure
from runtime.records import Command, Event, Recorded

if TYPE_CHECKING:
    from runtime.clock import Clock
    from runtime.ids import Ids

R = TypeVar("R")
C = TypeVar("C", bound=Command[Any])
M = TypeVar("M")


class Reply(msgspec.Struct, frozen=True):
    """An answer of the type that its command promises; made by `reply`, so that mypy checks both sides."""

    value: Any


def reply(command: Command[R], value: R) -> Reply:
    """The answer to `command`."""
    return Reply(value)


class Stashed:
    """What a handler returns that has put its message aside."""


STASHED = Stashed()


class Effect(msgspec.Struct, frozen=True, gc=False):
    """What a handler wants: commands to decide on streams, in one step; then the answer; then what to do after the commit.

    `answer` is given all events of the decisions, in order (none where everything was already so), and must not depend on anything
    that changes. A `refusal` is told in its place, after the commit too: what was asked is refused, and what is recorded says so. It is
    not kept under an idempotency key.
    """

    decisions: Sequence[tuple[str, Command[Any]]] = ()
    answer: Callable[[Sequence[Recorded]], Reply] | None = None
    after: Callable[[Sequence[Recorded]], None] | None = None
    refusal: Failure | None = None


Handled = Effect | Reply | Stashed | None
"""What a handler returns. None answers None; an Effect needs a journal."""


class Surroundings:
    """What an actor may use of its runtime; made by the system, one for each incarnation."""

    key: str
    clock: "Clock"
    ids: "Ids"

    @property
    def log(self) -> FilteringBoundLogger:
        """Writes lines that name the actor and the message that it handles now, from the actor's own log level on. Not to be kept."""
        raise NotImplementedError

    @property
    def traceparent(self) -> str:
        """The W3C header to send with what is asked of the outside now; empty where this work belongs to no trace."""
        raise NotImplementedError

    @property
    def tracestate(self) -> str:
        """What goes with it, as it came in with the request; empty where nothing did."""
        raise NotImplementedError

    def tell(self, message: Command[Any]) -> None:
        """Sends a message to whoever takes its type, caused by what is being handled. Raises Overloaded when there is no room."""
        raise NotImplementedError

    async def ask(self, message: Command[R]) -> R:
        """Asks whoever takes this type of message; for use in `run`s, since handlers never wait."""
        raise NotImplementedError

    def rearm(self) -> None:
        """Has the runtime ask when this actor is due: something has changed that beside its own steps, after which it is asked anyway."""
        raise NotImplementedError

    def run(self, work: Callable[..., Awaitable[None]], *args: object) -> None:
        """Starts work beside the actor; it ends with the actor, and its failure is the actor's failure."""
        raise NotImplementedError


class Actor(Generic[C, M]):
    """A role: derive from it, list it in the roster, and let the runtime make the instances, one for each key."""

    __slots__ = ("here", "memory")

    takes: ClassVar[tuple[type[Command[Any]], ...]] = ()
    """The commands that it alone answers."""

    hears: ClassVar[tuple[type[Event], ...]] = ()
    """The events that it remembers and reacts to."""

    FOLD: ClassVar[int] = 1
    """Raised when `remember` would fold old events otherwise: saved folds of another number are not used."""

    def __init__(self, here: Surroundings) -> None:
        self.here = here
        self.memory: M = self.fresh()

    @staticmethod
    def fresh() -> Any:
        """The memory before the first event; its type must survive msgspec, since it is kept in snapshots."""
        return None

    def handle(self, message: C) -> Handled | Coroutine[Any, Any, Handled]:
        """Answers a command that it takes. May be an `async def`, except in a roster: what a journal records is decided in one step."""
        raise NotImplementedError

    @staticmethod
    def remember(memory: Any, recorded: Recorded) -> Any:
        """Folds an event into the memory and returns it."""
        return memory

    def react(self, recorded: Recorded) -> Effect | None:
        """What follows from an event."""
        return None

    def concerns(self, recorded: Recorded) -> bool:
        """Whether anything may follow from an event as things stand: where not, no step is taken for it. It changes nothing, and is asked
        outside a step. By default whoever reacts at all may."""
        return type(self).react is not Actor.react

    def due(self) -> float | None:
        """When to call `wake`, in seconds since the epoch; asked again after every step. None: not at all."""
        return None

    def wake(self, at: float) -> Effect | None:
        """Called when `due` has come; all input received before is handled by then."""
        return None

    def declined(self, failure: Failure) -> None:
        """What `wake` wanted was refused, and nothing of it is recorded."""

    def started(self, at: float) -> None:
        """Called once the memory stands, before the first message."""

    def stopped(self) -> None:
        """Called once when the actor ends for good, after its children have."""

    def paused(self, at: float, seconds: float) -> None:
        """Called after the process was found to have stood still for `seconds`, or could not be reached yet, before anything that fell due
        meanwhile."""

"""A system of actors in memory: spawns them, runs them on few tasks, and ends them in order.

```python
async with open_actors() as actors:
    counter = actors.spawn(Counter)
    count = await counter.ask(Add(number=2))
```
"""

import random
from collections import Counter as Counts
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar, cast

import structlog
import trio
from structlog.typing import FilteringBoundLogger
from trio.lowlevel import enable_ki_protection

from runtime.actor import Actor, Stashed, Surroundings
from runtime.ages import Ages
from runtime.alarms import Alarms
from runtime.cell import Cell
from runtime.clock import Clock, SystemClock
from runtime.deadlines import Deadlines
from runtime.delivery import Cause, Context, Delivery
from runtime.dispatcher import PASS_STEPS, QUANTUM, Dispatcher
from runtime.errors import Exhausted, Failure
from runtime.ids import Ids
from runtime.keyed import Keyed, spawn_keyed
from runtime.kind import STOPPED, Interceptor, Kind
from runtime.letters import DeadLetters
from runtime.life import Life, Work
from runtime.log_levels import LogLevels, delivery_of
from runtime.mailbox import Step
from runtime.pools import PoolRef, Strategy, spawn_pool
from runtime.props import USUAL, Props
from runtime.records import Command
from runtime.ref import ActorRef
from runtime.router import Router
from runtime.trace import span
from runtime.watchdog import Watchdog

__all__ = ["USUAL", "Actors", "Here", "Make", "Props", "Timers", "open_actors"]

log = structlog.get_logger()
R = TypeVar("R")
K = TypeVar("K", str, int)

MESSAGES_BETWEEN_CHECKPOINTS = PASS_STEPS
MESSAGES_WHILE_OTHERS_WAIT = QUANTUM // 4
"""After so many messages, a caller that had not to wait lets others run: sooner while an asker waits, for it waits two such turns."""

QUEUES_KEPT_MAX = 1024
DEPTH_MAX = 100
"""Parents above one another: an end goes down through all of them in one step."""
SLOW_KEPT_MAX = 100


Make = Callable[["Here"], Actor[Any, Any]]
"""Makes an incarnation: an actor's class, or a function that calls it with more than where it is."""


class Timers:
    """One actor's timers, by keys of its choice."""

    __slots__ = ("_cell",)

    def __init__(self, cell: Life) -> None:
        self._cell = cell

    def start(self, key: Any, message: Any, seconds: float, *, every: float = 0.0, fixed_rate: bool = False) -> None:
        """Has the actor told `message` after `seconds`, then `every` so many: after the last one was sent, or at a fixed rate.

        An older timer of that key is void, and so is its message where it waits already. Timers end with the incarnation.
        """
        now = delivery_of(self._cell)
        cause = Cause(now.id, now.root, now.context) if now is not None else None
        self._cell._system.alarms.start(self._cell, key, message, seconds, every, fixed_rate, cause)

    def cancel(self, key: Any) -> bool:
        """Ends a timer and voids its message; returns whether there was one."""
        return self._cell._system.alarms.cancel(self._cell, key)


class Here(Surroundings):
    """What an actor may use of its runtime."""

    __slots__ = ("_cell",)

    def __init__(self, cell: Life) -> None:
        self._cell = cell

    @property
    def ref(self) -> ActorRef:
        """The actor's own address."""
        return self._cell

    @property
    def parent(self) -> ActorRef | None:
        """Who spawned it."""
        return self._cell._parent

    @property
    def clock(self) -> Clock:  # type: ignore[override]
        return self._cell._system.clock

    @property
    def current(self) -> Delivery | None:
        """The message that is being handled: its id, cause, root, context and deadline."""
        return self._cell.current

    @property
    def log(self) -> FilteringBoundLogger:
        return self._cell._system.log_levels.logger(self._cell)

    @property
    def traceparent(self) -> str:
        delivery = delivery_of(self._cell)
        context = delivery.context if delivery is not None else None
        return span.get() or (context.traceparent if context is not None else "")

    @property
    def tracestate(self) -> str:
        delivery = delivery_of(self._cell)
        return delivery.context.tracestate if delivery is not None and delivery.context is not None else ""

    @property
    def timers(self) -> Timers:
        """The actor's timers."""
        return Timers(self._cell)

    def spawn(self, make: "Make", name: str | None = None, props: Props = USUAL) -> ActorRef:
        """A child: it is supervised by this actor and ends before it."""
        return self._cell._system.spawn(make, name, props, parent=self._cell)

    def spawn_pool(self, make: "Make", name: str, workers: int, strategy: Strategy, *, props: Props = USUAL) -> PoolRef:
        """A pool below this actor, as `runtime.pools.spawn_pool` makes one; it ends before the actor."""
        return spawn_pool(self._cell._system, make, name, workers, strategy, props=props, parent=self._cell)

    def spawn_keyed(
        self, make: "Callable[[Here, K], Actor[Any, Any]]", name: str, key_of: Callable[[Any], K], **bounds: Any
    ) -> Keyed[K]:
        """Actors by key below this actor, as `runtime.keyed.spawn_keyed` makes them; they end before the actor."""
        return spawn_keyed(self._cell._system, make, name, key_of, parent=self._cell, **bounds)

    @property
    def children(self) -> list[ActorRef]:
        """The living children, in the order in which they were spawned."""
        extras = self._cell._extras
        return list(extras.children.values()) if extras is not None else []

    def watch(self, ref: ActorRef, message: Any = None) -> None:
        """Has this actor told when that one is gone: `Terminated`, or a message of its choice; once, also if it is gone already."""
        self._cell._watch(cast(Cell, ref), message)

    def unwatch(self, ref: ActorRef) -> None:
        """Wants no notice any more."""
        self._cell._unwatch(cast(Cell, ref))

    def stash(self) -> Stashed:
        """Puts the current message aside: `return self.here.stash()`. Its asker goes on waiting. Raises Overloaded at the bound."""
        return self._cell._stash()

    def unstash(self) -> None:
        """Handles what was put aside before anything else that waits, in its order."""
        self._cell._unstash()

    def stop_soon(self, reason: str = "stopped") -> None:
        """Ends this actor after the current message."""
        self._cell.stop_soon(reason)

    def run(self, work: Callable[..., Awaitable[None]], *args: object) -> None:
        """Starts work beside the actor; it ends with the incarnation, and its failure is the actor's."""
        self._cell._start_work(work, Work(self._cell, self._cell.current), args)

    def tell(self, message: Command[Any]) -> None:
        self._cell._system.route(message).tell(message)

    async def ask(self, message: Command[R]) -> R:
        return await self._cell._system.route(message).ask(message)


class Actors:
    """The actors of one system. Made by `open_actors`."""

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        ids: Ids | None = None,
        context: Context | None = None,
        ask_seconds_max: float = 30.0,
        stop_seconds_max: float = 5.0,
        interceptors: tuple[Interceptor, ...] = (),
        chance: random.Random | None = None,
        handler_warn_seconds: float = 0.0,
        handler_seconds_max: float = 0.0,
    ) -> None:
        limits = {"handler_warn_seconds": handler_warn_seconds, "handler_seconds_max": handler_seconds_max}
        limits |= {"ask_seconds_max": ask_seconds_max, "stop_seconds_max": stop_seconds_max}
        if faults := [f"{name} is {value}: it must not be below 0" for name, value in limits.items() if not value >= 0]:
            raise ValueError("; ".join(faults))
        self.clock = clock or SystemClock()
        self.ids = ids or Ids(self.clock)
        self.context = context
        self.stop_seconds_max = stop_seconds_max
        self.interceptors = interceptors
        self.chance = chance or random.Random()
        self.dispatcher = Dispatcher()
        self.watchdog = Watchdog(self.dispatcher, warn_seconds=handler_warn_seconds, seconds_max=handler_seconds_max)
        self.ages = Ages()
        self.log_levels = LogLevels()
        self.deadlines = Deadlines(ask_seconds_max)
        self.alarms = Alarms()
        self.dead_letters = DeadLetters()
        self.router = Router(self)
        self.counts: Counts[str] = Counts()
        self.children: dict[str | int, Cell] = {}
        self.slow_to_stop: deque[str] = deque(maxlen=SLOW_KEPT_MAX)
        self.running: Cell | None = None
        self.step = Step()
        self.messages = 0
        """How many were sent: their ids."""
        self.looks_up_at = MESSAGES_WHILE_OTHERS_WAIT
        """At this message, a caller who need not wait looks up whether others should run first."""
        self._makes_way_at = MESSAGES_BETWEEN_CHECKPOINTS
        self._names = 0
        self._kinds: dict[Any, Kind] = {}
        self.queues: list[deque[Delivery]] = []
        """Of mailboxes that are empty: idle actors have none."""
        self._nursery: trio.Nursery | None = None
        self._failure: BaseException | None = None
        self._ending = False

    # ---- for everybody

    @enable_ki_protection
    def spawn(
        self,
        make: Make,
        name: str | None = None,
        props: Props = USUAL,
        *,
        parent: Life | None = None,
    ) -> ActorRef:
        """Makes an actor and returns its address. A constructor that fails is the new actor's failure, not the caller's.

        Raises ValueError where the parent has a living child of that name, has DEPTH_MAX above it, or where `props` can't be kept, naming
        every fault; RuntimeError where the system or the parent ends.
        """
        siblings = self.siblings(parent, name)
        if name is None:
            self._names += 1
        cell = Cell(self, self._kind(make, props), make, self._names if name is None else name, parent)
        siblings[cell.name] = cell
        cell._incarnate()
        return cell

    def siblings(self, parent: Life | None, name: str | None) -> dict[str | int, Cell]:
        """Those among whom a new actor of that name takes its place. Raises as `spawn` does."""
        siblings = self.children if parent is None else parent._extra().children
        if self._ending or (parent is not None and (not parent.alive or parent._extra().restarting)):
            raise RuntimeError("nothing is spawned any more: the parent or the system ends")
        if name is not None and name in siblings:
            raise ValueError(f"there is a {name} already")
        depth, above = 0, parent
        while above is not None:
            depth, above = depth + 1, above._parent
        if depth > DEPTH_MAX:
            raise ValueError(f"more than {DEPTH_MAX} parents above one another are too many")
        return siblings

    def _kind(self, make: Make, props: Props) -> Kind:
        # All closures of one piece of code are one kind: whoever spawns with a lambda each time must not fill the memory.
        origin: Any = make
        while isinstance(origin, partial):
            origin = origin.func
        if not isinstance(origin, type):
            origin = getattr(origin, "__code__", type(origin))
        kind = self._kinds.get((origin, props))
        if kind is None:
            if faults := list(props.faults()):
                raise ValueError("; ".join(faults))
            kind = Kind(
                getattr(make, "__name__", type(make).__name__).lower().strip("<>"),
                mailbox_max=props.mailbox_max,
                stash_max=props.stash_max,
                supervision=props.supervision,
                interceptors=self.interceptors,
                caller_runs=props.caller_runs,
                telemetry=props.telemetry,
            )
            self._kinds[origin, props] = kind
        return kind

    def kinds(self) -> Iterator[Kind]:
        """All kinds of actors that there ever were."""
        return iter(list(self._kinds.values()))

    def walk(self) -> Iterator[Cell]:
        """All actors that are not gone, parents before their children."""
        waiting = deque(self.children.values())
        while waiting:
            cell = waiting.popleft()
            yield cell
            if cell._extras is not None:
                waiting.extend(cell._extras.children.values())

    def end(self, error: BaseException) -> None:
        """Ends the system with this error."""
        self._failure = self._failure or error
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    # ---- for the actors

    def route(self, message: Any) -> ActorRef:
        """Whoever takes this type of message, as the router knows."""
        return self.router.route(message)

    def make(self, cell: Life) -> Actor[Any, Any]:
        assert cell._make is not None
        return cell._make(Here(cell))

    def makes_way(self) -> bool:
        """Whether a caller who need not wait lets others run first. Asked every MESSAGES_WHILE_OTHERS_WAIT messages."""
        self.looks_up_at = self.messages + MESSAGES_WHILE_OTHERS_WAIT
        if self.messages < self._makes_way_at and not self.deadlines.are_watched:
            return False
        self._makes_way_at = self.messages + MESSAGES_BETWEEN_CHECKPOINTS
        return True

    def take_queue(self) -> deque[Delivery]:
        """A mailbox's queue; idle actors have none."""
        return self.queues.pop() if self.queues else deque()

    def give_queue(self, queue: deque[Delivery]) -> None:
        if len(self.queues) < QUEUES_KEPT_MAX:
            self.queues.append(queue)

    def now(self) -> float:
        """Trio's time, by which windows and deadlines are counted."""
        return trio.current_time()

    def start(self, work: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Starts a task of the system."""
        assert self._nursery is not None
        self._nursery.start_soon(work, *args)

    def count(self, what: str) -> None:
        self.counts[what] += 1

    def refused(self, cell: Life, delivery: Delivery | None, error: Failure) -> None:
        """A refusal that nobody waits for."""
        self.counts["refused"] += 1
        what = type(delivery.message).__name__ if delivery is not None else "work"
        self.log_levels.logger(cell).debug("refused", message=what, reason=str(error))

    def crashed(self, cell: Life, what: str | None, error: BaseException) -> str:
        """Counts and logs a failure under a new id, which it returns."""
        self.counts["crashed"] += 1
        error_id = self.ids.new()
        self.log_levels.logger(cell).error("actor failed", message=what, error_id=error_id, exc_info=error)
        return error_id

    def exhausted(self, cell: Life, error: BaseException, error_id: str) -> None:
        """An actor without a parent has failed once too often."""
        self.end(Exhausted(f"{cell.path} failed too often; last: {error!r} (error {error_id})"))

    def slow(self, cell: Life) -> None:
        """A handler that had to be cancelled at a stop."""
        self.slow_to_stop.append(cell.path)
        log.warning("actor was slow to stop", actor=cell.path)

    def gone(self, cell: Life) -> None:
        if cell._parent is None:
            self.children.pop(cell.name, None)

    # ---- starting and stopping

    @enable_ki_protection
    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled. Raises what ended the system."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self.deadlines.run)
                nursery.start_soon(self.alarms.run)
                nursery.start_soon(self.ages.run, lambda: self.messages)
                if self.watchdog.is_on:
                    nursery.start_soon(self.watchdog.run)
                await nursery.start(self.dispatcher.run)
                await self.prepare(nursery)
                task_status.started()
        finally:
            self._ending = True
            self._nursery = None
            for cell in reversed(list(self.walk())):  # children before their parents
                cell._abandon("the system ends")
            self.children.clear()
            if self._failure is not None:
                # Also when all is cancelled from outside by now, as it is once a caller has let what it was told go through.
                log.critical("the system ends", reason=str(self._failure) or repr(self._failure))
                raise self._failure

    async def prepare(self, nursery: trio.Nursery) -> None:
        """What has to be done before anybody is asked."""

    @enable_ki_protection
    async def stop(self, seconds: float | None = None) -> None:
        """Ends all actors, the last spawned first. Handlers that still wait after `seconds` are cancelled; `slow_to_stop` names them."""
        self._ending = True
        tops = list(reversed(self.children.values()))
        deadline = self.stop_seconds_max if seconds is None else seconds
        for cell in tops:
            cell._end("the system stops", deadline)
        async with trio.open_nursery() as nursery:
            for cell in tops:
                if cell._state != STOPPED:
                    nursery.start_soon(cell.stop, deadline)


@asynccontextmanager
@enable_ki_protection
async def open_actors(**settings: Any) -> AsyncIterator[Actors]:
    """A running system; at the end its actors are stopped. Takes what `Actors` takes.

    Raises Exhausted, or what a handler ended it with: in an exception group, as a nursery does.
    """
    actors = Actors(**settings)
    async with trio.open_nursery() as nursery:
        await nursery.start(actors.run)
        yield actors
        await actors.stop()
        nursery.cancel_scope.cancel()

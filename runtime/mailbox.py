"""The mailbox of an actor: what waits in front of it, what was put aside, and which senders wait for room.

The base of every place of an actor (`runtime/cell.py`), with all of its fields. What is done to what waits is done in one step without
await, so no cancellation can split it. `Mailbox` lets in, withdraws, refuses and puts aside; `Life` ends and renews what lives here; `Cell`
takes the steps.
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import enable_ki_protection

from runtime.actor import STASHED, Actor, Reply, Stashed
from runtime.delivery import BEGUN, SETTLED, WAITING, WITHDRAWN, Cause, Context, Delivery, Failed
from runtime.dispatcher import Waiting
from runtime.errors import Overloaded, Unreachable
from runtime.kind import IDLE, QUEUED, STATES, STOPPED, SUSPENDED, Kind
from runtime.ref import ActorRef
from runtime.supervision import Failures

if TYPE_CHECKING:
    from runtime.actors import Actors, Make
    from runtime.cell import Cell
    from runtime.life import Life

NOTHING = Reply(None)


class Step:
    """A message that runs in its asker's step, before anybody wants more of it than what it says; few handlers do.

    There is one for each system, used again and again: a delivery of each would be a tenth of what such an ask costs.
    """

    __slots__ = ("cause", "context", "message", "number")

    def __init__(self) -> None:
        self.message: Any = None
        self.number = 0
        self.cause: Delivery | None = None
        self.context: Context | None = None


class Extras:
    """What few actors need: kept apart, so that an idle actor is small."""

    __slots__ = (
        "asks",
        "awaited",
        "backs_off",
        "children",
        "cut_off_seconds",
        "failures",
        "handle",
        "is_cut_off",
        "parked",
        "reason",
        "restarting",
        "restarts",
        "stash",
        "stopped",
        "timers",
        "watchers",
        "watches",
        "withdrawn",
        "work",
    )

    def __init__(self) -> None:
        self.asks: list[Life] = []
        self.awaited: Waiting | None = None
        self.backs_off = False
        """The incarnation has ended, the next one is not made yet."""
        self.children: dict[str | int, Cell] = {}
        self.cut_off_seconds: float | None = None
        self.failures = Failures()
        self.handle: Callable[[Any], Any] | None = None
        self.is_cut_off = False
        """It did not end in time, so its handler was cancelled, or one below."""
        self.parked: deque[Delivery] = deque()
        self.reason: str | None = None
        """Why it stops, once it is to stop."""
        self.restarting = False
        self.restarts = 0
        self.stash: deque[Delivery] = deque()
        self.stopped: list[trio.Event] = []
        self.timers: dict[Any, Any] = {}
        self.watchers: dict[Life, Any] = {}
        self.watches: set[Life] = set()
        self.withdrawn = 0
        self.work: set[trio.CancelScope] = set()


class Mailbox(ActorRef):
    """Where an actor's messages wait. What begins with an underscore belongs to the runtime."""

    __slots__ = (
        "_actor",
        "_extras",
        "_handled",
        "_handling",
        "_kind",
        "_make",
        "_parent",
        "_peak",
        "_queue",
        "_state",
        "_system",
        "name",
    )

    def __init__(
        self, system: "Actors", kind: Kind, make: "Make | None", name: str | int, parent: "Life | None"
    ) -> None:
        self._system = system
        self._kind = kind
        self._make = make
        self._parent = parent
        self._actor: Actor[Any, Any] | None = None
        self._handling: Delivery | Step | None = None
        self._extras: Extras | None = None
        self._queue: deque[Delivery] | None = None
        self._peak = 0
        self._handled = 0
        self._state = SUSPENDED
        self.name = name

    def __repr__(self) -> str:
        return f"<actor {self.path} {STATES[self._state]}>"

    @property
    def path(self) -> str:
        own = self.name if isinstance(self.name, str) else f"{self._kind.name}-{self.name}"
        return own if self._parent is None else f"{self._parent.path}/{own}"

    @property
    def alive(self) -> bool:
        return self._state != STOPPED and (self._extras is None or self._extras.reason is None)

    @property
    def takes(self) -> frozenset[type]:
        """What it takes, as far as that is known; nothing is known of one that takes whatever comes."""
        return self._kind.takes

    @property
    def current(self) -> Delivery | None:
        """The message that is being handled."""
        return self.take_up()

    def take_up(self) -> Delivery | None:
        """Makes a delivery of what runs in its asker's step, if that was not done yet."""
        current = self._handling
        if type(current) is Step:
            current = self._delivery(current.message, current.number, current.cause, current.context, True, BEGUN)
            self._handling = current
        return current  # type: ignore[return-value]

    def _extra(self) -> Extras:
        if self._extras is None:
            self._extras = Extras()
        return self._extras

    def _delivery(
        self,
        message: Any,
        number: int,
        cause: Delivery | None,
        context: Context | None,
        asked: bool,
        state: int = WAITING,
    ) -> Delivery:
        if cause is None:
            return Delivery(message, self, number, 0, number, context or self._system.context, asked, state)
        return Delivery(message, self, number, cause.id, cause.root, context or cause.context, asked, state)

    def turn(self, quantum: int) -> int | Waiting:
        """Handles up to `quantum` messages, or ends with one whose handler has to wait."""
        raise NotImplementedError

    # ---- what waits

    def _enqueue(self, delivery: Delivery, wait: bool) -> bool:
        """Appends where there is room, or parks the sender; returns whether there was room. Raises Overloaded where it may not wait."""
        if not delivery.id % self._kind.measured_every:
            delivery.queued_ns = self._kind.begun(delivery.id)
        system, state, extras = self._system, self._state, self._extras
        if system.ages.rests:
            system.ages.wake()
        if state <= IDLE:
            self._queue = first = system.queues.pop() if system.queues else deque()
            first.append(delivery)
            self._state = QUEUED
            system.dispatcher.add(self)
            return True
        if state == STOPPED or (extras is not None and extras.reason is not None):
            self._refuse(delivery, "stopped")
            return True
        queue, room = self._queue, self._kind.mailbox_max
        if queue is None:
            queue = self._queue = system.take_queue()
        if extras is not None and len(queue) >= room and extras.withdrawn * 8 >= room + len(extras.parked):
            self._forget_withdrawn()
        if len(queue) < room and (extras is None or not extras.parked):
            queue.append(delivery)
            return True
        if not wait:
            system.count("overloaded")
            raise Overloaded(f"{len(queue)} messages wait in front of {self.path}")
        self._extra().parked.append(delivery)
        return False

    def _push(self, delivery: Delivery) -> None:
        """Appends what the runtime itself sends, of which there is a bounded amount: it needs no room."""
        if self._state == STOPPED:
            return
        if not delivery.id % self._kind.measured_every:
            delivery.queued_ns = self._kind.begun(delivery.id)
        if self._system.ages.rests:
            self._system.ages.wake()
        if self._queue is None:
            self._queue = self._system.take_queue()
        self._queue.append(delivery)
        self._schedule()

    def _tick(self, message: Any, cause: Cause | None = None) -> Delivery:
        """Queues what the runtime itself sends: a timer's message, with what it was started for, or a notice."""
        self._system.messages = number = self._system.messages + 1
        if cause is None:
            delivery = Delivery(message, self, number, 0, number, self._system.context)
        else:
            delivery = Delivery(message, self, number, cause.id, cause.root, cause.context)
        self._push(delivery)
        return delivery

    def _schedule(self) -> None:
        if self._state <= IDLE:
            self._state = QUEUED
            self._system.dispatcher.add(self)

    def _admit(self) -> None:
        """Lets parked senders in, first come first served, once half of the room is free."""
        extras, queue = self._extra(), self._queue
        if queue is None or len(queue) > self._kind.mailbox_max // 2:
            return
        while extras.parked and len(queue) < self._kind.mailbox_max:
            delivery = extras.parked.popleft()
            if delivery.state:
                self._passed_over(delivery)
                continue
            queue.append(delivery)
            if not delivery.asked and delivery.task is not None:
                task, delivery.task = delivery.task, None
                trio.lowlevel.reschedule(task)
        if queue:
            self._schedule()

    # ---- what need not be handled any more

    def withdrew(self) -> None:
        """A delivery that waits here was withdrawn: forgotten at once, together with others, before they crowd out the living."""
        extras = self._extra()
        extras.withdrawn += 1
        waiting = len(self._queue or ()) + len(extras.parked) + len(extras.stash)
        if extras.withdrawn > 32 and extras.withdrawn * 2 > waiting:
            self._forget_withdrawn()

    def _forget_withdrawn(self) -> None:
        extras = self._extra()
        for waiting in (self._queue, extras.parked, extras.stash):
            if waiting:
                living = [one for one in waiting if one.state != WITHDRAWN]
                waiting.clear()
                waiting.extend(living)
        extras.withdrawn = 0
        if extras.parked:
            self._admit()

    def _passed_over(self, delivery: Delivery) -> None:
        """It waited here, and need not be handled any more."""
        if delivery.state == WITHDRAWN:
            self._extra().withdrawn -= 1

    def _turn_away(self, reason: str) -> None:
        """Tells everybody who waits that nobody will come."""
        extras, queue = self._extra(), self._queue
        self._queue = None
        for delivery in [*extras.stash, *(queue or ()), *extras.parked]:
            self._refuse(delivery, reason)
        extras.stash.clear()
        extras.parked.clear()
        extras.withdrawn = 0

    def _refuse(self, delivery: Delivery, reason: str) -> None:
        if delivery.state >= SETTLED:
            return
        if delivery.asked:
            delivery.settle(Failed(Unreachable(f"{self.path} is gone: {reason}")))
        else:
            self._system.dead_letters.add(self, delivery, reason)
            delivery.settle(NOTHING)

    # ---- what is put aside

    @enable_ki_protection
    def _stash(self) -> Stashed:
        """Puts the current message aside. Raises Overloaded where too many are."""
        extras, delivery = self._extra(), self.current
        assert delivery is not None, "there is no message to put aside"
        if delivery.state == WAITING:
            return STASHED  # it is put aside already
        if len(extras.stash) >= self._kind.stash_max:
            self._forget_withdrawn()
        if len(extras.stash) >= self._kind.stash_max:
            raise Overloaded(f"{len(extras.stash)} messages are put aside in {self.path}")
        if self._system.ages.rests:
            self._system.ages.wake()
        delivery.state = WAITING
        extras.stash.append(delivery)
        return STASHED

    @enable_ki_protection
    def _unstash(self) -> None:
        """Puts what was put aside in front of what waits, in its order."""
        extras = self._extra()
        if self._queue is None:
            self._queue = self._system.take_queue()
        self._queue.extendleft(reversed(extras.stash))
        extras.stash.clear()
        if self._queue:
            self._schedule()

"""The place of an actor: its mailbox, its incarnation, its children, and the step from message to answer.

The rules that `docs/runtime.md` states are kept here. Above all: one message at a time; an ask is settled exactly once; nothing is
awaited between taking a message and handing it over, so no cancellation can split that.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context as Variables
from contextvars import ContextVar
from functools import partial
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import trio
from trio.lowlevel import enable_ki_protection

from runtime.actor import STASHED, Actor, Reply, Stashed
from runtime.delivery import BEGUN, SETTLED, WAITING, WITHDRAWN, Cause, Context, Delivery, Failed, Receipt
from runtime.dispatcher import Waiting, without_cancelled
from runtime.errors import AskCycle, Crashed, Failure, Overloaded, Unreachable
from runtime.kind import (
    AWAITING,
    FREE,
    IDLE,
    QUEUED,
    RUNNING,
    STATES,
    STOPPED,
    STOPPING,
    SUSPENDED,
    Interceptor,
    Kind,
    may_wait,
)
from runtime.records import Command
from runtime.ref import ActorRef, Terminated
from runtime.supervision import Directive, Failures

if TYPE_CHECKING:
    from runtime.actors import Actors, Make

R = TypeVar("R")


class Step:
    """A message that runs in its asker's step, before anybody wants more of it than what it says; few handlers do.

    There is one for each system, used again and again: to make a delivery of every such message would take twice as long.
    """

    __slots__ = ("cause", "context", "message", "number")

    def __init__(self) -> None:
        self.message: Any = None
        self.number = 0
        self.cause: Delivery | None = None
        self.context: Context | None = None


working: ContextVar["Cell | Work | None"] = ContextVar("working", default=None)
"""Whose `async` handler or work this task runs."""

BARE = Variables()
"""What an `async` handler begins with: no context variable is set."""


class Work(NamedTuple):
    """Work beside an actor, and the message that it was started by. What it asks does not keep the actor from answering."""

    cell: "Cell"
    current: Delivery | None
    context: Context | None = None


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
        self.asks: list[Cell] = []
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
        self.watchers: dict[Cell, Any] = {}
        self.watches: set[Cell] = set()
        self.withdrawn = 0
        self.work: set[trio.CancelScope] = set()


class Cell(ActorRef):
    """The place of an actor. What begins with an underscore belongs to the runtime."""

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
        self, system: "Actors", kind: Kind, make: "Make | None", name: str | int, parent: "Cell | None"
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

    @property
    def crashes(self) -> int:
        """Its failures within the restart window."""
        return len(self._extras.failures) if self._extras is not None else 0

    @property
    def alive(self) -> bool:
        return self._state != STOPPED and (self._extras is None or self._extras.reason is None)

    @property
    def takes(self) -> frozenset[type]:
        """What it takes, as far as that is known; nothing is known of one that takes whatever comes."""
        return self._kind.takes

    # ---- sending

    @enable_ki_protection
    async def ask(
        self,
        message: Command[R],
        *,
        seconds: float | None = None,
        context: Context | None = None,
        receipt: Receipt | None = None,
    ) -> R:
        if receipt is not None:
            receipt.fate = "withdrawn"
        system = self._system
        if system.messages >= system.looks_up_at and self._state < IDLE and system.makes_way():
            # Before anything is sent: a caller that is cancelled here loses no answer.
            await trio.lowlevel.checkpoint()
        asker = working.get()
        if asker is not None:
            asker = _speaker(asker)
        cause = None if asker is None else asker.current
        kind = self._kind
        if type(message) not in kind.takes and kind.takes:
            raise Unreachable(f"{self.path} does not take {type(message).__name__}")
        system.messages = number = system.messages + 1
        if self._state is FREE:  # not `==`, which Python looks up anew each time before so long a branch
            # The whole step in the asker's own, written out: a call would be a twentieth of it.
            began = 0 if number % kind.measured_every else kind.begun(number)
            before = system.running
            if before is not None:
                before.take_up()  # it has stepped a coroutine by hand
            system.running = self
            self._state = RUNNING
            self._handling = step = system.step
            step.message, step.number = message, number
            step.cause, step.context = cause, context
            try:
                result: Any = self._actor.handle(message)  # type: ignore[union-attr]
                if type(result) is not Reply:
                    result = self._other(result) or self.current
            except BaseException as error:
                result = self._failed(self.current, error)
            if began:
                kind.handled(number, perf_counter_ns() - began)
            self._handled += 1
            system.running = before
            self._handling = step.message = step.cause = None
            if self._state == RUNNING and not self._queue:
                self._state = FREE
            else:
                self._after_turn()
            delivery: Delivery | None = result if type(result) is Delivery else None
            if delivery is not None:  # put aside
                self._await(delivery, asker, seconds)
        else:
            delivery = self._submit(message, number, cause, context, asker, seconds)
            result = delivery.result
        if delivery is not None and delivery.result is None:
            delivery.task = trio.lowlevel.current_task()
            try:
                await trio.lowlevel.wait_task_rescheduled(delivery.abort)
            finally:
                if receipt is not None or asker is not None:
                    self._heard(delivery, asker, receipt)
            result = delivery.result
        elif receipt is not None:
            receipt.fate = "answered"
        if type(result) is Failed:
            raise result.error
        return result.value  # type: ignore[no-any-return]

    def _submit(
        self,
        message: Any,
        number: int,
        cause: Delivery | None,
        context: Context | None,
        asker: "Cell | Work | None",
        seconds: float | None,
    ) -> Delivery:
        """Sends what is asked; it may be answered at once."""
        if cause is None:
            delivery = Delivery(message, self, number, 0, number, context or self._system.context, True)
        else:
            delivery = Delivery(message, self, number, cause.id, cause.root, context or cause.context, True)
        self._await(delivery, asker, seconds)
        queue = self._queue
        if queue and self._extras is None and len(queue) < self._kind.mailbox_max:
            queue.append(delivery)  # as `_enqueue` does it, without the call
            if not number % self._kind.measured_every:
                delivery.queued_ns = self._kind.begun(number)
        else:
            self._enqueue(delivery, True)
        return delivery

    def _heard(self, delivery: Delivery, asker: "Cell | Work | None", receipt: Receipt | None) -> None:
        """The asker waits no more."""
        if receipt is not None:
            receipt.fate = _fate(delivery)
        if isinstance(asker, Cell):
            asker._extra().asks.remove(self)

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

    def _await(self, delivery: Delivery, asker: "Cell | Work | None", seconds: float | None) -> None:
        """The asker will have to wait: until when, and for whom, unless that is for itself."""
        if self._state == STOPPED or (self._extras is not None and self._extras.reason is not None):
            raise Unreachable(f"{self.path} is gone")
        if seconds is not None and seconds != seconds:
            raise ValueError("an ask for nan seconds would never end")
        if isinstance(asker, Cell):
            self._check_cycle(asker)
            asker._extra().asks.append(self)
            if asker.current is not None:
                delivery.deadline = asker.current.deadline  # whoever waits for the asker waits for this too
        self._system.deadlines.watch(delivery, seconds)

    def _check_cycle(self, asker: "Cell") -> None:
        """Whether this actor waits for the asker, however far round: then the ask would never be answered."""
        chain = [asker, asker] if self is asker else _chain(self, asker)
        if chain:
            raise AskCycle(" → ".join(cell.path for cell in chain))

    @enable_ki_protection
    def tell(self, message: Any, *, context: Context | None = None) -> None:
        sender = self._system.running or working.get()
        if sender is not None and sender is not self._system.running:
            sender = _speaker(sender)
        takes = self._kind.takes
        if type(message) not in takes and takes:
            raise Unreachable(f"{self.path} does not take {type(message).__name__}")
        system = self._system
        system.messages = number = system.messages + 1
        cause = None if sender is None else sender.current
        self._enqueue(self._delivery(message, number, cause, context, False), False)

    @enable_ki_protection
    async def tell_when_free(self, message: Any, *, context: Context | None = None) -> None:
        system = self._system
        if system.messages >= system.looks_up_at and system.makes_way():
            await trio.lowlevel.checkpoint()  # before anything is sent: a sender that is cancelled has sent nothing
        sender = working.get()
        if sender is not None:
            sender = _speaker(sender)
        cause = None if sender is None else sender.current
        # As in `_delivery`, and then `_enqueue`, without the calls: a tenth of a tell.
        kind = self._kind
        if type(message) not in kind.takes and kind.takes:
            raise Unreachable(f"{self.path} does not take {type(message).__name__}")
        system.messages = number = system.messages + 1
        if cause is None:
            delivery = Delivery(message, self, number, 0, number, context or system.context)
        else:
            delivery = Delivery(message, self, number, cause.id, cause.root, context or cause.context)
        queue = self._queue
        if queue and self._extras is None and len(queue) < kind.mailbox_max:
            queue.append(delivery)
            if not number % kind.measured_every:
                delivery.queued_ns = kind.begun(number)
            return
        if not self._enqueue(delivery, True):
            await self._wait_for_room(delivery, sender)

    @enable_ki_protection
    async def _wait_for_room(self, delivery: Delivery, sender: "Cell | Work | None") -> None:
        """A sender that is an actor's handler waits like an asker: in a circle nobody would ever make room."""
        waits = None
        if isinstance(sender, Cell):
            try:
                self._check_cycle(sender)
            except AskCycle:
                delivery.leave()
                raise
            waits = sender._extra().asks
            waits.append(self)
        delivery.task = trio.lowlevel.current_task()
        try:
            await trio.lowlevel.wait_task_rescheduled(delivery.abort)
        finally:
            if waits is not None:
                waits.remove(self)

    def _enqueue(self, delivery: Delivery, wait: bool) -> bool:
        """Appends where there is room, or parks the sender; returns whether there was room. Raises Overloaded where it may not wait."""
        if not delivery.id % self._kind.measured_every:
            delivery.queued_ns = self._kind.begun(delivery.id)
        state, extras = self._state, self._extras
        if state <= IDLE:
            system = self._system
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
            queue = self._queue = self._system.take_queue()
        if extras is not None and len(queue) >= room and extras.withdrawn * 8 >= room + len(extras.parked):
            self._forget_withdrawn()
        if len(queue) < room and (extras is None or not extras.parked):
            queue.append(delivery)
            return True
        if not wait:
            self._system.count("overloaded")
            raise Overloaded(f"{len(queue)} messages wait in front of {self.path}")
        self._extra().parked.append(delivery)
        return False

    def _push(self, delivery: Delivery) -> None:
        """Appends what the runtime itself sends, of which there is a bounded amount: it needs no room."""
        if self._state == STOPPED:
            return
        if not delivery.id % self._kind.measured_every:
            delivery.queued_ns = self._kind.begun(delivery.id)
        if self._queue is None:
            self._queue = self._system.take_queue()
        self._queue.append(delivery)
        self._schedule()

    def _schedule(self) -> None:
        if self._state <= IDLE:
            self._state = QUEUED
            self._system.dispatcher.add(self)

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

    # ---- running

    @enable_ki_protection
    def turn(self, quantum: int) -> int | Waiting:
        """Handles up to `quantum` messages, or ends with one whose handler has to wait."""
        if self._state != QUEUED:
            return 0
        if self._kind.is_async:
            return self._turn_async(quantum)
        queue, system, extras = self._queue, self._system, self._extras
        assert queue is not None
        assert self._actor is not None
        handle = extras.handle if extras is not None and extras.handle is not None else self._actor.handle
        self._state = RUNNING
        if len(queue) > self._peak:
            self._peak = len(queue)
        system.running = self
        steps = 0
        while queue and steps < quantum and self._state == RUNNING:
            delivery = queue.popleft()
            if delivery.state:
                self._passed_over(delivery)
                continue
            steps += 1
            delivery.state = BEGUN
            self._handling = delivery
            began = self._kind.waited(delivery.id, delivery.queued_ns) if delivery.queued_ns else 0
            try:
                result = handle(delivery.message)
                if type(result) is not Reply:
                    result = NOTHING if result is None else self._other(result)
                if result is not None and delivery.asked:
                    delivery.settle(result)
            except BaseException as error:
                self._failed(delivery, error)
            if began:
                self._kind.handled(delivery.id, perf_counter_ns() - began)
        self._handling = None
        self._handled += steps
        system.running = None
        system.deadlines.forget_settled()
        if extras is None and self._extras is None and self._state == RUNNING and not queue:
            system.give_queue(queue)  # the usual end
            self._queue = None
            self._state = self._kind.rest
        else:
            self._after_turn()
        return steps

    def _turn_async(self, quantum: int) -> int | Waiting:
        queue, extras = self._queue, self._extras
        assert queue is not None
        assert self._actor is not None
        handle: Any = extras.handle if extras is not None and extras.handle is not None else self._actor.handle
        self._state = RUNNING
        if len(queue) > self._peak:
            self._peak = len(queue)
        steps = 0
        is_bare = not self._kind.interceptors
        variables = BARE.copy()
        variables.run(working.set, self)
        while queue and steps < quantum and self._state == RUNNING:
            delivery = queue.popleft()
            if delivery.state:
                self._passed_over(delivery)
                continue
            steps += 1
            delivery.state = BEGUN
            self._handling = delivery
            began = perf_counter_ns()
            if delivery.queued_ns:
                self._kind.waited(delivery.id, delivery.queued_ns)
            context = variables.copy()  # what a handler sets in its context is not seen by the next one
            try:
                # To call an `async def` runs nothing of it; an interceptor runs.
                coroutine = handle(delivery.message) if is_bare else context.run(handle, delivery.message)
                if not (is_bare or isinstance(coroutine, Coroutine)):  # an interceptor has answered
                    self._ended(delivery, began, coroutine)
                    continue
                trap = context.run(coroutine.send, None)
            except StopIteration as stop:
                self._ended(delivery, began, stop.value)
            except BaseException as error:
                self._kind.handled_ns[(perf_counter_ns() - began).bit_length()] += 1
                self._failed(delivery, error)
            else:
                self._handled += steps
                return self._wait(Waiting(coroutine, trap, context.run, self, began), delivery)
        self._handling = None
        self._handled += steps
        self._system.deadlines.forget_settled()
        self._after_turn()
        return steps

    def _wait(self, waiting: Waiting, delivery: Delivery) -> Waiting:
        extras = self._extra()
        extras.awaited = waiting

        def ended(value: Any, error: BaseException | None) -> None:
            extras.awaited = None
            if error is None:
                self._ended(delivery, waiting.since_ns, value)
            else:
                self._kind.handled_ns[(perf_counter_ns() - waiting.since_ns).bit_length()] += 1
                self._failed(delivery, error)
            self._handling = None
            if self._state == AWAITING:
                self._state = RUNNING
            self._after_turn()

        waiting.ended = ended
        if extras.restarting:
            waiting.is_over = True  # its incarnation has ended in its own first step, by a child's failure
        else:
            self._state = AWAITING
            self._cut_off_in_time()
        return waiting

    def _ended(self, delivery: Delivery, began: int, result: Any) -> None:
        self._kind.handled_ns[(perf_counter_ns() - began).bit_length()] += 1
        try:
            if type(result) is not Reply:
                result = self._other(result)
        except Exception as error:
            self._failed(delivery, error)
            return
        if result is not None and delivery.asked:
            delivery.settle(result)

    def _other(self, result: Any) -> Reply | None:
        """What a handler returned in place of a reply."""
        if result is None:
            return NOTHING
        if result is STASHED:
            return None
        if isinstance(result, Coroutine):
            result.close()
        raise TypeError(
            f"{self.path} returned {type(result).__name__}: a handler returns reply(message, value), or None"
        )

    def _after_turn(self) -> None:
        extras = self._extras
        if extras is not None:
            if extras.reason is not None:
                if self._state != STOPPED:
                    self._stop_children()
                return
            if extras.parked:
                self._admit()
            if extras.restarting:
                self._proceed()
                return
        if self._state != RUNNING:
            return
        if self._queue:
            self._state = QUEUED
            self._system.dispatcher.add(self)
            return
        if self._queue is not None:
            self._system.give_queue(self._queue)
            self._queue = None
        self._state = self._kind.rest

    # ---- failing

    def _failed(self, delivery: Delivery | None, error: BaseException) -> Any:
        """A refusal is told to the asker. Anything else is the actor's failure: told under an id, and its supervisor decides.

        Returns what the asker is told.
        """
        if isinstance(error, Failure):
            if delivery is None or not delivery.asked:
                self._system.refused(self, delivery, error)
            if delivery is not None:
                delivery.settle(Failed(error))
                return delivery.result
            return None
        cancelled, other = without_cancelled(error)
        if cancelled is not None and delivery is not None:
            # By a stop past its deadline, a restart, or the end of the whole system.
            extras = self._extras
            why = (extras and extras.reason) or ("restarted" if extras and extras.restarting else "the system ends")
            delivery.settle(Failed(Unreachable(f"{self.path} was ended in the middle: {why}")))
        if isinstance(other, Exception):
            what = type(delivery.message).__name__ if delivery is not None else "work"
            error_id = self._system.crashed(self, what, other)
            if delivery is not None:
                delivery.settle(Failed(Crashed(error_id)))
            self._supervise(other, error_id)
        elif other is not None:
            self._end_all(delivery, other)
        return delivery.result if delivery is not None else None

    def _end_all(self, delivery: Delivery | None, error: BaseException) -> None:
        """Ctrl-C, SystemExit and their like are no business of a supervisor: the whole system ends with them."""
        if delivery is not None:
            delivery.settle(Failed(Unreachable(f"the system ends: {error!r}")))
        self._system.end(error)
        self.stop_soon("the system ends")

    def _supervise(self, error: BaseException, error_id: str) -> None:
        policy = self._kind.supervision
        directive = policy.directive(error)
        extras = self._extra()
        if extras.reason is not None:
            return  # it ends anyway
        if directive is Directive.RESUME and self._actor is None:
            directive = Directive.RESTART  # its constructor failed: there is nothing to go on with
        if directive is Directive.RESTART and extras.failures.add(self._system.now(), policy):
            directive = policy.exhausted
            error_id = f"{error_id}, failure {len(extras.failures)} in {policy.window_seconds:g} s"
        match directive:
            case Directive.RESUME:
                pass
            case Directive.RESTART:
                self._restart()
                if policy.together:
                    self._restart_siblings()
            case Directive.STOP:
                self.stop_soon(f"failed (error {error_id})")
            case Directive.ESCALATE:
                self.stop_soon(f"failed (error {error_id})")
                self._escalate(error, error_id)

    def _escalate(self, error: BaseException, error_id: str) -> None:
        parent = self._parent
        if parent is None:
            self._system.exhausted(self, error, error_id)
        elif parent.alive:
            self._system.crashed(parent, f"failure of {self.path}", error)
            parent._supervise(error, error_id)

    def _restart_siblings(self) -> None:
        siblings = self._system.children if self._parent is None else self._parent._extra().children
        for sibling in list(siblings.values()):
            if sibling is not self and sibling.alive and sibling._kind.supervision.together:
                sibling._restart()

    def _restart(self) -> None:
        """Ends this incarnation, children first; a handler that waits is ended with it, and the work beside it."""
        extras = self._extra()
        if extras.reason is not None or extras.restarting:
            return
        extras.restarting = True
        extras.restarts += 1
        self._kind.restarts += 1
        is_made_now = self._state in (RUNNING, STOPPING) and self._handling is None
        self._state = SUSPENDED
        self._end_timers_and_work()
        if extras.awaited is not None and extras.awaited.scope is not None:
            extras.awaited.scope.cancel()
        for child in reversed(list(extras.children.values())):
            child._end("its parent restarts", None)
        if extras.children:
            self._system.alarms.later(self._system.stop_seconds_max, partial(self._cut_children_off, extras.restarts))
        if not is_made_now:
            self._proceed()

    def _end_timers_and_work(self) -> None:
        self._system.alarms.forget(self)
        for scope in self._extra().work:
            scope.cancel()

    def _cut_children_off(self, restart: int) -> None:
        """Of this restart: whoever still keeps the parent from beginning anew."""
        extras = self._extra()
        if extras.restarting and extras.restarts == restart:
            for child in list(extras.children.values()):
                child._cut_off()

    def _proceed(self) -> None:
        """Goes on with a stop or a restart once no child is left, no handler runs or waits, and no work."""
        extras = self._extra()
        if extras.children or extras.work or extras.awaited is not None or self._handling is not None:
            return
        if extras.reason is not None:
            if self._state != STOPPED:
                self._dead()
        elif extras.restarting and not extras.backs_off:
            extras.backs_off = True
            backoff = self._kind.supervision.backoff
            if backoff is not None:
                wait = extras.failures.wait(self._system.now(), self._kind.supervision, self._system.chance)
                self._system.alarms.later(wait, self._incarnate)
            elif self._actor is None:
                self._system.alarms.later(0.0, self._incarnate)  # its constructor fails: not in a loop
            else:
                self._incarnate()

    def _incarnate(self) -> None:
        """Makes the actor that lives here. A constructor that raises is a failure like any other."""
        extras = self._extras
        if extras is not None:
            if self._state == STOPPED or extras.reason is not None:
                return
            extras.restarting = extras.backs_off = False
            self._end_timers_and_work()  # what the last words of the one before have started
        self._actor = None
        self._state = RUNNING
        try:
            actor = self._system.make(self)
            self._kind.is_made(type(actor))
            if type(actor).started is not Actor.started:
                actor.started(self._system.clock.now())
            self._actor = actor
        except Exception as error:
            self._state = SUSPENDED
            self._supervise(error, self._system.crashed(self, "start", error))
        except BaseException as error:
            self._state = SUSPENDED
            self._end_all(None, error)
        else:
            if self._kind.interceptors:
                self._extra().handle = self._intercepted(actor.handle)
        extras = self._extras
        if extras is not None:
            if extras.stash and self._actor is not None:
                self._unstash()
            if extras.reason is not None or extras.restarting:
                self._after_turn()  # by itself, or by a child that failed already
                return
        if self._state == RUNNING:
            self._begin()

    def _begin(self) -> None:
        if self._queue:
            self._state = QUEUED
            self._system.dispatcher.add_once(self)
        else:
            self._state = self._kind.rest

    def _intercepted(self, handle: Callable[[Any], Any]) -> Callable[[Any], Any]:
        for interceptor in reversed(self._kind.interceptors):
            handle = _around(interceptor, self, handle)
        return handle

    # ---- stopping

    @enable_ki_protection
    def stop_soon(self, reason: str = "stopped") -> None:
        self._end(reason, self._system.stop_seconds_max)

    def _end(self, reason: str, seconds: float | None) -> None:
        """Ends it after the current message. What still waits after `seconds` is cancelled; None: its parent sees to that."""
        extras = self._extra()
        if self._state == STOPPED or extras.reason is not None:
            return
        extras.reason = reason
        extras.cut_off_seconds = seconds
        self._end_timers_and_work()
        self._turn_away(reason)
        if self._state == RUNNING:
            self._state = STOPPING
        elif self._state == AWAITING:
            self._cut_off_in_time()
        elif self._actor is not None or extras.restarting:
            self._stop_children()

    @enable_ki_protection
    async def stop(self, seconds: float | None = None, reason: str = "stopped") -> bool:
        who = working.get()
        above = None if who is None else _speaker(who)
        while isinstance(above, Cell):
            if above is self:
                raise AskCycle(f"{self.path} and who is below it can't wait for its end: stop_soon() asks for it")
            above = above._parent
        seconds = self._system.stop_seconds_max if seconds is None else seconds
        if self.alive:
            self._end(reason, seconds)
        elif self._state != STOPPED:
            self._system.alarms.later(seconds, self._cut_off)
        extras = self._extra()
        if self._state == STOPPED:
            await trio.lowlevel.checkpoint()
        else:
            gone = trio.Event()
            extras.stopped.append(gone)
            await gone.wait()
        return not extras.is_cut_off

    def _cut_off_in_time(self) -> None:
        """Whoever has not ended when its time is over is cancelled."""
        extras = self._extra()
        if extras.cut_off_seconds is not None and self._state != STOPPED:
            seconds, extras.cut_off_seconds = extras.cut_off_seconds, None
            self._system.alarms.later(seconds, self._cut_off)

    def _cut_off(self) -> None:
        """Ends the handlers that still wait, here and below."""
        extras = self._extra()
        if self._state == STOPPED or extras.is_cut_off:
            return
        extras.is_cut_off = True
        if extras.awaited is not None or extras.work:
            self._system.slow(self)
        if extras.awaited is not None and extras.awaited.scope is not None:
            extras.awaited.scope.cancel()
        self._stop_children_now()

    def _stop_children(self) -> None:
        self._state = SUSPENDED
        self._stop_children_now()
        self._proceed()
        self._cut_off_in_time()

    def _stop_children_now(self) -> None:
        extras = self._extra()
        for child in reversed(list(extras.children.values())):
            child._end("its parent stops", None)
            if extras.is_cut_off:
                child._cut_off()

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

    def _dead(self) -> None:
        extras, actor = self._extra(), self._actor
        reason = extras.reason or ""
        self._kind.handled_by_gone += self._handled
        self._state, self._actor = STOPPED, None
        if actor is not None:
            self._say_stopped(actor)
        self._end_timers_and_work()
        self._turn_away(reason)
        for watcher, message in list(extras.watchers.items()):
            watcher._notice(self, message, reason)
        extras.watchers.clear()
        for watched in extras.watches:
            if watched._extras is not None:
                watched._extras.watchers.pop(self, None)
        extras.watches.clear()
        for gone in extras.stopped:
            gone.set()
        self._system.gone(self)
        parent = self._parent
        if parent is not None and parent._extras is not None:
            parent._extras.children.pop(self.name, None)
            parent._proceed()

    def _say_stopped(self, actor: Actor[Any, Any]) -> None:
        try:
            actor.stopped()
        except Exception as error:
            self._system.crashed(self, "stop", error)
        except BaseException as error:
            self._system.end(error)

    def _abandon(self, reason: str) -> None:
        """The system is over: nobody will come here any more, so whoever still waits is told."""
        extras = self._extra()
        extras.reason = extras.reason or reason
        self._turn_away(extras.reason)
        if self.current is not None:
            self.current.settle(Failed(Unreachable(f"{self.path} was ended in the middle: {extras.reason}")))
        was_there, self._state = self._state != STOPPED, STOPPED
        if was_there and self._actor is not None:
            self._say_stopped(self._actor)
        for gone in extras.stopped:
            gone.set()

    # ---- for `Here`

    def _extra(self) -> Extras:
        if self._extras is None:
            self._extras = Extras()
        return self._extras

    @enable_ki_protection
    def _watch(self, ref: "Cell", message: Any) -> None:
        if ref._state == STOPPED:
            self._notice(ref, message, (ref._extras and ref._extras.reason) or "")
        elif self.alive:
            ref._extra().watchers[self] = message
            self._extra().watches.add(ref)

    @enable_ki_protection
    def _unwatch(self, ref: "Cell") -> None:
        if ref._extras is not None:
            ref._extras.watchers.pop(self, None)
        self._extra().watches.discard(ref)

    def _notice(self, ref: "Cell", message: Any, reason: str) -> None:
        self._extra().watches.discard(ref)
        self._tick(Terminated(ref, reason) if message is None else message)

    def _tick(self, message: Any, cause: Cause | None = None) -> Delivery:
        """Queues what the runtime itself sends: a timer's message, with what it was started for, or a notice."""
        self._system.messages = number = self._system.messages + 1
        if cause is None:
            delivery = Delivery(message, self, number, 0, number, self._system.context)
        else:
            delivery = Delivery(message, self, number, cause.id, cause.root, cause.context)
        self._push(delivery)
        return delivery

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

    @enable_ki_protection
    def _start_work(self, work: Callable[..., Awaitable[None]], cause: Work, arguments: tuple[Any, ...]) -> None:
        extras = self._extra()
        if extras.reason is None and not extras.restarting:
            scope = trio.CancelScope()
            extras.work.add(scope)  # before its task runs: a restart in between ends it too
            self._system.start(self._do, work, cause, arguments, scope)

    @enable_ki_protection
    async def _do(
        self, work: Callable[..., Awaitable[None]], cause: Work, arguments: tuple[Any, ...], scope: trio.CancelScope
    ) -> None:
        """Work beside the actor: it ends with the incarnation, and its failure is the actor's."""
        extras = self._extra()
        working.set(cause)
        try:
            with scope:
                if not scope.cancel_called:
                    await work(*arguments)
        except Exception as error:
            # There is nobody to refuse: whatever work raises is a failure.
            self._supervise(error, self._system.crashed(self, "work", error))
        finally:
            extras.work.discard(scope)
            self._proceed()


NOTHING = Reply(None)


def _fate(delivery: Delivery) -> Any:
    if delivery.state == WITHDRAWN:
        return "withdrawn"
    return "begun" if delivery.state == BEGUN else "answered"


def _chain(asked: Cell, asker: Cell) -> list[Cell]:
    """Who waits for whom, from the asker over who is asked back to the asker; empty where it does not lead back."""
    asked_by = {asked: asker}
    seen = [asked]
    for cell in seen:
        for further in cell._extras.asks if cell._extras is not None else ():
            if further is asker:
                path = [cell]
                while path[-1] is not asked:
                    path.append(asked_by[path[-1]])
                return [asker, *reversed(path), asker]
            if further not in asked_by:
                asked_by[further] = cell
                seen.append(further)
    return []


def _speaker(who: Cell | Work) -> Cell | Work | None:
    """Who speaks: a task that a handler started in somebody else's nursery has only inherited the handler's name."""
    if isinstance(who, Cell) and not who._system.dispatcher.runs(trio.lowlevel.current_task(), who):
        return None
    return who


def _around(interceptor: Interceptor, ref: ActorRef, handle: Callable[[Any], Any]) -> Callable[[Any], Any]:
    if may_wait(interceptor):
        handle = _awaitable(handle)

    def handle_around(message: Any) -> Any:
        return interceptor(ref, message, handle)

    return handle_around


def _awaitable(handle: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """An interceptor that waits need not know whether what it hands the message on to does."""

    async def awaits(message: Any) -> Any:
        answered = handle(message)
        return await answered if isinstance(answered, Coroutine) else answered

    return awaits

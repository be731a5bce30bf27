"""The place of an actor: its mailbox, its incarnation, its children, and the step from message to answer.

The rules that `docs/runtime.md` states are kept here. Above all: one message at a time; an ask is settled exactly once; nothing is
awaited between taking a message and handing it over, so no cancellation can split that.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import trio
from trio.lowlevel import enable_ki_protection

from runtime.actor import STASHED, Actor, Reply, Stashed
from runtime.delivery import BEGUN, WITHDRAWN, Context, Delivery, Failed, Receipt
from runtime.dispatcher import Waiting, is_cancelled
from runtime.errors import AskCycle, Crashed, Failure, Overloaded, Unreachable
from runtime.kind import AWAITING, FREE, IDLE, QUEUED, RUNNING, STATES, STOPPED, STOPPING, SUSPENDED, Interceptor, Kind
from runtime.records import Command
from runtime.ref import ActorRef, Terminated
from runtime.supervision import Directive, Failures

if TYPE_CHECKING:
    from runtime.actors import Actors, Make

R = TypeVar("R")

CALLS_BETWEEN_CHECKPOINTS = 64
WAIT_SAMPLE = 15
"""A mask: of 16 messages, the waiting time of one is measured."""

working: ContextVar["Cell | Work | None"] = ContextVar("working", default=None)
"""Whose `async` handler or work this task runs."""


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
        "children",
        "failing",
        "failures",
        "handle",
        "parked",
        "reason",
        "restarting",
        "restarts",
        "stash",
        "stopped",
        "timers",
        "watchers",
        "withdrawn",
        "work",
    )

    def __init__(self) -> None:
        self.asks: list[Cell] = []
        self.awaited: Waiting | None = None
        self.children: dict[str | int, Cell] = {}
        self.failing = 0
        self.failures = Failures()
        self.handle: Callable[[Any], Any] | None = None
        self.parked: deque[Delivery] = deque()
        self.reason: str | None = None
        """Why it stops, once it is to stop."""
        self.restarting = False
        self.restarts = 0
        self.stash: deque[Delivery] = deque()
        self.stopped: list[trio.Event] = []
        self.timers: dict[Any, Any] = {}
        self.watchers: dict[Cell, Any] = {}
        self.withdrawn = 0
        self.work: set[trio.CancelScope] = set()


class Cell(ActorRef):
    """The place of an actor. What begins with an underscore belongs to the runtime."""

    __slots__ = (
        "_actor",
        "_extras",
        "_handled",
        "_kind",
        "_make",
        "_parent",
        "_peak",
        "_queue",
        "_state",
        "_system",
        "current",
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
        self.current: Delivery | None = None
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
    def crashes(self) -> int:
        """Its failures within the restart window."""
        return len(self._extras.failures) if self._extras is not None else 0

    @property
    def alive(self) -> bool:
        return self._state != STOPPED and (self._extras is None or self._extras.reason is None)

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
        asker = working.get()
        delivery = self._delivery(message, asker, context)
        delivery.asked = True
        if self._state == FREE:
            answered = self._perform(delivery)
            if answered is not None:
                system = self._system
                system.calls += 1
                if not system.calls % CALLS_BETWEEN_CHECKPOINTS:
                    await trio.lowlevel.checkpoint()
                if receipt is not None:
                    receipt.fate = "answered"
                if isinstance(answered, Failed):
                    raise answered.error
                answer: R = answered.value
                return answer
            self._await(delivery, asker, seconds)  # put aside
        else:
            self._await(delivery, asker, seconds)
            self._enqueue(delivery, wait=True)
        delivery.task = trio.lowlevel.current_task()
        try:
            await trio.lowlevel.wait_task_rescheduled(delivery.abort)
        finally:
            if receipt is not None:
                receipt.fate = _fate(delivery)
            if type(asker) is Cell:
                asker._extra().asks.remove(self)
        answer = delivery.answer()
        return answer  # noqa: RET504 - typed by its declaration

    def _delivery(self, message: Any, sender: "Cell | Work | None", context: Context | None) -> Delivery:
        system = self._system
        takes = self._kind.takes
        if takes and type(message) not in takes:
            raise Unreachable(f"{self.path} does not take {type(message).__name__}")
        system.messages += 1
        number = system.messages
        current = None if sender is None else sender.current
        if current is None:
            return Delivery(message, self, number, 0, number, context or system.context)
        return Delivery(message, self, number, current.id, current.root, context or current.context, current.deadline)

    def _await(self, delivery: Delivery, asker: "Cell | Work | None", seconds: float | None) -> None:
        """The asker will have to wait: until when, and for whom, unless that is for itself."""
        if self._state == STOPPED or (self._extras is not None and self._extras.reason is not None):
            raise Unreachable(f"{self.path} is gone")
        if type(asker) is Cell:
            self._check_cycle(asker)
            asker._extra().asks.append(self)
        self._system.deadlines.watch(delivery, seconds)

    def _check_cycle(self, asker: "Cell") -> None:
        """Whether this actor waits for the asker, however far round: then the ask would never be answered."""
        chain = [asker, self]
        if self is not asker and not _leads_to(self, asker, chain):
            return
        raise AskCycle(" → ".join(cell.path for cell in ([asker, asker] if self is asker else chain)))

    @enable_ki_protection
    def tell(self, message: Any, *, context: Context | None = None) -> None:
        delivery = self._delivery(message, self._system.running or working.get(), context)
        state = self._state
        if state <= IDLE:
            self._queue = queue = self._system.take_queue()
            queue.append(delivery)
            self._state = QUEUED
            self._system.dispatcher.add(self)
        else:
            self._enqueue(delivery, wait=False)

    async def tell_when_free(self, message: Any, *, context: Context | None = None) -> None:
        delivery = self._delivery(message, self._system.running or working.get(), context)
        if self._enqueue(delivery, wait=True):
            self._system.calls += 1
            if not self._system.calls % CALLS_BETWEEN_CHECKPOINTS:
                await trio.lowlevel.checkpoint()
            return
        delivery.task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(delivery.abort)
        if type(delivery.result) is Failed:
            raise delivery.result.error

    def _enqueue(self, delivery: Delivery, *, wait: bool) -> bool:
        """Appends where there is room, or parks the sender; returns whether there was room. Raises Overloaded where it may not wait."""
        if self._state == STOPPED or (self._extras is not None and self._extras.reason is not None):
            self._refuse(delivery, "stopped")
            return True
        queue = self._queue
        if queue is None:
            queue = self._queue = self._system.take_queue()
        extras, room = self._extras, self._kind.mailbox_max
        if extras is not None and extras.withdrawn * 8 >= room and len(queue) >= room:
            self._forget_withdrawn()
        if len(queue) < room and (extras is None or not extras.parked):
            queue.append(delivery)
            if not self._system.messages & WAIT_SAMPLE:
                delivery.queued_ns = perf_counter_ns()
            self._schedule()
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
        queue = self._queue
        if extras.withdrawn > 32 and queue is not None and extras.withdrawn * 2 > len(queue) + len(extras.parked):
            self._forget_withdrawn()

    def _forget_withdrawn(self) -> None:
        extras, queue = self._extra(), self._queue
        assert queue is not None
        living = [one for one in queue if one.state != WITHDRAWN]
        queue.clear()
        queue.extend(living)
        extras.parked = deque(one for one in extras.parked if one.state != WITHDRAWN)
        extras.withdrawn = 0
        self._admit()

    def _admit(self) -> None:
        """Lets parked senders in, first come first served, once half of the room is free."""
        extras, queue = self._extra(), self._queue
        if queue is None or len(queue) > self._kind.mailbox_max // 2:
            return
        while extras.parked and len(queue) < self._kind.mailbox_max:
            delivery = extras.parked.popleft()
            if delivery.state == WITHDRAWN:
                continue
            queue.append(delivery)
            if not delivery.asked and delivery.task is not None:
                task, delivery.task = delivery.task, None
                trio.lowlevel.reschedule(task)
        if queue:
            self._schedule()

    # ---- running

    def _perform(self, delivery: Delivery) -> Reply | Failed | None:
        """The whole step in the asker's own, for an idle actor with a plain handler; None where it was put aside."""
        system = self._system
        before = system.running
        system.running = self
        self._state = RUNNING
        self.current = delivery
        delivery.state = BEGUN
        began = perf_counter_ns()
        try:
            result = self._actor.handle(delivery.message)  # type: ignore[union-attr]
            if type(result) is not Reply:
                result = self._other(result)
        except BaseException as error:
            self._failed(delivery, error)
            result = delivery.result
        self._kind.handled_ns[(perf_counter_ns() - began).bit_length()] += 1
        self._handled += 1
        system.running = before
        self.current = None
        if self._state == RUNNING and not self._queue:
            self._state = FREE
        else:
            self._after_turn()
        answered: Reply | Failed | None = result
        return answered

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
        handled_ns = self._kind.handled_ns
        self._state = RUNNING
        if len(queue) > self._peak:
            self._peak = len(queue)
        system.running = self
        steps = 0
        then = perf_counter_ns()
        while queue and steps < quantum and self._state == RUNNING:
            delivery = queue.popleft()
            if delivery.state:
                self._extra().withdrawn -= 1
                continue
            steps += 1
            delivery.state = BEGUN
            self.current = delivery
            if delivery.queued_ns:
                self._kind.waited_ns[max(0, then - delivery.queued_ns).bit_length()] += 1
            try:
                result = handle(delivery.message)
                if type(result) is not Reply:
                    result = self._other(result)
                if result is not None and delivery.asked:
                    delivery.settle(result)
            except BaseException as error:
                self._failed(delivery, error)
            now = perf_counter_ns()
            handled_ns[(now - then).bit_length()] += 1
            then = now
        self.current = None
        self._handled += steps
        system.running = None
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
        working.set(self)
        while queue and steps < quantum and self._state == RUNNING:
            delivery = queue.popleft()
            if delivery.state:
                self._extra().withdrawn -= 1
                continue
            steps += 1
            delivery.state = BEGUN
            self.current = delivery
            began = perf_counter_ns()
            if delivery.queued_ns:
                self._kind.waited_ns[max(0, began - delivery.queued_ns).bit_length()] += 1
            coroutine: Coroutine[Any, Any, Any] = handle(delivery.message)
            try:
                trap = coroutine.send(None)
            except StopIteration as stop:
                self._ended(delivery, began, stop.value)
            except BaseException as error:
                self._kind.handled_ns[(perf_counter_ns() - began).bit_length()] += 1
                self._failed(delivery, error)
            else:
                self._handled += steps
                return self._wait(coroutine, trap, delivery, began)
        working.set(None)
        self.current = None
        self._handled += steps
        self._after_turn()
        return steps

    def _wait(self, coroutine: Coroutine[Any, Any, Any], trap: Any, delivery: Delivery, began: int) -> Waiting:
        self._state = AWAITING

        def ended(value: Any, error: BaseException | None) -> None:
            extras.awaited = None
            working.set(None)
            if error is None:
                self._ended(delivery, began, value)
            else:
                self._kind.handled_ns[(perf_counter_ns() - began).bit_length()] += 1
                self._failed(delivery, error)
            self.current = None
            if self._state == AWAITING:
                self._state = RUNNING
            self._after_turn()

        extras = self._extra()
        extras.awaited = waiting = Waiting(coroutine, trap, ended, self, began)
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
            if extras.parked:
                self._admit()
            if extras.reason is not None and self._state in (RUNNING, STOPPING):
                self._stop_children()
                return
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

    def _failed(self, delivery: Delivery | None, error: BaseException) -> None:
        """A refusal is told to the asker. Anything else is the actor's failure: told under an id, and its supervisor decides."""
        if isinstance(error, Failure):
            if delivery is None or not delivery.asked:
                self._system.refused(self, delivery, error)
            if delivery is not None:
                delivery.settle(Failed(error))
            return
        extras = self._extras
        if is_cancelled(error):
            # By a stop past its deadline, a restart, or the end of the whole system.
            if delivery is not None:
                why = (extras and extras.reason) or ("restarted" if extras and extras.restarting else "the system ends")
                delivery.settle(Failed(Unreachable(f"{self.path} was ended in the middle: {why}")))
            return
        what = type(delivery.message).__name__ if delivery is not None else "work"
        error_id = self._system.crashed(self, what, error)
        if delivery is not None:
            delivery.settle(Failed(Crashed(error_id)))
        if not isinstance(error, Exception):
            self._system.end(error)
            return
        self._supervise(error, error_id)

    def _supervise(self, error: BaseException, error_id: str) -> None:
        policy = self._kind.supervision
        directive = policy.directive(error)
        extras = self._extra()
        if directive is Directive.RESTART and extras.failures.add(self._system.now(), policy):
            directive = policy.exhausted
            error_id = f"{error_id}, failure {len(extras.failures)} in {policy.window_seconds:g} s"
        match directive:
            case Directive.RESUME:
                pass
            case Directive.RESTART:
                self._restart()
                if policy.together and self._parent is not None:
                    self._parent._restart_together(self)
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

    def _restart_together(self, failed: "Cell") -> None:
        for child in list(self._extra().children.values()):
            if child is not failed and child.alive and child._kind.supervision.together:
                child._restart()

    def _restart(self) -> None:
        """Ends this incarnation, children first; a handler that waits is ended with it."""
        extras = self._extra()
        if extras.reason is not None or extras.restarting:
            return
        extras.restarting = True
        extras.failing += 1
        extras.restarts += 1
        self._kind.restarts += 1
        self._system.alarms.forget(self)
        for scope in extras.work:
            scope.cancel()
        if self._state == AWAITING and extras.awaited is not None and extras.awaited.scope is not None:
            extras.awaited.scope.cancel()
        self._state = SUSPENDED
        for child in reversed(list(extras.children.values())):
            child.stop_soon("its parent restarts")
        self._proceed()

    def _proceed(self) -> None:
        """Goes on with a stop or a restart once no child is left and no handler waits."""
        extras = self._extra()
        if extras.children or extras.awaited is not None or self._state == STOPPED:
            return
        if extras.reason is not None:
            self._dead()
        elif extras.restarting:
            extras.restarting = False
            backoff = self._kind.supervision.backoff
            if backoff is not None:
                self._system.alarms.later(backoff.wait(extras.failing, self._system.chance), self._incarnate)
            elif self._actor is None:
                self._system.alarms.later(0.0, self._incarnate)  # its constructor fails: not in a loop
            else:
                self._incarnate()

    def _incarnate(self) -> None:
        """Makes the actor that lives here. A constructor that raises is a failure like any other."""
        extras = self._extras
        if self._state == STOPPED or (extras is not None and extras.reason is not None):
            return
        self._actor = None
        try:
            actor = self._system.make(self)
            self._kind.is_made(type(actor))
            if type(actor).started is not Actor.started:
                actor.started(self._system.clock.now())
        except Exception as error:
            self._supervise(error, self._system.crashed(self, "start", error))
            return
        self._actor = actor
        if self._kind.interceptors:
            self._extra().handle = self._intercepted(actor.handle)
        if extras is not None and extras.stash:
            self._unstash()
        if self._queue:
            self._state = QUEUED
            self._system.dispatcher.add(self)
        else:
            self._state = self._kind.rest

    def _intercepted(self, handle: Callable[[Any], Any]) -> Callable[[Any], Any]:
        for interceptor in reversed(self._kind.interceptors):
            handle = _around(interceptor, self, handle)
        return handle

    # ---- stopping

    def stop_soon(self, reason: str = "stopped") -> None:
        extras = self._extra()
        if self._state == STOPPED or extras.reason is not None:
            return
        extras.reason = reason
        self._system.alarms.forget(self)
        for scope in extras.work:
            scope.cancel()
        self._turn_away(reason)
        if self._state == RUNNING:
            self._state = STOPPING
        elif self._state != AWAITING:
            self._stop_children()

    async def stop(self, seconds: float | None = None, reason: str = "stopped") -> bool:
        if working.get() is self:
            raise AskCycle(f"{self.path} can't wait for its own end: stop_soon() asks for it")
        self.stop_soon(reason)
        if self._state == STOPPED:
            await trio.lowlevel.checkpoint()
            return True
        gone = trio.Event()
        self._extra().stopped.append(gone)
        with trio.move_on_after(self._system.stop_seconds_max if seconds is None else seconds):
            await gone.wait()
            return True
        self._cut_off()
        with trio.CancelScope(shield=True):
            await gone.wait()
        return False

    def _cut_off(self) -> None:
        """Cancels the handlers that still wait, here and below."""
        extras = self._extra()
        if extras.awaited is not None and extras.awaited.scope is not None:
            self._system.slow(self)
            extras.awaited.scope.cancel()
        for child in list(extras.children.values()):
            child._cut_off()

    def _stop_children(self) -> None:
        self._state = SUSPENDED
        for child in reversed(list(self._extra().children.values())):
            child.stop_soon("its parent stops")
        self._proceed()

    def _turn_away(self, reason: str) -> None:
        """Tells everybody who waits that nobody will come."""
        extras, queue = self._extra(), self._queue
        self._queue = None
        for delivery in [*extras.stash, *(queue or ()), *extras.parked]:
            self._refuse(delivery, reason)
        extras.stash.clear()
        extras.parked.clear()

    def _refuse(self, delivery: Delivery, reason: str) -> None:
        if delivery.state == WITHDRAWN:
            return
        if not delivery.asked:
            self._system.dead_letters.add(self, delivery, reason)
        delivery.settle(Failed(Unreachable(f"{self.path} is gone: {reason}")))

    def _dead(self) -> None:
        extras, actor = self._extra(), self._actor
        self._state, self._actor = STOPPED, None
        if actor is not None:
            try:
                actor.stopped()
            except Exception as error:
                self._system.crashed(self, "stop", error)
        for watcher, message in extras.watchers.items():
            watcher._notice(self, message, extras.reason or "")
        extras.watchers.clear()
        for gone in extras.stopped:
            gone.set()
        self._system.gone(self)
        parent = self._parent
        if parent is not None and parent._extras is not None:
            parent._extras.children.pop(self.name, None)
            parent._proceed()

    # ---- for `Here`

    def _extra(self) -> Extras:
        if self._extras is None:
            self._extras = Extras()
        return self._extras

    def _watch(self, ref: "Cell", message: Any) -> None:
        if ref._state == STOPPED:
            self._notice(ref, message, (ref._extras and ref._extras.reason) or "")
        else:
            ref._extra().watchers[self] = message

    def _notice(self, ref: "Cell", message: Any, reason: str) -> None:
        self._tick(Terminated(ref, reason) if message is None else message)

    def _tick(self, message: Any) -> Delivery:
        """Queues a timer's message."""
        self._system.messages += 1
        number = self._system.messages
        delivery = Delivery(message, self, number, 0, number, self._system.context)
        self._push(delivery)
        return delivery

    def _stash(self) -> Stashed:
        """Puts the current message aside. Raises Overloaded where too many are."""
        extras, delivery = self._extra(), self.current
        assert delivery is not None
        if len(extras.stash) >= self._kind.stash_max:
            raise Overloaded(f"{len(extras.stash)} messages are put aside in {self.path}")
        delivery.state = 0
        extras.stash.append(delivery)
        return STASHED

    def _unstash(self) -> None:
        """Puts what was put aside in front of what waits, in its order."""
        extras = self._extra()
        if self._queue is None:
            self._queue = self._system.take_queue()
        self._queue.extendleft(reversed(extras.stash))
        extras.stash.clear()
        if self._queue:
            self._schedule()

    async def _do(self, work: Callable[..., Awaitable[None]], cause: Work, arguments: tuple[Any, ...]) -> None:
        """Work beside the actor: it ends with the incarnation, and its failure is the actor's."""
        extras = self._extra()
        working.set(cause)
        with trio.CancelScope() as scope:
            extras.work.add(scope)
            try:
                await work(*arguments)
            except Exception as error:
                self._failed(None, error)
            finally:
                extras.work.discard(scope)


NOTHING = Reply(None)


def _fate(delivery: Delivery) -> Any:
    if delivery.state == WITHDRAWN:
        return "withdrawn"
    return "begun" if delivery.state == BEGUN else "answered"


def _leads_to(cell: Cell, asker: Cell, chain: list[Cell]) -> bool:
    for asked in cell._extras.asks if cell._extras is not None else ():
        chain.append(asked)
        if asked is asker or _leads_to(asked, asker, chain):
            return True
        chain.pop()
    return False


def _around(interceptor: Interceptor, ref: ActorRef, handle: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def handle_around(message: Any) -> Any:
        return interceptor(ref, message, handle)

    return handle_around

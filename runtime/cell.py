"""The place of an actor, as a sender and the dispatcher see it: ask and tell, and the step from message to answer.

The rules that `docs/runtime.md` states are kept here. Above all: one message at a time; an ask is settled exactly once; nothing is
awaited between taking a message and handing it over, so no cancellation can split that. How messages wait is in `mailbox.py`,
how an actor fails, restarts and ends in `life.py`.
"""

from collections.abc import Coroutine
from contextvars import Context as Variables
from time import perf_counter_ns
from typing import Any, TypeVar

import trio
from trio.lowlevel import enable_ki_protection

from runtime.actor import STASHED, Reply
from runtime.delivery import BEGUN, WITHDRAWN, Context, Delivery, Failed, Receipt
from runtime.dispatcher import Waiting, without_cancelled
from runtime.errors import AskCycle, Crashed, Failure, Unreachable
from runtime.kind import AWAITING, FREE, IDLE, QUEUED, RUNNING, STOPPED
from runtime.life import Life, Work, speaker, worker, working
from runtime.mailbox import NOTHING
from runtime.records import Command

R = TypeVar("R")

BARE = Variables()
"""What an `async` handler begins with: no context variable is set."""


class Cell(Life):
    """The place of an actor. What begins with an underscore belongs to the runtime."""

    __slots__ = ()

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
        asker = worker()
        if asker is not None:
            asker = speaker(asker)
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
        asker: Life | Work | None,
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

    def _heard(self, delivery: Delivery, asker: Life | Work | None, receipt: Receipt | None) -> None:
        """The asker waits no more."""
        if receipt is not None:
            receipt.fate = _fate(delivery)
        if isinstance(asker, Life):
            asker._extra().asks.remove(self)

    def _await(self, delivery: Delivery, asker: Life | Work | None, seconds: float | None) -> None:
        """The asker will have to wait: until when, and for whom, unless that is for itself."""
        if self._state == STOPPED or (self._extras is not None and self._extras.reason is not None):
            raise Unreachable(f"{self.path} is gone")
        if seconds is not None and seconds != seconds:
            raise ValueError("an ask for nan seconds would never end")
        if isinstance(asker, Life):
            self._check_cycle(asker)
            asker._extra().asks.append(self)
            if asker.current is not None:
                delivery.deadline = asker.current.deadline  # whoever waits for the asker waits for this too
        self._system.deadlines.watch(delivery, seconds)

    def _check_cycle(self, asker: Life) -> None:
        """Whether this actor waits for the asker, however far round: then the ask would never be answered."""
        chain = [asker, asker] if self is asker else _chain(self, asker)
        if chain:
            raise AskCycle(" → ".join(cell.path for cell in chain))

    @enable_ki_protection
    def tell(self, message: Any, *, context: Context | None = None) -> None:
        sender = self._system.running or worker()
        if sender is not None and sender is not self._system.running:
            sender = speaker(sender)
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
        sender = worker()
        if sender is not None:
            sender = speaker(sender)
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
    async def _wait_for_room(self, delivery: Delivery, sender: Life | Work | None) -> None:
        """A sender that is an actor's handler waits like an asker: in a circle nobody would ever make room."""
        waits = None
        if isinstance(sender, Life):
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


def _fate(delivery: Delivery) -> Any:
    if delivery.state == WITHDRAWN:
        return "withdrawn"
    return "begun" if delivery.state == BEGUN else "answered"


def _chain(asked: Life, asker: Life) -> list[Life]:
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

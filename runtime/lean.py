"""The place of an actor whose times nobody wants: how long its messages wait and take is not measured.

For `Props(telemetry=False)`. A class of its own, so that nobody else pays for the question. Of a coroutine as handler the times are
measured all the same: beside what it costs to step one, they are nothing.
"""

from trio.lowlevel import enable_ki_protection

from runtime.actor import Reply
from runtime.cell import NOTHING, Cell
from runtime.delivery import BEGUN, Delivery, Failed
from runtime.dispatcher import Waiting
from runtime.kind import FREE, QUEUED, RUNNING


class LeanCell(Cell):
    """A cell without the two readings of the clock around each plain handler."""

    __slots__ = ()

    def _perform(self, delivery: Delivery) -> Reply | Failed | None:
        system = self._system
        before = system.running
        system.running = self
        self._state = RUNNING
        self.current = delivery
        try:
            result = self._actor.handle(delivery.message)  # type: ignore[union-attr]
            if type(result) is not Reply:
                result = self._other(result)
        except BaseException as error:
            self._failed(delivery, error)
            result = delivery.result
        self._handled += 1
        system.running = before
        self.current = None
        if self._state == RUNNING and not self._queue:
            self._state = FREE
        else:
            self._after_turn()
        return result

    @enable_ki_protection
    def turn(self, quantum: int) -> int | Waiting:
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
            self.current = delivery
            try:
                result = handle(delivery.message)
                if type(result) is not Reply:
                    result = NOTHING if result is None else self._other(result)
                if result is not None and delivery.asked:
                    delivery.settle(result)
            except BaseException as error:
                self._failed(delivery, error)
        self.current = None
        self._handled += steps
        system.running = None
        self._after_turn()
        return steps

"""A bounded queue of messages with a place to wait for room, and the envelope in which a message travels."""

from collections import deque
from typing import Any

import outcome
import trio

from runtime.errors import NotAnswered, Overloaded
from runtime.journal import Context
from runtime.records import Command


class Envelope:
    """A message, why it was sent, and who waits for the answer: settled once, by the answer, a failure or its withdrawal."""

    __slots__ = ("_task", "begun", "context", "message", "result")

    def __init__(self, message: Command[Any], context: Context) -> None:
        self.message = message
        self.context = context
        self.begun = False
        self.result: outcome.Outcome[Any] | None = None
        self._task: trio.lowlevel.Task | None = None

    def settle(self, result: outcome.Outcome[Any]) -> None:
        """Tells whoever waits; nobody may, or not any more."""
        if self.result is not None:
            return
        self.result = result
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)

    def expire(self) -> None:
        """The deadline has passed: withdrawn if it was not begun; if it was, it completes without anybody waiting."""
        what = type(self.message).__name__
        detail = f"{what} had begun and will complete" if self.begun else f"{what} was withdrawn before it had begun"
        self.settle(outcome.Error(NotAnswered(detail, begun=self.begun)))

    async def wait(self) -> Any:
        """The answer. A caller that is cancelled leaves; its message is withdrawn if it has not begun."""
        if self.result is None:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._leave)
        assert self.result is not None
        return self.result.unwrap()

    def _leave(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        self.expire()
        return trio.lowlevel.Abort.SUCCEEDED


class Mailbox:
    """First in, first out. Senders that found no room are admitted in their order when half of it is free; newcomers can't overtake."""

    __slots__ = ("_parked", "_queue", "messages_max", "peak")

    def __init__(self, messages_max: int) -> None:
        self.messages_max = messages_max
        self.peak = 0
        self._queue: deque[Any] = deque()
        self._parked: deque[tuple[Envelope, trio.Event]] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def full(self) -> bool:
        """Whether a newcomer would have to wait."""
        return bool(self._parked) or len(self._queue) >= self.messages_max

    def put(self, envelope: Envelope) -> None:
        """Appends where there is room; raises Overloaded where there is none."""
        if self.full:
            raise Overloaded(f"{len(self._queue)} messages wait already")
        self._append(envelope)

    async def put_when_free(self, envelope: Envelope) -> None:
        """Appends as soon as there is room. A sender that is cancelled before leaves nothing behind."""
        if not self.full:
            self._append(envelope)
            return
        place = (envelope, trio.Event())
        self._parked.append(place)
        try:
            await place[1].wait()
        except BaseException:
            self._parked.remove(place)
            raise

    def _append(self, envelope: Envelope) -> None:
        self._queue.append(envelope)
        self.peak = max(self.peak, len(self._queue))

    def push(self, signal: object) -> None:
        """Appends one of the runtime's own signals, of which there is at most one at a time: it needs no room."""
        self._queue.append(signal)

    def clear(self) -> list[Any]:
        """Takes everything out, and whoever waits for room with it."""
        taken = [*self._queue, *(envelope for envelope, _ in self._parked)]
        for _, admitted in self._parked:
            admitted.set()
        self._queue.clear()
        self._parked.clear()
        return taken

    def pop(self) -> Any:
        """The next message or signal."""
        item = self._queue.popleft()
        if self._parked and len(self._queue) <= self.messages_max // 2:
            # Put in here, not by the senders: the tasks of one tick run in no particular order.
            while self._parked and len(self._queue) < self.messages_max:
                envelope, admitted = self._parked.popleft()
                self._append(envelope)
                admitted.set()
        return item

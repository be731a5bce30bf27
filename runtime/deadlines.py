"""Until when askers wait: looked at together every SWEEP_SECONDS, since a timer for each ask would cost more than the ask."""

import heapq
from collections import deque

import trio

from runtime.delivery import SETTLED, Delivery

SWEEP_SECONDS = 0.05
SETTLED_KEPT_MAX = 1024
"""Settled deliveries behind one that still waits are forgotten once they are so many, and half of all."""


class Deadlines:
    """Deliveries by their limit: those of one limit fall due in the order in which they came. Inherited deadlines are on a heap."""

    def __init__(self, seconds_max: float) -> None:
        self.seconds_max = seconds_max
        self._by_seconds: dict[float, deque[Delivery]] = {}
        self._inherited: list[tuple[float, int, Delivery]] = []
        self._living_by_seconds: dict[float | None, int] = {}
        self._last: deque[Delivery] = deque()
        self._last_seconds = -1.0
        """The limit that was asked for last, and its deliveries."""
        self._arrived = trio.Event()
        self._now = trio.current_time

    def __len__(self) -> int:
        return len(self._inherited) + sum(len(queue) for queue in self._by_seconds.values())

    @property
    def are_watched(self) -> bool:
        """Whether somebody waits, or has since the last sweep."""
        return bool(self._by_seconds or self._inherited)

    def watch(self, delivery: Delivery, seconds: float | None) -> None:
        """Has the asker leave after `seconds` (by default `seconds_max`), or when its own asker's deadline has come."""
        if seconds is None:
            seconds = self.seconds_max
        deadline = self._now() + seconds
        if delivery.deadline and delivery.deadline < deadline:
            heapq.heappush(self._inherited, (delivery.deadline, delivery.id, delivery))
            self._arrived.set()
            return
        delivery.deadline = deadline
        queue = self._last
        if seconds != self._last_seconds:
            queue = self._of(seconds)
        queue.append(delivery)

    def _of(self, seconds: float) -> deque[Delivery]:
        queue = self._by_seconds.get(seconds)
        if queue is None:
            queue = self._by_seconds[seconds] = deque()
            self._arrived.set()
        self._last, self._last_seconds = queue, seconds
        return queue

    def forget_settled(self) -> None:
        """Forgets the first ones of the limit that was asked for last, up to one that still waits: kept until the next sweep, thousands of
        them would push everything else out of the processor's cache (a twentieth of an ask)."""
        queue = self._last
        while queue and queue[0].state >= SETTLED:
            queue.popleft()

    async def run(self) -> None:
        """Sweeps until cancelled; sleeps while nobody waits."""
        self._now = trio.lowlevel.current_clock().current_time  # asked for at every ask: without the way round
        while True:
            if not (self._by_seconds or self._inherited):
                self._arrived = trio.Event()
                await self._arrived.wait()
            await trio.sleep(SWEEP_SECONDS)
            self.sweep(trio.current_time())

    def sweep(self, now: float) -> None:
        """Forgets what was settled, and ends what is due."""
        for seconds, queue in list(self._by_seconds.items()):
            while queue and ((is_settled := queue[0].state >= SETTLED) or queue[0].deadline <= now):
                delivery = queue.popleft()
                if not is_settled:
                    delivery.leave()
            if self._has_grown(seconds, len(queue)):
                living = [one for one in queue if one.state < SETTLED]
                queue.clear()
                queue.extend(living)
                self._living_by_seconds[seconds] = len(queue)
            if not queue:
                if queue is self._last:
                    self._last_seconds = -1.0
                del self._by_seconds[seconds]
                self._living_by_seconds.pop(seconds, None)
        heap = self._inherited
        while heap and (heap[0][2].state >= SETTLED or heap[0][0] <= now):
            heapq.heappop(heap)[2].leave()
        if self._has_grown(None, len(heap)):
            self._inherited = [entry for entry in heap if entry[2].state < SETTLED]
            heapq.heapify(self._inherited)
            self._living_by_seconds[None] = len(self._inherited)

    def _has_grown(self, seconds: float | None, count: int) -> bool:
        """Whether there are twice as many as were alive when it was last looked at."""
        return count > SETTLED_KEPT_MAX + 2 * self._living_by_seconds.get(seconds, 0)

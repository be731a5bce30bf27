"""Until when askers wait: looked at together every SWEEP_SECONDS, since a timer for each ask would cost more than the ask."""

import heapq
from collections import deque

import trio

from runtime.delivery import SETTLED, Delivery

SWEEP_SECONDS = 0.05


class Deadlines:
    """Deliveries by their limit: those of one limit fall due in the order in which they came. Inherited deadlines are on a heap."""

    def __init__(self, seconds_max: float) -> None:
        self.seconds_max = seconds_max
        self._by_seconds: dict[float, deque[Delivery]] = {}
        self._inherited: list[tuple[float, int, Delivery]] = []

    def watch(self, delivery: Delivery, seconds: float | None) -> None:
        """Has the asker leave after `seconds` (by default `seconds_max`), or when its own asker's deadline has come."""
        if seconds is None:
            seconds = self.seconds_max
        deadline = trio.current_time() + seconds
        if delivery.deadline and delivery.deadline < deadline:
            heapq.heappush(self._inherited, (delivery.deadline, delivery.id, delivery))
            return
        delivery.deadline = deadline
        queue = self._by_seconds.get(seconds)
        if queue is None:
            queue = self._by_seconds[seconds] = deque()
        queue.append(delivery)

    async def run(self) -> None:
        """Sweeps until cancelled."""
        while True:
            await trio.sleep(SWEEP_SECONDS)
            self.sweep(trio.current_time())

    def sweep(self, now: float) -> None:
        """Forgets what was settled, and ends what is due."""
        for seconds, queue in list(self._by_seconds.items()):
            while queue and (queue[0].state >= SETTLED or queue[0].deadline <= now):
                queue.popleft().leave()
            if not queue:
                del self._by_seconds[seconds]
        heap = self._inherited
        while heap and (heap[0][2].state >= SETTLED or heap[0][0] <= now):
            heapq.heappop(heap)[2].leave()

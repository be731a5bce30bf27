"""A node's threads and memory for kernels: a job is given all that it needs at once, tenants in turn, each one's jobs in their order.

Nobody is passed over: where the next job needs more than is free, those that need less wait with it, or it would wait for ever. What a
job turns out not to need of its memory it gives back; it never asks for more, so no two can wait for each other.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

MEMORY_BYTES = 2 * 2**30


class Share:
    """What a job needs, and has from when it is `given`."""

    def __init__(self, threads: int, memory_bytes: int, give_back: Callable[[int], None]) -> None:
        self.threads = threads
        self.memory_bytes = memory_bytes
        self.given = trio.Event()
        self._give_back = give_back

    def shrink(self, memory_bytes: int) -> None:
        """It needs no more than so much of its memory; others may have the rest."""
        if (rest := self.memory_bytes - memory_bytes) > 0:
            self.memory_bytes = memory_bytes
            self._give_back(rest)


class KernelThreads:
    """Shared by the solvers of all tenants of a node."""

    def __init__(self, total: int, memory_bytes: int = MEMORY_BYTES) -> None:
        self.total = total
        self.free = total
        self.memory_bytes = memory_bytes
        self.memory_bytes_free = memory_bytes
        self.limiter = trio.CapacityLimiter(total)
        """For the threads from which jobs run: there are never more jobs than threads."""
        self._waiting: dict[str, deque[Share]] = {}
        """By tenant; the first is the next to be given something."""

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def taken(self, tenant: str, threads: int, memory_bytes: int = 0) -> AsyncIterator[Share]:
        """So many threads, at most `total`, and so much memory, until the end of the block; of too much memory all."""
        assert 1 <= threads <= self.total, f"{threads} threads of {self.total}"
        wait = Share(threads, min(memory_bytes, self.memory_bytes), self._take_back)
        self._waiting.setdefault(tenant, deque()).append(wait)
        self._give()
        try:
            await wait.given.wait()
            yield wait
        finally:
            if wait.given.is_set():
                self.free += threads
                self.memory_bytes_free += wait.memory_bytes
            else:
                self._forget(tenant, wait)
            self._give()

    def _give(self) -> None:
        while self._waiting:
            tenant = next(iter(self._waiting))
            waits = self._waiting[tenant]
            if waits[0].threads > self.free or waits[0].memory_bytes > self.memory_bytes_free:
                return
            wait = waits.popleft()
            del self._waiting[tenant]
            if waits:
                self._waiting[tenant] = waits  # behind the others
            self.free -= wait.threads
            self.memory_bytes_free -= wait.memory_bytes
            wait.given.set()

    def _take_back(self, memory_bytes: int) -> None:
        self.memory_bytes_free += memory_bytes
        self._give()

    def _forget(self, tenant: str, wait: Share) -> None:
        waits = self._waiting[tenant]
        waits.remove(wait)
        if not waits:
            del self._waiting[tenant]

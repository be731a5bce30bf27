"""A node's threads for kernels: a job is given all of its own at once, tenants in turn, each one's jobs in their order.

Nobody is passed over: where the next job needs more than are free, those that need fewer wait with it, or it would wait for ever.
"""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


class _Wait:
    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.given = trio.Event()


class KernelThreads:
    """Shared by the solvers of all tenants of a node."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.free = total
        self.limiter = trio.CapacityLimiter(total)
        """For the threads from which jobs run: there are never more jobs than threads."""
        self._waiting: dict[str, deque[_Wait]] = {}
        """By tenant; the first is the next to be given something."""

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def taken(self, tenant: str, threads: int) -> AsyncIterator[None]:
        """So many of them, at most `total`, until the end of the block."""
        assert 1 <= threads <= self.total, f"{threads} threads of {self.total}"
        wait = _Wait(threads)
        self._waiting.setdefault(tenant, deque()).append(wait)
        self._give()
        try:
            await wait.given.wait()
            yield
        finally:
            if wait.given.is_set():
                self.free += threads
            else:
                self._forget(tenant, wait)
            self._give()

    def _give(self) -> None:
        while self._waiting:
            tenant = next(iter(self._waiting))
            waits = self._waiting[tenant]
            if waits[0].threads > self.free:
                return
            wait = waits.popleft()
            del self._waiting[tenant]
            if waits:
                self._waiting[tenant] = waits  # behind the others
            self.free -= wait.threads
            wait.given.set()

    def _forget(self, tenant: str, wait: _Wait) -> None:
        waits = self._waiting[tenant]
        waits.remove(wait)
        if not waits:
            del self._waiting[tenant]

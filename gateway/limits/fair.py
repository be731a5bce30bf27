"""Fair shares under overload: while several tenants ask and requests come faster than they are begun, tenants take turns.

A node is one event loop: what one tenant's requests cost, all others wait for. So each pass of the loop begins a few requests, the fewer
the longer they take; whoever comes beyond those waits in a line of their tenant, and each pass takes the lines in rotation. A tenant that
asks for little is in the next pass whatever others send, and one that floods waits for itself. While only one tenant asks there is nothing
to share, and this costs one look at the clock.
"""

from collections import OrderedDict, deque
from time import perf_counter

import trio

from runtime.errors import Overloaded

STARTS = 3
"""Requests that are begun at most in a pass, or within SLICE_SECONDS while nobody waits."""
SLICE_SECONDS = 0.001
PASS_SECONDS = 0.002
"""After a pass that took longer, the next begins one request less, but one."""
CONTEST_SECONDS = 2.0
"""For so long after two tenants have asked one after the other they are taken to compete."""
LINE_MAX = 400
"""Requests of one tenant that may wait: those beyond are told to come again."""


class FairTurns:
    """Begins the requests of one node, by tenants in rotation. `run` must run beside."""

    def __init__(self, starts: int = STARTS) -> None:
        self._starts_max = self._starts = self._left = starts
        self._slice_ends = self._contested_until = 0.0
        self._last = ""
        self._lines: OrderedDict[str, deque[trio.lowlevel.Task]] = OrderedDict()
        self._stirred = trio.Event()
        self.waited = 0
        """Requests that have had to wait."""

    async def begin(self, tenant: str) -> None:
        """Returns when a request of this tenant may begin. Raises Overloaded where too many of the tenant wait."""
        if not self.begins_now(tenant):
            await self._wait(tenant)

    def begins_now(self, tenant: str) -> bool:
        """Whether a request of this tenant may begin here and now; where it may not, `begin` has it wait."""
        now = perf_counter()
        if tenant != self._last:
            if self._last:
                self._contested_until = now + CONTEST_SECONDS
            self._last = tenant
        if now > self._contested_until and not self._lines:
            return True
        if now > self._slice_ends:
            self._slice_ends, self._left = now + SLICE_SECONDS, self._starts
        if self._left and not self._lines:
            self._left -= 1
            return True
        return False

    async def _wait(self, tenant: str) -> None:
        line = self._lines.setdefault(tenant, deque())
        if len(line) >= LINE_MAX:
            raise Overloaded(f"{LINE_MAX} requests of this tenant wait", retry_seconds=1.0)
        self.waited += 1
        task = trio.lowlevel.current_task()
        line.append(task)
        self._stirred.set()

        def leave(_: object) -> trio.lowlevel.Abort:
            line.remove(task)
            if not line:
                del self._lines[tenant]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(leave)

    async def run(self) -> None:
        """With each pass of the event loop begins the requests whose turn it is, until cancelled."""
        while True:
            await self._stirred.wait()
            while self._lines:
                began = perf_counter()
                for _ in range(self._starts):
                    if not self._lines:
                        break
                    trio.lowlevel.reschedule(self._next())
                await trio.lowlevel.checkpoint()
                is_long = perf_counter() - began > PASS_SECONDS
                self._starts = max(1, self._starts - 1) if is_long else min(self._starts + 1, self._starts_max)
            self._stirred = trio.Event()

    def _next(self) -> trio.lowlevel.Task:
        """Whose turn it is; their tenant goes to the end of the rotation."""
        tenant, line = next(iter(self._lines.items()))
        task = line.popleft()
        if line:
            self._lines.move_to_end(tenant)
        else:
            del self._lines[tenant]
        return task

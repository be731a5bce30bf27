"""Clients that wait for what happens to one thing: each is woken by the records of its own stream, and by nothing else.

One task follows the journal for all of them, while there are any. Nobody asks the database until something has happened; who leaves is
waited for no more.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import trio
from starlette.requests import Request

from gateway.api import conditional
from gateway.api.preferences import preferences
from gateway.api.unless import unless
from gateway.identity.auth import check_still
from runtime.records import Recorded
from runtime.system import System

if TYPE_CHECKING:
    from gateway.api.calls import Call

WAITS_OF_TENANT_MAX = 128
WAITS_MAX = 512
"""Of all tenants of a journal. Who comes beyond these is answered at once."""

LOOK_RECORDS_MAX = 5_000
IDLE_SECONDS = 10.0

T = TypeVar("T")
Wanted = Callable[[Recorded], bool]


class Watch:
    """One who waits for a record of a stream."""

    def __init__(self, stream: str, wanted: Wanted) -> None:
        self.stream = stream
        self._wanted = wanted
        self._seen = trio.Event()

    def tell(self, record: Recorded) -> None:
        """Wakes whoever waits, if this is what for."""
        if self._wanted(record):
            self.wake()

    def wake(self) -> None:
        self._seen.set()

    async def next(self) -> None:
        """Waits until something was recorded since the last time."""
        await self._seen.wait()
        self._seen = trio.Event()


class Waits:
    """All who wait for something of one journal."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._watches: dict[str, set[Watch]] = {}
        self._count = 0
        self._count_by_tenant: Counter[str] = Counter()
        self._follows = False

    def __len__(self) -> int:
        return self._count

    @contextmanager
    def watching(self, tenant: str, stream: str, wanted: Wanted) -> Iterator[Watch | None]:
        """Wakes from now on; None where too many wait already, of the tenant or in all."""
        if self._count >= WAITS_MAX or self._count_by_tenant[tenant] >= WAITS_OF_TENANT_MAX:
            yield None
            return
        watch = Watch(stream, wanted)
        self._watches.setdefault(stream, set()).add(watch)
        self._count += 1
        self._count_by_tenant[tenant] += 1
        if not self._follows:
            self._follows = True
            self._system.start(self._follow, self._system.journal.position)
        try:
            yield watch
        finally:
            self._count -= 1
            self._count_by_tenant[tenant] -= 1
            self._count_by_tenant += Counter()  # those with none are not kept
            self._watches[stream].discard(watch)
            if not self._watches[stream]:
                del self._watches[stream]

    async def _follow(self, after: int) -> None:
        journal = self._system.journal
        try:
            while self._watches:
                reached = await journal.wait_past(after, IDLE_SECONDS)
                self._tell(journal.recent(after, LOOK_RECORDS_MAX))
                after = reached
        finally:
            self._follows = False

    def _tell(self, recent: Sequence[Recorded] | None) -> None:
        if recent is None:  # more has come than is looked through: each looks for itself
            for watches in self._watches.values():
                for watch in watches:
                    watch.wake()
            return
        for record in recent:
            for watch in self._watches.get(record.stream, ()):
                watch.tell(record)


async def awaited(call: "Call", stream: str, wanted: Wanted, look: Callable[[], Awaitable[T | None]]) -> T | None:
    """What `look` finds at last; None where the caller does not wait, where too many do, and when his time is up. Raises
    `HTTPException` where what he came with was revoked meanwhile."""
    seconds = preferences(call.request.scope).wait
    if not seconds:
        return None
    with call.node.waits.watching(call.tenant, stream, wanted) as watch:
        if watch is None:
            return None
        call.applied(f"wait={seconds}")

        async def go_on() -> T:
            while True:
                found = await look()
                if found is not None:
                    return found
                await watch.next()

        found = None
        with trio.move_on_after(seconds):
            found = await unless(
                partial(_until_gone, call.request), go_on
            )  # what is waited for is of no use to who left
    await check_still(call.request, call.request.app.state.node, call.principal)
    return found


async def changed(call: "Call", position: int) -> bool:
    """Waits until what the call reads is not any more what it was at a position, or its time is up; tells whether it has changed."""

    async def look() -> bool | None:
        return True if not conditional.holds(call, position) else None

    await awaited(call, conditional.stream_of(call), lambda record: True, look)
    return not conditional.holds(call, position)


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

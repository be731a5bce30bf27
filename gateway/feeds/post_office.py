"""Brings each agent's websocket the records that may concern it, reading the log once for all of them.

A socket that is behind reads the log by itself; once it has caught up, a box is kept for it. Whoever does not empty its
box in time loses the box, not a record: it reads the log again from where it stands.
"""

from collections.abc import AsyncGenerator, Callable, Iterable

import trio

from aggregates.values.roles import Principal
from gateway.feeds.live import PAGE
from runtime.journal import Journal
from runtime.records import Recorded

BOX_RECORDS_MAX = 1000
TOLD_IN_ROW = 64
"""After a record that so many were told at once, others get their turn."""

Addressees = Callable[[Recorded], Iterable[str] | None]
"""The agents that a record may concern; None: any of its tenant."""

TellNow = Callable[[Recorded], bool]
"""Tells a socket's client what a record has to say, where that takes no wait; whether it was done."""


class Box:
    """What waits for one socket, all past `after`."""

    def __init__(self, after: int, tell_now: TellNow, beat_seconds: float) -> None:
        self.after = after
        self.beat_seconds = beat_seconds
        self._tell_now = tell_now
        self._is_awaited = False
        self._is_quiet = False
        self.records: list[Recorded] = []
        self.arrived = trio.Event()
        self.is_lost = False

    def put(self, recorded: Recorded) -> None:
        """Has a record told at once where nothing is to be told before it, else adds it; a full box is lost with all that is in it.

        To wake a task for each of hundreds takes several times as long as what it has to say.
        """
        if self._is_awaited and not self.records:
            if recorded.position <= self.after:
                return
            if self._tell_now(recorded):
                self.after = recorded.position
                self._is_quiet = False
                return
        if len(self.records) >= BOX_RECORDS_MAX:
            self.is_lost = True
        else:
            self.records.append(recorded)
        self.arrived.set()

    def beat(self) -> None:
        """Half of `beat_seconds` have passed: whoever has heard nothing since the last time looks up."""
        if self._is_quiet:
            self.arrived.set()
        self._is_quiet = True

    async def empty(self) -> list[Recorded]:
        """What has arrived; nothing, when nothing does for up to `beat_seconds`."""
        self._is_awaited, self._is_quiet = True, False
        await self.arrived.wait()
        self._is_awaited = False
        taken, self.records = self.records, []
        self.arrived = trio.Event()
        return taken


class PostOffice:
    """The boxes of all agents' sockets of a node."""

    def __init__(self, journal: Journal, addressees: Addressees) -> None:
        self.position = journal.position
        self._journal = journal
        self._addressees = addressees
        self._boxes_by_tenant: dict[str, dict[str, Box]] = {}
        self._opened = trio.Event()

    async def run(self) -> None:
        """Reads the log and fills the boxes, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._beat)
            await self._follow()

    async def _beat(self) -> None:
        """One watch over all: a timer of its own costs each as much as what it is told, and few are quiet where much happens."""
        while True:
            boxes = [box for boxes in self._boxes_by_tenant.values() for box in boxes.values()]
            if not boxes:
                self._opened = trio.Event()
                await self._opened.wait()
                continue
            for box in boxes:
                box.beat()
            await trio.sleep(min(box.beat_seconds for box in boxes) / 2)

    async def _follow(self) -> None:
        while True:
            await self._journal.wait_past(self.position)
            for recorded in await self._journal.read(self.position, PAGE):
                count = self._deliver(recorded)
                self.position = recorded.position
                if count >= TOLD_IN_ROW:
                    await trio.lowlevel.checkpoint()

    def _deliver(self, recorded: Recorded) -> int:
        """Puts a record into all boxes that it is for; into how many."""
        addressees = self._addressees(recorded)
        boxes = self._boxes_by_tenant.get(recorded.meta.tenant)
        if not boxes:
            return 0
        found = list(boxes.values() if addressees is None else filter(None, map(boxes.get, addressees)))
        for box in found:
            box.put(recorded)
        return len(found)

    async def collect(
        self, principal: Principal, after: int, beat_seconds: float, tell_now: TellNow = lambda recorded: False
    ) -> AsyncGenerator[tuple[int, list[Recorded]], None]:
        """What may concern an agent past a position, for ever, each time with the position that this reaches; but not what was told at
        once, while somebody waited here for more."""
        while True:
            page = await self._journal.read(after, PAGE)
            if page:
                after = page[-1].position
                yield after, [record for record in page if record.meta.tenant == principal.tenant]
            elif self.position <= after:
                # From here to the box no other task runs: whatever is delivered past `after` finds the box.
                box = self._open(principal, Box(after, tell_now, beat_seconds))
                try:
                    while not box.is_lost:
                        records = await box.empty()
                        if not box.is_lost:
                            fresh = [record for record in records if record.position > box.after]
                            after = box.after = max(box.after, self.position)
                            yield after, fresh
                    after = box.after
                finally:
                    self._close(principal, box)

    def _open(self, principal: Principal, box: Box) -> Box:
        self._boxes_by_tenant.setdefault(principal.tenant, {})[principal.agent_id] = box
        self._opened.set()
        return box

    def _close(self, principal: Principal, box: Box) -> None:
        boxes = self._boxes_by_tenant.get(principal.tenant, {})
        if boxes.get(principal.agent_id) is box:
            del boxes[principal.agent_id]
        if not boxes:
            self._boxes_by_tenant.pop(principal.tenant, None)

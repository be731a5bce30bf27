"""Brings each agent's websocket the records that may concern it, reading the log once for all of them.

A socket that is behind reads the log by itself; once it has caught up, a box is kept for it. Whoever does not empty its
box in time loses the box, not a record: it reads the log again from where it stands.
"""

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing

import trio

from aggregates.values.roles import Principal
from gateway.feeds.live import PAGE, follow
from runtime.journal import Journal
from runtime.records import Recorded

BOX_RECORDS_MAX = 1000

Addressees = Callable[[Recorded], Iterable[str] | None]
"""The agents that a record may concern; None: any of its tenant."""


class Box:
    """What waits for one socket."""

    def __init__(self) -> None:
        self.records: list[Recorded] = []
        self.arrived = trio.Event()
        self.is_lost = False

    def put(self, recorded: Recorded) -> None:
        """Adds a record; a full box is lost with all that is in it."""
        if len(self.records) >= BOX_RECORDS_MAX:
            self.is_lost = True
        else:
            self.records.append(recorded)
        self.arrived.set()

    async def empty(self, seconds: float) -> list[Recorded]:
        """What has arrived; nothing, when nothing does for so long."""
        with trio.move_on_after(seconds):
            await self.arrived.wait()
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

    async def run(self) -> None:
        """Reads the log and fills the boxes, until cancelled."""
        async with aclosing(follow(self._journal, self.position)) as pages:
            async for position, records in pages:
                for recorded in records:
                    self._deliver(recorded)
                self.position = position

    def _deliver(self, recorded: Recorded) -> None:
        addressees = self._addressees(recorded)
        boxes = self._boxes_by_tenant.get(recorded.meta.tenant)
        if not boxes:
            return
        for name in boxes if addressees is None else addressees:
            if (box := boxes.get(name)) is not None:
                box.put(recorded)

    async def collect(
        self, principal: Principal, after: int, beat_seconds: float
    ) -> AsyncGenerator[tuple[int, list[Recorded]], None]:
        """What may concern an agent past a position, for ever, each time with the position that this reaches."""
        while True:
            page = await self._journal.read(after, PAGE)
            if page:
                after = page[-1].position
                yield after, [record for record in page if record.meta.tenant == principal.tenant]
            elif self.position <= after:
                # From here to the box no other task runs: whatever is delivered past `after` finds the box.
                box = self._open(principal)
                try:
                    while not box.is_lost:
                        records = await box.empty(beat_seconds)
                        if not box.is_lost:
                            fresh = [record for record in records if record.position > after]
                            after = max(after, self.position)
                            yield after, fresh
                finally:
                    self._close(principal, box)

    def _open(self, principal: Principal) -> Box:
        box = Box()
        self._boxes_by_tenant.setdefault(principal.tenant, {})[principal.agent_id] = box
        return box

    def _close(self, principal: Principal, box: Box) -> None:
        boxes = self._boxes_by_tenant.get(principal.tenant, {})
        if boxes.get(principal.agent_id) is box:
            del boxes[principal.agent_id]
        if not boxes:
            self._boxes_by_tenant.pop(principal.tenant, None)

"""The webhooks of a journal: a courier for each, made, changed and ended as the log says, and stopped with the door.

Nothing here waits for a courier, and no courier for another: each has a task and a connection of its own, as many as the herald grants.
"""

from collections.abc import Iterator
from random import Random

import trio

from aggregates import webhook
from aggregates.webhook import ListWebhooks, Stage, WebhookDelivered, WebhookFailing
from gateway.outside import Sender
from gateway.webhooks.courier import Attempt, Courier, Place, Terms
from gateway.webhooks.messages import probe_body
from gateway.webhooks.signatures import Secrets
from runtime.delivery import Context
from runtime.errors import Failure
from runtime.system import System

PAGE = 500
GATHER_SECONDS = 0.05
NOTE_SECONDS = 5.0
"""How often it is recorded how far the couriers are."""

RETRY_SECONDS = 1.0
CLOSE_SECONDS_MAX = 1.0
CHANGES = frozenset(webhook.EVENTS) - {WebhookDelivered, WebhookFailing}


class Webhooks:
    """All webhooks of a journal."""

    def __init__(self, system: System, journal: str, secret: bytes, outside: Sender, terms: Terms) -> None:
        self.secrets = Secrets(secret)
        self._system = system
        self._outside = outside
        self._place = Place(system, journal, self.secrets, outside, terms, Random())
        self._courier_by_stream: dict[str, Courier] = {}
        self._scope_by_stream: dict[str, trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None
        self._turn = trio.Lock()
        self._succeeded = self._failures = 0

    def __iter__(self) -> Iterator[Courier]:
        return iter(self._courier_by_stream.values())

    @property
    def succeeded(self) -> int:
        """Messages that were taken, since the start."""
        return self._succeeded + sum(courier.succeeded for courier in self)

    @property
    def failures(self) -> int:
        """Attempts that failed, since the start."""
        return self._failures + sum(courier.failures for courier in self)

    @property
    def lag(self) -> int:
        """How many records the courier that is furthest behind has yet to look at."""
        return max((courier.lag for courier in self), default=0)

    def count(self, stage: Stage) -> int:
        """How many stand so."""
        return sum(courier.facts.stage is stage for courier in self)

    # ---- running

    async def run(self, opened: trio.Event) -> None:
        """Delivers, from when the door is open until cancelled: a node that nobody can reach is there for a question only."""
        await opened.wait()
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._note_now_and_then)
                await self._follow()
        finally:
            self._nursery = None

    async def _follow(self) -> None:
        """Hears of changes. Records are looked at by the page, lest each commit wake one task more."""
        journal = self._system.journal
        position, is_due = journal.position, True
        while True:
            if is_due:
                is_due = not await self._reconciled()
            await journal.wait_past(position, RETRY_SECONDS if is_due else float("inf"))
            await trio.sleep(GATHER_SECONDS)
            page = await journal.read(position, PAGE)
            is_due = is_due or not CHANGES.isdisjoint([type(record.event) for record in page])
            position = page[-1].position if page else position

    async def _reconciled(self) -> bool:
        """Has a courier for each webhook that there is; whether anybody could say."""
        async with self._turn:
            try:
                listed = await self._system.ask(ListWebhooks(), Context(tenant="", principal="node"))
            except Failure:
                return False
            there = {webhook.stream(facts.tenant, facts.webhook_id): facts for facts in listed}
            for stream in self._courier_by_stream.keys() - there.keys():
                self._end(stream)
            for stream, facts in there.items():
                if (courier := self._courier_by_stream.get(stream)) is not None:
                    courier.change(facts)
                elif self._nursery is not None:
                    courier = self._courier_by_stream[stream] = Courier(self._place, facts)
                    scope = self._scope_by_stream[stream] = trio.CancelScope()
                    self._nursery.start_soon(_run_within, scope, courier)
            return True

    def _end(self, stream: str) -> None:
        courier = self._courier_by_stream.pop(stream)
        self._scope_by_stream.pop(stream).cancel()
        self._succeeded += courier.succeeded
        self._failures += courier.failures

    async def _note_now_and_then(self) -> None:
        while True:
            await trio.sleep(NOTE_SECONDS)
            await self._note()

    async def _note(self) -> None:
        for courier in list(self):
            await courier.note()

    async def close(self) -> None:
        """Records how far all are; what can't be recorded in time is sent again after the next start."""
        with trio.move_on_after(CLOSE_SECONDS_MAX) as scope:
            scope.shield = True
            await self._note()
            await self._outside.close()

    # ---- asked

    async def find(self, tenant: str, webhook_id: str) -> Courier | None:
        """The courier of a webhook, as that stands now; None where there is none."""
        await self._reconciled()
        return self._courier_by_stream.get(webhook.stream(tenant, webhook_id))

    async def test(self, courier: Courier, name: str) -> Attempt:
        """Sends a message that is no record, and tells what came of it."""
        at = self._system.clock.now()
        return await courier.test(f"test-{name}", probe_body(courier.facts.webhook_id, self._place.journal, at))

    async def begin_again(self) -> None:
        """Somebody was erased: what is being sent was read before, and is read anew. Returns when none of it leaves any more."""
        async with trio.open_nursery() as nursery:
            for courier in list(self):
                nursery.start_soon(courier.begin_again)


async def _run_within(scope: trio.CancelScope, courier: Courier) -> None:
    with scope:
        await courier.run()

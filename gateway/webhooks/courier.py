"""Delivers one webhook: reads the log at its own pace and sends what is wanted, one message at a time, in order, until each is taken.

What waits is a position and nothing else: a record is read when it is sent, and again for each further attempt, so that an erased
person's fields are gone from it. What was taken is noted for many messages together; whatever was sent after the last note is sent again
after a crash, under the same id.
"""

import math
from collections import deque
from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple, TypeVar

import msgspec
import structlog
import trio

from aggregates.webhook import (
    GiveUpWebhook,
    NoteDelivered,
    NoteFailing,
    Stage,
    WebhookAccepted,
    WebhookFacts,
)
from gateway.feeds.wanted import Wanted
from gateway.outside import Answer, Sender, retry_after
from gateway.webhooks.messages import UNTOLD, body_of, message_id
from gateway.webhooks.signatures import Secrets
from runtime.delivery import Context
from runtime.errors import Failure, Refused
from runtime.evidence import Unreadable
from runtime.keyring import KeyringUnusable
from runtime.records import Command, Recorded
from runtime.system import System

C = TypeVar("C", bound=Command[WebhookAccepted])

PAGE = 200
GATHER_SECONDS = 0.05
"""After each page: what is recorded meanwhile is looked at together."""

ATTEMPTS_KEPT = 100
NOTE_DELIVERIES_MAX = 100
NOTE_POSITIONS = 10_000
"""How many messages may be sent, or records passed over, before that is recorded."""

RETRY_SECONDS_MIN = 1.0
FAILURES_UNTOLD_MAX = 3
"""So often an attempt may fail before it is on record that the webhook does."""

GONE = 410
AGENT = "gavel-webhooks/1"
UNREADABLE = (Failure, Unreadable, KeyringUnusable)

log = structlog.get_logger("gateway.webhooks")


class Terms(NamedTuple):
    """How long is waited at most between two attempts, and how long attempts may fail before the webhook is paused."""

    retry_seconds_max: float = 3600.0
    dead_seconds: float = 3 * 24 * 3600.0


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to deliver: of the record at a position, or of a test (position null). `status` is null where nothing was answered;
    `error` says what went wrong. Neither the message nor the answer's body is kept."""

    position: int | None
    message_id: str
    at: float
    number: int
    bytes: int
    seconds: float
    status: int | None
    error: str | None


class Place(NamedTuple):
    """What couriers of a journal share."""

    system: System
    journal: str
    secrets: Secrets
    outside: Sender
    terms: Terms
    chance: Random


class Courier:
    """One webhook's deliveries."""

    def __init__(self, place: Place, facts: WebhookFacts) -> None:
        self.facts = facts
        self.attempts: deque[Attempt] = deque(maxlen=ATTEMPTS_KEPT)
        self.succeeded = 0
        self.failures = 0
        self._place = place
        self._turn = trio.CancelScope()
        self._sending = trio.Lock()
        self._under_way: trio.CancelScope | None = None
        self._ended = trio.Event()
        self._take(facts)

    def _take(self, facts: WebhookFacts) -> None:
        self.facts = facts
        self.position = self._noted = facts.position
        self.failing_since = facts.failing_since
        self._delivered = self._failed = 0
        self._wanted = _wanted(facts)

    @property
    def lag(self) -> int:
        """How many records it has yet to look at; none where it is paused."""
        return max(0, self._place.system.journal.position - self.position) if self.is_active else 0

    @property
    def is_active(self) -> bool:
        return self.facts.stage is Stage.ACTIVE

    # ---- what becomes of it

    def change(self, facts: WebhookFacts) -> None:
        """Goes on as the webhook stands now, from where it is, unless that was changed, too."""
        if facts.changed == self.facts.changed:
            return
        here = self.position if facts.run == self.facts.run else facts.position
        delivered, failed, noted = self._delivered, self._failed, self._noted
        is_same_run = facts.run == self.facts.run
        self._take(facts)
        if is_same_run:
            self.position, self._delivered, self._failed, self._noted = here, delivered, failed, noted
        before, self._turn = self._turn, trio.CancelScope()
        before.cancel()

    async def run(self) -> None:
        """Delivers while the webhook is active, until cancelled."""
        while True:
            with self._turn:
                while self.is_active:
                    await self._deliver_page()
                await trio.sleep_forever()

    async def begin_again(self) -> None:
        """Ends the attempt that is under way; when this returns, all that is sent from now on was read after it was called."""
        if self._under_way is not None:
            ended = self._ended
            self._under_way.cancel()
            await ended.wait()

    async def note(self) -> None:
        """Records how far it is, where that is worth it. What can't be recorded now is with the next note."""
        if not self._delivered and self.position < self._noted + NOTE_POSITIONS:
            return
        run, position, delivered, failed = self.facts.run, self.position, self._delivered, self._failed
        said = await self._say(NoteDelivered, run=run, position=position, delivered=delivered, failed=failed)
        if said and run == self.facts.run:
            self._noted = max(self._noted, position)
            self._delivered -= delivered
            self._failed -= failed

    # ---- delivering

    async def _deliver_page(self) -> None:
        journal = self._place.system.journal
        await journal.wait_past(self.position)
        try:
            page = await journal.read(self.position, PAGE)
        except UNREADABLE as error:
            await self._failed_at(self.position + 1, 1, Answer(0, f"the log can't be read: {type(error).__name__}"))
            return
        if not page:
            return
        end, positions = page[-1].position, [record.position for record in page if self._wants(record)]
        is_all = len(page) < PAGE
        del page
        for position in positions:
            await self._deliver(position)
            self.position = position
            if self._delivered >= NOTE_DELIVERIES_MAX:
                await self.note()
        self.position = end
        await trio.sleep(GATHER_SECONDS if is_all else 0)

    def _wants(self, record: Recorded) -> bool:
        return (
            record.meta.tenant == self.facts.tenant
            and record.kind not in UNTOLD
            and any(wanted.fits(record) for wanted in self._wanted)
        )

    async def _deliver(self, position: int) -> None:
        """Sends the record at a position until it is taken, or the webhook is given up."""
        number = 1
        while True:
            answer = await self._attempt(position, number)
            if answer is None:
                continue  # begun again
            if 200 <= answer.status < 300:
                self.failing_since = 0.0
                self._delivered += 1
                return
            self._failed += 1
            await self._failed_at(position, number, answer)
            number += 1

    async def _attempt(self, position: int, number: int) -> Answer | None:
        """What came of sending the record as it can be read now; None where it was to be read again."""
        assert self._under_way is None, "one at a time"
        with trio.CancelScope() as self._under_way:
            self._ended = trio.Event()
            try:
                try:
                    (record,) = await self._place.system.journal.read(position - 1, 1)
                except UNREADABLE as error:
                    return Answer(0, f"the record can't be read: {type(error).__name__}")
                await trio.lowlevel.checkpoint_if_cancelled()
                return await self._send(message_id(record), body_of(record, self._place.journal), position, number)
            finally:
                self._under_way = None
                self._ended.set()
        return None

    async def _send(self, name: str, body: bytes, position: int | None, number: int) -> Answer:
        """Signs and sends a message, and takes down what came of it."""
        place, facts = self._place, self.facts
        async with self._sending:
            started, at = trio.current_time(), place.system.clock.now()
            generations = [facts.generation]
            if at < facts.overlap_until:
                generations.append(facts.generation - 1)
            signed = place.secrets.signatures(facts.tenant, facts.webhook_id, generations, name, int(at), body)
            headers = (
                ("Content-Type", "application/json"),
                ("User-Agent", AGENT),
                ("webhook-id", name),
                ("webhook-timestamp", str(int(at))),
                ("webhook-signature", signed),
            )
            answer = await place.outside.post(facts.url, headers, body)
        if 200 <= answer.status < 300:
            self.succeeded += 1
        else:
            self.failures += 1
        self.attempts.append(
            Attempt(
                position=position,
                message_id=name,
                at=at,
                number=number,
                bytes=len(body),
                seconds=round(trio.current_time() - started, 6),
                status=answer.status or None,
                error=_error(answer) or None,
            )
        )
        return answer

    async def test(self, name: str, body: bytes) -> Attempt:
        """Sends a message that is no record, in between; it is not tried again."""
        await self._send(name, body, None, 1)
        return self.attempts[-1]

    # ---- failing

    async def _failed_at(self, position: int, number: int, answer: Answer) -> None:
        """Waits for the next attempt, or for good."""
        now = self._place.system.clock.now()
        self.failing_since = self.failing_since or now
        error = _error(answer)
        if answer.status == GONE:
            await self._give_up(f"the endpoint answered {GONE}: it is gone")
        if now - self.failing_since >= self._place.terms.dead_seconds:
            await self._give_up(f"nothing was taken for {now - self.failing_since:.0f} s: {error}")
        if number == FAILURES_UNTOLD_MAX:
            since = self.failing_since
            await self._say(NoteFailing, run=self.facts.run, position=position, since=since, error=error)
        await trio.sleep(self._pause(number, answer, now))

    def _pause(self, number: int, answer: Answer, now: float) -> float:
        """Twice as long after each failure, with chance in it, lest all come back at once; or as long as the endpoint asks for."""
        most = self._place.terms.retry_seconds_max
        asked = retry_after(answer.retry_after, now)
        if asked is not None:
            return min(max(asked, RETRY_SECONDS_MIN), most)
        return min(RETRY_SECONDS_MIN * 2.0 ** min(number - 1, 30), most) * self._place.chance.uniform(0.5, 1.0)

    async def _give_up(self, reason: str) -> None:
        """Has the webhook paused on record; then the news of that ends this turn."""
        log.warning("webhook_given_up", webhook=self.facts.webhook_id, tenant=self.facts.tenant, reason=reason)
        while True:
            is_said = await self._say(GiveUpWebhook, run=self.facts.run, reason=reason)
            await trio.sleep(math.inf if is_said else RETRY_SECONDS_MIN)

    async def _say(self, kind: type[C], **fields: Any) -> bool:
        """Records something of this webhook on the node's behalf; whether that was done. What is refused need not be said again."""
        facts = self.facts
        command: Any = kind
        try:
            await self._place.system.ask(
                command(webhook_id=facts.webhook_id, **fields), Context(tenant=facts.tenant, principal="node")
            )
        except Refused:
            return True
        except Failure as failure:
            log.warning("webhook_not_noted", webhook=facts.webhook_id, reason=str(failure))
            return False
        return True


def _wanted(facts: WebhookFacts) -> Sequence[Wanted]:
    """One for each kind that is wanted."""
    stream, principal = facts.stream or None, facts.principal or None
    return [Wanted(stream, kind, principal) for kind in facts.kinds or (None,)]


def _error(answer: Answer) -> str:
    if answer.error:
        return answer.error
    return "" if 200 <= answer.status < 300 else f"it answered {answer.status}"

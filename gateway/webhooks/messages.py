"""What a webhook's message says: a record as the log tells it, read when it is sent, so that what was erased by then is not in it."""

from datetime import UTC, datetime
from typing import Literal

import msgspec

from gateway.feeds.live import Line, line
from runtime.records import Recorded

MESSAGE_BYTES_MAX = 262_144
"""A message that would be longer goes without the record's data."""

UNTOLD = frozenset({"webhook.WebhookDelivered", "webhook.WebhookFailing"})
"""Records about deliveries: to deliver them would lead to the next."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """`type` is the record's kind, `timestamp` when it was recorded. `withheld`: personal fields are blank, since the person was erased.
    `left_out`: the record is too long; `GET /v1/log` has its data."""

    type: str
    timestamp: str
    journal: str
    withheld: bool
    left_out: bool
    data: Line


class ProbeMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What a test of a webhook sends: no record."""

    type: Literal["webhook.test"] = "webhook.test"
    timestamp: str
    journal: str
    data: dict[str, str]


def message_id(record: Recorded) -> str:
    """The same at every attempt, and no other record's, not even where a journal was set back and went on otherwise."""
    return f"{record.position}-{record.meta.id}"


def body_of(record: Recorded, journal: str) -> bytes:
    """The message about a record."""
    told = line(record)
    body = _encoded(record, journal, told, left_out=False)
    if len(body) <= MESSAGE_BYTES_MAX:
        return body
    return _encoded(record, journal, msgspec.structs.replace(told, data=None), left_out=True)


def _encoded(record: Recorded, journal: str, told: Line, *, left_out: bool) -> bytes:
    return msgspec.json.encode(
        Message(
            type=record.kind,
            timestamp=timestamp(record.meta.recorded_at),
            journal=journal,
            withheld=record.withheld,
            left_out=left_out,
            data=told,
        )
    )


def probe_body(webhook_id: str, journal: str, at: float) -> bytes:
    """The message of a test."""
    return msgspec.json.encode(ProbeMessage(timestamp=timestamp(at), journal=journal, data={"webhook_id": webhook_id}))


def timestamp(at: float) -> str:
    """A time as RFC 3339 has it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

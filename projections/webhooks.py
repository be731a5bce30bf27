"""Webhooks: where each goes, what it tells, how far it is and how it fares. No secret stands here."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table

from aggregates.webhook import (
    EVENTS,
    SecretRotated,
    Stage,
    WebhookCreated,
    WebhookDeleted,
    WebhookDelivered,
    WebhookFailing,
    WebhookPaused,
    WebhookReplayed,
    WebhookResumed,
    WebhookUpdated,
)
from projections import schema
from projections.schema import BY_AGE, Row, Sortable, document, encoded, key, number, text, whole
from runtime.records import Add, Change, Insert, Recorded, Update

NAME = "webhooks/1"

webhooks = schema.table(
    "webhooks",
    key("webhook_id"),
    text("url"),
    document("kinds"),
    text("stream"),
    text("principal"),
    text("status"),
    text("reason"),
    whole("position"),
    whole("delivered"),
    whole("failed"),
    text("error"),
    number("failing_since"),
    whole("generation"),
    number("overlap_until"),
    number("created_at"),
    number("delivered_at"),
    number("deleted_at"),
    paged_by=("status",),
)
"""`error` and `failing_since` say how the last attempts failed, where they do; `reason` why it was paused or deleted."""

TABLES: tuple[Table, ...] = (webhooks,)

HEARS = frozenset(EVENTS)

SORTS = {"created_at": BY_AGE, "delivered_at": Sortable("delivered_at", may_be_empty=True)}

WELL: dict[str, Any] = {"error": None, "failing_since": None}


def apply(recorded: Recorded) -> Sequence[Change]:
    event = recorded.event
    match event:
        case WebhookCreated():
            return [_created(recorded, event)]
        case WebhookUpdated():
            wanted = {"kinds": encoded(event.kinds), "stream": event.stream, "principal": event.principal}
            return _set(recorded, event.webhook_id, {"url": event.url, **wanted})
        case WebhookPaused():
            return _set(recorded, event.webhook_id, {"status": Stage.PAUSED.value, "reason": event.reason})
        case WebhookResumed():
            return _set(recorded, event.webhook_id, {"status": Stage.ACTIVE.value, "reason": None, **WELL})
        case SecretRotated():
            secrets = {"generation": event.generation, "overlap_until": event.overlap_until}
            return _set(recorded, event.webhook_id, secrets)
        case WebhookReplayed():
            return _set(recorded, event.webhook_id, {"position": event.position, **WELL})
        case WebhookDeleted():
            ended = {"status": Stage.DELETED.value, "reason": event.reason, "deleted_at": recorded.meta.at}
            return _set(recorded, event.webhook_id, ended)
        case WebhookDelivered():
            return _delivered(recorded, event)
        case WebhookFailing():
            return _set(recorded, event.webhook_id, {"error": event.error, "failing_since": event.since})
    return ()


def _which(recorded: Recorded, webhook_id: str) -> dict[str, Any]:
    return {"tenant_id": recorded.meta.tenant, "webhook_id": webhook_id}


def _set(recorded: Recorded, webhook_id: str, values: dict[str, Any]) -> Sequence[Change]:
    values = {**values, "last_position": recorded.position}
    return [Update(table=webhooks, values=values, where=_which(recorded, webhook_id))]


def _delivered(recorded: Recorded, event: WebhookDelivered) -> Sequence[Change]:
    counts = {"delivered": event.delivered, "failed": event.failed}
    at = {"delivered_at": recorded.meta.at} if event.delivered else {}
    return [
        Add(table=webhooks, values=counts, where=_which(recorded, event.webhook_id)),
        *_set(recorded, event.webhook_id, {"position": event.position, **at, **WELL}),
    ]


def _created(recorded: Recorded, event: WebhookCreated) -> Change:
    values = {
        "tenant_id": recorded.meta.tenant,
        "webhook_id": event.webhook_id,
        "url": event.url,
        "kinds": encoded(event.kinds),
        "stream": event.stream,
        "principal": event.principal,
        "status": Stage.ACTIVE.value,
        "position": event.position,
        "delivered": 0,
        "failed": 0,
        "generation": 1,
        "created_at": recorded.meta.at,
        "first_position": recorded.position,
        "last_position": recorded.position,
    }
    return Insert(table=webhooks, values=values)


def find(connection: Connection, tenant_id: str, webhook_id: str) -> Row | None:
    """A webhook; None when this tenant has no such webhook."""
    return schema.find_row(connection, webhooks, {"tenant_id": tenant_id, "webhook_id": webhook_id})


def newest(
    connection: Connection, tenant_id: str, *, status: str | None = None, before: int | None = None, limit: int = 100
) -> list[Row]:
    """A page of webhooks, the last created first."""
    return schema.newest_rows(
        connection, webhooks, {"tenant_id": tenant_id, "status": status}, before=before, limit=limit
    )


page = schema.paged(webhooks)
"""A page of webhooks that have these values."""


def count(connection: Connection, tenant_id: str, *, status: str | None = None) -> int:
    return schema.count_rows(connection, webhooks, {"tenant_id": tenant_id, "status": status})


def count_by_status(connection: Connection, tenant_id: str) -> dict[str, int]:
    """How many webhooks of a tenant there are in each status."""
    return schema.count_rows_by(connection, webhooks, "status", {"tenant_id": tenant_id})

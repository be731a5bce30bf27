"""The herald of the node: keeps the list of webhooks, with how far each is; whoever delivers asks it."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from aggregates import webhook
from aggregates.webhook import (
    CreateWebhook,
    ListWebhooks,
    RotateSecret,
    SecretRotated,
    Stage,
    WebhookAccepted,
    WebhookCommand,
    WebhookCreated,
    WebhookDeleted,
    WebhookDelivered,
    WebhookFacts,
    WebhookFailing,
    WebhookPaused,
    WebhookReplayed,
    WebhookResumed,
    WebhookUpdated,
)
from runtime.actor import Actor, Effect, Reply, reply
from runtime.errors import Refused
from runtime.records import Event, Recorded

WEBHOOKS_OF_TENANT_MAX = 20
WEBHOOKS_MAX = 200
"""Of all tenants of a journal: each has a task and a connection of its own, so that none waits for another."""
WEBHOOKS_RESERVED = 50
"""Of these, the last so many are for tenants that have none: a few tenants with many leave others their first."""

NEWS = (WebhookDelivered, WebhookFailing)


class Webhooks(Struct, kw_only=True):
    """The webhooks that are not deleted, by their streams."""

    facts_by_stream: dict[str, WebhookFacts] = field(default_factory=dict)


class Herald(Actor[WebhookCommand | ListWebhooks, Webhooks]):
    """One for the node: what goes out is bounded for all tenants together."""

    takes = (*webhook.COMMANDS, ListWebhooks)
    hears = webhook.EVENTS

    @staticmethod
    def fresh() -> Webhooks:
        return Webhooks()

    @staticmethod
    def remember(memory: Webhooks, recorded: Recorded) -> Webhooks:
        known, stream, event = memory.facts_by_stream, recorded.stream, recorded.event
        if isinstance(event, WebhookCreated):
            known[stream] = _facts(event, recorded)
        elif isinstance(event, WebhookDeleted):
            known.pop(stream, None)
        elif stream in known:
            changed = {} if isinstance(event, NEWS) else {"changed": recorded.position}
            known[stream] = replace(known[stream], **_changes(event), **changed)
        return memory

    def handle(self, message: WebhookCommand | ListWebhooks) -> Effect | Reply:
        if isinstance(message, ListWebhooks):
            return reply(message, tuple(self.memory.facts_by_stream.values()))
        stream = webhook.stream(message.tenant, message.webhook_id)
        if isinstance(message, CreateWebhook) and stream not in self.memory.facts_by_stream:
            self._check_room(message.tenant)

        def accepted(recorded: Sequence[Recorded]) -> Reply:
            """Of a rotation, the secret that was asked for; of all else, the one that there is."""
            named = message.generation if isinstance(message, RotateSecret) else 1
            return reply(message, WebhookAccepted(webhook_id=message.webhook_id, generation=named))

        return Effect([(stream, message)], accepted)

    def _check_room(self, tenant: str) -> None:
        known = self.memory.facts_by_stream.values()
        count = sum(facts.tenant == tenant for facts in known)
        if count >= WEBHOOKS_OF_TENANT_MAX:
            raise Refused("webhooks_too_many", f"a tenant has {WEBHOOKS_OF_TENANT_MAX} webhooks at most; delete some")
        if len(known) >= WEBHOOKS_MAX - (WEBHOOKS_RESERVED if count else 0):
            kept = f", of which {WEBHOOKS_RESERVED} are for tenants that have none" if count else ""
            raise Refused("webhooks_too_many", f"a node has {WEBHOOKS_MAX} webhooks at most{kept}")


def _changes(event: Event) -> dict[str, Any]:
    """What an event makes different."""
    match event:
        case WebhookUpdated():
            return {"url": event.url, "kinds": event.kinds, "stream": event.stream, "principal": event.principal}
        case WebhookPaused():
            return {"stage": Stage.PAUSED}
        case WebhookResumed():
            return {"stage": Stage.ACTIVE, "failing_since": 0.0}
        case SecretRotated():
            return {"generation": event.generation, "overlap_until": event.overlap_until}
        case WebhookReplayed():
            return {"run": event.run, "position": event.position, "failing_since": 0.0}
        case WebhookDelivered():
            return {"position": event.position, "failing_since": 0.0}
        case WebhookFailing():
            return {"failing_since": event.since}
    raise TypeError(type(event).__name__)


def _facts(event: WebhookCreated, recorded: Recorded) -> WebhookFacts:
    return WebhookFacts(
        tenant=recorded.meta.tenant,
        webhook_id=event.webhook_id,
        stage=Stage.ACTIVE,
        url=event.url,
        kinds=event.kinds,
        stream=event.stream,
        principal=event.principal,
        position=event.position,
        changed=recorded.position,
    )

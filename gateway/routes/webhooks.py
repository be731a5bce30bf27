"""Webhooks: where records are sent to, tried, paused, sent once more, and how the last deliveries went. A secret is told once."""

from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.responses import Response

from aggregates import webhook
from aggregates.catalog import EVENTS_BY_NOUN, KINDS
from aggregates.values.roles import Permission
from aggregates.webhook import (
    CreateWebhook,
    DeleteWebhook,
    PauseWebhook,
    ReplayWebhook,
    ResumeWebhook,
    RotateSecret,
    Stage,
    UpdateWebhook,
    WebhookAccepted,
)
from gateway.api import rows
from gateway.api.bodies import body_type, to_command
from gateway.api.calls import Call, Endpoint, found
from gateway.api.fields import choosing, some_of, some_page
from gateway.api.queries import READ, REASON, choice
from gateway.api.sorting import listing
from gateway.identity.auth import check_permission
from gateway.outside import check_url
from gateway.webhooks.courier import Attempt, Courier
from gateway.webhooks.messages import UNTOLD
from projections import webhooks
from runtime.errors import FieldFault, Refused


class WebhookMade(msgspec.Struct, frozen=True):
    """A webhook's id, and by what its messages are verified: `secret` (v1) is not told again, `public_key` (v1a) is no secret."""

    webhook_id: str
    secret: str
    public_key: str


class WholeWebhook(rows.Webhook, frozen=True, kw_only=True):
    """A webhook with the key by which its signatures of the form `v1a` are verified."""

    public_key: str


class WebhookPage(msgspec.Struct, frozen=True):
    """Webhooks, the last created first; `next` is the `after` of the next page."""

    webhooks: list[rows.Webhook]
    next: int | str | None


class Deliveries(msgspec.Struct, frozen=True):
    """The last attempts since the node's start, the newest first. Up to `position` all is delivered; `lag` records lie past it, wanted
    or not."""

    position: int
    lag: int
    attempts: list[Attempt]


async def create(call: Call) -> Response:
    """Creates a webhook: what is recorded is sent to its URL, in order, signed, until it is taken."""
    _check_reader(call)
    body: Any = await call.body(body_type(CreateWebhook))
    _check_kinds(body.kinds)
    _check_url(call, body.url)
    webhook_id = call.node.system.ids.new()
    await call.begin(webhook.stream(call.tenant, webhook_id))
    position = call.node.system.journal.position
    accepted = await call.ask(to_command(CreateWebhook, body, webhook_id=webhook_id, position=position))
    return call.reply(_made(call, accepted), 201)


async def page(call: Call) -> Response:
    """The tenant's webhooks, without their secrets."""
    status = call.asked(STATUS)
    return call.page("webhooks", await call.read(webhooks.page, call.tenant, status=status, **call.wish()))


async def find(call: Call) -> Response:
    """One webhook; `position` is how far it was when that was last recorded."""
    webhook_id = call.path["webhook_id"]
    row = found(await call.read(webhooks.find, call.tenant, webhook_id), "webhook", webhook_id)
    key = call.node.webhooks.secrets.public_key(call.tenant, webhook_id, row["generation"])
    return call.reply({**row, "public_key": key})


async def update(call: Call) -> Response:
    """Another URL or other filters: what is not named stays, and it goes on where it is."""
    _check_reader(call)
    body: Any = await call.body(body_type(UpdateWebhook))
    _check_kinds(body.kinds or ())
    if body.url is not None:
        _check_url(call, body.url)
    webhook_id = await _begin(call)
    return call.reply(await call.ask(to_command(UpdateWebhook, body, webhook_id=webhook_id)))


async def delete(call: Call) -> Response:
    """Deletes a webhook: nothing is sent any more."""
    return call.reply(await call.ask(DeleteWebhook(webhook_id=await _begin(call), reason=call.reason)))


async def pause(call: Call) -> Response:
    """Pauses a webhook: nothing is sent until it is resumed."""
    body: Any = await call.body_or(body_type(PauseWebhook))
    return call.reply(await call.ask(to_command(PauseWebhook, body, webhook_id=await _begin(call))))


async def resume(call: Call) -> Response:
    """Resumes a webhook, be it one that was paused since its endpoint did not answer: it goes on where it was."""
    body: Any = await call.body_or(body_type(ResumeWebhook))
    return call.reply(await call.ask(to_command(ResumeWebhook, body, webhook_id=await _begin(call))))


async def rotate(call: Call) -> Response:
    """Gives a webhook a new secret, told in this answer alone. For a while the old one signs, too."""
    body: Any = await call.body_or(body_type(RotateSecret))
    webhook_id = await _begin(call)
    row = found(await call.read(webhooks.find, call.tenant, webhook_id), "webhook", webhook_id)
    command = to_command(RotateSecret, body, webhook_id=webhook_id, generation=row["generation"] + 1)
    return call.reply(_made(call, await call.ask(command)))


async def replay(call: Call) -> Response:
    """Sends everything past a position once more, or skips what lies before it."""
    body: Any = await call.body(body_type(ReplayWebhook))
    webhook_id = await _begin(call)
    position = call.node.system.journal.position
    return call.reply(await call.ask(to_command(ReplayWebhook, body, webhook_id=webhook_id, position=position)))


async def test(call: Call) -> Response:
    """Sends a message of the type `webhook.test` now, to a webhook that is paused too, and tells what came of it."""
    await _begin(call)
    courier = await _courier(call)
    return call.reply(await call.node.webhooks.test(courier, call.node.system.ids.new()))


async def deliveries(call: Call) -> Response:
    """How the last attempts to deliver went."""
    courier = await _courier(call)
    return call.reply(Deliveries(courier.position, courier.lag, list(reversed(courier.attempts))))


def _check_reader(call: Call) -> None:
    """Raises `HTTPException` 403 where a key's scopes leave out the log: what is sent to a URL is read there."""
    check_permission(call.node, call.principal, Permission.LOG_READ)


def _check_kinds(kinds: Sequence[str]) -> None:
    """Raises Refused where one is no kind that is ever sent: nobody would notice that nothing comes."""
    unknown = [
        FieldFault(f"/kinds/{index}", "kind_unknown", f"{kind}: neither an aggregate nor a kind of record that is sent")
        for index, kind in enumerate(kinds)
        if kind not in SENT
    ]
    if unknown:
        raise Refused.of(unknown)


def _check_url(call: Call, url: str) -> None:
    settings = call.node.settings
    check_url(url, http=settings.webhook_http, private=settings.webhook_private)


def _made(call: Call, accepted: WebhookAccepted) -> WebhookMade:
    secrets, which = call.node.webhooks.secrets, (call.tenant, accepted.webhook_id, accepted.generation)
    return WebhookMade(accepted.webhook_id, secrets.secret(*which), secrets.public_key(*which))


async def _begin(call: Call) -> str:
    """Puts the action on record; answers with the webhook that the path names."""
    webhook_id = call.path["webhook_id"]
    await call.begin(webhook.stream(call.tenant, webhook_id))
    return webhook_id


async def _courier(call: Call) -> Courier:
    webhook_id = call.path["webhook_id"]
    return found(await call.node.webhooks.find(call.tenant, webhook_id), "webhook", webhook_id)


SENT = {*EVENTS_BY_NOUN, *KINDS} - UNTOLD
"""By what kinds and aggregates records are chosen."""
STATUS = choice("status", "Only webhooks that stand so.", Stage)
WEBHOOK = "/v1/webhooks/{webhook_id}"
STREAM = webhook.stream("{tenant}", "{webhook_id}")
Create, Update, Replay = body_type(CreateWebhook), body_type(UpdateWebhook), body_type(ReplayWebhook)
Pause, Resume, Rotate = body_type(PauseWebhook), body_type(ResumeWebhook), body_type(RotateSecret)
READS, MANAGES = Permission.WEBHOOKS_READ, Permission.WEBHOOKS_MANAGE
routes = (
    Endpoint("POST", "/v1/webhooks", create, MANAGES, Create, WebhookMade, 201, acts=True),
    Endpoint(
        "GET",
        "/v1/webhooks",
        page,
        READS,
        reply=WebhookPage,
        query=(*listing(webhooks.SORTS, rows.Webhook), STATUS),
        rests_on=(webhook.stream("{tenant}", ""),),
        also=(some_page(WebhookPage, "webhooks", rows.Webhook),),
    ),
    Endpoint(
        "GET",
        WEBHOOK,
        find,
        READS,
        reply=WholeWebhook,
        query=(*READ, choosing(WholeWebhook)),
        rests_on=(STREAM,),
        guards=STREAM,
        also=(some_of(WholeWebhook),),
    ),
    Endpoint("PATCH", WEBHOOK, update, MANAGES, Update, WebhookAccepted, acts=True, guards=STREAM),
    Endpoint("DELETE", WEBHOOK, delete, MANAGES, reply=WebhookAccepted, query=(REASON,), acts=True, guards=STREAM),
    Endpoint("POST", f"{WEBHOOK}/pause", pause, MANAGES, Pause | None, WebhookAccepted, acts=True, guards=STREAM),
    Endpoint("POST", f"{WEBHOOK}/resume", resume, MANAGES, Resume | None, WebhookAccepted, acts=True, guards=STREAM),
    Endpoint("POST", f"{WEBHOOK}/secret", rotate, MANAGES, Rotate | None, WebhookMade, acts=True, guards=STREAM),
    Endpoint("POST", f"{WEBHOOK}/replay", replay, MANAGES, Replay, WebhookAccepted, acts=True, guards=STREAM),
    Endpoint("POST", f"{WEBHOOK}/test", test, MANAGES, reply=Attempt, acts=True, is_kept=True),
    Endpoint("GET", f"{WEBHOOK}/deliveries", deliveries, READS, reply=Deliveries),
)

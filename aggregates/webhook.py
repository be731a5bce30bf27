"""A webhook: records of a tenant that are wanted go to a URL, in order and at least once, until somebody or too many failures end that.

How far it is stands here in steps: a cursor is recorded for many deliveries together, and what was sent after the last one is sent again
after a crash. `run` counts the replays, so that what was delivered before one says nothing of the cursor after it.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, get_args

from msgspec import Meta, Struct
from msgspec.structs import replace

from aggregates.values.ids import Id
from aggregates.values.numbers import Count, Instant
from aggregates.values.text import Note
from runtime.errors import Refused
from runtime.records import Command, Event, House, State

RULES = 1

KINDS_MAX = 50
OVERLAP_SECONDS_MAX = 7 * 24 * 3600.0
OVERLAP_SECONDS = 24 * 3600.0

WebhookId = Id
Url = Annotated[
    str,
    Meta(
        max_length=2000,
        pattern=r"^https?://([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?([/?][!\"$-~]*)?$(?!\n)",
    ),
]
"""Where to: without a name and password, without a fragment, in ASCII."""
KindWanted = Annotated[str, Meta(pattern=r"^[a-z_]{1,50}(\.[A-Za-z]{1,100})?$(?!\n)")]
Kinds = Annotated[tuple[KindWanted, ...], Meta(max_length=KINDS_MAX)]
"""Records of these kinds, `task.TaskAwarded`, or of all kinds of an aggregate, `task`; of all kinds where none is named."""
StreamWanted = Annotated[str, Meta(max_length=300)]
PrincipalWanted = Annotated[str, Meta(max_length=200)]
Overlap = Annotated[float, Meta(ge=0, le=OVERLAP_SECONDS_MAX)]


class Stage(StrEnum):
    """Where a webhook stands."""

    UNKNOWN = "unknown"
    ACTIVE = "active"
    PAUSED = "paused"
    DELETED = "deleted"


class Webhook(State, frozen=True, kw_only=True):
    """What decisions about one webhook need to know; `generation` counts its secrets."""

    stage: Stage = Stage.UNKNOWN
    url: str = ""
    kinds: tuple[str, ...] = ()
    stream: str = ""
    principal: str = ""
    start: int = 0
    position: int = 0
    run: int = 0
    generation: int = 0
    is_failing: bool = False


initial = Webhook()


class WebhookAccepted(Struct, frozen=True, kw_only=True):
    """The webhook stands as asked; `generation` is the number of its newest secret."""

    webhook_id: WebhookId
    generation: int = 0


class WebhookFacts(Struct, frozen=True, kw_only=True):
    """A webhook that is not deleted, as whoever delivers has to know it. Until `overlap_until` the secret before counts, too. `changed`
    is the position of the last event that is no news of its deliveries."""

    tenant: str
    webhook_id: str
    stage: Stage
    url: str
    kinds: tuple[str, ...]
    stream: str
    principal: str
    position: int
    run: int = 0
    generation: int = 1
    overlap_until: float = 0.0
    failing_since: float = 0.0
    changed: int = 0


class CreateWebhook(Command[WebhookAccepted], frozen=True, kw_only=True):
    """A new webhook: it tells what is recorded past `after`, without it past now. Empty filters let everything pass."""

    webhook_id: House[WebhookId]
    url: Url
    kinds: Kinds = ()
    stream: StreamWanted = ""
    principal: PrincipalWanted = ""
    after: Count | None = None
    position: House[Count] = 0


class UpdateWebhook(Command[WebhookAccepted], frozen=True, kw_only=True):
    """Another URL, or other filters; what is not named stays. It goes on where it is."""

    webhook_id: House[WebhookId]
    url: Url | None = None
    kinds: Kinds | None = None
    stream: StreamWanted | None = None
    principal: PrincipalWanted | None = None


class PauseWebhook(Command[WebhookAccepted], frozen=True, kw_only=True):
    """Nothing is sent until it is resumed."""

    webhook_id: House[WebhookId]
    reason: Note = ""


class ResumeWebhook(Command[WebhookAccepted], frozen=True, kw_only=True):
    """It goes on where it was paused."""

    webhook_id: House[WebhookId]
    reason: Note = ""


class RotateSecret(Command[WebhookAccepted], frozen=True, kw_only=True):
    """A new secret; for so long both the old and the new one sign."""

    webhook_id: House[WebhookId]
    generation: House[Count]
    overlap_seconds: Overlap = OVERLAP_SECONDS


class ReplayWebhook(Command[WebhookAccepted], frozen=True, kw_only=True):
    """Everything past this position is sent once more, or what lies before it is not sent any more."""

    webhook_id: House[WebhookId]
    after: Count
    position: House[Count] = 0


class DeleteWebhook(Command[WebhookAccepted], frozen=True, kw_only=True):
    """Nothing is sent any more, ever."""

    webhook_id: House[WebhookId]
    reason: Note = ""


class NoteDelivered(Command[WebhookAccepted], frozen=True, kw_only=True):
    """All that is wanted up to this position was delivered. Said by the node, for many deliveries together."""

    webhook_id: House[WebhookId]
    run: House[Count]
    position: House[Count]
    delivered: House[Count]
    failed: House[Count]


class NoteFailing(Command[WebhookAccepted], frozen=True, kw_only=True):
    """The record at this position has not been taken for a while. Said by the node, once until something is delivered again."""

    webhook_id: House[WebhookId]
    run: House[Count]
    position: House[Count]
    since: House[Instant]
    error: House[Note]


class GiveUpWebhook(Command[WebhookAccepted], frozen=True, kw_only=True):
    """The endpoint is gone, or was silent for too long. Said by the node."""

    webhook_id: House[WebhookId]
    run: House[Count]
    reason: House[Note]


class ListWebhooks(Command[tuple[WebhookFacts, ...]], frozen=True, kw_only=True):
    """Which webhooks are there? A question of the node's; records nothing."""


class WebhookCreated(Event, frozen=True, kw_only=True):
    webhook_id: str
    url: str
    kinds: tuple[str, ...]
    stream: str
    principal: str
    position: int


class WebhookUpdated(Event, frozen=True, kw_only=True):
    webhook_id: str
    url: str
    kinds: tuple[str, ...]
    stream: str
    principal: str


class WebhookPaused(Event, frozen=True, kw_only=True):
    """`given_up`: not an operator has paused it, but the node, since it could not deliver."""

    webhook_id: str
    reason: str
    given_up: bool


class WebhookResumed(Event, frozen=True, kw_only=True):
    webhook_id: str
    reason: str


class SecretRotated(Event, frozen=True, kw_only=True):
    webhook_id: str
    generation: int
    overlap_until: float


class WebhookReplayed(Event, frozen=True, kw_only=True):
    webhook_id: str
    run: int
    position: int


class WebhookDeleted(Event, frozen=True, kw_only=True):
    webhook_id: str
    reason: str


class WebhookDelivered(Event, frozen=True, kw_only=True):
    """The cursor, and how many deliveries and failed attempts there were since the one before."""

    webhook_id: str
    run: int
    position: int
    delivered: int
    failed: int


class WebhookFailing(Event, frozen=True, kw_only=True):
    webhook_id: str
    position: int
    since: float
    error: str


WebhookCommand = (
    CreateWebhook
    | UpdateWebhook
    | PauseWebhook
    | ResumeWebhook
    | RotateSecret
    | ReplayWebhook
    | DeleteWebhook
    | NoteDelivered
    | NoteFailing
    | GiveUpWebhook
)
WebhookEvent = (
    WebhookCreated
    | WebhookUpdated
    | WebhookPaused
    | WebhookResumed
    | SecretRotated
    | WebhookReplayed
    | WebhookDeleted
    | WebhookDelivered
    | WebhookFailing
)
COMMANDS = get_args(WebhookCommand)
EVENTS = get_args(WebhookEvent)


def stream(tenant: str, webhook_id: str) -> str:
    """The stream of a webhook: another tenant's is another stream, where there is nothing."""
    return f"webhook-{tenant}:{webhook_id}"


def decide(webhook: Webhook, command: WebhookCommand) -> Sequence[WebhookEvent]:
    match webhook.stage, command:
        case Stage.UNKNOWN, CreateWebhook():
            return [_created(command)]
        case Stage.ACTIVE, CreateWebhook() if _is_same(webhook, command):
            return []
        case stage, CreateWebhook():
            raise Refused("webhook_exists", f"{command.webhook_id} is {stage.value}")
        case Stage.DELETED, DeleteWebhook():
            return []
        case ((Stage.UNKNOWN | Stage.DELETED), _):
            raise Refused("webhook_unknown", command.webhook_id, status=404)
        case _, DeleteWebhook():
            return [WebhookDeleted(webhook_id=command.webhook_id, reason=command.reason)]
        case _, UpdateWebhook():
            updated = _updated(webhook, command)
            return [] if evolve(webhook, updated) == webhook else [updated]
        case stage, PauseWebhook():
            paused = WebhookPaused(webhook_id=command.webhook_id, reason=command.reason, given_up=False)
            return [] if stage is Stage.PAUSED else [paused]
        case stage, ResumeWebhook():
            resumed = WebhookResumed(webhook_id=command.webhook_id, reason=command.reason)
            return [] if stage is Stage.ACTIVE else [resumed]
        case _, RotateSecret():
            return _rotated(webhook, command)
        case _, ReplayWebhook():
            return _replayed(webhook, command)
        case _, NoteDelivered():
            return _delivered(webhook, command)
        case stage, NoteFailing():
            is_news = stage is Stage.ACTIVE and command.run == webhook.run and not webhook.is_failing
            return [_failing(command)] if is_news else []
        case stage, GiveUpWebhook():
            is_due = stage is Stage.ACTIVE and command.run == webhook.run
            return (
                [WebhookPaused(webhook_id=command.webhook_id, reason=command.reason, given_up=True)] if is_due else []
            )


def _start(command: CreateWebhook | ReplayWebhook) -> int:
    start = command.position if command.after is None else command.after
    if start > command.position:
        raise Refused("position_ahead", f"the log ends at position {command.position}", status=422)
    return start


def _created(command: CreateWebhook) -> WebhookCreated:
    return WebhookCreated(
        webhook_id=command.webhook_id,
        url=command.url,
        kinds=command.kinds,
        stream=command.stream,
        principal=command.principal,
        position=_start(command),
    )


def _is_same(webhook: Webhook, command: CreateWebhook) -> bool:
    """Whether it was created by the same command: without `after`, that of a repeat stands where the log is by then."""
    asked = _created(command)
    same_start = command.after is None or asked.position == webhook.start
    return same_start and (asked.url, asked.kinds, asked.stream, asked.principal) == (
        webhook.url,
        webhook.kinds,
        webhook.stream,
        webhook.principal,
    )


def _updated(webhook: Webhook, command: UpdateWebhook) -> WebhookUpdated:
    def chosen(asked: Any, there: Any) -> Any:
        return there if asked is None else asked

    return WebhookUpdated(
        webhook_id=command.webhook_id,
        url=chosen(command.url, webhook.url),
        kinds=chosen(command.kinds, webhook.kinds),
        stream=chosen(command.stream, webhook.stream),
        principal=chosen(command.principal, webhook.principal),
    )


def _rotated(webhook: Webhook, command: RotateSecret) -> Sequence[WebhookEvent]:
    """The command names the secret that it wants, so that a repeat makes no further one."""
    if command.generation == webhook.generation:
        return []
    if command.generation != webhook.generation + 1:
        raise Refused("secret_rotated", f"the secret is number {webhook.generation} by now")
    until = command.at + command.overlap_seconds
    return [SecretRotated(webhook_id=command.webhook_id, generation=command.generation, overlap_until=until)]


def _replayed(webhook: Webhook, command: ReplayWebhook) -> Sequence[WebhookEvent]:
    start = _start(command)
    if start == webhook.position:
        return []
    return [WebhookReplayed(webhook_id=command.webhook_id, run=webhook.run + 1, position=start)]


def _delivered(webhook: Webhook, command: NoteDelivered) -> Sequence[WebhookEvent]:
    if command.run != webhook.run or command.position <= webhook.position:
        return []
    return [
        WebhookDelivered(
            webhook_id=command.webhook_id,
            run=command.run,
            position=command.position,
            delivered=command.delivered,
            failed=command.failed,
        )
    ]


def _failing(command: NoteFailing) -> WebhookFailing:
    return WebhookFailing(
        webhook_id=command.webhook_id, position=command.position, since=command.since, error=command.error
    )


def evolve(webhook: Webhook, event: WebhookEvent) -> Webhook:
    match event:
        case WebhookCreated():
            return Webhook(
                stage=Stage.ACTIVE,
                url=event.url,
                kinds=event.kinds,
                stream=event.stream,
                principal=event.principal,
                start=event.position,
                position=event.position,
                generation=1,
            )
        case WebhookUpdated():
            return replace(webhook, url=event.url, kinds=event.kinds, stream=event.stream, principal=event.principal)
        case WebhookPaused():
            return replace(webhook, stage=Stage.PAUSED)
        case WebhookResumed():
            return replace(webhook, stage=Stage.ACTIVE, is_failing=False)
        case SecretRotated():
            return replace(webhook, generation=event.generation)
        case WebhookReplayed():
            return replace(webhook, run=event.run, position=event.position, is_failing=False)
        case WebhookDeleted():
            return replace(webhook, stage=Stage.DELETED)
        case WebhookDelivered():
            return replace(webhook, position=event.position, is_failing=False)
        case WebhookFailing():
            return replace(webhook, is_failing=True)

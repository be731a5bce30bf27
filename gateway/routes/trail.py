"""The trail: who did what to whom, when, and on whose behalf; and actions that are done beside the node, on record like its own."""

from enum import StrEnum
from typing import Annotated

import msgspec
from starlette.responses import Response

from aggregates.action import ActionNoted, EndAction, Outcome, Subject, Why, Words
from aggregates.catalog import KINDS
from aggregates.values.roles import Permission
from gateway.api.bodies import NO_NUL
from gateway.api.calls import Call, Endpoint
from gateway.api.queries import PAGE, choice, instant, kind, words
from projections import audit

NAME_CHARACTERS_MAX = 300


class Shown(StrEnum):
    """How what somebody did or tried stands."""

    BEGUN = "begun"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    SUSPECTED = "suspected"


class Beside(StrEnum):
    """What is done with a node's files, by whoever can reach them."""

    BACKUP = "backup"
    EXPORT = "export"
    QUERY = "query"


class TrailRow(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody did something, or was refused: `principal` did `action` to `subject`, on behalf of `behalf`. `count` is how many requests
    the row stands for; `cause` the id of the command, or `@position` of the event, that led to it; times are seconds since the epoch."""

    tenant_id: str
    position: int
    principal: str
    action: str
    subject: str | None
    outcome: Shown
    code: str | None
    count: int
    reason: str | None
    behalf: str | None
    address: str | None
    user_agent: str | None
    request_id: str | None
    at: float
    recorded_at: float
    stream: str
    version: int
    kind: str
    command: str | None
    command_id: str
    cause: str
    correlation: str


class TrailPage(msgspec.Struct, frozen=True):
    """A page of the trail, the newest first; `next` is the `after` of the next page."""

    trail: list[TrailRow]
    next: int | None


class NoteAction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody is about to do with the node's files."""

    action: Beside
    subject: Annotated[Subject, NO_NUL] = ""
    reason: Annotated[Why, NO_NUL] = ""


class EndOfAction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How it ended."""

    outcome: Outcome
    code: Annotated[Words, NO_NUL] = ""


async def page(call: Call) -> Response:
    """Who did what to whom, the newest first. What an administrative action led to shows where and on whose behalf that was asked for."""
    rows = await call.read(
        audit.trail,
        call.tenant,
        principal=call.asked(PRINCIPAL),
        subject=call.asked(SUBJECT),
        outcome=call.asked(OUTCOME),
        kind=call.asked(KIND),
        behalf=call.asked(BEHALF),
        since=call.asked(SINCE),
        until=call.asked(UNTIL),
        before=call.cursor,
        limit=call.limit,
    )
    after = rows[-1]["position"] if len(rows) == call.limit else None
    return call.reply({"trail": rows, "next": after}, headers=call.link_to(after), is_page=True)


async def begin(call: Call) -> Response:
    """Puts on record what is about to be done with the node's files, such as a backup: where this is refused, it must not be done."""
    body = await call.body(NoteAction)
    action_id = await call.begin(body.subject, action=f"files.{body.action.value}", reason=body.reason)
    call.is_left_open = True
    return call.reply(ActionNoted(action_id=action_id), 201)


async def end(call: Call) -> Response:
    """Says how it ended. Only whoever began it can."""
    body = await call.body(EndOfAction)
    ending = EndAction(
        action_id=call.path["action_id"], principal=call.principal.name, outcome=body.outcome, code=body.code
    )
    return call.reply(await call.ask(ending))


PRINCIPAL = words("principal", "Only what this principal did.", None, characters_max=NAME_CHARACTERS_MAX)
SUBJECT = words("subject", "Only what was done to this, as `key-019…`.", None, characters_max=NAME_CHARACTERS_MAX)
OUTCOME = choice("outcome", "Only what stands so.", Shown)
KIND = kind("Only records of this kind, as `key.KeyIssued`.", "a kind of record, as key.KeyIssued", KINDS)
BEHALF = words(
    "on_behalf_of", "Only what was done on this one's behalf, with all that it led to.", None, characters_max=200
)
SINCE = instant("since", "Only what happened at this time or later.")
UNTIL = instant("until", "Only what happened before this time.")

ACTION = "/v1/audit/actions"
routes = (
    Endpoint(
        "GET",
        "/v1/audit/trail",
        page,
        Permission.AUDIT_READ,
        reply=TrailPage,
        rests_on=("",),
        query=(*PAGE, PRINCIPAL, SUBJECT, OUTCOME, KIND, BEHALF, SINCE, UNTIL),
    ),
    Endpoint("POST", ACTION, begin, Permission.AUDIT_NOTE, NoteAction, ActionNoted, 201, acts=True, is_kept=True),
    Endpoint("PUT", f"{ACTION}/{{action_id}}", end, Permission.AUDIT_NOTE, EndOfAction, ActionNoted),
)

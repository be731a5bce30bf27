"""Keys: an admin issues them and takes them back. A token is told once, in the answer that makes it."""

from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from aggregates.key import IssueKey, KeyAccepted, RevokeKey, Role, Stage, stream
from gateway import rows
from gateway.auth import ADMINS, digest_of
from gateway.bodies import body_type, to_command
from gateway.calls import Call, Endpoint, found
from gateway.fields import choosing, some_of, some_page
from gateway.queries import READ, REASON, choice, words
from gateway.sorting import listing
from projections import keys


class KeyMade(msgspec.Struct, frozen=True):
    """A new key's id, and its token."""

    key_id: str
    key: str


class KeyPage(msgspec.Struct, frozen=True):
    """Keys, the last issued first; `next` is the `after` of the next page."""

    keys: list[rows.Key]
    next: int | str | None


async def issue(call: Call) -> Response:
    """Issues a key of the caller's tenant."""
    body: Any = await call.body(body_type(IssueKey))
    key_id = call.node.system.ids.new()
    token = call.node.tokens.token(key_id)
    await call.begin(stream(key_id))
    accepted = await call.ask(to_command(IssueKey, body, key_id=key_id, digest=digest_of(token)))
    return call.reply(KeyMade(accepted.key_id, call.node.tokens.token(accepted.key_id)), 201)


async def page(call: Call) -> Response:
    """The tenant's keys, without their tokens, which nobody keeps."""
    narrowed = {one.name: call.asked(one) for one in FILTERS}
    return call.page("keys", await call.read(keys.page, call.tenant, **narrowed, **call.wish()))


async def find(call: Call) -> Response:
    """One key."""
    key_id = call.path["key_id"]
    return call.reply(found(await call.read(keys.find, call.tenant, key_id, only=call.only), "key", key_id))


async def revoke(call: Call) -> Response:
    """Revokes a key; it opens nothing from now on."""
    key_id = call.path["key_id"]
    if key_id == call.principal.key_id:
        raise HTTPException(409, "a key can't revoke itself; use another admin key")
    await call.begin(stream(key_id))
    return call.reply(await call.ask(RevokeKey(key_id=key_id, reason=call.reason)))


STREAM = stream("{key_id}")
SHOWN = (stream(""), "subject-")
FILTERS = (
    choice("role", "Only keys of this role.", Role),
    choice("status", "Only keys that stand here.", Stage),
    words("agent_id", "Only keys that are this agent's own.", None),
)
PAGE = listing(keys.SORTS, rows.Key)
SOME_PAGE = some_page(KeyPage, "keys", rows.Key)
routes = (
    Endpoint("POST", "/v1/keys", issue, ADMINS, body_type(IssueKey), KeyMade, 201, acts=ADMINS),
    Endpoint(
        "GET", "/v1/keys", page, ADMINS, reply=KeyPage, query=(*PAGE, *FILTERS), rests_on=SHOWN, also=(SOME_PAGE,)
    ),
    Endpoint(
        "GET",
        "/v1/keys/{key_id}",
        find,
        ADMINS,
        reply=rows.Key,
        query=(*READ, choosing(rows.Key)),
        rests_on=(STREAM, "subject-"),
        guards=STREAM,
        also=(some_of(rows.Key),),
    ),
    Endpoint(
        "DELETE", "/v1/keys/{key_id}", revoke, ADMINS, reply=KeyAccepted, query=(REASON,), acts=ADMINS, guards=STREAM
    ),
)

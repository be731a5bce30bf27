"""Keys: an admin issues them and takes them back. A token is told once, in the answer that makes it."""

from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from aggregates.key import IssueKey, KeyAccepted, RevokeKey, Role, stream
from gateway import rows
from gateway.auth import ADMINS, digest_of
from gateway.bodies import body_type, to_command
from gateway.calls import Call, Endpoint, found
from gateway.queries import PAGE, READ, REASON, choice
from projections import keys


class KeyMade(msgspec.Struct, frozen=True):
    """A new key's id, and its token."""

    key_id: str
    key: str


class KeyPage(msgspec.Struct, frozen=True):
    """Keys, the last issued first; `next` is the `after` of the next page."""

    keys: list[rows.Key]
    next: int | None


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
    role = call.asked(ROLE)
    return call.page("keys", await call.read(keys.newest, call.tenant, role=role, before=call.cursor, limit=call.limit))


async def find(call: Call) -> Response:
    """One key."""
    key_id = call.path["key_id"]
    return call.reply(found(await call.read(keys.find, call.tenant, key_id), "key", key_id))


async def revoke(call: Call) -> Response:
    """Revokes a key; it opens nothing from now on."""
    key_id = call.path["key_id"]
    if key_id == call.principal.key_id:
        raise HTTPException(409, "a key can't revoke itself; use another admin key")
    await call.begin(stream(key_id))
    return call.reply(await call.ask(RevokeKey(key_id=key_id, reason=call.reason)))


STREAM = stream("{key_id}")
SHOWN = (stream(""), "subject-")
ROLE = choice("role", "Only keys of this role.", Role)
routes = (
    Endpoint("POST", "/v1/keys", issue, ADMINS, body_type(IssueKey), KeyMade, 201, acts=ADMINS),
    Endpoint("GET", "/v1/keys", page, ADMINS, reply=KeyPage, query=(*PAGE, ROLE), rests_on=SHOWN),
    Endpoint(
        "GET",
        "/v1/keys/{key_id}",
        find,
        ADMINS,
        reply=rows.Key,
        query=READ,
        rests_on=(STREAM, "subject-"),
        guards=STREAM,
    ),
    Endpoint(
        "DELETE", "/v1/keys/{key_id}", revoke, ADMINS, reply=KeyAccepted, query=(REASON,), acts=ADMINS, guards=STREAM
    ),
)

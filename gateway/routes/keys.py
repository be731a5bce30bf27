"""Keys: an admin issues them and takes them back. A token is told once, in the answer that makes it."""

from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from aggregates.key import IssueKey, KeyAccepted, ReplaceKey, RevokeKey, Stage, Successors, stream
from aggregates.values.roles import Permission, Role
from gateway.api import rows
from gateway.api.bodies import body_type, to_command
from gateway.api.calls import Call, Endpoint, found, tenant_in
from gateway.api.fields import choosing, some_of, some_page
from gateway.api.queries import READ, REASON, TENANT, choice, words
from gateway.api.sorting import listing
from gateway.identity.auth import check_grant, digest_of
from gateway.identity.ranks import check_key
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
    """Issues a key of the caller's tenant; an admin of the node gives another tenant its first one so."""
    tenant = tenant_in(call)
    body: Any = await call.body(body_type(IssueKey))
    check_grant(call.principal, body.role, body.scopes)
    key_id = call.node.system.ids.new()
    token = call.node.tokens.token(key_id)
    await call.begin(stream(key_id))
    accepted = await call.ask(to_command(IssueKey, body, key_id=key_id, digest=digest_of(token)), tenant=tenant)
    return call.reply(KeyMade(accepted.key_id, call.node.tokens.token(accepted.key_id)), 201)


async def page(call: Call) -> Response:
    """The tenant's keys, without their tokens, which nobody keeps."""
    narrowed = {one.name: call.asked(one) for one in FILTERS}
    return call.page("keys", await call.read(keys.page, call.tenant, **narrowed, **call.wish()))


async def find(call: Call) -> Response:
    """One key."""
    key_id = call.path["key_id"]
    return call.reply(found(await call.look(keys.find, call.tenant, key_id, only=call.only), "key", key_id))


async def replace(call: Call) -> Response:
    """Gives a key a successor that is good for the same, and until the same time where none is named; the key itself goes on for the
    overlap. Who is no admin replaces their own, by the key itself, and for no longer."""
    body: Any = await call.body_or(body_type(ReplaceKey))
    old_id, key_id = call.path["key_id"], call.node.system.ids.new()
    row = found(await call.read(keys.find, call.tenant, old_id), "key", old_id)
    _check_own(call, row["expires_at"], body.expires_at)
    body = msgspec.structs.replace(body, expires_at=body.expires_at or row["expires_at"])
    check_key(call, row)
    digest = digest_of(call.node.tokens.token(key_id))
    await call.begin(stream(old_id))
    kept = {"label": row["label"], "data_subject": row["data_subject"]}
    accepted = await call.ask(to_command(ReplaceKey, body, key_id=old_id, successor_id=key_id, digest=digest, **kept))
    return call.reply(KeyMade(accepted.key_id, call.node.tokens.token(accepted.key_id)), 201)


def _check_own(call: Call, ends: float | None, wanted: float | None) -> None:
    """Raises `HTTPException` 403 where somebody who is no admin replaces another's key, has but a session, or would gain time."""
    if Permission.KEYS_MANAGE in call.principal.permissions:
        return
    if call.path["key_id"] != call.principal.key_id:
        raise HTTPException(403, "who is no admin replaces their own key")
    if "authorization" not in call.request.headers:
        raise HTTPException(403, "a session may not make keys: send the header Authorization: Bearer KEY")
    if ends is not None and wanted is not None and wanted > ends:
        raise HTTPException(403, "who is no admin can't have a key for longer than the one before")


async def revoke(call: Call) -> Response:
    """Revokes a key; it opens nothing from now on. So do the keys that it made in its own place, which whoever stole it may have, or as
    `successors` says."""
    key_id = call.path["key_id"]
    if key_id == call.principal.key_id:
        raise HTTPException(409, "a key can't revoke itself; use another admin key")
    row = found(await call.read(keys.find, call.tenant, key_id), "key", key_id)
    check_key(call, row)
    await call.begin(stream(key_id))
    wanted = Successors(call.asked(SUCCESSORS) or Successors.OWN)
    revoking = RevokeKey(key_id=key_id, reason=call.reason, successors=wanted, asked_by=call.principal.key_id)
    return call.reply(await call.ask(revoking))


STREAM = stream("{key_id}")
SHOWN = (stream(""), "subject-")
FILTERS = (
    choice("role", "Only keys of this role.", Role),
    choice("status", "Only keys that stand here.", Stage),
    words("agent_id", "Only keys that are this agent's own.", None),
)
SUCCESSORS = choice(
    "successors",
    "Which keys that took this one's place are revoked, too: those that it made itself (`own`, where nothing is said), `all`, `none`.",
    Successors,
)
PAGE = listing(keys.SORTS, rows.Key)
SOME_PAGE = some_page(KeyPage, "keys", rows.Key)
routes = (
    Endpoint(
        "POST", "/v1/keys", issue, Permission.KEYS_MANAGE, body_type(IssueKey), KeyMade, 201, (TENANT,), acts=True
    ),
    Endpoint(
        "GET",
        "/v1/keys",
        page,
        Permission.KEYS_MANAGE,
        reply=KeyPage,
        query=(*PAGE, *FILTERS),
        rests_on=SHOWN,
        also=(SOME_PAGE,),
    ),
    Endpoint(
        "GET",
        "/v1/keys/{key_id}",
        find,
        Permission.KEYS_MANAGE,
        reply=rows.Key,
        query=(*READ, choosing(rows.Key)),
        rests_on=SHOWN,
        guards=STREAM,
        also=(some_of(rows.Key),),
    ),
    Endpoint(
        "POST",
        "/v1/keys/{key_id}/replacement",
        replace,
        Permission.SELF_MANAGE,
        body_type(ReplaceKey) | None,
        KeyMade,
        201,
        acts=True,
        guards=STREAM,
    ),
    Endpoint(
        "DELETE",
        "/v1/keys/{key_id}",
        revoke,
        Permission.KEYS_MANAGE,
        reply=KeyAccepted,
        query=(REASON, SUCCESSORS),
        acts=True,
        guards=STREAM,
    ),
)

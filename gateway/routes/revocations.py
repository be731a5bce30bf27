"""Revocations of identity providers' tokens: one by its id, or all that a subject was given before a moment."""

from functools import partial
from typing import Annotated

import msgspec
from starlette.responses import Response

from aggregates.revocation import Kind, ListRevocations, RevocationAccepted, RevokeTokens, stream
from aggregates.user import Issuer, SubjectAtIssuer
from aggregates.values.numbers import Instant
from aggregates.values.roles import Permission
from aggregates.values.text import Note
from gateway.api.bodies import NO_NUL
from gateway.api.calls import Call, Endpoint, tenant_in
from gateway.api.queries import LIMIT, TENANT
from gateway.identity.bearers import SERVICE, Vouched, target_of
from gateway.identity.ranks import check_tokens
from gateway.identity.signed import LEEWAY_SECONDS
from runtime.errors import Refused

Service = Annotated[str, msgspec.Meta(pattern=rf"^{SERVICE}[0-9a-f]{{32}}$(?!\n)")]


class RevokeTokensBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token of an issuer by its `jti`; or all that somebody was given before a moment, which is now where none is given: by the
    `subject` that the issuer calls them, or by the `principal` that the log calls them."""

    issuer: Annotated[Issuer, NO_NUL] = ""
    jti: Annotated[SubjectAtIssuer, NO_NUL] | None = None
    subject: Annotated[SubjectAtIssuer, NO_NUL] | None = None
    principal: Service | None = None
    issued_before: Instant | None = None
    reason: Annotated[Note, NO_NUL] = ""


class RevocationList(msgspec.Struct, frozen=True):
    """Revocations that hold, the newest first. Whose they are is told by digests alone."""

    revocations: list[RevocationAccepted]


async def revoke(call: Call) -> Response:
    """Tokens of an identity provider open nothing from the next request on, and feeds that were opened with them end. For who may do all
    that their holder may: of tokens that were not shown here lately, all that their issuer's may."""
    tenant = tenant_in(call)
    body = await call.body(RevokeTokensBody)
    now = call.node.system.clock.now()
    # The provider's clock may be before ours: what it has issued until now can bear a time that is still to come.
    before = now + LEEWAY_SECONDS if body.issued_before is None else body.issued_before
    command = RevokeTokens(
        target=_target(call, tenant, body),
        kind=Kind.TOKEN if body.jti is not None else Kind.SUBJECT,
        issued_before=before,
        until=max(now, before) + call.node.bearers.lifetime_seconds_max + 2 * LEEWAY_SECONDS,
        reason=body.reason,
    )
    check_tokens(call, body.issuer, partial(_is_meant, call, tenant, body))
    await call.begin(stream(tenant, command.target))
    return call.reply(await call.ask(command, tenant=tenant), 201)


def _target(call: Call, tenant: str, body: RevokeTokensBody) -> str:
    """What is revoked. Raises Refused where that is not clear."""
    named = [(claim, value) for claim, value in (("jti", body.jti), ("sub", body.subject)) if value is not None]
    if len(named) + (body.principal is not None) != 1:
        raise Refused("revocation_unclear", "one of jti, subject and principal is named", status=422)
    if body.principal is not None:
        return body.principal.removeprefix(SERVICE)
    if call.node.bearers.issuer(body.issuer) is None:
        raise Refused("issuer_unknown", "tokens of this issuer are not taken here", status=422)
    ((claim, value),) = named
    return target_of(call.node.store.origin, tenant, body.issuer, claim, value)


def _is_meant(call: Call, tenant: str, body: RevokeTokensBody, vouched: Vouched) -> bool:
    """Whether this is about a token that somebody has shown."""
    if vouched.tenant != tenant:
        return False
    if body.principal is not None:
        return vouched.admission(call.node.store.origin).principal.name == body.principal
    claim = vouched.token_id if body.jti is not None else vouched.subject
    return vouched.issuer == body.issuer and claim == (body.subject if body.jti is None else body.jti)


async def listed(call: Call) -> Response:
    """The revocations of the tenant that hold; one is forgotten when all tokens that it is about have expired."""
    held = await call.ask(ListRevocations(limit=call.limit))
    return call.reply(RevocationList([*held]))


MANAGE = Permission.KEYS_MANAGE
routes = (
    Endpoint(
        "POST", "/v1/revocations", revoke, MANAGE, RevokeTokensBody, RevocationAccepted, 201, (TENANT,), acts=True
    ),
    Endpoint("GET", "/v1/revocations", listed, MANAGE, reply=RevocationList, query=(LIMIT,)),
)

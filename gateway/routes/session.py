"""Signing a browser in, with a one-time ticket or a password, and out; new tickets for whoever has a key; who somebody is."""

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from aggregates.key import stream as key_stream
from aggregates.session import EndSession, SessionAccepted, Way, stream
from aggregates.user import stream as user_stream
from aggregates.values.ids import TENANT_NAME
from aggregates.values.roles import Permission, Principal, Role
from gateway.api import rows
from gateway.api.calls import Call, Endpoint, found
from gateway.api.fields import some_page
from gateway.api.queries import REASON, words
from gateway.api.sorting import listing
from gateway.identity.auth import check_origin, digest_of, key_id_of, whose
from gateway.identity.cookies import delete_cookie
from gateway.identity.passwords import CHARACTERS_MAX
from gateway.identity.ranks import check_session
from gateway.identity.sign_in import by_password, compartment_of, end_session, open_session, user_principal
from gateway.identity.tickets import LINK_SECONDS, Ticket
from gateway.limits.admission import check_sign_in
from gateway.origins import lock_address_of
from gateway.parts import TENANT, Compartment, Node
from projections import sessions
from runtime.delivery import Context

NAME_CHARACTERS_MAX = 254


class Link(msgspec.Struct, frozen=True):
    """Where a browser signs in, once, within so many seconds."""

    path: str
    seconds: float


class Password(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user's name or e-mail address, and password."""

    name: Annotated[str, Meta(max_length=NAME_CHARACTERS_MAX)]
    password: Annotated[str, Meta(max_length=CHARACTERS_MAX)]
    tenant: Annotated[str, Meta(pattern=TENANT_NAME)] = TENANT


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """As whom the caller is known, and what they may do."""

    principal: str
    tenant: str
    role: Role
    journal: str
    permissions: list[Permission]
    agent_id: str | None = None
    user_id: str | None = None


class SessionPage(msgspec.Struct, frozen=True):
    """Sessions, the last opened first; `next` is the `after` of the next page."""

    sessions: list[rows.Session]
    next: int | str | None


async def sign_in(call: Call) -> Response:
    """Takes the ticket of a sign-in link, once, for a session cookie, and leads on to the console."""
    check_sign_in(call.node.visitors, lock_address_of(call.request))
    name = call.asked(TICKET)
    if (ticket := call.node.tickets.peek(name)) is None:
        raise HTTPException(401, "this ticket is unknown, used or too old; `gavel keys link` prints a new link")
    call.node, principal = await _holder(call.node, ticket)
    if call.request.method == "HEAD":  # who only looks whether the link leads somewhere does not use it up
        return RedirectResponse("/", 303, {"Cache-Control": "no-store"})
    await call.begin(key_stream(principal.key_id), by=principal)
    if call.node.tickets.redeem(name) is None:
        raise HTTPException(401, "this ticket has just been used")
    response = RedirectResponse("/", 303, {"Cache-Control": "no-store"})
    await open_session(call.node, call.request, response, principal, Way.LINK, _as(principal))
    return response


async def _holder(node: Compartment, ticket: Ticket) -> tuple[Compartment, Principal]:
    """Whose key the ticket stands for, and where that is on record. Raises `HTTPException` 401 where it opens nothing any more."""
    assert isinstance(node, Node)
    compartment = node.compartment(ticket.journal)
    return compartment, await whose(ticket.digest, compartment)


def _as(principal: Principal) -> Context:
    return Context(tenant=principal.tenant, principal=principal.name)


async def with_password(call: Call) -> Response:
    """Takes a user's name and password for a session cookie. So many wrong ones, and for a while none is looked at; keys, and sessions
    that are open, are not concerned."""
    if (
        "origin" in call.request.headers
    ):  # programs send none; a browser does, and must not be signed in by another page
        check_origin(call.request)
    node = call.node
    assert isinstance(node, Node)
    given = await call.body(Password)
    user_id = await by_password(node, call.request, given.tenant, given.name, given.password)
    call.node = compartment_of(node, given.tenant)
    principal = await user_principal(call.node, given.tenant, user_id)
    await call.begin(user_stream(user_id), by=principal)
    response = call.reply(me_of(principal, call.node))
    await open_session(call.node, call.request, response, principal, Way.PASSWORD, _as(principal))
    return response


async def make_link(call: Call) -> Response:
    """A sign-in link for the key that asks; a session may not make others, or signing out would end nothing."""
    token = call.request.headers.get("authorization", "").partition(" ")[2]
    if key_id_of(token.strip()) is None:
        raise HTTPException(403, "a link is for the key that asks for it: send the header Authorization: Bearer KEY")
    await call.begin(key_stream(call.principal.key_id))
    ticket = call.node.tickets.issue(digest_of(token.strip()), LINK_SECONDS, call.node.journal, call.tenant)
    return call.reply(Link(f"/session?ticket={ticket}", LINK_SECONDS), 201)


async def sign_out(call: Call) -> Response:
    """Ends the session of the cookie."""
    principal = call.principal
    await call.begin(user_stream(principal.user_id) if principal.user_id else key_stream(principal.key_id))
    await end_session(call.node, call.request, call.context(), "signed out")
    response = Response(status_code=204)
    delete_cookie(response, call.request)
    return response


async def me(call: Call) -> Response:
    """As whom the caller is known here, and what they may do."""
    return call.reply(me_of(call.principal, call.node))


def me_of(principal: Principal, node: Compartment) -> Me:
    return Me(
        principal=principal.name,
        tenant=principal.tenant,
        role=principal.role,
        journal=node.journal,
        permissions=sorted(principal.permissions),
        agent_id=principal.agent_id or None,
        user_id=principal.user_id or None,
    )


async def page(call: Call) -> Response:
    """The tenant's sessions, open and ended."""
    narrowed = {"user_id": call.asked(USER_ID), "key_id": call.asked(KEY_ID)}
    return call.page("sessions", await call.read(sessions.page, call.tenant, **narrowed, **call.wish()))


async def end(call: Call) -> Response:
    """Ends somebody's session; it opens nothing from now on. For who may do all that the session's owner may."""
    session_id = call.path["session_id"]
    row = found(await call.read(sessions.find, call.tenant, session_id), "session", session_id)
    await check_session(call, row)
    await call.begin(stream(session_id))
    return call.reply(await call.ask(EndSession(session_id=session_id, reason=call.reason)))


TICKET = words("ticket", "What the sign-in link carries.", "")
USER_ID = words("user_id", "Only sessions of this user.", None)
KEY_ID = words("key_id", "Only sessions of this key.", None)
routes = (
    Endpoint("GET", "/session", sign_in, None, status=303, query=(TICKET,)),
    Endpoint("POST", "/session", make_link, Permission.SESSIONS_OPEN, reply=Link, status=201, acts=True, is_kept=True),
    Endpoint("DELETE", "/session", sign_out, Permission.SELF_MANAGE, status=204, acts=True),
    Endpoint("POST", "/session/password", with_password, None, Password, Me),
    Endpoint("GET", "/v1/me", me, Permission.STATUS_READ, reply=Me),
    Endpoint(
        "GET",
        "/v1/sessions",
        page,
        Permission.USERS_MANAGE,
        reply=SessionPage,
        query=(*listing(sessions.SORTS, rows.Session), USER_ID, KEY_ID),
        rests_on=(stream(""),),
        also=(some_page(SessionPage, "sessions", rows.Session),),
    ),
    Endpoint(
        "DELETE",
        "/v1/sessions/{session_id}",
        end,
        Permission.USERS_MANAGE,
        reply=SessionAccepted,
        query=(REASON,),
        acts=True,
    ),
)

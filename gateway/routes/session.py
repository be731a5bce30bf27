"""Signing a browser in with a one-time ticket, and out; and new tickets for whoever has a key."""

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from aggregates.key import stream
from aggregates.values.roles import Principal
from gateway.auth import EVERYBODY, WATCHERS, digest_of, whose
from gateway.calls import Call, Endpoint
from gateway.parts import Compartment, Node
from gateway.queries import words
from gateway.sessions import COOKIE, LINK_SECONDS, SESSION_SECONDS, Pass


class Link(msgspec.Struct, frozen=True):
    """Where a browser signs in, once, within so many seconds."""

    path: str
    seconds: float


async def sign_in(call: Call) -> Response:
    """Takes the ticket of a sign-in link, once, for a session cookie, and leads on to the console."""
    ticket = call.asked(TICKET)
    session = None
    if (found := call.node.sessions.peek(ticket)) is not None:
        call.node, principal = await _holder(call.node, found)
        await call.begin(stream(principal.key_id), by=principal)
        session = call.node.sessions.redeem(ticket)
    if session is None:
        raise HTTPException(401, "this ticket is unknown, used or too old; `gavel keys link` prints a new link")
    response = RedirectResponse("/", 303, {"Cache-Control": "no-store"})
    response.set_cookie(COOKIE, session, max_age=int(SESSION_SECONDS), httponly=True, samesite="strict")
    return response


async def _holder(node: Compartment, ticket: Pass) -> tuple[Compartment, Principal]:
    """Whose key the ticket stands for, and where that is on record. Raises `HTTPException` 401 where it opens nothing any more."""
    assert isinstance(node, Node)
    compartment = node.compartment(ticket.journal)
    return compartment, await whose(ticket.digest, compartment)


async def make_link(call: Call) -> Response:
    """A sign-in link for the key that asks; a session may not make others, or signing out would end nothing."""
    scheme, _, token = call.request.headers.get("authorization", "").partition(" ")
    if not scheme:
        raise HTTPException(403, "a link is for the key that asks for it: send the header Authorization: Bearer KEY")
    await call.begin(stream(call.principal.key_id))
    ticket = call.node.sessions.ticket(digest_of(token.strip()), LINK_SECONDS, call.node.journal)
    return call.reply(Link(f"/session?ticket={ticket}", LINK_SECONDS), 201)


async def sign_out(call: Call) -> Response:
    """Ends the session of the cookie."""
    await call.begin(stream(call.principal.key_id))
    call.node.sessions.end(call.request.cookies.get(COOKIE, ""))
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


TICKET = words("ticket", "What the sign-in link carries.", "")
routes = (
    Endpoint("GET", "/session", sign_in, None, status=303, query=(TICKET,)),
    Endpoint("POST", "/session", make_link, WATCHERS, reply=Link, status=201, acts=WATCHERS),
    Endpoint("DELETE", "/session", sign_out, EVERYBODY, status=204, acts=WATCHERS),
)

"""Signing a browser in with a one-time ticket, and out; and new tickets for whoever has a key."""

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from gateway.auth import EVERYBODY, WATCHERS, digest_of
from gateway.calls import Call, Endpoint
from gateway.queries import words
from gateway.sessions import COOKIE, LINK_SECONDS, SESSION_SECONDS


class Link(msgspec.Struct, frozen=True):
    """Where a browser signs in, once, within so many seconds."""

    path: str
    seconds: float


async def sign_in(call: Call) -> Response:
    """Takes the ticket of a sign-in link, once, for a session cookie, and leads on to the console."""
    session = call.node.sessions.redeem(call.asked(TICKET))
    if session is None:
        raise HTTPException(401, "this ticket is unknown, used or too old; `gavel keys link` prints a new link")
    response = RedirectResponse("/", 303, {"Cache-Control": "no-store"})
    response.set_cookie(COOKIE, session, max_age=int(SESSION_SECONDS), httponly=True, samesite="strict")
    return response


async def make_link(call: Call) -> Response:
    """A sign-in link for the key that asks; a session may not make others, or signing out would end nothing."""
    scheme, _, token = call.request.headers.get("authorization", "").partition(" ")
    if not scheme:
        raise HTTPException(403, "a link is for the key that asks for it: send the header Authorization: Bearer KEY")
    ticket = call.node.sessions.ticket(digest_of(token.strip()), LINK_SECONDS, call.node.journal)
    return call.reply(Link(f"/session?ticket={ticket}", LINK_SECONDS), 201)


async def sign_out(call: Call) -> Response:
    """Ends the session of the cookie."""
    call.node.sessions.end(call.request.cookies.get(COOKIE, ""))
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


TICKET = words("ticket", "What the sign-in link carries.", "")
routes = (
    Endpoint("GET", "/session", sign_in, None, status=303, query=(TICKET,)),
    Endpoint("POST", "/session", make_link, WATCHERS, reply=Link, status=201),
    Endpoint("DELETE", "/session", sign_out, EVERYBODY, status=204),
)

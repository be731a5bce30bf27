"""Signing a browser in with a one-time ticket, and out."""

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from gateway.auth import EVERYBODY
from gateway.calls import Call, Endpoint
from gateway.queries import words
from gateway.sessions import COOKIE, SESSION_SECONDS


async def sign_in(call: Call) -> Response:
    """Takes the ticket of a sign-in link, once, for a session cookie, and leads on to the console."""
    session = call.node.sessions.redeem(call.asked(TICKET))
    if session is None:
        raise HTTPException(401, "this ticket is unknown, used or too old; the node can print a new link")
    response = RedirectResponse("/", 303, {"Cache-Control": "no-store"})
    response.set_cookie(COOKIE, session, max_age=int(SESSION_SECONDS), httponly=True, samesite="strict")
    return response


async def sign_out(call: Call) -> Response:
    """Ends the session of the cookie."""
    call.node.sessions.end(call.request.cookies.get(COOKIE, ""))
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


TICKET = words("ticket", "What the sign-in link carries.", "")
routes = (
    Endpoint("GET", "/session", sign_in, None, status=303, query=(TICKET,)),
    Endpoint("DELETE", "/session", sign_out, EVERYBODY, status=204),
)

"""Signing a browser in: by a ticket, a password, or an identity provider's word; each ends in a session that the security actor keeps."""

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response

from aggregates.lockout import NoteFailure, NoteSuccess, Scope
from aggregates.session import EndSession, OpenSession, Way, WhichSession
from aggregates.user import FindLogin, FindUser
from aggregates.values.roles import Principal
from gateway.identity.cookies import cookie_of, new_cookie, set_cookie
from gateway.limits.admission import check_sign_in
from gateway.origins import lock_address_of
from gateway.parts import Compartment, Node
from runtime.delivery import Context

SESSION_SECONDS = 12 * 3600.0
UNKNOWN = "name or password is wrong"


def compartment_of(node: Node, tenant: str) -> Compartment:
    """Where a tenant's users are. Raises Unreachable where its journal is closed."""
    return node.home_of(tenant)


async def by_password(node: Node, connection: HTTPConnection, tenant: str, name: str, password: str) -> str:
    """The id of the user who has this name and password; each wrong one counts for the account and for the address.

    Raises Refused 429 while passwords are not looked at, and `HTTPException` 401, which says the same whatever is wrong.
    """
    if node.settings.oidc_issuer:
        raise HTTPException(409, "people sign in at this node's identity provider")
    compartment = compartment_of(node, tenant)
    context = Context(tenant=tenant, principal="gateway")
    address = lock_address_of(connection)
    check_sign_in(node.visitors, address)
    # A stream's name stays for ever, and an address may be a person's.
    place = compartment.tokens.pseudonym(f"address {address}")
    nobody = compartment.tokens.pseudonym(f"{tenant} {name.casefold()}")
    question = FindLogin(name=name, address=place, nobody=nobody)
    found = await compartment.system.ask(question, context)
    is_right = await node.passwords.is_right(tenant, found.password_hash, password)
    # While this one was looked at, others may have been wrong: a flood of guesses must not get past the lock.
    await compartment.system.ask(question, context)
    if is_right:
        await compartment.system.ask(NoteSuccess(scope=Scope.ACCOUNT, whose=found.user_id), context)
        return found.user_id
    for scope, whose in ((Scope.ADDRESS, place), (Scope.ACCOUNT, found.account)):
        await compartment.system.ask(NoteFailure(scope=scope, whose=whose), context)
    raise HTTPException(401, UNKNOWN)


async def open_session(
    compartment: Compartment,
    connection: HTTPConnection,
    response: Response,
    principal: Principal,
    way: Way,
    context: Context,
) -> None:
    """Opens a session for the principal and gives its cookie to the browser; one that the browser had is ended."""
    await end_session(compartment, connection, context, "signed in anew")
    cookie = new_cookie(compartment.journal)
    opening = OpenSession(
        session_id=compartment.system.ids.new(),
        digest=cookie.digest,
        way=way,
        ends_at=compartment.system.clock.now() + SESSION_SECONDS,
        key_id="" if principal.user_id else principal.key_id,
        user_id=principal.user_id,
    )
    await compartment.system.ask(opening, context)
    set_cookie(response, connection, cookie, SESSION_SECONDS)


async def end_session(compartment: Compartment, connection: HTTPConnection, context: Context, reason: str) -> None:
    """Ends the session of the browser's cookie, where it has one here."""
    cookie = cookie_of(connection)
    if cookie is None or cookie.journal != compartment.journal:
        return
    session_id = await compartment.system.ask(WhichSession(digest=cookie.digest), context)
    if session_id:
        await compartment.system.ask(EndSession(session_id=session_id, reason=reason), context)


async def user_principal(compartment: Compartment, tenant: str, user_id: str) -> Principal:
    """As whom a user asks. Raises Refused where nobody lets the user in."""
    return await compartment.system.ask(FindUser(user_id=user_id), Context(tenant=tenant, principal="gateway"))

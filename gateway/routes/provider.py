"""Signing in at an identity provider: where a browser is sent, what it comes back with, and what ways to sign in there are at all."""

import re
from urllib.parse import urlsplit

import msgspec
import structlog
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from aggregates.session import Way
from aggregates.user import stream as user_stream
from gateway.api.calls import Call, Endpoint
from gateway.api.queries import Parameter, words
from gateway.identity.cookies import delete_login_cookie, login_cookie_of, set_login_cookie
from gateway.identity.fetching import NotFetched
from gateway.identity.login import LOGIN_SECONDS, Login
from gateway.identity.pages import SignInRefused, landing, refusal
from gateway.identity.people import admitted
from gateway.identity.provider import Person, Provider
from gateway.identity.sign_in import open_session
from gateway.identity.signed import BadToken
from gateway.limits.admission import check_sign_in
from gateway.origins import lock_address_of
from gateway.parts import Node
from runtime.delivery import Context
from runtime.errors import Refused

CALLBACK = "/session/oidc/callback"
PATH = re.compile(r"/(?![/\\])[!-~]{0,499}")
CODE_CHARACTERS_MAX = 2000

log = structlog.get_logger("gateway.identity")


class ProviderWay(msgspec.Struct, frozen=True):
    """An identity provider: its name, where a browser begins, and where it signs out of the provider too, if that is known."""

    name: str
    path: str
    sign_out: str | None


class Ways(msgspec.Struct, frozen=True):
    """How people sign in at this node; a link that `gavel keys link` prints always works."""

    password: bool
    provider: ProviderWay | None


async def ways(call: Call) -> Response:
    """How people sign in here; asks nobody else."""
    node = _node(call)
    provider = node.sign_ins.provider
    way = None
    if provider is not None:
        landing_url = _redirect_url(call, provider).removesuffix(CALLBACK) + "/"
        way = ProviderWay(provider.client.name, "/session/oidc", provider.sign_out_url(landing_url))
    return call.reply(Ways(not node.settings.oidc_issuer, way), headers={"Cache-Control": "no-store"})


async def begin(call: Call) -> Response:
    """Leads a browser to the identity provider, and marks it: only there can the sign-in end."""
    node, provider = _node(call), _provider(call)
    login = node.sign_ins.logins.begin(call.asked(NEXT))
    try:
        url = await provider.authorization_url(login, _redirect_url(call, provider))
    except NotFetched as error:
        raise HTTPException(502, "the identity provider does not answer") from error
    response = RedirectResponse(url, 303, {"Cache-Control": "no-store"})
    set_login_cookie(response, call.request, node.sign_ins.logins.cookie(login), LOGIN_SECONDS)
    return response


async def sign_in(call: Call) -> Response:
    """Takes what the browser brings back from the identity provider for a session cookie, and leads on to the console."""
    try:
        return await _signed_in(call)
    except SignInRefused as refused:
        if "text/html" not in call.request.headers.get("accept", ""):
            raise
        call.failed(refused)
        return refusal(refused)


async def _signed_in(call: Call) -> Response:
    node, provider = _node(call), _provider(call)
    check_sign_in(node.visitors, lock_address_of(call.request))
    login = _login(call, node)
    person = await _person(call, provider, login)
    call.node = node.home_of(provider.client.tenant)
    try:
        principal = await admitted(call.node.system, provider.client, person)
    except Refused as refused:
        raise SignInRefused(f"you are not let in: {refused.code.replace('_', ' ')}") from refused
    await call.begin(user_stream(principal.user_id), by=principal)
    response = landing(login.next)
    context = Context(tenant=principal.tenant, principal=principal.name)
    await open_session(call.node, call.request, response, principal, Way.PROVIDER, context)
    delete_login_cookie(response, call.request)
    return response


def _login(call: Call, node: Node) -> Login:
    """The login that this browser has begun and that the answer is to. Raises SignInRefused."""
    login = node.sign_ins.logins.read(login_cookie_of(call.request))
    if login is None or call.asked(STATE) != login.state:
        raise SignInRefused("this sign-in was not begun in this browser, or more than ten minutes ago")
    if not node.sign_ins.logins.end(login):
        raise SignInRefused("this sign-in has ended already; begin another one")
    return login


async def _person(call: Call, provider: Provider, login: Login) -> Person:
    """Who the provider says it is. Raises SignInRefused."""
    code, error = call.asked(CODE), call.asked(ERROR)
    try:
        await provider.check_issuer(call.asked(ISSUER))
        if error:
            raise BadToken(f"the identity provider says {error if ERROR_CODE.fullmatch(error) else 'no'}")
        if not code:
            raise BadToken("the identity provider has sent no code")
        return await provider.person(code, login, _redirect_url(call, provider))
    except BadToken as bad:
        raise SignInRefused(f"what the identity provider has sent is not taken: {bad}") from bad
    except NotFetched as fault:
        log.warning("sign_in_not_confirmed", reason=str(fault))
        raise SignInRefused("the identity provider has not confirmed the sign-in") from fault


def _node(call: Call) -> Node:
    node: Node = call.request.app.state.node
    return node


def _provider(call: Call) -> Provider:
    provider = _node(call).sign_ins.provider
    if provider is None:
        raise HTTPException(404, "nobody signs in at an identity provider here")
    return provider


def _redirect_url(call: Call, provider: Provider) -> str:
    if provider.client.redirect_url:
        return provider.client.redirect_url
    url = urlsplit(str(call.request.url))
    return f"{url.scheme}://{url.netloc}{CALLBACK}"


def _own_path(text: str) -> str:
    """A path of this node's own: what is another site's for any browser, is none."""
    if not PATH.fullmatch(text) or "\\" in text:
        raise Refused("query_invalid", "next must be a path of this node, beginning with one slash", status=422)
    return text


ERROR_CODE = re.compile(r"[a-z_]{1,50}")
NEXT: Parameter[str] = Parameter(
    "next",
    "Where to go then: a path of this node.",
    {"type": "string", "maxLength": 500, "pattern": f"^{PATH.pattern}$", "examples": ["/"]},
    _own_path,
    "/",
)
STATE = words("state", "What the browser was sent away with.", "")
CODE = words("code", "What the sign-in is confirmed by.", "", characters_max=CODE_CHARACTERS_MAX)
ISSUER = words("iss", "Who answers (RFC 9207).", "")
ERROR = words("error", "Why there is no code.", "")
routes = (
    Endpoint("GET", "/session/ways", ways, None, reply=Ways),
    Endpoint("GET", "/session/oidc", begin, None, status=303, query=(NEXT,)),
    Endpoint("GET", CALLBACK, sign_in, None, media="text/html", query=(STATE, CODE, ISSUER, ERROR)),
)

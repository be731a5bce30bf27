"""Who is asking: bearer keys, tokens of identity providers and session cookies become a Principal, and a table says which role may do what.

A token is `gvl_<key id>_<secret>`, its secret derived from the key's id and the node's secret: a registration that is
repeated gets the same token, although only its sha256 is ever recorded. A token of a strictly isolated tenant names its
journal, `gvl_<journal>_<key id>_<secret>`, and is looked for there alone: this is where a caller's compartment is chosen.
A token of an identity provider (a JWT) says its tenant; who trusts which provider is `gateway/identity`'s matter. Each request asks the
compartment's security actor, so that a revocation holds from the next request on.
"""

import base64
import hmac
import re
from functools import partial
from hashlib import sha256
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from aggregates.journal import SHARED
from aggregates.key import Authenticate, KeyRevoked
from aggregates.revocation import AdmitToken, TokensRevoked
from aggregates.session import FindSession, SessionEnded
from aggregates.subject import SubjectErased
from aggregates.user import UserChanged, UserDisabled, UserRemoved
from aggregates.values.roles import NODE_WIDE, Permission, Principal, Role, granted, roles_with
from gateway.door.heads import said
from gateway.identity.bearers import Bearers, Check
from gateway.identity.cookies import cookie_of
from gateway.identity.signed import BadToken, is_signed
from runtime.actor import Reply
from runtime.delivery import Context
from runtime.errors import Failure, Refused
from runtime.system import System

SECRET_CHARACTERS = 32
TOKEN = re.compile(
    r"gvl_(?:([a-z][a-z0-9-]{0,30})_)?([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})_[A-Za-z0-9_-]{32}"
)
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
KNOCKING = Context(tenant="", principal="gateway")

REVOCATIONS = (KeyRevoked, SessionEnded, TokensRevoked, UserDisabled, UserRemoved, UserChanged, SubjectErased)
"""After these somebody may be welcome no more."""

OWN = frozenset({Permission.AGENTS_CONNECT, Permission.AGENTS_ACT, Permission.AGENTS_MANAGE})
"""With an agent's own key good for that agent alone."""


class Compartment(Protocol):
    """What authentication needs of a journal and what stands on it."""

    @property
    def system(self) -> System: ...

    def is_home_of(self, tenant: str) -> bool: ...

    def is_looked_after_by(self, tenant: str) -> bool: ...


C_co = TypeVar("C_co", bound=Compartment, covariant=True)


class Doorkeeper(Protocol[C_co]):
    """What authentication needs of the node."""

    @property
    def bearers(self) -> Bearers: ...

    def check_stranger(self, connection: HTTPConnection, whose: str) -> None:
        """Raises `HTTPException` 429 where an address that was turned away too often brings what costs much to look at; `whose` are digits
        of somebody who was let in lately, for whom it may stand."""

    def home_of(self, tenant: str) -> C_co:
        """Where a tenant's records are. Raises Unreachable where that is closed."""

    def compartment(self, journal: str) -> C_co:
        """Raises KeyError where there is no such journal, Unreachable where it is closed."""


class Tokens:
    """Makes the token of a key from its id; nobody without the secret of the key's journal can."""

    def __init__(self, secret: bytes, journal: str = SHARED) -> None:
        self._secret = secret
        self._prefix = "gvl_" if journal == SHARED else f"gvl_{journal}_"

    def token(self, key_id: str) -> str:
        """The token of this key, the same at every call."""
        mac = hmac.digest(self._secret, key_id.encode(), "sha256")
        return f"{self._prefix}{key_id.replace('-', '')}_{base64.urlsafe_b64encode(mac).decode()[:SECRET_CHARACTERS]}"

    def pseudonym(self, text: str) -> str:
        """What stands for a text in the log that must not be read there; the same at every call."""
        return pseudonym(self._secret, text)


def pseudonym(secret: bytes, text: str) -> str:
    """The same by the secret of a journal."""
    return hmac.digest(secret, b"pseudonym " + text.encode(errors="replace"), "sha256").hex()[:32]


def digest_of(token: str) -> bytes:
    """What stands in the log for a token."""
    return sha256(token.encode()).digest()


def key_id_of(token: str) -> str | None:
    """The id of the key that a token is of; None where the text is no token."""
    parts = TOKEN.fullmatch(token)
    return "-".join(parts.groups()[1:]) if parts else None


async def authenticate(connection: HTTPConnection, node: Doorkeeper[C_co]) -> tuple[C_co, Principal]:
    """Who sent this request or asks for this websocket, and the compartment that is theirs. Raises `HTTPException` 401, or 403 for a
    page from elsewhere, and Unreachable where their journal is closed."""
    header = said(connection.scope, b"authorization")
    if header is not None:
        scheme, _, text = header.partition(" ")
        token = text.strip()
        if scheme.lower() == "bearer" and (parts := TOKEN.fullmatch(token)) is not None:
            return await _admitted(node, parts[1] or SHARED, Authenticate(digest=digest_of(token)))
        if scheme.lower() == "bearer" and is_signed(token):
            return await _vouched(node, token, partial(node.check_stranger, connection))
        raise HTTPException(401, "the Authorization header must be: Bearer KEY")
    cookie = cookie_of(connection)
    if cookie is None:
        raise HTTPException(401, "send the header Authorization: Bearer KEY, or sign in")
    check_origin(connection)
    return await _admitted(node, cookie.journal, FindSession(digest=cookie.digest))


async def _vouched(node: Doorkeeper[C_co], token: str, check: Check) -> tuple[C_co, Principal]:
    try:
        vouched = await node.bearers.vouched(token, check)
    except BadToken as bad:
        raise HTTPException(401, f"this token opens nothing: {bad}") from bad
    compartment = node.home_of(vouched.tenant)
    question = vouched.admission(compartment.system.journal.store.origin)
    return compartment, await _told(question, compartment, "token")


async def _admitted(
    node: Doorkeeper[C_co], journal: str, question: Authenticate | FindSession
) -> tuple[C_co, Principal]:
    try:
        compartment = node.compartment(journal)
    except KeyError:
        raise HTTPException(401, "this key opens nothing: key unknown") from None
    return compartment, await _told(question, compartment)


async def whose(digest: bytes, compartment: Compartment) -> Principal:
    """Whose token has this digest. Raises `HTTPException` 401 where the key is unknown, expired or revoked, and where its tenant has
    its records elsewhere."""
    return await _told(Authenticate(digest=digest), compartment)


async def _told(
    question: Authenticate | FindSession | AdmitToken, compartment: Compartment, what: str = "key"
) -> Principal:
    try:
        principal = await compartment.system.ask(question, KNOCKING)
    except Refused as refused:
        raise HTTPException(401, f"this {what} opens nothing: {refused.code.replace('_', ' ')}") from refused
    if not compartment.is_home_of(principal.tenant):
        raise HTTPException(401, f"this {what} opens nothing: its tenant has a journal of its own")
    return principal


async def check_still(connection: HTTPConnection, node: Doorkeeper[Compartment], principal: Principal) -> None:
    """Raises `HTTPException` 401 where what somebody came with opens nothing any more, and 403 where they may do something else with it
    now. Who came without is who they were."""
    if "authorization" not in connection.headers and cookie_of(connection) is None:
        return
    _, now = await authenticate(connection, node)
    if now != principal:
        raise HTTPException(403, "what you may do has changed since this began: ask again")


def key_digest(connection: HTTPConnection) -> bytes | None:
    """The digest of the key that a connection was opened with; None where it came with something else."""
    scheme, _, text = connection.headers.get("authorization", "").partition(" ")
    token = text.strip()
    return digest_of(token) if scheme.lower() == "bearer" and key_id_of(token) is not None else None


def holds_now(digest: bytes | None, compartment: Compartment, principal: Principal) -> bool:
    """Whether it is seen here and now that a key is still this principal's; where it is not, `check_still` or `whose` has to tell."""
    if digest is None:
        return False
    try:
        told = compartment.system.post(Authenticate(digest=digest), KNOCKING).result
    except Failure:
        return False
    return type(told) is Reply and told.value == principal and compartment.is_home_of(principal.tenant)


async def is_welcome(connection: HTTPConnection, node: Doorkeeper[C_co], needs: Permission) -> bool:
    """Whether what opened this connection would still open it for what this needs; no where nobody can say."""
    try:
        check_permission(*await authenticate(connection, node), needs)
    except (HTTPException, Failure):
        return False
    return True


def check_origin(connection: HTTPConnection) -> None:
    """Raises `HTTPException` 403 for what another page has sent: a cookie travels with what other pages of the same site send, too. Where
    the node is under TLS, a page that came without it may be anybody's."""
    if connection.scope["type"] == "http" and connection.scope["method"] in SAFE_METHODS:
        return
    try:
        origin = urlsplit(connection.headers.get("origin", ""))
    except ValueError:
        origin = urlsplit("")
    is_in_clear_text = origin.scheme == "http" and connection.scope.get("scheme") in {"https", "wss"}
    if not origin.netloc or origin.netloc != connection.headers.get("host") or is_in_clear_text:
        raise HTTPException(403, "with a session cookie, this is taken from the node's own page alone")


def check_permission(
    compartment: Compartment, principal: Principal, needs: Permission, agent_id: str | None = None
) -> None:
    """Raises `HTTPException` 403 unless the principal may do this here, and an agent's own key is used for that agent."""
    if needs not in principal.permissions:
        raise HTTPException(403, _why_not(principal, needs))
    if needs in NODE_WIDE and not compartment.is_looked_after_by(principal.tenant):
        raise HTTPException(
            403, f"{needs} concerns tenants that share a journal: it is for those who look after the node"
        )
    if principal.role is Role.AGENT_OWN and needs in OWN and agent_id not in (None, principal.agent_id):
        raise HTTPException(403, f"this key is good for the agent {principal.agent_id} alone")


def _why_not(principal: Principal, needs: Permission) -> str:
    if needs in granted(principal.role, ()):
        return f"this takes {needs}, which is not among the scopes of this key"
    roles = ", ".join(sorted(role.value for role in roles_with(needs)))
    return f"this takes {needs}, which the role {principal.role.value} has not; {roles} have"


def check_grant(principal: Principal, role: Role, scopes: tuple[Permission, ...]) -> None:
    """Raises `HTTPException` 403 where somebody would give others, or decide of others, what they may not do themselves."""
    beyond = granted(role, scopes) - principal.permissions - {Permission.AGENTS_ACT}
    if beyond:
        raise HTTPException(403, f"the role {role.value} may do what you may not: {', '.join(sorted(beyond))}")

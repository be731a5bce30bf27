"""The identity provider where people sign in (OpenID Connect, the code flow with PKCE): what it publishes, where it is asked, what it says.

Our own two hundred lines over httpx2 and joserfc: authlib's client for Starlette needs httpx, and a session middleware of its own.
Everything that comes back is checked: RFC 9700 and OpenID Connect Core 3.1.3.7, the issuer in the answer by RFC 9207.
"""

import base64
import hmac
from collections.abc import Callable, Mapping
from hashlib import sha256, sha384, sha512
from typing import Any, NamedTuple
from urllib.parse import quote_plus, urlencode

import structlog
import trio

from aggregates.values.roles import Role
from gateway.identity.client import Client
from gateway.identity.fetching import Fetcher, NotFetched
from gateway.identity.issuers import DAY_SECONDS, KEY_BY_ALGORITHM, role_of, url_faults
from gateway.identity.key_sets import PAUSE_SECONDS, STALE_SECONDS_MAX, KeySet
from gateway.identity.login import Login, Logins
from gateway.identity.signed import BadToken, audiences_in, check_header, check_signature, check_times, parse, text_in
from runtime.errors import Overloaded

FRESH_SECONDS = 3600.0
AT_ONCE_MAX = 8
WAITING_MAX = 40
"""Who comes back when so many wait is told to come again: anybody can begin a sign-in, and none must cost the provider a flood."""
DISCOVERY = "/.well-known/openid-configuration"
HASH_BY_BITS = {"256": sha256, "384": sha384, "512": sha512}

log = structlog.get_logger("gateway.identity")


class Published(NamedTuple):
    """What a provider says of itself."""

    authorization_url: str
    token_url: str
    userinfo_url: str
    sign_out_url: str
    keys: KeySet
    algorithms: frozenset[str]
    says_issuer: bool
    takes_basic: bool


class Person(NamedTuple):
    """What a provider says of somebody who has signed in there; `role` is what its claims mean here, None where they mean nothing."""

    subject: str
    username: str
    email: str
    name: str
    role: Role | None


class SignIns(NamedTuple):
    """The provider where people sign in, where there is one, and who is about to."""

    provider: "Provider | None"
    logins: Logins


class Provider:
    """One provider, and what is kept of what it publishes."""

    def __init__(self, client: Client, fetcher: Fetcher, now: Callable[[], float]) -> None:
        self.client = client
        self._fetcher = fetcher
        self._now = now
        self._published: Published | None = None
        self._fetched_at = -STALE_SECONDS_MAX
        self._tried_at = -PAUSE_SECONDS
        self._fetching = trio.Lock()
        self._places = trio.CapacityLimiter(AT_ONCE_MAX)

    async def authorization_url(self, login: Login, redirect_url: str) -> str:
        """Where a browser begins. Raises NotFetched where the provider can't be asked."""
        published = await self._told()
        asked = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": redirect_url,
            "scope": self.client.scopes,
            "state": login.state,
            "nonce": login.nonce,
            "code_challenge": login.challenge,
            "code_challenge_method": "S256",
        }
        return _with(published.authorization_url, asked)

    def sign_out_url(self, landing_url: str) -> str | None:
        """Where a browser signs out of the provider too (RP-initiated logout), as far as is known by now."""
        if self._published is None or not self._published.sign_out_url:
            return None
        asked = {"client_id": self.client.client_id, "post_logout_redirect_uri": landing_url}
        return _with(self._published.sign_out_url, asked)

    async def check_issuer(self, said: str) -> None:
        """Raises BadToken where an answer is of another provider than was asked: one of several may be the thief's (RFC 9207)."""
        if said != self.client.issuer and (said or (await self._told()).says_issuer):
            raise BadToken("the answer is not of the identity provider that was asked")

    async def person(self, code: str, login: Login, redirect_url: str) -> Person:
        """Who has signed in, for the code that the browser has brought. Raises BadToken, NotFetched, Overloaded or Unreachable."""
        if self._places.statistics().tasks_waiting >= WAITING_MAX:
            raise Overloaded("too many sign in at the moment")
        async with self._places:
            published = await self._told()
            answer = await self._exchanged(published, code, login, redirect_url)
            claims = await self._claims(published, answer, login)
            return self._person(await self._completed(published, answer, claims))

    # ---- what it publishes

    async def _told(self) -> Published:
        if self._now() < self._fetched_at + FRESH_SECONDS and self._published is not None:
            return self._published
        seen = self._fetched_at
        async with self._fetching:
            if self._fetched_at == seen and self._now() >= self._tried_at + PAUSE_SECONDS:
                self._tried_at = self._now()
                try:
                    self._published = self._read(await self._fetcher.get(self.client.issuer.rstrip("/") + DISCOVERY))
                    self._fetched_at = self._now()
                except NotFetched as error:
                    log.warning("provider_not_reached", issuer=self.client.issuer, reason=str(error))
        if self._published is None or self._now() >= self._fetched_at + STALE_SECONDS_MAX:
            raise NotFetched("the identity provider does not answer")
        return self._published

    def _read(self, document: Mapping[str, Any]) -> Published:
        if document.get("issuer") != self.client.issuer:
            raise NotFetched(f"what it publishes is of another issuer than {self.client.issuer}")
        if "S256" not in document.get("code_challenge_methods_supported", ["S256"]):
            raise NotFetched("it takes no PKCE with S256")
        keys_url = self._url(document, "jwks_uri")
        same = self._published is not None and self._published.keys.place == keys_url
        algorithms = set(_texts(document, "id_token_signing_alg_values_supported") or ["RS256"])
        methods = _texts(document, "token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        return Published(
            authorization_url=self._url(document, "authorization_endpoint"),
            token_url=self._url(document, "token_endpoint"),
            userinfo_url=self._url(document, "userinfo_endpoint", optional=True),
            sign_out_url=self._url(document, "end_session_endpoint", optional=True),
            keys=self._published.keys if same and self._published else KeySet(keys_url, self._fetcher, self._now),
            algorithms=frozenset(algorithms & KEY_BY_ALGORITHM.keys()),
            says_issuer=document.get("authorization_response_iss_parameter_supported") is True,
            takes_basic="client_secret_basic" in methods,
        )

    def _url(self, document: Mapping[str, Any], name: str, *, optional: bool = False) -> str:
        url = document.get(name, "")
        if url == "" and optional:
            return ""
        faults = url_faults(url, allow_http=self._fetcher.allow_http) if isinstance(url, str) else ["no text"]
        if faults:
            raise NotFetched(f"its {name}: {faults[0]}")
        return str(url)

    # ---- what it says of somebody

    async def _exchanged(self, published: Published, code: str, login: Login, redirect_url: str) -> dict[str, Any]:
        client = self.client
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_url,
            "client_id": client.client_id,
            "code_verifier": login.verifier,
        }
        headers = {}
        if client.secret and published.takes_basic:
            named = f"{quote_plus(client.client_id)}:{quote_plus(client.secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(named.encode()).decode()}"
        elif client.secret:
            form["client_secret"] = client.secret
        return await self._fetcher.post(published.token_url, form, headers)

    async def _claims(self, published: Published, answer: Mapping[str, Any], login: Login) -> Mapping[str, Any]:
        """What the ID token says, once it is proven and for this sign-in."""
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise BadToken("the provider has sent no ID token")
        signed, client_id = parse(token), self.client.client_id
        check_header(signed, published.algorithms, ("JWT",))
        await check_signature(signed, published.keys)
        claims = signed.claims
        if claims.get("iss") != self.client.issuer:
            raise BadToken("its issuer is another one")
        audiences = audiences_in(claims)
        if client_id not in audiences or claims.get("azp", client_id) != client_id:
            raise BadToken("it is for another audience")
        if len(audiences) > 1 and "azp" not in claims:
            raise BadToken("it is for several, and does not say who has asked for it")
        check_times(claims, self._now(), lifetime_seconds_max=DAY_SECONDS)
        nonce = claims.get("nonce")
        if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), login.nonce.encode()):
            raise BadToken("it is not of this sign-in")
        if "at_hash" in claims:
            _check_hash(claims["at_hash"], answer.get("access_token"), signed.header["alg"])
        return claims

    async def _completed(
        self, published: Published, answer: Mapping[str, Any], claims: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """The claims, with what the provider tells beside the ID token where that lacks something."""
        token = answer.get("access_token")
        is_whole = "email" in claims and self.client.role_claim in claims
        is_token = isinstance(token, str) and token.isascii() and token.isprintable()
        if is_whole or not published.userinfo_url or not is_token:
            return claims
        told = await self._fetcher.get(published.userinfo_url, {"Authorization": f"Bearer {token}"})
        if told.get("sub") != claims.get("sub"):
            raise BadToken("what the provider tells beside the ID token is of somebody else")
        return {**told, **claims}

    def _person(self, claims: Mapping[str, Any]) -> Person:
        def said(name: str) -> str:
            found = claims.get(name, "")
            return found.strip() if isinstance(found, str) else ""

        return Person(
            subject=text_in(claims, "sub"),
            username=said("preferred_username") or said("email"),
            email=said("email"),
            name=said("name").replace("\0", "\ufffd"),  # anything is a name; but PostgreSQL can't store a NUL
            role=role_of(claims, self.client.role_claim, self.client.role_by_value, None),
        )


def _check_hash(said: object, token: object, algorithm: str) -> None:
    """Raises BadToken unless the ID token was issued with this access token."""
    hashed = HASH_BY_BITS.get(algorithm[-3:], sha512)  # EdDSA with Ed25519 hashes by SHA-512
    expected = hashed(token.encode()).digest() if isinstance(token, str) else b""
    half = base64.urlsafe_b64encode(expected[: len(expected) // 2]).rstrip(b"=").decode()
    if not half or said != half:
        raise BadToken("it was not issued with the access token beside it")


def _texts(document: Mapping[str, Any], name: str) -> list[str]:
    found = document.get(name)
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


def _with(url: str, asked: Mapping[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(asked)}"

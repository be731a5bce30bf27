"""An identity provider of our own for tests: keys, tokens, and on a real socket what providers publish and where people sign in."""

import base64
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlencode

import msgspec
import trio
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from gateway.door.server import serve
from gateway.identity.bearers import Bearers
from gateway.identity.fetching import Fetcher
from gateway.identity.issuers import Issuer
from gateway.parts import Node
from runtime.clock import SystemClock

AUDIENCE = "gavel"
CLIENT_ID, CLIENT_SECRET = "gavel-console", "a secret of the client"
SUBJECT = "248289761001"
RSA_KEY = RSAKey.generate_key(2048, {"kid": "rsa"})
Key = RSAKey | ECKey | OKPKey | OctKey


def key_of(algorithm: str, name: str) -> Key:
    """A new key that fits an algorithm."""
    if algorithm[:2] in {"RS", "PS"}:
        return RSAKey.generate_key(2048, {"kid": name})
    if algorithm[:2] == "ES":
        curve: Any = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[algorithm]
        return ECKey.generate_key(curve, {"kid": name})
    return OKPKey.generate_key("Ed25519", {"kid": name})


def trust(node: Node) -> str:
    """Has a node take the tokens of an issuer that is nowhere; its URL."""
    issuer = Issuer(url="https://id.example", audience=AUDIENCE, keys="https://id.example/keys")
    node.bearers = Bearers((issuer,), Fetcher(), node.system.clock.now)
    return issuer.url


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def sign(header: dict[str, Any], claims: Any, key: Key | None, algorithm: str = "") -> str:
    """A token as somebody may have made it who keeps to no rules; without a key it has no signature."""
    content = f"{encoded(msgspec.json.encode(header))}.{encoded(msgspec.json.encode(claims))}"
    if key is None:
        return f"{content}."
    model: Any = JWSRegistry.algorithms[algorithm or header["alg"]]
    return f"{content}.{encoded(model.sign(content.encode(), key))}"


class Hand(SystemClock):
    """The machine's clock, moved by hand."""

    ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


@dataclass
class Provider:
    """What it publishes and says, each of which a test can bend."""

    now: Callable[[], float]
    url: str = ""
    key: Key = field(default_factory=lambda: RSA_KEY)
    algorithm: str = "RS256"
    published: list[dict[str, Any]] = field(default_factory=lambda: [RSA_KEY.as_dict(private=False)])
    asked: list[str] = field(default_factory=list)
    answers: dict[str, Callable[[], Response]] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    """What ID tokens say of whoever signs in, over what they would say otherwise."""
    callback: dict[str, str] = field(default_factory=dict)
    discovery: dict[str, Any] = field(default_factory=dict)
    user: dict[str, Any] = field(
        default_factory=lambda: {
            "sub": SUBJECT,
            "email": "jane@example.org",
            "preferred_username": "jane",
            "roles": ["ops"],
        }
    )
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    id_token: Callable[["Provider", dict[str, str]], str] | None = None

    @property
    def header(self) -> dict[str, Any]:
        return {"alg": self.algorithm, "kid": self.key.get("kid"), "typ": "JWT"}

    def token(self, header: dict[str, Any] | None = None, **changed: Any) -> str:
        """A good access token but for what is changed; a claim that is None is left out."""
        now = int(self.now())
        claims: dict[str, Any] = {"iss": self.url, "sub": SUBJECT, "aud": AUDIENCE, "roles": ["ops"]}
        claims |= {"iat": now, "exp": now + 300, "jti": f"t{len(self.asked)}"} | changed
        said = {name: value for name, value in claims.items() if value is not None}
        return sign(self.header | (header or {}), said, self.key)

    def rotate(self, name: str, algorithm: str = "RS256", *, keep: bool = False) -> None:
        """Signs with another key from now on."""
        self.key, self.algorithm = key_of(algorithm, name), algorithm
        self.published = [*(self.published if keep else []), self.key.as_dict(private=False)]

    def signed_id_token(self, asked: dict[str, str], **changed: Any) -> str:
        now = int(self.now())
        claims = {"iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": asked.get("nonce")}
        said = claims | self.user | self.claims | changed
        return sign(self.header, {name: value for name, value in said.items() if value is not None}, self.key)

    # ---- what is on the wire

    def app(self) -> Starlette:
        routes = {
            "/.well-known/openid-configuration": self._configuration,
            "/keys": self._keys,
            "/authorize": self._authorize,
            "/userinfo": self._userinfo,
        }
        listed = [Route(path, partial(self._answer, handle)) for path, handle in routes.items()]
        return Starlette(routes=[*listed, Route("/token", partial(self._answer, self._token), methods=["POST"])])

    async def _answer(self, handle: Any, request: Request) -> Response:
        self.asked.append(request.url.path)
        if bent := self.answers.get(request.url.path):
            return bent()
        answer: Response = await handle(request)
        return answer

    async def _configuration(self, request: Request) -> Response:
        said = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "jwks_uri": f"{self.url}/keys",
            "end_session_endpoint": f"{self.url}/logout",
            "code_challenge_methods_supported": ["S256"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "authorization_response_iss_parameter_supported": True,
        }
        return JSONResponse(said | self.discovery)

    async def _keys(self, request: Request) -> Response:
        return JSONResponse({"keys": self.published})

    async def _authorize(self, request: Request) -> Response:
        """Somebody signs in at once, and is sent back."""
        asked = dict(request.query_params)
        assert (asked["client_id"], asked["response_type"]) == (CLIENT_ID, "code")
        code = f"code-{len(self.asked)}"
        self.codes[code] = asked
        back = {"code": code, "state": asked["state"], "iss": self.url} | self.callback
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(back)}", 302)

    async def _token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        basic = base64.b64decode(request.headers.get("authorization", "Basic ").split(" ")[1]).decode()
        asked = self.codes.pop(form["code"], None)
        challenge = encoded(sha256(form.get("code_verifier", "").encode()).digest())
        is_good = (
            asked is not None
            and asked["code_challenge"] == challenge
            and asked["code_challenge_method"] == "S256"
            and asked["redirect_uri"] == form["redirect_uri"]
            and basic == f"{CLIENT_ID}:{CLIENT_SECRET.replace(' ', '+')}"
        )
        if not is_good or asked is None:
            return JSONResponse({"error": "invalid_grant"}, 400)
        make = self.id_token or Provider.signed_id_token
        return JSONResponse({"access_token": "an access token", "token_type": "Bearer", "id_token": make(self, asked)})

    async def _userinfo(self, request: Request) -> Response:
        assert request.headers["authorization"] == "Bearer an access token"
        return JSONResponse(self.user)


@contextmanager
def running_provider() -> Iterator[Provider]:
    """A provider in a thread of its own, for who waits for a browser; by its name it is another site than 127.0.0.1."""
    opened: queue.Queue[tuple[Provider, trio.lowlevel.TrioToken, trio.Event]] = queue.Queue()

    async def run() -> None:
        over = trio.Event()
        async with open_provider(time.time) as provider:
            provider.url = provider.url.replace("127.0.0.1", "localhost")
            opened.put((provider, trio.lowlevel.current_trio_token(), over))
            await over.wait()

    thread = threading.Thread(target=trio.run, args=(run,))
    thread.start()
    provider, token, over = opened.get()
    try:
        yield provider
    finally:
        trio.from_thread.run_sync(over.set, trio_token=token)
        thread.join()


@asynccontextmanager
async def open_provider(now: Callable[[], float]) -> AsyncIterator[Provider]:
    """A provider on a port of its own."""
    provider, shutdown = Provider(now), trio.Event()
    async with trio.open_nursery() as nursery:
        host, port = await nursery.start(partial(serve, provider.app(), bind="127.0.0.1:0", shutdown=shutdown))
        provider.url = f"http://{host}:{port}"
        yield provider
        shutdown.set()

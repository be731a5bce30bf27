"""A sign-in that is under way at an identity provider, bound to the browser that began it by a cookie of ten minutes.

The cookie holds a secret, and what is sent to the provider is derived of it: the `state` that has to come back, the `nonce` that the ID
token has to bear, the PKCE verifier (RFC 7636) without which the code is of no use. So nothing is kept here for who has only begun. The
cookie is SameSite=Lax: the provider's page leads back to ours, and a Strict one would not come along.
"""

import base64
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

LOGIN_SECONDS = 600.0
SECRET_BYTES = 32
USED_MAX = 10_000


class Login(NamedTuple):
    """What a browser has begun: its secret, when it is too late, and where it wants to go then."""

    secret: str
    ends_at: float
    next: str

    @property
    def state(self) -> str:
        """What has to come back with the browser."""
        return self._derived(b"state")

    @property
    def nonce(self) -> str:
        """What the ID token has to bear."""
        return self._derived(b"nonce")

    @property
    def verifier(self) -> str:
        """What the code is exchanged with."""
        return self._derived(b"verifier")

    @property
    def challenge(self) -> str:
        """What the provider is told of the verifier at first (S256)."""
        return base64.urlsafe_b64encode(sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()

    def _derived(self, what: bytes) -> str:
        mac = hmac.digest(self.secret.encode(), what, "sha256")
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


class Logins:
    """Makes and knows again the logins of one node, while it runs; each ends once."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._secret = secrets.token_bytes(SECRET_BYTES)
        self._used: OrderedDict[bytes, float] = OrderedDict()

    def begin(self, where: str) -> Login:
        """A new one, which leads to that path in the end."""
        return Login(secrets.token_urlsafe(SECRET_BYTES), self._now() + LOGIN_SECONDS, where)

    def cookie(self, login: Login) -> str:
        """What the browser holds of it."""
        path = base64.urlsafe_b64encode(login.next.encode()).decode().rstrip("=")  # a cookie with = would be quoted
        said = f"{login.secret}.{login.ends_at:.0f}.{path}"
        return f"{said}.{self._mac(said)}"

    def read(self, cookie: str) -> Login | None:
        """The login of a cookie; None where we have not made it, or too long ago."""
        said, _, mac = cookie.rpartition(".")
        if not hmac.compare_digest(mac.encode(errors="replace"), self._mac(said).encode()):
            return None
        secret, ends_at, path = said.split(".")
        where = base64.urlsafe_b64decode(path + "=" * (-len(path) % 4)).decode()
        login = Login(secret, float(ends_at), where)
        return login if self._now() < login.ends_at else None

    def end(self, login: Login) -> bool:
        """Whether this is the first time that it comes back."""
        for past in [name for name, ends_at in self._used.items() if ends_at <= self._now()]:
            del self._used[past]
        name = sha256(login.secret.encode()).digest()
        if name in self._used:
            return False
        while len(self._used) >= USED_MAX:
            self._used.popitem(last=False)
        self._used[name] = login.ends_at
        return True

    def _mac(self, said: str) -> str:
        return hmac.digest(self._secret, said.encode(errors="replace"), "sha256").hex()

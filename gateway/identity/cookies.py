"""The cookie of a browser's session: `<journal>.<secret>`, out of reach of scripts, sent to this node alone and by its own pages alone.

Over TLS it bears the prefix `__Host-`: no other host, and no page of the clear-text port, can set or overwrite it.
"""

import secrets
from hashlib import sha256
from typing import NamedTuple

from starlette.requests import HTTPConnection
from starlette.responses import Response

COOKIE = "gavel-session"
LOGIN_COOKIE = "gavel-login"
SECRET_BYTES = 32


class Cookie(NamedTuple):
    """What a browser holds: in which journal its session stands, and the secret of which the journal keeps the digest."""

    journal: str
    secret: str

    @property
    def digest(self) -> bytes:
        """What stands in the log for it."""
        return sha256(self.secret.encode(errors="replace")).digest()

    @property
    def text(self) -> str:
        """As the browser sends it."""
        return f"{self.journal}.{self.secret}"


def new_cookie(journal: str) -> Cookie:
    """A cookie that nobody can guess."""
    return Cookie(journal, secrets.token_urlsafe(SECRET_BYTES))


def cookie_of(connection: HTTPConnection) -> Cookie | None:
    """The session's cookie, where the browser sends one."""
    text = cookie_in(connection.headers.get("cookie", ""), _name(connection, COOKIE))
    journal, dot, secret = text.partition(".")
    return Cookie(journal, secret) if dot and secret else None


def cookie_in(header: str, name: str) -> str:
    """The value of a cookie in a Cookie header; empty where there is none. A quoted value is none of ours, and taking the quotes off,
    as others do, costs a third of a second for a header full of backslashes."""
    for pair in header.split(";"):
        found, _, value = pair.partition("=")
        if found.strip() == name:
            return value.strip()
    return ""


def set_cookie(response: Response, connection: HTTPConnection, cookie: Cookie, seconds: float) -> None:
    """Has the browser keep it for so long."""
    name, secure = _name(connection, COOKIE), _is_secure(connection)
    response.set_cookie(name, cookie.text, max_age=int(seconds), secure=secure, httponly=True, samesite="strict")


def delete_cookie(response: Response, connection: HTTPConnection) -> None:
    """Has the browser forget it."""
    response.delete_cookie(_name(connection, COOKIE), secure=_is_secure(connection), httponly=True, samesite="strict")


def login_cookie_of(connection: HTTPConnection) -> str:
    """What a browser holds of a sign-in that it has begun elsewhere; empty where it has not."""
    return cookie_in(connection.headers.get("cookie", ""), _name(connection, LOGIN_COOKIE))


def set_login_cookie(response: Response, connection: HTTPConnection, text: str, seconds: float) -> None:
    """Has the browser keep it until it comes back, from another site's page."""
    name, secure = _name(connection, LOGIN_COOKIE), _is_secure(connection)
    response.set_cookie(name, text, max_age=int(seconds), secure=secure, httponly=True, samesite="lax")


def delete_login_cookie(response: Response, connection: HTTPConnection) -> None:
    """Has the browser forget it."""
    name, secure = _name(connection, LOGIN_COOKIE), _is_secure(connection)
    response.delete_cookie(name, secure=secure, httponly=True, samesite="lax")


def _name(connection: HTTPConnection, name: str) -> str:
    return f"__Host-{name}" if _is_secure(connection) else name


def _is_secure(connection: HTTPConnection) -> bool:
    return connection.scope.get("scheme") in {"https", "wss"}

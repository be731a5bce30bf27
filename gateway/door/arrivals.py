"""How a client came in: by which bind, from where, under TLS or not, with what certificate; and what the app is told of it.

An arrival stands between a connection and the app. What it knows it puts into each request's scope: `state["bind"]` and
`state["client_certificate"]`, the `tls` extension, and behind a proxy that we trust, the client and the scheme that the proxy tells.
"""

from collections.abc import Awaitable
from typing import Any

import trio
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.api.problems import status_problem
from gateway.door.addresses import PerAddress, canonical
from gateway.door.bounds import NEVER_LIMITED
from gateway.door.proxies import UNIX, Proxies
from gateway.door.tls import TlsStream

SOCKET_SCHEMES = {"http": "ws", "https": "wss"}
RETRY_SECONDS = 1

Address = tuple[str, int]


class Arrival:
    """One client that came in; an app in place of the app."""

    def __init__(
        self,
        app: ASGIApp,
        name: str,
        stream: trio.abc.HalfCloseableStream,
        addresses: tuple[Address, Address],
        proxies: Proxies,
        per_address: PerAddress,
    ) -> None:
        self.app = app
        self.stream = stream
        self.client, self.server = addresses
        self._name = name
        self._proxies = proxies if proxies.trusts(self.client[0]) else None
        self._per_address = per_address
        self._extension: dict[str, Any] | None = None
        self._certificate = None
        if isinstance(stream, TlsStream):
            self._certificate = stream.client_certificate
            self._extension = stream.extension(self._certificate)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Runs the app, which is told how its client came in."""
        state = scope["state"]
        state["bind"] = self._name
        if self._extension is not None:
            scope["extensions"]["tls"] = self._extension
            scope["scheme"] = "https" if scope["type"] == "http" else "wss"
            if self._certificate is not None:
                state["client_certificate"] = self._certificate
        if self._proxies is None:
            return self.app(scope, receive, send)
        return self._run_behind_proxy(self._proxies, scope, receive, send)

    async def _run_behind_proxy(self, proxies: Proxies, scope: Scope, receive: Receive, send: Send) -> None:
        address, scheme = proxies.client_of(self.client[0], scope["headers"])
        if address != self.client[0]:
            scope["client"] = (address, 0)
        if scheme:
            scope["scheme"] = scheme if scope["type"] == "http" else SOCKET_SCHEMES[scheme]
        place = "" if scope["path"] in NEVER_LIMITED else self._per_address.enter(address)
        if place is None:
            detail = f"{self._per_address.each_max} are served at once for one address"
            await status_problem(429, detail=detail, headers={"Retry-After": str(RETRY_SECONDS)})(scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        finally:
            self._per_address.leave(place)


def addresses_of(stream: trio.SocketStream, *, is_unix: bool) -> tuple[Address, Address]:
    """The client's and our own; of a unix socket there are none."""
    if is_unix:
        return (UNIX, 0), (UNIX, 0)
    client, server = stream.socket.getpeername(), stream.socket.getsockname()
    return (canonical(str(client[0])), int(client[1])), (canonical(str(server[0])), int(server[1]))

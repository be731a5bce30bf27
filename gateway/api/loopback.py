"""To whom the services' older paths stand open without a key, where the node's settings allow it: to programs of this machine alone.

A web page from elsewhere runs on this machine too, in a browser; and a name that its owner points at 127.0.0.1 makes it look like a page
of ours (DNS rebinding). So the name by which the node is called, and the page that calls, are looked at as well. What came through a
proxy comes by loopback whoever sent it: a header that tells of one is enough to ask for a key.
"""

from collections.abc import Iterator
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.types import Scope

from aggregates.values.roles import Principal, Role
from gateway.door.binds import is_loopback, parse_all
from gateway.identity.cookies import cookie_of
from gateway.parts import TENANT, Node
from gateway.settings import GavelSettings

OPERATOR = Principal(name="operator:loopback", tenant=TENANT, role=Role.OPERATOR, key_id="loopback")
"""Who such a caller is."""

OF_PROXIES = frozenset({b"forwarded", b"via", b"x-real-ip", b"x-client-ip", b"true-client-ip", b"cf-connecting-ip"})
OF_PROXIES_BEGIN = b"x-forwarded"
OWN_SITES = frozenset({"same-origin", "none"})
"""What browsers say of a request that no page of another site has made."""


class Loopback:
    """Decides for one node."""

    def __init__(self, settings: GavelSettings) -> None:
        self.is_open = settings.open_loopback
        self._binds = frozenset(_loopback_names(settings)) if self.is_open else frozenset()

    def admits(self, connection: HTTPConnection, node: Node) -> bool:
        """Whether a caller that brings neither key nor session may go on as the operator."""
        return (
            self.is_open
            and connection.headers.get("authorization") is None
            and cookie_of(connection) is None
            and node.is_home_of(TENANT)
            and connection.scope.get("state", {}).get("bind") in self._binds
            and _is_near(connection.scope)
            and _is_called_by_a_name_of_loopback(connection)
            and _is_no_page_from_elsewhere(connection)
        )


def _loopback_names(settings: GavelSettings) -> Iterator[str]:
    """The names of addresses that only this machine reaches; one that another address bears too is none."""
    binds = parse_all([*settings.bind, *settings.extra_binds], has_certificate=settings.tls_certificate is not None)
    far = {bind.name for bind in binds if not (bind.host and is_loopback(bind.host))}
    yield from (bind.name for bind in binds if bind.name not in far)


def _is_near(scope: Scope) -> bool:
    """Whether both ends of the connection are loopback's, and no header tells of a proxy between them."""
    ends = (scope.get("client"), scope.get("server"))
    if not all(end is not None and is_loopback(end[0]) for end in ends):
        return False
    return not any(name in OF_PROXIES or name.startswith(OF_PROXIES_BEGIN) for name, _ in scope["headers"])


def _is_called_by_a_name_of_loopback(connection: HTTPConnection) -> bool:
    """Whether Host is `localhost` or a loopback address, with the port that the node listens on."""
    try:
        called = urlsplit(f"//{connection.headers.get('host', '')}")
        port = called.port
    except ValueError:
        return False
    default = 443 if connection.scope["scheme"] == "https" else 80
    name = called.hostname or ""
    return called.username is None and is_loopback(name) and (port or default) == connection.scope["server"][1]


def _is_no_page_from_elsewhere(connection: HTTPConnection) -> bool:
    """Whether no browser says that another page than one of the node's own has sent it."""
    headers, own = connection.headers, f"{connection.scope['scheme']}://{connection.headers.get('host')}"
    said = (headers.get("origin", own), headers.get("referer", own))
    pages = {f"{page.scheme}://{page.netloc}" for page in map(urlsplit, said)}
    return headers.get("sec-fetch-site", "none") in OWN_SITES and pages == {own}

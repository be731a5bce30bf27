"""How commands connect to a node: by TCP, under TLS, or by the unix socket of its door.

Under TLS a node is known by the authorities of `tls_ca`, else by those of the machine. The node that runs with our own settings is known
by its certificate itself, whatever name that is for: a command on the same machine calls it by an address.
"""

import http.client
import re
import socket
import ssl
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener

from gateway.settings import GavelSettings

UNIX = "unix:"
PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class Trust(NamedTuple):
    """By what a node is known: authorities in a file, or the very certificate in one."""

    authorities: Path | None = None
    certificate: Path | None = None


ANY = Trust()


def trust_of(settings: GavelSettings) -> Trust:
    """What commands with these settings trust."""
    return Trust(settings.tls_ca, None if settings.tls_ca else settings.tls_certificate)


def opener_to(url: str, trust: Trust = ANY, *handlers: Any) -> tuple[str, OpenerDirector]:
    """What opens requests to a node, and how its address begins there. Raises `OSError` or `ssl.SSLError` for files that can't be used."""
    if url.startswith(UNIX):
        return "http://localhost", build_opener(_UnixHandler(url.removeprefix(UNIX)), ProxyHandler({}), *handlers)
    if url.startswith("https:"):
        return url, build_opener(HTTPSHandler(context=context_of(trust)), *handlers)
    return url, build_opener(*handlers)


def context_of(trust: Trust) -> ssl.SSLContext:
    """What a client is to check."""
    context = ssl.create_default_context(cafile=trust.authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if trust.certificate is None:
        return context
    pinned = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    pinned.minimum_version = ssl.TLSVersion.TLSv1_2
    pinned.check_hostname = False
    pinned.verify_flags |= (
        ssl.VERIFY_X509_PARTIAL_CHAIN
    )  # the certificate itself is enough: who signed it does not matter
    first = PEM.search(trust.certificate.read_text(encoding="ascii", errors="replace"))
    pinned.load_verify_locations(cadata=first[0] if first else "")
    return pinned


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _UnixHandler(HTTPHandler):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def http_open(self, req: Request) -> http.client.HTTPResponse:
        opened: http.client.HTTPResponse = self.do_open(self._connection, req)  # type: ignore[arg-type]  # it is called as the class would be
        return opened

    def _connection(self, host: str, /, *, timeout: float, **_: Any) -> http.client.HTTPConnection:
        return _UnixConnection(self._path, timeout)

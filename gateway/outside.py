"""Requests to servers that tenants name: from inside a network, and so only to where anybody outside could go, too.

A name is looked up once for each connection, every address that it has must be a public one, and the connection goes to the address that
was looked at: whoever answers for the name can't answer otherwise a moment later. No proxy of the environment is used, no redirect
followed, no cookie kept; certificates are verified by the name. All waits have ends, and of an answer only its head is of interest.
"""

import ipaddress
import ssl
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpcore2
import trio

from runtime.errors import Refused
from runtime.threads import run_blocking

CONNECT_SECONDS_MAX = 5.0
READ_SECONDS_MAX = 10.0
ATTEMPT_SECONDS_MAX = 15.0
ANSWER_BYTES_MAX = 65_536
"""More of an answer's body than this is not read: the connection is closed instead."""
IDLE_SECONDS_MAX = 30.0
ADDRESSES_MAX = 8
RETRY_AFTER_CHARACTERS_MAX = 40
HTTPS_PORT, HTTP_PORT = 443, 80

SPECIAL = ipaddress.ip_network("192.0.0.0/24")
"""For protocols between a host and its own network, of which the standard library calls some global."""

SITE_LOCAL = ipaddress.ip_network("fec0::/10")
"""Deprecated and still routed inside, of which the standard library calls all global."""

NAT64 = ipaddress.ip_network("64:ff9b::/96")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
TIMEOUTS = {
    "connect": CONNECT_SECONDS_MAX,
    "read": READ_SECONDS_MAX,
    "write": READ_SECONDS_MAX,
    "pool": READ_SECONDS_MAX,
}


class NotOutside(Exception):
    """The address is none that anybody could reach from outside."""


class Answer(NamedTuple):
    """What came of a request: the status, or 0 and in words what went wrong. `retry_after` is the header's, as it was sent."""

    status: int
    error: str = ""
    retry_after: str = ""


def is_public(text: str) -> bool:
    """Whether an address can be reached from everywhere, and so tells nobody inside from anybody outside."""
    address: Address = ipaddress.ip_address(text.partition("%")[0])
    return all(
        one.is_global and not one.is_multicast and not one.is_reserved and one not in SPECIAL and one not in SITE_LOCAL
        for one in _meant(address)
    )


def _meant(address: Address) -> Iterable[Address]:
    """The address, and those of the older kind that are reached through it."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    through = [address.sixtofour, *(address.teredo or ())]
    if address in NAT64:
        return (ipaddress.IPv4Address(address.packed[-4:]),)
    return (address, *(one for one in through if one is not None))


def check_url(url: str, *, http: bool, private: bool) -> None:
    """Raises Refused where nothing would ever be sent to a URL of the right form."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise Refused("url_unusable", str(error), status=422) from None
    if parts.scheme != "https" and not http:
        raise Refused("url_not_https", "what is sent must be encrypted: the URL must begin with https://", status=422)
    try:
        public = is_public(host)
    except ValueError:
        return  # a name: looked up for each connection
    if not public and not private:
        raise Refused("url_not_public", f"{host} is an address inside this network", status=422)


class Guarded(httpcore2.AsyncNetworkBackend):
    """Connects to public addresses alone, unless all are allowed."""

    def __init__(self, *, private: bool = False) -> None:
        self._private = private
        self._trio = httpcore2.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - as the class that this is one of has it
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """See `httpcore2.AsyncNetworkBackend`. Raises NotOutside."""
        deadline = trio.current_time() + (CONNECT_SECONDS_MAX if timeout is None else timeout)
        addresses = await _addresses(host, port, deadline)
        if not self._private and not all(map(is_public, addresses)):
            raise NotOutside(host)
        for number, address in enumerate(addresses[:ADDRESSES_MAX], start=1):
            try:
                rest = max(0.0, deadline - trio.current_time())
                return await self._trio.connect_tcp(address, port, rest, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if number == min(len(addresses), ADDRESSES_MAX):
                    raise
        raise httpcore2.ConnectError("the name has no address")

    async def connect_unix_socket(self, *arguments: Any, **named: Any) -> httpcore2.AsyncNetworkStream:
        """There are none outside."""
        raise NotOutside("a Unix socket")

    async def sleep(self, seconds: float) -> None:
        """See `httpcore2.AsyncNetworkBackend`."""
        await trio.sleep(seconds)


async def _addresses(host: str, port: int, deadline: float) -> Sequence[str]:
    """The addresses of a name, as the machine's own resolver has them, none twice."""
    try:
        with trio.fail_at(deadline):
            found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    except trio.TooSlowError:
        raise httpcore2.ConnectTimeout("the name was not found in time") from None
    except (OSError, UnicodeError, OverflowError) as error:
        raise httpcore2.ConnectError("the name is not known") from error
    return list(dict.fromkeys(str(one[4][0]) for one in found))


class Sender:
    """Sends requests, on connections that are kept for a while. To be closed."""

    def __init__(
        self,
        *,
        http: bool = True,
        private: bool = False,
        trust: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        """`http`: to URLs without TLS, too; `private`: to addresses inside this network, too."""
        self._http = http
        self._backend = Guarded(private=private)
        self._trust = trust
        self._pool_by_scheme: dict[str, httpcore2.AsyncConnectionPool] = {}
        self._opening = trio.Lock()

    async def post(self, url: str, headers: Sequence[tuple[str, str]], body: bytes) -> Answer:
        """What a server says to a body; whatever goes wrong is told in the answer."""
        if not self._http and not url.startswith("https:"):  # taken when that was allowed
            return Answer(0, "the URL is one without TLS")
        with trio.move_on_after(ATTEMPT_SECONDS_MAX):
            try:
                return await self._post(url, headers, body)
            except NotOutside:
                return Answer(0, "the name leads to an address inside this network")
            except httpcore2.TimeoutException as error:
                return Answer(0, WORDS_BY_TIMEOUT.get(type(error), "it took too long"))
            except httpcore2.ConnectError as error:
                return Answer(0, _why_not_connected(error))
            except (httpcore2.NetworkError, httpcore2.ProtocolError):
                return Answer(0, "the connection was lost, or what came was no HTTP")
        return Answer(0, f"no answer within {ATTEMPT_SECONDS_MAX:g} s")

    async def _post(self, url: str, headers: Sequence[tuple[str, str]], body: bytes) -> Answer:
        pool = await self._pool(url.partition(":")[0])
        # The pool names neither host nor length by itself.
        parts = urlsplit(url)
        named = [("Host", parts.netloc), ("Content-Length", str(len(body))), *headers]
        async with pool.stream("POST", url, headers=named, content=body, extensions={"timeout": TIMEOUTS}) as response:
            await _drain(response)
            sent = next((value for name, value in response.headers if name.lower() == b"retry-after"), b"")
            return Answer(response.status, "", sent.decode("latin-1")[:RETRY_AFTER_CHARACTERS_MAX])

    async def _pool(self, scheme: str) -> httpcore2.AsyncConnectionPool:
        """To read the machine's certificates takes a while, and a node without webhooks needs none."""
        async with self._opening:
            if scheme not in self._pool_by_scheme:
                trust = await run_blocking(self._trust) if scheme == "https" else None
                self._pool_by_scheme[scheme] = httpcore2.AsyncConnectionPool(
                    ssl_context=trust,
                    max_connections=None,  # webhooks are counted, and each sends one at a time
                    keepalive_expiry=IDLE_SECONDS_MAX,
                    network_backend=self._backend,
                )
            return self._pool_by_scheme[scheme]

    async def close(self) -> None:
        """Closes all connections."""
        for pool in self._pool_by_scheme.values():
            await pool.aclose()
        self._pool_by_scheme.clear()


async def _drain(response: httpcore2.Response) -> None:
    """Reads a short body, so that the connection can be used again."""
    read = 0
    async with aclosing(response.aiter_stream()) as parts:
        async for part in parts:
            read += len(part)
            if read > ANSWER_BYTES_MAX:
                return


WORDS_BY_TIMEOUT: dict[type[Exception], str] = {
    httpcore2.ConnectTimeout: f"no connection within {CONNECT_SECONDS_MAX:g} s",
    httpcore2.ReadTimeout: f"no answer within {READ_SECONDS_MAX:g} s",
    httpcore2.WriteTimeout: f"it did not take the body within {READ_SECONDS_MAX:g} s",
}


def _why_not_connected(error: Exception) -> str:
    """In words of our own: a resolver's or a library's may name what is inside."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and len(causes) < ADDRESSES_MAX:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    for one in causes:
        if isinstance(one, ssl.SSLCertVerificationError):
            return "its certificate can't be verified"
        if isinstance(one, ssl.SSLError):
            return "it speaks no TLS that we speak"
    return "no connection"


def retry_after(text: str, now: float) -> float | None:
    """In how many seconds to try again, as a header says: a number, or a date; None where it says neither."""
    if text.isascii() and text.isdigit():
        return float(text[:10])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None

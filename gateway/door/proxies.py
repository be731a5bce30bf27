"""The proxies before the door, each named exactly, and what is believed of what they say.

A header that says where a request comes from is read from its end: each of our proxies has added the peer that it saw. What stands
before the first hop that is none of ours, the sender may have made up. From anybody else the headers are ignored.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from gateway.door.addresses import canonical

UNIX = "unix"
"""The address of a peer that came by a unix socket; as a setting: that these peers are proxies of ours."""

HOPS_MAX = 20
HEADER_BYTES_MAX = 4096
SCHEMES = frozenset({"http", "https"})
FORWARDED_PAIR = re.compile(r'\s*([A-Za-z]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^";,\s]*)\s*')

Names = Literal["X-Forwarded-For", "Forwarded"]


class Client(NamedTuple):
    """Who is behind the proxies; `scheme` is empty where they don't say."""

    address: str
    scheme: str = ""


class Proxies:
    """The peers whose `header` says where requests come from. Raises `ValueError` for what is neither an address nor `unix`."""

    def __init__(self, addresses: Iterable[str] = (), header: Names = "X-Forwarded-For") -> None:
        self.addresses = frozenset(_checked(address) for address in addresses)
        self._header = header

    def trusts(self, peer: str) -> bool:
        """Whether this peer is one of them."""
        return peer in self.addresses

    def is_near(self, address: str) -> bool:
        """Whether an address stands for more than one client, or for this machine: it has no bound of its own."""
        return address == UNIX or address in self.addresses or _is_loopback(address)

    def client_of(self, peer: str, headers: Sequence[tuple[bytes, bytes]]) -> Client:
        """Who sent a request with these headers, which came from `peer`."""
        if peer not in self.addresses:
            return Client(peer)
        if self._header == "Forwarded":
            hops = [(one.get("for", ""), one.get("proto", "")) for one in forwarded(_joined(headers, b"forwarded"))]
        else:
            addresses = _joined(headers, b"x-forwarded-for").split(",")
            schemes = _joined(headers, b"x-forwarded-proto").split(",")
            hops = [(address, _beside(schemes, len(addresses), at)) for at, address in enumerate(addresses)]
        return self._walk(peer, hops[-HOPS_MAX:])

    def _walk(self, peer: str, hops: list[tuple[str, str]]) -> Client:
        scheme = ""
        while peer in self.addresses and hops:
            told, by = hops.pop()
            address = _address_in(told)
            if by.strip().lower() in SCHEMES:
                scheme = by.strip().lower()
            if address is None:
                break
            peer = address
        return Client(peer, scheme)


def forwarded(header: str) -> list[dict[str, str]]:
    """The hops in a `Forwarded` header (RFC 7239), with their names in small letters; one that makes no sense is empty.

    Split at every comma, in quotes or not: what a proxy adds holds none there, and a quote that a sender left open must not hide it.
    """
    return [_pairs(hop) for hop in header.split(",")]


def _pairs(hop: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in hop.split(";"):
        pair = FORWARDED_PAIR.fullmatch(part)
        if pair is None:
            return {}
        value = pair[2]
        found[pair[1].lower()] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
    return found


def _joined(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> str:
    """A header that may stand in several lines, without what is too long to be told by our proxies alone."""
    return b",".join(value for key, value in headers if key == name)[-HEADER_BYTES_MAX:].decode("latin-1")


def _beside(schemes: list[str], hops: int, at: int) -> str:
    """The scheme that belongs to a hop; a proxy that replaces the header instead of adding to it leaves one for all."""
    place = at - hops + len(schemes)
    return schemes[max(0, place)]


def _address_in(told: str) -> str | None:
    """The address of a hop, without its port; None where it is hidden or makes no sense."""
    told = told.strip()
    if told.startswith("["):
        told = told[1:].partition("]")[0]
    elif told.count(":") == 1:
        told = told.partition(":")[0]
    try:
        ipaddress.ip_address(told)
    except ValueError:
        return None
    return canonical(told)


def _checked(address: str) -> str:
    if address == UNIX:
        return address
    try:
        ipaddress.ip_address(address)
    except ValueError as error:
        raise ValueError(f"{address!r} is no address of a proxy: exact addresses are taken, and {UNIX!r}") from error
    return canonical(address)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False

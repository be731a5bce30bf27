"""Where a request comes from, as a record may hold it: the peer's address, and what the sender says of itself."""

import ipaddress
from collections.abc import Container

from starlette.requests import HTTPConnection

from aggregates.action import Origin
from gateway.request_ids import request_id

REASON_HEADER = "Gavel-Reason"
BEHALF_HEADER = "Gavel-On-Behalf-Of"
FORWARDED_HEADER = "X-Forwarded-For"

WORDS_MAX = 200
REASON_CHARACTERS_MAX = 500
HOPS_MAX = 20
NOBODY = "unknown"
IPV6_CUSTOMER_BITS = 64


def origin_of(connection: HTTPConnection, route: str, proxies: Container[str], *, reason: str = "") -> Origin:
    """Where a request came from, each part cut to what a record may hold; a `reason` that its query gave wins over the header's."""
    headers = connection.headers
    return Origin(
        address=address_of(connection, proxies),
        route=route[:WORDS_MAX],
        user_agent=headers.get("user-agent", "")[:WORDS_MAX],
        request_id=request_id(),
        behalf=headers.get(BEHALF_HEADER, "")[:WORDS_MAX],
        reason=(reason or headers.get(REASON_HEADER, ""))[:REASON_CHARACTERS_MAX],
    )


def address_of(connection: HTTPConnection, proxies: Container[str]) -> str:
    """The peer's address as the socket has it. Where that is one of our proxies, the last that was not, by what they say of each other:
    what stands before it in the header, the sender may have made up."""
    peer = connection.client.host if connection.client is not None else NOBODY
    hops = ",".join(connection.headers.getlist(FORWARDED_HEADER)).split(",")[-HOPS_MAX:] if peer in proxies else []
    while peer in proxies and hops:
        try:
            peer = str(ipaddress.ip_address(hops.pop().strip()))
        except ValueError:
            break
    return peer


def lock_address_of(connection: HTTPConnection, proxies: Container[str]) -> str:
    """For whom wrong passwords are counted: an address, or of IPv6 the network of 64 bits, which is one customer's."""
    text = address_of(connection, proxies)
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, IPV6_CUSTOMER_BITS), strict=False))
    return text

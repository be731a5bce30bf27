"""Where a request comes from, as a record may hold it: the peer's address, and what the sender says of itself."""

from starlette.requests import HTTPConnection

from aggregates.action import Origin
from gateway.api.request_ids import request_id
from gateway.door.addresses import key_of

REASON_HEADER = "Gavel-Reason"
BEHALF_HEADER = "Gavel-On-Behalf-Of"

WORDS_MAX = 200
REASON_CHARACTERS_MAX = 500
NOBODY = "unknown"


def origin_of(connection: HTTPConnection, route: str, *, reason: str = "") -> Origin:
    """Where a request came from, each part cut to what a record may hold; a `reason` that its query gave wins over the header's."""
    headers = connection.headers
    return Origin(
        address=address_of(connection),
        route=route[:WORDS_MAX],
        user_agent=headers.get("user-agent", "")[:WORDS_MAX],
        request_id=request_id(),
        behalf=headers.get(BEHALF_HEADER, "")[:WORDS_MAX],
        reason=(reason or headers.get(REASON_HEADER, ""))[:REASON_CHARACTERS_MAX],
    )


def address_of(connection: HTTPConnection) -> str:
    """The client's address: the peer's as the socket has it, or what our proxies say (`gateway/door/proxies.py`)."""
    return connection.client.host if connection.client is not None else NOBODY


def lock_address_of(connection: HTTPConnection) -> str:
    """For whom wrong passwords are counted: an address, or of IPv6 the network of 64 bits, which is one customer's."""
    return key_of(address_of(connection))

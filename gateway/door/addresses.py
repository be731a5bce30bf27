"""How many connections an address has open; behind a proxy that we trust, how many requests and sockets it has under way.

Whoever is near is not counted: loopback, unix sockets, and the proxies themselves, which bring many clients (`Proxies.is_near`).
"""

import ipaddress
from collections.abc import Callable
from functools import lru_cache

IPV6_PREFIX_BITS = 64
"""Of an IPv6 address, what one household or machine has to itself."""


class PerAddress:
    """Counts up to `each_max` for each address; what `is_exempt` has no bound."""

    def __init__(self, each_max: int, is_exempt: Callable[[str], bool]) -> None:
        self.each_max = each_max
        self._is_exempt = is_exempt
        self._count_by_key: dict[str, int] = {}

    def enter(self, address: str) -> str | None:
        """Takes a place, and answers with what has to be left again, empty for who is not counted; None where all are taken."""
        if self._is_exempt(address):
            return ""
        key = key_of(address)
        count = self._count_by_key.get(key, 0)
        if count >= self.each_max:
            return None
        self._count_by_key[key] = count + 1
        return key

    def leave(self, key: str) -> None:
        """Gives a place back."""
        if key:
            count = self._count_by_key.pop(key) - 1
            if count:
                self._count_by_key[key] = count

    def __len__(self) -> int:
        return len(self._count_by_key)


@lru_cache(maxsize=4096)
def key_of(address: str) -> str:
    """Whom an address stands for: of IPv6 the network, whose every address one client may use."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((int(parsed), IPV6_PREFIX_BITS), strict=False))


@lru_cache(maxsize=4096)
def canonical(host: str) -> str:
    """One spelling of an address: an IPv4 address that IPv6 wraps is that IPv4 address. What is none is left as it is."""
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(parsed)

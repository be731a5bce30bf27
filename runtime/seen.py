"""Which idempotency keys were certainly never used: almost all that come, and those need not be looked for in the database.

A Bloom filter (Bloom 1970) for each span of time: keys that are known from the database, those of the present span, those of the one
before. It never denies a key that is there; one that is not there is taken for one that may be, and looked for in vain, in 1 of 100
cases at three million keys a span, more often beyond. Hashes are stable, so that a simulation does the same in every process.
"""

from collections.abc import Iterable
from hashlib import blake2b
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from struct import Struct

BITS = 1 << 25
"""4 MiB each, of which a page is taken when a key first falls on it."""
_halves = Struct("<QQ").unpack


class Filter:
    """A set of keys that may hold more than were added, and never less. Not for two threads at once."""

    def __init__(self, bits: int = BITS) -> None:
        """`bits` is a power of two, at least 8."""
        self._mask = bits - 1
        self._bytes = mmap(-1, bits >> 3, flags=MAP_PRIVATE | MAP_ANONYMOUS)

    def add(self, digest: bytes) -> None:
        """Adds the digest of a key."""
        first, step = _halves(digest)
        mask, content = self._mask, self._bytes
        for _ in range(4):
            content[(first & mask) >> 3] |= 1 << (first & 7)
            first += step

    def update(self, keys: Iterable[tuple[str, str]]) -> None:
        """Adds keys, each with its tenant."""
        for tenant, key in keys:
            self.add(digest(tenant, key))

    def __contains__(self, digest: bytes) -> bool:
        first, step = _halves(digest)
        mask, content = self._mask, self._bytes
        for _ in range(4):
            if not content[(first & mask) >> 3] & 1 << (first & 7):
                return False
            first += step
        return True


class Seen:
    """The keys that may have been used within `span_seconds`, by tenant. Until `know` has been told the old ones, that is any key."""

    def __init__(self, span_seconds: float, bits: int = BITS) -> None:
        self._span_seconds = span_seconds
        self._bits = bits
        self._old: Filter | None = None
        self._before: Filter | None = None
        self._now: Filter | None = None
        self._since = 0.0

    def know(self, old: Filter) -> None:
        """The keys that the database held at the start."""
        self._old = old

    def may_hold(self, tenant: str, key: str) -> bool:
        """False where the key was certainly never used."""
        if self._old is None:
            return True
        name = digest(tenant, key)
        return any(name in keys for keys in (self._old, self._before, self._now) if keys is not None)

    def add(self, tenant: str, key: str, at: float) -> None:
        """A key is used now, `at` seconds since the epoch."""
        if self._now is None or at > self._since + self._span_seconds:
            if self._before is not None and self._old is not None:
                self._old = Filter(8)  # what the database held at the start was forgotten there meanwhile
            self._before, self._now, self._since = self._now, Filter(self._bits), at
        self._now.add(digest(tenant, key))


def digest(tenant: str, key: str) -> bytes:
    """What stands for a key in a filter."""
    return blake2b(f"{tenant}\0{key}".encode("utf-8", "surrogatepass"), digest_size=16).digest()

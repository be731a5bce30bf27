"""Names for what is recorded: time-ordered UUIDs (version 7), because random ones cost seven times the insert once a table is large."""

import os
from collections.abc import Callable
from functools import cached_property
from struct import Struct

from runtime.clock import Clock

SEQUENCE_BITS = 12
TAILS = Struct(">64Q")
"""The random parts of so many ids are drawn at a time."""


class Ids:
    """UUIDv7 (RFC 9562 §5.7) with a counter in `rand_a`, so that ids of one node sort in the order in which they were made.

    `entropy(n)` gives n random bytes; a seeded one makes the ids repeatable.
    """

    def __init__(self, clock: Clock, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._clock = clock
        self._entropy = entropy
        self._last = 0
        self._tails: list[int] = []
        self._messages = 0

    @cached_property
    def start(self) -> str:
        """Names this start of the node, for those who must tell it from the ones before."""
        return self.new()

    def new(self) -> str:
        """A new id, greater than every one before it."""
        stamp = int(self._clock.now() * 1000) << SEQUENCE_BITS
        self._last = stamp = stamp if stamp > self._last else self._last + 1
        if not self._tails:
            # Asking the system for a few bytes costs more than all the rest of an id.
            self._tails = list(TAILS.unpack(self._entropy(TAILS.size)))
        tail = self._tails.pop() & 0x3FFF_FFFF_FFFF_FFFF | 1 << 63
        text = f"{stamp >> SEQUENCE_BITS:012x}7{stamp & 0xFFF:03x}{tail:016x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

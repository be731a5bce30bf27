"""Names for what is recorded: time-ordered UUIDs (version 7), because random ones cost seven times the insert once a table is large."""

import os
from collections.abc import Callable
from functools import cached_property

from runtime.clock import Clock

SEQUENCE_BITS = 12
TAILS_AT_ONCE = 64
TAIL_BYTES = 8
"""The random parts of so many ids are drawn at a time: asking the system for a few bytes costs more than all the rest of an id."""
VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""What the first digit of the random part becomes."""
SEQUENCES = tuple(f"7{n:03x}" for n in range(1 << SEQUENCE_BITS))
"""The version and the counter, as an id has them."""


class Ids:
    """UUIDv7 (RFC 9562 §5.7) with a counter in `rand_a`, so that ids of one node sort in the order in which they were made.

    `entropy(n)` gives n random bytes; a seeded one makes the ids repeatable.
    """

    def __init__(self, clock: Clock, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._clock = clock
        self._entropy = entropy
        self._milliseconds = 0
        self._head = ""
        self._made = 0
        self._tails: list[str] = []

    @cached_property
    def start(self) -> str:
        """Names this start of the node, for those who must tell it from the ones before."""
        return self.new()

    def new(self, at: float | None = None) -> str:
        """A new id, greater than every one before it; of the time `at`, in seconds since the epoch, by default of now."""
        milliseconds = int((self._clock.now() if at is None else at) * 1000)
        if milliseconds > self._milliseconds or self._made >= len(SEQUENCES):
            self._begin(max(milliseconds, self._milliseconds + 1))
        sequence = SEQUENCES[self._made]
        self._made += 1
        tails = self._tails or self._draw()
        return f"{self._head}{sequence}{tails.pop()}"

    def _begin(self, milliseconds: int) -> None:
        self._milliseconds = milliseconds
        self._made = 0
        time = f"{milliseconds:012x}"
        self._head = f"{time[:8]}-{time[8:]}-"

    def _draw(self) -> list[str]:
        digits = self._entropy(TAILS_AT_ONCE * TAIL_BYTES).hex()
        tails = [digits[first : first + 2 * TAIL_BYTES] for first in range(0, len(digits), 2 * TAIL_BYTES)]
        self._tails = [f"-{VARIANT[tail[0]]}{tail[1:4]}-{tail[4:]}" for tail in tails]
        return self._tails

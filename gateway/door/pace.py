"""How long a peer may keep us waiting: some seconds, and for whatever it takes or gives, the seconds that this may take.

A deadline for each send alone would let a client hold a connection for ever with one byte in nine seconds.
"""


class Pace:
    """One direction of one peer: `seconds_max` of waiting, of which bytes earn back at `bytes_per_second_min`."""

    __slots__ = ("_bytes_per_second_min", "_seconds_max", "_waited")

    def __init__(self, seconds_max: float, bytes_per_second_min: float) -> None:
        self._seconds_max = seconds_max
        self._bytes_per_second_min = bytes_per_second_min
        self._waited = 0.0

    @property
    def seconds_left(self) -> float:
        """How long the peer may keep us waiting from now on."""
        return self._seconds_max - self._waited

    def moved(self, size: int, seconds: float) -> None:
        """So many bytes have moved, after so much waiting."""
        self._waited = max(0.0, self._waited + seconds - size / self._bytes_per_second_min)


class Allowance:
    """So many of a kind in a second, and as many at once."""

    __slots__ = ("_left", "_per_second", "_since")

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._left = per_second
        self._since = 0.0

    def take(self, now: float) -> bool:
        """One more at `now`, in seconds; whether it was allowed."""
        left = min(self._per_second, self._left + (now - self._since) * self._per_second)
        is_allowed = left >= 1
        self._left, self._since = left - is_allowed, now
        return is_allowed

"""How long a task rests before it is tried again."""

from typing import Annotated

from msgspec import Meta, Struct

DELAY_SECONDS_MAX = 86400.0 * 7
DelaySeconds = Annotated[float, Meta(ge=0, le=DELAY_SECONDS_MAX)]
POWER_MAX = 100
"""A delay that grows at all has passed its bound long before; one attempt more must not be too large for a float."""


class RetryPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first delay, what each next one is multiplied by, and the longest."""

    delay_seconds: DelaySeconds = 0.0
    factor: Annotated[float, Meta(ge=1, le=10)] = 2.0
    delay_seconds_max: DelaySeconds = 3600.0

    def seconds_after(self, attempt: int) -> float:
        """How long to wait after this attempt has failed; the first is 1."""
        return min(self.delay_seconds_max, self.delay_seconds * self.factor ** min(attempt - 1, POWER_MAX))


AT_ONCE = RetryPolicy()

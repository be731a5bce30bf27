"""Numbers with bounds, checked at the door and shown in the API document."""

from typing import Annotated

from msgspec import Meta

# The upper bounds keep infinity out: JSON cannot carry it, msgpack can.
NonNegative = Annotated[float, Meta(ge=0, le=1e300)]
Positive = Annotated[float, Meta(gt=0, le=1e300)]
Share = Annotated[float, Meta(ge=0, le=1)]

INSTANT_MAX = 32503680000
Instant = Annotated[float, Meta(ge=0, le=INSTANT_MAX)]
"""Seconds since the epoch, UTC, up to the year 3000."""

Priority = Annotated[int, Meta(ge=1, le=5)]
"""5 is the most urgent."""

Count = Annotated[int, Meta(ge=0, le=2**53)]
TOKEN_MAX = 2**31
Token = Annotated[int, Meta(ge=1, le=TOKEN_MAX)]
"""A fencing token: the number of the award that gave the lease; it only grows."""

Seed = Annotated[int, Meta(ge=0, lt=2**32)]

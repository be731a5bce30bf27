"""W3C trace context: the header `traceparent` as it comes in, and as it goes out with what an actor asks of the outside.

Without OpenTelemetry this process makes no spans, so it hands on the parent that it was given, as the standard allows.
"""

import re
from contextvars import ContextVar

TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
TRACE_ID = re.compile(r"[0-9a-f]{32}")

span: ContextVar[str] = ContextVar("span", default="")
"""The `traceparent` of the span in which this code runs; empty where none is made."""


def parsed(header: str) -> tuple[str, str] | None:
    """The header in version 00, and its trace id; None where it is no valid one. Later versions are read as far as 00 goes."""
    parts = TRACEPARENT.fullmatch(header)
    if parts is None or parts[1] == "ff" or (parts[1] == "00" and parts[5]):
        return None
    if parts[2] == "0" * 32 or parts[3] == "0" * 16:
        return None
    return f"00-{parts[2]}-{parts[3]}-{parts[4]}", parts[2]


def of_record(correlation: str, position: int) -> str:
    """For what follows from a record: its trace, and its position in place of the span that is long over; empty without a trace.

    It is marked as sampled, since its record is kept.
    """
    return f"00-{correlation}-{position:016x}-01" if TRACE_ID.fullmatch(correlation) else ""

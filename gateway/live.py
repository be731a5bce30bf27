"""The log as it is told to the outside: records as JSON, and a feed that follows them from any position without a gap.

The position is the cursor: whoever reconnects with the last one it saw misses nothing. A feed reads the journal at its reader's pace,
from memory while it keeps up and from the file when it has fallen behind; it holds one page at a time.
"""

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from runtime.journal import Journal
from runtime.records import Recorded

PAGE = 500
KEEP_ALIVE_SECONDS = 10.0


class Line(msgspec.Struct, frozen=True):
    """A record as it is told to the outside."""

    position: int
    stream: str
    version: int
    kind: str
    at: float
    recorded_at: float
    tenant: str
    principal: str
    cause: str
    correlation: str
    command: str | None
    data: Any


def line(recorded: Recorded) -> Line:
    """What is told of a record."""
    meta = recorded.meta
    return Line(
        position=recorded.position,
        stream=recorded.stream,
        version=recorded.version,
        kind=recorded.kind,
        at=meta.at,
        recorded_at=meta.recorded_at,
        tenant=meta.tenant,
        principal=meta.principal,
        cause=meta.cause,
        correlation=meta.correlation,
        command=meta.command.name if meta.command is not None else None,
        data=recorded.event,
    )


async def follow(
    journal: Journal, after: int, tenant: str | None, *, beat_seconds: float = KEEP_ALIVE_SECONDS
) -> AsyncIterator[tuple[int, list[Recorded]]]:
    """Pages of a tenant's records past `after` (None: everybody's), for ever, each with the position that it reaches.

    A page without records says that nothing happened for `beat_seconds`, or nothing that this tenant may see.
    """
    while True:
        page = await journal.read(after, PAGE)
        if page:
            after = page[-1].position
            yield after, [record for record in page if tenant is None or record.meta.tenant == tenant]
        elif await journal.wait_past(after, beat_seconds) <= after:
            yield after, []

"""The log as it is told to the outside: records as JSON, and a feed that follows them from any position without a gap.

The position is the cursor: whoever reconnects with the last one it saw misses nothing. A feed reads the journal at its reader's pace,
from memory while it keeps up and from the file when it has fallen behind; it holds one page at a time.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from runtime.journal import Journal
from runtime.records import Recorded

PAGE = 500
KEEP_ALIVE_SECONDS = 10.0

Write = Callable[[bytes], Awaitable[None]]
"""Writes a part of a response; waits while the client does not take it."""


class Decided(msgspec.Struct, frozen=True):
    """The recorded command in full, so that its decision can be made again: `rules` is the number of the rules that it was made by."""

    rules: int
    data: Any


class Line(msgspec.Struct, frozen=True):
    """A record as it is told to the outside; `decided` is there where it was asked for, with the first event of each command."""

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
    decided: Decided | msgspec.UnsetType = msgspec.UNSET


def line(recorded: Recorded, *, commands: bool = False) -> Line:
    """What is told of a record."""
    meta = recorded.meta
    decided: Decided | msgspec.UnsetType = msgspec.UNSET
    if commands and meta.command is not None:
        decided = Decided(meta.command.rules, msgspec.msgpack.decode(meta.command.data))
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
        decided=decided,
    )


async def follow(
    journal: Journal, after: int, tenant: str | None, *, beat_seconds: float = KEEP_ALIVE_SECONDS
) -> AsyncGenerator[tuple[int, list[Recorded]], None]:
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


class EventStream(Response):
    """Server-sent events, written by a function until the client goes.

    Starlette's own streaming response takes a generator, which nobody closes when the client goes in the midst of it.
    """

    media_type = "text/event-stream"

    def __init__(self, write: Callable[[Write], Awaitable[None]]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._write = write

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})

        async def write(part: bytes) -> None:
            await send({"type": "http.response.body", "body": part, "more_body": True})

        await self._write(write)

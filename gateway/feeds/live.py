"""The log as it is told to the outside: records as JSON, and a feed that follows them from any position without a gap.

The position is the cursor: whoever reconnects with the last one it saw misses nothing. A feed reads the journal at its reader's pace,
from memory while it keeps up and from the file when it has fallen behind; it holds one page at a time.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import cache
from typing import Any

import msgspec
import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from aggregates.catalog import AGGREGATES
from gateway.feeds.wanted import EVERYTHING, Wanted
from gateway.identity.auth import REVOCATIONS
from runtime.journal import Journal
from runtime.records import UNTOLD, Command, CommandRecord, Event, Recorded, Retired, marked, name_of

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
        decided = Decided(meta.command.rules, _command_told(meta.command))
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
        command=name_of(meta.command.name) if meta.command is not None else None,
        data=_event_told(recorded.event),
        decided=decided,
    )


def _event_told(event: Event) -> Any:
    if isinstance(event, Retired):
        return event.said
    untold = _untold(type(event))
    return msgspec.structs.replace(event, **untold) if untold else event


def _command_told(command: CommandRecord) -> Any:
    told = msgspec.msgpack.decode(command.data)
    return told | {name: "" for name in UNTOLD_BY_COMMAND.get(name_of(command.name), ()) if name in told}


@cache
def _untold(kind: type[msgspec.Struct]) -> dict[str, str]:
    return dict.fromkeys(marked(kind, UNTOLD), "")


UNTOLD_BY_COMMAND = {
    f"{aggregate.__name__.rpartition('.')[2]}.{name}": tuple(_untold(kind))
    for aggregate in AGGREGATES
    for name, kind in vars(aggregate).items()
    if isinstance(kind, type) and issubclass(kind, Command) and _untold(kind)
}


async def watch(
    journal: Journal,
    after: int,
    tenant: str,
    is_welcome: Callable[[], Awaitable[bool]],
    wanted: Wanted = EVERYTHING,
) -> AsyncGenerator[tuple[int, list[Recorded]], None]:
    """Pages of a tenant's records past `after`, each with the position that it reaches, until the reader is not welcome any more, or
    all that is `wanted` was told.

    A page without records says that for `KEEP_ALIVE_SECONDS` nothing happened that this tenant may see. Whether the reader is
    welcome is asked as often as that, and as soon as one of the tenant's keys, sessions or users was ended.
    """
    told_at = asked_at = trio.current_time()
    while True:
        rest = max(0.0, min(told_at, asked_at) + KEEP_ALIVE_SECONDS - trio.current_time())
        wait = (
            0.0 if wanted.is_over(after, journal.clock.now()) else rest
        )  # whoever asks for what has been waits for nothing
        page = await journal.read(after, PAGE) if await journal.wait_past(after, wait) > after else []
        after = page[-1].position if page else after
        own = [record for record in page if record.meta.tenant == tenant]
        revoked = any(isinstance(record.event, REVOCATIONS) for record in own)
        if revoked or trio.current_time() >= asked_at + KEEP_ALIVE_SECONDS:
            if not await is_welcome():
                return
            asked_at = trio.current_time()
        seen = wanted.chosen(own)
        is_over = (bool(page) and wanted.is_past(page[-1])) or (
            after >= journal.position and wanted.is_over(after, journal.clock.now())
        )
        if is_over:
            yield after, seen
            return
        if seen or trio.current_time() >= told_at + KEEP_ALIVE_SECONDS:
            told_at = trio.current_time()
            yield after, seen


class EventStream(Response):
    """Server-sent events, written by a function until it ends or the client goes.

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

        if scope["method"] != "HEAD":  # who only looks goes on with another request on this connection
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
                await self._write(write)
                nursery.cancel_scope.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive, writing: trio.CancelScope) -> None:
    """A feed may have nothing to write for long: without this, it would learn only then that its reader has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
    writing.cancel()

"""A reader of the server-sent feed, as a program would write one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import h11
import msgspec
import trio

from tests.gateway import documented
from tests.gateway.clients import Client


class Told(NamedTuple):
    """A server-sent event."""

    id: int
    name: str
    data: Any


class Feed:
    """Events as they come."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.wire = h11.Connection(h11.CLIENT)
        self._unread = b""
        self.cursor = ""
        """What a client that comes back names."""

    async def event(self) -> Any:
        """What comes next over the wire."""
        while (event := self.wire.next_event()) is h11.NEED_DATA:
            self.wire.receive_data(await self.stream.receive_some(65_536))
        return event

    async def next(self) -> Told | None:
        """The next event; None at the end of the feed."""
        while b"\n\n" not in self._unread:
            event = await self.event()
            if isinstance(event, h11.EndOfMessage):
                return None
            self._unread += event.data
        text, _, self._unread = self._unread.partition(b"\n\n")
        fields = dict(line.split(": ", 1) for line in text.decode().splitlines())
        self.cursor = fields["id"]
        data = msgspec.json.decode(fields["data"])
        documented.check_event(fields["event"], data)
        return Told(int(self.cursor.rpartition(":")[2]), fields["event"], data)

    async def record(self) -> Told:
        """The next event that is a record."""
        while True:
            told = await self.next()
            assert told is not None, "the feed has ended"
            if told.name != "position":
                return told

    async def records_to(self, position: int) -> list[Told]:
        """All records until the feed has reached a position."""
        records: list[Told] = []
        while True:
            told = await self.next()
            assert told is not None, "the feed has ended"
            if told.name != "position":
                records.append(told)
            if told.id >= position:
                return records

    async def ended(self) -> None:
        """Waits for the end."""
        while await self.next() is not None:
            pass


@asynccontextmanager
async def open_feed(client: Client, query: str = "", **headers: str) -> AsyncIterator[Feed]:
    """The feed for this client's key, or for a cookie among the headers."""
    address = urlsplit(client.node.url)
    named = {"Host": address.netloc} | {name.replace("_", "-"): value for name, value in headers.items()}
    if "Cookie" not in named:
        named["Authorization"] = f"Bearer {client.key}"
    async with await trio.open_tcp_stream(address.hostname or "", address.port or 0) as stream:
        feed = Feed(stream)
        request = h11.Request(method="GET", target=f"/v1/feed{query}", headers=list(named.items()))
        await stream.send_all((feed.wire.send(request) or b"") + (feed.wire.send(h11.EndOfMessage()) or b""))
        head = await feed.event()
        assert (head.status_code, dict(head.headers)[b"content-type"]) == (200, b"text/event-stream; charset=utf-8")
        yield feed

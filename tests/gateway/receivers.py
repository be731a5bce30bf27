"""Somebody who receives webhooks over real sockets, and answers as a test wants: well, badly, late or not at all."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import h11
import msgspec
import trio
from standardwebhooks import Webhook


class Heard(NamedTuple):
    """A request as it came, and which connection it came on."""

    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def position(self) -> int:
        return int(self.id.partition("-")[0])

    def verified(self, secret: str) -> Any:
        """What it says, if it is signed with that secret."""
        return Webhook(secret).verify(self.body, self.headers)


class Says(NamedTuple):
    """An answer; status 0 hangs up without one."""

    status: int = 204
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


Answering = Callable[[Heard], Awaitable[Says]]


async def well(heard: Heard) -> Says:
    return Says()


class Receiver:
    """An endpoint. What it hears is in `heard`, and comes out of `next` in order."""

    def __init__(self, answering: Answering) -> None:
        self.answering = answering
        self.heard: list[Heard] = []
        self.port = 0
        self.connections = 0
        self._send, self._receive = trio.open_memory_channel[Heard](10_000)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def next(self) -> Heard:
        return await self._receive.receive()

    async def next_said(self) -> Any:
        return msgspec.json.decode((await self.next()).body)

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        number, wire = self.connections, h11.Connection(h11.SERVER)
        async with stream:
            while (request := await self._request(stream, wire, number)) is not None:
                self.heard.append(request)
                self._send.send_nowait(request)
                says = await self.answering(request)
                if not says.status:
                    return
                length = ("Content-Length", str(len(says.body)))
                bare = [] if says.status == 204 else [length]
                response = h11.Response(status_code=says.status, headers=[*bare, *says.headers])
                parts = [wire.send(response), wire.send(h11.Data(says.body)), wire.send(h11.EndOfMessage())]
                await stream.send_all(b"".join(part or b"" for part in parts))
                if wire.our_state is not h11.DONE or wire.their_state is not h11.DONE:
                    return
                wire.start_next_cycle()

    async def _request(self, stream: trio.abc.Stream, wire: h11.Connection, number: int) -> Heard | None:
        headers: dict[str, str] = {}
        body = b""
        while True:
            event = wire.next_event()
            match event:
                case h11.Request():
                    headers = {name.decode().lower(): value.decode() for name, value in event.headers}
                case h11.Data():
                    body += event.data
                case h11.EndOfMessage():
                    return Heard(headers, body, number)
                case h11.ConnectionClosed():
                    return None
                case _:
                    wire.receive_data(bytes(await stream.receive_some(65_536)))


@asynccontextmanager
async def open_receiver(
    answering: Answering = well, *, context: ssl.SSLContext | None = None
) -> AsyncIterator[Receiver]:
    """An endpoint on loopback; at the end all its connections are cut."""
    receiver = Receiver(answering)

    async def serve(stream: trio.abc.Stream) -> None:
        try:
            if context is not None:
                stream = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
            await receiver.serve(stream)
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            pass  # the other side has hung up

    async with trio.open_nursery() as nursery:
        listen = partial(trio.serve_tcp, serve, 0, host="127.0.0.1")
        listeners = await nursery.start(listen)
        receiver.port = listeners[0].socket.getsockname()[1]
        yield receiver
        nursery.cancel_scope.cancel()

"""Runs the app for one request or one websocket, and keeps for it what it has yet to receive."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import structlog
import trio
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp
from starlette.websockets import WebSocketDisconnect

from gateway.bounds import Bounds, Counts
from gateway.problems import was_logged

GOODBYE_SECONDS_MAX = 0.5

log = structlog.get_logger("gateway.server")


class ClientGone(OSError):
    """A handler sends to a websocket whose client has left; Starlette turns it into `WebSocketDisconnect`."""


class Owner(Protocol):
    """What a handler, and the stream that it answers on, need of their connection."""

    nursery: trio.Nursery
    bounds: Bounds
    counts: Counts
    broken: bool
    sends: int

    def bound_reading(self, seconds: float) -> None: ...

    def note(self, event: str, **said: object) -> None: ...


class Leaving(Protocol):
    """A stream whose client can be told that the house shuts down."""

    async def say_goodbye(self) -> None: ...


class Inbox:
    """What one handler has yet to receive. Bounded; once the client is gone it says so at every call."""

    def __init__(self, messages_max: int) -> None:
        self._send, self._receive = trio.open_memory_channel[Any](messages_max)
        self._last: Any = {"type": "http.disconnect"}

    async def put(self, message: Any) -> None:
        """Waits while the inbox is full. A disconnect never waits: its sender may be the handler that should read."""
        if message["type"] in {"http.disconnect", "websocket.disconnect"}:
            self._last = message
            self._send.close()
            return
        try:
            await self._send.send(message)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.lowlevel.checkpoint()  # the handler has answered and reads no more

    async def get(self) -> Any:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            await trio.lowlevel.checkpoint()
            return self._last

    def close(self) -> None:
        self._send.close()
        self._receive.close()


class Pulse:
    """What an app is not told of its websocket: `ping` the client, and wait for its next `beat`, a ping or a pong."""

    def __init__(self, ping: Callable[[], Awaitable[None]]) -> None:
        self.ping = ping
        self._beaten = trio.Event()

    def beat(self) -> None:
        """The client was heard."""
        self._beaten.set()
        self._beaten = trio.Event()

    async def next(self) -> None:
        """Waits until the client is heard again."""
        await self._beaten.wait()


class Handler:
    """Runs the app once; stands where hypercorn expects its task group. The app's faults end here."""

    def __init__(self, connection: Owner) -> None:
        self.connection = connection
        self.scope = trio.CancelScope()
        self.stream: Leaving
        self.leaving = False

    async def spawn_app(
        self, app: Any, config: object, scope: Any, send: Callable[[Any], Awaitable[None]]
    ) -> Callable[[Any], Awaitable[None]]:
        inbox = Inbox(self.connection.bounds.inbox_messages_max)
        self.connection.nursery.start_soon(self._run, app, scope, inbox, send)
        return inbox.put

    def leave(self) -> None:
        """The house shuts down: cancels the handler, after which the client is told good-bye."""
        self.leaving = True
        self.scope.cancel()

    async def _run(self, app: ASGIApp, scope: Any, inbox: Inbox, send: Callable[[Any], Awaitable[None]]) -> None:
        try:
            with self.scope:
                await app(scope, inbox.get, send)
        except* (WebSocketDisconnect, ClientDisconnect, ClientGone):
            pass  # the handler ended because its client did
        except* Exception as faults:  # a handler's fault ends its request, not the server
            self.connection.counts.handler_faults += 1
            if not was_logged(faults):
                log.error("handler_failed", path=scope["path"], exc_info=faults)
        finally:
            inbox.close()
        if self.leaving:
            with trio.move_on_after(GOODBYE_SECONDS_MAX):
                await self.stream.say_goodbye()
        await send(None)

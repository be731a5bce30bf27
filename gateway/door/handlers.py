"""Runs the app for one request or one websocket, and keeps for it what it has yet to receive."""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import structlog
import trio
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp
from starlette.websockets import WebSocketDisconnect

from gateway.api.problems import was_logged
from gateway.door.bounds import Bounds, Counts
from gateway.door.ws_frames import message_of

GOODBYE_SECONDS_MAX = 0.5
INBOX_BYTES_MAX = 2**20
TAKEN_IN_ROW = 64

log = structlog.get_logger("gateway.door.server")


class ClientGone(OSError):
    """A handler sends to a websocket whose client has left; Starlette turns it into `WebSocketDisconnect`."""


class Owner(Protocol):
    """What a handler, and the stream that it answers on, need of their connection."""

    nursery: trio.Nursery
    bounds: Bounds
    counts: Counts
    broken: bool
    sends: int

    async def gather(self, data: bytes) -> None: ...

    def gather_now(self, data: bytes) -> bool: ...

    def write_now(self, data: bytes) -> bool: ...

    def bound_reading(self, seconds: float) -> None: ...

    def note(self, event: str, **said: object) -> None: ...


class Leaving(Protocol):
    """A stream whose client can be told that the house shuts down."""

    async def say_goodbye(self) -> None: ...


class Inbox:
    """What one handler has yet to receive. Bounded; once the client is gone it says so at every call.

    Neither side makes way for the other at each message, as Trio's channel does: what arrived at once is handled at once.
    """

    def __init__(self, messages_max: int, bytes_max: int = INBOX_BYTES_MAX) -> None:
        self._messages: deque[Any] = deque()
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._taken = 0
        self._last: Any = None
        self._is_closed = False
        self._readers = trio.lowlevel.ParkingLot()
        self._writers = trio.lowlevel.ParkingLot()

    async def put(self, message: Any) -> None:
        """Waits while the inbox is full. A disconnect never waits: its sender may be the handler that should read."""
        if message["type"] in {"http.disconnect", "websocket.disconnect"}:
            self._last = message
            self._wake()
            return
        while self._is_full() and self._last is None and not self._is_closed:
            await self._writers.park()
        if self._is_closed or self._last is not None:
            await trio.lowlevel.checkpoint()  # the handler has answered and reads no more
            return
        self._add(message)

    def put_now(self, message: Any) -> bool:
        """Puts what came in, where there is room for it and somebody to receive it; whether it was done."""
        if self._is_closed or self._last is not None or self._is_full():
            return False
        self._add(message)
        return True

    def _add(self, message: Any) -> None:
        self._messages.append(message)
        self._bytes += _size(message)
        if self._readers:
            self._readers.unpark()

    @property
    def is_awaited(self) -> bool:
        """Whether all that has come was received, and its reader waits for more."""
        return bool(self._readers) and not self._messages

    def get_now(self) -> Any:
        """The next message, where `get` has neither to wait nor to make way; else None."""
        if not self._messages or (self._taken + 1) % TAKEN_IN_ROW == 0:
            return None
        self._taken += 1
        return self._take()

    async def get(self) -> Any:
        while not self._messages:
            if self._last is not None or self._is_closed:
                await trio.lowlevel.checkpoint()
                return self._last or {"type": "http.disconnect"}
            await self._readers.park()
        self._taken += 1
        if self._taken % TAKEN_IN_ROW == 0:
            await trio.lowlevel.checkpoint()  # who receives on and on must not stop the world
        return self._take()

    def _take(self) -> Any:
        message = self._messages.popleft()
        self._bytes -= _size(message)
        if self._writers:
            self._writers.unpark()
        return message

    def close(self) -> None:
        self._is_closed = True
        self._messages.clear()
        self._wake()

    def _is_full(self) -> bool:
        return len(self._messages) >= self._messages_max or (bool(self._messages) and self._bytes >= self._bytes_max)

    def _wake(self) -> None:
        self._readers.unpark_all()
        self._writers.unpark_all()


def _size(message: Any) -> int:
    return len(message.get("bytes") or message.get("text") or message.get("body") or b"")


class Line:
    """What ASGI has no words for in a websocket: `ping` the client, and wait for its next `beat`, a ping or a pong; frames that are sent
    and taken at once, without a coroutine for each layer in between."""

    def __init__(
        self,
        ping: Callable[[], Awaitable[None]],
        send_now: Callable[[bytes], bool],
        write_now: Callable[[bytes], bool],
    ) -> None:
        """`send_now` sends whole frames, as `ws_frames.frame` makes them, where it has neither to wait nor to make way, and tells whether
        it was done; `write_now` does the same for what nothing else follows at once, which costs less, and leaves it to its caller to make
        way for others now and then."""
        self.ping = ping
        self.send_now = send_now
        self.write_now = write_now
        self.inbox: Inbox | None = None
        self.take_now: Callable[[bytes | str], bool] | None = None
        """Takes a message of the client here and now, if it can: set by an app that would else be woken for each of them. What it does
        not take is the next message of `receive`."""
        self._beaten = trio.Event()

    def receive_now(self) -> Any:
        """The next message of the app's `receive`, where one has come already; None: `receive` has to be asked."""
        return self.inbox.get_now() if self.inbox is not None else None

    def hear(self, said: bytes | str) -> bool:
        """Hands on what the client said: to `take_now`, or to who receives; whether there was room."""
        inbox, take = self.inbox, self.take_now
        if inbox is None:
            return False
        if take is not None and inbox.is_awaited and take(said):
            return True
        return inbox.put_now(message_of(said))

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
        if (line := scope.get("state", {}).get("line")) is not None:
            line.inbox = inbox
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

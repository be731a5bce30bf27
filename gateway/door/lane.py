"""The short way: a common request is answered by the task that has read it, without h11, and without a task or a channel for each.

Nobody reads from the client while its handler works. A handler that wants to hear more, the rest of a body or that the client has left,
reads for itself by `receive`; what a client says too early waits. All that is not common goes the long way, through `gateway/door/wire.py`.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import unquote

import structlog
import trio
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from gateway.api.problems import MEDIA_TYPE, status_document, was_logged
from gateway.door.bounds import WHOLE_BODY, Counts
from gateway.door.handlers import GOODBYE_SECONDS_MAX, ClientGone
from gateway.door.heads import Head

AHEAD_BYTES_MAX = 65_536
"""What a client may say while its request is answered; it is not read on after that."""

NAME = re.compile(rb"[-!#$%&'*+.^_`|~0-9a-zA-Z]+")
VALUE = re.compile(rb"(?:[^\x00\s]+(?:[ \t]+[^\x00\s]+)*)?")
KNOWN_NAMES_MAX = 1024
KNOWN_VALUES_MAX = 16
WITHOUT_BODY = frozenset({204, 304})
GONE = {"type": "http.disconnect"}

log = structlog.get_logger("gateway.door.server")


class Line(Protocol):
    """What an exchange needs of its connection."""

    counts: Counts
    broken: bool

    def expire(self) -> None: ...

    async def send(self, data: bytes) -> None: ...

    async def receive_more(self) -> bytes: ...


class Exchange:
    """One request and its response."""

    def __init__(
        self, line: Line, head: Head, rest: bytes, date: Sequence[tuple[bytes, bytes]], *, closes: bool = False
    ) -> None:
        self.line = line
        self.method = head.method
        self.closes = closes or head.closes
        """Whether the connection ends with the response."""
        self.leaving = False
        """Whether its handler is cancelled because the house shuts down, and the client has to be told good-bye."""
        self.rest = rest[head.length :]
        """What the client has said after the request."""
        self._body = rest[: head.length]
        self._missing = head.length - len(self._body)
        self._is_read = False
        self._date = date
        self._start: Any = None
        self._head = b""
        self._left: int | None = 0
        self._has_body = True
        self._is_done = False

    async def run(self, app: ASGIApp, scope: dict[str, Any]) -> None:
        """Runs the app. Its faults end here."""
        try:
            await app(scope, self.receive, self.send)
        except Exception as fault:  # noqa: BLE001 — a handler's fault ends its request, not the server
            self._fail(scope["path"], fault)
        if not self._is_done:
            await self._end()

    async def say_goodbye(self) -> None:
        """The house shuts down: ends a response that was under way."""
        if self._start is not None and not self._is_done:
            with trio.move_on_after(GOODBYE_SECONDS_MAX):
                await self.send({"type": "http.response.body"})

    def is_endless(self) -> bool:
        """Whether the response is an event stream, which never ends by itself."""
        headers = self._start["headers"] if self._start is not None else ()
        return any(name.lower() == b"content-type" and b"text/event-stream" in value for name, value in headers)

    def _fail(self, path: str, fault: Exception) -> None:
        gone = (ClientDisconnect, ClientGone)
        others: Exception | None = fault
        if isinstance(fault, ExceptionGroup):
            _, others = fault.split(gone)
        elif isinstance(fault, gone):
            others = None
        if others is not None:
            self.line.counts.handler_faults += 1
            if not was_logged(others):
                log.error("handler_failed", path=path, exc_info=others)

    async def _end(self) -> None:
        """The app has ended before its response did."""
        self.closes = True
        if self._start is None or self._head:
            body = status_document(500)
            length = str(len(body)).encode()
            self._start, self._head = None, b""
            headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", length)]
            await self.send({"type": "http.response.start", "status": 500, "headers": headers})
            await self.send({"type": "http.response.body", "body": body})

    # ---- in

    async def receive(self) -> dict[str, Any]:
        """The next part of the body; after it, that the client has left."""
        if self._missing or not self._is_read:
            if self._missing and not self._body:
                data = await self.line.receive_more()
                if not data:
                    return GONE
                self._body, self.rest = data[: self._missing], data[self._missing :]
                self._missing -= len(self._body)
            self._is_read = True
            body, self._body = self._body, b""
            return {"type": "http.request", "body": body, "more_body": self._missing > 0}
        while not self._is_done and not self.line.broken:
            if len(self.rest) >= AHEAD_BYTES_MAX:
                await trio.sleep_forever()
            data = await self.line.receive_more()
            if not data:
                break
            self.rest += data
        await trio.lowlevel.checkpoint()
        return GONE

    # ---- out

    async def send(self, message: Any) -> None:
        """A part of the response. Its head waits for what follows, unless it has no length."""
        if self.line.broken:
            self.line.expire()  # nobody is left to answer; a loop of sends would never end by itself
            await trio.lowlevel.checkpoint()
        kind = message["type"]
        if kind == "http.response.body" and self._start is not None and not self._is_done:
            await self._send_body(bytes(message.get("body", b"")), bool(message.get("more_body", False)))
        elif kind == "http.response.start" and self._start is None:
            self._head = self._begin(message)
            self._start = message
            if self._left is None:
                head, self._head = self._head, b""
                await self.line.send(head)
        else:
            raise RuntimeError(f"{kind} does not belong here")

    def _begin(self, message: Any) -> bytes:
        status, length, closes, parts = message["status"], None, self.closes or self._missing > 0, [b""]
        for name, value in message.get("headers", ()):
            lines = _lines(name)
            special = lines.special
            if special == b"content-length":
                length = int(value)
            elif special == b"connection":
                closes = closes or b"close" in value.lower()
                continue
            elif special:
                continue
            parts.append(lines[value])
        self.closes = closes
        self._has_body = status not in WITHOUT_BODY and self.method != "HEAD"
        self._left = length
        parts[0] = _status_line(status)
        for name, value in self._date:
            parts.append(_lines(name)[value])
        if length is None and status not in WITHOUT_BODY:
            parts.append(b"transfer-encoding: chunked\r\n")
        if closes:
            parts.append(b"connection: close\r\n")
        parts.append(b"\r\n")
        if not self._has_body:
            self._left = 0
        return b"".join(parts)

    async def _send_body(self, body: bytes, more: bool) -> None:
        head, self._head = self._head, b""
        if not self._has_body:
            body = b""
        elif self._left is None:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        else:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                self._head = head
                raise ValueError("the body is not as long as its Content-Length says")
        if head or body:
            await self.line.send(head + body)
        elif more:
            await trio.lowlevel.checkpoint()  # a loop of empty bodies must not stop the world
        self._is_done = not more


class _Lines(dict[bytes, bytes]):
    """The lines of a response's head that begin with one name, by value; `special` is the name where it means something to the server.

    Its first values are kept, which are all that most names ever have; to keep those that change each time would cost as much as to check
    them. Raises ValueError.
    """

    def __init__(self, name: bytes) -> None:
        super().__init__()
        self._name = bytes(name).strip()
        if NAME.fullmatch(self._name) is None:
            raise ValueError(f"not a header: {self._name!r}")
        said = self._name.lower()
        self.special = said if said in _SPECIAL else b""

    def __missing__(self, value: bytes) -> bytes:
        said = bytes(value).strip()
        if VALUE.fullmatch(said) is None:
            raise ValueError(f"not a header: {self._name!r}")
        line = b"%b: %b\r\n" % (self._name, said)
        if len(self) < KNOWN_VALUES_MAX:
            self[value] = line
        return line


_lines = lru_cache(KNOWN_NAMES_MAX)(_Lines)
_SPECIAL = frozenset({b"content-length", b"connection", b"transfer-encoding"})


@lru_cache(KNOWN_NAMES_MAX)
def _status_line(status: int) -> bytes:
    return b"HTTP/1.1 %d \r\n" % status


def scope_of(head: Head, rest: bytes, client: tuple[str, int], server: tuple[str, int]) -> dict[str, Any]:
    """The request as ASGI has it; a body that came whole with its head is there to be taken without a wait."""
    path, _, query = head.target.partition(b"?")
    name = path.decode("ascii")
    return {
        "type": "http",
        "http_version": "1.1",
        "asgi": {"spec_version": "2.1", "version": "3.0"},
        "method": head.method,
        "scheme": "http",
        "path": unquote(name) if "%" in name else name,
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": head.headers,
        "client": client,
        "server": server,
        "state": {},
        "extensions": {WHOLE_BODY: rest[: head.length]} if len(rest) >= head.length else {},
    }

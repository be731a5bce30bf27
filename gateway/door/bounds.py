"""What clients may cost: connections, bytes, seconds, requests at once; and the counts of what went beyond."""

from collections import Counter
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from math import inf

import trio
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api.problems import status_problem
from gateway.door.pace import Pace
from gateway.limits.callers import Callers

WHOLE_BODY = "gavel.whole_body"
"""Among a request's extensions: its body, where it came whole with the head."""

NEVER_LIMITED = frozenset({"/livez", "/readyz", "/health"})


@dataclass(frozen=True, kw_only=True)
class BodyLimit:
    """The most bytes that a body may have, and the most seconds from the first wait for it to its end.

    Beyond the first `stall_seconds_max` of waiting, it has to come at `bytes_per_second_min`, unless that is 0.
    """

    bytes_max: int = 2**20
    seconds_max: float = 30.0
    stall_seconds_max: float = 10.0
    bytes_per_second_min: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What one server grants its clients together (`connections_max`), an address, and each client (all others)."""

    connections_max: int = 800  # below the usual limit of 1,024 open files
    connections_per_address_max: int = 200
    requests_per_connection_max: int = 100_000
    header_bytes_max: int = 16_384
    message_bytes_max: int = 2**20  # one websocket message, over all its fragments
    message_fragments_max: int = 1024
    message_seconds_max: float = 30.0  # from a message's first part to its last
    control_frames_per_second_max: int = 100  # pings and pongs; as many at once
    inbox_messages_max: int = 64  # and a mebibyte: what a handler has not yet received; the client waits after that
    idle_seconds_max: float = 20.0  # between requests, and for a whole request head to arrive
    handshake_seconds_max: float = 10.0  # of TLS
    send_seconds_max: float = 10.0
    bytes_per_second_min: float = 1024.0  # what a client takes must earn back the seconds that it lets us wait
    linger_seconds_max: float = 2.0  # reading on after our last byte, or the client might lose it to a reset
    shutdown_seconds_max: float = 2.0


@dataclass(kw_only=True)
class Counts:
    """What the server has seen since its start."""

    opened: int = 0
    refused: int = 0  # no room
    crowded: int = 0  # no room for one more of the same address
    handshakes_failed: int = 0  # of TLS
    evicted: int = 0  # idle, closed to make room
    faults: int = 0  # a connection that the protocol code could not survive
    stalled: int = 0  # a client that stopped reading
    handler_faults: int = 0
    open: int = 0  # connections now
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)  # by the request's class and the status


class BodyTooLarge(HTTPException):
    """The body has, or announces, more bytes than the limit."""

    def __init__(self, limit: BodyLimit) -> None:
        super().__init__(413, f"at most {limit.bytes_max} bytes are taken", {"Connection": "close"})


class BodyTooSlow(HTTPException):
    """The body had not arrived in time."""

    def __init__(self, limit: BodyLimit, *, stalled: bool = False) -> None:
        said = (
            f"came at less than {limit.bytes_per_second_min:g} bytes a second"
            if stalled
            else (f"was not here after {limit.seconds_max:g} s")
        )
        super().__init__(408, f"the body {said}", {"Connection": "close"})


class BodyBounds:
    """Bounds each body by `limit`, or by that of the longest path prefix in `limit_by_prefix`."""

    def __init__(self, app: ASGIApp, limit: BodyLimit, limit_by_prefix: Mapping[str, BodyLimit] | None = None) -> None:
        self.app = app
        self.limit = limit
        prefixes = sorted((limit_by_prefix or {}).items(), key=lambda item: -len(item[0]))
        self.limit_by_prefix = dict(prefixes)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http" or self._is_small(scope):
            return self.app(scope, receive, send)  # nothing that could be too large or too slow
        return self._run_bounded(scope, receive, send)

    async def _run_bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = _Body(self._limit_of(scope["path"]), receive)
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        async def watched_receive() -> Message:
            try:
                return await body.receive()
            except (BodyTooLarge, BodyTooSlow):
                if not started:
                    raise
                return {"type": "http.disconnect"}  # there is no other answer left for whoever still sends

        try:
            body.check_announced(scope)
            await self.app(scope, watched_receive, watched_send)
        except (BodyTooLarge, BodyTooSlow) as error:
            if started:
                raise
            answer = status_problem(error.status_code, detail=error.detail, headers=error.headers)
            await answer(scope, receive, send)

    def _is_small(self, scope: Scope) -> bool:
        whole = scope.get("extensions", {}).get(WHOLE_BODY)
        return whole is not None and len(whole) <= self._limit_of(scope["path"]).bytes_max

    def _limit_of(self, path: str) -> BodyLimit:
        for prefix, limit in self.limit_by_prefix.items():
            if path.startswith(prefix):
                return limit
        return self.limit


@dataclass
class _Body:
    """One request's body as it arrives."""

    limit: BodyLimit
    wire: Receive
    size: int = 0
    deadline: float = 0.0
    pace: Pace | None = None

    def check_announced(self, scope: Scope) -> None:
        for name, value in scope["headers"]:
            if name == b"content-length" and int(value) > self.limit.bytes_max:
                raise BodyTooLarge(self.limit)

    async def receive(self) -> Message:
        began = trio.current_time()
        self.deadline = self.deadline or began + self.limit.seconds_max
        until = min(self.deadline, self._stalled_at(began))
        with trio.move_on_at(until):
            message = await self.wire()
            self.size += len(message.get("body", b""))
            if self.size > self.limit.bytes_max:
                raise BodyTooLarge(self.limit)
            if not message.get("more_body", False):
                self.deadline, self.pace = inf, None  # what may still come is the client's leaving
            elif self.pace is not None:
                self.pace.moved(len(message["body"]), trio.current_time() - began)
            return message
        raise BodyTooSlow(self.limit, stalled=until < self.deadline)

    def _stalled_at(self, now: float) -> float:
        if self.pace is None and self.limit.bytes_per_second_min and self.deadline < inf:
            self.pace = Pace(self.limit.stall_seconds_max, self.limit.bytes_per_second_min)
        return inf if self.pace is None else now + self.pace.seconds_left


class ClearFraming:
    """Refuses Content-Length beside Transfer-Encoding: a proxy in front may have read another body than we."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        # What came whole has one Content-Length at most: the reader of its head takes no other framing.
        if scope["type"] == "http" and WHOLE_BODY not in scope.get("extensions", ()):
            names = {name for name, _ in scope["headers"]}
            if b"content-length" in names and b"transfer-encoding" in names:
                detail = "Content-Length and Transfer-Encoding exclude each other"
                return status_problem(400, detail=detail, headers={"Connection": "close"})(scope, receive, send)
        return self.app(scope, receive, send)


class AtOnce:
    """Bounds the requests, and apart from them the sockets, served at once; `callers` are those of each principal, who is known further
    in. Health checks are never refused."""

    def __init__(self, app: ASGIApp, *, requests_max: int, sockets_max: int, callers: Callers) -> None:
        self.app = app
        self.callers = callers
        self.max_by_type = {"http": requests_max, "websocket": sockets_max}
        self.now_by_type = {"http": 0, "websocket": 0}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind not in self.max_by_type or scope["path"] in NEVER_LIMITED:
            await self.app(scope, receive, send)
        elif self.now_by_type[kind] >= self.max_by_type[kind]:
            detail = f"{self.max_by_type[kind]} are served at once"
            await status_problem(503, detail=detail, headers={"Retry-After": "1"})(scope, receive, send)
        else:
            self.now_by_type[kind] += 1
            try:
                await self.app(scope, receive, send)
            finally:
                self.now_by_type[kind] -= 1
                self.callers.leave(scope)

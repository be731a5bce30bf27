"""From a path to its route in as many steps as the path has segments, however many routes there are.

A segment is looked up among those that routes name, then taken for a parameter, then for the begin of a `{name:path}`: so a path that
is written out wins over one that takes any word.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Generic, NamedTuple, TypeVar

from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from gateway.api.problems import document_of, handle_unexpected, handler_of

T = TypeVar("T")

PATH = ":path"


class Found(NamedTuple, Generic[T]):
    """A route's value, and its parameters as the path has them."""

    value: T
    parameters: dict[str, str]


class _Place(Generic[T]):
    """What may follow after some segments of a path."""

    def __init__(self) -> None:
        self.here: tuple[T, tuple[str, ...]] | None = None
        """A route that ends here, with the names of its parameters."""
        self.next_by_word: dict[str, _Place[T]] = {}
        self.next: _Place[T] | None = None
        self.rest_by_end: dict[int, dict[tuple[str, ...], tuple[T, tuple[str, ...]]]] = {}
        """Routes that take any number of segments, and then these; by how many these are, and by what they are."""


class Table(Generic[T]):
    """Values by the patterns of their paths, as in `/v1/tasks/{task_id}/bids` or `/console/{path:path}`."""

    def __init__(self, values: Iterable[tuple[str, T]] = ()) -> None:
        self._root: _Place[T] = _Place()
        self._value_by_path: dict[str, T] = {}
        """Of the paths that are written out: those win over all others anyway."""
        for pattern, value in values:
            self._add(pattern, value)

    def _add(self, pattern: str, value: T) -> None:
        if "{" not in pattern:
            self._value_by_path[pattern] = value
        place = self._root
        names: tuple[str, ...] = ()
        segments = pattern.split("/")
        for index, segment in enumerate(segments):
            if not segment.startswith("{"):
                place = place.next_by_word.setdefault(segment, _Place())
                continue
            names = (*names, segment[1:-1].removesuffix(PATH))
            if segment.endswith(PATH + "}"):
                end = tuple(segments[index + 1 :])
                place.rest_by_end.setdefault(len(end), {})[end] = (value, names)
                return
            place.next = place.next or _Place()
            place = place.next
        place.here = (value, names)

    def find(self, path: str) -> Found[T] | None:
        """The route of a path."""
        if (value := self._value_by_path.get(path)) is not None:
            return Found(value, {})
        return self._find(self._root, path.split("/"), 0, ())

    def _find(self, place: _Place[T], segments: Sequence[str], at: int, taken: tuple[str, ...]) -> Found[T] | None:
        if at == len(segments):
            return None if place.here is None else Found(place.here[0], dict(zip(place.here[1], taken, strict=True)))
        following = place.next_by_word.get(segments[at])
        if following is not None and (found := self._find(following, segments, at + 1, taken)) is not None:
            return found
        if place.next is not None and segments[at]:
            found = self._find(place.next, segments, at + 1, (*taken, segments[at]))
            if found is not None:
                return found
        for length, rests in place.rest_by_end.items():
            end = len(segments) - length
            if end > at and (rest := rests.get(tuple(segments[end:]))) is not None:
                return Found(rest[0], dict(zip(rest[1], (*taken, "/".join(segments[at:end])), strict=True)))
        return None


Answer = Callable[[Request], Awaitable[Response]]
Converse = Callable[[WebSocket], Awaitable[None]]
Told = Callable[[HTTPConnection, Exception], Awaitable[Exception]]


async def as_it_is(connection: HTTPConnection, error: Exception) -> Exception:
    """Tells a failure as what it is."""
    return error


class Paths(NamedTuple):
    """What one path answers, by method; `allow` names the methods to whom no other does."""

    answer_by_method: Mapping[str, Answer]
    allow: str


class Application:
    """The application: middleware around the table of routes. A path that is not in it is none, with a slash more or less either."""

    def __init__(
        self,
        routes: Mapping[str, Mapping[str, Answer]],
        sockets: Mapping[str, Converse],
        middleware: Sequence[Middleware] = (),
        told: Told = as_it_is,
    ) -> None:
        """`told` makes of a failure what its client is told instead."""
        self.told = told
        self.state = SimpleNamespace()
        self._routes = Table((path, _paths(by_method)) for path, by_method in routes.items())
        self._sockets = Table(sockets.items())
        self._app: ASGIApp = self._serve
        for made, arguments, named in reversed(middleware):
            self._app = made(self._app, *arguments, **named)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        scope["app"] = self
        return self._app(scope, receive, send)

    def _serve(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return (self._converse if scope["type"] == "websocket" else self._answer)(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched_send(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        request = Request(scope, receive, watched_send)
        try:
            response = await self._route(scope)(request)
            await response(scope, receive, watched_send)
        except Exception as error:
            if begun:
                raise
            response = await document_of(await self.told(request, error), request)
            await response(scope, receive, send)
            if handler_of(error) is handle_unexpected:
                raise

    def _route(self, scope: Scope) -> Answer:
        found = self._routes.find(scope["path"])
        if found is None:
            raise HTTPException(404)
        answer = found.value.answer_by_method.get(scope["method"])
        if answer is None:
            raise HTTPException(405, headers={"Allow": found.value.allow})
        scope["path_params"] = found.parameters
        return answer

    async def _converse(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._sockets.find(scope["path"])
        websocket = WebSocket(scope, receive, send)
        if found is None:
            error = await self.told(websocket, HTTPException(404, "there is no websocket at this path"))
            await websocket.send_denial_response(await document_of(error, websocket))
            return
        scope["path_params"] = found.parameters
        await found.value(websocket)


def _paths(by_method: Mapping[str, Answer]) -> Paths:
    answers = dict(by_method)
    if "GET" in answers:
        answers["HEAD"] = answers["GET"]
    return Paths(answers, ", ".join(answers))

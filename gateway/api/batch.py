"""Many requests in one: each goes through the same checks and handlers as if it had come alone, in the order in which they stand there.

The whole is no transaction: each part has a result of its own, and what one has done stays done whatever becomes of the others. A caller
whose key is revoked meanwhile is refused the rest.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from math import inf
from typing import Any, NamedTuple

import msgspec
import trio
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Scope

from aggregates.values.roles import MACHINES
from gateway.api import calls, request_ids
from gateway.api.bodies import JSON, MSGPACK
from gateway.api.calls import ANSWER_HEADERS, IDEMPOTENCY_HEADER, Call, Endpoint
from gateway.api.conditional import header
from gateway.api.problems import document_of, problem
from gateway.api.routing import PATH as PATH_SEGMENTS
from gateway.api.routing import Table
from gateway.api.turns import ALONE, READING, Turn, Turns
from gateway.identity.auth import check_still

PATH = "/v1/batch"
AT_ONCE_MAX = 256
"""Parts that are under way at a time."""

CHECK_SECONDS = 0.1
"""For so long a caller who was let in is taken to be so still, if no part has done what could end it."""

ANSWER_BYTES_MAX = 16 * 2**20
"""When the results have come to this, nothing more is read."""

HEADERS = frozenset({"if-match", "if-none-match", "gavel-reason", "gavel-on-behalf-of", "gavel-journal"})
KEPT = frozenset({b"authorization", b"user-agent", b"x-forwarded-for"})
"""Headers of the whole that each part has, too: who may make keys and links is told by how they came."""
TOLD = frozenset({"content-length", "content-type", "cache-control", "vary"})
"""Headers of an answer that say nothing in a batch."""

_ENCODE_BY_KIND = {JSON: msgspec.json.encode, MSGPACK: msgspec.msgpack.encode}


class Part(NamedTuple):
    """A request: its target, what it says by headers, its body (UNSET where it has none), and its idempotency key."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: Any
    key: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a part: the answer as it would have been, its headers in lower case."""

    status: int
    headers: dict[str, str]
    body: Any


Lines = Table[dict[str, Endpoint]]
"""The lines of the table that a batch may name, by path and method."""


def lines_of(endpoints: Iterable[Endpoint]) -> Lines:
    """All but those whose path takes any number of segments."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for line in endpoints:
        if f"{PATH_SEGMENTS}}}" not in line.path:
            by_path.setdefault(line.path, {})[line.method] = line
    return Table(by_path.items())


def line_of(lines: Lines, part: Part) -> tuple[Endpoint, dict[str, str]]:
    """The line of the table that answers a part. Raises HTTPException where there is none, or it can't be part of a batch."""
    path = part.target.partition("?")[0]
    found = lines.find(path)
    if found is None:
        raise HTTPException(404, f"a batch knows no path {path}")
    by_method, parameters = found
    line = by_method.get(part.method)
    if line is None:
        raise HTTPException(405, f"this path takes {', '.join(sorted(by_method))}")
    if line.needs is None or line.reply is None or line.body is bytes or line.path == PATH:
        raise HTTPException(501, "this is no part of a batch: it streams, takes bytes, or needs no key")
    return line, parameters


async def run(call: Call, parts: Sequence[Part], lines: Lines, *, stops: bool) -> list[Result]:
    """The results of all parts, in their order. Where one that failed `stops` the batch, those after it are not tried (424)."""
    batch = _Batch(call, lines)
    async with trio.open_nursery() as nursery:
        for number, part in enumerate(parts):
            turn = await batch.start(nursery, number, part)
            await turn.passed.wait()
            if stops and (await batch.result(number)).status >= HTTPStatus.BAD_REQUEST:
                break
    return [batch.results[number] if number in batch.results else _not_tried() for number in range(len(parts))]


class _Batch:
    """A batch under way."""

    def __init__(self, call: Call, lines: Lines) -> None:
        self.results: dict[int, Result] = {}
        self._call = call
        self._lines = lines
        self._turns = Turns()
        self._room = trio.Semaphore(AT_ONCE_MAX)
        self._ended: dict[int, trio.Event] = {}
        self._bytes = 0
        self._checked_at = -inf

    async def start(self, nursery: trio.Nursery, number: int, part: Part) -> Turn:
        """Begins a part, as soon as few enough are under way."""
        await self._room.acquire()
        self._ended[number] = trio.Event()
        try:
            line, parameters = line_of(self._lines, part)
        except HTTPException as error:
            turn = Turn(self._turns, self._check, is_alone=False)
            answering = partial(_refuse, error)
        else:
            is_read = line.method == "GET" and bool(line.rests_on)
            acts = line.acts and self._call.principal.role not in MACHINES
            turn = Turn(self._turns, self._check, is_alone=acts or not (is_read or line.asks_once))
            answering = partial(self._answer, line, parameters, part, turn, is_read)
        nursery.start_soon(self._run, number, part, turn, answering)
        return turn

    async def _check(self) -> None:
        """Raises `HTTPException` where the batch's caller is let in no more, or as somebody else."""
        if trio.current_time() >= self._checked_at + CHECK_SECONDS:
            await check_still(self._call.request, self._call.request.app.state.node, self._call.principal)
            self._checked_at = trio.current_time()

    async def result(self, number: int) -> Result:
        """What became of a part, once it has ended."""
        await self._ended[number].wait()
        return self.results[number]

    async def _run(self, number: int, part: Part, turn: Turn, answering: Any) -> None:
        request_ids.adopt(request_ids.part(number))
        request = self._request(number, part)
        try:
            response = await answering(request)
        except Exception as error:  # noqa: BLE001 — a part that fails, fails alone
            response = await document_of(error, request)
        finally:
            if turn.is_alone:
                self._checked_at = -inf  # it may have been about the caller
            turn.end()
            self._room.release()
        self.results[number] = _result(response, request.scope)
        self._bytes += len(response.body)
        self._ended[number].set()

    async def _answer(
        self, line: Endpoint, parameters: Mapping[str, str], part: Part, turn: Turn, is_read: bool, request: Request
    ) -> Response:
        request.scope["path_params"] = dict(parameters)
        call = Call(request, self._call.node, self._call.principal, line)
        call.turn = turn
        try:
            if is_read:
                await turn.take(READING)
                turn.go_on()
            elif turn.is_alone:
                await turn.take(ALONE)
        except HTTPException as error:
            call.failed(error)
            raise
        if line.method == "GET" and self._bytes > ANSWER_BYTES_MAX:
            detail = f"the results have more than {ANSWER_BYTES_MAX} bytes; ask for this by itself"
            return problem(507, "batch_answer_full", "Batch answer full", detail=detail)
        return await calls.run(call)

    def _request(self, number: int, part: Part) -> Request:
        """The request as the server would have made it."""
        outer = self._call.request.scope
        path, _, query = part.target.partition("?")
        kept = [line for line in outer["headers"] if line[0] in KEPT]
        sent = [(name.encode(), value.encode("latin-1")) for name, value in part.headers.items()]
        key = part.key or self._key_of(number)
        sent += [(IDEMPOTENCY_HEADER.lower().encode(), key.encode("latin-1"))] if key else []
        kind = MSGPACK if MSGPACK in header(outer, b"content-type") else JSON
        body = b"" if part.body is msgspec.UNSET else _ENCODE_BY_KIND[kind](part.body)
        sent += [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        scope = {
            name: outer[name] for name in ("type", "app", "client", "server", "scheme", "http_version") if name in outer
        }
        asked = {"method": part.method, "path": path, "raw_path": path.encode(), "query_string": query.encode()}
        return Request(scope | asked | {"headers": kept + sent, "path_params": {}}, _sending(body))

    def _key_of(self, number: int) -> str:
        """Where the whole has a key, so has each part: sent again, what was done is not done again."""
        key = header(self._call.request.scope, IDEMPOTENCY_HEADER.lower().encode())
        return f"{key}.{number}" if key else ""


def _sending(body: bytes) -> Any:
    async def receive() -> Message:
        if sent:
            await trio.sleep_forever()
        sent.append(True)
        return {"type": "http.request", "body": body, "more_body": False}

    sent: list[bool] = []
    return receive


async def _refuse(error: HTTPException, request: Request) -> Response:
    raise error


def _result(response: Response, scope: Scope) -> Result:
    also = {name.decode(): value.decode("latin-1") for name, value in scope.get(ANSWER_HEADERS, ())}
    headers = {name: value for name, value in response.headers.items() if name not in TOLD} | also
    body = msgspec.Raw(bytes(response.body)) if response.body else None
    return Result(status=response.status_code, headers=headers, body=body)


def _not_tried() -> Result:
    """424: one before it has failed, and was to stop the batch."""
    response = problem(424, "not_tried", "Not tried", detail="a part before this one has failed")
    return Result(status=424, headers={}, body=msgspec.Raw(bytes(response.body)))

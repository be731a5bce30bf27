"""Answers that are kept in memory under idempotency keys: of what the node itself does, and no actor decides.

What an actor has decided is answered again from the journal, also after a restart. Here the last KEPT_MAX answers of a journal are kept,
and end with the process. Who asks again while the first is under way waits for it; what was refused or has failed is not kept.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

import trio
from starlette.requests import Request
from starlette.responses import Response

from runtime.errors import Refused
from runtime.store.contract import REPLY_SECONDS

if TYPE_CHECKING:
    from gateway.api.calls import Call

KEPT_MAX = 1000


class Answer(NamedTuple):
    """What was answered, to which request, and when."""

    digest: bytes
    at: float
    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes


class Kept:
    """The answers of one journal's callers."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._answer_by_key: OrderedDict[str, Answer] = OrderedDict()
        self._ended_by_key: dict[str, trio.Event] = {}

    async def once(self, call: "Call", work: "Callable[[Call], Awaitable[Response]]") -> Response:
        """Does the work, or answers as before where it was done under this key. Raises Refused for a key of another request."""
        key = call.context().key
        if not key:
            return await work(call)
        digest = await _digest(call.request)
        while (ended := self._ended_by_key.get(key)) is not None:
            await ended.wait()
        answer = self._answer_by_key.get(key)
        if answer is None or answer.at < self._now() - REPLY_SECONDS:
            return await self._do(key, digest, call, work)
        if answer.digest != digest:
            raise Refused("key_reused", "this idempotency key was used for another request", status=422)
        call.is_repeat = True
        return _response(answer)

    async def _do(
        self, key: str, digest: bytes, call: "Call", work: "Callable[[Call], Awaitable[Response]]"
    ) -> Response:
        ended = self._ended_by_key[key] = trio.Event()
        try:
            response = await work(call)
        finally:
            del self._ended_by_key[key]
            ended.set()
        if response.status_code < 300:
            headers = tuple(response.raw_headers)
            self._answer_by_key[key] = Answer(digest, self._now(), response.status_code, headers, bytes(response.body))
            self._answer_by_key.move_to_end(key)
            while len(self._answer_by_key) > KEPT_MAX:
                self._answer_by_key.popitem(last=False)
        return response


async def _digest(request: Request) -> bytes:
    """What a key was used for, beside its method and path."""
    return sha256(request.scope["query_string"] + b"\n" + await request.body()).digest()


def _response(answer: Answer) -> Response:
    response = Response(answer.body, answer.status)
    response.raw_headers = list(answer.headers)
    return response

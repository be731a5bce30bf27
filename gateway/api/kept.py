"""Answers that are kept in memory under idempotency keys: of what the node itself does, and no actor decides.

What an actor has decided is answered again from the journal, also after a restart. Here the last KEPT_MAX answers of a journal are kept,
and end with the process; where there are more, the tenant that has most of them loses its oldest. Who asks again
while the first is under way waits for it; what was refused or has failed is not kept.
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
        self._answers_by_tenant: dict[str, OrderedDict[str, Answer]] = {}
        self._count = 0
        self._ended_by_key: dict[str, trio.Event] = {}

    async def once(self, call: "Call", work: "Callable[[Call], Awaitable[Response]]") -> Response:
        """Does the work, or answers as before where it was done under this key. Raises Refused for a key of another request."""
        key = call.context().key
        if not key:
            return await work(call)
        digest = await _digest(call.request)
        while (ended := self._ended_by_key.get(key)) is not None:
            await ended.wait()
        answer = self.find(call.tenant, key)
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
            answer = Answer(digest, self._now(), response.status_code, headers, bytes(response.body))
            self.keep(call.tenant, key, answer)
        return response

    def find(self, tenant: str, key: str) -> Answer | None:
        """What was answered under this key of the tenant, as long as it is kept."""
        mine = self._answers_by_tenant.get(tenant)
        return None if mine is None else mine.get(key)

    def keep(self, tenant: str, key: str, answer: Answer) -> None:
        """Keeps one more; where there are too many, the tenant with most of them loses its oldest."""
        mine = self._answers_by_tenant.setdefault(tenant, OrderedDict())
        self._count += key not in mine
        mine[key] = answer
        mine.move_to_end(key)
        while self._count > KEPT_MAX:
            most = max(self._answers_by_tenant, key=lambda one: len(self._answers_by_tenant[one]))
            self._answers_by_tenant[most].popitem(last=False)
            self._count -= 1
            if not self._answers_by_tenant[most]:
                del self._answers_by_tenant[most]


async def _digest(request: Request) -> bytes:
    """What a key was used for, beside its method and path."""
    return sha256(request.scope["query_string"] + b"\n" + await request.body()).digest()


def _response(answer: Answer) -> Response:
    response = Response(answer.body, answer.status)
    response.raw_headers = list(answer.headers)
    return response

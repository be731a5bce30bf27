"""Many requests in one body, each with a result of its own."""

from typing import Annotated, Any, Literal

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from aggregates.values.roles import Permission
from gateway.api.batch import HEADERS, PATH, Lines, Part, Result, run
from gateway.api.calls import IDEMPOTENCY_HEADER, Call, Endpoint
from gateway.api.problems import BadRequest, Fault

PARTS_MAX = 1_000
KEY_CHARACTERS_MAX = 190
"""Of the whole batch's key: each part's is made of it and of the part's number."""

Target = Annotated[str, msgspec.Meta(max_length=4_000, pattern=r"^/[!-~]*$(?!\n)")]
Value = Annotated[str, msgspec.Meta(max_length=4_000, pattern=r"^[ -~]*$(?!\n)")]
Key = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[!-~]+$(?!\n)")]


def _in_any_case(name: str) -> str:
    """As a pattern, which has no other way to say so."""
    return "".join(f"[{letter.upper()}{letter}]" if letter.isalpha() else letter for letter in name)


Names = {"pattern": f"^({'|'.join(map(_in_any_case, sorted(HEADERS)))})$"}
Headers = Annotated[dict[str, Value], msgspec.Meta(max_length=len(HEADERS), extra_json_schema={"propertyNames": Names})]


class BatchPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request: `path` with its query, `headers` out of If-Match, If-None-Match, Gavel-Reason, Gavel-On-Behalf-Of and Gavel-Journal."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: Target
    headers: Headers = {}
    body: Any = msgspec.UNSET
    idempotency_key: Key | None = None


class BatchBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests that are done in this order; after one that fails, the others too (`continue`), or none any more (`stop`)."""

    requests: Annotated[list[BatchPart], msgspec.Meta(min_length=1, max_length=PARTS_MAX)]
    on_error: Literal["continue", "stop"] = "continue"


class BatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each part, in their order."""

    results: list[Result]


async def batch(call: Call) -> Response:
    """Does many requests in their order, each with its own result: it is no transaction, what one has done stays done. Of a tenant a few
    batches go on at a time, others wait; where the key is revoked meanwhile, the parts that are left are refused.

    Each part is checked as if it had come alone, and sees what those before it did. Under an Idempotency-Key each part has a key of its
    own: sent again, what was done is answered as before, and what was refused is tried again.
    """
    body = await call.body(BatchBody)
    key = call.request.headers.get(IDEMPOTENCY_HEADER, "")
    if len(key) > KEY_CHARACTERS_MAX:
        detail = (
            f"of a batch {IDEMPOTENCY_HEADER} takes 1 to {KEY_CHARACTERS_MAX} printable ASCII characters without spaces"
        )
        raise HTTPException(400, detail)
    lines: Lines = call.request.app.state.lines
    parts = _parts(body)
    async with call.node.batches.taken(call.tenant):
        results = await run(call, parts, lines, stops=body.on_error == "stop")
    return call.reply(BatchAnswer(results=results))


def _parts(body: BatchBody) -> list[Part]:
    """Raises BadRequest where a header is named that can't be sent with a part."""
    faults = [
        Fault(
            pointer=f"/requests/{number}/headers/{name.replace('~', '~0').replace('/', '~1')}",
            detail="is not sent with a part of a batch",
        )
        for number, part in enumerate(body.requests)
        for name in part.headers
        if name.lower() not in HEADERS
    ]
    if faults:
        raise BadRequest(faults[:100])
    return [
        Part(
            part.method,
            part.path,
            {name.lower(): value for name, value in part.headers.items()},
            part.body,
            part.idempotency_key or "",
        )
        for part in body.requests
    ]


routes = (Endpoint("POST", PATH, batch, Permission.REQUESTS_BATCH, BatchBody, BatchAnswer),)

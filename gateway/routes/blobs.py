"""Blobs: large values by the sha256 of their bytes, streamed in and out, with Range. Each tenant has those that it has brought."""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.types import Message, Receive, Scope, Send

from gateway.auth import EVERYBODY, OPERATORS, UPLOADERS
from gateway.calls import Call, Endpoint
from gateway.problems import BadRequest, Fault, problem, status_problem
from gateway.queries import flag
from runtime.blobs import QuotaReached, TooLarge, WrongDigest
from runtime.collection import Collected, collect
from runtime.threads import run_blocking

OCTETS = "application/octet-stream"
TAG = re.compile(r'(?:W/)?("[^"]*")')


class Stored(msgspec.Struct, frozen=True):
    """The blob is here, whole and durable."""

    sha256: str


class Usage(msgspec.Struct, frozen=True):
    """How many blobs the tenant has, and of how many bytes it may have how many."""

    blobs: int
    bytes: int
    bytes_max: int


class Part(FileResponse):
    """A file, or the part of it that the Range header names; a range that makes no sense is told as a problem document."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal: Response | None = None

        async def send_unless_refused(message: Message) -> None:
            nonlocal refusal
            if message["type"] == "http.response.start" and message["status"] >= 400:
                refusal = _refusal(message)
            if refusal is None:
                await send(message)

        await super().__call__(scope, receive, send_unless_refused)
        if refusal is not None:
            await refusal(scope, receive, send)


def _refusal(start: Message) -> Response:
    """Keeps from the answer what says how long the blob is."""
    headers = {name.decode(): value.decode() for name, value in start["headers"] if name == b"content-range"}
    return status_problem(start["status"], detail="the Range header names no part of this blob", headers=headers)


async def put(call: Call) -> Response:
    """Stores the body, once; 201 where it is new, 200 where it was here."""
    digest = _digest(call)
    call.node.room.check(int(call.request.headers.get("content-length", 0)))
    try:
        async with aclosing(_while_there_is_room(call)) as parts:
            new = await call.node.blobs.put(call.tenant, digest, parts)
    except WrongDigest as error:
        raise BadRequest([Fault(pointer="", detail=f"{error}, the path says {digest}")]) from error
    except QuotaReached as error:
        return problem(507, "blob_quota_reached", "Blob quota reached", detail=str(error))
    except TooLarge as error:
        raise HTTPException(413, str(error)) from error
    except OSError as error:
        raise HTTPException(507, f"the blob could not be written: {error.strerror}") from error
    return call.reply(Stored(digest), 201 if new else 200)


async def usage(call: Call) -> Response:
    """What the tenant's blobs take up, and may."""
    blobs = call.node.blobs
    claims = await run_blocking(blobs.claims, call.tenant)
    return call.reply(Usage(len(claims), await blobs.used(call.tenant), blobs.tenant_bytes_max))


async def collection(call: Call) -> Response:
    """Deletes the tenant's blobs that no record refers to and that nobody has used for `blob_grace_seconds`; a dry run lists them."""
    node = call.node
    unused_since = node.system.clock.now() - node.settings.blob_grace_seconds
    dry_run = call.asked(DRY_RUN)
    found = await collect(node.blobs, node.system.journal, call.tenant, unused_since=unused_since, dry_run=dry_run)
    return call.reply(found)


async def _while_there_is_room(call: Call) -> AsyncGenerator[bytes, None]:
    """The body, part by part: one that does not say how long it is may begin while there is room."""
    async with aclosing(call.request.stream()) as parts:
        async for part in parts:
            call.node.room.check()
            yield part


async def get(call: Call) -> Response:
    """The bytes, or the part that the Range header names."""
    digest = _digest(call)
    path = _path(call, digest)
    headers = {"ETag": f'"{digest}"', "Cache-Control": "private, max-age=31536000, immutable"}
    known = call.request.headers.get("if-none-match", "")
    if known.strip() == "*" or headers["ETag"] in TAG.findall(known):
        return Response(status_code=304, headers=headers)
    return Part(path, headers=headers, media_type=OCTETS)


def _path(call: Call, digest: str) -> Path:
    if not call.node.blobs.has(call.tenant, digest):
        raise HTTPException(404, f"there is no blob {digest}")
    return call.node.blobs.path(digest)


def _digest(call: Call) -> str:
    digest = call.path["sha256"]
    try:
        call.node.blobs.path(digest)
    except ValueError as error:
        raise HTTPException(404, str(error)) from error
    return digest


BLOB = "/v1/blobs/{sha256}"
DRY_RUN = flag("dry_run", "Delete nothing, and tell what would be.")
routes = (
    Endpoint("GET", "/v1/blobs", usage, EVERYBODY, reply=Usage),
    Endpoint("POST", "/v1/blobs/collection", collection, OPERATORS, reply=Collected, query=(DRY_RUN,)),
    Endpoint("PUT", BLOB, put, UPLOADERS, bytes, Stored, 201, others=(200,)),
    Endpoint("GET", BLOB, get, EVERYBODY, media=OCTETS, others=(206, 304)),
)

"""Blobs: large values by the sha256 of their bytes, streamed in and out, with Range. Each tenant has those that it has brought.

What is sent is read against its name: a whole blob while it is sent, its end only when all of it was right; a part after its whole file.
Data of a data subject is sealed under the subject's key; when that was erased, so is the blob (410).
"""

import os
import re
import stat as stat_of
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from functools import partial
from hashlib import sha256
from typing import Any

import msgspec
import structlog
import trio
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.types import Message, Receive, Scope, Send

from aggregates.values.roles import Permission
from gateway.api.calls import OCTETS, Call, Endpoint
from gateway.api.operations import OperationRow, operate
from gateway.api.preferences import ASYNC
from gateway.api.problems import BadRequest, Fault, problem, status_problem
from gateway.api.queries import Header, Parameter, flag
from runtime.blobs import Blobs, Erased, QuotaReached, TooLarge, WrongDigest
from runtime.claims import Name
from runtime.collection import Collected, collect
from runtime.errors import Refused
from runtime.keyring import KeyringUnusable
from runtime.sealed_files import Damaged
from runtime.threads import run_blocking

RANGE = Header("Range", "The part that is wanted, as in `bytes=100-` or `bytes=100-199`.", {"type": "string"})
SUBJECT_CHARACTERS_MAX = 200
TAG = re.compile(r'(?:W/)?("[^"]*")')

UNKEPT = (WrongDigest, TooLarge, Erased, OSError, KeyringUnusable)
"""Why bytes that have come are not kept."""

log = structlog.get_logger("gateway.blobs")


class Stored(msgspec.Struct, frozen=True):
    """The blob is here, whole and durable."""

    sha256: str


class Usage(msgspec.Struct, frozen=True):
    """How many blobs the tenant has, and of how many bytes it may have how many."""

    blobs: int
    bytes: int
    bytes_max: int


class Part(FileResponse):
    """A blob's content, or the part of it that the Range header names; a range that makes no sense is told as a problem document."""

    def __init__(self, blobs: Blobs, name: Name, stat: os.stat_result, headers: Mapping[str, str]) -> None:
        super().__init__(blobs.path_of(name), headers=headers, media_type=OCTETS, stat_result=stat)
        self._blobs = blobs
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        checked = _Checked(self._name.digest, send, has_body=scope["method"] != "HEAD")
        try:
            await super().__call__(scope, receive, checked.send)
        except (Erased, FileNotFoundError, WrongDigest, Damaged) as error:
            checked.fail(error)
        if checked.refusal is not None:
            await checked.refusal(scope, receive, send)

    @asynccontextmanager
    async def _open_file(self) -> AsyncIterator[Any]:
        """What is sealed is opened frame by frame while it is sent."""
        file = trio.wrap_file(await run_blocking(self._blobs.open, self._name))
        async with file:
            yield file


class _Checked:
    """Sends an answer one message behind: the last of a whole blob only where all were what its name promises."""

    def __init__(self, digest: str, send: Send, *, has_body: bool) -> None:
        self.refusal: Response | None = None
        self._digest = digest
        self._send = send
        self._has_body = has_body
        self._found = sha256()
        self._held: Message | None = None
        self._is_whole = self._is_begun = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._is_whole = message["status"] == 200 and self._has_body
            if message["status"] >= 400:
                self.refusal = _refusal(message)
        if self.refusal is not None:
            return
        self._found.update(message.get("body", b"") if self._is_whole else b"")
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if is_last and self._is_whole and self._found.hexdigest() != self._digest:
            self.fail(WrongDigest(f"the file of blob {self._digest} was altered"))
            return
        if self._held is not None:
            self._is_begun = True
            await self._send(self._held)
        self._held = None if is_last else message
        if is_last:
            await self._send(message)

    def fail(self, error: Exception) -> None:
        """What was begun can only be broken off: the client misses the end."""
        if self._is_begun:
            raise error
        self.refusal = _unreadable(error, self._digest)


def _unreadable(error: Exception, digest: str) -> Response:
    match error:
        case Erased():
            detail = f"the blob {digest} was data of a data subject that was erased"
            return problem(410, "blob_erased", "The blob was erased", detail=detail)
        case FileNotFoundError():
            return status_problem(404, detail=f"there is no blob {digest}")
        case _:
            return _altered(digest)


def _altered(digest: str) -> Response:
    log.error("blob_altered", digest=digest)
    return problem(500, "blob_altered", "The blob was altered", detail=f"the file of {digest} has other bytes by now")


def _refusal(start: Message) -> Response:
    """Keeps from the answer what says how long the blob is."""
    headers = {name.decode(): value.decode() for name, value in start["headers"] if name == b"content-range"}
    return status_problem(start["status"], detail="the Range header names no part of this blob", headers=headers)


async def put(call: Call) -> Response:
    """Stores the body, once; 201 where it is new, 200 where it was here. Data of a data subject is to be brought as such."""
    digest, subject = _digest(call), call.asked(DATA_SUBJECT)
    call.node.room.check(int(call.request.headers.get("content-length", 0)))
    try:
        async with aclosing(while_there_is_room(call)) as parts:
            new = await call.node.blobs.put(call.tenant, digest, parts, data_subject=subject)
    except UNKEPT as error:
        return refusal(error, f"the path says {digest}")
    return call.reply(Stored(digest), 201 if new else 200)


def refusal(error: WrongDigest | TooLarge | Erased | OSError | KeyringUnusable, expected: str) -> Response:
    """Why bytes that have come are no blob."""
    match error:
        case WrongDigest():
            raise BadRequest([Fault(pointer="", detail=f"{error}, {expected}")]) from error
        case QuotaReached():
            return problem(507, "blob_quota_reached", "Blob quota reached", detail=str(error))
        case TooLarge():
            raise HTTPException(413, str(error)) from error
        case Erased():
            return problem(410, "blob_erased", "The blob was erased", detail="its data subject was erased meanwhile")
        case KeyringUnusable():
            log.error("keyring_unusable", reason=str(error))
            raise HTTPException(507, "the blob could not be sealed: the node's keys can't be used") from error
        case _:
            raise HTTPException(507, f"the blob could not be written: {error.strerror}") from error


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
    await call.begin("blobs, none of which is deleted" if dry_run else "blobs")
    journal = node.system.journal
    work = partial(collect, node.blobs, node.uploads, journal, call.tenant, unused_since=unused_since, dry_run=dry_run)
    return await operate(call, work)


async def while_there_is_room(call: Call) -> AsyncGenerator[bytes, None]:
    """The body, part by part: one that does not say how long it is may begin while there is room."""
    async with aclosing(call.request.stream()) as parts:
        async for part in parts:
            if part:
                call.node.room.check()
            yield part


async def get(call: Call) -> Response:
    """The bytes, or the part that the Range header names; what was altered on the disk is not given out as the blob.

    410 tells that it was data of a data subject that was erased, as long as that is known.
    """
    digest, blobs = _digest(call), call.node.blobs
    try:
        name = await run_blocking(blobs.find, call.tenant, digest)
        stat = await run_blocking(_stat, blobs, name)
    except (Erased, FileNotFoundError) as error:
        return _unreadable(error, digest)
    headers = {"ETag": f'"{digest}"', "Cache-Control": "private, max-age=31536000, immutable"}
    known = call.request.headers.get("if-none-match", "")
    if known.strip() == "*" or headers["ETag"] in TAG.findall(known):
        return Response(status_code=304, headers=headers)
    if "range" in call.request.headers and call.request.method == "GET":
        try:
            await blobs.verify(name)
        except (Erased, FileNotFoundError, WrongDigest) as error:
            return _unreadable(error, digest)
    return Part(blobs, name, stat, headers)


def _stat(blobs: Blobs, name: Name) -> os.stat_result:
    """That of the file, with the length of the content."""
    told = list(blobs.path_of(name).stat())
    told[stat_of.ST_SIZE] = blobs.size(name)
    return os.stat_result(told)


def subject(name: str) -> str:
    """A data subject's id, as it is given from outside. Raises Refused."""
    if not 0 < len(name) <= SUBJECT_CHARACTERS_MAX:
        raise Refused("query_invalid", f"data_subject must have 1 to {SUBJECT_CHARACTERS_MAX} characters", status=422)
    return name


def _digest(call: Call) -> str:
    digest = call.path["sha256"]
    try:
        call.node.blobs.path(digest)
    except ValueError as error:
        raise HTTPException(404, str(error)) from error
    return digest


BLOB = "/v1/blobs/{sha256}"
DATA_SUBJECT: Parameter[str | None] = Parameter(
    "data_subject",
    "Whose personal data it is, by the id that the tenant has given to that person. It is kept under a key of that person's own.",
    {"type": "string", "minLength": 1, "maxLength": SUBJECT_CHARACTERS_MAX},
    subject,
    None,
)
DRY_RUN = flag("dry_run", "Delete nothing, and tell what would be.")
routes = (
    Endpoint("GET", "/v1/blobs", usage, Permission.BLOBS_READ, reply=Usage),
    Endpoint(
        "POST",
        "/v1/blobs/collection",
        collection,
        Permission.BLOBS_COLLECT,
        reply=Collected,
        query=(DRY_RUN,),
        acts=True,
        is_kept=True,
        others=(202,),
        also=(OperationRow,),
        headers=(ASYNC,),
    ),
    Endpoint("PUT", BLOB, put, Permission.BLOBS_WRITE, bytes, Stored, 201, (DATA_SUBJECT,), others=(200,)),
    Endpoint("GET", BLOB, get, Permission.BLOBS_READ, media=OCTETS, others=(206, 304), headers=(RANGE,)),
)

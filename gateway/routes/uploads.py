"""Uploads that are brought in pieces, and go on where a connection or the node has ended: begun, added to, asked for, given up.

It is the idea of tus and of the IETF's resumable uploads: `Upload-Offset` says where the bytes of a request belong.
"""

from collections.abc import Mapping
from contextlib import aclosing
from hashlib import sha256
from typing import Annotated
from uuid import uuid4

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from aggregates.values.roles import Permission
from gateway.api.bodies import NO_NUL
from gateway.api.calls import Call, Endpoint
from gateway.api.conditional import reply_by_content
from gateway.api.problems import problem
from gateway.api.queries import IF_NONE_MATCH, Header
from gateway.routes.blobs import SUBJECT_CHARACTERS_MAX, UNKEPT, Stored, refusal, while_there_is_room
from runtime.uploads import Upload, WrongOffset

PIECE = "application/offset+octet-stream"
NAME_CHARACTERS = 32
OFFSET_DIGITS_MAX = 19
BYTES_MAX = 2**63 - 1
OFFSET = Header(
    "Upload-Offset",
    "How many bytes the upload has, as the node tells: the first byte of the body follows them.",
    {"type": "integer", "minimum": 0},
    required=True,
    is_single=True,
)


class UploadBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many bytes will come, the sha256 that they must have, where it is known, and whose personal data it is, if anybody's."""

    length: Annotated[int, msgspec.Meta(ge=0, le=BYTES_MAX)]
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")] | None = None
    data_subject: Annotated[str, NO_NUL, msgspec.Meta(min_length=1, max_length=SUBJECT_CHARACTERS_MAX)] | None = None


class UploadRow(msgspec.Struct, frozen=True, kw_only=True):
    """An upload: how many bytes of how many are here, and when it is given up unless more come. `sha256` is there when it is a blob."""

    upload_id: str
    length: int
    offset: int
    sha256: str | None
    expires_at: float


class UploadPage(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant's uploads; who got bytes last stands last."""

    uploads: list[UploadRow]


async def create(call: Call) -> Response:
    """Begins an upload; its bytes go to what `Location` names, and its length counts as the tenant's from now on."""
    body = await call.body(UploadBody)
    try:
        call.node.blobs.check_size(body.length)
        call.node.room.check(body.length)
        upload = await call.node.uploads.create(
            call.tenant, _new_name(call), body.length, body.sha256 or "", data_subject=body.data_subject
        )
    except UNKEPT as error:
        return refusal(error, "")
    return _told(call, upload, 201, {"Location": f"{UPLOADS}/{upload.id}"})


async def append(call: Call) -> Response:
    """Adds bytes: 204 tells how many there are by `Upload-Offset`. The last make it a blob: 201 where it is new, 200 where it was here.

    What arrives of a request that is broken off stays. Where the offset is another, 409 tells the right one; where all bytes are here
    and the answer was lost, a request without any ends the upload. Content of another digest than was promised ends it too (422).
    """
    upload, offset = _found(call), _offset(call)
    expected, announced = upload.note.expected, int(call.request.headers.get("content-length", 0))
    try:
        async with aclosing(while_there_is_room(call)) as parts:
            appended = await call.node.uploads.append(call.tenant, upload.id, offset, parts, announced=announced)
    except WrongOffset as error:
        told = {"Upload-Offset": str(error.offset)}
        return problem(409, "upload_offset_differs", "Upload offset differs", detail=str(error), headers=told)
    except UNKEPT as error:
        return refusal(error, f"the upload was to have {expected}")
    if not appended.sha256:
        return Response(status_code=204, headers={"Upload-Offset": str(appended.offset)})
    told = {"Upload-Offset": str(appended.offset)}
    return call.reply(Stored(appended.sha256), 201 if appended.new else 200, told)


async def show(call: Call) -> Response:
    """How many bytes of how many are here, also as `Upload-Offset` and `Upload-Length`; the blob's name for a while when it is whole."""
    return _told(call, _found(call))


async def listing(call: Call) -> Response:
    """The tenant's uploads: those that go on, and for a while those that became blobs."""
    listed = [_row(upload) for upload in call.node.uploads.of(call.tenant)]
    return reply_by_content(call, UploadPage(uploads=listed))


async def discard(call: Call) -> Response:
    """Gives an upload up: its bytes are deleted, and its length counts no more. A blob that it has become stays."""
    await call.node.uploads.discard(call.tenant, _found(call).id)
    return Response(status_code=204)


def _told(call: Call, upload: Upload, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    numbers = {"Upload-Offset": str(upload.offset), "Upload-Length": str(upload.note.length)}
    return call.reply(_row(upload), status, {"Cache-Control": "no-store"} | numbers | dict(headers or {}))


def _row(upload: Upload) -> UploadRow:
    return UploadRow(
        upload_id=upload.id,
        length=upload.note.length,
        offset=upload.offset,
        sha256=upload.note.sha256 if upload.is_done else None,
        expires_at=upload.expires_at,
    )


def _new_name(call: Call) -> str:
    """The same under the same idempotency key, so that whoever asks again gets what was begun."""
    key = call.context().key
    return sha256(f"{call.tenant} {key}".encode()).hexdigest()[:NAME_CHARACTERS] if key else uuid4().hex


def _found(call: Call) -> Upload:
    name = call.path["upload_id"]
    try:
        return call.node.uploads.find(call.tenant, name)
    except KeyError as error:
        raise HTTPException(404, f"there is no upload {name}") from error


def _offset(call: Call) -> int:
    media_type = call.request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != PIECE:
        raise HTTPException(415, f"the body must be {PIECE}, not {media_type or 'unnamed'}", {"Accept-Patch": PIECE})
    text = call.request.headers.get(OFFSET.name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= OFFSET_DIGITS_MAX):
        raise HTTPException(400, f"the header {OFFSET.name} must say how many bytes the upload has")
    return int(text)


UPLOADS = "/v1/blobs/uploads"
UPLOAD = "/v1/blobs/uploads/{upload_id}"
routes = (
    Endpoint("POST", UPLOADS, create, Permission.BLOBS_WRITE, UploadBody, UploadRow, 201),
    Endpoint(
        "GET",
        UPLOADS,
        listing,
        Permission.BLOBS_WRITE,
        reply=UploadPage,
        others=(304,),
        headers=(IF_NONE_MATCH,),
    ),
    Endpoint("GET", UPLOAD, show, Permission.BLOBS_WRITE, reply=UploadRow),
    Endpoint(
        "PATCH",
        UPLOAD,
        append,
        Permission.BLOBS_WRITE,
        bytes,
        Stored,
        201,
        others=(200, 204),
        headers=(OFFSET,),
        body_media=PIECE,
    ),
    Endpoint("DELETE", UPLOAD, discard, Permission.BLOBS_WRITE, status=204),
)

"""Blobs: large values by the sha256 of their bytes, streamed in and out, with Range."""

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

from gateway.auth import EVERYBODY, UPLOADERS
from gateway.calls import Call, Endpoint
from gateway.problems import BadRequest, Fault
from runtime.blobs import TooLarge, WrongDigest


async def put(call: Call) -> Response:
    """Stores the body, once; 201 where it is new, 200 where it was here."""
    digest = _digest(call)
    try:
        new = await call.node.blobs.put(digest, call.request.stream())
    except WrongDigest as error:
        raise BadRequest([Fault(pointer="", detail=str(error))]) from error
    except TooLarge as error:
        raise HTTPException(413, str(error)) from error
    except OSError as error:
        raise HTTPException(507, f"the blob could not be written: {error.strerror}") from error
    return call.reply({"sha256": digest}, 201 if new else 200)


async def get(call: Call) -> Response:
    """The bytes, or the part that the Range header names."""
    digest = _digest(call)
    if not call.node.blobs.has(digest):
        raise HTTPException(404, f"there is no blob {digest}")
    headers = {"ETag": f'"{digest}"', "Cache-Control": "private, max-age=31536000, immutable"}
    return FileResponse(call.node.blobs.path(digest), headers=headers, media_type="application/octet-stream")


def _digest(call: Call) -> str:
    digest = call.path["sha256"]
    try:
        call.node.blobs.path(digest)
    except ValueError as error:
        raise HTTPException(404, str(error)) from error
    return digest


routes = (
    Endpoint("PUT", "/v1/blobs/{sha256}", put, UPLOADERS, status=201),
    Endpoint("GET", "/v1/blobs/{sha256}", get, EVERYBODY),
)

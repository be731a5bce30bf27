"""Failures as RFC 9457 problem documents: one shape for every refusal, and which is made of which exception."""

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NotRequired, TypedDict, cast

import msgspec
import structlog
from eventsourcing.persistence import InterfaceError, OperationalError, PersistenceError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from gateway.api.request_ids import request_id
from runtime.errors import Conflict, Crashed, NoRoom, NotAnswered, Overloaded, Refused, Stale, Unreachable

MEDIA_TYPE = "application/problem+json"
CHALLENGE = 'Bearer realm="gavel"'
UNREACHABLE_RETRY_SECONDS = 1
UNREADABLE_RETRY_SECONDS = 2
DETAIL_CHARACTERS_MAX = 500
LOGGED = "logged as error "

log = structlog.get_logger("gateway.api.problems")


class Fault(TypedDict):
    """One thing that is wrong with a request: what, and where. A `pointer` leads to it in the body (a JSON pointer, empty for the whole
    body), `parameter` names a part of the path or the query, `header` a header. `code` says which of the problem codes it is, where the
    body could be read and what it asks for can't be."""

    pointer: NotRequired[str]
    parameter: NotRequired[str]
    header: NotRequired[str]
    code: NotRequired[str]
    detail: str


class BadRequest(Exception):
    """The request is no command yet: 400 when its body can't be read at all, 422 when what it says is wrong; `code` names other
    places than the body. `said` is the body as plain values, where it could be read."""

    def __init__(self, faults: Sequence[Fault], *, status: int = 422, code: str = "", said: Any = None) -> None:
        super().__init__("; ".join(f"{_place(fault)} {fault['detail']}".strip() for fault in faults))
        self.faults = list(faults)
        self.status = status
        self.said = said
        self.code = code or ("body_invalid" if status == 422 else "body_unreadable")


def _place(fault: Fault) -> str:
    return fault.get("pointer") or fault.get("parameter") or fault.get("header") or ""


def document(
    status: int, code: str, title: str, *, detail: str = "", errors: Sequence[Fault] = (), **more: Any
) -> dict[str, Any]:
    """The members of a problem document; empty ones are left out."""
    members = {
        "type": f"urn:gavel:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "errors": list(errors),
    }
    return {name: value for name, value in (members | more).items() if value not in ("", [])}


def problem(
    status: int,
    code: str,
    title: str,
    *,
    detail: str = "",
    errors: Sequence[Fault] = (),
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Response:
    """The response that says so. `more` are further members, as the `error_id` of a crash."""
    about = request_id()
    instance = {"instance": f"urn:gavel:request:{about}"} if about else {}
    body = msgspec.json.encode(document(status, code, title, detail=detail, errors=errors, **instance, **more))
    challenge = {"WWW-Authenticate": CHALLENGE} if status == HTTPStatus.UNAUTHORIZED else {}
    return Response(body, status, challenge | dict(headers or {}), MEDIA_TYPE)


def status_document(status: int) -> bytes:
    """The encoded document of a failure of which nothing but the status is known."""
    code, title = _name(status)
    return msgspec.json.encode(document(status, code, title))


def status_problem(status: int, *, detail: str = "", headers: Mapping[str, str] | None = None) -> Response:
    """The response for a failure that the status names well enough: 404, 405, 413, …"""
    code, title = _name(status)
    return problem(status, code, title, detail="" if detail == title else detail, headers=headers)


def _name(status: int) -> tuple[str, str]:
    """413 → ("request_entity_too_large", "Request Entity Too Large")"""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Failure"
    return phrase.lower().replace(" ", "_").replace("-", "_").replace("'", ""), phrase


def _sentence(code: str) -> str:
    return code.replace("_", " ").capitalize()


_TITLES = {
    "body_unreadable": "The body can't be read",
    "body_invalid": "The body is not valid",
    "body_incomplete": "The body is incomplete",
    "blob_erased": "The blob was erased",
    "blob_altered": "The blob was altered",
    "crashed": "The server failed",
    "header_invalid": "A header is not valid",
    "inbox_is_a_persons": "The inbox is a person's",
    "journal_unreadable": "The journal can't be read",
    "query_invalid": "The query is not valid",
}


def title_of(code: str, status: int) -> str:
    """What a problem document of this code is called."""
    named, phrase = _name(status)
    return phrase if named == code else _TITLES.get(code) or _sentence(code)


async def _handle_http(request: Request, error: HTTPException) -> Response:
    if error.status_code in {204, 304}:
        return Response(status_code=error.status_code, headers=error.headers)
    return status_problem(error.status_code, detail=error.detail, headers=error.headers)


async def _handle_refused(request: Request, error: Refused) -> Response:
    errors = [Fault(pointer=one.pointer, code=one.code, detail=one.detail) for one in error.faults]
    headers = {} if error.retry_seconds is None else _retry_after(error.retry_seconds)
    title = title_of(error.code, error.status)
    return problem(error.status, error.code, title, detail=error.detail, errors=errors, headers=headers)


async def _handle_conflict(request: Request, error: Conflict) -> Response:
    return problem(409, "conflict", "Conflict", detail=str(error))


async def _handle_stale(request: Request, error: Stale) -> Response:
    return problem(412, "resource_changed", "Resource changed", detail=str(error))


async def _handle_overloaded(request: Request, error: Overloaded) -> Response:
    return problem(503, "overloaded", "Overloaded", detail=str(error), headers=_retry_after(error.retry_seconds))


async def _handle_no_room(request: Request, error: NoRoom) -> Response:
    return problem(507, "no_room", "No room", detail=str(error), headers=_retry_after(error.retry_seconds))


async def _handle_unreachable(request: Request, error: Unreachable) -> Response:
    headers = _retry_after(UNREACHABLE_RETRY_SECONDS)
    if isinstance(error, NotAnswered):
        return problem(503, "not_answered", "Not answered", detail=str(error), headers=headers, begun=error.begun)
    return problem(503, "unreachable", "Unreachable", detail=str(error), headers=headers)


async def _handle_unreadable(request: Request, error: PersistenceError) -> Response:
    """The database is away or busy. What it says of that may name its address, so that is for the log."""
    log.warning("journal_unreadable", path=request.url.path, reason=str(error))
    detail = "what was recorded can't be read at the moment; nothing of it is lost"
    headers = _retry_after(UNREADABLE_RETRY_SECONDS)
    return problem(503, "journal_unreadable", "The journal can't be read", detail=detail, headers=headers)


async def _handle_crashed(request: Request, error: Crashed) -> Response:
    return _crash(error.error_id)


async def _handle_bad_request(request: Request, error: BadRequest) -> Response:
    title, in_body = title_of(error.code, error.status), all("pointer" in fault for fault in error.faults)
    detail = "" if in_body else str(error)[:DETAIL_CHARACTERS_MAX]
    return problem(error.status, error.code, title, detail=detail, errors=error.faults)


async def _handle_client_gone(request: Request, error: ClientDisconnect) -> Response:
    return problem(400, "body_incomplete", "The body is incomplete", headers={"Connection": "close"})


async def handle_unexpected(request: Request, error: Exception) -> Response:
    """A bug or a broken world: logged with its traceback under an id, and the id alone is answered."""
    error_id = secrets.token_hex(8)
    method = request.scope.get("method", "websocket")
    log.error("unexpected", error_id=error_id, method=method, path=request.url.path, exc_info=error)
    error.add_note(LOGGED + error_id)
    return _crash(error_id)


def was_logged(error: BaseException) -> bool:
    """Whether `handle_unexpected` has logged the error, or all of a group: whoever meets it later need not."""
    if isinstance(error, BaseExceptionGroup):
        return all(was_logged(one) for one in error.exceptions)
    return any(note.startswith(LOGGED) for note in getattr(error, "__notes__", ()))


def _crash(error_id: str) -> Response:
    return problem(500, "crashed", "The server failed", detail="The log has it under this error id.", error_id=error_id)


def _retry_after(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, -int(-seconds // 1)))}


_HANDLERS = {
    HTTPException: _handle_http,
    Refused: _handle_refused,
    Conflict: _handle_conflict,
    Stale: _handle_stale,
    NoRoom: _handle_no_room,
    Overloaded: _handle_overloaded,
    Unreachable: _handle_unreachable,
    InterfaceError: _handle_unreadable,
    OperationalError: _handle_unreadable,
    Crashed: _handle_crashed,
    BadRequest: _handle_bad_request,
    ClientDisconnect: _handle_client_gone,
    Exception: handle_unexpected,
}
exception_handlers = cast(dict[Any, ExceptionHandler], _HANDLERS)
"""For `Starlette(exception_handlers=…)`."""


def code_of(error: Exception) -> tuple[int, str] | None:
    """The status and the code of a refusal, as its problem document has them; None where the failure is none."""
    match error:
        case HTTPException():
            return error.status_code, _name(error.status_code)[0]
        case Refused():
            return error.status, error.code
        case Stale():
            return 412, "resource_changed"
        case Conflict():
            return 409, "conflict"
        case NoRoom():
            return 507, "no_room"
        case BadRequest():
            return error.status, error.code
    return None


def handler_of(error: Exception) -> object:
    """What makes the problem document of a failure."""
    return next(exception_handlers[kind] for kind in type(error).__mro__ if kind in exception_handlers)


async def document_of(error: Exception, connection: HTTPConnection) -> Response:
    """The problem document of a failure, for whoever has no application between itself and the client."""
    handle = cast(Callable[[HTTPConnection, Exception], Awaitable[Response]], handler_of(error))
    return await handle(connection, error)

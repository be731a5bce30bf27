"""Problem documents: every failure has one shape, and nothing unexpected shows its insides to a client."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import structlog
import structlog.testing
import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.problems import BadRequest, exception_handlers, problem, status_document, was_logged
from runtime.errors import Conflict, Crashed, NotAnswered, NotCommitted, Overloaded, Refused, Unreachable


class Answer:
    """What the app sent."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.raised: Exception | None = None

    @property
    def document(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


async def ask(raised: Callable[[], Exception], method: str = "GET", path: str = "/") -> Answer:
    async def view(request: Request) -> Response:
        raise raised()

    app = Starlette(routes=[Route("/", view, methods=["GET"])], exception_handlers=dict(exception_handlers))
    answer = Answer()

    async def receive() -> dict[str, Any]:
        return await trio.sleep_forever()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            answer.body += message["body"]

    try:
        await app({"type": "http", "method": method, "path": path, "query_string": b"", "headers": []}, receive, send)
    except LookupError as error:  # Starlette answers and raises it again
        answer.raised = error
    return answer


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (Refused("task_is_done"), {"type": "urn:gavel:problem:task_is_done", "title": "Task is done", "status": 409}),
        (
            Refused("skills_missing", "needs ['a']", status=422),
            {"type": "urn:gavel:problem:skills_missing", "title": "Skills missing", "status": 422, "detail": "needs ['a']"},
        ),
        (Refused("not_yours", status=403), {"type": "urn:gavel:problem:not_yours", "title": "Not yours", "status": 403}),
        (Conflict("moved on"), {"type": "urn:gavel:problem:conflict", "title": "Conflict", "status": 409, "detail": "moved on"}),
        (Overloaded("full"), {"type": "urn:gavel:problem:overloaded", "title": "Overloaded", "status": 503, "detail": "full"}),
        (NotCommitted("disk"), {"type": "urn:gavel:problem:overloaded", "title": "Overloaded", "status": 503, "detail": "disk"}),
        (Unreachable("gone"), {"type": "urn:gavel:problem:unreachable", "title": "Unreachable", "status": 503, "detail": "gone"}),
        (
            NotAnswered("late", begun=True),
            {"type": "urn:gavel:problem:not_answered", "title": "Not answered", "status": 503, "detail": "late", "begun": True},
        ),
        (HTTPException(404), {"type": "urn:gavel:problem:not_found", "title": "Not Found", "status": 404}),
        (
            HTTPException(429, "slower"),
            {"type": "urn:gavel:problem:too_many_requests", "title": "Too Many Requests", "status": 429, "detail": "slower"},
        ),
        (ClientDisconnect(), {"type": "urn:gavel:problem:body_incomplete", "title": "The body is incomplete", "status": 400}),
    ],
    ids=lambda value: repr(value)[:30] if isinstance(value, Exception) else "",
)  # fmt: skip
async def test_expected_failure_has_its_document(raised: Exception, expected: dict[str, Any]) -> None:
    answer = await ask(lambda: raised)
    assert answer.raised is None
    assert answer.document == expected
    assert answer.status == expected["status"]
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("raised", "seconds"),
    [
        (Overloaded("full", retry_seconds=0.2), "1"),
        (Overloaded("full", retry_seconds=2.1), "3"),
        (Unreachable("gone"), "1"),
    ],
)
async def test_failure_that_passes_says_when_to_try_again(raised: Exception, seconds: str) -> None:
    assert (await ask(lambda: raised)).headers["retry-after"] == seconds


@pytest.mark.parametrize(("status", "code"), [(400, "body_unreadable"), (422, "body_invalid")])
async def test_bad_body_lists_its_faults(status: int, code: str) -> None:
    faults = [{"pointer": "/a", "detail": "is missing"}, {"pointer": "/b/0", "detail": "must be a text, not null"}]
    answer = await ask(lambda: BadRequest(faults, status=status))  # type: ignore[arg-type]
    assert answer.status == status
    assert answer.document["type"] == f"urn:gavel:problem:{code}"
    assert answer.document["errors"] == faults


async def test_unknown_route_and_method_are_problem_documents() -> None:
    unknown = await ask(LookupError, path="/nowhere")
    assert (unknown.status, unknown.document["type"]) == (404, "urn:gavel:problem:not_found")
    method = await ask(LookupError, method="DELETE")
    assert (method.status, method.document["type"]) == (405, "urn:gavel:problem:method_not_allowed")
    assert "GET" in method.headers["allow"]


async def test_missing_credentials_are_asked_for() -> None:
    answer = await ask(lambda: HTTPException(401))
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert problem(401, "key_unknown", "Key unknown").headers["www-authenticate"].startswith("Bearer")


async def test_crash_of_an_actor_gives_its_id() -> None:
    answer = await ask(lambda: Crashed("c-17"))
    assert (answer.status, answer.document["error_id"]) == (500, "c-17")


async def test_unexpected_failure_is_logged_under_the_id_that_is_answered_and_shows_nothing_else() -> None:
    with structlog.testing.capture_logs() as logs:
        answer = await ask(lambda: LookupError("secret insides"))
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert logs[0]["error_id"] == answer.document["error_id"]
    assert logs[0]["exc_info"] is answer.raised
    assert answer.raised is not None
    assert was_logged(answer.raised)
    assert was_logged(ExceptionGroup("", [answer.raised]))
    assert not was_logged(ExceptionGroup("", [answer.raised, ValueError()]))


async def test_two_crashes_have_two_ids() -> None:
    with structlog.testing.capture_logs():
        ids = [(await ask(LookupError)).document["error_id"] for _ in range(2)]
    assert ids[0] != ids[1]


@pytest.mark.parametrize("status", [400, 404, 408, 413, 431, 500, 503, 505, 599])
def test_status_alone_makes_a_document(status: int) -> None:
    document = json.loads(status_document(status))
    assert document["status"] == status
    assert document["type"].removeprefix("urn:gavel:problem:").replace("_", "").isalnum()

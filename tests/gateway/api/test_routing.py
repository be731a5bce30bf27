"""Routing: which route a path finds, and that finding it takes no more work among many."""

import gc
import sys
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import compile_path

from gateway.api.routing import Application, Table
from gateway.app import ENDPOINTS, SOCKETS

PATTERNS = [
    "/v1/tasks",
    "/v1/tasks/{task_id}",
    "/v1/tasks/{task_id}/bids",
    "/v1/tasks/newest",
    "/console/{path:path}",
    "/v1/actors/{path:path}/log-level",
    "/v1/actors/{path:path}",
    "/",
]
FOUND = [
    ("/v1/tasks", "/v1/tasks", {}),
    ("/v1/tasks/7", "/v1/tasks/{task_id}", {"task_id": "7"}),
    ("/v1/tasks/newest", "/v1/tasks/newest", {}),
    ("/v1/tasks/newest/bids", "/v1/tasks/{task_id}/bids", {"task_id": "newest"}),
    ("/console/", "/console/{path:path}", {"path": ""}),
    ("/console/a/b.js", "/console/{path:path}", {"path": "a/b.js"}),
    ("/v1/actors/user/a/log-level", "/v1/actors/{path:path}/log-level", {"path": "user/a"}),
    ("/v1/actors/user/a", "/v1/actors/{path:path}", {"path": "user/a"}),
    ("/", "/", {}),
]


@pytest.mark.parametrize(("path", "pattern", "parameters"), FOUND)
def test_a_path_finds_its_route_and_parameters(path: str, pattern: str, parameters: dict[str, str]):
    table = Table((one, one) for one in PATTERNS)
    assert table.find(path) == (pattern, parameters)


@pytest.mark.parametrize(
    "path", ["", "/v1", "/v1/tasks/", "/v1/tasks/7/", "//", "/v1//bids", "/console", "/V1/tasks", "v1/tasks"]
)
def test_a_path_that_is_not_in_the_table_is_none(path: str):
    assert Table((one, one) for one in PATTERNS).find(path) is None


def test_every_path_of_the_node_finds_the_route_that_a_look_through_all_of_them_finds():
    for lines in (ENDPOINTS, SOCKETS):
        paths = [line.path for line in lines]
        table = Table((path, path) for path in paths)
        compiled = [(path, *compile_path(path)) for path in dict.fromkeys(paths)]
        for path in paths:
            for filled in {
                path.replace(":path", ""),
                _filled(path, "x"),
                _filled(path, "a/b" if ":path" in path else "b"),
            }:
                matches = ((one, regex.fullmatch(filled)) for one, regex, _, _ in compiled)
                assert table.find(filled) == next((one, match.groupdict()) for one, match in matches if match)


def _filled(path: str, word: str) -> str:
    return "/".join(word if part.startswith("{") else part for part in path.split("/"))


def lines_run(work: Any) -> int:
    """How many lines of Python the work takes."""
    count = 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    gc.disable()  # what it finds and ends is none of the work
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
        gc.enable()
    return count


def test_the_last_of_many_routes_is_found_with_as_much_work_as_the_first_and_as_one_alone():
    many = Table((f"/v1/kind-{number}/{{name}}/rows", number) for number in range(1000))
    alone = Table([("/v1/kind-0/{name}/rows", 0)])
    work = [lines_run(lambda number=number: many.find(f"/v1/kind-{number}/a/rows")) for number in (0, 500, 999)]
    assert set(work) == {lines_run(lambda: alone.find("/v1/kind-0/a/rows"))}
    assert many.find("/v1/kind-999/a/rows") == (999, {"name": "a"})


async def asked(method: str, path: str) -> tuple[int, dict[bytes, bytes], bytes]:
    async def shown(request: Request) -> Response:
        return PlainTextResponse(f"{request.method} {request.path_params}")

    async def refused(request: Request) -> Response:
        raise HTTPException(409, "not now")

    app = Application({"/a/{name}": {"GET": shown, "DELETE": shown}, "/refused": {"POST": refused}}, {})
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    await app({"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


async def test_methods_that_a_path_does_not_answer_are_told_which_it_does():
    status, headers, body = await asked("POST", "/a/b")
    assert (status, headers[b"allow"]) == (405, b"GET, DELETE, HEAD")
    assert b"urn:gavel:problem:method_not_allowed" in body
    assert (await asked("GET", "/a/b"))[2] == b"GET {'name': 'b'}"
    assert (await asked("HEAD", "/a/b"))[0] == 200
    assert (await asked("GET", "/nowhere"))[0] == 404
    assert (await asked("POST", "/refused"))[0] == 409

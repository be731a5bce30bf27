"""Every route does its work: none answers what somebody has made up, and what is written is what is read."""

import ast
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

from gateway import routes
from gateway.api.calls import Endpoint
from gateway.api.examples import TRIANGLE
from gateway.app import ENDPOINTS, SOCKETS
from tests.gateway.clients import BID, Client, recorded

PRETENDED = re.compile(r"mock|fake|dummy|placeholder|stub\b|hard.?coded|lorem", re.IGNORECASE)
SAYS_ONLY_THAT = {"health.live", "health.ready"}
"""Their whole answer is that there is one; not ready is a failure."""

STAYS = {
    "/session",
    "/session/ways",
    "/session/oidc",
    "/livez",
    "/readyz",
    "/openapi.json",
    "/openapi-older.json",
    "/asyncapi.json",
    "/v1/witness",
    "/v1/me",
    "/v1/projections",
}
"""What is the same before and after work, but for numbers that are left out below."""

MOVING = {"position", "uptime_seconds"}


def handlers() -> Iterator[tuple[str, Any]]:
    for line in ENDPOINTS:
        yield line.route, line.handle
    for socket in SOCKETS:
        yield socket.route, socket.handle


def tree_of(handle: Any) -> ast.AST:
    return ast.parse(inspect.getsource(handle))


def test_no_handler_pretends() -> None:
    for route, handle in handlers():
        found = PRETENDED.search(inspect.getsource(inspect.getmodule(handle)))  # type: ignore[arg-type]
        assert found is None, f"{route}: {found}"


def is_constant(node: ast.AST) -> bool:
    """Whether an expression says the same whoever asks."""
    match node:
        case ast.Constant():
            return True
        case ast.Dict(keys=keys, values=values):
            return all(is_constant(part) for part in (*[key for key in keys if key is not None], *values))
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return all(map(is_constant, parts))
        case ast.Call(func=ast.Attribute(attr=name)) if name[:1].islower():  # it is told by what it is asked of
            return False
        case ast.Call(args=args, keywords=keywords):
            return all(map(is_constant, (*args, *(keyword.value for keyword in keywords))))
    return False


def constant_answers(tree: ast.AST) -> list[str]:
    """The answers of a handler that are written into it."""
    made = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    replies = [node.args[0] for node in made if isinstance(node.func, ast.Attribute) and node.func.attr == "reply"]
    return [ast.unparse(answer) for answer in replies if is_constant(answer)]


def test_no_handler_answers_what_is_written_into_it() -> None:
    for line in ENDPOINTS:
        if line.action not in SAYS_ONLY_THAT:
            assert constant_answers(tree_of(line.handle)) == [], line.route


def test_an_answer_that_is_written_into_a_handler_is_found() -> None:
    source = "async def page(call):\n    return call.reply({'tasks': [{'id': 1}], 'next': Cursor(None)})"
    assert len(constant_answers(ast.parse(source))) == 1
    assert constant_answers(ast.parse("async def page(call):\n    return call.reply({'tasks': rows})")) == []
    assert constant_answers(ast.parse("async def show(call):\n    return call.reply(operation.row())")) == []
    assert len(constant_answers(ast.parse("async def show(call):\n    return call.reply(rows.Task('t1'))"))) == 1


def test_every_module_of_routes_is_in_the_table() -> None:
    assert {handle.__module__.partition(".routes.")[2] for _, handle in handlers()} <= set(dir(routes))


def readable(line: Endpoint) -> bool:
    is_plain = line.method == "GET" and "{" not in line.path and line.media == "application/json"
    return is_plain and not any(parameter.is_required for parameter in line.query) and line.path not in STAYS


async def seen(admin: Client) -> dict[str, Any]:
    """What every route that asks for nothing else answers, without what moves by itself."""
    answers = {}
    for line in ENDPOINTS:
        if readable(line):
            answer = await admin.ask("GET", line.path)
            told = answer.json() if answer.status_code == 200 else answer.status_code
            answers[line.path] = {k: v for k, v in told.items() if k not in MOVING} if isinstance(told, dict) else told
    return answers


async def test_what_is_written_is_what_is_read(admin: Client) -> None:
    before = await seen(admin)
    agent = await admin.register("a1")
    task_id = await admin.submit()
    await recorded(admin, "task.BookOpened")
    assert (await agent.ask("POST", f"/v1/tasks/{task_id}/bids", BID)).status_code == 201
    digest = (await admin.upload(TRIANGLE)).json()["sha256"]
    problem = (await admin.ask("POST", "/v1/problems", {"name": "triangle", "blob": digest})).json()["problem_id"]
    await admin.ask("POST", "/v1/solves", {"problem_id": problem, "seconds": 1})
    await admin.submit(data_subject="p1")
    await admin.ask("POST", "/v1/blobs/uploads", {"length": 3})
    await admin.ask("POST", "/v1/journals", {"name": "acme"})
    await admin.ask("POST", "/v1/keys", {"role": "auditor"})
    await admin.ask("POST", "/v1/revocations", {"principal": "service:" + "9f" * 16})
    await admin.ask("POST", "/v1/webhooks", {"url": "https://localhost/", "kinds": ["archive"]})
    await admin.ask("POST", "/v1/users", {"username": "ann", "email": "ann@example.org"})
    await admin.http.get(admin.node.sign_in_link())
    admin.http.cookies.clear()
    await admin.ask("PUT", "/v1/concurrency/deploy", {"limit": 1, "strategy": "queue"})
    await admin.ask("PUT", "/v1/task-types/analysis/schemas", {"payload": {"type": "object"}})
    await admin.ask("POST", "/v1/coordination/stop")
    after = await seen(admin)
    same = {path for path, answer in before.items() if after[path] == answer}
    a_persons = {"/v1/inbox", "/v1/inbox/profile"}
    assert same - {"/v1/dead-letters", "/v1/log/state", "/v1/log/why"} - a_persons == set()
    assert "a1" in str(after["/v1/agents"])
    assert task_id in str(after["/v1/tasks"])


@pytest.mark.parametrize("path", ["/v1/log/state?stream=task-none", "/v1/log/why?of=nothing"])
async def test_what_there_is_not_is_not_made_up(admin: Client, path: str) -> None:
    assert (await admin.ask("GET", path)).status_code == 404

"""Bounds: a request may cost so much and no more, and hears which bound it met."""

import json
from typing import Any

import pytest
import trio
import trio.testing
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api.problems import exception_handlers
from gateway.door.bounds import AtOnce, BodyBounds, BodyLimit, ClearFraming
from gateway.limits.callers import Callers, Most


async def read_body(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def ignore_body(request: Request) -> Response:
    return PlainTextResponse("ignored")


def make_app() -> Starlette:
    routes = [Route("/{path:path}", read_body, methods=["POST"]), Route("/{path:path}", ignore_body, methods=["PUT"])]
    return Starlette(routes=routes, exception_handlers=dict(exception_handlers))


async def plain(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that knows no problem documents."""
    size = 0
    while (message := await receive()).get("more_body", False):
        size += len(message["body"])
    await PlainTextResponse(str(size))(scope, receive, send)


async def ask(
    app: ASGIApp, *parts: bytes, path: str = "/x", method: str = "POST", headers: tuple[tuple[bytes, bytes], ...] = (), ends: bool = True
) -> tuple[int, dict[str, str], bytes]:  # fmt: skip
    """Sends the parts as the body; without `ends` the last of it never comes."""
    waiting = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if ends:
        waiting.append({"type": "http.request", "body": b"", "more_body": False})
    sent: list[Message] = []

    async def receive() -> Message:
        return waiting.pop(0) if waiting else await trio.sleep_forever()

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": list(headers)}
    await app(scope, receive, send)
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], answered, b"".join(message["body"] for message in sent[1:])


LIMIT = BodyLimit(bytes_max=10, seconds_max=60)


@pytest.mark.parametrize("app", [make_app(), plain], ids=["starlette", "plain"])
async def test_body_within_the_bound_passes_and_one_byte_more_is_refused(app: ASGIApp) -> None:
    bounded = BodyBounds(app, LIMIT)
    assert (await ask(bounded, b"12345", b"12345"))[::2] == (200, b"10")
    status, headers, body = await ask(bounded, b"12345", b"123456")
    assert status == 413
    assert headers["connection"] == "close"
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(body)["detail"] == "at most 10 bytes are taken"


async def test_body_that_announces_too_much_is_refused_before_anything_is_read() -> None:
    async def never(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("the app was asked")

    assert (await ask(BodyBounds(never, LIMIT), headers=((b"content-length", b"11"),)))[0] == 413


@pytest.mark.parametrize("app", [make_app(), plain], ids=["starlette", "plain"])
async def test_body_that_does_not_end_in_time_is_refused(app: ASGIApp, autojump_clock: trio.testing.MockClock) -> None:
    status, headers, body = await ask(BodyBounds(app, LIMIT), b"x", ends=False)
    assert status == 408
    assert headers["connection"] == "close"
    assert json.loads(body)["detail"] == "the body was not here after 60 s"
    assert trio.current_time() >= 60


async def test_time_runs_over_the_whole_body_and_ends_with_it(autojump_clock: trio.testing.MockClock) -> None:
    drops = 0

    async def drip() -> Message:
        nonlocal drops
        drops += 1
        await trio.sleep(25)
        return {"type": "http.request", "body": b"x", "more_body": drops < 4}

    async def drain(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        await trio.sleep(1000)
        await receive()

    async def send(message: Message) -> None:
        assert message.get("status", 408) == 408

    scope: Scope = {"type": "http", "path": "/", "headers": []}
    await BodyBounds(drain, LIMIT)(scope, drip, send)
    assert drops == 3
    drops = 1
    await BodyBounds(drain, BodyLimit(bytes_max=10, seconds_max=80))(scope, drip, send)
    assert drops == 5


async def test_a_body_that_drips_is_refused_and_one_that_flows_slowly_is_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    limit = BodyLimit(bytes_max=10**6, seconds_max=600, stall_seconds_max=10, bytes_per_second_min=1024)

    async def ask_in_drops(size: int, seconds: float) -> tuple[int, float]:
        drops, begun = 0, trio.current_time()
        statuses: list[int] = []

        async def drip() -> Message:
            nonlocal drops
            drops += 1
            await trio.sleep(seconds)
            return {"type": "http.request", "body": bytes(size), "more_body": drops < 20}

        async def send(message: Message) -> None:
            statuses.append(message.get("status", 0))

        scope: Scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}
        await BodyBounds(make_app(), limit)(scope, drip, send)
        return statuses[0], round(trio.current_time() - begun, 1)

    assert await ask_in_drops(1, 9) == (408, 10.0)
    assert await ask_in_drops(9 * 1024, 9) == (200, 180.0)
    assert await ask_in_drops(0, 0.1) == (200, 2.0)


@pytest.mark.parametrize("sent", [bytes(LIMIT.bytes_max + 1), b"x"], ids=["too_long", "too_slow"])
async def test_once_the_answer_has_begun_a_body_that_goes_on_too_long_is_a_client_that_left(
    sent: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    async def answer_first(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (last := await receive())["type"] != "http.disconnect":
            pass
        await send({"type": "http.response.body", "body": last["type"].encode()})

    status, _, body = await ask(BodyBounds(answer_first, LIMIT), sent, ends=False)
    assert (status, body) == (200, b"http.disconnect")


async def test_longest_prefix_decides_which_limit_holds() -> None:
    limits = {"/v1/": BodyLimit(bytes_max=3), "/v1/blobs/": BodyLimit(bytes_max=20)}
    bounded = BodyBounds(make_app(), LIMIT, limits)
    assert (await ask(bounded, bytes(20), path="/v1/blobs/abc"))[0] == 200
    assert (await ask(bounded, bytes(4), path="/v1/tasks"))[0] == 413
    assert (await ask(bounded, bytes(10), path="/other"))[0] == 200


async def test_body_that_no_handler_reads_is_no_fault() -> None:
    assert (await ask(BodyBounds(make_app(), LIMIT), bytes(100), method="PUT"))[0] == 200


async def test_two_framings_are_refused_and_one_is_not() -> None:
    length, encoding = (b"content-length", b"3"), (b"transfer-encoding", b"chunked")
    app = ClearFraming(make_app())
    status, headers, body = await ask(app, b"abc", headers=(length, encoding))
    assert (status, headers["connection"]) == (400, "close")
    assert b"exclude each other" in body
    assert (await ask(app, b"abc", headers=(length,)))[0] == 200
    assert (await ask(app, b"abc", headers=(encoding,)))[0] == 200


async def test_requests_at_once_are_bounded_but_health_checks_are_not() -> None:
    release = trio.Event()

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/wait":
            await release.wait()
        await PlainTextResponse("ok")(scope, receive, send)

    app = AtOnce(wait, requests_max=2, sockets_max=1, callers=Callers(Most(9, 9), Most(9, 9)))
    answers: list[tuple[int, Any, bytes]] = []

    async def note(path: str) -> None:
        answers.append(await ask(app, path=path))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(note, "/wait")
        nursery.start_soon(note, "/wait")
        await trio.testing.wait_all_tasks_blocked()
        status, headers, body = await ask(app, path="/x")
        assert (status, headers["retry-after"]) == (503, "1")
        assert b"2 are served at once" in body
        assert (await ask(app, path="/readyz"))[0] == 200
        release.set()
    assert [answer[0] for answer in answers] == [200, 200]
    assert (await ask(app, path="/x"))[0] == 200

"""The short way: what is answered there is answered as on the long way, and its clients are fenced alike."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from tests.gateway.raw import read_all, read_head, request, reset, served

LONG_WAY = "TE: trailers"
"""A header that changes nothing but the way."""


async def app(scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
    async def answer(status: int, headers: list[tuple[bytes, bytes]], *parts: bytes) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def body() -> bytes:
        read = b""
        while (message := await receive())["type"] == "http.request":
            read += message["body"]
            if not message["more_body"]:
                break
        return read

    match scope["path"]:
        case "/hello":
            await answer(200, [(b"content-length", b"5")], b"hel", b"lo")
        case "/echo":
            read = await body()
            await answer(200, [(b"content-length", str(len(read)).encode())], read)
        case "/chunked":
            await answer(200, [], b"a" * 20, b"", b"b")
        case "/empty":
            await answer(204, [])
        case "/scope":
            said = repr([scope[name] for name in ("method", "path", "raw_path", "query_string", "scheme")]).encode()
            await answer(200, [(b"content-length", str(len(said)).encode())], said)
        case "/short":
            await answer(200, [(b"content-length", b"9")], b"too short")
            await answer(200, [(b"content-length", b"9")])
        case "/lying":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
            await send({"type": "http.response.body", "body": b"short"})
        case "/split":
            await answer(200, [(b"x-header", b"a\r\nx-other: b"), (b"content-length", b"0")])
        case "/closing":
            await answer(200, [(b"connection", b"close"), (b"content-length", b"0")])
        case "/silent":
            return
        case "/crash":
            raise LookupError("a bug")


def plain(answer: bytes) -> bytes:
    """Without what differs from one moment to another, its headers in order."""
    head, _, rest = re.sub(rb"date: [^\r]+\r\n", b"", answer).partition(b"\r\n\r\n")
    first, *fields = head.lower().split(b"\r\n")
    return b"\r\n".join([first, *sorted(fields)]) + b"\r\n\r\n" + rest


REQUESTS = [
    ("GET", "/hello", b""),
    ("HEAD", "/hello", b""),
    ("POST", "/echo", b"abc"),
    ("POST", "/echo", b""),
    ("GET", "/chunked", b""),
    ("HEAD", "/chunked", b""),
    ("GET", "/empty", b""),
    ("DELETE", "/scope/../scope", b""),
    ("GET", "/scope?a=%20b&c", b""),
    ("GET", "/sc%6fpe", b""),
    ("GET", "/closing", b""),
    ("GET", "/silent", b""),
    ("GET", "/crash", b""),
    ("GET", "/split", b""),
    ("POST", "/hello", b"nobody reads this"),
]


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
async def test_the_short_way_answers_as_the_long_way_does(method: str, path: str, body: bytes) -> None:
    async with served_app() as server:
        short = await server.say(request(method, path, "Connection: close", body=body))
        long = await server.say(request(method, path, "Connection: close", LONG_WAY, body=body))
        assert plain(short) == plain(long)
        assert short.startswith(b"HTTP/1.1 ")


def served_app() -> Any:
    async def either(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    return served(either)


async def test_a_body_is_as_long_as_its_head_says_or_its_connection_ends() -> None:
    async with served_app() as server:
        answer = await server.say(request("GET", "/lying"))
        assert answer.startswith(b"HTTP/1.1 500")
        assert b"connection: close" in answer


async def test_requests_that_come_at_once_are_answered_in_their_order() -> None:
    async with served_app() as server:
        says = [
            request("POST", "/echo", *way, body=str(number).encode())
            for number, way in enumerate([(), (), (LONG_WAY,), (), ()])
        ]
        answer = await server.say(b"".join(says) + request("GET", "/hello", "Connection: close"))
        assert re.findall(rb"\r\n\r\n([0-9]|hello)", answer) == [b"0", b"1", b"2", b"3", b"4", b"hello"]


@pytest.mark.parametrize("cut", [1, 30, 60, 64])
async def test_a_request_that_comes_in_parts_is_answered(cut: int) -> None:
    says = request("POST", "/echo", "Connection: close", body=b"twelve bytes")
    async with served_app() as server, await server.connect() as stream:
        for part in (says[:cut], says[cut:-4], says[-4:]):
            await stream.send_all(part)
            await trio.testing.wait_all_tasks_blocked()
        assert (await read_all(stream)).endswith(b"twelve bytes")


async def test_what_a_client_says_while_it_is_answered_waits_and_its_leaving_is_heard() -> None:
    left = trio.Event()

    async def patient(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if scope["path"] == "/patient":
            while (await receive())["type"] != "http.disconnect":
                pass
            left.set()
        else:
            await app(scope, receive, send)

    async with served(patient) as server:
        stream = await server.connect()
        await stream.send_all(request("GET", "/patient"))
        await trio.testing.wait_all_tasks_blocked()
        await stream.send_all(request("GET", "/hello") * 1000)
        reset(stream)
        await left.wait()


async def test_the_last_request_of_a_connection_says_so() -> None:
    async with served(app, requests_per_connection_max=2) as server, await server.connect() as stream:
        for is_last in (False, False, True):
            await stream.send_all(request("GET", "/hello"))
            assert (b"connection: close" in await read_head(stream)) is is_last
            assert await stream.receive_some(5) == b"hello"


async def test_an_idle_connection_ends_although_it_was_busy_before() -> None:
    async with served(app, idle_seconds_max=0.3) as server, await server.connect() as stream:
        await stream.send_all(request("GET", "/hello"))
        assert (await read_all(stream)).endswith(b"hello")

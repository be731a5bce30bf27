"""Targets that name their authority: read as the path alone, with that authority as the one host that there is."""

from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from gateway.door.targets import read_target
from tests.gateway.attacks.peers import answers
from tests.gateway.clients import open_client, settings_of
from tests.gateway.raw import read_all, request, served

OTHERS = [(b"accept", b"*/*"), (b"x", b"1")]


@pytest.mark.parametrize(
    "target,path,host",
    [
        (b"http://gavel/v1/tasks?limit=1", b"/v1/tasks?limit=1", b"gavel"),
        (b"HTTPS://gavel.example:8070/", b"/", b"gavel.example:8070"),
        (b"http://[::1]:8070", b"/", b"[::1]:8070"),
        (b"http://gavel?limit=1", b"/?limit=1", b"gavel"),
        (b"http://gavel//v1/../x%2f", b"//v1/../x%2f", b"gavel"),
    ],
)
def test_an_authority_becomes_the_host_and_the_rest_the_path(target: bytes, path: bytes, host: bytes) -> None:
    for said in ([], [(b"host", b"another")], [(b"host", b"another"), (b"host", b"third")]):
        assert read_target(target, [*said, *OTHERS]) == (path, [(b"host", host), *OTHERS])


@pytest.mark.parametrize(
    "authority", [b"", b"user@gavel", b"gavel:port", b"gavel:123456", b"[::1", b"::1", b"a\\b", b"\xff"]
)
def test_an_authority_that_is_none_makes_no_request(authority: bytes) -> None:
    assert read_target(b"http://" + authority + b"/v1/tasks", OTHERS) is None


@given(st.binary(max_size=30))
def test_what_names_no_authority_stays_as_it_is(path: bytes) -> None:
    for target in (b"/" + path, b"*", b"gavel:80", b"ftp://gavel/" + path):
        assert read_target(target, OTHERS) == (target, OTHERS)


async def show(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what it was asked for: all hosts, the path and the query."""
    hosts = b",".join(value for name, value in scope["headers"] if name == b"host")
    said = b"hello" if scope["path"] == "/hello" else b" ".join((hosts, scope["raw_path"], scope["query_string"]))
    headers = [(b"content-length", str(len(said)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": said})


async def test_both_forms_are_one_request_on_one_connection() -> None:
    async with served(show) as server:
        says = request("GET", "/a%20b?c=d") + request("GET", "http://gavel/a%20b?c=d")
        last = request("GET", "http://other:81/a%20b?c=d", "Connection: close")
        heard = answers(await server.say(says + says + last))
        assert [one.body for one in heard] == [b"gavel /a%20b c=d"] * 4 + [b"other:81 /a%20b c=d"]


async def test_who_names_two_hosts_is_known_by_the_targets(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path, open_loopback=True)) as admin:
        own = admin.node.url.removeprefix("http://")

        async def status(target: str, host: str) -> int:
            says = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
            async with await trio.open_tcp_stream("127.0.0.1", int(own.rpartition(":")[2])) as stream:
                await stream.send_all(says)
                return answers(await read_all(stream))[0].status

        assert await status(f"http://{own}/tasks", "evil.example") == 200
        assert await status("http://evil.example/tasks", own) == 401
        assert await status(f"http://user@{own}/tasks", own) == 400

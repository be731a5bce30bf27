"""Fences: clients that are slow, silent, gone or rude end their own connection and nothing else."""

from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
import trio.testing
from starlette.requests import Request
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from gateway.door.handlers import Line
from gateway.door.ws_frames import BINARY, frame
from tests.gateway.raw import Witness, bounded, make_app, read_all, request, reset, served, upgrade


async def test_slow_head_is_cut_off() -> None:
    async with served(idle_seconds_max=0.3) as server, await server.connect() as stream:
        await stream.send_all(b"GET /hello HTTP/1.1\r\nHost:")
        assert (await read_all(stream)).startswith(b"HTTP/1.1 408")


async def test_silent_client_is_cut_off() -> None:
    async with served(idle_seconds_max=0.3) as server, await server.connect() as stream:
        assert await read_all(stream) == b""


async def test_slow_body_is_cut_off() -> None:
    async with served(bounded(make_app(Witness()), body_seconds_max=0.3)) as server, await server.connect() as stream:
        await stream.send_all(request("POST", "/echo", "Content-Length: 100") + b"x")
        answer = await read_all(stream)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"urn:gavel:problem:request_timeout" in answer


@pytest.mark.parametrize("path", ["/big", "/flood"])
async def test_client_that_stops_reading_is_dropped(path: str) -> None:
    async with served(send_seconds_max=0.3) as server, await server.connect() as stream:
        await stream.send_all(request("GET", path))
        await stream.receive_some(1)
        while not server.counts.stalled:
            await trio.testing.wait_all_tasks_blocked(0.05)


@pytest.mark.parametrize("path", ["/big", "/flood", "/ws/push"])
async def test_client_that_stops_reading_does_not_delay_the_shutdown(path: str) -> None:
    async with AsyncExitStack() as clients_that_stay, served(shutdown_seconds_max=0.3) as server:
        stream = await clients_that_stay.enter_async_context(await server.connect())
        await stream.send_all(upgrade(path) if path.startswith("/ws") else request("GET", path))
        await stream.receive_some(1)
        await server.answers()
        server.shutdown.set()


async def test_half_closed_client_gets_its_answer() -> None:
    async with served() as server, await server.connect() as stream:
        await stream.send_all(request("GET", "/held"))
        await stream.send_eof()
        await server.witness.begun.wait()
        server.witness.release.set()
        assert (await read_all(stream)).endswith(b"released")


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"GET /he",
        request("POST", "/echo", "Content-Length: 100") + b"x",
        request("GET", "/flood"),
        upgrade("/ws"),
        upgrade("/ws/push"),
    ],
    ids=["at_once", "in_the_head", "in_the_body", "in_the_response", "in_a_socket", "while_pushed_to"],
)
async def test_reset_in_the_middle_ends_that_connection_alone(begin: bytes) -> None:
    async with served() as server:
        for _ in range(20):
            stream = await server.connect()
            await stream.send_all(begin)
            await server.answers()
            reset(stream)
        assert server.counts.faults == 0


async def test_a_client_that_takes_a_little_now_and_then_is_dropped() -> None:
    """Each send would end within its time; together they would never end."""
    async with served(send_seconds_max=0.5, bytes_per_second_min=10**8) as server:
        stream = trio.socket.socket()
        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
        await stream.connect(("127.0.0.1", server.port))
        with stream:
            await stream.send(request("GET", "/flood"))
            while not server.counts.stalled:
                await stream.recv(100_000)
                await trio.sleep(0.02)


async def test_nothing_follows_what_was_cut_in_two_by_a_handler_that_had_no_time_left() -> None:
    """It was cancelled before it began to wait for a client that takes no more at once."""
    part = {"type": "http.response.body", "more_body": True}

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        with trio.move_on_after(0):
            await send(part | {"body": bytes(50_000_000)})
        await send(part | {"body": b"what follows"})

    async def cut(request: Request) -> Any:
        return answer

    app = make_app(Witness())
    app.router.routes.append(Route("/cut", cut))
    async with served(app) as server, await server.connect() as stream:
        await stream.send_all(request("GET", "/cut"))
        heard = await read_all(stream)
    assert heard.startswith(b"HTTP/1.1 200")
    assert set(heard.partition(b"\r\n\r\n2faf080\r\n")[2]) == {0}


async def test_frames_that_are_written_at_once_arrive_whole_and_in_order_among_those_that_are_gathered() -> None:
    frames = [number.to_bytes(4) * 4096 for number in range(600)]  # more than the buffers between the two take

    async def push(websocket: WebSocket) -> None:
        await websocket.accept()
        line: Line = websocket.scope["state"]["line"]
        for number, said in enumerate(frames):
            whole = frame(BINARY, said)
            if not ((number % 3 and line.write_now(whole)) or line.send_now(whole)):
                await websocket.send_bytes(said)
        await websocket.close()

    app = make_app(Witness())
    app.router.routes.append(WebSocketRoute("/at-once", push))
    async with served(app) as server, await server.connect() as stream:
        await stream.send_all(upgrade("/at-once"))
        await trio.testing.wait_all_tasks_blocked(0.05)
        heard = (await read_all(stream)).partition(b"\r\n\r\n")[2]
    said = b"".join(b"\x82\x7e" + len(one).to_bytes(2) + one for one in frames)
    assert heard[: len(said)] == said

"""The door: ordinary service, room for new clients, and an end in time whatever clients do."""

from contextlib import AsyncExitStack
from functools import partial

import pytest
import trio
import trio.testing

from gateway.door.server import PortTaken, serve
from tests.gateway.raw import GUARD_SECONDS, Witness, frame, make_app, open_socket, read_all, request, served, upgrade


async def test_one_connection_serves_many_requests_in_order() -> None:
    async with served() as server, await server.connect() as stream:
        await stream.send_all(
            request("GET", "/hello")
            + request("POST", "/echo", body=b"abc")
            + request("GET", "/hello", "Connection: close")
        )
        answer = await read_all(stream)
        assert answer.count(b"HTTP/1.1 200") == 3
        assert b"hellohttp/1.1 200" in answer.lower()
        assert server.counts.opened == 1


async def test_a_crash_in_a_handler_is_a_500_with_an_id_and_the_server_lives() -> None:
    async with served() as server:
        answer = await server.say(request("GET", "/crash", "Connection: close"))
        assert answer.startswith(b"HTTP/1.1 500")
        assert b"error_id" in answer
        assert server.counts.faults == 0


async def test_a_taken_port_is_named() -> None:
    async with served() as server:
        with pytest.raises(PortTaken, match=str(server.port)):
            await serve(make_app(Witness()), bind=f"127.0.0.1:{server.port}", shutdown=trio.Event())


@pytest.mark.parametrize("bind", ["", "8070", "host:", ":80", "127.0.0.1:99999", "127.0.0.1:http"])
async def test_a_bind_that_is_no_address_is_refused(bind: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        await serve(make_app(Witness()), bind=bind, shutdown=trio.Event())


async def test_idle_clients_make_room_for_new_ones() -> None:
    async with served(connections_max=50) as server:
        idle = [await server.connect() for _ in range(2000)]
        await server.answers()
        assert server.counts.evicted >= 1951
        assert server.counts.refused == 0
        for stream in idle:
            await stream.aclose()


async def test_when_every_place_is_in_use_the_next_client_is_refused_clearly() -> None:
    async with served(connections_max=1) as server:
        async with await open_socket(server):
            answer = await server.say(request("GET", "/hello"))
            assert answer.startswith(b"HTTP/1.1 503")
            assert b"urn:gavel:problem:service_unavailable" in answer
            assert server.counts.refused == 1
        await server.witness.disconnected.wait()


async def test_shutdown_says_goodbye_to_sockets_and_cancels_their_handlers() -> None:
    async with served(shutdown_seconds_max=60) as server, await open_socket(server) as stream:
        await server.witness.begun.wait()
        server.shutdown.set()
        assert (await read_all(stream))[2:4] == b"\x03\xe9"
        await server.witness.cancelled.wait()


async def test_shutdown_ends_event_streams_cleanly() -> None:
    async with served(shutdown_seconds_max=60) as server, await server.connect() as stream:
        await stream.send_all(request("GET", "/events"))
        await server.witness.begun.wait()
        server.shutdown.set()
        assert (await read_all(stream)).endswith(b"0\r\n\r\n")
        await server.witness.cancelled.wait()


async def test_shutdown_lets_an_answer_under_way_finish_and_closes_idle_clients() -> None:
    async with (
        served(shutdown_seconds_max=60) as server,
        await server.connect() as busy,
        await server.connect() as idle,
    ):
        await busy.send_all(request("GET", "/held"))
        await server.witness.begun.wait()
        server.shutdown.set()
        assert await read_all(idle) == b""
        server.witness.release.set()
        answer = await read_all(busy)
        assert answer.endswith(b"released")
        assert b"connection: close" in answer


async def test_shutdown_cancels_what_does_not_finish_in_time() -> None:
    async with served(shutdown_seconds_max=0.2) as server, await server.connect() as stream:
        await stream.send_all(request("GET", "/stuck"))
        await server.witness.begun.wait()
        server.shutdown.set()
        await server.witness.cancelled.wait()


@pytest.mark.parametrize(
    "said",
    [
        b"GET /he",
        request("POST", "/echo", "Content-Length: 100") + b"x",
        request("POST", "/echo", "Transfer-Encoding: chunked") + b"5\r\nx",
        request("GET", "/until_gone"),
        request("GET", "/events"),
        upgrade("/ws"),
        upgrade("/ws") + frame(1, b"x", fin=False),
        upgrade("/ws/late"),
        request("GET", "/held") * 50,
    ],
    ids=["head", "body", "chunk", "waits", "stream", "deaf_socket", "message", "handshake", "pipeline"],
)
async def test_shutdown_ends_in_time_whatever_clients_are_doing_and_whether_they_listen_or_not(said: bytes) -> None:
    async with AsyncExitStack() as clients_that_stay, served(shutdown_seconds_max=0.2) as server:
        stream = await clients_that_stay.enter_async_context(await server.connect())
        await stream.send_all(said)
        await server.answers()
        server.shutdown.set()


async def test_cancelling_the_server_ends_it_too() -> None:
    with trio.fail_after(GUARD_SECONDS):
        async with trio.open_nursery() as nursery:
            start = partial(serve, make_app(Witness()), bind="127.0.0.1:0", shutdown=trio.Event())
            _, port = await nursery.start(start)
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(request("GET", "/stuck"))
                nursery.cancel_scope.cancel()

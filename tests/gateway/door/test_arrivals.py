"""Arrivals: the app is told how its client came in, and each address has its places, before a proxy and behind one."""

from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.door.addresses import PerAddress
from gateway.door.binds import open_entrances, parse
from gateway.door.proxies import UNIX, Proxies
from gateway.door.server import serve
from tests.gateway.raw import open_socket, read_all, request, served


def telling() -> Starlette:
    async def tell(request: Request) -> Response:
        assert request.client is not None
        told = request.state.bind, request.client.host, request.url.scheme, "tls" in request.scope["extensions"]
        return PlainTextResponse(" ".join(map(str, told)))

    async def hello(request: Request) -> Response:
        return PlainTextResponse("hello")

    return Starlette(routes=[Route("/tell", tell), Route("/hello", hello)])


async def test_one_app_is_served_on_several_addresses_and_told_which(tmp_path: Path) -> None:
    binds = [parse("127.0.0.1:0"), parse("scaling=127.0.0.1:0"), parse(f"unix:{tmp_path}/door")]
    entrances, shutdown = await open_entrances(binds), trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, telling(), bind=entrances, shutdown=shutdown))
        told = []
        for entrance in entrances:
            address, port = entrance.address
            if entrance.is_unix:
                stream = await trio.open_unix_socket(address)
            else:
                stream = await trio.open_tcp_stream(address, port)
            async with stream:
                await stream.send_all(request("GET", "/tell", "Connection: close", "X-Forwarded-For: 1.2.3.4"))
                told.append((await read_all(stream)).rpartition(b"\r\n")[2].decode())
        shutdown.set()
    assert told == [
        "127.0.0.1:0 127.0.0.1 http False",
        "scaling 127.0.0.1 http False",
        f"unix:{tmp_path}/door {UNIX} http False",
    ]
    assert not (tmp_path / "door").exists()


async def test_a_proxy_that_we_trust_tells_the_client_and_the_scheme() -> None:
    async with served(telling(), proxies=Proxies(["127.0.0.1"])) as server:
        forwarded = "X-Forwarded-For: 6.6.6.6, 203.0.113.9", "X-Forwarded-Proto: https"
        answer = await server.say(request("GET", "/tell", "Connection: close", *forwarded))
        assert answer.endswith(b"127.0.0.1:0 203.0.113.9 https False")


async def test_an_address_has_so_many_connections_and_others_are_served_meanwhile() -> None:
    crowd = PerAddress(2, is_exempt=lambda address: False)
    async with served(per_address=crowd) as server:
        async with await open_socket(server), await open_socket(server):
            answer = await server.say(request("GET", "/hello"))
            assert answer.startswith(b"HTTP/1.1 429")
            assert b"retry-after: 1" in answer
            assert server.counts.crowded == 1
        await server.witness.disconnected.wait()
        await trio.testing.wait_all_tasks_blocked(0.05)
    assert len(crowd) == 0


async def test_behind_a_proxy_each_client_has_so_many_requests_under_way() -> None:
    proxies = Proxies(["127.0.0.1"])
    crowd = PerAddress(1, proxies.is_near)
    async with served(proxies=proxies, per_address=crowd) as server, await server.connect() as busy:
        crowded, other = "X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 203.0.113.10"
        await busy.send_all(request("GET", "/held", crowded))
        await server.witness.begun.wait()
        assert (await server.say(request("GET", "/hello", "Connection: close", crowded))).startswith(b"HTTP/1.1 429")
        assert (await server.say(request("GET", "/livez", "Connection: close", crowded))).startswith(b"HTTP/1.1 404")
        assert (await server.say(request("GET", "/hello", "Connection: close", other))).endswith(b"hello")
        server.witness.release.set()
        await busy.receive_some(1)
    assert len(crowd) == 0


@pytest.mark.parametrize("clients", [150])
async def test_who_is_refused_in_a_crowd_costs_no_more_than_others(clients: int) -> None:
    async with served(per_address=PerAddress(1, is_exempt=lambda address: False)) as server:
        async with await open_socket(server):
            refused = [await server.connect() for _ in range(clients)]
            answers = [await read_all(stream) for stream in refused]
        assert server.counts.crowded == clients
        assert {answer[:12] for answer in answers} <= {b"HTTP/1.1 429", b""}
        for stream in refused:
            await stream.aclose()
        await server.witness.disconnected.wait()
        await trio.testing.wait_all_tasks_blocked(0.05)

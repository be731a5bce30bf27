"""TLS: handshakes end in time, certificates change under way, clients are known by theirs, and the fence holds as without."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from structlog.testing import capture_logs

from gateway.door.tls import BadCertificate, Certificates, TlsFiles, make_context
from tests.gateway.certificates import Authority
from tests.gateway.raw import Served, Witness, frame, make_app, read_all, request, served, upgrade


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def trusting(authority: Authority, *, client: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.file)
    if client is not None:
        context.load_cert_chain(*client)
    return context


@asynccontextmanager
async def connected(server: Served, context: ssl.SSLContext) -> AsyncIterator[trio.SSLStream[trio.SocketStream]]:
    stream = trio.SSLStream(await server.connect(), context, server_hostname="127.0.0.1")
    try:
        yield stream
    finally:
        await trio.aclose_forcefully(stream)


async def ask(server: Served, context: ssl.SSLContext, path: str = "/hello") -> bytes:
    async with connected(server, context) as stream:
        await stream.send_all(request("GET", path, "Connection: close"))
        answer = b""
        while part := await stream.receive_some():  # ends with a goodbye under TLS, or this raises
            answer += part
        return answer


@asynccontextmanager
async def secured(
    authority: Authority, app: Callable[..., Any] | None = None, *, files: TlsFiles | None = None, **bounds: Any
) -> AsyncIterator[Served]:
    """A server under TLS that, after the block, answers a client that trusts its authority, and ends in time."""
    certificates = Certificates(files or TlsFiles(*authority.issue("server")))
    checked = None if files and files.client_ca else trusting(authority)
    async with served(app, certificates=certificates, check=checked, **bounds) as server:
        yield server


def telling() -> Any:
    app = make_app(Witness())

    async def tell(request: Request) -> Response:
        certificate = request.scope["state"].get("client_certificate")
        return JSONResponse(
            {
                "scheme": request.url.scheme,
                "bind": request.state.bind,
                "tls": request.scope["extensions"].get("tls"),
                "certificate": certificate and certificate._asdict(),
            }
        )

    app.router.routes.append(Route("/tell", tell))
    return app


async def test_the_app_is_told_of_tls_and_answers_end_with_a_goodbye(authority: Authority) -> None:
    async with secured(authority, telling()) as server:
        answer = await ask(server, trusting(authority), "/tell")
        told = Response(answer.partition(b"\r\n\r\n")[2]).body
        assert b'"scheme":"https"' in bytes(told)
        assert b'"tls_version":772' in bytes(told)
        assert b'"certificate":null' in bytes(told)


async def test_http_2_and_old_versions_are_not_spoken(authority: Authority) -> None:
    async with secured(authority) as server:
        context = trusting(authority)
        context.set_alpn_protocols(["h2", "http/1.1"])
        async with connected(server, context) as stream:
            await stream.do_handshake()
            assert stream.selected_alpn_protocol() == "http/1.1"
        old = trusting(authority)
        old.minimum_version = ssl.TLSVersion.TLSv1_2
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        async with connected(server, old) as stream:
            await stream.do_handshake()
            assert stream.cipher()[0].startswith("ECDHE-")
        old.set_ciphers("AES128-SHA256")
        with pytest.raises(trio.BrokenResourceError):
            await ask(server, old)
        assert server.counts.handshakes_failed == 1


@pytest.mark.parametrize(
    "said", [b"", b"\x16\x03\x01\x02\x00", bytes(100), request("GET", "/hello"), bytes(range(256)) * 20]
)
async def test_a_handshake_that_is_none_or_stops_half_way_ends_alone_and_in_time(
    authority: Authority, said: bytes
) -> None:
    async with secured(authority, handshake_seconds_max=0.3) as server, await server.connect() as stream:
        if said:
            await stream.send_all(said)
        await read_all(stream)
        await trio.testing.wait_all_tasks_blocked()
        assert (server.counts.handshakes_failed, server.counts.faults) == (1, 0)


async def test_shutdown_does_not_wait_for_a_handshake(authority: Authority) -> None:
    async with secured(authority, handshake_seconds_max=60, shutdown_seconds_max=60) as server:
        async with await server.connect() as stream:
            await stream.send_all(b"\x16\x03\x01\x02\x00")
            await ask(server, trusting(authority))
            server.shutdown.set()
            assert await read_all(stream) == b""


async def test_who_shakes_hands_makes_room_for_others(authority: Authority) -> None:
    async with secured(authority, connections_max=5, handshake_seconds_max=60) as server:
        silent = [await server.connect() for _ in range(20)]
        assert b"hello" in await ask(server, trusting(authority))
        assert server.counts.evicted >= 16
        for stream in silent:
            await stream.aclose()


@pytest.mark.parametrize("path", ["/big", "/flood", "/ws/push", "/ws", "/events"])
async def test_shutdown_waits_for_nobody_who_reads_no_more_or_never_says_goodbye(
    authority: Authority, path: str
) -> None:
    async with AsyncExitStack() as clients_that_stay, secured(authority, shutdown_seconds_max=0.2) as server:
        stream = await clients_that_stay.enter_async_context(connected(server, trusting(authority)))
        await stream.send_all(upgrade(path) if path.startswith("/ws") else request("GET", path))
        await stream.receive_some(1)
        await ask(server, trusting(authority))
        server.shutdown.set()


async def test_who_reads_no_more_is_cut_off(authority: Authority) -> None:
    async with secured(authority, send_seconds_max=0.3) as server, connected(server, trusting(authority)) as stream:
        await stream.send_all(request("GET", "/big"))
        await stream.receive_some(1)
        while not server.counts.stalled:
            await trio.testing.wait_all_tasks_blocked(0.05)


async def test_an_early_answer_to_a_long_body_is_not_lost(authority: Authority) -> None:
    async with secured(authority) as server, connected(server, trusting(authority)) as stream:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, request("POST", "/early", body=bytes(2_000_000)))
            assert (await stream.receive_some(100)).startswith(b"HTTP/1.1 401")
            nursery.cancel_scope.cancel()


async def test_sockets_and_pipelines_work_as_without(authority: Authority) -> None:
    async with secured(authority) as server, connected(server, trusting(authority)) as stream:
        await stream.send_all(request("GET", "/hello") + request("POST", "/echo", body=b"abc") + upgrade("/ws"))
        got = b""
        while b"101" not in got:
            got += await stream.receive_some(10_000)
        await stream.send_all(frame(1, b"hi"))
        while not got.endswith(b"\x81\x02hi"):
            got += await stream.receive_some(10_000)
        assert b"hello" in got
        assert b"abc" in got


# Certificates


async def test_a_new_certificate_holds_for_new_clients_and_the_old_for_those_that_are_in(authority: Authority) -> None:
    certificates = Certificates(TlsFiles(*authority.issue("server")))
    async with (
        served(certificates=certificates, check=trusting(authority)) as server,
        connected(server, trusting(authority)) as old,
    ):
        await old.do_handshake()
        assert not await certificates.reload()
        (authority.folder / "server.pem").write_text("half a file")
        with capture_logs() as lines:
            assert not await certificates.reload()
            assert not await certificates.reload()
        assert [line["event"] for line in lines] == ["certificate_not_taken"]
        assert "server.pem" in certificates.fault
        assert b"hello" in await ask(server, trusting(authority))
        authority.issue("server")
        assert await certificates.reload()
        async with connected(server, trusting(authority)) as new:
            await new.do_handshake()
            shown = [one.getpeercert(binary_form=True) for one in (old, new)]
        assert shown[0] != shown[1]
        await old.send_all(request("GET", "/hello", "Connection: close"))
        assert b"hello" in await read_all(old)


async def test_the_files_are_looked_at_now_and_then(
    authority: Authority, autojump_clock: trio.testing.MockClock
) -> None:
    certificates = Certificates(TlsFiles(*authority.issue("server")))
    async with trio.open_nursery() as nursery:
        taken = trio.Event()
        certificates.changed = taken.set
        nursery.start_soon(certificates.watch)
        authority.issue("server")
        await taken.wait()
        nursery.cancel_scope.cancel()


def test_a_key_with_a_password_needs_the_file_that_holds_it(authority: Authority) -> None:
    files = TlsFiles(*authority.issue("server", password=b"open sesame"))
    with pytest.raises(BadCertificate, match=r"server\.key"):
        make_context(files)
    (authority.folder / "password").write_text("open sesame\n")
    make_context(files._replace(key_password=authority.folder / "password"))


def test_what_cannot_be_used_is_named(authority: Authority) -> None:
    certificate, key = authority.issue("server")
    other_key = authority.issue("other")[1]
    for files, named in (
        (TlsFiles(authority.folder / "none.pem"), r"none\.pem.*No such file"),
        (TlsFiles(certificate, other_key), r"other\.key.*mismatch"),
        (TlsFiles(certificate, key, client_ca=key), r"authorities in .*server\.key"),
    ):
        with pytest.raises(BadCertificate, match=named):
            make_context(files)


# Clients' certificates


async def test_a_client_is_known_by_its_certificate(authority: Authority) -> None:
    files = TlsFiles(*authority.issue("server"), client_ca=authority.file)
    client = authority.issue("robot", uris=["spiffe://gavel.example/robot"], client=True)
    async with secured(authority, telling(), files=files) as server:
        answer = await ask(server, trusting(authority, client=client), "/tell")
        assert rb'"subject":"CN=robot,O=Gavel\\, tests"' in answer
        assert b'"uris":["spiffe://gavel.example/robot"]' in answer
        assert rb'"client_cert_name":"CN=robot,O=Gavel\\, tests"' in answer
        assert b"BEGIN CERTIFICATE" in answer


@pytest.mark.parametrize("kind", ["none", "stranger", "expired", "server"])
async def test_a_client_without_a_good_certificate_is_turned_away_alone(authority: Authority, kind: str) -> None:
    stranger = Authority(authority.folder, "stranger")
    client = {
        "none": None,
        "stranger": stranger.issue("robot", client=True),
        "expired": authority.issue("old", client=True, days=-1),
        "server": authority.issue("another"),
    }[kind]
    files = TlsFiles(*authority.issue("server"), client_ca=authority.file)
    async with secured(authority, files=files) as server:
        with pytest.raises(trio.BrokenResourceError):
            await ask(server, trusting(authority, client=client))
        good = trusting(authority, client=authority.issue("robot", client=True))
        assert b"hello" in await ask(server, good)
        assert (server.counts.handshakes_failed, server.counts.faults) == (1, 0)


async def test_a_certificate_may_be_asked_for_without_being_required(authority: Authority) -> None:
    files = TlsFiles(*authority.issue("server"), client_ca=authority.file, client_required=False)
    async with secured(authority, telling(), files=files) as server:
        assert b'"certificate":null' in await ask(server, trusting(authority), "/tell")
        client = trusting(authority, client=authority.issue("robot", client=True))
        assert b"CN=robot" in await ask(server, client, "/tell")

"""The wire under attack: what is not clean HTTP/1.1 or a clean websocket is answered, and the next client is served."""

import struct
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from random import Random
from zlib import compressobj

import hpack
import hyperframe.frame as h2
import pytest
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, RejectConnection, TextMessage
from wsproto.events import Request as Upgrade

from tests.gateway.raw import (
    Served,
    Witness,
    bounded,
    frame,
    make_app,
    open_socket,
    read_all,
    read_head,
    request,
    reset,
    served,
    upgrade,
)


def test_the_version_whose_inner_names_are_used_is_installed() -> None:
    assert version("hypercorn") == "0.18.0"
    assert version("wsproto") == "1.3.2"
    assert version("h11") == "0.16.0"


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def h2_headers(fields: list[tuple[bytes, bytes]], *, ends: bool = True) -> bytes:
    headers = h2.HeadersFrame(1)
    headers.flags.add("END_HEADERS")
    if ends:
        headers.flags.add("END_STREAM")
    headers.data = hpack.Encoder().encode(fields)
    return PREFACE + h2.SettingsFrame(0).serialize() + headers.serialize()


@dataclass(frozen=True)
class Attack:
    name: str
    says: bytes
    hears: bytes


H2_GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"x"), (b":path", b"/hello")]
H2_POST = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"x"), (b":path", b"/early")]
UPGRADE_H2C = ["Connection: Upgrade, HTTP2-Settings, close", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"]

CHUNKED = "Transfer-Encoding: chunked"

ANSWERED = [
    Attack("h2c_post_answered_before_its_body", h2_headers(H2_POST, ends=False), b"HTTP/1.1 505"),
    Attack("h2c_non_ascii_path", h2_headers([*H2_GET[:3], (b":path", b"/\xff")]), b"HTTP/1.1 505"),
    Attack("h2c_non_ascii_method", h2_headers([(b":method", b"G\xff"), *H2_GET[1:]]), b"HTTP/1.1 505"),
    Attack("h2c_connect_without_path", h2_headers([(b":method", b"CONNECT"), (b":authority", b"x")]), b"HTTP/1.1 505"),
    Attack("h2_priority_flood", PREFACE + b"".join(h2.PriorityFrame(n * 2 + 1).serialize() for n in range(3000)), b"HTTP/1.1 505"),
    Attack("h2_without_window", PREFACE + h2.SettingsFrame(0, {4: 0}).serialize() + h2_headers(H2_GET)[24:], b"HTTP/1.1 505"),
    Attack("h2c_upgrade_stays_http_1", request("GET", "/hello", *UPGRADE_H2C), b"HTTP/1.1 200"),
    Attack("non_ascii_subprotocol", upgrade("/ws", "Sec-WebSocket-Protocol: \xff\xfe"), b"HTTP/1.1 400"),
    Attack("non_ascii_extension", upgrade("/ws", "Sec-WebSocket-Extensions: \xff"), b"HTTP/1.1 400"),
    Attack("upgrade_without_key", upgrade("/ws").replace(b"Key", b"Kee"), b"HTTP/1.1 400"),
    Attack("upgrade_with_two_keys", upgrade("/ws", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), b"HTTP/1.1 400"),
    Attack("upgrade_with_a_short_key", upgrade("/ws").replace(b"dGhl", b""), b"HTTP/1.1 400"),
    Attack("upgrade_of_another_version", upgrade("/ws").replace(b"13", b"99"), b"HTTP/1.1 426"),
    Attack("upgrade_with_a_body", upgrade("/ws", "Content-Length: 3") + b"abc", b"HTTP/1.1 400"),
    Attack("content_length_and_transfer_encoding", request("POST", "/echo", CHUNKED, body=b"0\r\n\r\n"), b"HTTP/1.1 400"),
    Attack("two_content_lengths", request("POST", "/echo", "Content-Length: 1", "Content-Length: 2") + b"ab", b"HTTP/1.1 400"),
    Attack("unknown_transfer_encoding", request("POST", "/echo", "Transfer-Encoding: gzip"), b"HTTP/1.1 501"),
    Attack("head_over_the_bound", request("GET", "/hello", "X-Long: " + "x" * 40_000), b"HTTP/1.1 431"),
    Attack("not_http", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10 + b"\r\n\r\n", b"HTTP/1.1 400"),
    Attack("method_in_lower_case", request("get", "/hello", "Connection: close"), b"HTTP/1.1 405"),
    Attack("head_with_a_line_that_ends_without_cr", request("GET", "/hello", "X: a\nTransfer-Encoding: chunked"), b"HTTP/1.1 400"),
    Attack("head_with_its_last_line_without_cr", request("GET", "/hello", "X: a")[:-4] + b"\n\r\n", b"HTTP/1.1 400"),
    Attack("line_feed_after_the_last_request", request("GET", "/hello", "Connection: close") + b"\r\n", b"HTTP/1.1 200"),
    Attack("request_after_the_last_one", request("GET", "/hello", "Connection: close") + request("GET", "/nowhere"), b"HTTP/1.1 200"),
    Attack("bad_chunk", request("POST", "/echo", CHUNKED) + b"zz\r\nabc\r\n", b"HTTP/1.1 400"),
    Attack("answer_before_a_long_body", request("POST", "/early", body=bytes(900_000)), b"HTTP/1.1 401"),
    Attack("body_of_10_mb", request("POST", "/echo", body=bytes(10_000_000)), b"HTTP/1.1 413"),
    Attack("chunked_body_of_10_mb", request("POST", "/echo", CHUNKED) + b"989680\r\n" + bytes(10_000_000), b"HTTP/1.1 413"),
]  # fmt: skip


@pytest.mark.parametrize("attack", ANSWERED, ids=lambda attack: attack.name)
async def test_attack_is_answered_and_the_server_lives(attack: Attack) -> None:
    async with served(bounded(make_app(Witness()))) as server:
        answer = await server.say(attack.says)
        assert answer.startswith(attack.hears), answer[:300]
        assert attack.hears.endswith((b"200", b"401")) or b"urn:gavel:problem:" in answer
        assert b"101" not in answer[:20]
        assert server.counts.faults == 0


FRAMES = [
    Attack("reserved_bit_of_a_deflate_bomb", frame(2, compressobj(9, wbits=-15).compress(bytes(1000)) or b"x", rsv1=True), b"\x03\xea"),
    Attack("unknown_opcode", frame(0xB, b""), b"\x03\xea"),
    Attack("unmasked", b"\x81\x02hi", b"\x03\xea"),
    Attack("continuation_of_nothing", frame(0, b"abc"), b"\x03\xea"),
    Attack("not_utf8", frame(1, b"\xff\xff"), b"\x03\xef"),
    Attack("long_control_frame", frame(9, bytes(200)), b"\x03\xea"),
    Attack("fragmented_control_frame", frame(9, b"", fin=False), b"\x03\xea"),
    Attack("close_with_one_byte", frame(8, b"\x03"), b"\x03\xea"),
    Attack("message_over_the_bound", frame(2, bytes(70_000)), b"\x03\xf1"),
    Attack("fragments_over_the_bound", frame(2, bytes(40_000), fin=False) + frame(0, bytes(40_000), fin=False), b"\x03\xf1"),
    Attack("length_of_2_to_the_62", b"\x82\xff" + struct.pack("!Q", 2**62) + bytes(4) + bytes(200_000), b"\x03\xf1"),
]  # fmt: skip


@pytest.mark.parametrize("attack", FRAMES, ids=lambda attack: attack.name)
async def test_bad_frame_is_answered_with_a_close_that_names_the_fault(attack: Attack) -> None:
    async with served(message_bytes_max=65_536) as server, await open_socket(server) as stream:
        await stream.send_all(attack.says)
        answer = await read_all(stream)
        assert answer[0] == 0x88, answer[:40]
        assert answer[2:4] == attack.hears
        assert len(answer) > 4
        await server.witness.disconnected.wait()


@pytest.mark.parametrize("offer", ["permessage-deflate", "permessage-deflate; client_max_window_bits=banana"])
async def test_compression_is_never_agreed_upon(offer: str) -> None:
    async with served() as server, await server.connect() as stream:
        await stream.send_all(upgrade("/ws", f"Sec-WebSocket-Extensions: {offer}"))
        head = await read_head(stream)
        assert head.startswith(b"HTTP/1.1 101")
        assert b"extensions" not in head.lower()


@pytest.mark.parametrize("path", ["/ws", "/ws/late"])
async def test_frames_glued_to_the_upgrade_wait_for_its_answer(path: str) -> None:
    async with served() as server, await server.connect() as stream:
        await stream.send_all(upgrade(path) + frame(1, b"first") + frame(1, b"second"))
        await server.witness.begun.wait()
        server.witness.release.set()
        assert (await read_head(stream)).startswith(b"HTTP/1.1 101")
        got = b""
        while len(got) < 15:
            got += await stream.receive_some(100)
        assert got == b"\x81\x05first\x81\x06second"


async def test_a_message_of_some_fragments_is_taken_and_one_of_too_many_ends_its_socket() -> None:
    async with served(message_fragments_max=100) as server:
        async with await open_socket(server) as stream:
            for _ in range(3):
                await stream.send_all(frame(1, b"", fin=False) + frame(0, b"", fin=False) * 98 + frame(0, b"end"))
                assert await stream.receive_some(100) == b"\x81\x03end"
        async with await open_socket(server) as stream:
            await stream.send_all(frame(1, b"", fin=False) + frame(0, b"", fin=False) * 50_000)
            told = await read_all(stream)
            assert told[2:4] == b"\x03\xf0"
            assert b"too many fragments" in told


@pytest.mark.parametrize("begin", [frame(1, b"x", fin=False), frame(2, bytes(1000))[:500]], ids=["message", "frame"])
async def test_a_message_that_does_not_end_in_time_ends_its_socket_and_a_quiet_one_lasts(begin: bytes) -> None:
    async with served(message_seconds_max=0.2) as server, await open_socket(server) as quiet:
        for _ in range(2):
            async with await open_socket(server) as stream:
                await stream.send_all(frame(1, b"whole") + begin)
                assert await read_all(stream) == b"\x81\x05whole"
        await quiet.send_all(frame(1, b"", fin=False) + frame(0, b"still"))
        assert await quiet.receive_some(100) == b"\x81\x05still"


@pytest.mark.parametrize("opcode", [9, 10], ids=["pings", "pongs"])
async def test_a_flood_of_control_frames_ends_its_socket(opcode: int) -> None:
    async with served(control_frames_per_second_max=20) as server, await open_socket(server) as stream:
        await stream.send_all(frame(opcode, b"") * 20 + frame(1, b"hi"))
        got = b""
        while not got.endswith(b"hi"):
            got += await stream.receive_some(100)
        await stream.send_all(frame(opcode, b"") * 2000)
        assert b"too many pings" in await read_all(stream)


async def test_a_socket_echoes_text_bytes_and_pings() -> None:
    async with served() as server, await server.connect() as stream:
        client = WSConnection(ConnectionType.CLIENT)
        await stream.send_all(client.send(Upgrade(host="gavel", target="/ws", subprotocols=["gavel.v1.json"])))
        got: list[object] = []

        async def hear(count: int) -> None:
            while len(got) < count:
                client.receive_data(await stream.receive_some(65_536) or None)
                got.extend(client.events())

        await hear(1)
        accepted = got[0]
        assert isinstance(accepted, AcceptConnection)
        assert accepted.subprotocol == "gavel.v1.json"
        await stream.send_all(
            client.send(TextMessage("hä")) + client.send(BytesMessage(b"\x00\x01")) + client.send(Ping(b"p"))
        )
        await hear(4)
        assert {type(event) for event in got[1:4]} == {TextMessage, BytesMessage, Pong}
        await stream.send_all(client.send(CloseConnection(code=1000)))
        await hear(5)
        assert isinstance(got[4], CloseConnection)
        await server.witness.disconnected.wait()


async def test_a_refused_socket_gets_a_problem_document() -> None:
    async with served() as server:
        answer = await server.say(upgrade("/ws/refuse"))
        assert answer.startswith(b"HTTP/1.1 403")
        assert b"urn:gavel:problem:forbidden" in answer
        client = WSConnection(ConnectionType.CLIENT)
        client.send(Upgrade(host="gavel", target="/ws/refuse"))
        client.receive_data(answer)
        assert isinstance(next(client.events()), RejectConnection)


# Anything at all


def mutate(random: Random, says: bytes) -> bytes:
    """Changes, drops, inserts and repeats a few bytes."""
    data = bytearray(says[:5000])
    for _ in range(random.choice([0, 1, 1, 2, 5, 20])):
        place, length = random.randrange(len(data) + 1), random.randrange(1, 30)
        match random.randrange(4):
            case 0:
                data[place : place + 1] = random.randbytes(1)
            case 1:
                del data[place : place + length]
            case 2:
                data[place:place] = random.randbytes(length)
            case _:
                data[place:place] = data[length:][:50]
    return bytes(data)


async def say_and_leave(server: Served, random: Random, says: bytes) -> None:
    stream = await server.connect()
    cut = random.randrange(len(says) + 1)
    with suppress(trio.BrokenResourceError), trio.move_on_after(random.choice([0.01, 0.1])):
        await stream.send_all(says[:cut])
        await trio.lowlevel.checkpoint()
        await stream.send_all(says[cut:])
        if random.random() < 0.3:
            await stream.send_eof()
        if random.random() < 0.7:
            await read_all(stream)
    reset(stream)


@pytest.mark.parametrize("seed", range(3))
async def test_mutated_messages_hurt_nobody(seed: int) -> None:
    random = Random(seed)
    socket_says = [frame(1, b"hello") + frame(9, b"ping") + frame(8, b"\x03\xe8"), *(attack.says for attack in FRAMES)]
    says = [attack.says for attack in ANSWERED]
    says += [upgrade(path) + frames for path in ("/ws", "/ws/push", "/ws/refuse") for frames in socket_says]
    says += [request("GET", path) for path in ("/hello", "/events", "/flood", "/big", "/until_gone", "/nowhere")]
    says += [
        request("POST", "/echo", body=b"abc") * 3,
        request("HEAD", "/hello"),
        b"HEAD /hello HTTP/3.0\r\nHost: x\r\n\r\n",
    ]
    places = trio.CapacityLimiter(20)

    async def one(message: bytes) -> None:
        async with places:
            await say_and_leave(server, random, message)

    async with served(bounded(make_app(Witness())), connections_max=100, send_seconds_max=1.0) as server:
        async with trio.open_nursery() as nursery:
            for _ in range(300):
                nursery.start_soon(one, mutate(random, random.choice(says)))
        assert (server.counts.faults, server.counts.handler_faults) == (0, 0)


async def test_an_answer_before_the_whole_body_says_that_the_connection_ends() -> None:
    async with served() as server, await server.connect() as stream:
        await stream.send_all(request("POST", "/early", "Content-Length: 5"))
        head = await read_head(stream)
        assert head.startswith(b"HTTP/1.1 401")
        assert head.lower().count(b"connection: close") == 1


async def test_an_answer_after_the_whole_body_keeps_the_connection() -> None:
    async with served() as server, await server.connect() as stream:
        for _ in range(2):
            await stream.send_all(request("POST", "/echo", body=b"12345"))
            assert b"connection: close" not in (await read_head(stream)).lower()
            assert await stream.receive_some(5) == b"12345"

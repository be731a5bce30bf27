"""Websockets: handshakes that are none, frames that make no sense, messages that are too large or never end."""

import struct
from contextlib import suppress
from zlib import compressobj

import trio

from tests.gateway.attacks.house import MESSAGE_BYTES_MAX, House
from tests.gateway.attacks.peers import (
    JSON,
    MALLORY,
    answered,
    answers,
    closed_with,
    hear,
    open_agent,
    open_feed,
    refused,
    say,
    told,
)
from tests.gateway.attacks.table import attack
from tests.gateway.raw import frame, read_head, request, reset, upgrade

PATH = f"/v1/agents/{MALLORY}/ws"
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
BYE = frame(8, b"\x03\xe8")
PROTOCOL_ERROR, NOT_UTF_8, TOO_BIG, POLICY = 1002, 1007, 1009, 1008


async def flood(stream: trio.SocketStream, says: bytes) -> None:
    """Says it all, unless the node ends the connection before."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await stream.send_all(says)


def shake(house: House, *headers: str) -> bytes:
    """An agent's handshake with further headers."""
    return upgrade(PATH, house.agent(MALLORY), *headers)


# ---- handshakes


@attack
async def a_handshake_with_a_key_that_is_none(house: House) -> None:
    """400: a key is 16 bytes in base64, and there is one."""
    keys = (b"", b"abc", b"!" * 24, KEY[:-1], KEY + b"=", KEY * 100, KEY[:-2], b"\xff" * 22 + b"==")
    await refused(house, 400, *(shake(house).replace(KEY, key) for key in keys))
    await refused(house, 400, shake(house, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="))
    await refused(house, 400, shake(house).replace(b"Sec-WebSocket-Key", b"X-WebSocket-Key"))


@attack
async def a_handshake_of_another_version(house: House) -> None:
    """426, which says that 13 is the one."""
    versions = (b"0", b"8", b"12", b"14", b"99", b"013", b"13, 8", b"thirteen", b"")
    await refused(house, 426, *(shake(house).replace(b"Version: 13", b"Version: " + one) for one in versions))
    answer = await answered(house, shake(house, "Sec-WebSocket-Version: 13"), 426)
    assert (answer.headers["sec-websocket-version"], answer.headers["upgrade"]) == ("13", "websocket")


@attack
async def a_handshake_in_another_shape(house: House) -> None:
    """It is no handshake: a GET is told what there is at the path, an HTTP/1.0 one that it is none, a POST that it may not."""
    await refused(house, 400, shake(house).replace(b"HTTP/1.1", b"HTTP/1.0"))
    posted = request("POST", PATH, house.agent(MALLORY), "Upgrade: websocket", "Connection: Upgrade, close")
    await answered(house, posted, 404, 405, method="POST")
    for line in (b"Upgrade: websockets", b"Upgrade: h2c", b"Upgrade: \xff"):
        says = shake(house, "Connection: close").replace(b"Upgrade: websocket", line)
        await answered(house, says, 404, 400)


@attack
async def a_handshake_with_a_body(house: House) -> None:
    """400: the body would be taken for frames."""
    await refused(
        house,
        400,
        shake(house, "Content-Length: 3") + b"abc",
        shake(house, "Content-Length: 0"),
        shake(house, "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    )


@attack
async def a_handshake_with_bytes_that_are_not_ascii(house: House) -> None:
    """400: it ended the process of others."""
    await refused(
        house,
        400,
        shake(house, "Sec-WebSocket-Protocol: \xff\xfe"),
        shake(house, "Sec-WebSocket-Extensions: \xff"),
        shake(house, "Sec-WebSocket-Extensions: permessage-deflate; \xff=1"),
    )


@attack
async def compression_that_is_offered(house: House) -> None:
    """Never agreed on, with whatever parameters: no message can grow after its size was looked at."""
    for offer in (
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits=banana",
        "permessage-deflate; server_max_window_bits=99999999999999999999",
        "permessage-deflate; =; ;;",
        ", ".join(["permessage-deflate"] * 400),
        "x" * 8000,
    ):
        async with await house.connect() as stream:
            await stream.send_all(shake(house, f"Sec-WebSocket-Extensions: {offer}"))
            head = await read_head(stream)
            assert head.startswith(b"HTTP/1.1 101")
            assert b"extensions" not in head.lower()
            reset(stream)


@attack
async def subprotocols_that_nobody_speaks(house: House) -> None:
    """400 before the handshake, be it one or thousands."""
    for offer in (
        "soap",
        ", ".join(f"p{number}" for number in range(2000)),
        ",,,,",
        '"gavel.v1.json"',
        "GAVEL.V1.JSON",
    ):
        await answered(house, shake(house, f"Sec-WebSocket-Protocol: {offer}"), 400)


@attack
async def a_handshake_without_a_key_of_the_house(house: House) -> None:
    """401 or 403 as a problem document instead of the handshake; another agent's key opens nothing."""
    for path in (PATH, "/v1/feed"):
        assert (await answered(house, upgrade(path), 401)).code == "unauthorized"
        assert (await answered(house, upgrade(path, "Authorization: Bearer gvl_x"), 401)).code == "unauthorized"
    other = upgrade("/v1/agents/innocent-1/ws", house.agent(MALLORY))
    assert (await answered(house, other, 403)).code == "forbidden"
    elsewhere = upgrade(PATH, "Cookie: gavel-session=stolen", "Origin: http://elsewhere.example")
    assert (await answered(house, elsewhere, 401)).code == "unauthorized"


@attack
async def a_handshake_where_there_is_no_websocket(house: House) -> None:
    """404, and no handshake."""
    for path in ("/livez", "/v1/tasks", "/nowhere", "/v1/agents//ws", "/v1/agents/a%2fb/ws"):
        await answered(house, upgrade(path, house.admin), 404)


@attack
async def a_handshake_behind_another_request(house: House) -> None:
    """Both are answered; the frames behind them are frames."""
    says = request("GET", "/livez") + shake(house) + frame(1, b'{"type":"heartbeat","id":1}') + BYE
    first, _, rest = (await say(house, says)).partition(b'{"live":true}')
    assert first.startswith(b"HTTP/1.1 200")
    assert rest.startswith(b"HTTP/1.1 101")


@attack
async def frames_glued_to_the_handshake(house: House) -> None:
    """They wait for its answer: it ended the process of others. Where the handshake is refused, they are nothing."""
    beat = frame(1, b'{"type":"heartbeat","id":"glued"}')
    async with await house.connect() as stream:
        await stream.send_all(shake(house) + beat)
        assert (await read_head(stream)).startswith(b"HTTP/1.1 101")
        got = b""
        while b'"id":"glued"' not in got:
            got += await stream.receive_some(10_000)
    heard = answers(await say(house, upgrade(PATH) + beat * 100 + frame(1, b"\xff") + request("GET", "/livez")))
    assert [one.status for one in heard] == [401]


@attack
async def a_second_handshake_within_the_first(house: House) -> None:
    """Its bytes are frames that make no sense: 1002."""
    await closed_with(house, PROTOCOL_ERROR, shake(house), request("GET", "/livez"))


@attack
async def fifty_handshakes_of_one_agent(house: House) -> None:
    """The newest socket is the good one; the others are closed (4409), or cut off in the midst of a frame."""
    sending, receiving = trio.open_memory_channel[int](50)

    async def one() -> None:
        async with await open_agent(house) as stream:
            await sending.send((await hear(stream)).code)

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(one)
        codes = {await receiving.receive() for _ in range(49)}
        nursery.cancel_scope.cancel()
    assert codes <= {4409, 0}, codes


# ---- frames


@attack
async def a_frame_without_a_mask(house: House) -> None:
    """1002."""
    await closed_with(house, PROTOCOL_ERROR, b"\x81\x02hi", b"\x89\x00", b"\x82\x7e\x01\x00" + bytes(256))


@attack
async def a_frame_with_a_reserved_bit(house: House) -> None:
    """1002: no extension was agreed on, compression neither."""
    bomb = compressobj(9, wbits=-15).compress(bytes(1000)) or b"x"
    frames = [bytes([0x80 | bit | 1]) + b"\x80" + bytes(4) for bit in (0x40, 0x20, 0x10)]
    await closed_with(house, PROTOCOL_ERROR, frame(2, bomb, rsv1=True), *frames)


@attack
async def a_frame_with_a_reserved_opcode(house: House) -> None:
    """1002."""
    await closed_with(house, PROTOCOL_ERROR, *(frame(opcode, b"") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)))


@attack
async def a_control_frame_that_is_too_long_or_in_parts(house: House) -> None:
    """1002."""
    long = [frame(opcode, bytes(126)) for opcode in (8, 9, 10)]
    parts = [frame(opcode, b"", fin=False) for opcode in (8, 9, 10)]
    await closed_with(house, PROTOCOL_ERROR, *long, *parts, b"\x89\xff" + b"\xff" * 8)


@attack
async def fragments_in_disorder(house: House) -> None:
    """1002: a continuation of nothing, or a new message in the midst of another."""
    begun = frame(1, b'{"type":', fin=False)
    await closed_with(
        house,
        PROTOCOL_ERROR,
        frame(0, b"x"),
        frame(0, b"", fin=False),
        begun + frame(1, b"x"),
        begun + frame(2, b"x", fin=False),
        begun + frame(0, b"1}") + frame(0, b"x"),
    )


@attack
async def a_ping_between_fragments(house: House) -> None:
    """It is answered, and the message is whole."""
    parts = (
        frame(1, b'{"type":"heart', fin=False),
        frame(9, b"between"),
        frame(0, b"", fin=False),
        frame(10, b"unasked"),
        frame(0, b'beat","id":7}'),
    )
    assert [one["id"] for one in await told(house, *parts, count=1)] == [7]


@attack
async def a_text_that_is_not_utf_8(house: House) -> None:
    """1007, be it in one frame, split over two, or in the reason of a close."""
    await closed_with(
        house,
        NOT_UTF_8,
        frame(1, b"\xff\xff"),
        frame(1, b"\xc3", fin=False) + frame(0, b"\x28"),
        frame(1, b"\xed\xa0\x80"),
        frame(1, b"\xf4\x90\x80\x80"),
        frame(1, b"\xe2\x82"),
        frame(8, b"\x03\xe8\xff"),
    )


@attack
async def a_close_with_a_code_that_nobody_may_send(house: House) -> None:
    """1002."""
    codes = (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535)
    await closed_with(house, PROTOCOL_ERROR, frame(8, b"\x03"), *(frame(8, struct.pack("!H", code)) for code in codes))


@attack
async def a_close_and_then_more(house: House) -> None:
    """The close is answered with its own code, and nothing after it is looked at."""
    await closed_with(house, 1000, BYE + frame(1, b"\xff") + frame(9, b"x") * 1000)
    await closed_with(house, 4999, frame(8, struct.pack("!H", 4999) + b"why not"))


@attack
async def a_length_in_more_bytes_than_it_needs(house: House) -> None:
    """1002, and for one of 63 bits too."""
    await closed_with(
        house,
        PROTOCOL_ERROR,
        b"\x81\xfe\x00\x05" + bytes(4) + b"hello",
        b"\x81\xff" + struct.pack("!Q", 5) + bytes(4) + b"hello",
        b"\x81\xff" + struct.pack("!Q", 2**63) + bytes(4),
    )


@attack
async def a_message_beyond_the_bound(house: House) -> None:
    """1009, in one frame, in many, or by a length that lies; nothing beyond the bound is kept."""
    piece = frame(0, bytes(300_000), fin=False)
    await closed_with(
        house,
        TOO_BIG,
        frame(2, bytes(MESSAGE_BYTES_MAX + 1)),
        frame(1, b"x" * (MESSAGE_BYTES_MAX + 1)),
        frame(2, b"", fin=False) + piece * 4,
        b"\x82\xff" + struct.pack("!Q", 2**62) + bytes(4) + bytes(2 * MESSAGE_BYTES_MAX),
    )


@attack
async def a_message_of_thirty_thousand_empty_fragments(house: House) -> None:
    """It is one message, or one in too many parts (1008), and others are served meanwhile."""
    empty = frame(0, b"", fin=False) * 30_000
    parts = frame(1, b'{"type":"heartbeat"', fin=False) + empty + frame(0, b',"id":8}') + frame(1, b"[") * 30
    async with await open_agent(house) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(flood, stream, parts)
        assert (await hear(stream)).code == POLICY
        nursery.cancel_scope.cancel()


@attack
async def three_thousand_pings(house: House) -> None:
    """Each is answered, and as many unasked pongs are not; or the socket is closed (1008) when they come too fast."""
    async with await open_agent(house) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(flood, stream, frame(9, b"x" * 125) * 3000 + frame(10, b"y") * 3000 + BYE)
        heard = await hear(stream)
        nursery.cancel_scope.cancel()
    assert (heard.pongs, heard.code) == (3000, 1000) or heard.code == POLICY


@attack
async def a_frame_one_byte_at_a_time(house: House) -> None:
    """It is a frame."""
    said = frame(1, b'{"type":"heartbeat","id":"slow"}')
    assert [one["id"] for one in await told(house, *(bytes([byte]) for byte in said), count=1)] == ["slow"]


@attack
async def five_hundred_messages_at_once(house: House) -> None:
    """They are taken one after the other, as fast as the node can, and each is answered."""
    beats = b"".join(frame(1, b'{"type":"heartbeat","id":%d}' % number) for number in range(500))
    assert [one["id"] for one in await told(house, beats, count=500)] == list(range(500))


@attack
async def a_megabyte_for_a_feed_that_hears_nothing(house: House) -> None:
    """It is read over and not kept."""
    async with await open_feed(house) as stream:
        with suppress(trio.BrokenResourceError):
            for _ in range(20):
                await stream.send_all(frame(2, bytes(MESSAGE_BYTES_MAX)))
            await stream.send_all(BYE)
        assert (await hear(stream)).code == 1000


@attack
async def twenty_frames_that_say_nothing(house: House) -> None:
    """Each is told what is wrong with it; after the twentieth the socket is closed (1008)."""
    async with await open_agent(house) as stream:
        await stream.send_all(frame(1, b"[") * 30)
        heard = await hear(stream)
    assert heard.code == POLICY
    assert sum(b'"problem"' in message for message in heard.messages) == 20


@attack
async def a_socket_that_is_used_as_http(house: House) -> None:
    """A request behind a refused handshake is none; the connection ends."""
    says = upgrade(PATH, "Connection: keep-alive, Upgrade") + request(
        "POST", "/v1/tasks", house.admin, JSON, body=b"{}"
    )
    assert [one.status for one in answers(await say(house, says))] == [401]

"""Peers that are slow, greedy, silent or suddenly gone: each holds one place, for a while, and nobody else up."""

import trio

from tests.gateway.attacks.house import CONNECTIONS_MAX, MESSAGE_BYTES_MAX, House
from tests.gateway.attacks.peers import (
    CHUNKED,
    CLOSE,
    JSON,
    MALLORY,
    answered,
    answers,
    hear,
    open_agent,
    open_feed,
    post,
)
from tests.gateway.attacks.table import attack, slow_attack
from tests.gateway.raw import frame, read_all, read_head, request, reset, upgrade

STOPPED = "client_stopped_reading"
TRICKLE_SECONDS = 0.2  # far less than the node's patience with one byte


async def trickle(house: House, says: bytes, byte: bytes) -> bytes:
    """Says it, goes on byte by byte without end, and hears what the node says until it closes."""

    async def drip(stream: trio.SocketStream) -> None:
        try:
            while True:
                await trio.sleep(TRICKLE_SECONDS)
                await stream.send_all(byte)
        except trio.BrokenResourceError:
            pass

    async with await house.connect() as stream, trio.open_nursery() as nursery:
        await stream.send_all(says)
        nursery.start_soon(drip, stream)
        heard = await read_all(stream)
        nursery.cancel_scope.cancel()
    return heard


async def stops_reading(house: House, says: bytes) -> None:
    """Asks for more than the wires hold, and takes nothing: the connection is reset."""
    async with await house.connect() as stream:
        await stream.send_all(says)
        await house.cut_off(stream)
        reset(stream)


# ---- slow to speak


@slow_attack()
async def silence(house: House) -> None:
    """The connection is closed when the time for a head is over."""
    async with await house.connect() as stream:
        assert await read_all(stream) == b""


@slow_attack()
async def a_head_byte_by_byte_without_end(house: House) -> None:
    """408 when the time for the whole head is over, however steadily it comes."""
    heard = answers(await trickle(house, b"GET /livez HTTP/1.1\r\nHost: gavel\r\nX: ", b"x"))
    assert [one.status for one in heard] == [408]


@slow_attack()
async def a_head_that_stops_in_the_middle(house: House) -> None:
    """408, be it in the first line, in a header, or before the last line break."""
    begun = (b"G", b"GET /livez", b"GET /livez HTTP/1.1\r\nHost: gavel\r\n", b"GET /livez\r\n", b"PRI * HTTP/2.0\r\n")
    async with trio.open_nursery() as nursery:
        for says in begun:
            nursery.start_soon(answered, house, says, 408)


@slow_attack()
async def a_second_head_that_stops_in_the_middle(house: House) -> None:
    """The first request is answered; the second is told 408."""
    async with await house.connect() as stream:
        await stream.send_all(request("GET", "/livez") + b"GET /li")
        assert [one.status for one in answers(await read_all(stream))] == [200, 408]


@slow_attack()
async def a_body_byte_by_byte_without_end(house: House) -> None:
    """408 when the time for the whole body is over."""
    head = request("POST", "/v1/tasks", house.admin, JSON, "Content-Length: 100000")
    assert [one.status for one in answers(await trickle(house, head, b" "), "POST")] == [408]


@slow_attack()
async def chunks_byte_by_byte_without_end(house: House) -> None:
    """408 likewise."""
    head = request("POST", "/v1/tasks", house.admin, JSON, CHUNKED)
    assert [one.status for one in answers(await trickle(house, head, b"1\r\n \r\n"), "POST")] == [408]


@slow_attack()
async def a_blob_byte_by_byte_without_end(house: House) -> None:
    """408 when the time for a blob is over; nothing of it is kept."""
    path = f"/v1/blobs/{'c' * 64}"
    head = request("PUT", path, house.admin, "Content-Length: 100000")
    assert [one.status for one in answers(await trickle(house, head, b" "), "PUT")] == [408]
    await answered(house, request("GET", path, house.admin, CLOSE), 404)


@slow_attack()
async def a_body_that_never_comes(house: House) -> None:
    """408; where nobody wants it, the answer comes at once and is the last."""
    head = request("POST", "/v1/tasks", house.admin, JSON, "Content-Length: 10")
    await answered(house, head, 408)
    await answered(house, request("GET", "/livez", "Content-Length: 10"), 200)
    await answered(house, request("POST", "/v1/tasks", JSON, "Content-Length: 10"), 401)


@slow_attack()
async def a_feed_with_a_body_that_never_ends(house: House) -> None:
    """The feed ends when the time for the body is over."""
    heard = await trickle(house, request("GET", "/v1/feed", house.admin, "Content-Length: 100000"), b"x")
    assert heard.startswith(b"HTTP/1.1 200")


@slow_attack()
async def a_chunk_that_never_ends(house: House) -> None:
    """408."""
    async with trio.open_nursery() as nursery:
        for chunk in (b"ffffffff\r\n", b"2;x=", b"2\r\n{}", b"0\r\nTrailer: "):
            says = request("POST", "/v1/tasks", house.admin, JSON, CHUNKED) + chunk
            nursery.start_soon(answered, house, says, 408)


@slow_attack()
async def a_frame_that_never_ends(house: House) -> None:
    """It holds one place; the agent's next socket takes it over."""
    async with await open_agent(house, name="slow-1") as stream:
        await stream.send_all(b"\x82\xff" + (MESSAGE_BYTES_MAX - 1).to_bytes(8, "big") + bytes(4) + b"x" * 1000)
        await trio.sleep(TRICKLE_SECONDS)
        async with await open_agent(house, name="slow-1"):
            assert (await hear(stream)).code in (4409, 0)


# ---- slow to hear


@slow_attack(logged=STOPPED)
async def a_large_answer_that_nobody_reads(house: House) -> None:
    """The connection is cut off when the node could send nothing for as long as it waits."""
    await stops_reading(house, request("GET", f"/v1/blobs/{house.digest}", house.admin))


@slow_attack(logged=STOPPED)
async def a_feed_that_nobody_reads(house: House) -> None:
    """Cut off likewise; the log waits for no reader."""
    await stops_reading(house, request("GET", "/v1/feed?after=0", house.admin))


@slow_attack(logged=STOPPED)
async def a_feed_by_websocket_that_nobody_reads(house: House) -> None:
    """Cut off likewise."""
    async with await open_feed(house, "/v1/feed?after=0") as stream:
        await house.cut_off(stream)
        reset(stream)


@slow_attack(logged=STOPPED)
async def requests_whose_answers_nobody_reads(house: House) -> None:
    """Cut off likewise: answers are not made in advance."""
    await stops_reading(house, request("GET", "/v1/log?limit=60&after=0", house.admin) * 100)


@slow_attack(logged=STOPPED)
async def pings_whose_pongs_nobody_reads(house: House) -> None:
    """Cut off likewise, and while it lasts nothing more is read from it."""
    async with await open_agent(house, name="slow-2") as stream, trio.open_nursery() as nursery:

        async def flood() -> None:
            try:
                while True:
                    await stream.send_all(frame(9, b"x" * 125) * 5000)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass

        nursery.start_soon(flood)
        await house.cut_off(stream)
        reset(stream)


@slow_attack(logged=STOPPED)
async def fifty_who_read_nothing(house: House) -> None:
    """Cut off likewise, all of them."""

    async def one() -> None:
        await stops_reading(house, request("GET", f"/v1/blobs/{house.digest}", house.admin))

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(one)


@slow_attack(logged=STOPPED)
async def an_answer_that_is_read_too_slowly(house: House) -> None:
    """Cut off likewise: a little now and then is not enough."""

    async def sip(stream: trio.SocketStream) -> None:
        while True:
            await stream.receive_some(1000)
            await trio.sleep(TRICKLE_SECONDS)

    async with await house.connect() as stream, trio.open_nursery() as nursery:
        await stream.send_all(request("GET", f"/v1/blobs/{house.digest}", house.admin))
        nursery.start_soon(sip, stream)
        await house.cut_off(stream)
        nursery.cancel_scope.cancel()


@slow_attack()
async def a_close_that_is_not_answered(house: House) -> None:
    """The connection ends without it."""
    async with await open_agent(house, name="slow-3") as stream:
        await stream.send_all(frame(1, b"[") * 30)
        heard = await hear(stream)
        assert heard.code == 1008


# ---- many, and suddenly gone


@attack
async def twice_as_many_idle_connections_as_there_are_places(house: House) -> None:
    """The one that has been idle longest makes room for the next."""
    streams = [await house.connect() for _ in range(2 * CONNECTIONS_MAX)]
    for stream in streams:
        reset(stream)


@attack
async def as_many_begun_heads_as_there_are_places(house: House) -> None:
    """A head that is not whole is idle: it makes room."""
    streams = []
    for _ in range(2 * CONNECTIONS_MAX):
        streams.append(await house.connect())
        await streams[-1].send_all(b"GET /livez HTTP/1.1\r\nHost:")
    for stream in streams:
        reset(stream)


@attack
async def connections_that_come_and_go(house: House) -> None:
    """Four hundred leave nothing behind."""
    for number in range(400):
        stream = await house.connect()
        if number % 2:
            reset(stream)
        else:
            await stream.aclose()


BEGUN = (
    b"",
    b"GET /li",
    b"\r\n",
    request("POST", "/v1/tasks", "Content-Length: 100") + b"x",
    request("GET", "/livez") * 3,
    request("GET", "/livez") + b"GET",
    upgrade("/v1/feed"),
)


def _stages(house: House) -> list[bytes]:
    agent = upgrade(f"/v1/agents/{MALLORY}/ws", house.agent(MALLORY))
    return [
        *BEGUN,
        post(house, b"{}")[:-1],
        request("GET", f"/v1/blobs/{house.digest}", house.admin),
        request("GET", "/v1/feed?after=0", house.admin),
        request("PUT", f"/v1/blobs/{'d' * 64}", house.admin, CHUNKED) + b"5\r\nhel",
        agent,
        agent + frame(1, b"{", fin=False),
        agent + frame(8, b"\x03\xe8"),
        upgrade("/v1/feed?after=0", house.admin),
    ]


@attack
async def a_reset_at_each_stage(house: House) -> None:
    """It ends that connection, and is no fault."""
    for begun in _stages(house):
        for _ in range(3):
            stream = await house.connect()
            await stream.send_all(begun)
            await answered(house, request("GET", "/livez", CLOSE), 200)
            reset(stream)


@attack
async def a_half_close_at_each_stage(house: House) -> None:
    """What was asked whole is answered, unless it is a stream: that ends; what was not asked whole is over."""
    for begun in _stages(house):
        async with await house.connect() as stream:
            await stream.send_all(begun)
            await stream.send_eof()
            with trio.move_on_after(0.2):
                await read_all(stream)
            reset(stream)
    async with await house.connect() as stream:
        await stream.send_all(request("GET", "/livez"))
        await stream.send_eof()
        assert [one.status for one in answers(await read_all(stream))] == [200]


@attack
async def feeds_that_are_left_at_once(house: House) -> None:
    """Sixty readers leave, and no handler stays."""
    for number in range(30):
        async with await house.connect() as stream:
            await stream.send_all(request("GET", "/v1/feed", house.admin))
            await read_head(stream)
        stream = await open_feed(house)
        if number % 2:
            reset(stream)
        else:
            await stream.aclose()

"""HTTP/2 without asking: the node speaks none, so that its floods and bombs find nobody who understands them."""

import hpack
import hyperframe.frame as h2
import trio

from tests.gateway.attacks.house import House
from tests.gateway.attacks.peers import refused
from tests.gateway.attacks.table import attack
from tests.gateway.raw import read_all

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"x"), (b":path", b"/livez")]


def opened(*frames: h2.Frame) -> bytes:
    """The preface, settings, and these frames."""
    return PREFACE + h2.SettingsFrame(0).serialize() + b"".join(frame.serialize() for frame in frames)


def headers(fields: list[tuple[bytes, bytes]], *flags: str, stream: int = 1) -> h2.HeadersFrame:
    """A HEADERS frame of these fields."""
    frame = h2.HeadersFrame(stream)
    for flag in flags or ("END_HEADERS", "END_STREAM"):
        frame.flags.add(flag)
    frame.data = hpack.Encoder().encode(fields)
    return frame


@attack
async def http_2_by_its_preface(house: House) -> None:
    """505 in HTTP/1.1, and the connection ends."""
    await refused(house, 505, opened(headers(GET)), PREFACE, opened())


@attack
async def an_http_2_preface_in_pieces(house: House) -> None:
    """505 as soon as its first lines are there."""
    async with await house.connect() as stream:
        for part in (b"PRI * HT", b"TP/2.0\r\n", b"\r\nSM", b"\r\n\r\n"):
            await stream.send_all(part)
            await trio.sleep(0.01)
        assert (await read_all(stream)).startswith(b"HTTP/1.1 505")


@attack
async def an_http_2_post_that_is_answered_before_its_body_ends(house: House) -> None:
    """505: it ended the process of others."""
    await refused(house, 505, opened(headers([(b":method", b"POST"), *GET[1:]], "END_HEADERS")))


@attack
async def an_http_2_path_or_method_that_is_not_ascii(house: House) -> None:
    """505: it ended the process of others."""
    await refused(
        house,
        505,
        opened(headers([*GET[:3], (b":path", b"/\xff")])),
        opened(headers([(b":method", b"G\xff"), *GET[1:]])),
    )


@attack
async def an_http_2_connect_without_a_path(house: House) -> None:
    """505: it ended the process of others."""
    await refused(house, 505, opened(headers([(b":method", b"CONNECT"), (b":authority", b"x")])))


@attack
async def a_flood_of_http_2_priorities(house: House) -> None:
    """505: it ended the process of others."""
    await refused(house, 505, opened(*(h2.PriorityFrame(number * 2 + 1) for number in range(3000))))


@attack
async def streams_opened_and_reset_at_once(house: House) -> None:
    """505: there are no streams to reset."""
    frames: list[h2.Frame] = []
    for number in range(1, 4000, 2):
        frames += [headers(GET, stream=number), h2.RstStreamFrame(number)]
    await refused(house, 505, opened(*frames))


@attack
async def http_2_headers_that_go_on_and_on(house: House) -> None:
    """505: no continuation is kept."""
    more = h2.ContinuationFrame(1)
    more.data = bytes(8000)
    await refused(house, 505, opened(headers(GET, "END_STREAM"), *[more] * 200))


@attack
async def an_http_2_client_that_grants_no_window(house: House) -> None:
    """505: nothing is buffered for it."""
    await refused(house, 505, PREFACE + h2.SettingsFrame(0, {4: 0}).serialize() + headers(GET).serialize())


@attack
async def floods_of_http_2_settings_and_pings(house: House) -> None:
    """505: nothing answers them."""
    await refused(
        house, 505, opened(*[h2.SettingsFrame(0, {3: 1})] * 5000), opened(*[h2.PingFrame(0, bytes(8))] * 5000)
    )


@attack
async def headers_that_unpack_to_gigabytes(house: House) -> None:
    """505: nothing unpacks them."""
    bomb = headers([])
    bomb.data = hpack.Encoder().encode([(b"x", b"y" * 4000)]) + b"\xbe" * 16_000
    await refused(house, 505, opened(bomb))

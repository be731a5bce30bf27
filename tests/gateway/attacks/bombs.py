"""Bodies that are small on the way and large, deep or endless when they are read: JSON, msgpack, compressed or not."""

import gzip
import struct
from typing import Any

import msgspec

from tests.gateway.attacks.house import House
from tests.gateway.attacks.peers import MSGPACK, answered, post, told
from tests.gateway.attacks.table import attack
from tests.gateway.raw import frame

NAN = b"\xcb\x7f\xf8" + bytes(6)
UNKNOWN = "00000000-0000-7000-8000-000000000000"


def task(payload: bytes) -> bytes:
    """A task in JSON with this payload."""
    return b'{"task_type":"analysis","capabilities":["patience"],"payload":' + payload + b"}"


def behind_a_whole_number(payload: bytes) -> bytes:
    """The same, which is read twice: once more for the number that is an integer although it does not look like one."""
    return b'{"priority":2.0,' + task(payload)[1:]


def packed(payload: bytes) -> bytes:
    """The same in msgpack."""
    fields: dict[str, Any] = {"task_type": "analysis", "capabilities": ["patience"]}
    head = b"".join(msgspec.msgpack.encode(name) + msgspec.msgpack.encode(value) for name, value in fields.items())
    return b"\x83" + head + msgspec.msgpack.encode("payload") + payload


async def unfit(house: House, *bodies: bytes, headers: tuple[str, ...] = ()) -> None:
    """Each is refused as what it is, with and without an idempotency key, for which its bytes are taken together."""
    for number, body in enumerate(bodies):
        await answered(house, post(house, body, *headers), 400, 413, 422)
        await answered(house, post(house, body, *headers, f"Idempotency-Key: bomb-{number}"), 400, 413, 422)


@attack
async def json_as_deep_as_it_is_long(house: House) -> None:
    """400 or 422: nothing that is nested deeper than 32 levels is kept, and nothing falls over on its way there."""
    deep = [task(b'{"a":' * depth + b"1" + b"}" * depth) for depth in (33, 200, *range(880, 1001, 8), 5000)]
    lists = [task(b'{"a":' + b"[" * depth + b"]" * depth + b"}") for depth in (33, 900, 990, 100_000)]
    await unfit(
        house, *deep, *lists, b"[" * 900_000, b'{"a":' * 150_000, b'{"payload":' + b'{"a":' * 900 + b"1" + b"}" * 901
    )


@attack
async def msgpack_as_deep_as_it_is_long(house: House) -> None:
    """400 or 422."""
    depths = (33, 200, *range(880, 1001, 8), 5000, 500_000)
    await unfit(house, *(packed(b"\x81\xa1a" + b"\x91" * depth + b"\x90") for depth in depths), headers=(MSGPACK,))
    await unfit(house, *(packed(b"\x81\xa1a" * depth + NAN) for depth in (100, 500, 950)), headers=(MSGPACK,))


@attack
async def very_many_keys_one_of_them_twice(house: House) -> None:
    """422 that names the key, at once: to compare each key with each would take minutes."""
    keys = b",".join(b'"%x":0' % number for number in range(50_000))
    answer = await answered(house, post(house, task(b"{" + keys + b',"7":1}')), 422)
    assert b"/payload/7" in answer.body
    pairs = b"".join(msgspec.msgpack.encode(f"{number:x}") + b"\0" for number in range(50_000)) + b"\xa17\0"
    body = packed(b"\xdf" + struct.pack("!I", 50_001) + pairs)
    assert b"/payload/7" in (await answered(house, post(house, body, MSGPACK), 422)).body


@attack
async def very_many_fields_that_nobody_knows(house: House) -> None:
    """422 that names the first hundred."""
    answer = await answered(house, post(house, b"{" + b",".join(b'"%x":0' % one for one in range(100_000)) + b"}"), 422)
    assert len(msgspec.json.decode(answer.body)["errors"]) == 100


@attack
async def very_many_values_of_no_size(house: House) -> None:
    """422."""
    lists = b"[" + b",".join([b"[]"] * 100_000) + b"]"
    await unfit(
        house, task(lists), task(b'{"a":' + lists + b"}"), b'{"capabilities":[' + b",".join([b"1"] * 200_000) + b"]}"
    )
    await unfit(house, packed(b"\xdd\x00\x03\x0d\x40" + b"\x90" * 200_000), headers=(MSGPACK,))


@attack
async def numbers_that_nothing_can_hold(house: House) -> None:
    """400 or 422: beyond 64 bits, beyond a float, of a million digits, or none at all."""
    texts = (
        b"9" * 20,
        b"-" + b"9" * 20,
        b"9" * 4000,
        b"9" * 1_000_000,
        b"1e400",
        b"-1e999999999",
        b"NaN",
        b"Infinity",
        b"-Infinity",
    )
    await unfit(
        house, *(task(b'{"a":' + text + b"}") for text in texts), *(task(b'{"a":[' + text + b"]}") for text in texts)
    )
    odd = (b"01", b"+1", b"1.", b".1", b"0x1", b"1_000", b"--1", b"1e", "\u0661".encode())
    await unfit(house, *(task(b'{"a":' + text + b"}") for text in odd))
    infinite = (NAN, b"\xcb\x7f\xf0" + bytes(6), b"\xca\xff\x80\x00\x00")
    await unfit(house, *(packed(b"\x81\xa1a" + one) for one in infinite), headers=(MSGPACK,))


@attack
async def a_fraction_of_a_hundred_thousand_digits(house: House) -> None:
    """It is the number that it is, and no dearer than its bytes; the rest of the body is refused."""
    await answered(house, post(house, b'{"a":0.' + b"1" * 100_000 + b"}"), 422)
    await answered(house, post(house, b'{"a":' + b"0." + b"0" * 500_000 + b"1e500000}"), 400, 422)


@attack
async def json_that_is_none(house: House) -> None:
    """400."""
    texts = (
        b"",
        b" ",
        b"{",
        b'{"a"}',
        b"{'a':1}",
        b'{"a":1,}',
        b"{}{}",
        b"{}\0",
        b"\xef\xbb\xbf{}",
        b'{"a":"\n"}',
        b'{"a":"\\x41"}',
        b"nul",
    )
    await unfit(house, *texts, task(b"{}").decode().encode("utf-16"), task(b"{}").decode().encode("utf-32"))


@attack
async def json_that_is_not_utf_8(house: House) -> None:
    """400: invalid bytes, overlong forms, and halves of surrogate pairs, written out or escaped."""
    odd = (
        b"\xff",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf5\x80\x80\x80",
        b"\xe2\x82",
        b"\\ud800",
        b"\\udc00\\ud800",
        b"\\u12",
    )
    for body in (task, behind_a_whole_number):
        await unfit(
            house, *(body(b'{"a":"' + one + b'"}') for one in odd), *(body(b'{"' + one + b'":1}') for one in odd)
        )


@attack
async def msgpack_that_lies_about_its_length(house: House) -> None:
    """400: nothing is made ready for what has not come."""
    lies = (
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xffab",
        b"\xc6\xff\xff\xff\xffab",
        b"\xc9\xff\xff\xff\xff\x01",
    )
    await unfit(house, *map(packed, lies), *lies, b"\xc1", b"", packed(b"\x80") + b"\0" * 100, headers=(MSGPACK,))


@attack
async def msgpack_with_types_of_its_own(house: House) -> None:
    """400 or 422: no extension, date or bytes where JSON has none, and nothing that a hash can't be made of as a key."""
    values = (
        b"\xd4\x01\x00",
        b"\xc7\x03\x05abc",
        b"\xc9\x00\x01\x00\x00\x05" + bytes(65_536),
        b"\xd6\xff\x00\x00\x00\x01",
        b"\xd7\xff" + b"\xff" * 8,
        b"\xc7\x0c\xff" + b"\xff" * 12,
        b"\xc7\x0c\xff" + bytes(4) + b"\x7f" + b"\xff" * 7,
        b"\xc7\x03\xffabc",
        b"\xc4\x02ab",
        b"\xa1\xff",
    )
    keys = (b"\x91\x01", b"\x80", b"\x81\x01\x02", b"\x01", b"\xc0", b"\xc4\x01a", NAN, b"\xd4\x01\x00", b"\xa1\xff")
    await unfit(house, *(packed(b"\x81\xa1a" + value) for value in values), headers=(MSGPACK,))
    await unfit(house, *(packed(b"\x81" + key + b"\x01") for key in keys), headers=(MSGPACK,))


@attack
async def a_body_that_is_compressed(house: House) -> None:
    """415: nothing is unpacked, so nothing can be a bomb."""
    bomb = gzip.compress(bytes(20_000_000))
    for encoding in ("gzip", "deflate", "br", "zstd", "compress", "identity, gzip", "GZIP", "x"):
        await answered(house, post(house, bomb, f"Content-Encoding: {encoding}"), 415)


@attack
async def a_body_of_another_kind(house: House) -> None:
    """415."""
    kinds = (
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "application/xml",
        "",
        "/",
        "x" * 5000,
    )
    for kind in kinds:
        await answered(house, post(house, task(b"{}"), f"Content-Type: {kind}"), 415)


@attack
async def a_document_beyond_its_bound(house: House) -> None:
    """422: what is kept for good has a bound of its own, below that of the body."""
    await unfit(house, task(b'{"a":"' + b"x" * 100_000 + b'"}'), task(b'{"' + b"x" * 100_000 + b'":1}'))


@attack
async def bombs_in_frames(house: House) -> None:
    """Each is answered by a problem, and the socket goes on."""
    keys = b",".join(b'"%x":0' % number for number in range(50_000))
    result = b'{"type":"complete","task_id":"%s","token":1,"result":%s}'
    bombs = (
        b"[" * 100_000,
        b"{" + keys + b',"7":1}',
        b'{"type":"x","id":' + b"9" * 30 + b"}",
        b'{"type":"x","id":' + b"9" * 4000 + b"}",
        b'{"type":"x","id":1.5}',
        b'{"type":"x","id":[]}',
        b'{"type":["x"],"id":3}',
        b'{"type":"x","type":"heartbeat"}',
        result % (UNKNOWN.encode(), b'{"a":' * 900 + b"1" + b"}" * 900),
        result % (UNKNOWN.encode(), b'{"a":' + b"9" * 4000 + b"}"),
        b'{"type":"start","task_id":"%s","token":%s}' % (UNKNOWN.encode(), b"9" * 30),
        b'{"type":"bid","task_id":"x","price":1e400,"eta_seconds":1}',
    )
    answers = await told(house, *(frame(1, bomb) for bomb in bombs))
    assert [one["type"] for one in answers] == ["problem"] * len(bombs)


@attack
async def bombs_in_binary_frames(house: House) -> None:
    """Each is answered by a problem, and the socket goes on."""
    bombs = (
        b"\x81\x91\x01\x02",
        b"\x81\x80\x02",
        b"\x82\xa4type\xa1x\xa2id\xcf" + b"\xff" * 8,
        b"\x82\xa4type\xa1x\xa2id\xd3\x80" + bytes(7),
        b"\xc7\x03\x05abc",
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xa4type\xa1\xff",
        b"\x91" * 900_000,
        b"\x82\xa4type\xa9heartbeat\xa2id" + NAN,
    )
    answers = await told(house, *(frame(2, bomb) for bomb in bombs), protocol="gavel.v1.msgpack")
    assert [one["type"] for one in answers] == ["problem"] * len(bombs)


@attack
async def outputs_that_are_no_results(house: House) -> None:
    """The frame is fine, its task is unknown: a problem for each, whatever the program has written."""
    outputs = ("[" * 100_000, "{" * 100_000, "\x00", "9" * 5000, '{"a":1,"a":2}', '{"a":' * 900 + "1" + "}" * 900)
    frames = [{"type": "finish", "task_id": UNKNOWN, "token": 1, "output": output} for output in outputs]
    answers = await told(house, *(frame(1, msgspec.json.encode(one)) for one in frames))
    assert [one["type"] for one in answers] == ["problem"] * len(outputs)

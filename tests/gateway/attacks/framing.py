"""HTTP/1.1 heads and bodies that two readers could take for different requests, or that cost more to read than to send."""

from random import Random

from tests.gateway.attacks.house import House
from tests.gateway.attacks.peers import CHUNKED, CLOSE, JSON, answered, answers, post, refused, say
from tests.gateway.attacks.table import attack
from tests.gateway.raw import request

SMUGGLED = b"GET /livez HTTP/1.1\r\nHost: gavel\r\n\r\n"
TOO_MUCH = 40_000  # more than a head may have


def framed(house: House, *headers: str, body: bytes = b"{}") -> bytes:
    """A POST whose framing is what these headers say, and whose body, if it is read at all, is no task (422)."""
    return request("POST", "/v1/tasks", house.admin, JSON, CLOSE, *headers) + body


def chunked(house: House, body: bytes, *headers: str) -> bytes:
    """A POST with chunks as they are given."""
    return framed(house, CHUNKED, *headers, body=body)


def headed(line: bytes) -> bytes:
    """A request with one more line in its head."""
    return b"GET /livez HTTP/1.1\r\nHost: gavel\r\nConnection: close\r\n" + line + b"\r\n\r\n"


def asked(line: bytes) -> bytes:
    """A request by its first line."""
    return line + b"\r\nHost: gavel\r\nConnection: close\r\n\r\n"


@attack
async def a_body_with_both_a_length_and_chunks(house: House) -> None:
    """400, and the connection ends: a proxy before the node may have read another body."""
    body = b"0\r\n\r\n" + SMUGGLED
    await refused(
        house,
        400,
        framed(house, "Content-Length: 2", CHUNKED, body=body),
        framed(house, CHUNKED, f"Content-Length: {len(body)}", body=body),
    )


@attack
async def two_lengths_that_differ(house: House) -> None:
    """400, and the connection ends."""
    both = ("Content-Length: 2", "Content-Length: 40")
    await refused(
        house,
        400,
        framed(house, *both, body=b"{}" + SMUGGLED),
        framed(house, *reversed(both), body=b"{}" + SMUGGLED),
        framed(house, "Content-Length: 2, 40", body=b"{}" + SMUGGLED),
    )


@attack
async def a_length_that_is_no_number(house: House) -> None:
    """400, be it signed, in hexadecimal, with underscores, in parts, or longer than any file."""
    lengths = ("+2", "-2", "0x2", "2_0", "2 0", "2;0", "", "two", "2.0", "1e1", "9" * 21, "9" * 4000)
    await refused(house, 400, *(framed(house, f"Content-Length: {length}") for length in lengths))


@attack
async def a_length_beyond_all_bounds(house: House) -> None:
    """413 before a byte of the body was sent."""
    await refused(
        house, 413, *(framed(house, f"Content-Length: {length}", body=b"") for length in (2**31, 2**63, 10**20 - 1))
    )


@attack
async def a_transfer_encoding_that_nobody_knows(house: House) -> None:
    """501 or 400: only `chunked` alone is taken."""
    names = (
        "xchunked",
        "identity",
        "gzip",
        "gzip, chunked",
        "chunked, chunked",
        "chunked;q=1",
        '"chunked"',
        "chunked,",
    )
    for name in names:
        await answered(house, framed(house, f"Transfer-Encoding: {name}", body=b"0\r\n\r\n"), 501, 400)
    await answered(house, framed(house, CHUNKED, "Transfer-Encoding: identity", body=b"0\r\n\r\n"), 501, 400)


@attack
async def a_transfer_encoding_behind_control_characters(house: House) -> None:
    """400 or 501: no white space but blanks and tabs is taken off."""
    for odd in ("\x0b", "\x0c", "\x85", "\xa0", "\x00"):
        await answered(house, framed(house, f"Transfer-Encoding: {odd}chunked", body=b"0\r\n\r\n"), 501, 400)


@attack
async def white_space_before_the_colon(house: House) -> None:
    """400: a reader that takes it off sees another framing than one that does not."""
    for blank in (" ", "\t", "  "):
        await refused(house, 400, framed(house, f"Transfer-Encoding{blank}: chunked", "Content-Length: 2"))


@attack
async def a_header_line_that_is_none(house: House) -> None:
    """400: no colon, no name, a blank or a control character in the name."""
    lines = (b"no colon", b": no name", b"a b: c", b"a\x00b: c", b"a\x01: c", b"(a): c", b"\xe4: c", b"\x7f: c")
    await refused(house, 400, *map(headed, lines))


@attack
async def a_control_character_in_a_header(house: House) -> None:
    """400: NUL, or CR without LF, would end the header for others."""
    await refused(
        house, 400, *map(headed, (b"X: a\x00b", b"X: a\rb", b"X: a\rTransfer-Encoding: chunked", b"X: \x0b\x0cb"))
    )


@attack
async def a_head_whose_lines_end_without_cr(house: House) -> None:
    """400: others take such a line for the rest of the one before."""
    smuggling = b"POST /v1/tasks HTTP/1.1\r\nHost: gavel\r\nX: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    await refused(house, 400, smuggling, asked(b"GET /livez HTTP/1.1").replace(b"\r\n", b"\n"), headed(b"X: y\n"))


@attack
async def a_header_folded_over_two_lines(house: House) -> None:
    """It is one header for the framing too: the chunks are read as such, and nothing is left over to be a second request."""
    folded = framed(house, "Transfer-Encoding:\r\n chunked", body=b"2\r\n{}\r\n0\r\n\r\n" + SMUGGLED)
    await answered(house, folded, 422, 400)
    await refused(house, 400, b"GET /livez HTTP/1.1\r\n folded: first\r\nHost: gavel\r\n\r\n")


@attack
async def a_chunk_whose_size_is_no_number(house: House) -> None:
    """400, be it signed, with 0x, empty, or of more digits than any size has."""
    sizes = (b"zz", b"-2", b"+2", b"0x2", b" 2", b"2 2", b"", b"2_0", b"f" * 21, b"\xb2")
    await refused(house, 400, *(chunked(house, size + b"\r\n{}\r\n0\r\n\r\n") for size in sizes))


@attack
async def a_chunk_that_is_longer_than_it_says(house: House) -> None:
    """400, and what follows is no request."""
    await refused(
        house, 400, chunked(house, b"2\r\n{}0\r\n\r\n" + SMUGGLED), chunked(house, b"2\r\n{}\n0\r\n\r\n" + SMUGGLED)
    )


@attack
async def a_chunk_line_that_ends_without_cr(house: House) -> None:
    """400: in a chunk's extension a bare LF hides a chunk from others."""
    await refused(house, 400, chunked(house, b"2;\nxx\r\n{}\r\n0\r\n\r\n"), chunked(house, b"2\n{}\r\n0\r\n\r\n"))


@attack
async def extensions_of_chunks_without_end(house: House) -> None:
    """431 for one that is longer than a head may be; short ones are read over."""
    await refused(house, 431, chunked(house, b"2;x=" + b"y" * TOO_MUCH + b"\r\n{}\r\n0\r\n\r\n"))
    many = b"".join(b"1;x=" + b"y" * 8000 + b"\r\n \r\n" for _ in range(50))
    await answered(house, chunked(house, many + b"2\r\n{}\r\n0\r\n\r\n"), 422)


@attack
async def a_chunk_for_each_byte(house: House) -> None:
    """The body is read as far as the time for it goes, and others are served meanwhile."""
    await answered(house, chunked(house, b"1\r\n \r\n" * 5000 + b"2\r\n{}\r\n0\r\n\r\n"), 422, 408)


@attack
async def trailers_that_name_a_framing(house: House) -> None:
    """They mean nothing: what follows them is the next request."""
    body = b"2\r\n{}\r\n0\r\nContent-Length: 5000\r\nTransfer-Encoding: chunked\r\n\r\n"
    says = chunked(house, body).replace(b"Connection: close\r\n", b"") + asked(b"GET /livez HTTP/1.1")
    assert [one.status for one in answers(await say(house, says), "POST", "GET")] == [422, 200]


@attack
async def trailers_without_end(house: House) -> None:
    """431."""
    await refused(house, 431, chunked(house, b"0\r\n" + b"x: y\r\n" * 10_000 + b"\r\n"))


@attack
async def a_request_in_the_body_of_another(house: House) -> None:
    """It is the body, and nothing else."""
    heard = await say(house, post(house, SMUGGLED * 3))
    assert [one.status for one in answers(heard, "POST")] == [400]


@attack
async def a_body_that_is_shorter_than_it_says(house: House) -> None:
    """What comes next is its rest: one answer, and no second request."""
    says = framed(house, f"Content-Length: {2 + len(SMUGGLED)}", body=b"{}" + SMUGGLED)
    assert [one.status for one in answers(await say(house, says), "POST")] == [400]


@attack
async def chunks_in_http_1_0(house: House) -> None:
    """They are read, the answer is the last on its connection, and what follows is no request."""
    says = chunked(house, b"2\r\n{}\r\n0\r\n\r\n").replace(b"HTTP/1.1", b"HTTP/1.0") + SMUGGLED
    await answered(house, says, 422, 400)


@attack
async def a_version_that_there_is_not(house: House) -> None:
    """505, or 400 for what is no version at all."""
    for version in ("HTTP/2.0", "HTTP/3.0", "HTTP/0.9", "HTTP/1.2", "HTTP/9.9"):
        await refused(house, 505, asked(f"GET /livez {version}".encode()))
    odd = ("http/1.1", "HTTP/1,1", "HTTP/1.10", "HTTP/11", "HTTP/-1.1", "HTTP/1.1 x", "HTPT/1.1", " HTTP/1.1")
    await refused(house, 400, *(asked(f"GET /livez {version}".encode()) for version in odd))


@attack
async def a_request_of_1991(house: House) -> None:
    """400: HTTP/0.9 has no head, and its answers none."""
    await refused(house, 400, b"GET /livez\r\n\r\n", b"GET\r\n\r\n")


@attack
async def a_request_without_a_host_or_with_two(house: House) -> None:
    """400."""
    await refused(
        house,
        400,
        b"GET /livez HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    )


@attack
async def a_host_that_is_none(house: House) -> None:
    """It is not looked at: the node has one name for all."""
    for host in ("", "[", "[::1", "a b", "a@b", "a/b", "x:99999999", "\x01", "\xff", "x" * 8000):
        says = b"GET /livez HTTP/1.1\r\nConnection: close\r\nHost: " + host.encode("latin1") + b"\r\n\r\n"
        await answered(house, says, 200, 400)


@attack
async def a_target_that_is_another_servers(house: House) -> None:
    """It is answered as the node's own path, or with 404; nobody is called: the node is no proxy."""
    await answered(house, request("GET", "http://elsewhere.example/livez", CLOSE), 200)
    for target in (
        "http://elsewhere.example/nowhere",
        "ftp://elsewhere.example/livez",
        "//elsewhere.example/livez",
        "elsewhere.example:443",
        "*",
        "livez",
        "?",
    ):
        await answered(house, request("GET", target, CLOSE), 404, 400)
    await answered(house, request("OPTIONS", "*", CLOSE), 404, 405, method="OPTIONS")


@attack
async def a_target_that_names_another_host_than_the_header(house: House) -> None:
    """The target's counts, and the header's is forgotten: nobody reads two hosts. Two headers, none, or no host in the target: 400."""
    named = b"http://gavel.example/livez HTTP/1.1\r\nConnection: close\r\n"
    await answered(house, b"GET " + named + b"Host: another\r\n\r\n", 200)
    await refused(
        house, 400, *(b"GET " + named + hosts + b"\r\n" for hosts in (b"", b"Host: a\r\nHost: gavel.example\r\n"))
    )
    for authority in ("", "gavel@another", "gavel:port", "[::1", "a\\b", "a b"):
        await answered(house, request("GET", f"http://{authority}/livez", CLOSE), 400)
    smuggled = request("POST", "http://gavel/v1/tasks", house.admin, JSON, CHUNKED, "Content-Length: 2") + b"0\r\n\r\n"
    await refused(house, 400, smuggled + SMUGGLED)


@attack
async def a_tunnel_is_asked_for(house: House) -> None:
    """404 or 405, and what follows is no tunnel."""
    for target in ("elsewhere.example:443", "127.0.0.1:22", "/livez"):
        await answered(house, request("CONNECT", target, CLOSE) + b"\x16\x03\x01", 404, 405, 400, method="CONNECT")


@attack
async def a_trace_that_would_show_headers(house: House) -> None:
    """405, and no header comes back."""
    answer = await answered(house, request("TRACE", "/livez", CLOSE, "X-Secret: planted"), 405, method="TRACE")
    assert b"planted" not in answer.body


@attack
async def a_method_in_lower_case(house: House) -> None:
    """405: who forbids DELETE before the node must not have to forbid `delete`."""
    for method in ("get", "Get", "post", "delete"):
        await answered(house, request(method, "/livez", CLOSE), 405, method=method)


@attack
async def a_method_of_fifteen_thousand_letters(house: House) -> None:
    """405 while it fits in a head, 431 beyond; 400 for one that no token can be."""
    await answered(house, request("X" * 15_000, "/livez", CLOSE), 405)
    await refused(house, 431, request("X" * TOO_MUCH, "/livez"))
    await refused(
        house, 400, asked(b"GE(T /livez HTTP/1.1"), asked(b"G\xc4T /livez HTTP/1.1"), asked(b" /livez HTTP/1.1")
    )


@attack
async def a_head_beyond_the_bound(house: House) -> None:
    """431, be it one long header, ten thousand short ones, or the target."""
    await refused(
        house,
        431,
        request("GET", "/livez", "X: " + "y" * TOO_MUCH),
        request("GET", "/livez", *(f"X{number}: y" for number in range(10_000))),
        request("GET", "/" + "x" * TOO_MUCH),
        b"GET /livez HTTP/1.1\r\n" + b"x" * TOO_MUCH,
    )


@attack
async def as_many_headers_as_a_head_can_hold(house: House) -> None:
    """Served: three thousand headers cost no more than their bytes."""
    for _ in range(5):
        await answered(house, request("GET", "/livez", CLOSE, *["a:"] * 3500), 200)


@attack
async def bytes_that_are_no_http(house: House) -> None:
    """400, and the connection ends."""
    noise = Random(7).randbytes(3000)
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)
    for says in (
        noise + b"\r\n\r\n",
        hello + b"\r\n\r\n",
        bytes(5000),
        b"\xff" * 20_000,
        b"SSH-2.0-x\r\n\r\n",
        b"\r\n\r\n",
    ):
        await answered(house, says, 400, 431)


@attack
async def a_thousand_requests_at_once_on_one_connection(house: House) -> None:
    """Each is answered, in order, one after the other."""
    says = request("GET", "/livez") * 499 + request("GET", "/nowhere") + request("GET", "/livez") * 499
    heard = answers(await say(house, says + request("GET", "/livez", CLOSE)))
    assert [one.status for one in heard] == [200] * 499 + [404] + [200] * 500


@attack
async def requests_one_byte_at_a_time(house: House) -> None:
    """They are read as if they had come at once."""
    says = request("GET", "/livez") * 5 + request("GET", "/livez", CLOSE)
    assert [one.status for one in answers(await say(house, says, cut=1))] == [200] * 6


@attack
async def many_who_expect_to_be_told_to_go_on(house: House) -> None:
    """Each is told once, and answered; another expectation means nothing."""
    says = framed(house, "Expect: 100-continue", "Content-Length: 2").replace(b"Connection: close\r\n", b"")
    heard = await say(house, says * 100 + framed(house, "Expect: the impossible", "Content-Length: 2"))
    assert [one.status for one in answers(heard, *["POST"] * 101)] == [422] * 101
    assert heard.count(b"HTTP/1.1 100") <= 100


@attack
async def an_upgrade_to_what_nobody_speaks(house: House) -> None:
    """It stays HTTP/1.1."""
    for named in ("h2c", "TLS/1.0", "IRC/6.9", "websocket, h2c", "x" * 8000):
        headers = (
            "Connection: Upgrade, HTTP2-Settings, close",
            f"Upgrade: {named}",
            "HTTP2-Settings: AAMAAABkAAQAAP__",
        )
        await answered(house, request("GET", "/livez", *headers), 200)


@attack
async def a_body_of_ten_megabytes_for_nobody(house: House) -> None:
    """413 or 401 while it still comes: nobody without a key has a body read."""
    await answered(house, request("POST", "/v1/tasks", JSON, body=bytes(10_000_000)), 413)
    chunks = (b"10000\r\n" + bytes(65_536) + b"\r\n") * 150
    await answered(house, request("POST", "/v1/tasks", JSON, CHUNKED) + chunks, 401)


@attack
async def a_body_beyond_the_bound(house: House) -> None:
    """413, by its length or as soon as its chunks are too many."""
    await answered(house, post(house, bytes(3_000_000)), 413)
    await answered(house, chunked(house, (b"10000\r\n" + bytes(65_536) + b"\r\n") * 40), 413)


@attack
async def a_body_where_none_belongs(house: House) -> None:
    """It is read over, and the next request is the next request, or the connection ends before it."""
    says = (
        request("GET", "/livez", body=SMUGGLED)
        + request("DELETE", "/livez", body=SMUGGLED)
        + asked(b"GET /livez HTTP/1.1")
    )
    heard = [one.status for one in answers(await say(house, says), "GET", "DELETE", "GET")]
    assert heard in ([200, 405, 200], [200, 405], [200])


@attack
async def a_header_that_would_be_taken_off_by_a_proxy(house: House) -> None:
    """`Connection` names nothing that the node would forget: the key counts, and so does the length."""
    says = post(house, b"{}", "Connection: authorization, content-length, close")
    await answered(house, says, 422)

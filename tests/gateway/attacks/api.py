"""Requests that are well-formed and mean harm: paths, queries, headers, keys, blobs and ranges."""

from hashlib import sha256

import trio

from tests.gateway.attacks.house import House
from tests.gateway.attacks.peers import (
    CHUNKED,
    CLOSE,
    INNOCENTS,
    JSON,
    answered,
    answers,
    post,
    say,
)
from tests.gateway.attacks.table import attack
from tests.gateway.raw import read_head, request, upgrade

SECRETS = ("admin-key", "node-secret", "journal-key", "master-key", "journal.db", "sessions")
GOOD = b'{"task_type":"analysis","capabilities":["patience"]}'
MANY = 200


def get(house: House, target: str, *headers: str) -> bytes:
    """A GET of the admin."""
    return request("GET", target, house.admin, CLOSE, *headers)


async def found_nothing(house: House, *targets: str) -> None:
    """Each is answered with 404 or 422."""
    for target in targets:
        await answered(house, get(house, target), 404, 422)


@attack
async def a_way_out_of_the_folder(house: House) -> None:
    """404: no path of a request is a path of the disk, however it is written."""
    ways = (
        "../",
        "..%2f",
        "%2e%2e/",
        "%2e%2e%2f",
        "..%5c",
        "..\\",
        "%252e%252e%252f",
        "..%c0%af",
        "....//",
        "..;/",
        "/",
        "%2f",
    )
    for place in ("/console/", "/v1/blobs/", "/v1/blobs/uploads/", "/v1/tasks/", "/v1/agents/"):
        await found_nothing(house, *(f"{place}{way * 3}{SECRETS[0]}" for way in ways))
    await found_nothing(
        house, *(f"/console/../../{secret}" for secret in SECRETS), *(f"//{secret}" for secret in SECRETS)
    )


@attack
async def a_path_with_odd_bytes(house: House) -> None:
    """404: NUL, line breaks, bytes that are no UTF-8, and names that only look like those of a route."""
    odd = (
        "%00",
        "%0d%0a",
        "%ff%fe",
        "%ed%a0%80",
        "%c3%28",
        "%",
        "%zz",
        "%2",
        "%e2%80%ae",
        "'",
        '"',
        "<script>",
        "$(id)",
        "%27%20OR%201=1--",
    )
    await found_nothing(house, *(f"/v1/tasks/{name}" for name in odd), *(f"/v1/agents/{name}/bids" for name in odd))
    await found_nothing(
        house,
        "/livez/",
        "/LIVEZ",
        "/livez%00",
        "/livez;x",
        "//livez",
        "/./livez",
        "/v1//tasks",
        "/livez#x",
        "/livez%3fx",
    )


@attack
async def a_path_as_long_as_a_head_can_hold(house: House) -> None:
    """404, and the name that comes back is one line."""
    for name in ("x" * 15_000, "%00" * 5000, "/".join("x" * 7000), "%0a" * 5000):
        await answered(house, get(house, f"/v1/tasks/{name}"), 404)


@attack
async def a_header_by_way_of_a_name(house: House) -> None:
    """422 or 404: no name becomes a header line, or a line of the log."""
    for name in (
        "x\\r\\nSet-Cookie: a=b",
        "x\\nfaked",
        "\\u0000",
        "\\u001b[31m",
        "x\\r",
        "../x",
        "x/y",
        "\\u202e",
        "é",
        "x" * 5000,
        "",
        " ",
    ):
        body = b'{"name":"n","agent_type":"performance","capabilities":["patience"],"id":"%s"}' % name.encode()
        heard = await say(house, post(house, body, path="/v1/agents"))
        assert answers(heard, "POST")[0].status == 422
        assert b"\r\nSet-Cookie" not in heard
    heard = await say(house, get(house, "/v1/agents/x%0d%0aSet-Cookie:%20a=b"))
    assert answers(heard)[0].status == 404
    assert b"\r\nSet-Cookie" not in heard


@attack
async def thousands_of_parameters(house: House) -> None:
    """What is not asked for is not looked at."""
    many = "&".join(f"a{number}=1" for number in range(1500))
    for query in (
        many,
        "limit=1&" * 1500,
        "&" * 15_000,
        "=" * 15_000,
        "%26" * 5000,
        "limit=1&limit=x&limit=" + "9" * 4000,
    ):
        await answered(house, get(house, f"/v1/tasks?{query}"), 200, 422)


@attack
async def parameters_that_make_no_sense(house: House) -> None:
    """422."""
    numbers = ("-1", "0", "1e9", "9" * 30, "9" * 5000, "%00", "1.5", "0x10", "", "%D9%A1", "NaN", "1_0", "%201")
    queries = [f"/v1/tasks?limit={one}" for one in numbers] + [
        f"/v1/tasks?after={one}" for one in numbers if one not in ("0", "")
    ]
    times = (
        "0",
        "now",
        "9999-99-99",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "x" * 5000,
        "%00",
        "-0001-01-01T00:00:00Z",
        "1" * 5000,
    )
    queries += [f"/v1/log?since={one}" for one in times if one != "0"]
    for query in queries:
        await answered(house, get(house, query), 422, 200 if query.endswith("=") else 422)


@attack
async def moments_at_the_ends_of_time(house: House) -> None:
    """200 or 422: a time that no calendar of ours has is none."""
    for moment in (
        "0001-01-01T00:00:00%2b23:59",
        "9999-12-31T23:59:59-23:59",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
    ):
        for query in ("/v1/tasks?as_of=", "/v1/log?since=", "/v1/log?until="):
            await answered(house, get(house, query + moment), 200, 422)


@attack
async def keys_that_open_nothing(house: House) -> None:
    """401, be it long, malformed, of a journal that there is not, or of another scheme."""
    tokens = (
        "x" * 15_000,
        "gvl_" + "_" * 10_000,
        "gvl_" + "0" * 32 + "_" + "a" * 32,
        f"gvl_nowhere_{'0' * 32}_{'a' * 32}",
        "",
        "\xff",
    )
    schemes = ("Bearer", "bearer", "Basic", "Digest", "Negotiate", "")
    for header in (*(f"Bearer {token}" for token in tokens), *(f"{scheme} abc" for scheme in schemes), "Bearer"):
        answer = await answered(house, request("GET", "/v1/tasks", CLOSE, f"Authorization: {header}"), 401)
        assert "www-authenticate" in answer.headers


@attack
async def cookies_full_of_backslashes(house: House) -> None:
    """401 at once: to take such quotes off would cost a third of a second each."""
    bombs = (
        '"' + "\\" * 15_000 + '"',
        '"' + '\\"' * 7500 + '"',
        '"' + "\\101" * 3700 + '"',
        ";" * 15_000,
        "a=b;" * 3700,
        "\xff" * 15_000,
    )
    for bomb in bombs:
        for _ in range(5):
            await answered(house, request("GET", "/v1/tasks", CLOSE, f"Cookie: gavel-session={bomb}"), 401)


@attack
async def a_stolen_page(house: House) -> None:
    """401 or 403: a session of nobody, and pages from elsewhere."""
    for origin in ("http://elsewhere.example", "null", "", "\xff", "http://" + "x" * 5000, "http://["):
        says = request("POST", "/v1/tasks", CLOSE, JSON, "Cookie: gavel-session=x", f"Origin: {origin}", body=GOOD)
        await answered(house, says, 401, 403)


@attack
async def idempotency_keys_that_are_none(house: House) -> None:
    """400 for one that is too long, has control characters or blanks; one that is used for two bodies is refused."""
    for key in ("k" * 201, "k" * 15_000, "a b", "a\x01b", "\xff", "\t"):
        await answered(house, post(house, GOOD, f"Idempotency-Key: {key}"), 400, 202 if not key.strip() else 400)
    await answered(house, post(house, GOOD, "Idempotency-Key: one-and-the-same"), 202)
    other = GOOD.replace(b"analysis", b"planning")
    await answered(house, post(house, other, "Idempotency-Key: one-and-the-same"), 409, 422)


@attack
async def headers_that_are_taken_down(house: House) -> None:
    """What is recorded of a caller has a bound, and no header comes back as another."""
    bomb = "x" * 3500
    headers = [f"{name}: {bomb}" for name in ("User-Agent", "X-Request-ID", "X-Forwarded-For", "Traceparent")]
    await answered(house, post(house, GOOD, *headers), 202, 422)
    for value in ("\x1b[31mred", "\xff", "00-" + "0" * 32 + "-" + "0" * 16 + "-00", "ff-x", "1.2.3.4, " * 1000):
        named = [f"{name}: {value}" for name in ("User-Agent", "X-Request-ID", "X-Forwarded-For", "traceparent")]
        await answered(
            house, request("DELETE", "/v1/tasks/nothing", house.admin, CLOSE, *named[:1]), 404, 405, method="DELETE"
        )
        await answered(house, get(house, "/v1/tasks?limit=1", named[3]), 200)


@attack
async def fields_that_the_house_sets(house: House) -> None:
    """422: no body says who somebody is."""
    fields = (
        "tenant",
        "agent_id",
        "principal",
        "task_id",
        "key_id",
        "digest",
        "__class__",
        "__proto__",
        "constructor",
        "",
    )
    for name in fields:
        body = GOOD[:-1] + b',"%s":"other"}' % name.encode()
        await answered(house, post(house, body), 422)


@attack
async def a_blob_that_is_not_what_it_says(house: House) -> None:
    """422, and nothing of it is kept; 404 for a name that no blob can have."""
    put = "/v1/blobs/" + "a" * 64
    await answered(house, request("PUT", put, house.admin, CLOSE, body=bytes(100_000)), 422, method="PUT")
    await answered(
        house, request("PUT", put, house.admin, CLOSE, CHUNKED) + b"5\r\nhello\r\n0\r\n\r\n", 422, method="PUT"
    )
    for name in ("A" * 64, "a" * 63, "a" * 65, "..%2f..%2fx", "%00" * 21, "g" * 64):
        await answered(
            house, request("PUT", f"/v1/blobs/{name}", house.admin, CLOSE, body=b"x"), 404, 405, method="PUT"
        )
    await answered(house, get(house, put), 404)


@attack
async def a_blob_that_lies_about_its_length(house: House) -> None:
    """413 for more than may be; of what breaks off nothing is kept."""
    for length in (2**30 + 1, 2**62, 10**20 - 1):
        await answered(
            house, request("PUT", f"/v1/blobs/{'b' * 64}", house.admin, CLOSE, f"Content-Length: {length}"), 413
        )
    for _ in range(20):
        async with await house.connect() as stream:
            await stream.send_all(
                request("PUT", f"/v1/blobs/{'b' * 64}", house.admin, "Content-Length: 1000000") + bytes(100_000)
            )
    await answered(house, get(house, f"/v1/blobs/{'b' * 64}"), 404)


@attack
async def uploads_that_lie(house: House) -> None:
    """413, 409 or 400: lengths without end, offsets that are not there, more bytes than were announced."""
    for length, status in (
        ("9223372036854775808", 413),
        ("9" * 4000, 422),
        ("-1", 422),
        ("1.5", 422),
        ('"1"', 422),
        ("1e-3", 422),
    ):
        body = b'{"length":%s}' % length.encode()
        await answered(house, post(house, body, path="/v1/blobs/uploads"), status, 413, 422)
    begun = await answered(house, post(house, b'{"length":10}', path="/v1/blobs/uploads"), 201)
    piece = "Content-Type: application/offset+octet-stream"
    for offset in ("5", "-1", "9" * 19, "9" * 4000, "", "x", "+0", "0x0"):
        says = request(
            "PATCH", begun.headers["location"], house.admin, CLOSE, piece, f"Upload-Offset: {offset}", body=b"12345"
        )
        await answered(house, says, 400, 409, 413, method="PATCH")
    says = request("PATCH", begun.headers["location"], house.admin, CLOSE, piece, "Upload-Offset: 0", body=bytes(11))
    await answered(house, says, 400, 409, 413, 422, method="PATCH")
    await answered(house, request("DELETE", begun.headers["location"], house.admin, CLOSE), 204, 404, method="DELETE")


@attack
async def ranges_without_end(house: House) -> None:
    """What makes no sense is refused, and very many parts are no more than the whole."""
    content = b"hello"
    digest = sha256(content).hexdigest()
    await answered(
        house, request("PUT", f"/v1/blobs/{digest}", house.admin, CLOSE, body=content), 200, 201, method="PUT"
    )
    ranges = (
        "bytes=" + "0-0," * 3500 + "1-1",
        "bytes=" + "0-," * 4000 + "0-",
        "bytes=-",
        "bytes=9-1",
        "bytes=-0",
        "bytes=" + "9" * 5000 + "-",
        "bytes=0-" + "9" * 5000,
        "lines=1",
        "bytes=a-b",
        "bytes",
    )
    for one in ranges:
        await answered(house, get(house, f"/v1/blobs/{digest}", f"Range: {one}"), 200, 206, 400, 416)
    await answered(house, get(house, f"/v1/blobs/{digest}", "If-None-Match: " + 'W/"' * 4500), 200)


@attack
async def a_feed_from_nowhere(house: House) -> None:
    """422: a feed goes on after a position that there is."""
    for seen in ("-1", "9" * 30, "9" * 5000, "x", "\xff", "elsewhere:1", ":1", "1:1"):
        await answered(house, get(house, "/v1/feed", f"Last-Event-ID: {seen}"), 400, 422, 409)


@attack
async def a_feed_that_is_sent_a_body(house: House) -> None:
    """The feed ends when more comes than a body may have; that is no fault of the node."""
    says = request("GET", "/v1/feed", house.admin, CHUNKED) + (b"10000\r\n" + bytes(65_536) + b"\r\n") * 20
    assert (await say(house, says)).startswith(b"HTTP/1.1 200")


@attack
async def a_registration_by_way_of_a_websocket(house: House) -> None:
    """422 or 403 for a query that registers nobody, 404 for a name that is none."""
    queries = (
        "capabilities=" + ",".join(["ccc"] * 3000),
        "capabilities=a&agent_type[]=b",
        "capabilities=a&name=%00" + "x" * 5000,
        "capabilities=%0d%0a",
        "capabilities=a&after=x",
        "capabilities=a&tenant=other",
        "capabilities",
    )
    for query in queries:
        await answered(house, upgrade(f"/v1/agents/crook/ws?{query}", house.admin), 422, 403)
    await answered(house, upgrade("/v1/agents/cr%0d%0aook/ws?capabilities=a", house.admin), 404)


@attack
async def very_many_strangers(house: House) -> None:
    """401 for each, or 429; a minute of one address is one record, so that nobody fills the log by knocking."""
    before = await _position(house)
    says = b"".join(request("GET", f"/v1/tasks/{number}") for number in range(MANY)) + request(
        "GET", "/v1/tasks", CLOSE
    )
    assert {one.status for one in answers(await say(house, says))} <= {401, 429}
    assert await _position(house) <= before + 10


async def _position(house: House) -> int:
    return int((await answered(house, get(house, "/v1/tasks?limit=1"), 200)).headers["gavel-position"])


@attack
async def fifty_submissions_at_once(house: House) -> None:
    """Each is answered: taken, or told to come again."""
    statuses: list[int] = []

    async def one() -> None:
        statuses.append((await answered(house, post(house, GOOD), 202, 429, 503)).status)

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(one)
    assert 202 in statuses


@attack
async def feeds_for_a_quarter_of_all_places(house: House) -> None:
    """Each is told of every record, and others are served."""
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            stream = await house.connect()
            await stream.send_all(get(house, "/v1/feed").replace(b"Connection: close\r\n", b""))
            nursery.start_soon(_read_on, stream)
        for _ in range(10):
            await answered(house, post(house, GOOD), 202)
        nursery.cancel_scope.cancel()


async def _read_on(stream: trio.SocketStream) -> None:
    async with stream:
        await read_head(stream)
        while await stream.receive_some(65_536):
            pass


@attack
async def an_agent_in_the_name_of_another(house: House) -> None:
    """403 or 404: an agent's key is good for that agent alone."""
    key = house.agent("mallory")
    for method, path in (
        ("GET", f"/v1/agents/{INNOCENTS[0]}/leases"),
        ("DELETE", f"/v1/agents/{INNOCENTS[0]}"),
        ("GET", "/v1/keys"),
    ):
        await answered(house, request(method, path, key, CLOSE), 403, 404, 405, method=method)
    await answered(house, upgrade(f"/v1/agents/{INNOCENTS[0]}/ws", key), 403)

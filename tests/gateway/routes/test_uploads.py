"""Uploads in pieces over HTTP: cut and gone on with, by their tenant alone, and never more than was announced."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import trio

from aggregates.values.roles import Role
from gateway.node import Elements, open_node
from gateway.settings import GavelSettings
from runtime.clock import SystemClock
from runtime.uploads import IDLE_SECONDS, OPEN_MAX
from tests.gateway import documented
from tests.gateway.clients import GUARD_SECONDS, Client, open_client, settings_of
from tests.gateway.raw import read_all

CONTENT = bytes(range(256)) * 16_000
DIGEST = sha256(CONTENT).hexdigest()
SIZE = len(CONTENT)
UPLOADS = "/v1/blobs/uploads"
PIECE = "application/offset+octet-stream"


@asynccontextmanager
async def at(settings: GavelSettings, elements: Elements) -> AsyncIterator[Client]:
    """The admin of a node with another clock or disk than the machine's."""
    with trio.fail_after(GUARD_SECONDS):
        async with open_node(settings, elements=elements) as node, httpx2.AsyncClient(verify=False) as http:
            yield Client(node, http, node.admin_token)


async def begin(client: Client, length: int, digest: str | None = None, **headers: str) -> str:
    answer = await client.ask("POST", UPLOADS, {"length": length, "sha256": digest}, **headers)
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, "0"), answer.text
    path: str = answer.headers["location"]
    assert path == f"{UPLOADS}/{answer.json()['upload_id']}"
    return path


async def send(client: Client, path: str, offset: int | str, content: Any, kind: str = PIECE) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {client.key}", "Upload-Offset": str(offset), "Content-Type": kind}
    answer = await client.http.patch(client.node.url + path, content=content, headers=headers)
    documented.check(answer)
    return answer


def problem(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].rpartition(":")[2]


def head(client: Client, path: str, offset: int, length: int) -> bytes:
    lines = [
        f"PATCH {path} HTTP/1.1",
        "Host: h",
        f"Authorization: Bearer {client.key}",
        f"Content-Type: {PIECE}",
        f"Upload-Offset: {offset}",
        f"Content-Length: {length}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


async def until(client: Client, path: str, *, busy: bool) -> None:
    upload = client.node.uploads.find("default", path.rpartition("/")[2])
    while upload.is_busy != busy:
        await trio.lowlevel.checkpoint()


async def connect(client: Client) -> trio.SocketStream:
    host, port = client.node.url.removeprefix("http://").split(":")
    return await trio.open_tcp_stream(host, int(port))


async def test_an_upload_in_pieces_is_a_blob_like_any_other(admin: Client) -> None:
    path = await begin(admin, SIZE, DIGEST)
    half = await send(admin, path, 0, CONTENT[:1_000_000])
    assert (half.status_code, half.headers["upload-offset"], half.content) == (204, "1000000", b"")
    shown = await admin.ask("HEAD", path)
    told = [shown.headers[name] for name in ("upload-offset", "upload-length", "cache-control")]
    assert (shown.status_code, told) == (200, ["1000000", str(SIZE), "no-store"])
    whole = await send(admin, path, 1_000_000, CONTENT[1_000_000:])
    assert (whole.status_code, whole.json(), whole.headers["upload-offset"]) == (201, {"sha256": DIGEST}, str(SIZE))
    assert (await admin.ask("GET", f"/v1/blobs/{DIGEST}")).content == CONTENT
    assert (await admin.get(path))["sha256"] == DIGEST
    assert (await send(admin, await begin(admin, SIZE), 0, CONTENT)).status_code == 200
    assert await admin.get("/v1/blobs") == {"blobs": 1, "bytes": SIZE, "bytes_max": 64 << 30}


async def test_a_connection_that_is_cut_loses_nothing_that_has_arrived(admin: Client) -> None:
    path = await begin(admin, SIZE, DIGEST)
    async with await connect(admin) as stream:
        await stream.send_all(head(admin, path, 0, SIZE) + CONTENT[:1_500_000])
        await stream.send_eof()
        assert b" 400 " in await read_all(stream)
    await until(admin, path, busy=False)
    state = await admin.get(path)
    assert (state["offset"], state["length"], state["sha256"]) == (1_500_000, SIZE, None)
    assert (await send(admin, path, 1_500_000, CONTENT[1_500_000:])).json() == {"sha256": DIGEST}


async def test_a_piece_that_does_not_fit_is_told_where_it_would(admin: Client) -> None:
    path = await begin(admin, 10)
    await send(admin, path, 0, b"abcd")
    for offset in (0, 3, 5, 10):
        answer = await send(admin, path, offset, b"x")
        assert problem(answer) == (409, "upload_offset_differs"), offset
        assert answer.headers["upload-offset"] == "4"
    for text in ("", "-1", "one", "٣", "9" * 20):
        answer = await admin.http.patch(
            admin.node.url + path,
            content=b"x",
            headers=[
                (b"Authorization", f"Bearer {admin.key}".encode()),
                (b"Content-Type", PIECE.encode()),
                (b"Upload-Offset", text.encode()),
            ],
        )
        assert answer.status_code == 400, text
    refused = await send(admin, path, 4, b"x", kind="application/json")
    assert (refused.status_code, refused.headers["accept-patch"]) == (415, PIECE)
    assert (await admin.get(path))["offset"] == 4


async def _unannounced(*parts: bytes) -> AsyncGenerator[bytes, None]:
    for part in parts:
        yield part


def _parts_in(folder: Path) -> list[Path]:
    return list(folder.rglob("*.part"))


async def test_more_than_was_announced_is_refused(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path, blob_bytes_max=1000)) as admin:
        for length, status in ((1001, 413), (10**30, 422)):
            assert (await admin.ask("POST", UPLOADS, {"length": length})).status_code == status
        path = await begin(admin, 4)
        assert (await send(admin, path, 0, b"abcde")).status_code == 413
        assert (await admin.get(path))["offset"] == 0
        async with aclosing(_unannounced(b"ab", b"cde")) as parts:
            assert (await send(admin, path, 0, parts)).status_code == 413
        came_to = (await admin.get(path))["offset"]
        assert came_to < 4
        assert (await send(admin, path, came_to, b"abcd"[came_to:])).json() == {"sha256": sha256(b"abcd").hexdigest()}
    assert _parts_in(tmp_path) == []


async def test_content_of_another_digest_is_refused_and_both_are_named(admin: Client) -> None:
    path = await begin(admin, 4, DIGEST)
    answer = await send(admin, path, 0, b"this")
    assert answer.status_code == 422
    (fault,) = answer.json()["errors"]
    assert DIGEST in fault["detail"]
    assert sha256(b"this").hexdigest() in fault["detail"]
    assert (await admin.ask("GET", path)).status_code == 404
    assert (await admin.get("/v1/blobs"))["bytes"] == 0


async def test_another_tenants_upload_looks_like_none(admin: Client) -> None:
    path = await begin(admin, 4)
    stranger = await admin.with_role(Role.ADMIN, tenant="other")
    absent = await stranger.ask("GET", f"{UPLOADS}/{'0' * 32}")
    for answer in (
        await stranger.ask("GET", path),
        await send(stranger, path, 0, b"this"),
        await stranger.ask("DELETE", path),
    ):
        assert problem(answer) == problem(absent) == (404, "not_found")
    assert await stranger.get(UPLOADS) == {"uploads": []}
    assert [row["offset"] for row in (await admin.get(UPLOADS))["uploads"]] == [0]
    auditor = await admin.with_role(Role.AUDITOR)
    assert (await auditor.ask("POST", UPLOADS, {"length": 1})).status_code == 403


async def test_the_whole_length_counts_as_the_tenants_until_it_is_given_up(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path, blob_tenant_bytes_max=10)) as admin:
        path = await begin(admin, 8)
        for answer in (await admin.ask("POST", UPLOADS, {"length": 3}), await admin.upload(b"abc")):
            assert problem(answer) == (507, "blob_quota_reached")
        assert (await admin.get("/v1/blobs"))["bytes"] == 8
        assert (await admin.ask("DELETE", path)).status_code == 204
        assert (await admin.ask("GET", path)).status_code == 404
        assert (await admin.upload(b"abc")).status_code == 201


async def test_so_many_may_be_open_at_a_time(admin: Client) -> None:
    for _ in range(OPEN_MAX):
        await begin(admin, 1)
    assert problem(await admin.ask("POST", UPLOADS, {"length": 1})) == (409, "too_many_uploads")


async def test_two_at_once_at_one_upload_are_one_too_many(admin: Client) -> None:
    path = await begin(admin, 6)
    async with await connect(admin) as stream:
        await stream.send_all(head(admin, path, 0, 6) + b"abc")
        await until(admin, path, busy=True)
        assert problem(await send(admin, path, 0, b"xyz")) == (409, "upload_busy")
        assert problem(await admin.ask("DELETE", path)) == (409, "upload_busy")
        await stream.send_all(b"def")
        await stream.send_eof()
        assert b" 201 " in await read_all(stream)
    assert (await admin.get(path))["sha256"] == sha256(b"abcdef").hexdigest()


async def test_an_upload_begun_twice_under_one_key_is_one(admin: Client) -> None:
    paths = [await begin(admin, 5, Idempotency_Key="once") for _ in range(2)]
    assert paths[0] == paths[1]
    again = await admin.ask("POST", UPLOADS, {"length": 6}, Idempotency_Key="once")
    assert problem(again) == (422, "key_reused")
    assert await begin(admin, 5) != paths[0]
    assert (await admin.get("/v1/blobs"))["bytes"] == 10


async def test_a_body_that_makes_no_upload_is_told_every_fault(admin: Client) -> None:
    answer = await admin.ask("POST", UPLOADS, {"length": -1, "sha256": "A" * 64, "name": "x"})
    assert answer.status_code == 422
    assert {fault["pointer"] for fault in answer.json()["errors"]} == {"/length", "/sha256", "/name"}


async def test_a_disk_short_of_room_begins_none_and_takes_no_byte(tmp_path: Path) -> None:
    free = [1 << 30]
    now = [0.0]
    elements = Elements(SystemClock(), free_bytes=lambda folder: free[0])
    async with at(settings_of(tmp_path), elements) as admin:
        path = await begin(admin, 4)
        await send(admin, path, 0, b"ab")
        free[0] = 1000
        admin.node.room._now = lambda: trio.current_time() + now[0]
        now[0] = 10.0
        for answer in (await admin.ask("POST", UPLOADS, {"length": 3}), await send(admin, path, 2, b"cd")):
            assert problem(answer) == (507, "no_room")
        free[0], now[0] = 1 << 30, 20.0
        assert (await send(admin, path, 2, b"cd")).status_code == 201


async def test_what_gets_no_byte_for_a_day_is_collected(tmp_path: Path) -> None:
    passed = [0.0]
    elements = Elements(SystemClock(wall=lambda: 2e9, monotonic=lambda: passed[0]))
    async with at(settings_of(tmp_path), elements) as admin:
        path = await begin(admin, 4)
        state = await admin.get(path)
        assert state["expires_at"] == 2e9 + IDLE_SECONDS
        passed[0] = IDLE_SECONDS
        assert (await admin.ask("GET", path)).status_code == 404
        collected = (await admin.ask("POST", "/v1/blobs/collection")).json()
        assert (collected["uploads"], (await admin.get("/v1/blobs"))["bytes"]) == (1, 0)

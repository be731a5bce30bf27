"""Blobs over HTTP: whole or in parts, checked on the way in, and each tenant's own."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from hashlib import sha256
from pathlib import Path

import httpx2
import pytest
import trio

from aggregates.values.roles import Role
from gateway.node import open_node
from tests.gateway.clients import Client, open_client, settings_of, told
from tests.gateway.raw import read_all

CONTENT = bytes(range(256)) * 16_000
DIGEST = sha256(CONTENT).hexdigest()
BLOB = f"/v1/blobs/{DIGEST}"
OTHER = "0" * 64


async def test_a_blob_comes_back_as_it_was(admin: Client) -> None:
    assert [(await admin.upload(CONTENT)).status_code for _ in range(2)] == [201, 200]
    assert (await admin.upload(b"this", DIGEST)).status_code == 422
    answer = await admin.ask("GET", BLOB)
    assert (answer.status_code, answer.content == CONTENT) == (200, True)
    assert answer.headers["content-type"] == "application/octet-stream"
    head = await admin.ask("HEAD", BLOB)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(CONTENT)))


async def test_an_empty_blob_is_a_blob(admin: Client) -> None:
    stored = await admin.upload(b"")
    assert stored.status_code == 201
    assert (await admin.ask("GET", f"/v1/blobs/{stored.json()['sha256']}")).content == b""


async def test_a_part_is_given_where_it_is_asked_for(admin: Client) -> None:
    await admin.upload(CONTENT)
    size = len(CONTENT)
    parts = {
        "0-9": (0, 10),
        f"{size - 10}-": (size - 10, size),
        "-5": (size - 5, size),
        f"{size - 1}-{2 * size}": (size - 1, size),
    }
    for asked, (start, end) in parts.items():
        answer = await admin.ask("GET", BLOB, Range=f"bytes={asked}")
        assert (answer.status_code, answer.content) == (206, CONTENT[start:end]), asked
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"


async def test_a_part_of_another_blob_than_the_client_has_is_the_whole(admin: Client) -> None:
    await admin.upload(CONTENT)
    same = await admin.ask("GET", BLOB, Range="bytes=0-9", If_Range=f'"{DIGEST}"')
    other = await admin.ask("GET", BLOB, Range="bytes=0-9", If_Range=f'"{OTHER}"')
    assert (same.status_code, other.status_code, len(other.content)) == (206, 200, len(CONTENT))


async def test_a_range_that_names_nothing_is_a_problem(admin: Client) -> None:
    await admin.upload(CONTENT)
    beyond = {f"bytes={len(CONTENT)}-": 416, "bytes=-0": 416}
    for asked, status in {**beyond, "bytes=5-2": 400, "pages=1-2": 400, "nonsense": 400}.items():
        answer = await admin.ask("GET", BLOB, Range=asked)
        assert (answer.status_code, answer.json()["status"]) == (status, status), asked
        assert (answer.headers.get("content-range") == f"bytes */{len(CONTENT)}") == (status == 416)


async def test_what_the_client_has_is_not_sent_again(admin: Client) -> None:
    digest = (await admin.upload(b"small")).json()["sha256"]
    path = f"/v1/blobs/{digest}"
    etag = (await admin.ask("GET", path)).headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = await admin.ask("GET", path, If_None_Match=known)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag), known
    assert (await admin.ask("GET", path, If_None_Match=f'"{OTHER}"')).status_code == 200


async def test_content_of_another_digest_is_refused_and_both_are_named(admin: Client) -> None:
    answer = await admin.upload(b"this", OTHER)
    assert answer.status_code == 422
    (fault,) = answer.json()["errors"]
    assert OTHER in fault["detail"]
    assert sha256(b"this").hexdigest() in fault["detail"]
    assert (await admin.ask("GET", f"/v1/blobs/{OTHER}")).status_code == 404
    assert _files(admin) == []


def _files(client: Client) -> list[Path]:
    return [path for path in client.node.blobs.folder.rglob("*") if path.is_file()]


async def _parts(*parts: bytes) -> AsyncGenerator[bytes, None]:
    for part in parts:
        yield part


@pytest.mark.parametrize("announced", [True, False])
async def test_more_than_a_blob_may_have_is_refused(tmp_path: Path, announced: bool) -> None:
    async with open_client(settings_of(tmp_path, blob_bytes_max=1000)) as admin, aclosing(_parts(b"x" * 1001)) as parts:
        assert (await admin.upload(b"x" * 1000)).status_code == 201
        content: bytes | AsyncGenerator[bytes, None] = b"x" * 1001 if announced else parts
        headers = {"Authorization": f"Bearer {admin.key}"}
        answer = await admin.http.put(f"{admin.node.url}/v1/blobs/{OTHER}", content=content, headers=headers)
        assert (answer.status_code, answer.json()["status"]) == (413, 413)
        assert len(_files(admin)) == 2


async def test_a_client_that_leaves_half_way_leaves_nothing(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path)) as admin:
        host, port = admin.node.url.removeprefix("http://").split(":")
        head = f"PUT {BLOB} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {admin.key}\r\nContent-Length: 100\r\n\r\n"
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(head.encode() + b"x" * 10)
            await stream.send_eof()
            assert b" 400 " in await read_all(stream)
    assert _files(admin) == []  # the node has ended, and all that it did


NO_DIGESTS = [
    "A" * 64,
    "0" * 63,
    "0" * 65,
    "admin-key",
    "%2e%2e%2fadmin-key",
    "..%2f..%2fadmin-key",
    "0" * 64 + "%0a",
    "%00",
]


async def test_a_name_that_is_no_digest_is_not_found(admin: Client) -> None:
    headers = {"Authorization": f"Bearer {admin.key}"}
    for name in NO_DIGESTS:
        for method in ("GET", "PUT"):
            answer = await admin.http.request(method, f"{admin.node.url}/v1/blobs/{name}", headers=headers)
            assert (answer.status_code, answer.json()["status"]) == (404, 404), (method, name)
    assert _files(admin) == []


async def test_another_tenants_blob_looks_like_none(admin: Client) -> None:
    stranger = await admin.with_role(Role.ADMIN, tenant="other")
    absent = await stranger.ask("GET", BLOB)
    await admin.upload(CONTENT)
    foreign = await stranger.ask("GET", BLOB)
    assert (foreign.status_code, told(foreign)) == (404, told(absent))
    assert (await stranger.ask("GET", BLOB, If_None_Match=f'"{DIGEST}"')).status_code == 404
    assert (await stranger.upload(CONTENT)).status_code == 201
    assert (await stranger.ask("GET", BLOB)).status_code == 200


async def test_agents_bring_and_fetch_blobs_and_auditors_only_fetch(admin: Client) -> None:
    agent, auditor = await admin.register("a1"), await admin.with_role(Role.AUDITOR)
    assert (await agent.upload(CONTENT)).status_code == 201
    assert (await auditor.ask("GET", BLOB)).status_code == 200
    assert (await auditor.upload(b"else")).status_code == 403
    assert (await admin.http.get(admin.node.url + BLOB)).status_code == 401


async def test_a_blob_that_was_altered_on_the_disk_is_not_given_out_as_itself(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    async with open_node(settings) as node, httpx2.AsyncClient(verify=False) as http:
        admin = Client(node, http, node.admin_token)
        small = (await admin.upload(b"small")).json()["sha256"]
        await admin.upload(CONTENT)
        node.blobs.path(small).write_bytes(b"smelt")
        node.blobs.path(DIGEST).write_bytes(CONTENT[:-1] + b"y")
        for path, headers in (
            (f"/v1/blobs/{small}", {}),
            (BLOB, {"Range": "bytes=0-9"}),
            (BLOB, {"Range": "bytes=5-"}),
        ):
            answer = await admin.ask("GET", path, **headers)
            assert (answer.status_code, answer.json()["type"]) == (500, "urn:gavel:problem:blob_altered"), path
        with pytest.raises(httpx2.RemoteProtocolError):
            await admin.ask("GET", BLOB)
        assert (await admin.ask("HEAD", BLOB)).status_code == 200

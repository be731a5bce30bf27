"""Blobs of data subjects over HTTP: sealed on the disk, read as others are, and gone with their subject."""

from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from aggregates.values.roles import Role
from tests.gateway import documented
from tests.gateway.clients import Client, open_client, settings_of
from tests.gateway.raw import read_all
from tests.gateway.routes.test_uploads import connect, head, problem, send, until
from tests.runtime.keyrings import erase, forget_key, standing_in

PLANTED = b"Erika Mustermann, Heidestrasse 17"
CONTENT = Random(3).randbytes(150_000) + PLANTED * 2000
DIGEST = sha256(CONTENT).hexdigest()
SIZE = len(CONTENT)
BLOB = f"/v1/blobs/{DIGEST}"
UPLOADS = "/v1/blobs/uploads"


async def bring(client: Client, subject: str | None = "erika", content: bytes = CONTENT) -> int:
    asked = {} if subject is None else {"data_subject": subject}
    url, headers = (
        client.node.url + f"/v1/blobs/{sha256(content).hexdigest()}",
        {"Authorization": f"Bearer {client.key}"},
    )
    answer = await client.http.put(url, content=content, headers=headers, params=asked)
    documented.check(answer)
    return answer.status_code


async def begin(client: Client, **body: Any) -> str:
    answer = await client.ask("POST", UPLOADS, {"length": SIZE, "data_subject": "erika"} | body)
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


@pytest.mark.parametrize("at_rest", [False, True])
async def test_a_sealed_blob_is_read_as_any_other_whole_and_in_parts(tmp_path: Path, at_rest: bool) -> None:
    async with open_client(settings_of(tmp_path, encrypt_at_rest=at_rest)) as admin:
        subject = None if at_rest else "erika"
        assert [await bring(admin, subject) for _ in range(2)] == [201, 200]
        answer = await admin.ask("GET", BLOB)
        assert (answer.status_code, answer.content == CONTENT) == (200, True)
        asked = await admin.ask("HEAD", BLOB)
        assert (asked.status_code, asked.headers["content-length"], asked.headers["etag"]) == (
            200,
            str(SIZE),
            f'"{DIGEST}"',
        )
        for wanted, start, end in (("0-9", 0, 10), ("65530-131080", 65530, 131081), ("-5", SIZE - 5, SIZE)):
            part = await admin.ask("GET", BLOB, Range=f"bytes={wanted}")
            assert (part.status_code, part.content == CONTENT[start:end]) == (206, True), wanted
            assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{SIZE}"
        ranges = {"Authorization": f"Bearer {admin.key}", "Range": "bytes=0-9,65530-65540"}
        several = await admin.http.get(admin.node.url + BLOB, headers=ranges)
        assert (several.status_code, CONTENT[65530:65541] in several.content) == (206, True)
        assert (await admin.ask("GET", BLOB, Range=f"bytes={SIZE}-")).status_code == 416
        assert (await admin.ask("GET", BLOB, If_None_Match=f'"{DIGEST}"')).status_code == 304
        assert (await admin.get("/v1/blobs"))["bytes"] == SIZE
        assert await bring(admin, subject, b"") == 201
        assert standing_in(admin.node.blobs.folder, PLANTED) == []


async def test_an_erased_blob_is_gone_for_whoever_knew_it_and_absent_for_others(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path)) as admin:
        stranger = await admin.with_role(Role.ADMIN, tenant="other")
        assert await bring(admin) == 201
        assert (await stranger.ask("GET", BLOB)).status_code == 404
        blobs = admin.node.blobs
        assert blobs.keyring is not None
        forget_key(blobs.keyring, "default", "erika")
        for headers in ({}, {"Range": "bytes=0-9"}, {"If-None-Match": f'"{DIGEST}"'}):
            assert problem(await admin.ask("GET", BLOB, **headers)) == (410, "blob_erased")
        assert (await admin.ask("HEAD", BLOB)).status_code == 410
        assert (await stranger.ask("GET", BLOB)).status_code == 404
        assert await trio.to_thread.run_sync(erase, blobs, "default", "erika") == 1
        assert (await admin.ask("GET", BLOB)).status_code == 404
        assert await admin.get("/v1/blobs") == {"blobs": 0, "bytes": 0, "bytes_max": blobs.tenant_bytes_max}
        assert [path for path in blobs.folder.rglob("*") if path.is_file()] == []


async def test_nobody_learns_who_else_has_the_same_content_and_each_keeps_its_own(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path)) as admin:
        stranger = await admin.with_role(Role.ADMIN, tenant="other")
        for client, subject in ((admin, "erika"), (admin, "max"), (admin, None), (stranger, "erika")):
            assert [await bring(client, subject) for _ in range(2)] == [201, 200]
        await trio.to_thread.run_sync(erase, admin.node.blobs, "default", "erika")
        assert [(await client.ask("GET", BLOB)).status_code for client in (admin, stranger)] == [200, 200]
        assert (await stranger.get("/v1/blobs"))["bytes"] == SIZE


async def test_a_half_upload_of_a_subject_stands_nowhere_in_the_clear_and_goes_with_it(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path)) as admin:
        node, path = admin.node, await begin(admin, sha256=DIGEST)
        assert (await send(admin, path, 0, CONTENT[:200_000])).headers["upload-offset"] == "200000"
        async with await connect(admin) as stream:
            await stream.send_all(head(admin, path, 200_000, SIZE - 200_000) + CONTENT[200_000:205_000])
            await stream.send_eof()
            assert b" 400 " in await read_all(stream)
        await until(admin, path, busy=False)
        assert standing_in(node.blobs.folder, PLANTED) == []
        come_to = int((await admin.ask("GET", path)).headers["upload-offset"])
        assert come_to == 205_000
        assert (await send(admin, path, come_to, CONTENT[come_to:])).status_code == 201
        assert (await admin.ask("GET", BLOB)).content == CONTENT
        assert standing_in(node.blobs.folder, PLANTED) == []
        other = await begin(admin)
        await trio.to_thread.run_sync(erase, node.blobs, "default", "erika")
        assert await node.uploads.erase("default", "erika") == 2
        assert [(await admin.ask("GET", one)).status_code for one in (path, other, BLOB)] == [404, 404, 404]
        assert (await admin.get("/v1/blobs"))["bytes"] == 0


async def test_what_arrives_while_its_subject_is_erased_is_refused(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path)) as admin:
        path, blobs = await begin(admin), admin.node.blobs
        assert blobs.keyring is not None
        forget_key(blobs.keyring, "default", "erika")
        assert problem(await send(admin, path, 0, CONTENT)) == (410, "blob_erased")
        assert (await admin.ask("GET", path)).status_code == 404


async def test_where_no_key_can_be_made_nothing_is_taken(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path)) as admin:
        assert admin.node.blobs.keyring is not None
        admin.node.blobs.keyring.close()
        assert await bring(admin) == 507
        assert (await admin.ask("POST", UPLOADS, {"length": 1, "data_subject": "erika"})).status_code == 507
        assert [path for path in admin.node.blobs.folder.rglob("*") if path.is_file()] == []


async def test_an_altered_sealed_blob_is_not_given_out_as_itself(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path)) as admin:
        for content in (CONTENT, b"small"):
            await bring(admin, content=content)
            digest = sha256(content).hexdigest()
            path = admin.node.blobs.path_of(admin.node.blobs.find("default", digest))
            stored = bytearray(path.read_bytes())
            stored[100] ^= 1
            path.write_bytes(stored)
            for headers in ({}, {"Range": "bytes=1-2"}):
                answer = await admin.ask("GET", f"/v1/blobs/{digest}", **headers)
                assert problem(answer) == (500, "blob_altered")


async def test_collection_keeps_what_a_record_names_and_takes_the_rest(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path, blob_grace_seconds=0.0)) as admin:
        triangle = b"3 2\n1 2 1\n2 3 1\n"
        for subject, content in (("erika", triangle), ("erika", CONTENT), ("max", CONTENT)):
            assert await bring(admin, subject, content) == 201
        body = {"name": "triangle", "blob": sha256(triangle).hexdigest()}
        assert (await admin.ask("POST", "/v1/problems", body)).status_code == 201
        found = (await admin.ask("POST", "/v1/blobs/collection")).json()
        assert (found["blobs"], found["bytes"], found["kept"]) == ([DIGEST], 2 * SIZE, 1)
        assert await admin.get("/v1/blobs") | {"bytes_max": 0} == {"blobs": 1, "bytes": len(triangle), "bytes_max": 0}


@pytest.mark.parametrize("subject", ["", "x" * 201])
async def test_a_subject_without_a_name_or_with_too_long_a_one_is_refused(tmp_path: Path, subject: str) -> None:
    async with open_client(settings_of(tmp_path)) as admin:
        assert await bring(admin, subject) == 422
        assert (await admin.ask("POST", UPLOADS, {"length": 1, "data_subject": subject})).status_code == 422

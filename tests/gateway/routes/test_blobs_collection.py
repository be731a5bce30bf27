"""Blobs that nothing refers to are listed and collected; what a record names, and what was used a moment ago, stays."""

from hashlib import sha256
from pathlib import Path
from typing import Any

from aggregates.values.roles import Role
from tests.gateway.clients import Client, open_client, settings_of
from tests.gateway.routes.test_solves import TRIANGLE, problem_of

TOLD = b"named in a text"
COLLECTION = "/v1/blobs/collection"


def name(content: bytes) -> str:
    return sha256(content).hexdigest()


async def collect(client: Client, **query: str) -> Any:
    asked = "&".join(f"{key}={value}" for key, value in query.items())
    answer = await client.ask("POST", f"{COLLECTION}?{asked}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_what_no_record_names_is_listed_and_then_collected(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path, blob_grace_seconds=0.0)) as admin:
        await problem_of(admin)
        for content in (b"in a payload", TOLD, b"loose", b"loose too"):
            await admin.upload(content)
        await admin.submit(payload={"parts": [{"blob": name(b"in a payload")}]})
        await admin.submit(payload={"note": f"see sha256:{name(TOLD)}."})
        loose = sorted(map(name, (b"loose", b"loose too")))
        listed = await collect(admin, dry_run="true")
        assert (listed["blobs"], listed["bytes"], listed["kept"], listed["is_dry_run"]) == (loose, 14, 3, True)
        assert (await admin.get("/v1/blobs"))["blobs"] == 5
        collected = await collect(admin)
        assert (collected["blobs"], collected["is_dry_run"]) == (loose, False)
        assert [(await admin.ask("GET", f"/v1/blobs/{digest}")).status_code for digest in loose] == [404, 404]
        assert (await admin.ask("GET", f"/v1/blobs/{name(TRIANGLE)}")).content == TRIANGLE
        usage = await admin.get("/v1/blobs")
        kept = sum(map(len, (TRIANGLE, b"in a payload", TOLD)))
        assert (usage["blobs"], usage["bytes"]) == (3, kept)
        assert (await collect(admin))["blobs"] == []


async def test_what_was_brought_or_used_a_moment_ago_stays(admin: Client) -> None:
    await admin.upload(b"loose")
    assert (await collect(admin))["kept"] == 1
    assert (await admin.ask("GET", f"/v1/blobs/{name(b'loose')}")).status_code == 200


async def test_a_record_of_another_tenant_keeps_no_blob(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path, blob_grace_seconds=0.0)) as admin:
        stranger = await admin.with_role(Role.ADMIN, tenant="other")
        for client in (admin, stranger):
            await client.upload(TRIANGLE)
        await problem_of(stranger)
        assert (await collect(admin))["blobs"] == [name(TRIANGLE)]
        assert (await collect(stranger))["blobs"] == []
        assert (await stranger.ask("GET", f"/v1/blobs/{name(TRIANGLE)}")).content == TRIANGLE


async def test_more_than_a_tenant_may_have_is_refused_with_what_it_has(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path, blob_tenant_bytes_max=10)) as admin:
        assert (await admin.upload(b"12345678")).status_code == 201
        refused = await admin.upload(b"abc")
        assert (refused.status_code, refused.json()["type"]) == (507, "urn:gavel:problem:blob_quota_reached")
        assert "have 8 bytes, and may have 10 together" in refused.json()["detail"]
        assert await admin.get("/v1/blobs") == {"blobs": 1, "bytes": 8, "bytes_max": 10}
        stranger = await admin.with_role(Role.ADMIN, tenant="other")
        assert (await stranger.upload(b"abc")).status_code == 201


async def test_only_operators_collect(admin: Client) -> None:
    for role, status in ((Role.OPERATOR, 200), (Role.AUDITOR, 403), (Role.AGENT, 403)):
        client = await admin.with_role(role)
        assert (await client.ask("POST", COLLECTION)).status_code == status

"""What the node itself does is done once under a key, as what actors decide is: answered as before, and not on record again."""

from typing import Any

import httpx2
import pytest
import trio
import trio.testing

from gateway.api import kept
from tests.gateway.clients import Client

KEY = "only-once"
WEBHOOK = {"url": "https://webhook.invalid/", "kinds": ["task"]}


async def begun(admin: Client) -> int:
    """How many actions are on record."""
    records = await admin.node.system.journal.read(0)
    return sum(record.kind == "action.ActionBegun" for record in records)


async def test_whatever_the_node_does_under_a_key_is_answered_again_and_done_once(admin: Client) -> None:
    hook = (await admin.ask("POST", "/v1/webhooks", WEBHOOK)).json()["webhook_id"]
    asked: tuple[tuple[str, Any, int], ...] = (
        ("/session", None, 201),
        (f"/v1/webhooks/{hook}/test", None, 200),
        ("/v1/projections/rebuild", {"projections": ["bids"]}, 202),
        ("/v1/blobs/collection?dry_run=true", None, 200),
        ("/v1/audit/actions", {"action": "backup", "subject": "all records"}, 201),
    )
    for path, body, status in asked:
        first = await admin.ask("POST", path, body, Idempotency_Key=KEY)
        before = await begun(admin)
        again = await admin.ask("POST", path, body, Idempotency_Key=KEY)
        assert (again.status_code, again.content) == (first.status_code, first.content), path
        assert (first.status_code, await begun(admin)) == (status, before), path
        for name in ("gavel-position", "location"):
            assert again.headers.get(name) == first.headers.get(name)
    differs = await admin.ask("POST", "/v1/projections/rebuild", {"projections": ["keys"]}, Idempotency_Key=KEY)
    assert (differs.status_code, differs.json()["type"]) == (422, "urn:gavel:problem:key_reused")
    other = await admin.ask("POST", "/session", Idempotency_Key="another")
    assert other.json()["path"] != (await admin.ask("POST", "/session", Idempotency_Key=KEY)).json()["path"]


async def test_who_asks_again_while_the_first_is_under_way_waits_for_it(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = (await admin.ask("POST", "/v1/webhooks", WEBHOOK)).json()["webhook_id"]
    tests, node, reached, going = 0, admin.node, trio.Event(), trio.Event()
    test = node.webhooks.test

    async def slow(*arguments: Any) -> Any:
        nonlocal tests
        tests += 1
        reached.set()
        await going.wait()
        return await test(*arguments)

    monkeypatch.setattr(node.webhooks, "test", slow)
    told: list[Any] = []

    async def ask() -> None:
        async with httpx2.AsyncClient() as http:
            client = Client(node, http, admin.key)
            told.append((await client.ask("POST", f"/v1/webhooks/{hook}/test", Idempotency_Key=KEY)).json())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await reached.wait()
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked(0.02)
        going.set()
    assert (tests, told[0]) == (1, told[1])


async def test_what_was_refused_is_tried_again_and_only_so_many_are_kept(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "KEPT_MAX", 1)
    path = "/v1/projections/bids/retry"
    for _ in range(2):
        assert (await admin.ask("POST", path, Idempotency_Key=KEY)).status_code == 409
    first = await admin.ask("POST", "/session", Idempotency_Key="a")
    await admin.ask("POST", "/session", Idempotency_Key="b")
    assert (await admin.ask("POST", "/session", Idempotency_Key="a")).json() != first.json()

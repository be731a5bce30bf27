"""Pages of the log: all of it, of one stream, with what was decided; and nothing of other tenants."""

from typing import Any

from aggregates.values.roles import Role
from tests.gateway.clients import BID, Client, recorded


async def paged(client: Client, query: str = "", limit: int = 2) -> list[dict[str, Any]]:
    """All records, page by page, as `next` leads."""
    records: list[dict[str, Any]] = []
    after, reached = -1, 0
    while reached > after:
        after = reached
        page = await client.get(f"/v1/log?after={after}&limit={limit}{query}")
        assert len(page["records"]) <= limit
        records += page["records"]
        reached = page["next"]
    return records


async def award(admin: Client) -> str:
    agent = await admin.register("a1")
    task_id = await admin.submit()
    await recorded(admin, "task.BookOpened")
    await agent.ask("POST", f"/v1/tasks/{task_id}/bids", BID)
    await recorded(admin, "task.TaskAwarded")
    return task_id


async def test_pages_lead_through_the_whole_log(admin: Client) -> None:
    await award(admin)
    stored = admin.node.store.read(0, 1000)
    for limit in (1, 2, 500):
        records = await paged(admin, limit=limit)
        assert [record["position"] for record in records] == [record.position for record in stored]
        assert [record["kind"] for record in records] == [record.kind for record in stored]


async def test_a_stream_is_paged_too(admin: Client) -> None:
    stream = f"task-{await award(admin)}"
    records = await paged(admin, f"&stream={stream}")
    assert [record["version"] for record in records] == list(range(1, len(records) + 1))
    assert {record["stream"] for record in records} == {stream}
    assert len(records) == len(admin.node.store.read_stream(stream)) > 3


async def test_a_command_is_told_in_full_with_its_first_event_where_it_is_asked_for(admin: Client) -> None:
    await award(admin)
    for record in await paged(admin, "&commands=true"):
        assert ("decided" in record) == (record["command"] is not None)
    assert any(record["command"] for record in await paged(admin))
    assert all("decided" not in record for record in await paged(admin, "&commands=false"))


SENSELESS = [
    ("after=-1", "after"),
    ("after=now", "after"),
    (f"after={2**63}", "after"),
    ("limit=0", "limit"),
    ("limit=501", "limit"),
    ("limit=", "limit"),
    ("commands=yes", "commands"),
    ("stream=" + "x" * 301, "stream"),
]


async def test_a_query_that_makes_no_sense_is_named(admin: Client) -> None:
    for query, named in SENSELESS:
        answer = await admin.ask("GET", f"/v1/log?{query}")
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:gavel:problem:query_invalid"), query
        assert answer.json()["detail"].startswith(f"{named} must be ")


async def test_past_the_end_there_is_nothing_yet(admin: Client) -> None:
    for query in ("", "&stream=task-none"):
        for after in (10**6, 2**63 - 1):
            page = await admin.get(f"/v1/log?after={after}{query}")
            assert (page["records"], page["next"]) == ([], after)


async def test_a_tenant_sees_its_own_records_alone(admin: Client) -> None:
    task_id = await award(admin)
    stranger = await admin.with_role(Role.ADMIN, tenant="other")
    assert {record["kind"] for record in await paged(stranger)} == {"key.KeyIssued"}
    foreign = await stranger.ask("GET", f"/v1/log?stream=task-{task_id}")
    absent = await stranger.ask("GET", "/v1/log?stream=task-none")
    assert foreign.text == absent.text


async def test_every_role_may_read_it_and_nobody_without_a_key(admin: Client) -> None:
    agent = await admin.register("a1")
    for client in (agent, await admin.with_role(Role.AUDITOR), await admin.with_role(Role.AGENT)):
        assert (await client.ask("GET", "/v1/log")).status_code == 200
    for headers in ({}, {"Authorization": "Bearer gvl_x"}, {"Authorization": "Basic YTpi"}):
        answer = await admin.http.get(f"{admin.node.url}/v1/log", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")

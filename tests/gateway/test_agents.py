"""Agents over HTTP: registering once, twice and again; changing, draining, leaving; other agents' and tenants' business."""

from pathlib import Path

import pytest

from aggregates.values.roles import Role
from tests.gateway.clients import AGENT, Client, open_client, settings_of, told


async def test_a_registration_is_answered_with_the_agents_own_key(admin: Client) -> None:
    enroller = await admin.with_role(Role.AGENT)
    answer = await enroller.ask("POST", "/v1/agents", AGENT)
    assert answer.status_code == 201
    made = answer.json()
    assert answer.headers["location"] == f"/v1/agents/{made['agent_id']}"
    assert made["ws"] == f"/v1/agents/{made['agent_id']}/ws"
    own = Client(admin.node, admin.http, made["key"])
    row = await own.get(f"/v1/agents/{made['agent_id']}")
    assert (row["status"], row["capabilities"], row["generation"]) == ("active", ["cutting"], 1)
    assert (await own.ask("POST", f"/v1/agents/{made['agent_id']}/heartbeat")).json()["lease_seconds"] == 120


async def test_a_second_registration_under_the_same_id_is_refused(admin: Client) -> None:
    await admin.register("a1")
    answer = await admin.ask("POST", "/v1/agents", AGENT | {"id": "a1"})
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:gavel:problem:agent_exists")


async def test_a_retried_registration_gets_the_same_key_and_records_nothing(admin: Client) -> None:
    first = await admin.ask("POST", "/v1/agents", AGENT, Idempotency_Key="once")
    position = admin.node.system.journal.position
    again = await admin.ask("POST", "/v1/agents", AGENT, Idempotency_Key="once")
    assert first.json() == again.json()
    assert again.status_code == 201
    assert admin.node.system.journal.position == position
    other = await admin.ask("POST", "/v1/agents", AGENT | {"name": "Other"}, Idempotency_Key="once")
    assert (other.status_code, other.json()["type"]) == (422, "urn:gavel:problem:key_reused")


async def test_the_same_idempotency_key_of_another_caller_is_another_key(admin: Client) -> None:
    enroller = await admin.with_role(Role.AGENT)
    first = await admin.ask("POST", "/v1/agents", AGENT, Idempotency_Key="once")
    second = await enroller.ask("POST", "/v1/agents", AGENT, Idempotency_Key="once")
    assert first.json()["agent_id"] != second.json()["agent_id"]


async def test_a_body_is_told_all_its_faults_and_house_fields_are_nobodys(admin: Client) -> None:
    body = {"id": "a 1", "name": "", "agent_type": "cook", "key_id": "k", "lease_seconds": 9, "tenant": "t", "at": 0}
    answer = await admin.ask("POST", "/v1/agents", body)
    assert answer.status_code == 422
    pointers = {fault["pointer"] for fault in answer.json()["errors"]}
    house = {"/key_id", "/lease_seconds", "/tenant", "/at"}
    assert pointers == {"/id", "/name", "/agent_type", "/capabilities"} | house
    assert {f["detail"] for f in answer.json()["errors"] if f["pointer"] in house} == {"is set by the house"}


async def test_an_agent_changes_itself_but_no_other(admin: Client) -> None:
    agent = await admin.register("a1")
    await admin.register("a2")
    assert (await agent.ask("PATCH", "/v1/agents/a1", {"price": 5.0})).status_code == 200
    assert (await agent.get("/v1/agents/a1"))["price"] == 5.0
    assert (await agent.get("/v1/agents/a2"))["agent_id"] == "a2"
    for method, path in (("PATCH", ""), ("DELETE", ""), ("POST", "/drain"), ("POST", "/heartbeat")):
        assert (await agent.ask(method, f"/v1/agents/a2{path}", {})).status_code == 403


async def test_draining_and_leaving(admin: Client) -> None:
    agent = await admin.register("a1")
    assert (await agent.ask("POST", "/v1/agents/a1/drain")).status_code == 200
    assert (await admin.get("/v1/agents/a1"))["status"] == "draining"
    assert (await agent.ask("DELETE", "/v1/agents/a1?reason=done")).status_code == 200
    assert (await admin.get("/v1/agents/a1"))["status"] == "deregistered"
    assert (await agent.ask("GET", "/v1/agents/a1")).status_code == 401
    again = await admin.ask("POST", "/v1/agents", AGENT | {"id": "a1"})
    assert again.json()["generation"] == 2


@pytest.mark.parametrize("method,path", [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/drain")])
async def test_a_foreign_agent_and_an_absent_one_look_alike(admin: Client, method: str, path: str) -> None:
    await admin.register("a1")
    stranger = await admin.with_role(Role.ADMIN, tenant="other")
    foreign = await stranger.ask(method, f"/v1/agents/a1{path}", {})
    absent = await stranger.ask(method, f"/v1/agents/a9{path}", {})
    assert foreign.status_code == absent.status_code == 404
    assert told(foreign).replace("a1", "a9") == told(absent)


async def test_two_tenants_may_choose_the_same_agent_id(admin: Client) -> None:
    await admin.register("a1")
    stranger = await admin.with_role(Role.ADMIN, tenant="other")
    await stranger.register("a1")
    assert len((await stranger.get("/v1/agents"))["agents"]) == 1


async def test_lists_come_in_pages(admin: Client) -> None:
    for number in range(5):
        await admin.register(f"a{number}")
    seen: list[str] = []
    page = await admin.get("/v1/agents?limit=2")
    while True:
        seen += [row["agent_id"] for row in page["agents"]]
        if page["next"] is None:
            break
        page = await admin.get(f"/v1/agents?limit=2&after={page['next']}")
    assert seen == ["a4", "a3", "a2", "a1", "a0"]
    assert (await admin.get("/v1/agents?status=lost"))["agents"] == []


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "after=-1", "status=asleep", "after_position=x"])
async def test_a_query_that_makes_no_sense_is_refused(admin: Client, query: str) -> None:
    answer = await admin.ask("GET", f"/v1/agents?{query}")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:gavel:problem:query_invalid")


async def test_a_wrong_method_is_told_the_right_ones(admin: Client) -> None:
    answer = await admin.ask("PUT", "/v1/agents/a1")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"DELETE", "GET", "HEAD", "PATCH"}


@pytest.mark.parametrize("agent_id", ["house-solver", "house-x"])
async def test_the_houses_ids_are_not_given_away(admin: Client, agent_id: str) -> None:
    answer = await admin.ask("POST", "/v1/agents", AGENT | {"id": agent_id})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:gavel:problem:agent_id_reserved")


async def test_an_agent_that_says_more_units_than_any_task_takes_hears_so_with_all_else_that_is_wrong(
    admin: Client,
) -> None:
    answer = await admin.ask("POST", "/v1/agents", AGENT | {"max_capacity": 1e300, "prices": {"sewing": 1.0}})
    assert answer.status_code == 422
    assert {(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]} == {
        ("/max_capacity", "capacity_too_large"),
        ("/prices", "prices_unlisted"),
    }
    agent = await admin.register("a1", max_capacity=1e9)
    answer = await agent.ask("PATCH", "/v1/agents/a1", {"max_capacity": 2e9})
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (422, "capacity_too_large")
    assert (await admin.get("/v1/agents/a1"))["max_capacity"] == 1e9


async def test_an_agent_has_the_lease_that_it_asks_for_within_what_the_operator_allows(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path, lease_seconds_max=30.0)) as admin:
        agent = await admin.register("a1", heartbeat_timeout=7.5, region="eu")
        assert (await agent.ask("POST", "/v1/agents/a1/heartbeat")).json()["lease_seconds"] == 7.5
        row = await admin.get("/v1/agents/a1")
        assert (row["lease_seconds"], row["region"]) == (7.5, "eu")
        wanted = {"name": "a2", "agent_type": "operations", "capabilities": ["x"], "heartbeat_timeout": 31}
        answer = await admin.ask("POST", "/v1/agents", wanted)
        assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (422, "heartbeat_timeout_unfit")

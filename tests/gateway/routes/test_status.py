"""The node at a glance, for people, and the same in numbers for Prometheus."""

from aggregates.values.roles import Role
from tests.gateway.clients import Client
from tests.gateway.prometheus import parsed


async def test_what_stands_where(admin: Client) -> None:
    await admin.register("a1")
    task_id = await admin.submit()
    await admin.get(f"/v1/tasks/{task_id}")
    status = await admin.get("/v1/status")
    assert (status["ready"], status["faults"], status["commit_failures"]) == (True, [], 0)
    assert status["agents"] == {"active": 1}
    assert sum(status["tasks"].values()) == 1
    assert status["checkpoint"]["size"] == status["position"] == admin.node.system.journal.position
    assert {one["name"].partition("/")[0] for one in status["projections"]} >= {"agents", "tasks", "audit"}
    assert {row["path"] for row in status["actors"]} >= {"coordinator/default", "security/node"}
    assert {kind["kind"] for kind in status["kinds"]} >= {"coordinator", "security", "solver"}
    assert status["actors_more"] == 0


async def test_actors_are_for_watchers_and_other_tenants_for_nobody(admin: Client) -> None:
    await admin.submit()
    stranger = await admin.with_role(Role.OPERATOR, tenant="other")
    await stranger.submit(capabilities=[])
    assert {row["key"] for row in (await admin.get("/v1/status"))["actors"]} == {"default", "node"}
    assert {row["key"] for row in (await stranger.get("/v1/status"))["actors"]} == {"other", "node"}
    assert sum((await stranger.get("/v1/status"))["tasks"].values()) == 1
    for client in (await admin.with_role(Role.AGENT), await admin.register("a1")):
        seen = await client.get("/v1/status")
        assert (seen["actors"], seen["actors_more"], seen["kinds"]) == ([], 0, [])
        assert (await client.ask("GET", "/metrics")).status_code == 403


async def test_a_long_list_of_actors_is_cut(admin: Client) -> None:
    every = (await admin.get("/v1/status"))["actors"]
    status = await admin.get("/v1/status?actors=1")
    assert [row["path"] for row in status["actors"]] == [every[0]["path"]]
    assert status["actors_more"] == len(every) - 1
    assert (await admin.ask("GET", "/v1/status?actors=-1")).status_code == 422


async def test_a_fault_is_shown_everywhere(admin: Client) -> None:
    await admin.get("/v1/agents")  # the read models have caught up, and will not say otherwise
    admin.node.projector.trouble = "no space left on device"
    status = await admin.get("/v1/status")
    assert (status["ready"], "no space left" in status["faults"][0]) == (False, True)
    ready = await admin.ask("GET", "/readyz")
    assert (ready.status_code, "no space left" in ready.json()["detail"]) == (503, True)
    assert parsed((await admin.ask("GET", "/metrics")).text)["gavel_ready"] == 0
    admin.node.projector.trouble = ""
    assert (await admin.ask("GET", "/readyz")).status_code == 200


async def test_prometheus_can_read_the_numbers(admin: Client) -> None:
    await admin.submit()
    watcher = await admin.with_role(Role.AUDITOR)
    answer = await watcher.ask("GET", "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    values = parsed(answer.text)
    assert values["gavel_journal_position"] == admin.node.system.journal.position
    assert values["gavel_ready"] == 1
    assert values["gavel_actor_handled_total coordinator"] > 0
    assert values["gavel_actor_handler_seconds_count coordinator"] == values["gavel_actor_handled_total coordinator"]
    assert values["gavel_actor_count security"] == 1
    assert values["gavel_messages_total"] > 0
    assert values["gavel_dispatcher_tasks"] >= 1
    assert (await admin.http.get(f"{admin.node.url}/metrics")).status_code == 401

"""Queues over HTTP: what stands in each, who may pause one, and what its tasks say meanwhile."""

from aggregates.values.roles import Role
from tests.gateway.clients import Client, recorded


async def test_a_paused_queue_says_since_when_by_whom_and_why_and_so_do_its_tasks(admin: Client) -> None:
    await admin.register("ann", slots=2)
    operator = await admin.with_role(Role.OPERATOR)
    answer = await operator.ask("POST", "/v1/queues/reports/pause", {"reason": "no ink"})
    assert answer.status_code == 200
    paused = answer.json()
    assert paused["paused_by"].startswith("operator:")
    task_id, other = await admin.submit(queue="reports"), await admin.submit()
    await recorded(admin, "task.BookOpened", f"task-{other}")
    told = await admin.get("/v1/queues")
    assert told["left_out"] == 0
    assert [(one["name"], one["waiting"], one["bidding"], one["paused"]) for one in told["queues"]] == [
        ("analysis", 0, 1, False),
        ("reports", 1, 0, True),
    ]
    assert told["queues"][1] == paused | {"waiting": 1}
    assert [one["task_id"] for one in (await admin.get("/v1/tasks?queue=reports"))["tasks"]] == [task_id]
    assert (await admin.get(f"/v1/tasks/{other}"))["queue"] == "analysis"
    told = await admin.get(f"/v1/tasks/{task_id}/explain")
    assert [one["reason"] for one in told["waits_for"]] == ["queue_paused", "in_line"]
    assert told["waits_for"][0]["detail"] == f"{paused['paused_by']} has paused the queue reports: no ink"
    position = admin.node.system.journal.position
    assert (await operator.ask("POST", "/v1/queues/reports/resume")).json()["paused"] is False
    await recorded(admin, "task.BookOpened", f"task-{task_id}")
    told = await admin.get(f"/v1/tasks/{task_id}/explain")
    assert [one["reason"] for one in told["waits_for"]] == ["book_open"]
    past = await admin.get(f"/v1/tasks/{task_id}/explain?as_of={position}")
    assert past["waits_for"][0]["reason"] == "queue_paused"


async def test_only_operators_pause_and_a_name_that_can_be_none_is_not_there(admin: Client) -> None:
    developer = await admin.with_role(Role.DEVELOPER)
    assert (await developer.ask("POST", "/v1/queues/reports/pause")).status_code == 403
    assert (await admin.ask("POST", "/v1/queues/a%20b/pause")).status_code == 404
    assert (await admin.ask("POST", "/v1/tasks", {"task_type": "analysis", "queue": "a b"})).status_code == 422
    stranger = await admin.with_role(Role.ADMIN, tenant="other")
    await stranger.ask("POST", "/v1/queues/reports/pause")
    assert (await admin.get("/v1/queues"))["queues"] == []

"""Concurrency keys over HTTP: limits that operators set, what tasks say of them, and whose they are."""

from aggregates.values.roles import Role
from tests.gateway.clients import Client, recorded

PRESS = {"key": "press", "limit": 1}


async def test_a_task_that_waits_for_a_place_of_its_key_says_who_has_it(admin: Client) -> None:
    await admin.register("ann", slots=9)
    first = await admin.submit(concurrency=PRESS)
    await recorded(admin, "task.BookOpened", f"task-{first}")
    second = await admin.submit(concurrency=PRESS)
    told = await admin.get(f"/v1/tasks/{second}/explain")
    wait = told["waits_for"][0]
    assert [one["reason"] for one in told["waits_for"]] == ["concurrency_full", "in_line"]
    assert [one["task_id"] for one in wait["held"]] == [first]
    assert wait["detail"] == "tasks of press that are called for or held: 1 of 1; 1 wait for a place"
    row = await admin.get(f"/v1/tasks/{second}")
    assert row["concurrency"] == PRESS | {"strategy": "queue", "group": "", "grace_seconds": 0.0}
    (key,) = (await admin.get("/v1/concurrency"))["keys"]
    assert (key["key"], key["limit"], key["taken"], key["waiting"], key["set_by"]) == ("press", 1, 1, 1, "")
    operator = await admin.with_role(Role.OPERATOR)
    answer = await operator.ask("PUT", "/v1/concurrency/press", {"limit": 2})
    assert (answer.status_code, answer.json()["limit"]) == (200, 2)
    assert answer.json()["set_by"].startswith("operator:")
    await recorded(admin, "task.BookOpened", f"task-{second}")
    assert (await operator.ask("DELETE", "/v1/concurrency/press")).json()["limit"] == 1


async def test_limits_are_for_operators_and_for_their_tenant_alone(admin: Client) -> None:
    developer, stranger = await admin.with_role(Role.DEVELOPER), await admin.with_role(Role.ADMIN, tenant="other")
    assert (await developer.ask("PUT", "/v1/concurrency/press", {"limit": 2})).status_code == 403
    assert (await admin.ask("PUT", "/v1/concurrency/a%20b", {"limit": 2})).status_code == 404
    assert (await admin.ask("PUT", "/v1/concurrency/press", {"limit": 0})).status_code == 422
    assert (await stranger.ask("PUT", "/v1/concurrency/press", {"limit": 2})).status_code == 200
    assert (await admin.get("/v1/concurrency"))["keys"] == []
    unfit = await admin.ask("POST", "/v1/tasks", {"task_type": "analysis", "concurrency": {"key": "a b", "limit": 0}})
    assert unfit.status_code == 422
    assert unfit.json()["errors"][0]["pointer"].startswith("/concurrency")


async def test_who_is_too_many_is_told_so(admin: Client) -> None:
    newest = PRESS | {"strategy": "cancel_newest"}
    await admin.submit(concurrency=newest)
    second = await admin.submit(concurrency=newest)
    await recorded(admin, "task.TaskCancelled", f"task-{second}")
    told = await admin.get(f"/v1/tasks/{second}/explain")
    assert told["summary"] == "ended, cancelled: concurrency_limit: 1 of 1 tasks of press are open"

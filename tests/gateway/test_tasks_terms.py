"""The terms of tasks over real sockets: what is asked for, what is refused, and what is shown of it."""

from typing import Any

from aggregates.task import BookOpened
from aggregates.values.roles import Role
from tests.gateway.clients import BID, TASK, Client, recorded


def pointers(answer: Any) -> list[tuple[str, str]]:
    assert answer.status_code == 422, answer.text
    return [(fault["pointer"], fault.get("code", "")) for fault in answer.json()["errors"]]


async def waits(client: Client, task_id: str) -> list[str]:
    return [wait["reason"] for wait in (await client.get(f"/v1/tasks/{task_id}/explain"))["waits_for"]]


async def test_a_task_waits_for_its_time_and_is_called_for_when_that_is_moved(admin: Client) -> None:
    agent = await admin.register("a1")
    later = {"not_before": "2999-01-01T00:00:00Z", "estimated_duration": 60}
    task_id = await admin.submit(**later, deadline="2999-01-02T00:00:00Z")
    path = f"/v1/tasks/{task_id}"
    row = await admin.get(path)
    assert (row["stage"], row["not_before"]) == ("submitted", 32472144000.0)
    told = await admin.get(f"{path}/explain")
    [wait] = told["waits_for"]
    assert (wait["reason"], wait["until"], told["line"]["gained"]) == ("not_yet", 32472144000.0, 0.0)
    await admin.register("a2", capabilities=["sewing"], slots=1)
    await admin.ask("POST", "/v1/agents/a2/drain")
    now = await admin.submit(capabilities=["sewing"])
    assert (await admin.get(f"/v1/tasks/{now}/explain"))["line"]["ahead"] == 0
    assert pointers(await admin.ask("PATCH", path, {"deadline": "2999-01-01T00:00:30Z"})) == [
        ("/deadline", "deadline_infeasible")
    ]
    async with agent.socket() as socket:
        await socket.next("welcome")
        assert (await admin.ask("PATCH", path, {"not_before": 1.0, "budget_seconds": 90})).status_code == 200
        assert (await socket.next("call"))["budget_seconds"] == 90.0
    assert await waits(admin, task_id) == ["book_open"]
    row = await admin.get(path)
    assert (row["not_before"], row["budget_seconds"], row["estimated_duration"]) == (1.0, 90.0, 60.0)


async def test_all_that_is_infeasible_about_a_task_is_told_in_one_answer_singly_and_in_many(admin: Client) -> None:
    client = await admin.with_role(Role.DEVELOPER)
    window = {"not_before": "2999-01-02T00:00:00Z", "deadline": "2999-01-01T00:00:00Z"}
    late = TASK | window | {"capabilities": [], "dependencies": ["none"], "priority": 9}
    assert pointers(await client.ask("POST", "/v1/tasks", late)) == [
        ("/priority", ""),
        ("/dependencies/0", "dependency_unknown"),
        ("/not_before", "not_before_late"),
    ]
    long = {"task_type": "analysis", "deadline": "2999-01-01T00:00:00Z", "estimated_duration": 1e12}
    answer = await client.ask("POST", "/v1/tasks:batch", {"tasks": [{"task_type": "analysis", **window}, long]})
    assert pointers(answer) == [
        ("/tasks/0/not_before", "not_before_late"),
        ("/tasks/1/estimated_duration", "deadline_infeasible"),
    ]
    assert (await admin.get("/v1/tasks"))["tasks"] == []


async def test_a_task_that_runs_without_a_result_says_so_to_whoever_wins_it(admin: Client) -> None:
    agent = await admin.register("a1", slots=3)
    done = await admin.submit()
    async with agent.socket(after=0) as socket:
        await socket.next("welcome")
        await socket.next("call")
        await socket.ask(type="bid", task_id=done, **BID)
        await socket.next("award")
        await socket.ask(type="complete", task_id=done, token=1, result={"value": 1})
        dropped = await admin.submit(not_before="2999-01-01T00:00:00Z")
        after = {"dependencies": [done, dropped], "dependency_policy": "run"}
        runs = await admin.submit(**after)
        skips = await admin.submit(**after | {"dependency_policy": "skip"})
        assert (await admin.get(f"/v1/tasks/{runs}"))["stage"] == "blocked"
        assert (await admin.ask("DELETE", f"/v1/tasks/{dropped}")).status_code == 200
        await socket.next("call")
        await socket.ask(type="bid", task_id=runs, **BID)
        award = await socket.next("award")
    assert (award["inputs"], award["inputs_missing"]) == ({done: {"value": 1}}, [dropped])
    row = await admin.get(f"/v1/tasks/{runs}")
    assert (row["dependency_policy"], row["unmet"], row["stage"]) == ("run", [dropped], "awarded")
    row = await admin.get(f"/v1/tasks/{skips}")
    assert (row["stage"], row["reason"]) == ("cancelled", f"dependency_failed: {dropped} is cancelled")
    late = await admin.submit(**after)
    assert (await admin.get(f"/v1/tasks/{late}"))["unmet"] == [dropped]
    refused = await admin.ask("POST", "/v1/tasks", TASK | after | {"dependency_policy": "skip"})
    assert pointers(refused) == [("/dependencies/1", "dependency_failed")]


async def test_an_agent_is_told_to_stop_and_may_finish_or_acknowledge(admin: Client) -> None:
    agent = await admin.register("a1")
    first, second = await admin.submit(), await admin.submit()
    async with agent.socket(after=0) as socket:
        await socket.next("welcome")
        await socket.next("call")
        await socket.ask(type="bid", task_id=first, **BID)
        await socket.next("award")
        path = f"/v1/tasks/{first}?reason=moved+on&grace_seconds="
        assert (await admin.ask("DELETE", f"{path}-1")).status_code == 422
        assert (await admin.ask("DELETE", f"{path}900")).status_code == 200
        cancel = await socket.next("cancel")
        assert (cancel["task_id"], cancel["token"], cancel["reason"]) == (first, 1, "moved on")
        assert 0 < cancel["seconds_left"] <= 900
        row = await admin.get(f"/v1/tasks/{first}")
        assert (row["stage"], row["canceling_reason"], row["canceling_until"] is not None) == (
            "awarded",
            "moved on",
            True,
        )
        assert await waits(admin, first) == ["cancel", "start"]
    [lease] = (await agent.ask("POST", "/v1/agents/a1/heartbeat")).json()["leases"]
    assert 0 < lease["cancel_seconds_left"] <= 900
    async with agent.socket(after=admin.node.system.journal.position) as socket:
        [lease] = (await socket.next("welcome"))["leases"]
        assert lease["cancel_seconds_left"] > 0
        await socket.next("award")
        assert (await socket.next("cancel"))["task_id"] == first
        await socket.ask(type="fail", task_id=first, token=1, reason="stopped")
        assert (await socket.next("call"))[
            "task_id"
        ] == second  # and no word that it was taken away: it has said so itself
        await socket.ask(type="bid", task_id=second, **BID)
        await socket.next("award")
        assert (await admin.ask("DELETE", f"/v1/tasks/{second}?grace_seconds=0.1")).status_code == 200
        await socket.next("cancel")
        assert (await socket.next("revoked"))["reason"] == "task_cancelled"
    rows = [await admin.get(f"/v1/tasks/{name}") for name in (first, second)]
    assert [(row["stage"], row["reason"], row["canceling_until"]) for row in rows] == [
        ("cancelled", "cancel_acknowledged", None),
        ("cancelled", "cancel_grace_over", None),
    ]
    assert (await admin.get("/v1/agents/a1"))["failed"] == 0


async def opened(admin: Client, task_id: str, number: int) -> None:
    """Waits until the task's round of this number has begun."""
    journal, position = admin.node.system.journal, 0
    while True:
        for record in await journal.read(position):
            position, event = record.position, record.event
            if isinstance(event, BookOpened) and (event.task_id, event.round) == (task_id, number):
                return
        await journal.wait_past(position)


async def test_a_task_that_nobody_takes_fails_or_is_offered_to_more_as_it_asks_for(admin: Client) -> None:
    agents = {name: await admin.register(name) for name in ("a1", "a2", "a3")}
    faulty = await admin.ask("POST", "/v1/tasks", TASK | {"no_bids": {"then": "pray", "call_max": 0}})
    assert [pointer for pointer, _ in pointers(faulty)] == ["/no_bids/then", "/no_bids/call_max"]
    wide = await admin.submit(no_bids={"then": "widen", "call_max": 1, "rounds_max": 2}, bidding_seconds=5)
    path = f"/v1/tasks/{wide}"
    for number, most in ((1, 1), (2, 2)):
        await opened(admin, wide, number)
        row = await admin.get(path)
        assert (row["round"], row["widening"], len(row["eligible"])) == (number, number - 1, most)
        for name in row["eligible"]:
            refused = await agents[name].ask("POST", f"{path}/refusals", {"reason": "busy"})
            assert refused.status_code == 201
    await recorded(admin, "task.TaskFailed", f"task-{wide}")
    row = await admin.get(path)
    assert (row["stage"], row["reason"], row["no_bids"]["call_max"]) == ("failed", "all_refused", 1)
    told = await admin.get(f"{path}/explain")
    assert (told["book"]["widening"], told["ended_reason"]) == (1, "all_refused")


async def test_a_row_says_at_every_stage_why_the_task_stands_there(admin: Client) -> None:
    agent = await admin.register("a1", slots=5)
    told: list[tuple[str, str]] = []

    async def look(task_id: str) -> None:
        row = await admin.get(f"/v1/tasks/{task_id}")
        told.append((row["stage"], row["reason"]))

    async def report(task_id: str, status: str, token: int = 1) -> None:
        body = {"status": status, "token": token, "reason": "too hard" if status == "failed" else ""}
        assert (await agent.ask("PUT", f"/v1/tasks/{task_id}/status", body)).status_code == 200
        await look(task_id)

    async with agent.socket(after=0) as socket:
        await socket.next("welcome")
        first = await admin.submit(not_before="2999-01-01T00:00:00Z", attempts_max=1)
        await look(first)
        second = await admin.submit(dependencies=[first])
        await look(second)
        assert (await admin.ask("PATCH", f"/v1/tasks/{first}", {"not_before": 1})).status_code == 200
        await socket.next("call")
        await look(first)
        await socket.ask(type="bid", task_id=first, **BID)
        await socket.next("award")
        await look(first)
        await report(first, "started")
        await report(first, "failed")
        await recorded(admin, "task.TaskFailed", f"task-{second}")
        await look(second)
        third = await admin.submit()
        await socket.next("call")
        await socket.ask(type="bid", task_id=third, **BID)
        await socket.next("award")
        await report(third, "completed")
    assert told == [
        ("submitted", "submitted"),
        ("blocked", "dependencies_open"),
        ("bidding", "called"),
        ("awarded", "awarded"),
        ("running", "started"),
        ("dead_lettered", "attempt 1 of 1: too hard"),
        ("failed", f"dependency_failed: {first} is dead_lettered"),
        ("completed", "completed"),
    ]


async def test_a_moment_that_no_record_could_hold_is_refused_wherever_one_is_said(admin: Client) -> None:
    odd = {"deadline": "9999-12-31T23:59:59Z", "not_before": "0001-01-01T00:00:00+23:59"}
    both = [(f"/{name}", "moment_out_of_range") for name in odd]
    assert pointers(await admin.ask("POST", "/v1/tasks", TASK | odd)) == both
    assert pointers(await admin.ask("POST", "/v1/tasks", TASK | odd | {"priority": 9})) == [("/priority", ""), *both]
    many = {"tasks": [TASK, TASK | {"not_before": "3000-01-01T00:00:00.5Z"}]}
    assert pointers(await admin.ask("POST", "/v1/tasks:batch", many)) == [
        ("/tasks/1/not_before", "moment_out_of_range")
    ]
    beyond = {"tasks": [{"task_type": "analysis", "deadline": "9999-12-31T23:59:59-23:59"}]}
    assert pointers(await admin.ask("POST", "/v1/tasks:batch", beyond, Idempotency_Key="k")) == [("", "")]
    letter = await admin.dead_letter()
    requeued = await admin.ask("POST", f"/v1/tasks/{letter}/requeue", {"deadline": odd["deadline"]})
    assert pointers(requeued) == both[:1]
    edge = {"deadline": "2999-12-31T23:59:59Z", "not_before": "1970-01-01T00:00:00Z"}
    task_id = await admin.submit(capabilities=[], **edge)
    assert pointers(await admin.ask("PATCH", f"/v1/tasks/{task_id}", odd)) == both
    journal = admin.node.system.journal
    for record in await journal.read(0):
        if record.meta.command is not None:
            journal.codec.command(record.meta.command)

"""Why a task is where it is, asked over HTTP: of open, waiting, awarded, ended and past tasks, page by page."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aggregates.values.roles import Role
from tests.gateway.clients import BID, AgentClient, Client, open_client, recorded, settings_of


async def explained(client: Client, task_id: str, query: str = "") -> Any:
    return await client.get(f"/v1/tasks/{task_id}/explain{query}")


def reasons(told: Any) -> dict[str, str]:
    return {one["agent_id"]: one["reason"] for one in told["agents"]}


async def bid(agent: AgentClient, task_id: str, **changed: Any) -> None:
    answer = await agent.ask("POST", f"/v1/tasks/{task_id}/bids", BID | changed)
    assert answer.status_code == 201, answer.text


async def report(agent: AgentClient, task_id: str, **status: Any) -> None:
    answer = await agent.ask("PUT", f"/v1/tasks/{task_id}/status", {"token": 1} | status)
    assert answer.status_code == 200, answer.text


async def test_an_award_is_told_from_its_record_and_each_agent_has_the_first_reason_against_it(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew = {name: await admin.register(name) for name in ("ann", "bob", "cat", "dan", "eve")}
    await admin.register("odd", capabilities=["drawing"])
    await admin.ask("POST", "/v1/agents/eve/drain")
    task_id = await admin.submit(capabilities=["cutting"], budget_seconds=100)
    await recorded(admin, "task.BookOpened")
    late = await admin.register("late")
    await bid(crew["ann"], task_id, price=2)
    opened = await explained(admin, task_id)
    assert opened["waits_for"][0]["reason"] == "book_open"
    assert opened["waits_for"][0]["agents"] == ["bob", "cat", "dan"]
    assert reasons(opened) == {
        "ann": "bid_placed", "bob": "awaited", "cat": "awaited", "dan": "awaited",
        "eve": "draining", "odd": "skill_missing", "late": "not_registered",
    }  # fmt: skip
    await bid(crew["bob"], task_id, price=1)
    await bid(crew["cat"], task_id, eta_seconds=1000)
    refusal = await crew["dan"].ask("POST", f"/v1/tasks/{task_id}/refusals", {"reason": "no knife"})
    assert refusal.status_code == 201
    await recorded(admin, "task.TaskAwarded")
    # What has changed since then does not change what is told of the award.
    await admin.ask("PATCH", "/v1/agents/odd", {"capabilities": ["cutting", "drawing"]})
    await report(crew["bob"], task_id, status="started")
    told = await explained(admin, task_id)
    assert reasons(told) == {
        "ann": "outscored", "bob": "won", "cat": "eta_over_budget", "dan": "refused",
        "eve": "draining", "odd": "skill_missing", "late": "not_registered",
    }  # fmt: skip
    by_id = {one["agent_id"]: one for one in told["agents"]}
    assert by_id["odd"]["skills"] == ["cutting"]
    assert "no knife" in by_id["dan"]["detail"]
    assert (by_id["ann"]["behind"]["agent_id"], by_id["ann"]["behind"]["terms"][0]["name"]) == ("bob", "price")
    ranking = told["book"]["ranking"]
    assert [(one["rank"], one["agent_id"], one["lost"]) for one in ranking] == [
        (1, "bob", ""), (2, "ann", ""), (3, "cat", "eta_over_budget"),
    ]  # fmt: skip
    for place in ranking[:2]:
        assert abs(place["sum"] - place["score"]) < 1e-6
        assert abs(sum(term["value"] * term["weight"] for term in place["terms"]) - place["score"]) < 1e-6
    assert (told["waits_for"][0]["reason"], told["attempt"]["agent_id"]) == ("result", "bob")
    first = await explained(admin, task_id, "?limit=3")
    second = await explained(admin, task_id, f"?limit=3&after={first['next']}")
    assert [one["agent_id"] for one in first["agents"] + second["agents"]] == [
        "late",
        "odd",
        "eve",
        "dan",
        "cat",
        "bob",
    ]
    assert reasons(await explained(admin, task_id, "?agent_id=ann")) == {"ann": "outscored"}
    past = await explained(admin, task_id, f"?as_of={opened['book']['position']}")
    assert (past["stage"], past["book"]["answered"], past["at"]) == ("bidding", 0, past["since"])
    assert late.agent_id not in reasons(past)
    monkeypatch.setattr("gateway.routes.explain.RECORDS_MAX", 2)  # as if its bidders had changed their minds very often
    short = await explained(admin, task_id)
    assert ([one["terms"] for one in short["book"]["ranking"]], short["attempt"]) == (
        [one["terms"] for one in ranking], told["attempt"],
    )  # fmt: skip
    assert reasons(short)["ann"] == "outscored"
    stranger = await admin.with_role(Role.OPERATOR, tenant="other")
    assert (await stranger.ask("GET", f"/v1/tasks/{task_id}/explain")).status_code == 404


async def test_a_waiting_task_tells_for_what_and_since_when_until_somebody_can_do_it(admin: Client) -> None:
    ann = await admin.register("ann")
    first = await admin.submit(priority=5)
    await recorded(admin, "task.BookOpened")
    blocked = await admin.submit(dependencies=[first], independent_of=[first])
    told = await explained(admin, blocked)
    (wait,) = told["waits_for"]
    assert (wait["reason"], wait["task_id"], wait["stage"]) == ("dependency", first, "bidding")
    assert (told["summary"], told["line"]) == (f"waits: {first} is bidding", None)
    await bid(ann, first)
    await recorded(admin, "task.TaskAwarded")
    urgent, queued = await admin.submit(priority=4), await admin.submit(priority=3)
    told = await explained(admin, queued)
    (wait,) = told["waits_for"]
    assert (wait["reason"], wait["agents"]) == ("all_busy", ["ann"])
    assert [(one["agent_id"], one["task_id"]) for one in wait["held"]] == [("ann", first)]
    assert wait["since"] >= told["since"]
    assert (told["line"]["priority"], told["line"]["ahead"], told["line"]["ahead_alike"]) == (3, 1, 1)
    assert reasons(told) == {"ann": "slots_full"}
    await admin.ask("DELETE", f"/v1/tasks/{urgent}?reason=changed+my+mind")
    ended = await explained(admin, urgent)
    assert (ended["summary"], ended["waits_for"]) == ("ended, cancelled: changed my mind", [])
    await admin.ask("DELETE", f"/v1/tasks/{queued}")
    await report(ann, first, status="completed")
    await recorded(admin, "task.TaskUnblocked", f"task-{blocked}")
    told = await explained(admin, blocked)
    assert [one["reason"] for one in told["waits_for"]] == ["all_excluded"]
    assert (told["agents"][0]["reason"], told["agents"][0]["tasks"]) == ("excluded", [first])
    await admin.ask("POST", "/v1/agents/ann/drain")
    told = await explained(admin, blocked)
    assert [one["reason"] for one in told["waits_for"]] == ["skills_missing"]
    assert told["waits_for"][0]["skills"] == ["cutting"]
    assert reasons(told) == {"ann": "draining"}
    await admin.ask("POST", "/v1/coordination/stop", {"reason": "new knives"})
    await admin.register("bob")
    told = await explained(admin, blocked)
    assert [one["reason"] for one in told["waits_for"]] == ["stopped", "in_line"]
    assert told["summary"] == "waits: an operator has stopped giving work out: new knives, and 1 more"
    await admin.ask("POST", "/v1/coordination/start")
    await recorded(admin, "task.BookOpened", f"task-{blocked}")
    assert reasons(await explained(admin, blocked)) == {"ann": "draining", "bob": "awaited"}


async def test_who_waited_for_an_older_position_is_told_how_the_task_stands_with_all_that_follows_from_it(
    admin: Client,
) -> None:
    await admin.register("ann")
    task_id = await admin.submit()
    opened = await recorded(admin, "task.BookOpened")
    await explained(admin, task_id)  # by now the read models know it
    for position in (1, opened - 1):
        answer = await admin.ask("GET", f"/v1/tasks/{task_id}/explain?after_position={position}")
        told = answer.json()
        assert ([one["reason"] for one in told["waits_for"]], reasons(told)) == (["book_open"], {"ann": "awaited"})
        assert int(answer.headers["Gavel-Position"]) == opened


async def test_a_round_without_a_winner_tells_why_and_until_when_the_task_rests(admin: Client) -> None:
    ann = await admin.register("ann")
    task_id = await admin.submit()
    await recorded(admin, "task.BookOpened")
    await ann.ask("POST", f"/v1/tasks/{task_id}/refusals", {"reason": "tired"})
    await recorded(admin, "task.BookVoided")
    records = (await admin.get(f"/v1/log?stream=task-{task_id}"))["records"]
    voided = next(one["position"] for one in records if one["kind"] == "task.BookVoided")
    told = await explained(admin, task_id, f"?as_of={voided}")
    assert [one["reason"] for one in told["waits_for"]] == ["pause", "in_line"]
    assert told["waits_for"][0]["until"] == told["since"] + 1
    assert (told["book"]["outcome"], told["book"]["reason"]) == ("voided", "all_refused")
    assert (reasons(told), told["agents"][0]["round"]) == ({"ann": "refused"}, 1)


async def test_the_place_in_line_is_the_order_in_which_tasks_are_offered(admin: Client) -> None:
    await admin.register("ann")
    await admin.ask("POST", "/v1/agents/ann/drain")
    task_ids = [await admin.submit(priority=priority) for priority in (3, 5, 1, 3, 1)]
    await admin.ask("PATCH", f"/v1/tasks/{task_ids[2]}", {"priority": 4})
    line = [(await explained(admin, task_id))["line"]["ahead"] for task_id in task_ids]
    assert line == [2, 0, 1, 3, 4]
    position = admin.node.system.journal.position
    await admin.register("bob", slots=9)
    for task_id in task_ids:
        await recorded(admin, "task.BookOpened", f"task-{task_id}")
    records = await admin.node.system.journal.read(position)
    offered = [one.stream for one in records if one.kind == "task.BookOpened"]
    assert offered == [f"task-{task_ids[place]}" for place in (1, 2, 0, 3, 4)]


async def test_a_task_that_waits_for_a_place_of_the_node_says_how_many_are_taken(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path, tasks_running_max=1)) as admin:
        await admin.register("ann", slots=9)
        first = await admin.submit()
        await recorded(admin, "task.BookOpened", f"task-{first}")
        second = await admin.submit()
        told = await explained(admin, second)
        assert [one["reason"] for one in told["waits_for"]] == ["node_full", "in_line"]
        expected = "waits: tasks that are called for or held: 1 of 1 on the node, 1 of them yours, and 1 more"
        assert told["summary"] == expected
        await admin.ask("DELETE", f"/v1/tasks/{first}")
        await recorded(admin, "task.BookOpened", f"task-{second}")


async def test_a_task_whose_only_agents_are_off_duty_says_so_and_until_when(admin: Client) -> None:
    back = datetime.now(UTC) + timedelta(days=3)
    shift = {"days": [f"{back:%A}".lower()], "start": "00:00", "end": "24:00"}
    await admin.register("ann", working_hours={"time_zone": "UTC", "shifts": [shift]})
    task_id = await admin.submit(capabilities=["cutting"])
    until = back.replace(hour=0, minute=0, second=0, microsecond=0)
    told = await explained(admin, task_id)
    (wait,) = told["waits_for"]
    assert (wait["reason"], wait["until"], wait["agents"]) == ("off_hours", until.timestamp(), ["ann"])
    assert reasons(told) == {"ann": "off_hours"}
    assert told["agents"][0]["detail"] == f"is off duty until {until:%Y-%m-%dT00:00:00Z}"
    assert (await admin.get("/v1/agents/ann"))["working_hours"]["shifts"] == [shift]
    odd = {"working_hours": {"time_zone": "Europe/Atlantis", "shifts": [shift | {"start": "09:00", "end": "08:00"}]}}
    answer = await admin.ask("PATCH", "/v1/agents/ann", odd)
    assert [(one["pointer"], one["code"]) for one in answer.json()["errors"]] == [
        ("/working_hours/time_zone", "working_hours_unfit"),
        ("/working_hours/shifts/0/end", "working_hours_unfit"),
    ]
    assert (await admin.ask("PATCH", "/v1/agents/ann", {"working_hours": {"shifts": []}})).status_code == 200
    await recorded(admin, "task.BookOpened", f"task-{task_id}")

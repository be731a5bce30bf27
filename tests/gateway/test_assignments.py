"""The preview of assignments: what waits to whoever is free, or the caller's own matrix; with a bound that the answer itself proves."""

from typing import Any

import pytest

from tests.gateway.clients import Client

PREVIEW = "/v1/assignments:preview"


def proven(answer: dict[str, Any], values: dict[str, dict[str, float]], outside: float = 0.0) -> Any:
    """The dual bound from the prices alone; `values` by task and agent."""
    price_by_agent = {price["agent_id"]: price["price"] for price in answer["prices"]}
    slots = sum(min(price["slots"], len(values)) * price["price"] for price in answer["prices"])
    return slots + sum(
        max([outside, *(value - price_by_agent[name] for name, value in row.items())]) for row in values.values()
    )


async def joined(admin: Client, name: str, skills: list[str], **more: Any) -> str:
    answer = await admin.ask(
        "POST", "/v1/agents", {"name": name, "agent_type": "operations", "capabilities": skills, **more}
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["agent_id"])


async def submitted(admin: Client, **task: Any) -> str:
    answer = await admin.ask("POST", "/v1/tasks", {"task_type": "analysis", "bidding_seconds": 60, **task})
    return str(answer.json()["task_id"])


async def test_what_waits_is_matched_with_who_is_free_and_what_is_left_has_a_reason(admin: Client) -> None:
    await admin.ask("POST", "/v1/coordination/stop")  # so that nobody is called meanwhile
    ann = await joined(admin, "ann", ["cutting"], specializations=["cutting"])
    bob = await joined(admin, "bob", ["cutting", "sewing"])
    urgent = await submitted(admin, capabilities=["cutting"], priority=5)
    middle = await submitted(admin, capabilities=["cutting"], priority=3)
    late = await submitted(admin, capabilities=["cutting"], priority=1)
    eve = await joined(admin, "eve", ["flying"])
    lost = await submitted(admin, capabilities=["flying"], priority=5)
    await admin.ask("DELETE", f"/v1/agents/{eve}")
    before = admin.node.system.journal.position
    answer = await admin.ask("POST", PREVIEW)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert {pair["task_id"]: pair["agent_id"] for pair in told["assignments"]} == {urgent: ann, middle: bob}
    assert {left["task_id"]: left["reason"] for left in told["unassigned"]} == {late: "outbid", lost: "skills_missing"}
    newcomer = 0.3 + 0.25 / 2 + 0.25 / 2 + 0.2 / 2
    assert {pair["agent_id"]: pair["score"] for pair in told["assignments"]} == pytest.approx(
        {ann: newcomer + 0.05, bob: newcomer}
    )
    assert told["complete"]
    assert told["value"] == pytest.approx(sum(pair["value"] for pair in told["assignments"]))
    assert 0 <= told["dual_bound"] - told["value"] <= 4 * told["epsilon"] + 1e-9
    assert {price["agent_id"]: price["slots"] for price in told["prices"]} == {ann: 1, bob: 1}
    assert 0 < told["tasks_position"] <= admin.node.system.journal.position == before
    assert all(0 < price["position"] <= before for price in told["prices"])


async def test_where_nobody_is_active_nothing_is_assigned(admin: Client) -> None:
    await admin.ask("POST", "/v1/coordination/stop")
    waits = await submitted(admin, capabilities=[])
    answer = (await admin.ask("POST", PREVIEW, Idempotency_Key="once")).json()
    assert (await admin.ask("POST", PREVIEW, Idempotency_Key="once")).json() == answer
    assert (answer["assignments"], answer["unassigned"]) == ([], [{"task_id": waits, "reason": "skills_missing"}])
    assert (answer["value"], answer["dual_bound"], answer["prices"]) == (0.0, 0.0, [])


async def test_a_matrix_of_ones_own_is_solved_within_the_bound_that_its_prices_prove(admin: Client) -> None:
    values = {"t1": {"a": 0.9, "b": 0.5}, "t2": {"a": 0.8}, "t3": {"a": 0.1, "b": 0.2}, "t4": {"c": 5.0}, "t5": {}}
    agents = ["a", "b", "c"]
    body = {
        "tasks": list(values),
        "agents": agents,
        "scores": [[row.get(name) for name in agents] for row in values.values()],
        "slots": [1, 1, 0],
        "outside": 0.3,
        "epsilon": 0.001,
    }
    told = (await admin.ask("POST", PREVIEW, body)).json()
    assert {pair["task_id"]: pair["agent_id"] for pair in told["assignments"]} == {"t1": "b", "t2": "a"}
    reasons = {left["task_id"]: left["reason"] for left in told["unassigned"]}
    assert reasons == {"t3": "not_worth_it", "t4": "no_free_slots", "t5": "all_forbidden"}
    assert told["value"] == pytest.approx(0.5 + 0.8 + 3 * 0.3)
    assert told["dual_bound"] == pytest.approx(proven(told, values, 0.3))
    assert told["gap"] <= 5 * 0.001 + 1e-9


async def test_every_fault_of_a_matrix_is_told_with_its_place(admin: Client) -> None:
    body = {"tasks": ["t", "t"], "agents": ["a", "b", "a"], "scores": [[1, 2, 3], [1]], "slots": [1]}
    answer = await admin.ask("POST", PREVIEW, body)
    assert answer.status_code == 422
    assert {fault["pointer"] for fault in answer.json()["errors"]} == {"/tasks/1", "/agents/2", "/slots", "/scores/1"}
    answer = await admin.ask("POST", PREVIEW, {"tasks": [], "agents": ["a"], "scores": [["x"]], "slots": [-1]})
    assert {fault["pointer"] for fault in answer.json()["errors"]} == {"/scores/0/0", "/slots/0", "/scores"}
    body = {"tasks": ["t", "t", 7], "agents": ["a"], "scores": [[1, 2], 3], "slots": "all", "epsilon": 0}
    answer = await admin.ask("POST", PREVIEW, body)
    faults = {"/tasks/1", "/tasks/2", "/scores", "/scores/0", "/scores/1", "/slots", "/epsilon"}
    assert {fault["pointer"] for fault in answer.json()["errors"]} == faults
    many = {"tasks": [f"t{n}" for n in range(2000)], "agents": [f"a{n}" for n in range(501)], "scores": [], "slots": []}
    answer = await admin.ask("POST", PREVIEW, many)
    assert {fault["pointer"] for fault in answer.json()["errors"]} == {"", "/scores", "/slots"}
    small = {"tasks": ["t"], "agents": ["a"], "scores": [[1e9]], "slots": [1], "epsilon": 1e-9}
    assert [fault["pointer"] for fault in (await admin.ask("POST", PREVIEW, small)).json()["errors"]] == ["/epsilon"]


async def test_it_is_for_whoever_may_read_tasks(admin: Client) -> None:
    assert (await admin.ask("POST", PREVIEW, Authorization="Bearer nobody")).status_code == 401

"""Schemas of task types over HTTP and websockets: set, looked at by version, held against, dropped; and who may."""

from typing import Any

import pytest

from aggregates.values.roles import Role
from tests.gateway.clients import BID, Client, recorded

SCHEMAS = "/v1/task-types/analysis/schemas"
TEXT = {
    "type": "object",
    "properties": {"text": {"type": "string"}},
    "required": ["text"],
    "additionalProperties": False,
}
COUNT = {"properties": {"mistakes": {"type": "integer", "minimum": 0}}, "required": ["mistakes"]}
FAULTY = {"text": 7, "colour": "red"}


async def set_schemas(client: Client, **schemas: Any) -> Any:
    answer = await client.ask("PUT", SCHEMAS, schemas)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_they_are_set_replaced_dropped_and_told_by_version(admin: Client) -> None:
    assert (await admin.ask("GET", SCHEMAS)).status_code == 404
    assert await set_schemas(admin, payload=TEXT) == {"task_type": "analysis", "version": 1}
    assert (await set_schemas(admin, payload=TEXT))["version"] == 1
    assert (await set_schemas(admin, payload=TEXT, result=COUNT))["version"] == 2
    told = await admin.get(SCHEMAS)
    assert (told["version"], told["status"], told["payload"], told["result"]) == (2, "in_force", TEXT, COUNT)
    before = await admin.get(f"{SCHEMAS}?version=1")
    assert (before["status"], before["result"], before["ended_at"] > 0) == ("replaced", None, True)
    dropped = await admin.ask("DELETE", f"{SCHEMAS}?reason=anything%20goes")
    assert dropped.json() == {"task_type": "analysis", "version": 0}
    assert (await admin.ask("GET", SCHEMAS)).status_code == 404
    rows = (await admin.get("/v1/task-types?task_type=analysis"))["task_types"]
    assert [(row["version"], row["status"], row["reason"]) for row in rows] == [
        (2, "dropped", "anything goes"),
        (1, "replaced", ""),
    ]
    assert (await admin.get("/v1/task-types?status=in_force"))["task_types"] == []
    assert (await admin.ask("PUT", "/v1/task-types/knitting/schemas", {"payload": {}})).status_code == 404


async def test_a_faulty_schema_is_refused_with_every_fault_by_its_pointer(admin: Client) -> None:
    body = {"payload": {"type": "text", "properties": {"a": {"pattern": "(?=a)"}}}, "result": {"$ref": "http://x/y"}}
    answer = await admin.ask("PUT", SCHEMAS, body)
    assert answer.status_code == 422
    assert [(one["pointer"], one["code"]) for one in answer.json()["errors"]] == [
        ("/payload/type", "schema_unfit"),
        ("/payload/properties/a/pattern", "schema_unfit"),
        ("/result/$ref", "schema_unfit"),
    ]


async def test_a_payload_that_does_not_fit_is_refused_alone_and_among_others(admin: Client) -> None:
    await set_schemas(admin, payload=TEXT)
    answer = await admin.ask("POST", "/v1/tasks", {"task_type": "analysis", "payload": FAULTY})
    assert answer.status_code == 422
    assert [(one["pointer"], one["code"], one["detail"]) for one in answer.json()["errors"]] == [
        ("/payload/text", "payload_unfit", "must be a text"),
        ("/payload/colour", "payload_unfit", "is not a known field"),
    ]
    tasks = [{"task_type": "monitoring"}, {"task_type": "analysis", "payload": FAULTY}]
    answer = await admin.ask("POST", "/v1/tasks:batch", {"tasks": tasks})
    assert [one["pointer"] for one in answer.json()["errors"]] == ["/tasks/1/payload/text", "/tasks/1/payload/colour"]
    task_id = await admin.submit(task_type="analysis", payload={"text": "x"}, capabilities=[])
    shown = await admin.get(f"/v1/tasks/{task_id}")
    assert shown["schema_version"] == (await admin.get(f"/v1/tasks/{task_id}/explain"))["schema_version"] == 1


async def test_an_agent_is_told_what_is_expected_and_may_mend_its_result(admin: Client) -> None:
    await set_schemas(admin, result=COUNT)
    agent = await admin.register("ann")
    async with agent.socket() as socket:
        await socket.next("welcome")
        task_id = await admin.submit(task_type="analysis", capabilities=["cutting"])
        await set_schemas(admin, result={"required": ["other"]})
        call = await socket.next("call")
        assert call["schemas"] == f"{SCHEMAS}?version=1"
        assert (await agent.get(call["schemas"]))["result"] == COUNT
        await socket.send(type="bid", task_id=task_id, **BID)
        assert (await socket.next("ack"))["task_id"] == task_id
        award = await socket.next("award")
        assert award["schemas"] == call["schemas"]
        done = {"task_id": task_id, "token": award["token"]}
        problem = await socket.ask(type="complete", result={"mistakes": "none"}, **done)
        assert (problem["status"], problem["code"]) == (422, "result_unfit")
        assert [one["pointer"] for one in problem["errors"]] == ["/result/mistakes"]
        status = {"status": "completed", "token": award["token"]}
        answer = await agent.ask("PUT", f"/v1/tasks/{task_id}/status", status)
        assert [(one["pointer"], one["code"]) for one in answer.json()["errors"]] == [
            ("/result/mistakes", "result_unfit")
        ]
        assert (await socket.ask(type="complete", result={"mistakes": 0}, **done))["type"] == "ack"
    await recorded(admin, "task.TaskCompleted")


@pytest.mark.parametrize(
    ("role", "may"), [(Role.DEVELOPER, True), (Role.OPERATOR, True), (Role.AGENT, False), (Role.AUDITOR, False)]
)
async def test_operators_and_developers_may(admin: Client, role: Role, may: bool) -> None:
    client = await admin.with_role(role)
    answer = await client.ask("PUT", SCHEMAS, {"payload": TEXT})
    assert answer.status_code == (200 if may else 403)
    assert (await client.ask("DELETE", SCHEMAS)).status_code == (200 if may else 403)


async def test_each_tenant_has_its_own(admin: Client) -> None:
    await set_schemas(admin, payload=TEXT)
    other = await admin.with_role(Role.DEVELOPER, tenant="other")
    assert (await other.ask("GET", SCHEMAS)).status_code == 404
    await other.submit(task_type="analysis", payload=FAULTY, capabilities=[])

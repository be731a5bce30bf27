"""Many requests in one: in their order, each with its own answer and checks, and commits shared where that changes nothing."""

import threading
from typing import Any

import msgspec
import pytest
import trio
import trio.lowlevel

from aggregates.values.roles import Role
from gateway.routes.batch import PARTS_MAX
from tests.gateway.clients import BID, TASK, Client

POST: dict[str, Any] = {"method": "POST", "path": "/v1/tasks", "body": TASK}


async def send(client: Client, *parts: dict[str, Any], on_error: str = "continue", **headers: str) -> list[Any]:
    answer = await client.ask("POST", "/v1/batch", {"requests": parts, "on_error": on_error}, **headers)
    assert answer.status_code == 200, answer.text
    results: list[Any] = answer.json()["results"]
    assert len(results) == len(parts)
    return results


def statuses(results: list[Any]) -> list[int]:
    return [result["status"] for result in results]


async def test_each_part_is_answered_as_if_it_had_come_alone(admin: Client) -> None:
    answer = await admin.ask("POST", "/v1/batch", {"requests": [POST]}, X_Request_Id="whole")
    (made,) = answer.json()["results"]
    task_id = made["body"]["task_id"]
    alone = await admin.ask("GET", f"/v1/tasks/{task_id}")
    seen, cut, cached, gone, no, body, path, method = await send(
        admin,
        {"method": "GET", "path": f"/v1/tasks/{task_id}"},
        {"method": "GET", "path": f"/v1/tasks/{task_id}?fields=stage"},
        {"method": "GET", "path": f"/v1/tasks/{task_id}", "headers": {"If-None-Match": alone.headers["etag"]}},
        {"method": "GET", "path": "/v1/tasks/none"},
        {"method": "GET", "path": "/v1/blobs/uploads/none"},
        {"method": "POST", "path": "/v1/tasks", "body": {"payload": 1}},
        {"method": "POST", "path": "/v1/nothing", "body": {}},
        {"method": "PUT", "path": "/v1/tasks"},
    )
    assert (made["status"], made["headers"]["location"]) == (202, f"/v1/tasks/{task_id}")
    assert int(made["headers"]["gavel-position"]) > 0
    assert (seen["status"], seen["body"]["task_id"]) == (200, task_id)
    assert list(cut["body"]) == ["stage"]
    assert cached["status"] in (200, 304)  # it may have been opened since
    assert (gone["status"], gone["body"]["type"]) == (404, "urn:gavel:problem:not_found")
    assert gone["body"]["instance"].endswith(".3")
    assert no["status"] == 404
    assert (body["status"], len(body["body"]["errors"]) > 1) == (422, True)
    assert statuses([path, method]) == [404, 405]


async def test_a_part_sees_what_those_before_it_did(admin: Client) -> None:
    agent = {"name": "A", "agent_type": "performance", "capabilities": ["cutting"]}
    rounds = 5
    parts: list[dict[str, Any]] = []
    for number in range(rounds):
        name = f"/v1/agents/a{number}"
        parts += [
            {"method": "POST", "path": "/v1/agents", "body": agent | {"id": f"a{number}"}},
            {"method": "GET", "path": name},
            {"method": "PATCH", "path": name, "body": {"price": 2.0 + number}},
            POST,
            {"method": "GET", "path": "/v1/tasks?fields=task_id"},
            {"method": "POST", "path": "/v1/keys", "body": {"role": "auditor"}},
            {"method": "GET", "path": f"{name}?fields=price"},
            {"method": "GET", "path": "/v1/keys?role=auditor&fields=key_id"},
            {"method": "DELETE", "path": name},
            {"method": "GET", "path": f"{name}?fields=status"},
        ]
    results = await send(admin, *parts)
    for number in range(rounds):
        made, found, changed, task, listed, key, price, keys, gone, status = results[10 * number : 10 * number + 10]
        assert statuses([made, found, changed, task, listed, key, gone]) == [201, 200, 200, 202, 200, 201, 200]
        assert task["body"]["task_id"] == listed["body"]["tasks"][0]["task_id"]
        assert len(listed["body"]["tasks"]) == len(keys["body"]["keys"]) == number + 1
        assert (price["body"], status["body"]) == ({"price": 2.0 + number}, {"status": "deregistered"})


async def test_parts_keep_their_order_and_share_their_commits(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, disk = admin.node.system.journal, threading.Event()
    before, count, append = journal.commits, 300, journal.store.append

    def slowly(batch: Any) -> None:
        disk.wait()
        append(batch)

    async def wait_for_many() -> None:
        while journal.backlog < count // 2:
            await trio.lowlevel.checkpoint()
        disk.set()

    monkeypatch.setattr(journal.store, "append", slowly)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for_many)
        results = await send(admin, *[POST | {"body": TASK | {"description": str(n)}} for n in range(count)])
    assert statuses(results) == [202] * count
    assert journal.commits - before < count
    rows = (await admin.get(f"/v1/tasks?limit={count}&sort=submitted_at&fields=description"))["tasks"]
    assert [row["description"] for row in rows] == [str(n) for n in range(count)]


async def test_after_a_failure_the_others_are_tried_or_not(admin: Client) -> None:
    parts = (POST, POST | {"body": TASK | {"dependencies": ["none"]}}, POST)
    assert statuses(await send(admin, *parts)) == [202, 422, 202]
    stopped = await send(admin, *parts, on_error="stop")
    assert statuses(stopped) == [202, 422, 424]
    assert stopped[2]["body"]["type"] == "urn:gavel:problem:not_tried"
    assert len((await admin.get("/v1/tasks"))["tasks"]) == 3


async def test_a_batch_that_is_sent_again_does_nothing_twice(admin: Client) -> None:
    parts = (POST, POST | {"body": TASK | {"dependencies": ["none"]}}, POST | {"idempotency_key": "mine"})
    first = await send(admin, *parts, Idempotency_Key="k")
    again = await send(admin, *parts, Idempotency_Key="k")
    assert [one["body"].get("task_id") for one in first] == [one["body"].get("task_id") for one in again]
    (other,) = await send(admin, POST | {"idempotency_key": "mine"})
    assert other["body"] == first[2]["body"]
    (reused,) = await send(admin, POST | {"body": TASK | {"priority": 1}}, Idempotency_Key="k")
    assert (reused["status"], reused["body"]["type"]) == (422, "urn:gavel:problem:key_reused")
    assert len((await admin.get("/v1/tasks"))["tasks"]) == 2


async def test_a_part_may_do_what_its_caller_may_and_is_on_record(admin: Client) -> None:
    auditor, stranger = await admin.with_role(Role.AUDITOR), await admin.with_role(Role.ADMIN, "others")
    task_id = await admin.submit()
    cancel = {"method": "DELETE", "path": f"/v1/tasks/{task_id}"}
    assert statuses(await send(auditor, POST, cancel, {"method": "GET", "path": "/v1/tasks"})) == [403, 403, 200]
    assert statuses(await send(stranger, cancel, {"method": "GET", "path": "/v1/keys"})) == [404, 200]
    solver = await admin.register("solver")
    bids = [{"method": "POST", "path": f"/v1/tasks/{task_id}/bids", "body": BID | {"price": 1.0 + n}} for n in range(3)]
    other = {"method": "POST", "path": "/v1/agents/other/heartbeat"}
    own = {"method": "POST", "path": "/v1/agents/solver/heartbeat"}
    assert statuses(await send(solver, own, other)) == [200, 403]
    assert len(await send(solver, *bids)) == 3
    (done,) = await send(admin, cancel, X_Request_Id="asked-1")
    assert done["status"] == 200
    (row, *_) = (await admin.get(f"/v1/audit/trail?subject=task-{task_id}&principal={await _name(admin)}"))["trail"]
    assert row["tenant_id"] == "default"
    actions = [one for one in (await admin.get("/v1/audit/trail"))["trail"] if one["action"] == "tasks.cancel"]
    assert {one["request_id"] for one in actions} == {"asked-1.0"}
    unauthorized = await admin.http.post(f"{admin.node.url}/v1/batch", json={"requests": [POST]})
    assert unauthorized.status_code == 401


async def _name(client: Client) -> str:
    name: str = (await client.get("/v1/tasks"))["tasks"][0]["submitted_by"]
    return name


async def test_an_enrolment_key_cancels_what_it_has_submitted_in_the_same_batch(admin: Client) -> None:
    enroller = await admin.with_role(Role.AGENT)
    (made,) = await send(enroller, POST)
    cancel = {"method": "DELETE", "path": made["headers"]["location"]}
    foreign = {"method": "DELETE", "path": f"/v1/tasks/{await admin.submit()}"}
    assert statuses(await send(enroller, POST, cancel, foreign)) == [202, 200, 403]


@pytest.mark.parametrize(
    "body,pointer",
    [
        ({"requests": []}, "/requests"),
        ({"requests": [POST] * (PARTS_MAX + 1)}, "/requests"),
        ({"requests": [POST | {"path": "v1/tasks"}]}, "/requests/0/path"),
        ({"requests": [POST | {"path": "/v1/t\u00e4sks"}]}, "/requests/0/path"),
        ({"requests": [POST | {"method": "TRACE"}]}, "/requests/0/method"),
        ({"requests": [POST, POST | {"headers": {"Authorization": "Bearer x"}}]}, "/requests/1/headers/Authorization"),
        ({"requests": [POST | {"headers": {"If-Match": "a\r\nb"}}]}, "/requests/0/headers/If-Match"),
        ({"requests": [POST | {"idempotency_key": "two words"}]}, "/requests/0/idempotency_key"),
        ({"requests": [POST], "on_error": "retry"}, "/on_error"),
    ],
)
async def test_a_batch_that_is_none_is_refused_whole(admin: Client, body: Any, pointer: str) -> None:
    answer = await admin.ask("POST", "/v1/batch", body)
    assert answer.status_code == 422, answer.text
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]
    requests = body["requests"]
    if 0 < len(requests) <= PARTS_MAX:  # beside another fault it is told alike
        answer = await admin.ask("POST", "/v1/batch", body | {"requests": [*requests, {"method": "GET", "path": 1}]})
        assert {fault["pointer"] for fault in answer.json()["errors"]} == {pointer, f"/requests/{len(requests)}/path"}
    assert (await admin.get("/v1/tasks"))["tasks"] == []
    long = await admin.ask("POST", "/v1/batch", {"requests": [POST]}, Idempotency_Key="k" * 191)
    assert long.status_code == 400


async def test_what_streams_takes_bytes_or_is_a_batch_is_no_part_of_one(admin: Client) -> None:
    parts: list[dict[str, Any]] = [
        {"method": "GET", "path": "/v1/feed"},
        {"method": "PUT", "path": f"/v1/blobs/{'0' * 64}"},
        {"method": "POST", "path": "/v1/batch", "body": {"requests": [POST]}},
        {"method": "GET", "path": "/livez"},
    ]
    assert statuses(await send(admin, *parts)) == [501] * 4


async def test_msgpack_is_as_good_as_json(admin: Client) -> None:
    body = msgspec.msgpack.encode({"requests": [POST, {"method": "GET", "path": "/v1/tasks"}]})
    headers = {"Authorization": f"Bearer {admin.key}", "Content-Type": "application/msgpack"}
    answer = await admin.http.post(f"{admin.node.url}/v1/batch", content=body, headers=headers)
    assert statuses(answer.json()["results"]) == [202, 200]


async def test_an_answer_that_is_full_takes_no_more_reads(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.api.batch.ANSWER_BYTES_MAX", 10)
    read = {"method": "GET", "path": "/v1/tasks"}
    assert statuses(await send(admin, read, POST, read)) == [200, 202, 507]

"""What all routes do alike: idempotency keys, the position that a read waits for, and methods without bodies."""

from math import inf

import msgspec
import pytest
import trio
from starlette.requests import Request

from aggregates.values.roles import Principal, Role
from gateway.api import calls
from gateway.routes.tasks import routes
from tests.gateway.clients import TASK, Client


@pytest.mark.parametrize("key", ["two words", "x" * 201, "caf\u00e9"])
async def test_an_idempotency_key_that_is_none_is_refused(admin: Client, key: str) -> None:
    headers = [
        (b"Authorization", f"Bearer {admin.key}".encode()),
        (b"Idempotency-Key", key.encode("latin1")),
    ]
    answer = await admin.http.post(f"{admin.node.url}/v1/tasks", json=TASK, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:gavel:problem:header_invalid")
    assert [fault["header"] for fault in answer.json()["errors"]] == ["Idempotency-Key"]
    assert (await admin.get("/v1/tasks"))["tasks"] == []


async def test_an_idempotency_key_is_good_for_one_path(admin: Client) -> None:
    first = await admin.ask("POST", "/v1/keys", {"role": "auditor"}, Idempotency_Key="k")
    second = await admin.ask("POST", "/v1/tasks", TASK, Idempotency_Key="k")
    again = await admin.ask("POST", "/v1/keys", {"role": "auditor"}, Idempotency_Key="k")
    assert (first.status_code, second.status_code) == (201, 202)
    assert again.json() == first.json()


async def test_a_refusal_is_not_kept_under_the_idempotency_key(admin: Client) -> None:
    body = TASK | {"dependencies": ["none"]}
    for _ in range(2):
        assert (await admin.ask("POST", "/v1/tasks", body, Idempotency_Key="k")).status_code == 422
    assert (await admin.ask("POST", "/v1/tasks", TASK, Idempotency_Key="k")).status_code == 202


async def test_what_msgpack_can_have_and_json_cannot_is_refused_under_an_idempotency_key_as_without(
    admin: Client,
) -> None:
    body = {"task_type": "analysis", "payload": {"deep": [{1: "one", "two": 2}]}}
    headers = {"Authorization": f"Bearer {admin.key}", "Content-Type": "application/msgpack"}
    for named in ({}, {"Idempotency-Key": "k"}):
        answer = await admin.http.post(
            f"{admin.node.url}/v1/tasks", content=msgspec.msgpack.encode(body), headers=headers | named
        )
        assert (answer.status_code, "no text" in answer.text) == (422, True), answer.text


async def test_a_read_waits_for_the_position_that_it_names(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = await admin.submit()
    position = admin.node.system.journal.position
    answer = await admin.ask("GET", f"/v1/tasks/{task_id}?after_position={position}")
    assert answer.status_code == 200
    assert int(answer.headers["gavel-position"]) == position
    monkeypatch.setattr(calls, "CATCH_UP_SECONDS_MAX", 0.05)
    monkeypatch.setattr(admin.node.projector, "reached", -1)  # the read models are behind

    async def never(position: int) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(admin.node.projector, "wait_for", never)
    late = await admin.ask("GET", f"/v1/tasks/{task_id}?after_position={position}")
    assert (late.status_code, late.json()["type"]) == (503, "urn:gavel:problem:overloaded")
    assert "retry-after" in late.headers


async def test_a_position_past_the_logs_end_is_refused_at_once(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "CATCH_UP_SECONDS_MAX", inf)
    task_id = await admin.submit()
    position = admin.node.system.journal.position + 1000
    for path in ("/v1/tasks", f"/v1/tasks/{task_id}"):
        ahead = await admin.ask("GET", f"{path}?after_position={position}", Prefer="wait=30")
        assert (ahead.status_code, ahead.json()["type"]) == (422, "urn:gavel:problem:position_ahead")
        assert [fault["parameter"] for fault in ahead.json()["errors"]] == ["after_position"]


async def test_a_head_has_no_body(admin: Client) -> None:
    answer = await admin.ask("HEAD", "/v1/tasks")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_an_unknown_path_is_not_found_for_everybody(admin: Client) -> None:
    answer = await admin.http.get(f"{admin.node.url}/v2/tasks")
    assert (answer.status_code, answer.json()["status"]) == (404, 404)


async def test_browsers_are_told_to_be_careful(admin: Client) -> None:
    answer = await admin.http.get(f"{admin.node.url}/livez")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "header,correlation",
    [
        (f"00-{'4b' * 16}-{'0a' * 8}-01", "4b" * 16),
        (f"00-{'00' * 16}-{'0a' * 8}-01", ""),
        ("nonsense", ""),
        ("", ""),
    ],
)
async def test_a_trace_goes_on_into_the_actors(admin: Client, header: str, correlation: str) -> None:
    headers = [(b"traceparent", header.encode())]
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers}
    principal = Principal(name="admin:k", key_id="k", role=Role.ADMIN, tenant="default")
    context = calls.Call(Request(scope), admin.node, principal, routes[0]).context()
    assert (context.traceparent, context.correlation) == (header if correlation else "", correlation)

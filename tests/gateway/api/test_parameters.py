"""What a request says beside its body: all that is wrong with it is told at once, by the name of where it stands."""

from typing import Any

import pytest

from tests.gateway.clients import TASK, Client


async def faults(
    client: Client, method: str, path: str, *, body: Any = None, **headers: str
) -> tuple[int, str, dict[str, str]]:
    """Status and code of the refusal, and what is wrong, by its place."""
    answer = await client.ask(method, path, body, **headers)
    problem = answer.json()
    found = {}
    for fault in problem["errors"]:
        (place,) = fault.keys() - {"detail"}
        found[f"{place} {fault[place]}"] = fault["detail"]
        assert f"{fault[place]} {fault['detail']}" in problem["detail"]
    return answer.status_code, problem["type"].rpartition(":")[2], found


async def test_every_fault_of_a_query_is_told_at_once(admin: Client) -> None:
    path = "/v1/tasks?limit=none&stage=half&stage=done&as_of=yesterday&stages=open&after=0"
    assert await faults(admin, "GET", path) == (
        422,
        "query_invalid",
        {
            "parameter limit": "must be an integer from 1 to 500",
            "parameter stage": "stands twice",
            "parameter as_of": "must be a position, or a time with its zone as ISO 8601 has it: 2026-01-31T12:00:00Z",
            "parameter stages": "is not a known parameter",
        },
    )


async def test_faults_of_path_headers_and_query_are_told_together(admin: Client) -> None:
    path = "/v1/tasks/-no-id-?reason=why&because=so"
    status, code, found = await faults(admin, "DELETE", path, Idempotency_Key="two words")
    assert (status, code) == (404, "not_found")
    assert found.keys() == {"parameter task_id", "header Idempotency-Key", "parameter because"}
    status, code, found = await faults(admin, "DELETE", "/v1/tasks/t1?because=so", Idempotency_Key="two words")
    assert (status, code) == (400, "header_invalid")
    assert found.keys() == {"header Idempotency-Key", "parameter because"}


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/v1/audit/proofs/first", "must be an integer from 1 to 9223372036854775807"),
        ("/v1/audit/proofs/0", "must be an integer from 1 to 9223372036854775807"),
        (f"/v1/agents/{'a' * 101}", "must have at most 100 characters"),
        ("/v1/agents/a%0A", "must match ^[A-Za-z0-9][A-Za-z0-9._-]*$"),
        ("/v1/blobs/abc", "must match ^[0-9a-f]{64}$"),
    ],
)
async def test_what_can_be_no_name_is_not_there(admin: Client, path: str, detail: str) -> None:
    status, code, found = await faults(admin, "GET", path)
    assert (status, code, list(found.values())) == (404, "not_found", [detail])


async def test_a_header_that_must_be_there_is_missed(admin: Client) -> None:
    path = (await admin.ask("POST", "/v1/blobs/uploads", {"length": 3})).headers["location"]
    assert await faults(admin, "PATCH", path) == (400, "header_invalid", {"header Upload-Offset": "is missing"})
    _, _, found = await faults(admin, "PATCH", path, Upload_Offset="-1")
    assert list(found) == ["header Upload-Offset"]


async def test_nobody_hears_of_faults_whom_the_route_is_not_for(admin: Client) -> None:
    stranger = Client(admin.node, admin.http, "gvl_none")
    assert (await stranger.ask("GET", "/v1/tasks?limit=none")).status_code == 401
    answer = await (await admin.register("a1")).ask("POST", "/v1/tasks?limit=none", TASK)
    assert answer.status_code == 403


async def test_a_page_that_anybody_may_open_minds_no_query(admin: Client) -> None:
    assert (await admin.ask("GET", "/livez?from=balancer")).status_code == 200


async def test_a_header_that_means_one_thing_stands_once(admin: Client) -> None:
    sent = [("Authorization", f"Bearer {admin.key}"), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    answer = await admin.http.post(f"{admin.node.url}/v1/tasks", json=TASK, headers=sent)
    assert (answer.status_code, answer.json()["errors"]) == (
        400,
        [{"header": "Idempotency-Key", "detail": "stands twice"}],
    )
    assert (await admin.get("/v1/tasks"))["tasks"] == []


async def test_a_body_where_none_is_taken_is_refused_and_not_passed_over(admin: Client) -> None:
    task = await admin.submit()
    answer = await admin.ask("DELETE", f"/v1/tasks/{task}", {"reason": "it stands in the query"})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:gavel:problem:body_invalid")
    assert answer.json()["errors"][0]["detail"].startswith("is not taken here")
    assert (await admin.ask("DELETE", f"/v1/tasks/{task}", {})).status_code == 200

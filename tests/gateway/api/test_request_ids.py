"""A request's id and trace are told wherever it left a mark: in its answer, its problem, the log, the trail and the journal."""

import io
import re
from contextvars import copy_context

import msgspec
import pytest
import structlog
import trio
from eventsourcing.persistence import OperationalError

from aggregates.values.roles import Role
from gateway.api.request_ids import Named, begin
from runtime import telemetry
from tests.gateway.clients import TASK, Client, Denied, open_socket

TRACE = "4b" * 16
PARENT = f"00-{TRACE}-{'0a' * 8}-01"


async def test_an_id_is_taken_or_made_and_told_with_every_answer_refusals_included(admin: Client) -> None:
    taken = await admin.ask("GET", "/v1/tasks", X_Request_Id="web-1:7f.A")
    assert taken.headers["x-request-id"] == "web-1:7f.A"
    made = [await admin.ask("GET", "/v1/tasks", X_Request_Id=given) for given in ("", "two words", "x" * 129)]
    ids = {answer.headers["x-request-id"] for answer in made}
    assert len(ids) == 3
    assert all(re.fullmatch(r"[0-9a-f]{16,}", one) for one in ids)
    for method, path, status in (("GET", "/v1/tasks/none", 404), ("PATCH", "/v1/tasks", 405), ("GET", "/nowhere", 404)):
        refused = await admin.ask(method, path, X_Request_Id="mine")
        told = (refused.status_code, refused.headers["x-request-id"], refused.json()["instance"])
        assert told == (status, "mine", "urn:gavel:request:mine")
    stranger = await admin.http.get(f"{admin.node.url}/v1/tasks")
    assert stranger.json()["instance"] == f"urn:gavel:request:{stranger.headers['x-request-id']}"
    with pytest.raises(Denied) as denied:
        async with open_socket(admin.node, "/v1/feed", "wrong", "", **{"X-Request-Id": "socket-1"}):
            raise AssertionError
    assert denied.value.document["instance"] == "urn:gavel:request:socket-1"


async def test_a_trace_goes_out_again_with_its_state_and_one_that_is_none_does_not(admin: Client) -> None:
    answer = await admin.ask(
        "GET", "/v1/tasks", traceparent=PARENT, tracestate="rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
    )
    assert (answer.headers["traceparent"], answer.headers["tracestate"]) == (
        PARENT,
        "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
    )
    for parent, state in (("nonsense", "a=1"), (PARENT, "x" * 513)):
        answer = await admin.ask("GET", "/v1/tasks", traceparent=parent, tracestate=state)
        assert "tracestate" not in answer.headers
        assert ("traceparent" in answer.headers) is (parent == PARENT)


async def test_the_trail_and_the_log_name_the_request(admin: Client, capsys: pytest.CaptureFixture[str]) -> None:
    developer = await admin.with_role(Role.AUDITOR)
    refused = await developer.ask("POST", "/v1/keys", {"role": "auditor"}, X_Request_Id="denied-1", traceparent=PARENT)
    assert refused.status_code == 403
    issued = await admin.ask("POST", "/v1/keys", {"role": "auditor"}, X_Request_Id="granted-1")
    assert issued.status_code == 201
    with trio.fail_after(60):
        while True:
            rows = (await admin.get("/v1/audit/trail"))["trail"]
            if {"denied-1", "granted-1"} <= {row["request_id"] for row in rows}:
                break
            await admin.node.system.journal.wait_past(admin.node.system.journal.position, 0.2)


async def test_a_line_of_the_log_says_of_which_request_and_trace_it_is(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.StringIO()
    before = structlog.get_config()
    telemetry.configure(log_format="json", level="info", stream=written)

    async def fail(*_: object, **__: object) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(type(admin.node.projector), "glance", fail)
    try:
        answer = await admin.ask("GET", "/v1/tasks", X_Request_Id="broken-1", traceparent=PARENT)
    finally:
        structlog.configure(**before)
    assert answer.status_code == 503
    (line,) = [msgspec.json.decode(one) for one in written.getvalue().splitlines() if '"journal_unreadable"' in one]
    assert (line["request_id"], line["trace_id"]) == ("broken-1", TRACE)


def test_an_id_is_bounded_and_of_a_few_characters() -> None:
    def named(*headers: tuple[bytes, bytes]) -> Named:
        return copy_context().run(begin, {"type": "http", "headers": list(headers)})

    assert named((b"x-request-id", b"a-1")).request_id == "a-1"
    assert named((b"x-request-id", b"-a")).request_id != "-a"
    assert named((b"x-request-id", "caf\u00e9".encode())).request_id.isascii()
    halves = named((b"traceparent", PARENT.encode()), (b"tracestate", b"a=1"), (b"tracestate", b"b=2"))
    assert (halves.trace_id, halves.tracestate) == (TRACE, "a=1,b=2")


async def test_what_is_recorded_belongs_to_the_trace(admin: Client) -> None:
    task = (await admin.ask("POST", "/v1/tasks", TASK, traceparent=PARENT)).json()["task_id"]
    records = (await admin.get(f"/v1/log?stream=task-{task}"))["records"]
    assert {record["correlation"] for record in records} == {TRACE}

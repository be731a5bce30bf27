"""Whoever prefers to wait is answered when there is something to tell, at the latest when its time is up; who leaves waits no more."""

from typing import Any

import httpx2
import pytest
import trio

from gateway.api.preferences import WAIT_SECONDS_MAX, preferences
from gateway.feeds import waiting
from tests.gateway.clients import BID, TASK, AgentClient, Client
from tests.gateway.routes.test_solves import problem_of


async def bid_and_win(solver: AgentClient, task_id: str) -> int:
    """The token of the award."""
    await solver.ask("POST", f"/v1/tasks/{task_id}/bids", BID)
    while (task := await solver.get(f"/v1/tasks/{task_id}"))["token"] is None:
        await solver.node.system.journal.wait_past(solver.node.system.journal.position, 1)
    token: int = task["token"]
    return token


async def complete(solver: AgentClient, task_id: str, token: int) -> None:
    for status in ("started", "completed"):
        body = {"status": status, "token": token} | ({"result": {"cut": 7}} if status == "completed" else {})
        assert (await solver.ask("PUT", f"/v1/tasks/{task_id}/status", body)).status_code == 200


async def waits(admin: Client, count: int = 1) -> None:
    """Until so many are waited for."""
    while len(admin.node.waits) != count:
        await trio.lowlevel.checkpoint()


async def other(client: Client, http: httpx2.AsyncClient) -> Client:
    return Client(client.node, http, client.key)


async def test_a_submission_waits_for_the_end_of_its_task(admin: Client) -> None:
    solver = await admin.register("solver")
    answers: list[httpx2.Response] = []

    async def submit() -> None:
        async with httpx2.AsyncClient(verify=False, timeout=120) as http:
            client = await other(admin, http)
            answers.append(await client.ask("POST", "/v1/tasks", TASK, Prefer="wait=20", Idempotency_Key="once"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(submit)
        await waits(admin)
        (task,) = (await admin.get("/v1/tasks"))["tasks"]
        await complete(solver, task["task_id"], await bid_and_win(solver, task["task_id"]))
    (answer,) = answers
    assert (answer.status_code, answer.json()["stage"], answer.json()["result"]) == (200, "completed", {"cut": 7})
    assert answer.headers["preference-applied"] == "wait=20"
    assert answer.headers["location"] == f"/v1/tasks/{task['task_id']}"
    assert "Prefer" in answer.headers["vary"]
    # Sent again, it has ended long since.
    again = await admin.ask("POST", "/v1/tasks", TASK, Prefer="wait=20", Idempotency_Key="once")
    assert (again.status_code, again.json()["task_id"]) == (200, task["task_id"])
    assert len(admin.node.waits) == 0


async def open_task(admin: Client) -> tuple[str, httpx2.Response]:
    """A task that is open for bids, to which nothing happens by itself, and what it looks like."""
    await admin.register("solver")
    task_id = await admin.submit()
    while (answer := await admin.ask("GET", f"/v1/tasks/{task_id}")).json()["stage"] != "bidding":
        await admin.node.system.journal.wait_past(int(answer.headers["gavel-position"]), 1)
    return task_id, answer


async def test_who_has_waited_in_vain_is_told_where_to_ask(admin: Client) -> None:
    task_id, seen = await open_task(admin)
    told: dict[str, httpx2.Response] = {}

    async def ask(name: str, method: str, path: str, body: Any = None, **headers: str) -> None:
        async with httpx2.AsyncClient(verify=False, timeout=120) as http:
            told[name] = await (await other(admin, http)).ask(method, path, body, Prefer="wait=1", **headers)

    path = f"/v1/tasks/{task_id}"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "submitted", "POST", "/v1/tasks", TASK)
        nursery.start_soon(lambda: ask("unchanged", "GET", path, If_None_Match=seen.headers["etag"]))
        nursery.start_soon(ask, "same", "GET", f"{path}?after_position={seen.headers['gavel-position']}")
    assert {name: answer.status_code for name, answer in told.items()} == {
        "submitted": 202,
        "unchanged": 304,
        "same": 200,
    }
    assert {answer.headers["preference-applied"] for answer in told.values()} == {"wait=1"}
    assert (await admin.ask("GET", told["submitted"].headers["location"])).status_code == 200
    assert told["same"].json() == seen.json()


async def test_a_read_waits_for_a_change_of_what_it_reads_and_of_nothing_else(admin: Client) -> None:
    task_id, first = await open_task(admin)
    position = first.json()["last_position"]
    answers: dict[str, httpx2.Response] = {}

    async def poll(query: str, **headers: str) -> None:
        async with httpx2.AsyncClient(verify=False, timeout=120) as http:
            client = await other(admin, http)
            answers[query] = await client.ask("GET", f"/v1/tasks/{task_id}{query}", Prefer="wait=20", **headers)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: poll("", If_None_Match=first.headers["etag"]))
        nursery.start_soon(poll, f"?after_position={position}")
        await waits(admin, 2)
        await admin.submit()
        await admin.get("/v1/tasks")
        assert not answers
        await admin.ask("DELETE", f"/v1/tasks/{task_id}")
    assert [answer.json()["stage"] for answer in answers.values()] == ["cancelled", "cancelled"]
    assert all(answer.headers["preference-applied"] == "wait=20" for answer in answers.values())
    # What has changed already is told at once.
    late = await admin.ask("GET", f"/v1/tasks/{task_id}", Prefer="wait=20", If_None_Match=first.headers["etag"])
    assert (late.status_code, late.json()["stage"]) == (200, "cancelled")


async def test_a_client_that_leaves_is_waited_for_no_more(admin: Client) -> None:
    async with httpx2.AsyncClient(verify=False, timeout=120) as http:
        client = await other(admin, http)
        with trio.CancelScope() as leaving:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: client.ask("POST", "/v1/tasks", TASK, Prefer="wait=25"))
                await waits(admin)
                leaving.cancel()
    await waits(admin, 0)
    assert len((await admin.get("/v1/tasks"))["tasks"]) == 1


async def test_more_than_may_wait_are_answered_at_once(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(waiting, "WAITS_MAX", 0)
        answer = await admin.ask("POST", "/v1/tasks", TASK, Prefer="wait=25")
        assert (answer.status_code, "preference-applied" in answer.headers) == (202, False)
    monkeypatch.setattr(waiting, "WAITS_OF_TENANT_MAX", 1)
    all_waits, anything = admin.node.waits, (lambda record: True)
    with (
        all_waits.watching("acme", "task-1", anything) as first,
        all_waits.watching("acme", "task-1", anything) as second,
        all_waits.watching("others", "task-1", anything) as third,
    ):
        assert (first is None, second is None, third is None, len(all_waits)) == (False, True, False, 2)
    assert (len(all_waits), all_waits._count_by_tenant) == (0, {})


async def test_a_solve_is_waited_for(admin: Client) -> None:
    body = {"problem_id": await problem_of(admin), "seconds": 0.05}
    answer = await admin.ask("POST", "/v1/solves", body, Prefer="wait=20")
    assert (answer.status_code, answer.json()["stage"]) == (200, "completed")
    assert answer.json()["assignment"]


async def test_many_records_at_once_wake_all_who_wait(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LOOK_RECORDS_MAX", 0)
    task_id = await admin.submit()
    etag = (await admin.ask("GET", f"/v1/tasks/{task_id}")).headers["etag"]

    async def cancel() -> None:
        async with httpx2.AsyncClient(verify=False, timeout=120) as http:
            await waits(admin)
            await (await other(admin, http)).ask("DELETE", f"/v1/tasks/{task_id}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel)
        answer = await admin.ask("GET", f"/v1/tasks/{task_id}", Prefer="wait=20", If_None_Match=etag)
    assert answer.json()["stage"] == "cancelled"


async def test_a_write_answers_with_as_much_as_its_caller_prefers(admin: Client) -> None:
    await admin.register("solver")
    for method, path, body in (
        ("PATCH", "/v1/agents/solver", {"price": 2.0}),
        ("POST", "/v1/agents/solver/drain", None),
        ("DELETE", f"/v1/tasks/{await admin.submit()}", None),
        ("DELETE", "/v1/agents/solver", None),
    ):
        little = await admin.ask(method, path, body, Prefer="return=minimal", Idempotency_Key="k")
        assert (little.status_code, little.content) == (204, b"")
        assert little.headers["preference-applied"] == "return=minimal"
        whole = await admin.ask(method, path, body, Prefer="return=representation", Idempotency_Key="k")
        assert whole.headers["preference-applied"] == "return=representation"
        row = await admin.get(path.removesuffix("/drain"))
        assert whole.json() == row
        plain = await admin.ask(method, path, body, Prefer="return=everything", Idempotency_Key="k")
        assert (plain.status_code, "preference-applied" in plain.headers) == (200, False)


@pytest.mark.parametrize(
    "given,wait,returns,is_async",
    [
        ([], 0, "", False),
        ([b"wait=5"], 5, "", False),
        ([b"WAIT = 5; a=b, return=minimal"], 5, "minimal", False),
        ([b"wait=5", b"wait=9, respond-async"], 5, "", True),
        ([b'wait="7"'], 7, "", False),
        ([b"wait=99999999999999999999"], WAIT_SECONDS_MAX, "", False),
        ([b"wait=-1, wait=1"], 0, "", False),
        ([b"wait=\xb2, return=all"], 0, "", False),
        ([b"," * 50], 0, "", False),
    ],
)
def test_preferences_are_read_and_what_makes_no_sense_is_passed_over(
    given: Any, wait: int, returns: str, is_async: bool
) -> None:
    found = preferences({"headers": [(b"prefer", line) for line in given]})
    assert (found.wait, found.returns, found.respond_async) == (wait, returns, is_async)

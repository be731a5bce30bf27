"""Work that takes long is answered at once where that is preferred, and goes on: whoever began it can ask how it ended."""

import threading
from typing import Any

import pytest
import trio

from aggregates.values.roles import Role
from gateway.api import operations
from tests.gateway.clients import Client
from tests.gateway.routes.test_solves import TRIANGLE

VERIFY = "/v1/audit/verify"


@pytest.fixture
def gate(admin: Client, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Keeps verifications waiting until it is set."""
    opened, judge = threading.Event(), admin.node.store.judge

    def slowly(**asked: Any) -> Any:
        opened.wait(20)
        return judge(**asked)

    monkeypatch.setattr(admin.node.store, "judge", slowly)
    return opened


async def test_who_prefers_not_to_wait_is_told_where_to_ask_and_finds_the_result(
    admin: Client, gate: threading.Event
) -> None:
    begun = await admin.ask("GET", VERIFY, Prefer="respond-async")
    assert (begun.status_code, begun.json()["status"], begun.json()["result"]) == (202, "running", None)
    assert begun.headers["preference-applied"] == "respond-async"
    place = begun.headers["location"]
    assert (await admin.get(place))["status"] == "running"
    assert await outcomes(admin) == ["begun"]
    gate.set()
    ended = await admin.ask("GET", place, Prefer="wait=20")
    assert (ended.json()["status"], ended.json()["problem"]) == ("done", None)
    direct = await admin.get(VERIFY)
    assert ended.json()["result"].keys() == direct.keys()
    for other in (await admin.with_role(Role.ADMIN), await admin.with_role(Role.ADMIN, "others")):
        assert (await other.ask("GET", place)).status_code == 404
    with trio.fail_after(60):
        while "begun" in await outcomes(admin):
            await trio.lowlevel.checkpoint()


async def outcomes(admin: Client) -> list[str]:
    """How the verifications stand, by the trail: one that has ended has two lines."""
    rows = (await admin.get("/v1/audit/trail"))["trail"]
    lines = [row["outcome"] for row in rows if row["action"] == "audit.verified"]
    return ["begun"] * (lines.count("begun") - lines.count("done") - lines.count("refused")) + ["done"] * lines.count(
        "done"
    )


async def test_what_ends_in_time_is_answered_as_if_it_had_been_waited_for(admin: Client) -> None:
    answer = await admin.ask("GET", VERIFY, Prefer="respond-async, wait=20")
    assert (answer.status_code, "location" in answer.headers) == (200, False)
    refused = await admin.ask("GET", f"{VERIFY}?against=nonsense", Prefer="respond-async, wait=20")
    assert refused.status_code == 422


async def test_a_failure_is_told_as_the_problem_that_it_would_have_been(admin: Client, gate: threading.Event) -> None:
    begun = await admin.ask("GET", f"{VERIFY}?against=nonsense", Prefer="respond-async")
    gate.set()
    ended = (await admin.ask("GET", begun.headers["location"], Prefer="wait=20")).json()
    assert (ended["status"], ended["problem"]["status"]) == ("failed", 422)


async def test_only_so_many_are_kept_and_go_on(
    admin: Client, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "OPERATIONS_OF_TENANT_MAX", 1)
    other = await admin.with_role(Role.ADMIN, "others")
    first = await admin.ask("GET", VERIFY, Prefer="respond-async")
    assert (await admin.ask("GET", VERIFY, Prefer="respond-async")).status_code == 503
    assert (await other.ask("GET", VERIFY, Prefer="respond-async")).status_code == 202
    gate.set()
    await admin.ask("GET", first.headers["location"], Prefer="wait=20")
    second = await admin.ask("POST", "/v1/blobs/collection", Prefer="respond-async")
    assert (await admin.ask("GET", first.headers["location"])).status_code == 404
    assert (await admin.ask("GET", second.headers["location"], Prefer="wait=20")).json()["status"] == "done"


async def test_what_may_take_long_goes_on_and_ends_as_it_would_have(admin: Client) -> None:
    person = {"username": "ann", "email": "ann@example.com", "role": "operator"}
    user_id = (await admin.ask("POST", "/v1/users", person)).json()["user_id"]
    blob = (await admin.upload(TRIANGLE)).json()["sha256"]
    asked: tuple[tuple[str, str, Any, int, str], ...] = (
        ("POST", "/v1/problems", {"name": "triangle", "blob": blob}, 201, "problem_id"),
        ("POST", "/v1/journals", {"name": "acme"}, 201, "key"),
        ("DELETE", f"/v1/subjects/{user_id}", None, 200, "keys"),
    )
    for method, path, body, status, field in asked:
        begun = await admin.ask(method, path, body, Prefer="respond-async", Idempotency_Key="once")
        assert begun.status_code == 202, begun.text
        ended = (await admin.ask("GET", begun.headers["location"], Prefer="wait=20")).json()
        assert (ended["status"], bool(ended["result"][field])) == ("done", True), ended
        again = await admin.ask(method, path, body, Prefer="respond-async, wait=20", Idempotency_Key="once")
        if method == "DELETE":  # answered as before, where to ask
            assert (again.status_code, again.content) == (202, begun.content)
        else:
            assert again.status_code == status, again.text
    assert (await admin.get(f"/v1/users/{user_id}"))["username"] == ""
    refused = await admin.ask("DELETE", "/v1/subjects/nobody", Prefer="respond-async, wait=20")
    assert refused.json()["type"] == "urn:gavel:problem:subject_unknown"

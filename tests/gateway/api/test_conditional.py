"""Conditional requests: nothing is read for whoever has it already, and nothing is written over what its writer has not seen."""

from typing import Any

import httpx2
import pytest
import trio

from aggregates.values.roles import Role
from gateway.api import conditional
from tests.gateway.clients import TASK, Client, recorded
from tests.gateway.routes.test_solves import problem_of

PAGES = ("/v1/tasks", "/v1/agents", "/v1/keys", "/v1/solves", "/v1/problems", "/v1/tasks?limit=1&stage=bidding")


class Reads:
    """Counts what the read models are asked."""

    def __init__(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._glance = client.node.projector.glance
        monkeypatch.setattr(client.node.projector, "glance", self._ask)

    async def _ask(self, question: Any) -> Any:
        self.count += 1
        return await self._glance(question)


async def test_who_has_it_is_told_so_without_a_question_to_the_read_models(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    solver = await admin.register("solver")
    task_id = await admin.submit()
    await solver.ask("POST", f"/v1/tasks/{task_id}/bids", {"price": 1.0, "eta_seconds": 5.0})
    await recorded(admin, "task.TaskAwarded")
    reads = Reads(admin, monkeypatch)
    for path in (f"/v1/tasks/{task_id}", "/v1/agents/solver", f"/v1/tasks/{task_id}/bids", *PAGES):
        first = await admin.ask("GET", path)
        etag, count = first.headers["etag"], reads.count
        assert first.headers["cache-control"] == "private, no-cache"
        assert first.headers["vary"] == "Authorization, Cookie"
        assert etag.startswith("W/") is (path not in (f"/v1/tasks/{task_id}", "/v1/agents/solver")), path
        for method in ("GET", "HEAD"):
            for given in (etag, f'"0.00", {etag}', f"{etag},W/{etag.removeprefix('W/')}"):
                again = await admin.ask(method, path, If_None_Match=given)
                assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
                assert again.headers["gavel-position"]
        assert reads.count == count
        for given in ('"nonsense"', "W/x", "", etag.replace(".", ".f")):
            assert (await admin.ask("GET", path, If_None_Match=given)).status_code == 200
        assert (await admin.ask("GET", path, If_None_Match="*")).status_code == 304


async def test_what_changes_an_answer_ends_its_tag_and_what_does_not_leaves_it(admin: Client) -> None:
    await admin.register("solver")
    task_id, other = await admin.submit(), await admin.submit()
    tags = {path: (await admin.ask("GET", path)).headers["etag"] for path in (f"/v1/tasks/{task_id}", *PAGES)}

    async def still(path: str) -> bool:
        return (await admin.ask("GET", path, If_None_Match=tags[path])).status_code == 304

    await admin.ask("POST", "/v1/keys", {"role": "auditor"})
    assert [await still(path) for path in tags] == [True, True, True, False, True, True, True]
    await admin.ask("DELETE", f"/v1/tasks/{other}")
    assert [await still(path) for path in tags] == [True, False, False, False, True, True, False]
    await admin.ask("DELETE", f"/v1/tasks/{task_id}")
    assert not await still(f"/v1/tasks/{task_id}")
    changed = await admin.ask("GET", f"/v1/tasks/{task_id}", If_None_Match=tags[f"/v1/tasks/{task_id}"])
    assert (changed.status_code, changed.json()["stage"]) == (200, "cancelled")


async def test_lists_of_whoever_runs_the_node_and_the_log_are_named_too(admin: Client) -> None:
    ann = {"username": "ann", "email": "ann@example.com", "role": "operator"}
    user = (await admin.ask("POST", "/v1/users", ann)).json()["user_id"]
    hook = (await admin.ask("POST", "/v1/webhooks", {"url": "https://example.com/", "kinds": ["task"]})).json()
    of_one = {f"/v1/users/{user}", f"/v1/webhooks/{hook['webhook_id']}"}
    listed = {"/v1/users", "/v1/sessions", "/v1/subjects", "/v1/webhooks", "/v1/log?limit=500"}
    by_content = {"/v1/journals", "/v1/blobs/uploads"}

    async def tags() -> dict[str, str]:
        paths = sorted(of_one | listed | by_content)
        return {path: (await admin.ask("GET", path)).headers["etag"] for path in paths}

    async def changed(seen: dict[str, str]) -> set[str]:
        statuses = {path: (await admin.ask("GET", path, If_None_Match=seen[path])).status_code for path in seen}
        assert set(statuses.values()) <= {200, 304}
        return {path for path in seen if statuses[path] == 200}

    first = await tags()
    assert {path for path in first if first[path].startswith("W/")} == listed
    assert await changed(first) == set()
    await admin.ask("PATCH", f"/v1/users/{user}", {"name": "Ann"})
    told = {"/v1/users", f"/v1/users/{user}", "/v1/subjects", "/v1/log?limit=500"}
    assert await changed(first) == told
    second = await tags()
    await admin.ask(
        "POST", f"/v1/webhooks/{hook['webhook_id']}/pause", If_Match=second[f"/v1/webhooks/{hook['webhook_id']}"]
    )
    # Any record may tell of a person, so that data subjects rest on the whole log.
    assert await changed(second) == {
        "/v1/webhooks",
        f"/v1/webhooks/{hook['webhook_id']}",
        "/v1/subjects",
        "/v1/log?limit=500",
    }
    await admin.ask("POST", "/v1/blobs/uploads", {"length": 1})
    assert await changed(second) >= {"/v1/blobs/uploads"}
    stale = await admin.ask("PATCH", f"/v1/users/{user}", {"name": "Anna"}, If_Match=first[f"/v1/users/{user}"])
    assert stale.status_code == 412
    admin.node.erasures += 1  # what is read meanwhile may be withheld the moment after
    assert "etag" not in (await admin.ask("GET", "/v1/log")).headers


async def test_a_tag_is_good_for_what_it_was_given_with_and_for_its_tenant(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = await admin.submit()
    etag = (await admin.ask("GET", f"/v1/tasks/{task_id}")).headers["etag"]
    assert (await admin.ask("GET", "/v1/tasks/none", If_None_Match=etag)).status_code == 404
    stranger = await admin.with_role(Role.ADMIN, "others")
    assert (await stranger.ask("GET", f"/v1/tasks/{task_id}", If_None_Match=etag)).status_code == 404
    assert (await admin.ask("GET", f"/v1/tasks/{task_id}?after_position=1", If_None_Match=etag)).status_code == 200
    refused = await stranger.ask("DELETE", f"/v1/tasks/{task_id}", If_Match='"1.0000000000"')
    assert refused.status_code == (await stranger.ask("DELETE", f"/v1/tasks/{task_id}")).status_code == 404
    # Past what is looked through, the answer is read anew.
    monkeypatch.setattr(conditional, "RECENT_MAX", 0)
    await admin.submit()
    assert (await admin.ask("GET", f"/v1/tasks/{task_id}", If_None_Match=etag)).status_code == 200


async def test_a_tag_promises_no_more_than_was_waited_for(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = await admin.submit()
    await admin.get(f"/v1/tasks/{task_id}")
    path = f"/v1/tasks/{task_id}?after_position=1"
    early, glance = await admin.get(path), admin.node.projector.glance

    async def behind(question: Any) -> Any:
        return await glance(lambda connection: early)

    await admin.ask("DELETE", f"/v1/tasks/{task_id}")
    with monkeypatch.context() as patched:
        patched.setattr(admin.node.projector, "glance", behind)
        etag = (await admin.ask("GET", path)).headers["etag"]
    await admin.get(f"/v1/tasks/{task_id}")  # which waits for what was recorded, as a read from a position on does not
    assert (await admin.ask("GET", path, If_None_Match=etag)).json()["stage"] == "cancelled"


async def test_a_stopped_projection_names_nothing(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = await admin.submit()
    etag = (await admin.ask("GET", f"/v1/tasks/{task_id}")).headers["etag"]
    (standing, *rest) = admin.node.projector.status()
    stopped = type(standing)(name=standing.name, position=standing.position, stopped_at=1, reason="broken")
    monkeypatch.setattr(admin.node.projector, "status", lambda: (stopped, *rest))
    answer = await admin.ask("GET", f"/v1/tasks/{task_id}", If_None_Match=etag)
    assert (answer.status_code, "etag" in answer.headers) == (200, False)


async def test_a_write_that_names_what_it_has_seen_is_done_only_where_nothing_came_between(admin: Client) -> None:
    await admin.register("solver")
    seen = (await admin.ask("GET", "/v1/agents/solver")).headers["etag"]
    first = await admin.ask("PATCH", "/v1/agents/solver", {"price": 2.0}, If_Match=seen)
    assert first.status_code == 200
    late = await admin.ask("PATCH", "/v1/agents/solver", {"price": 3.0}, If_Match=seen)
    assert (late.status_code, late.json()["type"]) == (412, "urn:gavel:problem:resource_changed")
    for given in ('"none"', f"W/{seen}", '"5.0000000000"'):  # no tag of this, and weak ones never name what is written
        assert (await admin.ask("POST", "/v1/agents/solver/drain", If_Match=given)).status_code == 412
    assert (await admin.ask("PATCH", "/v1/agents/solver", {"price": 4.0}, If_None_Match="*")).status_code == 412
    assert (await admin.get("/v1/agents/solver"))["price"] == 2.0
    assert (await admin.ask("PATCH", "/v1/agents/solver", {"price": 5.0}, If_Match="*")).status_code == 200
    now = (await admin.ask("GET", "/v1/agents/solver")).headers["etag"]
    assert (await admin.ask("POST", "/v1/agents/solver/drain", If_Match=f'"no", {now}')).status_code == 200
    for method, path in (("PATCH", "/v1/agents/none"), ("DELETE", "/v1/tasks/none")):
        body = {"price": 1.0} if method == "PATCH" else None
        assert (await admin.ask(method, path, body, If_Match=now)).status_code == 404


async def test_of_many_writers_that_have_seen_the_same_one_writes(admin: Client) -> None:
    await admin.register("solver")
    for round_number in range(3):
        seen = (await admin.ask("GET", "/v1/agents/solver")).headers["etag"]
        told: list[int] = []

        async def write(price: float, seen: str = seen, told: list[int] = told) -> None:
            async with httpx2.AsyncClient(verify=False) as http:
                client = Client(admin.node, http, admin.key)
                answer = await client.ask("PATCH", "/v1/agents/solver", {"price": price}, If_Match=seen)
                told.append(answer.status_code)

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(write, 1.0 + number + 10 * round_number)
        assert sorted(told) == [200, *[412] * 7]


async def test_a_write_that_is_sent_again_under_its_key_is_answered_as_before(admin: Client) -> None:
    task = (await admin.ask("POST", "/v1/tasks", TASK)).json()["task_id"]
    seen = (await admin.ask("GET", f"/v1/tasks/{task}")).headers["etag"]
    for _ in range(2):
        answer = await admin.ask("DELETE", f"/v1/tasks/{task}", If_Match=seen, Idempotency_Key="once")
        assert answer.status_code == 200, answer.text


async def test_a_row_that_changes_by_its_own_records_alone_keeps_its_tag(admin: Client) -> None:
    path = f"/v1/problems/{await problem_of(admin)}"
    first = (await admin.ask("GET", path)).headers["etag"]
    await admin.submit()
    again = await admin.ask("GET", path)
    assert again.headers["etag"] == first == again.headers["etag"].removeprefix("W/")

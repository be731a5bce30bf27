"""Tasks over HTTP: submitted well and badly, read back at once, bid for and reported on, cancelled by those who may."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from agents.coordinating.answers import ANSWERS_MAX
from aggregates.values.roles import Role
from aggregates.values.working_hours import Weekday
from tests.gateway.clients import BID, TASK, AgentClient, Client, open_client, recorded, settings_of, told


async def code(client: Client, method: str, path: str, body: Any = None) -> tuple[int, str]:
    answer = await client.ask(method, path, body)
    return answer.status_code, answer.json().get("type", "").rpartition(":")[2]


async def award(admin: Client, agent: AgentClient) -> str:
    """A task that this agent, the only one, has won."""
    task_id = await admin.submit()
    await opened(admin, task_id)
    assert (await agent.ask("POST", f"/v1/tasks/{task_id}/bids", BID)).status_code == 201
    await recorded(admin, "task.TaskAwarded")
    return task_id


async def opened(admin: Client, task_id: str) -> None:
    await recorded(admin, "task.BookOpened")


async def test_what_was_submitted_is_read_back_at_once(admin: Client) -> None:
    client = await admin.with_role(Role.AGENT)
    answer = await client.ask("POST", "/v1/tasks", TASK | {"description": "cut", "priority": 5})
    assert answer.status_code == 202
    made = answer.json()
    assert made["stage"] == "submitted"
    position = int(answer.headers["gavel-position"])
    row = await client.get(f"{answer.headers['location']}?after_position={position}")
    assert (row["description"], row["priority"], row["payload"], row["bids"]) == ("cut", 5, {"n": 1}, [])
    assert [row["task_id"] for row in (await client.get("/v1/tasks"))["tasks"]] == [made["task_id"]]


async def test_a_retried_submission_is_one_task(admin: Client) -> None:
    first = await admin.ask("POST", "/v1/tasks", TASK, Idempotency_Key="k1")
    again = await admin.ask("POST", "/v1/tasks", TASK, Idempotency_Key="k1")
    assert first.json() == again.json()
    assert len((await admin.get("/v1/tasks"))["tasks"]) == 1


async def test_a_deadline_may_be_a_moment_or_seconds(admin: Client) -> None:
    for deadline in ("2100-01-01T00:00:00Z", "2100-01-01T01:00:00+01:00", 4102444800.0):
        task_id = await admin.submit(deadline=deadline)
        assert (await admin.get(f"/v1/tasks/{task_id}"))["deadline"] == datetime(2100, 1, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "changed,pointer",
    [
        ({"deadline": "tomorrow"}, "/deadline"),
        ({"deadline": "2100-01-01T00:00:00"}, "/deadline"),
        ({"priority": 9}, "/priority"),
        ({"task_type": "cooking"}, "/task_type"),
        ({"submitted_by": "me"}, "/submitted_by"),
        ({"task_id": "t1"}, "/task_id"),
        ({"colour": "red"}, "/colour"),
    ],
)
async def test_a_faulty_submission_is_told_where(admin: Client, changed: dict[str, Any], pointer: str) -> None:
    answer = await admin.ask("POST", "/v1/tasks", TASK | changed)
    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]


async def test_what_the_house_knows_better_is_refused(admin: Client) -> None:
    await admin.register("a1")
    past = {"deadline": 1.0}
    unknown = {"dependencies": ["none"]}
    assert await code(admin, "POST", "/v1/tasks", TASK | {"capabilities": ["juggling"]}) == (422, "skill_unknown")
    assert await code(admin, "POST", "/v1/tasks", TASK | past) == (422, "deadline_passed")
    assert await code(admin, "POST", "/v1/tasks", TASK | unknown) == (422, "dependency_unknown")
    answer = await admin.ask("POST", "/v1/tasks", TASK | past | unknown)
    assert "dependency_unknown" in answer.json()["detail"]
    assert "deadline_passed" in answer.json()["detail"]
    assert [(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]] == [
        ("/dependencies/0", "dependency_unknown"),
        ("/deadline", "deadline_passed"),
    ]
    assert (await admin.get("/v1/tasks"))["tasks"] == []


async def test_what_is_no_field_and_what_the_house_does_not_take_are_told_in_one_answer(admin: Client) -> None:
    await admin.register("a1")
    wrong = {
        "task_type": "cooking",
        "priority": 9,
        "colour": "red",
        "deadline": 1.0,
        "dependencies": ["none"],
        "independent_of": ["another"],
        "capabilities": ["juggling"],
        "skills": [{"name": "cutting", "version": "~2"}],
        "requirements": {"resources": {"cpu/0": -1}},
    }
    answer = await admin.ask("POST", "/v1/tasks", wrong)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:gavel:problem:body_invalid")
    assert {(one["pointer"], one.get("code")) for one in answer.json()["errors"]} == {
        ("/task_type", None),
        ("/priority", None),
        ("/colour", None),
        ("/deadline", "deadline_passed"),
        ("/dependencies/0", "dependency_unknown"),
        ("/independent_of/0", "independence_unclear"),
        ("/capabilities/0", "skill_unknown"),
        ("/skills/0/version", "range_unfit"),
        ("/requirements/resources/cpu~10", "resources_unfit"),
    }
    # Without its dependencies, which have a fault, nothing is said of what it is to be independent of.
    beside = TASK | {"dependencies": ["no name"], "independent_of": ["none"], "deadline": 1.0}
    answer = await admin.ask("POST", "/v1/tasks", beside)
    assert [one["pointer"] for one in answer.json()["errors"]] == ["/dependencies/0", "/deadline"]
    unread = await admin.ask("POST", "/v1/tasks", [])
    assert [one["pointer"] for one in unread.json()["errors"]] == [""]
    assert (await admin.get("/v1/tasks"))["tasks"] == []


async def test_ten_megabytes_are_too_much(admin: Client) -> None:
    before = admin.node.system.journal.position
    answer = await admin.http.post(
        f"{admin.node.url}/v1/tasks",
        content=b" " * 10_000_000,
        headers={"Authorization": f"Bearer {admin.key}", "Content-Type": "application/json"},
    )
    assert answer.status_code == 413
    assert admin.node.system.journal.position == before


async def test_a_task_is_bid_for_and_done_over_plain_http(admin: Client) -> None:
    agent = await admin.register("a1")
    task_id = await award(admin, agent)
    for status in ({"status": "started", "token": 1}, {"status": "completed", "token": 1, "result": {"value": 2}}):
        assert (await agent.ask("PUT", f"/v1/tasks/{task_id}/status", status)).status_code == 200
    row = await admin.get(f"/v1/tasks/{task_id}")
    assert (row["stage"], row["result"]) == ("completed", {"value": 2})
    (bid,) = (await admin.get(f"/v1/tasks/{task_id}/bids"))["bids"]
    assert (bid["agent_id"], bid["state"]) == ("a1", "won")
    late = await code(agent, "POST", f"/v1/tasks/{task_id}/bids", BID)
    assert late == (409, "book_closed")


async def test_only_the_newest_token_of_the_holder_counts(admin: Client) -> None:
    agent = await admin.register("a1")
    task_id = await award(admin, agent)
    other = await admin.register("a2")
    status = f"/v1/tasks/{task_id}/status"
    assert await code(other, "PUT", status, {"status": "completed", "token": 1}) == (403, "not_the_holder")
    assert await code(agent, "PUT", status, {"status": "completed", "token": 2}) == (422, "token_unknown")
    assert (await agent.ask("PUT", status, {"status": "failed", "token": 1, "reason": "no"})).status_code == 200
    assert await code(agent, "PUT", status, {"status": "completed", "token": 1}) == (409, "token_stale")
    assert (await admin.ask("PUT", status, {"status": "completed", "token": 1})).status_code == 403
    answer = await agent.ask("PUT", status, {"status": "half", "token": 0})
    assert {fault["pointer"] for fault in answer.json()["errors"]} == {"/status", "/token"}


async def test_whoever_may_read_the_task_can_ask_whether_a_token_is_the_good_one(admin: Client) -> None:
    agent = await admin.register("a1")
    task_id = await award(admin, agent)
    other = await admin.register("a2")
    lease = f"/v1/tasks/{task_id}/lease"
    good = await other.get(f"{lease}?token=1")
    assert (good["is_good"], good["newest_token"], good["agent_id"], good["stage"]) == (True, 1, "a1", "awarded")
    assert 0 < good["seconds_left"] <= 120
    [left] = (await agent.ask("POST", "/v1/agents/a1/heartbeat")).json()["leases"]
    assert good["seconds_left"] <= left["seconds_left"] <= 120 < left["budget_seconds_left"]
    future = await other.get(f"{lease}?token=2")
    assert (future["is_good"], future["newest_token"], future["seconds_left"]) == (False, 1, 0)
    await agent.ask("PUT", f"/v1/tasks/{task_id}/status", {"status": "completed", "token": 1})
    over = await other.get(f"{lease}?token=1")
    assert (over["is_good"], over["newest_token"], over["stage"], over["agent_id"]) == (False, 1, "completed", "")
    assert (await admin.get(f"/v1/tasks/{task_id}"))["token"] == 1
    assert await code(other, "GET", "/v1/tasks/nowhere/lease?token=1") == (404, "not_found")
    assert await code(other, "GET", lease) == (422, "query_invalid")


async def test_a_reputation_is_told_number_by_number_with_the_events_that_moved_it(admin: Client) -> None:
    agent = await admin.register("a1")
    first = await award(admin, agent)
    await agent.ask("PUT", f"/v1/tasks/{first}/status", {"status": "completed", "token": 1})
    second = await award(admin, agent)
    await agent.ask("PUT", f"/v1/tasks/{second}/status", {"status": "failed", "token": 1})
    told = await admin.get("/v1/agents/a1/reputation")
    figures = {figure["name"]: figure for figure in told["figures"]}
    success = figures["success_rate"]
    assert success["counts"] == {"succeeded": 1, "failed": 1, "no_shows": 0}
    assert (success["value"], success["weight"]) == (pytest.approx(0.5, abs=0.001), 0.125)
    log = {record["position"]: record["kind"] for record in (await admin.get("/v1/log?limit=500"))["records"]}
    assert [log[position] for position in success["positions"]] == ["task.TaskCompleted", "task.TaskFailed"]
    assert {log[position] for position in figures["response"]["positions"]} == {"task.BidPlaced"}
    confidence = (await admin.get(f"/v1/tasks/{first}"))["bids"][0]["confidence"]
    assert figures["trust"]["counts"] == {"succeeded": 1, "stated": 2 * confidence}
    assert figures["brier_score"]["value"] == pytest.approx(((1 - confidence) ** 2 + confidence**2) / 2)
    assert figures["no_shows"]["counts"] == {"no_shows": 0, "awards": 2}
    assert await code(admin, "GET", "/v1/agents/nobody/reputation") == (404, "not_found")


async def test_an_agent_that_was_not_called_cannot_bid(admin: Client) -> None:
    agent = await admin.register("a1")
    other = await admin.register("a2", capabilities=["else"])
    task_id = await admin.submit()
    await opened(admin, task_id)
    assert await code(other, "POST", f"/v1/tasks/{task_id}/bids", BID) == (403, "agent_not_eligible")
    assert await code(agent, "POST", "/v1/tasks/none/bids", BID) == (404, "task_unknown")
    assert (await agent.ask("DELETE", f"/v1/tasks/{task_id}/bids/a2")).status_code == 403


async def test_bids_are_taken_back_and_calls_refused(admin: Client) -> None:
    agent, other = await admin.register("a1"), await admin.register("a2")
    task_id = await admin.submit()
    await opened(admin, task_id)
    assert (await agent.ask("POST", f"/v1/tasks/{task_id}/bids", BID)).status_code == 201
    assert (await agent.ask("DELETE", f"/v1/tasks/{task_id}/bids/a1")).status_code == 200
    assert (await other.ask("POST", f"/v1/tasks/{task_id}/refusals", {"reason": "busy"})).status_code == 201
    states = {row["agent_id"]: row["state"] for row in (await admin.get(f"/v1/tasks/{task_id}/bids"))["bids"]}
    assert states == {"a1": "withdrawn", "a2": "refused"}


async def test_an_agent_answers_a_call_so_often_and_in_no_way_more(admin: Client) -> None:
    agent, _ = await admin.register("a1"), await admin.register("a2")
    task_id = await admin.submit()
    await opened(admin, task_id)
    bids = f"/v1/tasks/{task_id}/bids"
    for number in range(ANSWERS_MAX):
        assert (await agent.ask("POST", bids, BID | {"price": float(number)})).status_code in (200, 201)
    assert await code(agent, "POST", bids, BID) == (409, "answers_too_many")
    assert await code(agent, "DELETE", f"{bids}/a1") == (409, "answers_too_many")
    assert await code(agent, "POST", f"/v1/tasks/{task_id}/refusals", {"reason": "busy"}) == (409, "answers_too_many")


async def test_a_task_is_cancelled_by_its_submitter_or_an_operator(admin: Client) -> None:
    mine, theirs = await admin.with_role(Role.AGENT), await admin.with_role(Role.AGENT)
    first, second = await mine.submit(), await mine.submit()
    assert (await theirs.ask("DELETE", f"/v1/tasks/{first}")).status_code == 403
    assert (await mine.ask("DELETE", f"/v1/tasks/{first}?reason=enough")).status_code == 200
    row = await admin.get(f"/v1/tasks/{first}")
    assert (row["stage"], row["reason"]) == ("cancelled", "enough")
    operator = await admin.with_role(Role.OPERATOR)
    assert (await operator.ask("DELETE", f"/v1/tasks/{second}")).status_code == 200
    assert (await theirs.ask("DELETE", "/v1/tasks/none")).status_code == 404


@pytest.mark.parametrize("method,path", [("GET", ""), ("DELETE", ""), ("GET", "/bids")])
async def test_a_foreign_task_and_an_absent_one_look_alike(admin: Client, method: str, path: str) -> None:
    task_id = await admin.submit()
    stranger = await admin.with_role(Role.ADMIN, tenant="other")
    foreign = await stranger.ask(method, f"/v1/tasks/{task_id}{path}")
    absent = await stranger.ask(method, f"/v1/tasks/none{path}")
    assert foreign.status_code == absent.status_code == 404
    assert told(foreign).replace(task_id, "none") == told(absent)


async def test_the_log_knows_who_and_why(admin: Client) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = await admin.ask("POST", "/v1/tasks", TASK, traceparent=f"00-{trace}-00f067aa0ba902b7-01")
    position = int(answer.headers["gavel-position"])
    record = admin.node.store.read(position - 1, 1)[0]
    assert record.kind == "task.TaskSubmitted"
    assert record.meta.correlation == trace
    assert record.meta.principal == record.event.submitted_by  # type: ignore[attr-defined]
    assert record.meta.principal.startswith("admin:")


async def test_who_submitted_a_task_amends_it_and_others_who_only_submit_do_not(admin: Client) -> None:
    mine, theirs = await admin.with_role(Role.DEVELOPER), await admin.with_role(Role.DEVELOPER)
    task_id = await mine.submit(capabilities=[], deadline="2999-12-31T12:00:00Z")
    path = f"/v1/tasks/{task_id}"
    tag = (await admin.ask("GET", path)).headers["ETag"]
    assert (await theirs.ask("PATCH", path, {"priority": 5})).status_code == 403
    assert (await mine.ask("PATCH", path, {"priority": 9})).json()["errors"][0]["pointer"] == "/priority"
    past = await mine.ask("PATCH", path, {"deadline": "2001-01-01T00:00:00Z"})
    assert (past.status_code, past.json()["type"].rpartition(":")[2]) == (422, "deadline_passed")
    assert (await mine.ask("PATCH", path, {"priority": 5}, If_Match=tag)).status_code == 200
    assert (await mine.ask("PATCH", path, {"priority": 4}, If_Match=tag)).status_code == 412
    row = await admin.get(path)
    assert (row["priority"], row["deadline"]) == (5, 32503636800.0)
    assert (await mine.ask("POST", f"{path}/requeue")).status_code == 403
    assert (await admin.ask("POST", f"{path}/requeue")).json()["type"].endswith("not_a_dead_letter")


async def test_a_dead_letter_is_won_and_done_after_it_was_requeued(admin: Client) -> None:
    task_id = await admin.dead_letter()
    path = f"/v1/tasks/{task_id}"
    assert (await admin.get(path))["stage"] == "dead_lettered"
    await admin.ask("DELETE", "/v1/agents/once")  # else its call would be open for its whole time
    assert (await admin.ask("POST", f"{path}/requeue", {"attempts": 1, "reason": "once more"})).status_code == 200
    assert (await admin.get(path))["attempts_max"] == 2
    other = await admin.register("other", capabilities=["once"])
    async with other.socket(after=0) as socket:
        await socket.next("welcome")
        call = await socket.next("call")
        assert (call["task_id"], call["attempt"]) == (task_id, 2)
        await socket.ask(type="bid", task_id=task_id, price=1.0, eta_seconds=1.0)
        token = (await socket.next("award"))["token"]
        await socket.ask(type="complete", task_id=task_id, token=token, result={"value": 1})
    row = await admin.get(path)
    assert (row["stage"], row["token"], row["ended_at"] is not None) == ("completed", 2, True)


async def test_an_agent_holds_as_many_units_as_it_has_and_what_waited_is_called_when_they_are_free(
    tmp_path: Path,
) -> None:
    async with open_client(settings_of(tmp_path, agent_capacity=50.0)) as admin:
        agent = await admin.register("a1", slots=5)
        first = await admin.submit(requirements={"resources": {"cpu": 10, "memory": 20.5}})
        await opened(admin, first)
        assert (await agent.ask("POST", f"/v1/tasks/{first}/bids", BID)).status_code == 201
        await recorded(admin, "task.TaskAwarded")
        second = await admin.submit(requirements={"resources": {"memory": 20.0}})
        row = await admin.get("/v1/agents/a1")
        assert (row["max_capacity"], row["used_capacity"], row["running"]) == (50.0, 30.5, 1)
        waits = await admin.get(f"/v1/tasks/{second}")
        assert (waits["stage"], waits["units"]) == ("submitted", 20.0)
        done = {"status": "completed", "token": 1, "result": {}}
        assert (await agent.ask("PUT", f"/v1/tasks/{first}/status", done)).status_code == 200
        await recorded(admin, "task.BookOpened", f"task-{second}")
        assert (await admin.get("/v1/agents/a1"))["used_capacity"] == 0.0
        answer = await admin.ask("POST", "/v1/tasks", TASK | {"requirements": {"resources": {"cpu": -2, "gpu": "all"}}})
        assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (422, "resources_unfit")
        assert "cpu is negative (-2)" in answer.json()["detail"]
        assert "gpu is no number" in answer.json()["detail"]


async def test_a_task_finds_the_agent_whose_version_and_attributes_it_asks_for(admin: Client) -> None:
    await admin.register("old", skills=[{"name": "cutting", "version": "1.9"}])
    offer = {"name": "cutting", "version": "2.10", "attributes": {"os": ["linux", "mac"], "gpu": True}}
    await admin.register("new", skills=[offer])
    needs = [{"name": "cutting", "version": ">=2.9,<3", "attributes": {"os": ["mac", "windows"]}}]
    task_id = await admin.submit(capabilities=[], skills=needs)
    await opened(admin, task_id)
    row = await admin.get(f"/v1/tasks/{task_id}")
    assert (row["eligible"], row["capabilities"], row["skills"]) == (["new"], ["cutting"], needs)
    assert (await admin.get("/v1/agents/new"))["skills"] == [offer]
    wrong = [{"name": "cutting", "version": "newest"}, {"name": "cutting", "version": ">3,<2"}]
    answer = await admin.ask("POST", "/v1/tasks", TASK | {"skills": wrong})
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (422, "range_unfit")
    assert "skills/0/version" in answer.json()["detail"]
    assert "skills/1/version" in answer.json()["detail"]
    shapeless = [{"name": "", "version": 7, "attributes": {"os": []}, "level": 3}]
    answer = await admin.ask("POST", "/v1/tasks", TASK | {"skills": shapeless})
    pointers = {fault["pointer"] for fault in answer.json()["errors"]}
    assert pointers == {"/skills/0/name", "/skills/0/version", "/skills/0/attributes/os", "/skills/0/level"}
    unlisted = {"skills": [{"name": "rust"}]}
    assert await code(admin, "PATCH", "/v1/agents/new", unlisted) == (422, "skills_unlisted")
    assert await code(admin, "PATCH", "/v1/agents/old", {"skills": [offer]}) == (200, "")


async def test_a_bid_over_http_or_a_socket_without_a_price_has_that_of_the_agents_list(admin: Client) -> None:
    agent = await admin.register("a1", price=2.0, slots=2, prices={"cutting": 1.25, "testing": 4.0})
    assert (await admin.get("/v1/agents/a1"))["prices"] == {"cutting": 1.25, "testing": 4.0}
    first = await admin.submit(task_type="testing")
    await opened(admin, first)
    assert (await agent.ask("POST", f"/v1/tasks/{first}/bids", {"eta_seconds": 1.0})).status_code == 201
    (bid,) = (await admin.get(f"/v1/tasks/{first}/bids"))["bids"]
    assert bid["price"] == 4.0
    other = await admin.register("a2", capabilities=["sewing"], price=2.0)
    async with other.socket() as socket:
        await socket.next("welcome")
        second = await admin.submit(capabilities=["sewing"])
        await socket.next("call")
        await socket.ask(type="bid", task_id=second, eta_seconds=1.0)
        await socket.next("award")
    (bid,) = (await admin.get(f"/v1/tasks/{second}/bids"))["bids"]
    assert bid["price"] == 2.0
    assert await code(admin, "PATCH", "/v1/agents/a1", {"prices": {"juggling": 1.0}}) == (422, "prices_unlisted")


async def test_what_is_larger_than_a_document_is_a_blob_that_has_to_be_there(admin: Client) -> None:
    photo = b"light" * 40_000
    digest = (await admin.upload(photo)).json()["sha256"]
    other = await admin.with_role(Role.OPERATOR, tenant="other")
    theirs = (await other.upload(b"a secret of others")).json()["sha256"]
    body = TASK | {"blobs": {"photo": digest, "a/b": theirs, "none": "0" * 64}, "deadline": 1.0}
    refused = await admin.ask("POST", "/v1/tasks", body)
    assert [(fault["pointer"], fault["code"]) for fault in refused.json()["errors"]] == [
        ("/deadline", "deadline_passed"),
        ("/blobs/a~1b", "blob_unknown"),
        ("/blobs/none", "blob_unknown"),
    ]
    many = {"tasks": [TASK, TASK | {"blobs": {"photo": digest, "none": "0" * 64}}]}
    [fault] = (await admin.ask("POST", "/v1/tasks:batch", many)).json()["errors"]
    assert (fault["pointer"], fault["code"]) == ("/tasks/1/blobs/none", "blob_unknown")
    agent = await admin.register("ann")
    async with agent.socket() as socket:
        await socket.next("welcome")
        await admin.submit(blobs={"photo": digest})
        call = await socket.next("call")
        await socket.ask(type="bid", task_id=call["task_id"], eta_seconds=1)
        award = await socket.next("award")
        assert call["blobs"] == award["blobs"] == {"photo": digest}
        assert (await agent.ask("GET", f"/v1/blobs/{award['blobs']['photo']}")).content == photo
    assert (await admin.get(f"/v1/tasks/{award['task_id']}"))["blobs"] == {"photo": digest}


async def test_a_winner_declines_and_the_next_one_charges_less_than_was_agreed(admin: Client) -> None:
    ann, bob = await admin.register("ann"), await admin.register("bob")
    async with ann.socket() as first, bob.socket() as second:
        await first.next("welcome")
        await second.next("welcome")
        task_id = await admin.submit(award_policy="lowest_cost")
        for socket, price in ((first, 2.0), (second, 4.0)):
            await socket.next("call")
            await socket.ask(type="bid", task_id=task_id, price=price, eta_seconds=5.0)
        await first.next("award")
        assert (await first.ask(type="decline", task_id=task_id, token=1, reason="no Latin"))["type"] == "ack"
        await first.next("call")
        assert (await second.next("lost"))["winner"] == "ann"
        await second.next("call")
        await first.ask(type="refuse", task_id=task_id)
        await second.ask(type="bid", task_id=task_id, price=4.0, eta_seconds=5.0)
        await second.next("award")
        dear = await second.ask(type="complete", task_id=task_id, token=2, charged=4.5)
        assert (dear["code"], dear["errors"][0]["pointer"]) == ("charge_too_high", "/charged")
        done = await second.ask(type="complete", task_id=task_id, token=2, charged=3.0)
        assert done["type"] == "ack"
    task = await admin.get(f"/v1/tasks/{task_id}")
    assert (task["stage"], task["price"], task["charged"]) == ("completed", 4.0, 3.0)
    assert await figure(admin, "bob", "price_accuracy") == (0.75, {"held": 0.75, "charges": 1.0})
    assert await figure(admin, "ann", "declines") == (1.0, {"declines": 1.0, "awards": 1.0})
    assert (await figure(admin, "ann", "success_rate"))[1]["failed"] == 1.0


async def figure(admin: Client, agent_id: str, name: str) -> tuple[float | None, dict[str, float]]:
    told = await admin.get(f"/v1/agents/{agent_id}/reputation")
    found = next(one for one in told["figures"] if one["name"] == name)
    return found["value"], found["counts"]


async def test_an_operator_gives_a_waiting_task_to_an_agent_of_her_choice(admin: Client) -> None:
    agent = await admin.register("ann", price=2.5)
    await admin.register("bob", capabilities=["sewing"])
    await admin.ask("POST", "/v1/coordination/stop")
    task_id = await admin.submit()
    path = f"/v1/tasks/{task_id}/assign"
    assert await code(admin, "POST", path, {"agent_id": "bob"}) == (422, "skill_missing")
    assert await code(admin, "POST", path, {"agent_id": "nobody"}) == (409, "agent_not_active")
    assert (await agent.ask("POST", path, {"agent_id": "ann"})).status_code == 403
    async with agent.socket() as socket:
        await socket.next("welcome")
        assert (await admin.ask("POST", path, {"agent_id": "ann", "reason": "she knows"})).status_code == 200
        award = await socket.next("award")
        assert (award["task_id"], award["token"]) == (task_id, 1)
        other = await admin.submit()
        assert await code(admin, "POST", f"/v1/tasks/{other}/assign", {"agent_id": "ann"}) == (409, "slots_full")
        await socket.ask(type="complete", task_id=task_id, token=1)
    task = await admin.get(f"/v1/tasks/{task_id}")
    assert (task["stage"], task["price"]) == ("completed", 2.5)
    assert task["assigned_by"].startswith("admin:")
    told = await admin.get(f"/v1/tasks/{task_id}/explain")
    assert {one["agent_id"]: one["reason"] for one in told["agents"]} == {"ann": "given", "bob": "given_to_another"}
    assert await figure(admin, "ann", "brier_score") == (None, {"squares": 0.0, "judged": 0.0})
    assert (await figure(admin, "ann", "success_rate"))[1]["succeeded"] == 1.0


async def test_who_is_off_duty_is_given_a_task_only_where_the_operator_says_so_and_it_waits_for_that(
    tmp_path: Path,
) -> None:
    async with open_client(settings_of(tmp_path, coordination_interval_seconds=0.05)) as admin:
        never = {"time_zone": "UTC", "shifts": [{"days": [a_day_from_now()], "start": "00:00", "end": "00:01"}]}
        await admin.register("ann", working_hours=never)
        task_id = await admin.submit()
        await recorded(admin, "task.TaskStalled", f"task-{task_id}")
        row = await admin.get(f"/v1/tasks/{task_id}")
        assert (row["stage"], row["reason"]) == ("submitted", "off_hours")
        (wait,) = (await admin.get(f"/v1/tasks/{task_id}/explain"))["waits_for"]
        assert (wait["reason"], wait["agents"], wait["until"] > wait["since"]) == ("off_hours", ["ann"], True)
        path = f"/v1/tasks/{task_id}/assign"
        answer = await admin.ask("POST", path, {"agent_id": "ann"})
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:gavel:problem:off_hours")
        assert "off duty until" in answer.json()["detail"]
        assert (await admin.ask("POST", path, {"agent_id": "ann", "override": True})).status_code == 200
        row = await admin.get(f"/v1/tasks/{task_id}")
        assert (row["stage"], row["agent_id"]) == ("awarded", "ann")
        assert row["award_reason"].endswith("although it is off duty")


def a_day_from_now() -> str:
    """The name of a day of the week that is neither today nor tomorrow."""
    return list(Weekday)[(datetime.now(UTC).weekday() + 3) % 7].value


async def test_a_task_that_is_meant_for_one_agent_waits_for_it_and_says_so(admin: Client) -> None:
    ann = await admin.register("ann", slots=1)
    bob = await admin.register("bob")
    bodies = {"assign_to": "nobody", "dependencies": ["none"]}
    answer = await admin.ask("POST", "/v1/tasks", TASK | bodies)
    assert (answer.status_code, {(one["pointer"], one["code"]) for one in answer.json()["errors"]}) == (
        422,
        {("/assign_to", "assignee_unknown"), ("/dependencies/0", "dependency_unknown")},
    )
    submitter = await admin.with_role(Role.AGENT)
    assert (await submitter.ask("POST", "/v1/tasks", TASK | {"assign_to": "ann"})).status_code == 403
    assert (await submitter.ask("POST", "/v1/tasks:batch", {"tasks": [TASK | {"assign_to": "ann"}]})).status_code == 403
    held = await admin.submit(assign_to="ann")
    await recorded(admin, "task.BookOpened", f"task-{held}")
    row = await admin.get(f"/v1/tasks/{held}")
    assert (row["assign_to"], row["eligible"]) == ("ann", ["ann"])
    assert await code(bob, "POST", f"/v1/tasks/{held}/bids", BID) == (403, "agent_not_eligible")
    told = {one["agent_id"]: one["reason"] for one in (await admin.get(f"/v1/tasks/{held}/explain"))["agents"]}
    assert told == {"ann": "awaited", "bob": "meant_for_another"}
    assert (await ann.ask("POST", f"/v1/tasks/{held}/bids", BID)).status_code == 201
    await recorded(admin, "task.TaskAwarded", f"task-{held}")
    waits = await admin.submit(assign_to="ann")
    explained = await admin.get(f"/v1/tasks/{waits}/explain")
    (wait,) = explained["waits_for"]
    assert (wait["reason"], wait["detail"], [one["task_id"] for one in wait["held"]]) == (
        "all_busy",
        "the one that it is meant for is busy: ann",
        [held],
    )
    assert {one["agent_id"]: one["reason"] for one in explained["agents"]} == {
        "ann": "slots_full",
        "bob": "meant_for_another",
    }
    assert (await admin.ask("POST", "/v1/agents/ann/drain")).status_code == 200
    (wait,) = (await admin.get(f"/v1/tasks/{waits}/explain"))["waits_for"]
    assert (wait["reason"], wait["detail"]) == ("assignee_missing", "it is meant for ann alone, who is draining")
    drained = await admin.get("/v1/agents/ann")
    assert wait["since"] == drained["last_event_at"]


async def test_a_dry_run_calls_agents_and_answers_with_who_would_have_won(admin: Client) -> None:
    ann, bob = await admin.register("ann"), await admin.register("bob")
    answers: list[Any] = []

    async def submit() -> None:
        answers.append(await admin.ask("POST", "/v1/tasks", TASK | {"dry_run": True}, Prefer="wait=20"))

    async with ann.socket() as first, bob.socket() as second, trio.open_nursery() as nursery:
        await first.next("welcome")
        await second.next("welcome")
        nursery.start_soon(submit)
        for socket, price in ((first, 1.0), (second, 3.0)):
            call = await socket.next("call")
            assert call["dry_run"] is True
            await socket.ask(type="bid", task_id=call["task_id"], price=price, eta_seconds=5.0)
        told = await first.next("lost"), await second.next("lost")
        assert [(one["winner"], one["reason"]) for one in told] == [("ann", "dry_run"), ("ann", "outscored")]
    (answer,) = answers
    task = answer.json()
    assert (answer.status_code, task["stage"], task["would_win"]) == (200, "dry_run_ended", "ann")
    assert (task["price"], task["agent_id"], task["token"], len(task["ranking"])) == (1.0, None, None, 2)
    explained = await admin.get(f"/v1/tasks/{task['task_id']}/explain")
    assert {one["agent_id"]: one["reason"] for one in explained["agents"]} == {"ann": "won", "bob": "outscored"}
    assert explained["book"]["outcome"] == "dry_run"
    assert not any(
        row["held"] if "held" in row else row["running"] for row in (await admin.get("/v1/agents"))["agents"]
    )


HUGE = b"[" + b",".join([b"9" * 25] * 120) + b"]"


@pytest.mark.parametrize(
    "path,body",
    [
        ("/v1/tasks", HUGE),
        ("/v1/tasks:batch", b'{"tasks":[[' + HUGE + b"]]}"),
        ("/v1/tasks:batch", b'{"odd":[' + HUGE + b'],"tasks":[{"task_type":"analysis"}]}'),
    ],
    ids=["a_list", "a_list_for_a_task", "a_list_that_nobody_asked_for"],
)
async def test_with_more_faults_than_are_told_a_body_that_is_no_object_is_refused_all_the_same(
    admin: Client, path: str, body: bytes
) -> None:
    headers = {"Authorization": f"Bearer {admin.key}", "Content-Type": "application/json"}
    answer = await admin.http.post(admin.node.url + path, content=body, headers=headers)
    assert (answer.status_code, len(answer.json()["errors"])) == (422, 100)


async def test_with_more_faults_than_are_told_names_that_are_no_texts_are_refused_all_the_same(admin: Client) -> None:
    body = msgspec.msgpack.encode({1: {2: [float("nan")] * 120}})
    headers = {"Authorization": f"Bearer {admin.key}", "Content-Type": "application/msgpack"}
    answer = await admin.http.post(f"{admin.node.url}/v1/tasks:batch", content=body, headers=headers)
    assert (answer.status_code, len(answer.json()["errors"])) == (422, 100)

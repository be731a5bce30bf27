"""The inbox as a person has it: signed in over HTTP on a node that is killed in between, beside others and against abuse."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio

from tests import forks
from tests.gateway.clients import TASK, Client, Person, open_client, recorded, settings_of

READS: dict[str, Any] = {"capabilities": ["reading"]}
SCHEMAS = {
    "payload": {"type": "object", "required": ["page"], "properties": {"page": {"type": "integer"}}},
    "result": {
        "type": "object",
        "required": ["verdict", "mistakes"],
        "properties": {"verdict": {"enum": ["good", "bad"]}, "mistakes": {"type": "integer", "minimum": 0}},
        "additionalProperties": False,
    },
}


def code(answer: httpx2.Response) -> str:
    return str(answer.json()["type"]).removeprefix("urn:gavel:problem:")


async def inbox(person: Person, query: str = "") -> Any:
    return await person.get(f"/v1/inbox{query}")


def ids(entries: list[dict[str, Any]]) -> list[str]:
    return [one["task"]["task_id"] for one in entries]


async def reading(admin: Client, **changed: Any) -> str:
    return await admin.submit(**({"task_type": "verification", "payload": {"page": 1}} | READS | changed))


# ---- a day's work


async def test_a_person_finds_takes_asks_and_finishes(admin: Client) -> None:
    await admin.ask("PUT", "/v1/task-types/verification/schemas", SCHEMAS)
    boss = await admin.person("boss", "developer")
    made = await boss.ask("POST", "/v1/tasks", TASK | READS | {"task_type": "verification", "payload": {"page": 7}})
    task_id = made.json()["task_id"]
    uma = await admin.person("uma", price=2.0, **READS)
    told = await inbox(uma)
    (offer,) = told["offers"]
    assert (offer["task"]["task_id"], offer["price"], offer["obstacle"]) == (task_id, 2.0, "")
    assert offer["why"] == "you have reading"
    assert [(one["form"], one["result"]) for one in told["forms"]] == [("verification/1", SCHEMAS["result"])]
    path = f"/v1/inbox/tasks/{task_id}"
    taken = (await uma.ask("POST", f"{path}/take")).json()
    assert (taken["stage"], taken["token"], taken["seconds_left"]) == ("awarded", 1, 28800.0)
    whole = await uma.get(path)
    assert (whole["task"]["payload"], whole["offer"], whole["held"]["token"]) == ({"page": 7}, None, 1)
    assert (await uma.ask("PUT", f"{path}/status", {"status": "started", "token": 1})).status_code == 200
    assert (await uma.ask("POST", f"{path}/questions", {"token": 1, "question": "which edition?"})).status_code == 201
    asked = await boss.ask("PUT", "/v1/inbox/profile", READS)
    assert asked.status_code == 200
    (question,) = (await inbox(boss))["questions"]
    assert (question["task_id"], question["question"]) == (task_id, "which edition?")
    assert (await inbox(uma))["questions"] == []  # hers, and not hers to answer
    answered = await boss.ask("PUT", f"/v1/tasks/{task_id}/questions/1/answer", {"answer": "the second"})
    assert answered.status_code == 200
    assert (await uma.get(path))["task"]["answer"] == "the second"
    report = {"token": 1, "share": 0.5, "note": "half of it"}
    assert (await uma.ask("POST", f"{path}/progress", report)).status_code == 200
    (held,) = (await inbox(uma))["held"]
    assert (held["task"]["progress"], held["task"]["progress_note"], held["ends_soon"]) == (0.5, "half of it", False)
    wrong = {"status": "completed", "token": 1, "result": {"verdict": "odd", "mistakes": -1, "more": 1}}
    refused = await uma.ask("PUT", f"{path}/status", wrong)
    assert refused.status_code == 422
    assert {fault["pointer"] for fault in refused.json()["errors"]} == {
        "/result/verdict",
        "/result/mistakes",
        "/result/more",
    }
    done = wrong | {"result": {"verdict": "good", "mistakes": 0}}
    for _ in range(2):  # the second time says nothing new
        assert (await uma.ask("PUT", f"{path}/status", done)).status_code == 200
    row = await admin.get(f"/v1/tasks/{task_id}")
    assert (row["stage"], row["agent_id"], row["result"]) == ("completed", uma.agent_id, done["result"])
    assert (await inbox(uma))["held"] == []
    records = await admin.node.system.journal.read(0, 10_000)
    (principal,) = [one.meta.principal for one in records if one.kind == "task.TaskCompleted"]
    assert principal == f"user:{uma.user_id}"


async def test_two_tabs_and_two_people_never_have_one_task_twice(admin: Client) -> None:
    uma, vic = [await admin.person(name, **READS) for name in ("uma", "vic")]
    task_id = await reading(admin)
    path = f"/v1/inbox/tasks/{task_id}"
    answers: list[httpx2.Response] = []

    async def take(person: Person) -> None:
        answers.append(await person.ask("POST", f"{path}/take"))

    async with trio.open_nursery() as nursery:
        for person in (uma, uma, vic, vic):
            nursery.start_soon(take, person)
    good = [answer for answer in answers if answer.status_code == 200]
    assert {answer.json()["token"] for answer in good} == {1}
    assert {code(answer) for answer in answers if answer.status_code != 200} == {"task_taken"}
    assert len(good) == 2
    holder, other = (uma, vic) if good[0].json()["agent_id"] == uma.agent_id else (vic, uma)
    assert code(await other.ask("PUT", f"{path}/status", {"status": "completed", "token": 1})) == "not_the_holder"
    back = {"status": "released", "token": 1, "reason": "not mine"}
    assert (await holder.ask("PUT", f"{path}/status", back)).status_code == 200
    assert (await other.ask("POST", f"{path}/take")).json()["token"] == 2
    late = await holder.ask("PUT", f"{path}/status", {"status": "completed", "token": 1})
    assert (late.status_code, code(late)) == (409, "token_stale")
    why = (await admin.get(f"/v1/tasks/{task_id}/explain"))["waits_for"]
    assert [one["reason"] for one in why] == ["start"]


async def test_what_a_person_will_not_do_is_shown_to_them_no_more_and_why_is_told(admin: Client) -> None:
    uma, vic = [await admin.person(name, **READS) for name in ("uma", "vic")]
    task_id = await reading(admin)
    assert (await admin.get(f"/v1/tasks/{task_id}/explain"))["waits_for"][0]["reason"] == "taker"
    declined = await uma.ask("POST", f"/v1/inbox/tasks/{task_id}/decline", {"reason": "I wrote it"})
    assert declined.status_code == 200
    assert (ids((await inbox(uma))["offers"]), ids((await inbox(vic))["offers"])) == ([], [task_id])
    told = await admin.get(f"/v1/tasks/{task_id}/explain")
    reasons = {one["agent_id"]: (one["reason"], one["detail"]) for one in told["agents"]}
    assert reasons[uma.agent_id] == ("declined", "will not take it: I wrote it")
    assert reasons[vic.agent_id][0] == "nothing"
    await vic.ask("POST", f"/v1/inbox/tasks/{task_id}/decline")
    (wait,) = (await admin.get(f"/v1/tasks/{task_id}/explain"))["waits_for"]
    assert (wait["reason"], wait["agents"]) == ("taker", sorted([uma.agent_id, vic.agent_id]))


async def test_offers_are_paged_and_bounded(admin: Client) -> None:
    uma = await admin.person("uma", **READS)
    made = [await reading(admin, priority=1 + number % 3) for number in range(7)]
    first = await uma.ask("GET", "/v1/inbox?limit=3")
    assert first.headers["link"].startswith("</v1/inbox?limit=3&after=")
    found, after = ids(first.json()["offers"]), first.json()["next"]
    while after is not None:
        page = await inbox(uma, f"?limit=3&after={after}")
        found, after = found + ids(page["offers"]), page["next"]
    assert found == [made[number] for number in (2, 5, 1, 4, 0, 3, 6)]
    for query in ("limit=0", "limit=201", "after=x", "after=1:2", "after=1:2:x", "after=nan:1:1x", "before=3"):
        answer = await uma.ask("GET", f"/v1/inbox?{query}")
        assert (answer.status_code, code(answer)) == (422, "query_invalid"), query


# ---- who may


async def test_an_inbox_is_a_persons_own(admin: Client) -> None:
    for client in (admin, await admin.register("bot")):
        answer = await client.ask("GET", "/v1/inbox")
        assert answer.status_code == 403
    assert code(await admin.ask("GET", "/v1/inbox")) == "inbox_is_a_persons"
    watcher = await admin.person("wes", "read_only")
    assert "inbox:work" in (await watcher.ask("PUT", "/v1/inbox/profile", {})).json()["detail"]
    uma = await admin.person("uma")
    await admin.register("reader", **READS)
    assert code(await uma.ask("GET", "/v1/inbox")) == "inbox_unknown"
    assert code(await uma.ask("POST", f"/v1/inbox/tasks/{await reading(admin)}/take")) == "inbox_unknown"
    theirs = {"id": uma.agent_id, "name": "x", "agent_type": "operations", "capabilities": ["reading"]}
    squatter = await admin.ask("POST", "/v1/agents", theirs)
    assert (squatter.status_code, code(squatter)) == (422, "agent_id_reserved")
    assert (await uma.ask("PUT", "/v1/inbox/profile", READS)).status_code == 200
    assert code(await admin.ask("POST", "/v1/agents", theirs)) == "agent_id_reserved"
    assert (await uma.ask("POST", "/v1/tasks", TASK)).status_code == 403  # a worker begins nothing
    assert (await admin.ask("POST", f"/v1/agents/{uma.agent_id}/drain")).status_code == 200  # an operator may
    assert (await inbox(uma))["status"] == "draining"


async def test_nonsense_is_refused_with_every_fault(admin: Client) -> None:
    uma = await admin.person("uma", **READS)
    task_id = await reading(admin)
    path = f"/v1/inbox/tasks/{task_id}"
    profile = {"hold_seconds": 5, "skills": [{"name": "flying"}], "prices": {"flying": 1}, "slots": 3}
    refused = await uma.ask("PUT", "/v1/inbox/profile", profile)
    assert {one["pointer"] for one in refused.json()["errors"]} == {"/hold_seconds", "/skills", "/prices"}
    assert (await uma.ask("PUT", "/v1/inbox/profile", {"slots": 65, "name": ""})).status_code == 422
    for body in ({"price": -1}, {"eta_seconds": 0}, {"agent_id": "bob"}, {"token": 9}):
        assert (await uma.ask("POST", f"{path}/take", body)).status_code == 422, body
    await uma.ask("POST", f"{path}/take")
    reports: tuple[dict[str, Any], ...] = (
        {"token": 1},
        {"status": "completed"},
        {"status": "declined", "token": 1},
        {"status": "started", "token": 7},
    )
    for report in reports:
        assert (await uma.ask("PUT", f"{path}/status", report)).status_code == 422, report
    for said in ({"share": 1.1}, {"share": 0.5, "note": "x" * 2001}):
        assert (await uma.ask("POST", f"{path}/progress", {"token": 1, **said})).status_code == 422, said
    assert (await uma.ask("GET", "/v1/inbox/tasks/nothing")).status_code == 404
    assert code(await uma.ask("POST", "/v1/inbox/tasks/nothing/take")) == "task_unknown"
    big = {"status": "completed", "token": 1, "result": {"x": "y" * 1_000_000}}
    assert (await uma.ask("PUT", f"{path}/status", big)).status_code in (413, 422)
    assert ids((await inbox(uma))["held"]) == [task_id]


async def test_another_tenants_people_see_and_take_nothing(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path)) as admin:
        task_id = await reading(admin)
        made = await admin.ask("POST", "/v1/journals", {"name": "acme"})
        theirs = Client(admin.node, admin.http, made.json()["key"])
        body = {"username": "zoe", "email": "zoe@example.org", "role": "worker", "password": "correct horse battery"}
        user_id = (await theirs.ask("POST", "/v1/users", body)).json()["user_id"]
        given = {"name": "zoe", "password": body["password"], "tenant": "acme"}
        await admin.http.post(f"{admin.node.url}/session/password", json=given)
        cookie = "; ".join(f"{name}={value}" for name, value in admin.http.cookies.items())
        admin.http.cookies.clear()
        zoe = Person(admin.node, admin.http, "", user_id, cookie)
        assert (await zoe.ask("PUT", "/v1/inbox/profile", READS)).status_code == 200
        assert (await inbox(zoe))["offers"] == []
        assert code(await zoe.ask("POST", f"/v1/inbox/tasks/{task_id}/take")) == "task_unknown"
        assert (await zoe.ask("GET", f"/v1/inbox/tasks/{task_id}")).status_code == 404


# ---- what outlives what


@pytest.mark.parametrize("way", ["disabled", "erased"])
async def test_who_is_sent_away_leaves_their_tasks_to_others(admin: Client, way: str) -> None:
    uma, vic = [await admin.person(name, **READS) for name in ("uma", "vic")]
    task_id = await reading(admin)
    path = f"/v1/inbox/tasks/{task_id}"
    assert (await uma.ask("POST", f"{path}/take")).status_code == 200
    if way == "disabled":
        assert (await admin.ask("POST", f"/v1/users/{uma.user_id}/disable")).status_code == 200
    else:
        assert (await admin.ask("DELETE", f"/v1/subjects/{uma.user_id}")).status_code in (200, 202)
    assert (await uma.ask("GET", "/v1/inbox")).status_code == 401
    await recorded(admin, "task.TaskReopened", f"task-{task_id}")
    assert (await vic.ask("POST", f"{path}/take")).json()["token"] == 2
    row = await admin.get(f"/v1/agents/{uma.agent_id}")
    assert row["status"] == "deregistered"
    if way == "erased":
        assert (row["name"], "uma" in str(row)) == ("", False)
    else:
        assert (await admin.ask("POST", f"/v1/users/{uma.user_id}/enable")).status_code == 200


@contextmanager
def _serving(folder: Path) -> Iterator[tuple[str, forks.Program]]:
    """`gavel serve` in a process of its own, and where it is."""
    environment = {**os.environ, "GAVEL_DATA": str(folder / "data"), "GAVEL_HOUSE_SOLVER": "false"}
    command = ("serve", "--bind", "127.0.0.1:0")
    with forks.heard(forks.GAVEL, *command, folder=folder, environment=environment) as (program, told):
        for line in told:
            if found := re.search(r"(http://\S+)/session\?ticket=", line):
                yield found[1], program
                return
        pytest.fail("the node did not start")


def test_a_node_that_is_killed_forgets_no_hold_and_gives_none_twice(tmp_path: Path) -> None:
    """The same cookie, token and time left after a kill -9; and the report of before the kill is taken after it."""
    with _serving(tmp_path) as (url, program), httpx2.Client(base_url=url) as http:
        admin = {"Authorization": f"Bearer {(tmp_path / 'data' / 'admin-key').read_text().strip()}"}
        user = {"username": "uma", "email": "u@example.org", "role": "worker", "password": "correct horse battery"}
        assert http.post("/v1/users", json=user, headers=admin).status_code == 201
        http.post("/session/password", json={"name": "uma", "password": user["password"]})
        jar = dict(http.cookies)
        own = {"Origin": url}
        assert http.put("/v1/inbox/profile", json=READS, headers=own).status_code == 200
        task_id = http.post("/v1/tasks", json=TASK | READS, headers=admin).json()["task_id"]
        taken = http.post(f"/v1/inbox/tasks/{task_id}/take", headers=own)
        assert taken.json()["token"] == 1
        program.send_signal(signal.SIGKILL)
        program.wait()
    with _serving(tmp_path) as (url, _), httpx2.Client(base_url=url, cookies=jar) as http:
        own = {"Origin": url}
        (held,) = http.get("/v1/inbox").json()["held"]
        assert (held["task"]["task_id"], held["token"]) == (task_id, 1)
        assert 0 < held["seconds_left"] <= 28800.0
        again = http.post(f"/v1/inbox/tasks/{task_id}/take", headers=own)
        assert again.json()["token"] == 1
        done = http.put(f"/v1/inbox/tasks/{task_id}/status", json={"status": "completed", "token": 1}, headers=own)
        assert done.status_code == 200

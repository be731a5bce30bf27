"""Many tasks in one call: all of them or none, by names within the call, once for each idempotency key."""

from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.api.references import circle_in, order_of
from gateway.audit.facts import Facts
from gateway.audit.look_ups import LookUps
from gateway.routes.task_batch import TASKS_MAX
from gateway.storage.journal_file import JournalFile, open_journal
from runtime.replay import Replay
from tests.gateway.clients import BID, TASK, Client, open_client, recorded, settings_of

PATH = "/v1/tasks:batch"


def audited(admin: Client) -> tuple[int, int]:
    """How many decisions of the journal are decided otherwise by a replay, and how many of their facts were not so."""
    store, path = admin.node.store, Path(admin.node.store.place)
    with open_journal(path) as connection:
        look_ups = LookUps(JournalFile(connection, path))
        facts = Facts(look_ups)
        findings = list(Replay(look_ups, store.codec, last=store.newest_position(), witness=facts).run())
    return len(findings), facts.counts.false


def task(ref: str = "", **changed: Any) -> dict[str, Any]:
    return TASK | {"ref": ref} | changed


async def test_tasks_that_depend_on_each_other_are_recorded_in_one_commit_and_once(admin: Client) -> None:
    agent = await admin.register("ann")
    position = admin.node.system.journal.position
    body = {
        "tasks": [task("last", dependencies=["first", "middle"], independent_of=["first"]), task("middle", dependencies=["first"]),
                  task("first"), task()]
    }  # fmt: skip
    answer = await admin.ask("POST", PATH, body, Idempotency_Key="k1")
    assert answer.status_code == 202, answer.text
    told = answer.json()["tasks"]
    assert [one["ref"] for one in told] == ["last", "middle", "first", ""]
    ids = {one["ref"]: one["task_id"] for one in told}
    again = await admin.ask("POST", PATH, body, Idempotency_Key="k1")
    assert again.json() == answer.json()
    assert (await admin.ask("POST", PATH, {"tasks": [task()]}, Idempotency_Key="k1")).status_code == 422
    made = [one for one in await admin.node.system.journal.read(position) if one.kind == "task.TaskSubmitted"]
    assert len(made) == 4
    assert {(one.meta.recorded_at, one.meta.correlation) for one in made} == {
        (made[0].meta.recorded_at, made[0].meta.correlation)
    }
    assert audited(admin) == (0, 0)
    row = await admin.get(f"/v1/tasks/{ids['last']}")
    assert (row["stage"], set(row["dependencies"])) == ("blocked", {ids["first"], ids["middle"]})
    await recorded(admin, "task.BookOpened", f"task-{ids['first']}")
    assert (await agent.ask("POST", f"/v1/tasks/{ids['first']}/bids", BID)).status_code == 201
    await recorded(admin, "task.TaskAwarded", f"task-{ids['first']}")
    done = {"status": "completed", "token": 1}
    assert (await agent.ask("PUT", f"/v1/tasks/{ids['first']}/status", done)).status_code == 200
    await recorded(admin, "task.TaskUnblocked", f"task-{ids['middle']}")


async def test_all_that_is_wrong_with_any_is_told_at_once_by_its_place_and_nothing_is_recorded(admin: Client) -> None:
    await admin.register("ann")
    tasks = [
        task("a", dependencies=["c"], deadline=1.0),
        task("b", dependencies=["a"]),
        task("c", dependencies=["b", "nothing"]),
        task("b", capabilities=["juggling"]),
        task(independent_of=["a"]),
    ]
    answer = await admin.ask("POST", PATH, {"tasks": tasks})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:gavel:problem:tasks_unfit")
    faults = {(one["pointer"], one["code"]) for one in answer.json()["errors"]}
    assert faults == {
        ("/tasks/0/dependencies", "dependency_cycle"),
        ("/tasks/0/deadline", "deadline_passed"),
        ("/tasks/2/dependencies/1", "dependency_unknown"),
        ("/tasks/3/ref", "ref_taken"),
        ("/tasks/3/capabilities/0", "skill_unknown"),
        ("/tasks/4/independent_of/0", "independence_unclear"),
    }
    assert "a → c → b → a" in answer.text
    itself = (await admin.ask("POST", PATH, {"tasks": [task("a", dependencies=["a"])]})).json()["errors"]
    assert [(one["code"], one["detail"]) for one in itself] == [("dependency_cycle", "a → a")]
    unfit = await admin.ask("POST", PATH, {"tasks": [task(deadline=1.0), task(priority=9)]})
    assert [one["pointer"] for one in unfit.json()["errors"]] == ["/tasks/0/deadline", "/tasks/1/priority"]
    assert unfit.json()["type"] == "urn:gavel:problem:body_invalid"
    for number in (0, TASKS_MAX + 1):
        assert (await admin.ask("POST", PATH, {"tasks": [task()] * number})).status_code == 422
    assert (await admin.get("/v1/tasks"))["tasks"] == []


async def test_a_thousand_are_taken_in_one_call_and_none_where_there_is_not_room_for_all(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path, tasks_open_max=TASKS_MAX + 1)) as admin:
        chain = [task(f"t{number}", dependencies=[f"t{number - 1}"] if number else []) for number in range(TASKS_MAX)]
        assert (await admin.ask("POST", PATH, {"tasks": chain[::-1]})).status_code == 202
        status = await admin.get("/v1/status")
        assert (status["tasks"]["blocked"], sum(status["tasks"].values())) == (TASKS_MAX - 1, TASKS_MAX)
        assert (await admin.ask("POST", PATH, {"tasks": [task(), task()]})).status_code == 503
        assert (await admin.ask("POST", PATH, {"tasks": [task()]})).status_code == 202
        assert (await admin.ask("POST", "/v1/tasks", TASK)).status_code == 503


needs = st.dictionaries(st.integers(0, 7), st.lists(st.integers(0, 7), max_size=3), max_size=8)


@given(needs)
def test_either_there_is_an_order_in_which_each_comes_after_what_it_needs_or_a_circle(
    needs: dict[int, list[int]],
) -> None:
    circle = circle_in(needs)
    if circle:
        assert circle[0] == circle[-1] == min(circle)
        assert all(after in needs[before] for before, after in pairwise(circle))
    else:
        order = order_of(needs)
        assert all(order.index(before) < order.index(number) for number in needs for before in needs[number])

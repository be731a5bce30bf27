"""Field selection: who asks for some fields gets those alone, and the database is not asked for the others."""

from typing import Any

import pytest

from projections import tasks
from tests.gateway.clients import BID, Client
from tests.gateway.routes.test_solves import problem_of


async def test_a_page_and_a_thing_are_answered_with_the_fields_that_were_asked_for(admin: Client) -> None:
    solver = await admin.register("solver")
    task_id = await admin.submit()
    await solver.ask("POST", f"/v1/tasks/{task_id}/bids", BID)
    problem = await problem_of(admin)
    await admin.ask("POST", "/v1/users", {"username": "ann", "email": "ann@example.com", "role": "operator"})
    await admin.ask("POST", "/v1/webhooks", {"url": "https://example.com/", "kinds": ["task"]})
    user, webhook = (await admin.get("/v1/users"))["users"][0], (await admin.get("/v1/webhooks"))["webhooks"][0]
    fields = {
        "/v1/users": ("username", "role"),
        f"/v1/users/{user['user_id']}": ("name",),
        "/v1/webhooks": ("url", "delivered"),
        f"/v1/webhooks/{webhook['webhook_id']}": ("public_key",),
        "/v1/subjects": ("records",),
        "/v1/log": ("position", "kind"),
        "/v1/tasks": ("task_id", "stage"),
        f"/v1/tasks/{task_id}": ("stage", "bids"),
        "/v1/agents": ("name",),
        "/v1/agents/solver": ("running", "won"),
        f"/v1/tasks/{task_id}/bids": ("price", "state"),
        "/v1/keys": ("role",),
        "/v1/problems": ("variables",),
        f"/v1/problems/{problem}": ("name", "couplings"),
    }
    for path, names in fields.items():
        answer = await admin.get(f"{path}?fields={','.join(names)}")
        listed = next((value for value in answer.values() if isinstance(value, list)), None)
        rows = [answer] if "next" not in answer else listed
        assert rows
        assert all(set(row) == set(names) for row in rows), (path, rows)
    both = await admin.get("/v1/tasks?fields=stage&limit=1&sort=-priority")
    assert set(both["tasks"][0]) == {"stage"}
    assert both["next"]


async def test_what_was_not_asked_for_is_not_read(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = await admin.submit()
    read: list[set[str]] = []
    find = tasks.find

    def seen(*arguments: Any, **narrowed: Any) -> Any:
        row = find(*arguments, **narrowed)
        read.append(set(row or ()))
        return row

    monkeypatch.setattr(tasks, "find", seen)
    assert set(await admin.get(f"/v1/tasks/{task_id}?fields=stage")) == {"stage"}
    assert read == [{"stage", "first_position", "last_position"}]


@pytest.mark.parametrize("fields,names", [("stage,colour,size", '"colour", "size"'), ("", '""'), ("stage,", '""')])
async def test_a_field_that_is_none_is_refused_with_all_that_are(admin: Client, fields: str, names: str) -> None:
    for path in ("/v1/tasks", "/v1/tasks/none"):
        answer = await admin.ask("GET", f"{path}?fields={fields}")
        assert answer.status_code == 422
        assert f"there is no {names} among " in answer.json()["detail"]
        assert "task_type, stage" in answer.json()["detail"]


async def test_a_tag_is_of_the_fields_too(admin: Client) -> None:
    task_id = await admin.submit()
    some = (await admin.ask("GET", f"/v1/tasks/{task_id}?fields=stage")).headers["etag"]
    assert (await admin.ask("GET", f"/v1/tasks/{task_id}", If_None_Match=some)).status_code == 200
    assert (await admin.ask("GET", f"/v1/tasks/{task_id}?fields=stage", If_None_Match=some)).status_code == 304
    assert (await admin.ask("DELETE", f"/v1/tasks/{task_id}", If_Match=some)).status_code == 200

"""What is deprecated says so with each of its answers and in the API document."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import httpx2
import pytest

from aggregates.values.roles import Permission
from gateway import app
from gateway.api import rows
from gateway.api.calls import Endpoint
from gateway.api.deprecation import Deprecated
from gateway.api.openapi import document
from gateway.routes import tasks
from tests.gateway.clients import open_client, settings_of

GONE = datetime(2027, 6, 30, 23, 59, 59, tzinfo=UTC)
OLD = Endpoint(
    "GET",
    "/old/tasks/{task_id}",
    tasks.find,
    Permission.TASKS_READ,
    reply=rows.WholeTask,
    query=tasks.routes[2].query,
    deprecated=Deprecated(datetime(2026, 11, 1, tzinfo=UTC), "/docs/changes", GONE, "/v1/tasks/{task_id}"),
)


async def test_answers_and_refusals_of_a_deprecated_route_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "ENDPOINTS", (*app.ENDPOINTS, OLD))
    async with open_client(settings_of(tmp_path)) as admin:
        task_id = await admin.submit()
        bearer = {"Authorization": f"Bearer {admin.key}"}
        answers: list[httpx2.Response] = []
        for path, headers in ((task_id, bearer), ("none", bearer), (task_id, {})):
            answers.append(await admin.http.get(f"{admin.node.url}/old/tasks/{path}", headers=headers))
        assert [answer.status_code for answer in answers] == [200, 404, 401]
        for answer in answers:
            assert answer.headers["deprecation"] == f"@{int(datetime(2026, 11, 1, tzinfo=UTC).timestamp())}"
            assert answer.headers["sunset"] == "Wed, 30 Jun 2027 23:59:59 GMT"
            assert '</docs/changes>; rel="deprecation"' in answer.headers["link"]
            same = answer.request.url.path.rpartition("/")[2]
            assert f'</v1/tasks/{same}>; rel="successor-version"' in answer.headers["link"]
        current = await admin.ask("GET", f"/v1/tasks/{task_id}")
        assert not {"deprecation", "sunset"} & set(current.headers)


async def test_the_page_shows_what_an_older_path_answers(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "api.md").read_text()
    async with open_client(settings_of(tmp_path)) as admin:
        answer = await admin.http.get(f"{admin.node.url}/tasks", headers={"Authorization": f"Bearer {admin.key}"})
    for name in ("deprecation", "sunset", "link"):
        assert f"    {name}: {answer.headers[name]}\n" in page


def test_the_document_says_what_is_deprecated_and_nothing_else_is() -> None:
    paths = document((*app.ENDPOINTS, OLD), "1")["paths"]
    deprecated = [(path, name) for path, item in paths.items() for name, one in item.items() if "deprecated" in one]
    assert deprecated == [("/old/tasks/{task_id}", "get")]
    assert (
        "Deprecated since 2026-11-01. It may end on 2027-06-30." in paths["/old/tasks/{task_id}"]["get"]["description"]
    )


def test_a_sunset_is_told_in_gmt_and_need_not_be() -> None:
    there = timezone(timedelta(hours=2))
    told = dict(Deprecated(GONE, "/why", datetime(2027, 1, 1, 1, tzinfo=there)).headers({}))
    assert told[b"sunset"] == b"Thu, 31 Dec 2026 23:00:00 GMT"
    assert b"sunset" not in dict(Deprecated(GONE, "/why").headers({}))

"""The log through filters: page, feed, socket and command line tell the same."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from gateway.cli import main
from gateway.commands import log_tail
from gateway.routes import log
from tests.gateway.audit.altered import history
from tests.gateway.clients import BID, Client, Closed, Denied, Socket, open_client, open_socket, recorded, settings_of
from tests.gateway.feed_clients import open_feed

Records = list[dict[str, Any]]
pytestmark = pytest.mark.usefixtures("logs_as_they_were")


async def busy(admin: Client) -> Records:
    """A few records of several kinds and principals, and all of them as the log tells them."""
    agent = await admin.register("a1")
    for _ in range(3):
        await admin.submit()
    task_id = await admin.submit()
    await recorded(admin, "task.BookOpened")
    await agent.ask("POST", f"/v1/tasks/{task_id}/bids", BID)
    page = await admin.get("/v1/log?limit=500")
    records: Records = page["records"]
    return records


def cases(records: Records) -> list[tuple[dict[str, Any], Callable[[dict[str, Any]], bool]]]:
    middle = records[len(records) // 2]
    at = datetime.fromtimestamp(middle["recorded_at"], UTC).isoformat()
    place = middle["position"]
    return [
        ({"kind": "task.TaskSubmitted"}, lambda one: one["kind"] == "task.TaskSubmitted"),
        ({"kind": "task"}, lambda one: one["kind"].startswith("task.")),
        ({"kind": "webhook"}, lambda one: False),
        ({"principal": "actor:coordinator"}, lambda one: one["principal"] == "actor:coordinator"),
        ({"stream": records[0]["stream"], "kind": "key"}, lambda one: one["stream"] == records[0]["stream"]),
        ({"since": place, "until": place + 1}, lambda one: place <= one["position"] <= place + 1),
        ({"since": at}, lambda one: one["recorded_at"] >= middle["recorded_at"] - 1e-6),
        ({"until": at}, lambda one: one["recorded_at"] <= middle["recorded_at"]),
        ({"since": "2100-01-01T00:00:00Z"}, lambda one: False),
    ]


async def paged(admin: Client, query: dict[str, Any], limit: int = 2) -> Records:
    found: Records = []
    after = 0
    while True:
        page = await admin.get(f"/v1/log?{urlencode({'after': after, 'limit': limit, **query})}")
        assert len(page["records"]) <= limit
        found += page["records"]
        if page["next"] <= after:
            return found
        after = page["next"]


async def test_pages_and_feeds_tell_what_is_wanted_and_nothing_else(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = await busy(admin)
    monkeypatch.setattr(log, "READ_MAX", 4)
    last = records[-1]["position"]
    for query, fits in cases(records):
        expected = [one for one in records if fits(one)]
        bounded = query if "until" in query else query | {"until": last}
        found = await paged(admin, bounded)
        assert [one["position"] for one in found] == [one["position"] for one in expected], query
        assert found == expected
        async with open_feed(admin, f"?{urlencode({'after': 0, **bounded})}") as feed:
            told = []
            while (event := await feed.next()) is not None:
                told += [event.data] if event.name != "position" else []
        assert told == expected, query


async def test_a_feed_can_be_taken_up_where_it_was_left(admin: Client) -> None:
    records = await busy(admin)
    submitted = [one for one in records if one["kind"] == "task.TaskSubmitted"]
    async with open_feed(admin, "?since=1&kind=task.TaskSubmitted") as feed:
        assert [(await feed.record()).data for _ in range(2)] == submitted[:2]
        cursor = feed.cursor
    async with open_feed(admin, "?kind=task.TaskSubmitted", Last_Event_ID=cursor) as feed:
        assert (await feed.record()).data == submitted[2]


async def next_frame(socket: Socket) -> dict[str, Any] | None:
    """The next frame; None where the socket was closed in order."""
    try:
        return await socket.receive()
    except Closed as closed:
        assert closed.code == 1000
        return None


async def test_a_socket_is_closed_in_order_when_all_was_told(admin: Client) -> None:
    records = await busy(admin)
    path = f"/v1/feed?{urlencode({'after': 0, 'kind': 'key', 'until': records[-1]['position']})}"
    told = []
    async with open_socket(admin.node, path, admin.key, protocol="") as socket:
        while (frame := await next_frame(socket)) is not None:
            told += [frame["record"]] if frame["type"] == "record" else []
    assert told == [one for one in records if one["kind"].startswith("key.")]


async def test_a_filter_that_makes_no_sense_is_refused(admin: Client) -> None:
    for query in ("since=yesterday", "until=2026-01-01T00:00:00", "since=-1"):
        for path in ("/v1/log", "/v1/feed"):
            assert (await admin.ask("GET", f"{path}?{query}")).status_code == 422, query


@pytest.mark.parametrize("kind", ["tas", "task.TaskSubmited", "task.", ""])
async def test_a_kind_that_is_none_is_refused_lest_somebody_waits_for_it(admin: Client, kind: str) -> None:
    for path in ("/v1/log", "/v1/feed", "/v1/audit/trail"):
        answer = await admin.ask("GET", f"{path}?kind={kind}")
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:gavel:problem:kind_unknown")
    with pytest.raises(Denied, match="kind_unknown"):
        async with open_socket(admin.node, f"/v1/feed?kind={kind}", admin.key, protocol=""):
            pass
    assert (await admin.ask("GET", "/v1/audit/trail?kind=task")).status_code == 422  # there each has one kind


# ---- at the command line


def tail(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> Records:
    assert main(["log", "tail", *map(str, arguments), "--json"]) == code
    records: Records = json.loads(capsys.readouterr().out)["records"]
    return records


def test_the_newest_that_are_wanted_are_found_from_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = history(tmp_path)
    every = tail(capsys, journal, "--after", 0)
    assert tail(capsys, journal) == every[-20:]
    monkeypatch.setattr(log_tail, "STRIDE_FIRST", 3)
    monkeypatch.setattr(log_tail, "TAIL", 4)
    for options, fits in (
        (["--kind", "task.TaskSubmitted"], lambda one: one["kind"] == "task.TaskSubmitted"),
        (["--tenant", "other"], lambda one: one["tenant"] == "other"),
        (["--principal", "operator:o1", "--kind", "key"], lambda one: one["principal"] == "operator:o1"),
        (["--stream", "task-first"], lambda one: one["stream"] == "task-first"),
    ):
        expected = [one for one in every if fits(one) and (options[-1] != "key" or one["kind"].startswith("key"))]
        assert tail(capsys, journal, *options) == expected[-4:]
        assert tail(capsys, journal, *options, "--after", 0) == expected
    assert tail(capsys, journal, "--since", 5, "--until", 7) == every[4:7]
    assert main(["log", "tail", str(journal), "--since", "soon"]) == 2
    assert "--since must be a position, or a time" in capsys.readouterr().err


def test_a_file_is_followed_up_to_a_position(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = history(tmp_path)
    newest = tail(capsys, journal)[-1]["position"]
    assert main(["log", "tail", str(journal), "--follow", "--after", str(newest - 2), "--until", str(newest)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


async def test_a_node_is_asked_with_the_same_filters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with open_client(settings_of(tmp_path)) as admin:
        records = await busy(admin)
    capsys.readouterr()
    data = ["--data", str(tmp_path / "data")]
    assert tail(capsys, *data, "--tenant", "default", "--kind", "agent") == [
        one for one in records if one["kind"].startswith("agent.")
    ]

"""Following the log: what pages say, how often the door is asked again, and how a stream of events begins and ends."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
import trio

from gateway.feeds import live
from gateway.feeds.live import EventStream, Write, line, watch
from tests.gateway.clients import Client


class Door:
    """Says so many times that the reader is welcome."""

    def __init__(self, welcomes: int) -> None:
        self.welcomes = welcomes
        self.asked = 0

    async def is_welcome(self) -> bool:
        self.asked += 1
        return self.asked <= self.welcomes


async def collected(pages: AsyncGenerator[tuple[int, list[Any]], None]) -> list[tuple[int, list[Any]]]:
    async with aclosing(pages):
        return [page async for page in pages]


async def test_a_reader_who_has_fallen_behind_is_told_page_by_page(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "PAGE", 2)
    for _ in range(3):
        await admin.submit()
    journal, reached = admin.node.system.journal, 0
    async with aclosing(watch(journal, 0, "default", Door(9).is_welcome)) as pages:
        async for position, records in pages:
            assert [record.position for record in records] == list(range(reached + 1, position + 1))
            assert len(records) <= 2
            reached = position
            if reached == journal.position:
                break


async def test_the_door_is_asked_as_often_as_a_keep_alive_comes_and_its_no_ends_it(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "KEEP_ALIVE_SECONDS", 0.05)
    journal, door = admin.node.system.journal, Door(2)
    position = journal.position
    pages = await collected(watch(journal, position, "default", door.is_welcome))
    assert pages == [(position, [])] * 2
    assert door.asked == 3


async def test_the_door_is_not_asked_for_each_page(admin: Client) -> None:
    journal, door = admin.node.system.journal, Door(0)
    async with aclosing(watch(journal, journal.position, "default", door.is_welcome)) as pages:
        for _ in range(3):
            task_id = await admin.submit()
            _, records = await anext(pages)
            assert f"task-{task_id}" in {record.stream for record in records}
    assert door.asked == 0


async def test_what_was_decided_is_told_where_it_is_asked_for(admin: Client) -> None:
    task_id = await admin.submit()
    first = admin.node.store.read_stream(f"task-{task_id}", limit=1)[0]
    told = line(first, commands=True)
    assert told.command == "task.SubmitTask"
    assert told.decided.data["task_id"] == task_id  # type: ignore[union-attr]
    assert line(first).decided is not told.decided


async def sent_by(response: EventStream, receive: Any) -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await response({"type": "http", "method": "GET"}, receive, send)
    return sent


async def test_a_stream_of_events_ends_with_its_writer() -> None:
    async def write_twice(write: Write) -> None:
        await write(b"one")
        await write(b"two")

    start, *parts = await sent_by(EventStream(write_twice), trio.sleep_forever)
    assert b"content-length" not in dict(start["headers"])
    assert [(part["body"], part["more_body"]) for part in parts] == [(b"one", True), (b"two", True), (b"", False)]


async def test_a_stream_of_events_ends_with_its_reader() -> None:
    async def leave() -> Any:
        return {"type": "http.disconnect"}

    async def write_nothing(write: Write) -> None:
        await trio.sleep_forever()

    start, *_ = await sent_by(EventStream(write_nothing), leave)
    assert (start["type"], start["status"]) == ("http.response.start", 200)

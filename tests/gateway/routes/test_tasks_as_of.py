"""Whoever reads may ask how it stood then: at a position of the log, or at a time."""

from datetime import UTC, datetime

import pytest
import trio

from tests.gateway.clients import Client


def moment(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat().replace("+00:00", "Z")


async def test_a_task_is_shown_as_it_stood_at_a_position_or_a_time(admin: Client) -> None:
    journal = admin.node.system.journal
    before = journal.position
    task_id = await admin.submit(capabilities=[])
    submitted = journal.position
    await admin.node.system.clock.sleep_until(admin.node.system.clock.now() + 0.01)
    between = admin.node.system.clock.now()
    await admin.node.system.clock.sleep_until(between + 0.01)
    await admin.ask("DELETE", f"/v1/tasks/{task_id}")
    path = f"/v1/tasks/{task_id}"
    assert (await admin.get(path))["stage"] == "cancelled"
    for as_of in (str(journal.position), moment(admin.node.system.clock.now() + 5)):
        assert (await admin.get(f"{path}?as_of={as_of}"))["stage"] == "cancelled"
    for as_of in (str(submitted), moment(between)):
        answer = await admin.ask("GET", f"{path}?as_of={as_of}")
        assert answer.json()["stage"] != "cancelled"
        assert submitted <= int(answer.headers["Gavel-Position"]) < journal.position
    for as_of in ("0", str(before), moment(1.0)):
        assert (await admin.ask("GET", f"{path}?as_of={as_of}")).status_code == 404


async def test_pages_and_other_read_models_are_shown_as_they_stood(admin: Client) -> None:
    agent = await admin.register("a1", price=1.0)
    position = admin.node.system.journal.position
    await agent.ask("PATCH", "/v1/agents/a1", {"price": 7.0})
    await admin.register("a2")
    assert [one["agent_id"] for one in (await admin.get(f"/v1/agents?as_of={position}"))["agents"]] == ["a1"]
    assert (await admin.get(f"/v1/agents/a1?as_of={position}"))["price"] == 1.0
    assert (await admin.get("/v1/agents/a1"))["price"] == 7.0
    assert len((await admin.get(f"/v1/keys?as_of={position}"))["keys"]) == 2


@pytest.mark.parametrize("as_of", ["yesterday", "2026-11-21T12:00:00", "-1", ""])
async def test_what_is_no_moment_is_refused(admin: Client, as_of: str) -> None:
    answer = await admin.ask("GET", f"/v1/tasks?as_of={as_of}")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:gavel:problem:query_invalid")


async def test_what_has_not_happened_yet_is_refused(admin: Client) -> None:
    answer = await admin.ask("GET", f"/v1/tasks?as_of={admin.node.system.journal.position + 1}")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:gavel:problem:as_of_ahead")


async def test_many_who_ask_for_one_moment_get_one_answer(admin: Client) -> None:
    await admin.submit(capabilities=[])
    position = admin.node.system.journal.position
    await admin.submit(capabilities=[])
    seen: list[int] = []

    async def ask() -> None:
        seen.append(len((await admin.get(f"/v1/tasks?as_of={position}"))["tasks"]))

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(ask)
    assert seen == [1] * 10
    assert admin.node.history.folds == position

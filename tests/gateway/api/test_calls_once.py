"""A request under an idempotency key is done once: also while the first is in flight, when its reply was lost, and after a restart."""

import threading
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio
import trio.testing

from tests.gateway.clients import GUARD_SECONDS, TASK, Client, open_client, settings_of

KEY = "submitted-once"


async def submit(client: Client, http: httpx2.AsyncClient, **changed: Any) -> httpx2.Response:
    """Submits a task under the key, on a connection of its own."""
    return await Client(client.node, http, client.key).ask("POST", "/v1/tasks", TASK | changed, Idempotency_Key=KEY)


class Held:
    """Keeps the journal's commits waiting until they are let go."""

    def __init__(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        self._store = client.node.store
        self._gate = threading.Event()
        self.reached = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        self._append = self._store.append
        monkeypatch.setattr(self._store, "append", self._hold)

    def _hold(self, batch: Any) -> None:
        self._token.run_sync_soon(self.reached.set)
        self._gate.wait(GUARD_SECONDS)
        self._append(batch)

    def let_go(self) -> None:
        self._gate.set()


async def submissions(client: Client) -> int:
    records = await client.node.system.journal.read(0)
    return sum(record.kind == "task.TaskSubmitted" for record in records)


async def test_a_repeat_on_another_connection_while_the_first_is_in_flight_gets_the_same_answer(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(admin, monkeypatch)
    answers: list[httpx2.Response] = []
    others: list[httpx2.Response] = []

    async def ask(told: list[httpx2.Response], **changed: Any) -> None:
        async with httpx2.AsyncClient(verify=False) as http:
            told.append(await submit(admin, http, **changed))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, answers)
        await held.reached.wait()
        for _ in range(3):
            nursery.start_soon(ask, answers)
        nursery.start_soon(partial(ask, others, priority=5))
        while admin.node.system.journal.backlog < 5:  # each repeat waits for the commit that its answer rests on
            await trio.testing.wait_all_tasks_blocked(0.01)
        held.let_go()
    assert [(other.status_code, other.json()["type"]) for other in others] == [(422, "urn:gavel:problem:key_reused")]
    assert [answer.status_code for answer in answers] == [202] * 4
    assert len({answer.text for answer in answers}) == 1
    assert await submissions(admin) == 1


@pytest.mark.parametrize("when", ["before the commit", "after the commit"])
async def test_a_client_that_lost_its_reply_asks_again_also_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    async with open_client(settings_of(tmp_path)) as admin:
        held = Held(admin, monkeypatch)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(submit, admin, admin.http)
            await held.reached.wait()
            if when == "before the commit":
                nursery.cancel_scope.cancel()  # the connection breaks while the node works
            held.let_go()
        monkeypatch.undo()
        async with httpx2.AsyncClient(verify=False) as http:
            first = await submit(admin, http)
        assert first.status_code == 202
        assert await submissions(admin) == 1
    async with open_client(settings_of(tmp_path)) as admin:
        again = await submit(admin, admin.http)
        assert (again.status_code, again.text) == (202, first.text)
        other = await submit(admin, admin.http, priority=5)
        assert (other.status_code, other.json()["type"]) == (422, "urn:gavel:problem:key_reused")
        assert "24 hours" in other.json()["detail"]
        assert await submissions(admin) == 1

"""Whoever is sent away while something goes on for them gets no more of it: of a batch, of work that goes on, of a wait."""

import threading
from typing import Any

import pytest
import trio
import trio.testing
from starlette.requests import HTTPConnection

from aggregates.values.roles import Permission, Role
from gateway.api import operations
from gateway.identity.auth import is_welcome, key_id_of
from gateway.limits.places import Places
from gateway.parts import BATCHES_OF_TENANT_MAX
from tests.gateway.api.test_batch import POST, send, statuses
from tests.gateway.clients import Client
from tests.gateway.test_users import register, sign_in

VERIFY = {"method": "GET", "path": "/v1/audit/verify"}


class Gate:
    """Keeps verifications waiting until it is opened."""

    def __init__(self, judge: Any) -> None:
        self._judge = judge
        self._reached, self._opened = threading.Semaphore(0), threading.Event()

    def judge(self, **asked: Any) -> Any:
        self._reached.release()
        self._opened.wait(20)
        return self._judge(**asked)

    async def reached(self) -> None:
        await trio.to_thread.run_sync(self._reached.acquire, True, 20)

    def open(self) -> None:
        self._opened.set()


@pytest.fixture
def gate(admin: Client, monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate(admin.node.store.judge)
    monkeypatch.setattr(admin.node.store, "judge", gate.judge)
    return gate


async def test_a_key_that_is_revoked_midway_does_nothing_more_of_its_batch(admin: Client, gate: Gate) -> None:
    operator = await admin.with_role(Role.OPERATOR)
    results: list[Any] = []

    async def batch() -> None:
        results.extend(await send(operator, POST, VERIFY, POST, {"method": "GET", "path": "/v1/tasks"}, VERIFY))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(batch)
        await gate.reached()
        assert (await admin.ask("DELETE", f"/v1/keys/{key_id_of(operator.key)}")).status_code == 200
        gate.open()
    assert statuses(results) == [202, 200, 401, 401, 401]
    assert len((await admin.get("/v1/tasks"))["tasks"]) == 1


@pytest.mark.parametrize("change, status", [({"role": "read_only"}, 403), (None, 401)])
async def test_a_user_whose_role_or_session_is_taken_midway_does_nothing_more_of_a_batch(
    admin: Client, gate: Gate, change: dict[str, str] | None, status: int
) -> None:
    user_id = await register(admin)
    _, cookie = await sign_in(admin)
    results: list[Any] = []

    async def batch() -> None:
        body = {"requests": [POST, VERIFY, POST, POST]}
        answer = await admin.http.post(f"{admin.node.url}/v1/batch", json=body, headers=cookie)
        results.extend(answer.json()["results"])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(batch)
        await gate.reached()
        path = f"/v1/users/{user_id}"
        answer = await (admin.ask("PATCH", path, change) if change else admin.ask("POST", f"{path}/disable"))
        assert answer.status_code == 200
        gate.open()
    assert statuses(results) == [202, 200, status, status]


async def test_what_a_part_does_to_its_caller_holds_for_the_next(admin: Client) -> None:
    key = (await admin.ask("POST", "/v1/keys", {"role": "operator"})).json()
    replaced = {"method": "POST", "path": f"/v1/keys/{key['key_id']}/replacement", "body": {"overlap_seconds": 0}}
    assert statuses(await send(Client(admin.node, admin.http, key["key"]), POST, replaced, POST)) == [202, 201, 401]


async def test_batches_of_one_tenant_hold_up_no_other(admin: Client, gate: Gate) -> None:
    other = await admin.with_role(Role.ADMIN, "others")
    done = 0

    async def batch() -> None:
        nonlocal done
        await send(admin, VERIFY)
        done += 1

    async with trio.open_nursery() as nursery:
        for _ in range(BATCHES_OF_TENANT_MAX + 1):
            nursery.start_soon(batch)
        await gate.reached()
        assert statuses(await send(other, POST)) == [202]
        assert done == 0
        gate.open()
    assert done == BATCHES_OF_TENANT_MAX + 1
    assert len(admin.node.batches) == 0


async def test_places_are_each_tenants_own_and_given_back() -> None:
    places, there = Places(2, "batches"), 0

    async def take(tenant: str, leave: trio.Event) -> None:
        nonlocal there
        async with places.taken(tenant):
            there += 1
            await leave.wait()

    leave = trio.Event()
    async with trio.open_nursery() as nursery:
        for tenant in ("a", "a", "a", "b"):
            nursery.start_soon(take, tenant, leave)
        await trio.testing.wait_all_tasks_blocked()
        assert (there, len(places)) == (3, 2)
        leave.set()
    assert (there, len(places)) == (4, 0)


async def test_work_that_goes_on_is_given_up_when_its_caller_is_sent_away(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "CHECK_SECONDS", 0.01)

    async def for_ever(*arguments: Any, **named: Any) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr("gateway.routes.blobs.collect", for_ever)
    operator = await admin.with_role(Role.OPERATOR)
    begun = await operator.ask("POST", "/v1/blobs/collection", Prefer="respond-async")
    assert begun.status_code == 202
    (operation,) = admin.node.operations._by_id.values()
    assert (await admin.ask("DELETE", f"/v1/keys/{key_id_of(operator.key)}")).status_code == 200
    await operation.ended.wait()
    assert (operation.row().status, b'"status":401' in bytes(operation.row().problem)) == ("failed", True)


async def test_who_waits_is_told_nothing_when_the_key_is_revoked_meanwhile(admin: Client) -> None:
    operator, task_id = await admin.with_role(Role.OPERATOR), await admin.submit()
    task = await operator.ask("GET", f"/v1/tasks/{task_id}")
    told: list[int] = []

    async def wait() -> None:
        tag = {"If-None-Match": task.headers["etag"]}
        told.append((await operator.ask("GET", f"/v1/tasks/{task_id}", Prefer="wait=20", **tag)).status_code)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        while not len(admin.node.waits):
            await trio.lowlevel.checkpoint()
        await admin.ask("DELETE", f"/v1/keys/{key_id_of(operator.key)}")
        await admin.ask("DELETE", f"/v1/tasks/{task_id}")
    assert told == [401]


async def test_who_may_not_read_a_feed_any_more_is_not_welcome_though_known(admin: Client) -> None:
    narrow = await admin.ask("POST", "/v1/keys", {"role": "operator", "scopes": ["log:read"]})
    headers = [(b"authorization", f"Bearer {narrow.json()['key']}".encode())]
    connection = HTTPConnection({"type": "http", "method": "GET", "headers": headers, "path_params": {}})
    assert await is_welcome(connection, admin.node, Permission.LOG_READ)
    assert not await is_welcome(connection, admin.node, Permission.TASKS_READ)

"""Loopback without a key: for programs of the machine, on the services' older paths, and for nobody and nothing else."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.requests import HTTPConnection

from aggregates.action import ActionBegun
from aggregates.trail import SETTINGS
from gateway.api.aliases import ALIAS_BY_ROUTE, Family
from gateway.api.loopback import OPERATOR, Loopback
from gateway.app import ENDPOINTS, OLDER
from gateway.door.opening import plan_door
from gateway.routes.console import PAGE_BY_PATH
from tests.gateway.clients import Client, open_client, settings_of

TASK = {"task_type": "testing", "description": "Run integration tests for new feature"}


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Client]:
    """The admin of a node whose loopback stands open."""
    async with open_client(settings_of(tmp_path, open_loopback=True)) as client:
        yield client


async def ask(client: Client, path: str, method: str = "GET", url: str = "", **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = TASK if method == "POST" else None
    return await client.http.request(method, (url or client.node.url) + path, json=body, headers=named)


async def test_a_program_of_the_machine_works_as_the_operator_and_is_on_record_by_its_name(opened: Client) -> None:
    submitted = await ask(opened, "/tasks", "POST")
    assert submitted.status_code == 202
    task_id = submitted.json()["task_id"]
    assert (await opened.get(f"/v1/tasks/{task_id}"))["submitted_by"] == OPERATOR.name == "operator:loopback"
    port = opened.node.url.rpartition(":")[2]
    for name in ("localhost", "127.0.0.1", "127.1.2.3"):
        assert (await ask(opened, "/coordination/status", Host=f"{name}:{port}")).json()["pending_tasks"] == 1
    await opened.register("ann")
    assert (await ask(opened, "/agents/ann", "DELETE")).status_code == 200
    records = await opened.node.system.journal.read(0)
    begun = [record for record in records if isinstance(record.event, ActionBegun)]
    assert [record.event.principal for record in begun] == [OPERATOR.name]  # type: ignore[attr-defined]
    assert {record.meta.principal for record in records if record.kind == "agent.AgentDeregistered"} == {OPERATOR.name}


async def test_it_may_do_what_an_operator_may_and_for_its_own_tenant(opened: Client) -> None:
    refused = await ask(opened, "/agents", "POST")
    assert (refused.status_code, "/name" in refused.text) == (422, True)  # it may enroll, but this is no agent
    assert (await ask(opened, "/tasks", X_Tenant_ID="default")).status_code == 200
    assert (await ask(opened, "/tasks", X_Tenant_ID="acme")).status_code == 403
    reader = await opened.with_role(OPERATOR.role, "acme")
    seen = await ask(opened, "/coordination/status", Authorization=f"Bearer {reader.key}")
    await ask(opened, "/tasks", "POST")
    again = await ask(opened, "/coordination/status", Authorization=f"Bearer {reader.key}")
    assert seen.json()["pending_tasks"] == again.json()["pending_tasks"] == 0


async def test_nothing_else_is_open(opened: Client) -> None:
    others = [line for line in OLDER if ALIAS_BY_ROUTE[line.route].family is not Family.SERVICES]
    for line in (*ENDPOINTS, *others):
        if line.needs is not None:
            path = line.path.replace("{path:path}", "x").replace("{sha256}", "0" * 64)
            answer = await ask(opened, path, line.method)
            assert answer.status_code == 401, line.route


ATTACKS: dict[str, dict[str, str]] = {
    "another name that leads here": {"Host": "evil.example:{port}"},
    "a name that begins like ours": {"Host": "localhost.evil.example:{port}"},
    "a name before ours": {"Host": "evil.example@127.0.0.1:{port}"},
    "our name without its port": {"Host": "localhost"},
    "another port": {"Host": "localhost:1"},
    "no port that there is": {"Host": "localhost:99999"},
    "an address of all": {"Host": "0.0.0.0:{port}"},
    "another machine's address": {"Host": "192.168.0.7:{port}"},
    "a name that is none": {"Host": "[:{port}"},
    "a proxy's client": {"X-Forwarded-For": "203.0.113.9"},
    "a proxy's client that says it is us": {"X-Forwarded-For": "127.0.0.1"},
    "a proxy's host": {"X-Forwarded-Host": "gavel.example"},
    "a proxy by its standard": {"Forwarded": "for=127.0.0.1"},
    "a proxy that is nothing": {"X-Forwarded-For": ""},
    "a proxy that tells its way": {"Via": "1.1 cache"},
    "a proxy's real address": {"X-Real-IP": "127.0.0.1"},
    "another page": {"Origin": "https://evil.example"},
    "a page of nowhere": {"Origin": "null"},
    "a page of another port": {"Origin": "http://127.0.0.1:3000"},
    "our page under another scheme": {"Origin": "https://127.0.0.1:{port}"},
    "a page that was the last": {"Referer": "https://evil.example/page"},
    "a picture on another page": {"Sec-Fetch-Site": "cross-site"},
    "a page of another port, by its browser": {"Sec-Fetch-Site": "same-site"},
    "a key that opens nothing": {"Authorization": "Bearer nonsense"},
    "a session that is none": {"Cookie": "gavel-session=main.nonsense"},
}


async def test_whoever_might_be_somebody_else_needs_a_key(opened: Client) -> None:
    port = opened.node.url.rpartition(":")[2]
    for attack, headers in ATTACKS.items():
        filled = {name: value.replace("{port}", port) for name, value in headers.items()}
        for method in ("GET", "POST"):
            answer = await ask(opened, "/tasks", method, **filled)
            assert answer.status_code in (400, 401, 403), (attack, answer.text)
            assert attack == "a session that is none" or answer.status_code != 403, attack
    assert (await opened.get("/v1/tasks"))["tasks"] == []
    own = {"Origin": opened.node.url, "Referer": f"{opened.node.url}/", "Sec-Fetch-Site": "same-origin"}
    assert (await ask(opened, "/tasks", **own)).status_code == 200


async def test_without_the_setting_a_program_of_the_machine_needs_a_key(admin: Client) -> None:
    assert (await ask(admin, "/tasks", "POST")).status_code == 401
    assert (await admin.get("/v1/status"))["open_loopback"] is False


async def test_only_by_an_address_of_loopback(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("0.0.0.0", 0)) as other:
        near, far = one.getsockname()[1], other.getsockname()[1]
    path = tmp_path / "door"
    binds = (f"coordinator=127.0.0.1:{near}", f"http://0.0.0.0:{far}", f"unix:{path}")
    settings = settings_of(tmp_path, open_loopback=True, insecure=True, extra_binds=binds)
    async with open_client(settings) as admin:
        assert (await ask(admin, "/tasks", url=f"http://127.0.0.1:{near}")).status_code == 200
        assert (await ask(admin, "/tasks", url=f"http://127.0.0.1:{far}")).status_code == 401
        async with httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(uds=str(path)), verify=False) as http:
            by_file = Client(admin.node, http, "")
            assert (await ask(by_file, "/health", url="http://localhost")).status_code == 200
            assert (await ask(by_file, "/tasks", url="http://localhost")).status_code == 401


@pytest.mark.parametrize(
    "client,server,bind",
    [
        ("203.0.113.9", "127.0.0.1", "127.0.0.1:80"),
        ("127.0.0.1", "192.168.0.7", "127.0.0.1:80"),
        ("unix", "unix", "127.0.0.1:80"),
        ("127.0.0.1", "127.0.0.1", "twice"),
        ("127.0.0.1", "127.0.0.1", "systemd"),
        ("127.0.0.1", "127.0.0.1", "unheard-of"),
    ],
)
async def test_both_ends_and_the_address_are_looked_at(opened: Client, client: str, server: str, bind: str) -> None:
    binds = ("twice=127.0.0.1:81", "twice=192.168.0.7:81", "systemd")
    loopback = Loopback(settings_of(Path(), open_loopback=True, bind=("127.0.0.1:80",), extra_binds=binds))

    def came(client: str, server: str, bind: str) -> HTTPConnection:
        ends: Any = {"client": (client, 5000), "server": (server, 80), "state": {"bind": bind}}
        return HTTPConnection({"type": "http", "scheme": "http", "headers": [(b"host", b"localhost")]} | ends)

    assert loopback.admits(came("127.0.0.1", "127.0.0.1", "127.0.0.1:80"), opened.node)
    assert not loopback.admits(came(client, server, bind), opened.node)


def test_a_node_behind_proxies_does_not_start_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        plan_door(settings_of(tmp_path, open_loopback=True, proxies=("127.0.0.1",)))


async def test_whoever_looks_at_the_node_is_told(opened: Client) -> None:
    assert (await opened.get("/v1/status"))["open_loopback"] is True
    noted = [record.event for record in await opened.node.system.journal.read(0) if record.stream == SETTINGS]
    assert [event.settings["open_loopback"] for event in noted] == ["true"]  # type: ignore[attr-defined]
    assert b"status.open_loopback" in PAGE_BY_PATH["parts/header.js"].content
    assert b"<${Notices} state" in PAGE_BY_PATH["app.js"].content

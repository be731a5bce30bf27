"""The door of a node: what settings make of it, how commands find it, and what browsers are told under TLS."""

import json
import re
import resource
import ssl
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import httpx2
import pytest
import trio
from msgspec import structs
from structlog.testing import capture_logs

from aggregates.action import ActionBegun
from gateway.client import Client as Caller
from gateway.client import NotReached, read_admin_key, running_node
from gateway.connecting import Trust, trust_of
from gateway.door.bounds import Bounds
from gateway.door.opening import Exposed, plan_door
from gateway.node import FolderUnusable, open_node
from gateway.settings import GavelSettings
from gateway.verdicts import CRASHED, FINE, WRONG
from runtime.watchdog import STUCK
from tests.gateway.certificates import Authority
from tests.gateway.clients import open_client, settings_of

PAGE = Path(__file__).parents[3] / "docs" / "door.md"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def secured(tmp_path: Path, authority: Authority, **changed: object) -> GavelSettings:
    certificate, key = authority.issue("server")
    return settings_of(tmp_path, **{"tls_certificate": certificate, "tls_key": key, **changed})


async def keys_listed(client: Caller | None) -> int:
    assert client is not None
    listed = await trio.to_thread.run_sync(partial(client.get, "/v1/keys"))
    return len(listed["keys"])


async def test_with_a_certificate_the_door_is_open_to_other_machines_and_commands_know_it(
    tmp_path: Path, authority: Authority
) -> None:
    settings = secured(tmp_path, authority, bind="0.0.0.0:0")
    async with open_client(settings) as admin:
        folder, url = admin.node.folder, admin.node.url
        assert url.startswith("https://127.0.0.1:")
        assert json.loads(folder.node.read_text())["url"] == url
        assert await keys_listed(running_node(folder, trust=trust_of(settings))) == 1
        assert await keys_listed(running_node(folder, trust=Trust(authorities=authority.file))) == 1
        for stranger in (Trust(), Trust(authorities=Authority(tmp_path, "stranger").file)):
            with pytest.raises(NotReached, match="certificate"):
                await keys_listed(running_node(folder, trust=stranger))
        other = Trust(certificate=authority.issue("other")[0])
        with pytest.raises(NotReached, match="certificate"):
            await keys_listed(Caller(url, read_admin_key(folder), other))


async def test_browsers_are_told_to_insist_on_tls_and_to_keep_cookies_to_it(
    tmp_path: Path, authority: Authority
) -> None:
    settings = secured(tmp_path, authority, bind=("127.0.0.1:0",), extra_binds=("http://127.0.0.1:0",))
    async with open_client(settings) as admin:
        page = await admin.ask("GET", "/livez")
        assert page.headers["strict-transport-security"] == "max-age=31536000"
        signed_in = await admin.http.get(admin.node.sign_in_link())
        assert "; Secure" in signed_in.headers["set-cookie"]


async def test_behind_a_proxy_that_speaks_tls_browsers_are_told_the_same(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, proxies=("127.0.0.1",))
    async with open_client(settings) as admin:
        forwarded = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
        assert "strict-transport-security" not in (await admin.ask("GET", "/livez")).headers
        page = await admin.http.get(admin.node.sign_in_link(), headers=forwarded)
        assert page.headers["strict-transport-security"]
        assert "; Secure" in page.headers["set-cookie"]


async def test_commands_prefer_the_unix_socket_and_need_no_certificate_there(
    tmp_path: Path, authority: Authority
) -> None:
    path = tmp_path / "door"
    mutual = secured(tmp_path, authority, tls_client_ca=authority.file, bind=("127.0.0.1:0", f"unix:{path}"))
    async with open_node(mutual) as node:
        assert node.url.startswith("https://")
        assert await keys_listed(running_node(node.folder)) == 1
        with pytest.raises(NotReached):
            await keys_listed(Caller(node.url, node.admin_token, trust_of(mutual)))
    assert not path.exists()
    async with open_node(settings_of(tmp_path, bind=f"unix:{path}")) as node:
        assert node.url == f"unix:{path}"
        assert await keys_listed(running_node(node.folder)) == 1
    with pytest.raises(NotReached, match="unix:"):
        await keys_listed(Caller(f"unix:{path}", node.admin_token))


@pytest.mark.parametrize(
    "changed,named",
    [
        ({"tls_certificate": Path("none.pem")}, r"none\.pem can't be used"),
        ({"tls_client_ca": Path("ca.pem")}, "GAVEL_TLS_CLIENT_CA"),
        ({"bind": "https://127.0.0.1:0"}, "no certificate"),
        ({"proxies": ("10.0.0.0/8",)}, "exact addresses"),
    ],
)
async def test_a_door_that_cannot_be_made_is_named_before_anything_else(
    tmp_path: Path, changed: dict[str, object], named: str
) -> None:
    with pytest.raises(FolderUnusable, match=named):
        async with open_node(settings_of(tmp_path, **changed)):
            pass
    assert not (tmp_path / "data").exists()


def test_a_plain_address_beside_a_secured_one_is_exposed_all_the_same(tmp_path: Path, authority: Authority) -> None:
    settings = secured(
        tmp_path, authority, bind="0.0.0.0:443", extra_binds=("http://0.0.0.0:8071", "http://[::1]:8072")
    )
    with pytest.raises(Exposed, match=r"^http://0\.0\.0\.0:8071 can be reached"):
        plan_door(settings)


async def test_a_node_that_is_about_to_stop_is_alive_and_not_ready(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path)) as admin:
        admin.node.is_draining = True
        unready = await admin.ask("GET", "/readyz")
        assert (unready.status_code, unready.json()["detail"]) == (503, "it is about to stop")
        assert (await admin.ask("GET", "/livez")).status_code == 200
        assert (await admin.ask("GET", "/v1/tasks")).status_code == 200


async def test_where_a_record_says_a_request_came_from_is_what_our_proxy_tells(
    tmp_path: Path, authority: Authority
) -> None:
    settings = secured(tmp_path, authority, proxies=("127.0.0.1",), proxy_header="Forwarded")
    context = ssl.create_default_context(cafile=authority.file)
    async with open_node(settings) as node, httpx2.AsyncClient(verify=context) as http:
        headers = {
            "Authorization": f"Bearer {node.admin_token}",
            "Forwarded": "for=6.6.6.6, for=203.0.113.9;proto=https",
            "X-Forwarded-For": "6.6.6.6",
        }
        made = await http.post(f"{node.url}/v1/keys", json={"role": "agent"}, headers=headers)
        assert made.status_code == 201
        events = [record.event for record in await node.system.journal.read(0)]
        assert [event.origin.address for event in events if isinstance(event, ActionBegun)] == ["203.0.113.9"]


# The page


def test_the_pages_bounds_and_settings_are_those_of_the_program() -> None:
    text = PAGE.read_text(encoding="utf-8")
    settings = {f"GAVEL_{field.name.upper()}": field.default for field in structs.fields(GavelSettings)}
    assert set(re.findall(r"GAVEL_[A-Z_0-9]+", text)) <= set(settings) | {"GAVEL_BIND"}
    bounds = Bounds()
    told = re.findall(r"^\|[^|]*\| `(\w+)`[^|]*\| (\d+) \|", text, re.MULTILINE)
    assert len(told) > 10
    for name, default in told:
        value = settings[name] if name.startswith("GAVEL_") else getattr(bounds, name)
        assert value == int(default), name


def test_the_pages_exit_codes_are_those_of_the_program() -> None:
    codes = re.findall(r"^\| (\d) \| ([^|]*)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(code) for code, _ in codes] == [FINE, WRONG, CRASHED, STUCK]


async def test_where_few_files_may_be_open_the_door_takes_as_many_as_it_can_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (40, 40))
    with capture_logs() as lines:
        async with open_client(settings_of(tmp_path)) as admin, AsyncExitStack() as stack:
            port = int(admin.node.url.rpartition(":")[2])
            for _ in range(30):
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                stack.push_async_callback(stream.aclose)
            assert (await admin.ask("GET", "/readyz")).status_code == 200
            assert admin.node.counts.evicted >= 21
    [told] = [line for line in lines if line["event"] == "few_files"]
    assert (told["connections_max"], told["instead_of"], told["granted"]) == (10, 1000, 40)

"""Strangers are turned away so often and then told to wait; who has a good key is told nothing of it, from whatever address."""

from pathlib import Path

import pytest
import trio

from tests.gateway.clients import Client, Denied, open_client, open_socket, settings_of

REQUESTS = (
    ("GET", "/v1/tasks", 401),
    ("GET", "/nowhere", 404),
    ("DELETE", "/v1/tasks", 405),
    ("OPTIONS", "/v1/me", 405),
)
ASKED = b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def statuses(client: Client, key: str = "") -> list[int]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    url = client.node.url
    return [(await client.http.request(one[0], url + one[1], headers=headers)).status_code for one in REQUESTS]


async def test_an_address_without_a_good_key_is_turned_away_so_often_and_a_good_key_is_always_let_in(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s"
    settings = settings_of(tmp_path, strangers_per_second=0.1, bind=("127.0.0.1:0", f"unix:{path}"))
    async with open_client(settings) as admin:
        assert await statuses(admin) == [401, 429, 429, 429]
        refused = await admin.http.get(f"{admin.node.url}/v1/tasks", headers={"Authorization": "Bearer nonsense"})
        assert (refused.status_code, refused.json()["type"]) == (429, "urn:gavel:problem:too_many_requests")
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["ratelimit-policy"].startswith('"stranger";q=1;')
        with pytest.raises(Denied) as denied:
            async with open_socket(admin.node, "/v1/feed", "nonsense", ""):
                pass
        assert denied.value.status == 429
        assert await statuses(admin, admin.key) == [200, 404, 405, 405]
        async with open_socket(admin.node, "/v1/feed", admin.key, ""):
            pass
        for open_path in ("/livez", "/readyz", "/"):
            assert (await admin.http.get(admin.node.url + open_path)).status_code == 200
        assert await statuses(admin, admin.key[:-1] + "~") == [429] * 4
        for _ in range(3):
            async with await trio.open_unix_socket(str(path)) as stream:
                await stream.send_all(ASKED)
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 404")


async def test_strangers_have_a_rate_for_each_address(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, strangers_per_second=0.1, proxies=("127.0.0.1",))
    async with open_client(settings) as admin:
        told = [
            (await admin.http.get(f"{admin.node.url}/v1/tasks", headers={"X-Forwarded-For": address})).status_code
            for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2")
        ]
        assert told == [401, 429, 401, 401, 429]


async def test_a_usual_stranger_is_never_told_of_a_rate(admin: Client) -> None:
    assert await statuses(admin) * 5 == [status for _, _, status in REQUESTS] * 5

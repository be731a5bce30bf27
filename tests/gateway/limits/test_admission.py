"""Rates as callers meet them: told in each answer, refused with when to come again, and waited for on a websocket."""

from pathlib import Path

import pytest
import trio

from aggregates.values.roles import Role
from gateway.limits.rates import RETRY_SECONDS_MAX
from tests.gateway.clients import Client, Denied, open_client, open_socket, settings_of


async def test_each_answer_tells_how_the_caller_stands(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path, reads_per_second=1.0)) as admin:
        for left in (1, 0):
            answer = await admin.ask("GET", "/v1/tasks")
            assert answer.headers["ratelimit-policy"] == '"read";q=2;w=2'
            assert answer.headers["ratelimit"].startswith(f'"read";r={left};')
        for body, status in (({"task_type": "nothing"}, 422), ({"task_type": "analysis", "dependencies": ["no"]}, 422)):
            answer = await admin.ask("POST", "/v1/tasks", body)
            assert (answer.status_code, answer.headers["ratelimit"].partition(";")[0]) == (status, '"write"')


async def test_who_asks_too_often_is_told_when_to_come_again_and_others_are_not(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path, writes_per_second=0.01)) as admin:
        other = await admin.with_role(Role.OPERATOR)
        assert (await admin.ask("POST", "/v1/tasks", {"task_type": "analysis"})).status_code == 202
        refused = await admin.ask("POST", "/v1/tasks", {"task_type": "analysis"})
        assert refused.status_code == 429
        assert refused.json()["type"].endswith("too_many_requests")
        assert 1 <= int(refused.headers["retry-after"]) <= RETRY_SECONDS_MAX
        assert refused.headers["ratelimit"].startswith('"write";r=0;')
        assert (await other.ask("POST", "/v1/tasks", {"task_type": "analysis"})).status_code == 202
        assert (await admin.ask("GET", "/v1/tasks")).status_code == 200
        stranger = await admin.with_role(Role.OPERATOR, tenant="other")
        assert (await stranger.ask("POST", "/v1/tasks", {"task_type": "analysis"})).status_code == 202


async def test_what_reads_a_whole_journal_has_a_rate_of_its_own(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path, heavy_per_minute=1.0)) as admin:
        assert (await admin.ask("GET", "/v1/audit/verify")).status_code == 200
        assert (await admin.ask("GET", "/v1/audit/verify")).status_code == 429
        assert (await admin.ask("GET", "/v1/audit/trail")).status_code == 200


async def test_health_is_asked_without_end(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path, reads_per_second=0.01, tenant_requests_per_second=0.01)) as admin:
        for _ in range(20):
            for path in ("/livez", "/readyz"):
                assert (await admin.http.get(admin.node.url + path)).status_code == 200


async def test_passwords_and_tickets_from_one_address_have_a_rate(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path, sign_ins_per_minute=2.0)) as admin:
        body = {"name": "nobody", "password": "correct horse battery"}
        answers = [await admin.http.post(f"{admin.node.url}/session/password", json=body) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [401, 401, 429]
        assert (await admin.http.get(admin.node.sign_in_link())).status_code == 429
        assert (await admin.ask("GET", "/v1/me")).status_code == 200


async def test_a_socket_that_sends_too_much_is_kept_waiting_and_loses_nothing(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path, writes_per_second=20.0)) as admin:
        agent = await admin.register("ann")
        async with agent.socket() as socket:
            await socket.next("welcome")
            began = trio.current_time()
            for number in range(50):
                await socket.send(type="heartbeat", id=f"h{number}")
            answered = [await socket.next("ack") for _ in range(50)]
            assert [frame["id"] for frame in answered] == [f"h{number}" for number in range(50)]
            assert trio.current_time() - began >= (50 - 40) / 20.0 * 0.9  # forty at once, and then so many a second


async def test_sockets_are_opened_within_the_rates_too(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path, writes_per_second=0.01)) as admin:
        agent = await (await admin.with_role(Role.AGENT)).register("ann")
        async with agent.socket() as socket:
            await socket.next("welcome")
        with pytest.raises(Denied) as denied:
            async with agent.socket():
                pass
        assert denied.value.status == 429


async def test_a_socket_enrols_no_agent_for_a_key_whose_scopes_leave_that_out(admin: Client) -> None:
    made = await admin.ask("POST", "/v1/keys", {"role": "agent", "scopes": ["agents:connect"]})
    with pytest.raises(Denied) as denied:
        async with open_socket(admin.node, "/v1/agents/ann/ws?capabilities=cutting", made.json()["key"]):
            pass
    assert denied.value.status == 403

"""The routes of webhooks: for operators of the tenant alone, each secret told once, every change on the trail, and nothing leaks."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from aggregates.values.roles import Role
from tests.gateway.clients import Client, open_client, settings_of
from tests.gateway.prometheus import parsed
from tests.gateway.receivers import Heard, Says, open_receiver

HOOK = {"url": "https://localhost/in", "kinds": ["task.TaskSubmitted"]}


@pytest.fixture
async def hooked(tmp_path: Path) -> AsyncIterator[Client]:
    async with open_client(settings_of(tmp_path, webhook_http=True, webhook_private=True)) as admin:
        yield admin


async def made(client: Client, **body: Any) -> Any:
    answer = await client.ask("POST", "/v1/webhooks", HOOK | body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def asked(client: Client, method: str, path: str, body: Any = None) -> Any:
    answer = await client.ask(method, f"/v1/webhooks/{path}", body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_webhook_is_created_found_changed_paused_resumed_and_deleted(admin: Client) -> None:
    one = (await made(admin))["webhook_id"]
    row = await asked(admin, "GET", one)
    assert (row["status"], row["url"], row["kinds"], row["generation"]) == ("active", HOOK["url"], HOOK["kinds"], 1)
    await asked(admin, "PATCH", one, {"kinds": [], "principal": "agent:ann"})
    await asked(admin, "POST", f"{one}/pause", {"reason": "maintenance"})
    row = await asked(admin, "GET", one)
    assert (row["status"], row["kinds"], row["principal"], row["reason"]) == ("paused", [], "agent:ann", "maintenance")
    assert [hook["webhook_id"] for hook in (await admin.get("/v1/webhooks?status=paused"))["webhooks"]] == [one]
    await asked(admin, "POST", f"{one}/resume")
    await asked(admin, "DELETE", f"{one}?reason=enough")
    assert (await asked(admin, "GET", one))["status"] == "deleted"
    assert (await admin.get("/v1/webhooks?status=active"))["webhooks"] == []
    for method, path in (("POST", "pause"), ("POST", "secret"), ("POST", "test"), ("GET", "deliveries")):
        assert (await admin.ask(method, f"/v1/webhooks/{one}/{path}")).status_code == 404
    trail = await admin.get("/v1/audit/trail?limit=100")
    begun = {row["action"] for row in trail["trail"] if row["action"]}
    assert {f"webhooks.{name}" for name in ("create", "update", "pause", "resume", "delete")} <= begun


async def test_who_may_not_read_the_log_has_it_sent_nowhere(admin: Client) -> None:
    one = (await made(admin))["webhook_id"]
    key = await admin.ask("POST", "/v1/keys", {"role": "operator", "scopes": ["webhooks:manage", "requests:batch"]})
    scoped = Client(admin.node, admin.http, key.json()["key"])
    asked_for = (("POST", "/v1/webhooks", HOOK), ("PATCH", f"/v1/webhooks/{one}", {"url": "https://localhost/mine"}))
    for method, path, body in asked_for:
        assert (await scoped.ask(method, path, body)).status_code == 403, path
        part = {"requests": [{"method": method, "path": path, "body": body}]}
        assert (await scoped.ask("POST", "/v1/batch", part)).json()["results"][0]["status"] == 403, path
    assert (await scoped.ask("POST", f"/v1/webhooks/{one}/pause")).status_code == 200


async def test_a_secret_is_told_at_its_making_alone_and_stands_nowhere(hooked: Client, tmp_path: Path) -> None:
    async with open_receiver() as receiver:
        first = await made(hooked, url=receiver.url)
        one = first["webhook_id"]
        second = await asked(hooked, "POST", f"{one}/secret", {"overlap_seconds": 60})
        await asked(hooked, "POST", f"{one}/test")
        heard = await receiver.next()
        assert heard.verified(first["secret"])["type"] == heard.verified(second["secret"])["type"] == "webhook.test"
        third = await asked(hooked, "POST", f"{one}/secret", {"overlap_seconds": 0})
        await asked(hooked, "POST", f"{one}/test")
        heard = await receiver.next()
        heard.verified(third["secret"])
        assert len(heard.headers["webhook-signature"].split(" ")) == 2
        row = await asked(hooked, "GET", one)
        assert (row["generation"], row["public_key"]) == (3, third["public_key"])
        told = [await hooked.get(path) for path in ("/v1/webhooks", "/v1/log?limit=500&commands=true", "/v1/status")]
        secrets = [each["secret"].removeprefix("whsec_") for each in (first, second, third)]
        assert len(set(secrets)) == 3
        assert not any(secret in f"{told} {row}" for secret in secrets)
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]  # noqa: ASYNC240
    assert not any(secret.encode() in content for secret in secrets for content in files)


async def test_the_same_request_said_twice_makes_one_webhook_and_tells_the_same_secret(admin: Client) -> None:
    answers = [await admin.ask("POST", "/v1/webhooks", HOOK, Idempotency_Key="once") for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    one = answers[0].json()["webhook_id"]
    again = [await admin.ask("POST", f"/v1/webhooks/{one}/secret", {}, Idempotency_Key="twice") for _ in range(2)]
    assert again[0].json() == again[1].json()
    assert (await asked(admin, "GET", one))["generation"] == 2


async def test_what_went_by_is_sent_once_more_from_a_position_on_or_skipped(hooked: Client) -> None:
    names = [await hooked.submit() for _ in range(3)]
    async with open_receiver() as receiver:
        one = (await made(hooked, url=receiver.url, after=0))["webhook_id"]
        first = [await receiver.next() for _ in names]
        await asked(hooked, "POST", f"{one}/replay", {"after": first[1].position - 1})
        again = [await receiver.next() for _ in names[1:]]
        assert [heard.id for heard in again] == [heard.id for heard in first[1:]]
        ahead = await hooked.ask("POST", f"/v1/webhooks/{one}/replay", {"after": 10**6})
        assert (ahead.status_code, ahead.json()["type"]) == (422, "urn:gavel:problem:position_ahead")


async def test_how_deliveries_go_is_shown_with_the_lag_and_in_numbers(hooked: Client) -> None:
    hung = trio.Event()

    async def answering(heard: Heard) -> Says:
        hung.set()
        await trio.sleep_forever()
        raise AssertionError

    async with open_receiver(answering) as receiver:
        one = (await made(hooked, url=receiver.url))["webhook_id"]
        for _ in range(2):
            await hooked.submit()
        await hung.wait()
        deliveries = await asked(hooked, "GET", f"{one}/deliveries")
        assert (deliveries["attempts"], deliveries["lag"] >= 2) == ([], True)
        status = (await hooked.get("/v1/status"))["webhooks"]
        assert (status["count_by_status"], status["failing"], status["lag"] >= 2) == ({"active": 1}, 0, True)
        samples = parsed((await hooked.ask("GET", "/metrics")).text)
        assert samples["gavel_webhook_lag"] >= 2
        assert {name for name in samples if "webhook" in name} >= {"gavel_webhook_lag", "gavel_webhooks active"}


async def test_webhooks_are_for_operators_of_the_tenant_alone(admin: Client) -> None:
    one = (await made(admin))["webhook_id"]
    operator = await admin.with_role(Role.OPERATOR)
    assert [row["webhook_id"] for row in (await operator.get("/v1/webhooks"))["webhooks"]] == [one]
    for role, status in ((Role.AUDITOR, 200), (Role.READ_ONLY, 403), (Role.AGENT, 403)):
        other = await admin.with_role(role)
        assert (await other.ask("GET", "/v1/webhooks")).status_code == status
        assert (await other.ask("POST", "/v1/webhooks", HOOK)).status_code == 403
    stranger = await admin.with_role(Role.ADMIN, tenant="other")
    assert (await stranger.get("/v1/webhooks"))["webhooks"] == []
    calls: list[tuple[str, str, Any]] = [
        *(("GET", "", None), ("PATCH", "", {"kinds": []}), ("DELETE", "?reason=x", None), ("POST", "/pause", {})),
        *(("POST", "/resume", {}), ("POST", "/secret", {}), ("POST", "/replay", {"after": 0}), ("POST", "/test", None)),
        ("GET", "/deliveries", None),
    ]
    for method, path, body in calls:
        assert (await stranger.ask(method, f"/v1/webhooks/{one}{path}", body)).status_code == 404
    assert (await asked(admin, "GET", one))["status"] == "active"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"url": "http://hooks.example/"}, "url_not_https"),
        ({"url": "https://10.0.0.1/"}, "url_not_public"),
        ({"url": "https://user:password@hooks.example/"}, "body_invalid"),
        ({"url": "https://hooks.example/#part"}, "body_invalid"),
        ({"url": "ftp://hooks.example/"}, "body_invalid"),
        ({"kinds": ["Task"]}, "body_invalid"),
        ({"kinds": ["task", "task.TaskSubmited"]}, "kind_unknown"),
        ({"kinds": ["tasks"]}, "kind_unknown"),
        ({"kinds": ["webhook.WebhookDelivered"]}, "kind_unknown"),
        ({"after": 10**6}, "position_ahead"),
        ({"webhook_id": "mine"}, "body_invalid"),
    ],
)
async def test_a_webhook_that_would_send_nothing_or_where_it_may_not_is_refused(
    admin: Client, body: dict[str, Any], code: str
) -> None:
    for path, method in (("/v1/webhooks", "POST"), (f"/v1/webhooks/{(await made(admin))['webhook_id']}", "PATCH")):
        if method == "PATCH" and "after" in body:
            continue
        answer = await admin.ask(method, path, (HOOK if method == "POST" else {}) | body)
        assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (422, code)
        if code == "kind_unknown":  # the last that is named is the one
            assert [fault["pointer"] for fault in answer.json()["errors"]] == [f"/kinds/{len(body['kinds']) - 1}"]


async def test_an_isolated_tenant_has_webhooks_of_its_own(hooked: Client) -> None:
    key = (await hooked.ask("POST", "/v1/journals", {"name": "acme"})).json()["key"]
    acme = Client(hooked.node, hooked.http, key)
    async with open_receiver() as receiver:
        first = await made(acme, url=receiver.url)
        name = await acme.submit(capabilities=[])
        said = (await receiver.next()).verified(first["secret"])
        assert (said["journal"], said["data"]["data"]["task_id"]) == ("acme", name)
    assert (await hooked.get("/v1/webhooks"))["webhooks"] == []

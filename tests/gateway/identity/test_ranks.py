"""Nobody acts on somebody who may do more than they: keys, sessions, users, persons, tokens, and what is given."""

from typing import Any

from aggregates.values.roles import Role
from gateway.identity.auth import key_id_of
from tests.gateway.clients import Client
from tests.gateway.identity.providers import SUBJECT
from tests.gateway.identity.test_bearers import Scene, scene
from tests.gateway.test_users import register, sign_in

__all__ = ["scene"]


async def acts(admin: Client, user_id: str, key_id: str | None) -> list[tuple[str, str, Any]]:
    """All that somebody does to others of whom he looks after."""
    sessions = (await admin.get("/v1/sessions"))["sessions"]
    (of_user,) = [one["session_id"] for one in sessions if one["user_id"] == user_id and not one["ended_at"]]
    (of_key,) = [one["session_id"] for one in sessions if one["key_id"] == key_id and not one["ended_at"]]
    user = f"/v1/users/{user_id}"
    return [
        ("DELETE", f"/v1/sessions/{of_user}", None),
        ("DELETE", f"/v1/sessions/{of_key}", None),
        ("POST", f"{user}/unlock", None),
        ("PATCH", user, {"name": "Ann"}),
        ("PUT", f"{user}/password", {"password": "another horse battery"}),
        ("POST", f"{user}/disable", None),
        ("POST", f"{user}/enable", None),
        ("POST", f"/v1/keys/{key_id}/replacement", None),
        ("DELETE", f"/v1/keys/{key_id}", None),
        ("DELETE", f"/v1/subjects/{user_id}", None),
        ("DELETE", user, None),
    ]


async def furnished(admin: Client, role: Role) -> tuple[str, str | None]:
    """A user and a key of this role, each with a session."""
    user_id = await register(admin, role=role.value, username=role.value, email=f"{role.value}@example.org")
    assert (await sign_in(admin, role.value))[0].status_code == 200
    held = await admin.with_role(role)
    link = (await held.ask("POST", "/session")).json()["path"]
    assert (await admin.http.get(admin.node.url + link)).status_code == 303
    admin.http.cookies.clear()
    return user_id, key_id_of(held.key)


async def test_a_tenants_admin_does_nothing_to_an_admin_and_all_to_others(admin: Client) -> None:
    lesser = await admin.with_role(Role.TENANT_ADMIN)
    above, beside = await furnished(admin, Role.ADMIN), await furnished(admin, Role.OPERATOR)
    for method, path, body in await acts(admin, *above):
        answer = await lesser.ask(method, path, body)
        assert (answer.status_code, "may do what you may not" in answer.text) == (403, True), (path, answer.text)
    for method, path, body in await acts(admin, *beside):
        answer = await lesser.ask(method, path, body)
        assert answer.status_code in (200, 201), (path, answer.text)
    for method, path, body in (
        ("POST", "/v1/keys", {"role": "admin"}),
        ("POST", "/v1/users", {"username": "eve", "email": "eve@example.org", "role": "admin"}),
    ):
        assert (await lesser.ask(method, path, body)).status_code == 403
    assert (await admin.get(f"/v1/users/{above[0]}"))["status"] == "active"
    for method, path, body in await acts(admin, *above):
        assert (await admin.ask(method, path, body)).status_code in (200, 201), path


async def test_a_key_with_scopes_acts_on_nobody_who_may_do_more(admin: Client) -> None:
    user_id, _ = await furnished(admin, Role.OPERATOR)
    body = {"role": "admin", "scopes": ["users:manage", "subjects:manage", "keys:manage"]}
    narrow = Client(admin.node, admin.http, (await admin.ask("POST", "/v1/keys", body)).json()["key"])
    for method, path in (("POST", f"/v1/users/{user_id}/unlock"), ("DELETE", f"/v1/subjects/{user_id}")):
        assert (await narrow.ask(method, path)).status_code == 403, path


async def test_tokens_of_whoever_may_do_more_are_not_revoked(scene: Scene) -> None:
    lesser = await scene.admin.with_role(Role.TENANT_ADMIN)
    boss, worker = scene.provider.token(roles=["boss"], sub="boss", jti="b"), scene.provider.token(jti="w")
    principals = [(await scene.ask(token)).json()["principal"] for token in (boss, worker)]
    for body, status in (
        ({"subject": "boss"}, 403),
        ({"jti": "b"}, 403),
        ({"jti": "never shown"}, 403),
        ({"principal": principals[0]}, 403),
        ({"jti": "w"}, 201),
        ({"subject": SUBJECT}, 201),
        ({"principal": principals[1]}, 201),
    ):
        answer = await lesser.ask("POST", "/v1/revocations", {"issuer": scene.provider.url} | body)
        assert answer.status_code == status, (body, answer.text)
    assert (await scene.ask(boss)).status_code == 200
    assert (await scene.ask(worker)).status_code == 401

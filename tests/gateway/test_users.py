"""People: registered by an admin, signed in by a password, locked out after too many wrong ones, sent away at once."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from aggregates.lockout import FAILURES_MAX_BY_SCOPE, NoteFailure, Scope, SignInLocked
from aggregates.user import FindLogin
from aggregates.values.roles import Role
from gateway.identity.cookies import COOKIE
from runtime.delivery import Context
from runtime.errors import Refused
from tests.gateway.clients import Client, open_client, settings_of

PASSWORD = "correct horse battery"
ANN: dict[str, Any] = {"username": "ann", "email": "ann@example.org", "role": "operator", "password": PASSWORD}


async def register(admin: Client, **changed: Any) -> str:
    answer = await admin.ask("POST", "/v1/users", ANN | changed)
    assert answer.status_code == 201, answer.text
    user_id: str = answer.json()["user_id"]
    return user_id


async def sign_in(admin: Client, name: str = "ann", password: str = PASSWORD, **more: str) -> Any:
    """The answer to a sign-in of a browser without cookies."""
    admin.http.cookies.clear()
    body = {"name": name, "password": password, **more}
    headers = {"Origin": admin.node.url}
    answer = await admin.http.post(f"{admin.node.url}/session/password", json=body, headers=headers)
    cookie = admin.http.cookies.get(COOKIE)
    admin.http.cookies.clear()
    return answer, {"Cookie": f"{COOKIE}={cookie}", **headers}


async def test_a_user_signs_in_by_name_or_address_and_may_do_what_the_role_may(admin: Client) -> None:
    user_id = await register(admin)
    for name in ("ann", "ANN", "Ann@Example.org"):
        answer, cookie = await sign_in(admin, name)
        assert answer.status_code == 200, answer.text
        assert answer.json()["principal"] == f"user:{user_id}"
        assert "httponly" in answer.headers["set-cookie"].lower()
    me = (await admin.http.get(f"{admin.node.url}/v1/me", headers=cookie)).json()
    assert (me["role"], me["tenant"], me["user_id"]) == ("operator", "default", user_id)
    assert "tasks:manage" in me["permissions"]
    made = await admin.http.post(f"{admin.node.url}/v1/tasks", json={"task_type": "analysis"}, headers=cookie)
    assert made.status_code == 202
    assert (await admin.http.get(f"{admin.node.url}/v1/keys", headers=cookie)).status_code == 403
    row = await admin.get(f"/v1/users/{user_id}")
    assert (row["username"], row["status"], row["issuer"]) == ("ann", "active", None)
    assert PASSWORD not in str(row)
    assert "argon2" not in str(row)


async def test_what_is_wrong_with_a_registration_is_told_at_once(admin: Client) -> None:
    answer = await admin.ask("POST", "/v1/users", {"username": "ab", "email": "nowhere", "role": "king", "age": 3})
    assert answer.status_code == 422
    assert {fault["pointer"] for fault in answer.json()["errors"]} == {"/username", "/email", "/role", "/age"}
    for changed, code in (
        ({"password": "short"}, "password_unfit"),
        ({"username": "ann-the-second", "password": "ann-the-second"}, "password_unfit"),
        ({"role": "agent"}, "role_needs_key"),
    ):
        answer = await admin.ask("POST", "/v1/users", ANN | changed)
        assert answer.status_code in (403, 422), answer.text
        assert answer.json()["type"].endswith(code), answer.text
    await register(admin)
    for changed, code in (({}, "username_taken"), ({"username": "bob"}, "email_taken")):
        answer = await admin.ask("POST", "/v1/users", ANN | changed)
        assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (409, code)


async def test_who_is_not_there_and_who_mistypes_are_told_the_same(admin: Client) -> None:
    await register(admin)
    wrong, _ = await sign_in(admin, "ann", "wrong horse battery")
    nobody, _ = await sign_in(admin, "nobody", PASSWORD)
    elsewhere, _ = await sign_in(admin, "ann", PASSWORD, tenant="other")
    assert wrong.status_code == nobody.status_code == elsewhere.status_code == 401
    assert wrong.json() | {"instance": ""} == nobody.json() | {"instance": ""}
    assert "set-cookie" not in wrong.headers


async def test_too_many_wrong_passwords_lock_the_account_and_never_a_key_or_an_open_session(admin: Client) -> None:
    user_id = await register(admin)
    _, cookie = await sign_in(admin)
    for _ in range(FAILURES_MAX_BY_SCOPE["account"]):
        answer, _ = await sign_in(admin, "ann", "wrong horse battery")
        assert answer.status_code == 401
    answer, _ = await sign_in(admin)
    assert answer.status_code == 429
    assert answer.json()["type"].endswith("sign_in_locked")
    assert 0 < int(answer.headers["Retry-After"]) <= 30
    assert (await admin.http.get(f"{admin.node.url}/v1/me", headers=cookie)).status_code == 200
    assert (await admin.ask("GET", "/v1/me")).status_code == 200
    assert (await admin.ask("POST", f"/v1/users/{user_id}/unlock")).status_code == 200
    answer, _ = await sign_in(admin)
    assert answer.status_code == 200


async def test_a_name_that_nobody_has_is_locked_as_one_that_somebody_has(admin: Client) -> None:
    await register(admin)
    told = {}
    for name in ("ann", "nobody"):
        answers = [(await sign_in(admin, name, "wrong horse battery"))[0] for _ in range(6)]
        told[name] = [(answer.status_code, answer.json()["type"]) for answer in answers]
    assert told["ann"] == told["nobody"]
    assert told["nobody"][-1][0] == 429
    assert b"nobody" not in msgspec.json.encode([record.stream for record in await admin.node.system.journal.read(0)])


async def test_guesses_at_once_do_not_get_past_the_lock(admin: Client) -> None:
    await register(admin)
    statuses: list[int] = []

    async def guess(number: int) -> None:
        body = {"name": "ann", "password": f"guess number {number}"}
        answer = await admin.http.post(f"{admin.node.url}/session/password", json=body)
        statuses.append(answer.status_code)

    async with trio.open_nursery() as nursery:
        for number in range(12):
            nursery.start_soon(guess, number)
    assert statuses.count(401) <= FAILURES_MAX_BY_SCOPE["account"] + 2  # who was looked at beside the last
    assert set(statuses) <= {401, 429}
    records = await admin.node.system.journal.read(0)
    assert sum(isinstance(record.event, SignInLocked) for record in records) == 1


async def test_an_address_that_tries_many_names_is_locked(admin: Client) -> None:
    await register(admin)
    for number in range(FAILURES_MAX_BY_SCOPE["address"]):
        answer, _ = await sign_in(admin, f"name-{number}")
        assert answer.status_code == 401
    answer, _ = await sign_in(admin)
    assert answer.status_code == 429
    records = await admin.node.system.journal.read(0)
    told = [(record.stream, record.event) for record in records if record.stream.startswith("lockout-")]
    assert len(told) >= FAILURES_MAX_BY_SCOPE["address"]
    assert "127.0.0.1" not in str(told)


async def test_locks_of_addresses_that_older_journals_name_still_count(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    context = Context(tenant="default", principal="gateway")
    async with open_client(settings) as admin:
        failure = NoteFailure(scope=Scope.ADDRESS, whose="192.0.2.1")
        for _ in range(FAILURES_MAX_BY_SCOPE["address"]):
            await admin.node.system.ask(failure, context)
    async with open_client(settings) as admin:
        with pytest.raises(Refused, match="sign_in_locked"):
            await admin.node.system.ask(FindLogin(name="ann", address="192.0.2.1", nobody="n"), context)
        with pytest.raises(Refused, match="sign_in_locked"):
            await admin.node.system.ask(failure, context)


async def test_a_user_who_is_sent_away_is_out_with_the_next_request(admin: Client) -> None:
    for path, status in (("/disable", 200), ("", 200)):
        name = f"user{len(path)}"
        user_id = await register(admin, username=name, email=f"{name}@example.org")
        _, cookie = await sign_in(admin, name)
        method = "POST" if path else "DELETE"
        assert (await admin.ask(method, f"/v1/users/{user_id}{path}")).status_code == status
        assert (await admin.http.get(f"{admin.node.url}/v1/me", headers=cookie)).status_code == 401
        answer, _ = await sign_in(admin, name)
        assert answer.status_code == 401


async def test_a_role_that_is_taken_is_gone_with_the_next_request(admin: Client) -> None:
    user_id = await register(admin)
    _, cookie = await sign_in(admin)
    url = f"{admin.node.url}/v1/tasks"
    assert (await admin.http.post(url, json={"task_type": "analysis"}, headers=cookie)).status_code == 202
    assert (await admin.ask("PATCH", f"/v1/users/{user_id}", {"role": "read_only"})).status_code == 200
    assert (await admin.http.post(url, json={"task_type": "analysis"}, headers=cookie)).status_code == 403


async def test_a_user_sets_a_new_password_with_the_old_one_and_other_sessions_end(admin: Client) -> None:
    user_id = await register(admin)
    _, cookie = await sign_in(admin)
    url, new = f"{admin.node.url}/v1/users/{user_id}/password", "another horse battery"
    for current, status in (("wrong horse battery", 401), (PASSWORD, 200)):
        answer = await admin.http.put(url, json={"password": new, "current": current}, headers=cookie)
        assert answer.status_code == status, answer.text
    assert (await admin.http.get(f"{admin.node.url}/v1/me", headers=cookie)).status_code == 401
    assert (await sign_in(admin))[0].status_code == 401
    assert (await sign_in(admin, password=new))[0].status_code == 200


async def test_users_and_their_sessions_outlive_the_node(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    async with open_client(settings) as admin:
        user_id = await register(admin)
        _, cookie = await sign_in(admin)
    async with open_client(settings) as admin:
        assert (await admin.http.get(f"{admin.node.url}/v1/me", headers=cookie)).json()["user_id"] == user_id
        answer, _ = await sign_in(admin)
        assert answer.status_code == 200
        session = (await admin.get(f"/v1/sessions?user_id={user_id}"))["sessions"][-1]["session_id"]
        assert (await admin.ask("DELETE", f"/v1/sessions/{session}")).status_code == 200
        assert (await admin.http.get(f"{admin.node.url}/v1/me", headers=cookie)).status_code == 401


def files_with(folder: Path, *words: bytes) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [file for file in files if any(word in file.read_bytes() for word in words)]


async def test_an_erased_user_leaves_no_trace_and_cannot_come_in(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    async with open_client(settings) as admin:
        user_id = await register(admin, username="traceable-ann", email="traceable@example.org")
        assert (await sign_in(admin, "traceable-ann"))[0].status_code == 200
        assert (await admin.ask("DELETE", f"/v1/users/{user_id}")).status_code == 200
        assert (await admin.ask("DELETE", f"/v1/subjects/{user_id}")).status_code == 200
        assert (await sign_in(admin, "traceable-ann"))[0].status_code == 401
        row = await admin.get(f"/v1/users/{user_id}")
        assert (row["username"], row["email"]) == ("", "")
    assert files_with(tmp_path, b"traceable", b"argon2id") == []


async def test_another_page_can_neither_sign_anybody_in_nor_use_the_session(admin: Client) -> None:
    await register(admin)
    body, evil = {"name": "ann", "password": PASSWORD}, {"Origin": "https://evil.example"}
    answer = await admin.http.post(f"{admin.node.url}/session/password", json=body, headers=evil)
    assert answer.status_code == 403
    _, cookie = await sign_in(admin)
    answer = await admin.http.post(f"{admin.node.url}/v1/tasks", json={"task_type": "analysis"}, headers=cookie | evil)
    assert answer.status_code == 403


async def test_where_an_identity_provider_is_named_there_are_no_passwords(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path, oidc_issuer="https://id.example")) as admin:
        answer = await admin.ask("POST", "/v1/users", ANN)
        assert answer.status_code == 409
        answer, _ = await sign_in(admin)
        assert answer.status_code == 409


async def test_a_key_is_replaced_by_its_holder_with_an_overlap(admin: Client) -> None:
    made = (
        await admin.ask(
            "POST", "/v1/keys", {"role": "developer", "label": "ci", "scopes": ["tasks:read", "self:manage"]}
        )
    ).json()
    old = Client(admin.node, admin.http, made["key"])
    answer = await old.ask("POST", f"/v1/keys/{made['key_id']}/replacement", {"overlap_seconds": 0.3})
    assert answer.status_code == 201, answer.text
    new = Client(admin.node, admin.http, answer.json()["key"])
    for client in (old, new):
        assert (await client.ask("GET", "/v1/tasks")).status_code == 200
    assert (await new.ask("GET", "/v1/agents")).status_code == 403
    rows = {row["key_id"]: row for row in (await admin.get("/v1/keys"))["keys"]}
    assert rows[made["key_id"]]["status"] == "replaced"
    assert rows[made["key_id"]]["successor_id"] == answer.json()["key_id"]
    assert rows[answer.json()["key_id"]]["label"] == "ci"
    await admin.node.system.clock.sleep_until(rows[made["key_id"]]["expires_at"] + 0.01)
    assert (await old.ask("GET", "/v1/tasks")).status_code == 401
    assert (await new.ask("GET", "/v1/tasks")).status_code == 200


async def test_a_key_that_is_revoked_takes_its_own_successors_along_unless_they_are_to_stay(admin: Client) -> None:
    for successors, status in (
        ("", 401),
        ("?successors=own", 401),
        ("?successors=none", 200),
        ("?successors=all", 401),
    ):
        made = (await admin.ask("POST", "/v1/keys", {"role": "tenant_admin"})).json()
        old, path = Client(admin.node, admin.http, made["key"]), f"/v1/keys/{made['key_id']}"
        answer = (await old.ask("POST", f"{path}/replacement")).json()
        new = Client(admin.node, admin.http, answer["key"])
        if status == 401:
            refused = await new.ask("DELETE", path + successors)
            assert refused.json()["type"].endswith("key_in_use"), refused.text
        revoked = (await admin.ask("DELETE", path + successors)).json()
        assert revoked["also"] == ([answer["key_id"]] if status == 401 else [])
        assert (await new.ask("GET", "/v1/tasks")).status_code == status


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.AGENT])
async def test_nobody_replaces_anothers_key_but_an_admin(admin: Client, role: Role) -> None:
    made = (await admin.ask("POST", "/v1/keys", {"role": "agent"})).json()
    other = await admin.with_role(role)
    assert (await other.ask("POST", f"/v1/keys/{made['key_id']}/replacement")).status_code == 403


async def test_a_key_gives_itself_no_longer_life_by_its_successor(admin: Client) -> None:
    ends = admin.node.system.clock.now() + 600.0
    made = (await admin.ask("POST", "/v1/keys", {"role": "read_only", "expires_at": ends})).json()
    old, path = Client(admin.node, admin.http, made["key"]), f"/v1/keys/{made['key_id']}/replacement"
    assert (await old.ask("POST", path, {"expires_at": ends + 1.0})).status_code == 403
    answer = await old.ask("POST", path)
    assert answer.status_code == 201, answer.text
    successor = answer.json()["key_id"]
    assert (await admin.get(f"/v1/keys/{successor}"))["expires_at"] == ends
    answer = await admin.ask("POST", f"/v1/keys/{successor}/replacement", {"expires_at": ends + 600.0})
    assert (await admin.get(f"/v1/keys/{answer.json()['key_id']}"))["expires_at"] == ends + 600.0


async def test_a_session_takes_no_key_along_that_would_outlive_it(admin: Client) -> None:
    made = (await admin.ask("POST", "/v1/keys", {"role": "read_only"})).json()
    link = (await Client(admin.node, admin.http, made["key"]).ask("POST", "/session")).json()["path"]
    admin.http.cookies.clear()
    await admin.http.get(admin.node.url + link)
    cookie = {"Cookie": f"{COOKIE}={admin.http.cookies.get(COOKIE)}", "Origin": admin.node.url}
    admin.http.cookies.clear()
    url = f"{admin.node.url}/v1/keys/{made['key_id']}/replacement"
    assert (await admin.http.post(url, headers=cookie)).status_code == 403
    body = {"requests": [{"method": "POST", "path": f"/v1/keys/{made['key_id']}/replacement"}]}
    answer = await admin.http.post(f"{admin.node.url}/v1/batch", json=body, headers=cookie)
    assert answer.json()["results"][0]["status"] == 403


@pytest.mark.parametrize("body", [{"tenant": "a" * 32}, {"tenant": "nul\x00"}, {"tenant": "a b"}, {"name": "n" * 255}])
async def test_a_stranger_writes_no_name_of_his_own_into_the_log(admin: Client, body: dict[str, str]) -> None:
    before = admin.node.system.journal.position
    answer = await admin.http.post(f"{admin.node.url}/session/password", json={"name": "ann", "password": "x"} | body)
    assert answer.status_code == 422, answer.text
    assert admin.node.system.journal.position == before

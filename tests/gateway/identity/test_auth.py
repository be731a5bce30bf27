"""Who gets in: keys in every role, revoked and expired ones, sign-in links and cookies, pages from elsewhere."""

from contextlib import nullcontext
from pathlib import Path

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from aggregates.key import IssueKey
from aggregates.values.roles import Permission, Role
from gateway.app import ENDPOINTS, SOCKETS
from gateway.identity.auth import Tokens, check_origin, digest_of, key_id_of
from gateway.identity.cookies import COOKIE, cookie_in
from gateway.identity.tickets import TICKETS_OF_TENANT_MAX, Tickets
from runtime.delivery import Context
from tests.gateway.clients import Client, open_client, settings_of

KEY_ID = "01a1fc4c-cc6c-7000-997f-07977eb6e4bf"


def test_a_token_names_its_key_and_comes_out_the_same_again() -> None:
    tokens = Tokens(b"s" * 32)
    token = tokens.token(KEY_ID)
    assert token == Tokens(b"s" * 32).token(KEY_ID)
    assert key_id_of(token) == KEY_ID
    assert token != Tokens(b"t" * 32).token(KEY_ID)
    assert token != tokens.token(KEY_ID[:-1] + "e")


@pytest.mark.parametrize(
    "text", ["", "gvl_", "gvl_x_y", f"gvl_{KEY_ID}_{'a' * 32}", "GVL_" + "0" * 32 + "_" + "a" * 32]
)
def test_other_text_is_no_token(text: str) -> None:
    assert key_id_of(text) is None


WITNESS = ("POST", "/v1/witness/add-checkpoint")


def test_every_endpoint_says_who_may() -> None:
    open_to_all = {(line.method, line.path) for line in ENDPOINTS if line.needs is None}
    assert {("GET", "/livez"), ("GET", "/readyz"), ("GET", "/session")} <= open_to_all
    changing = {(line.method, line.path) for line in ENDPOINTS if line.needs is None and line.method != "GET"}
    # A checkpoint speaks for itself: only what its log has signed is taken. A password is a credential.
    assert changing == {WITNESS, ("POST", "/session/password")}
    for line in ENDPOINTS:
        if (
            line.method != "GET"
            and line.needs
            not in (
                None,
                Permission.SESSIONS_OPEN,
                Permission.SELF_MANAGE,
                Permission.REQUESTS_BATCH,
            )
            and line.path != "/v1/assignments:preview"
        ):  # a question that takes a body
            assert not {Role.AUDITOR, Role.READ_ONLY} & line.roles, line.path
    assert all(line.needs for line in SOCKETS)


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer nonsense", "Basic YTpi", f"Bearer gvl_{'0' * 32}_{'a' * 32}", "Bearer \u00e9"]
)
async def test_what_is_no_good_key_is_unauthorized(admin: Client, header: str) -> None:
    answer = await admin.http.get(f"{admin.node.url}/v1/tasks", headers=[(b"Authorization", header.encode("latin1"))])
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_request_without_credentials_is_told_what_to_send(admin: Client) -> None:
    answer = await admin.http.get(f"{admin.node.url}/v1/tasks")
    assert answer.status_code == 401
    assert "Authorization: Bearer KEY" in answer.json()["detail"]


async def test_a_revoked_key_opens_nothing_from_the_next_request_on(admin: Client) -> None:
    made = (await admin.ask("POST", "/v1/keys", {"role": "operator", "label": "ops"})).json()
    operator = Client(admin.node, admin.http, made["key"])
    assert (await operator.ask("GET", "/v1/tasks")).status_code == 200
    assert (await admin.ask("DELETE", f"/v1/keys/{made['key_id']}")).status_code == 200
    assert (await operator.ask("GET", "/v1/tasks")).status_code == 401
    row = await admin.get(f"/v1/keys/{made['key_id']}")
    assert row["status"] == "revoked"
    assert made["key"] not in str(row)


async def test_an_expired_key_opens_nothing(admin: Client) -> None:
    system = admin.node.system
    key_id = system.ids.new()
    token = admin.node.tokens.token(key_id)
    soon = system.clock.now() + 0.05
    issue = IssueKey(key_id=key_id, role=Role.ADMIN, digest=digest_of(token), expires_at=soon)
    await system.ask(issue, Context(tenant="default", principal="test"))
    await system.clock.sleep_until(soon + 0.01)
    assert (await Client(admin.node, admin.http, token).ask("GET", "/v1/tasks")).status_code == 401


async def test_each_role_may_do_what_its_line_says(admin: Client) -> None:
    register = {"name": "a", "agent_type": "operations", "capabilities": ["x"]}
    submit = {"task_type": "analysis"}
    allowed = {
        Role.ADMIN: (201, 202, 200),
        Role.OPERATOR: (201, 202, 403),
        Role.AUDITOR: (403, 403, 403),
        Role.AGENT: (201, 202, 403),
    }
    for role, statuses in allowed.items():
        client = await admin.with_role(role)
        answers = (
            await client.ask("POST", "/v1/agents", register),
            await client.ask("POST", "/v1/tasks", submit),
            await client.ask("GET", "/v1/keys"),
        )
        assert tuple(answer.status_code for answer in answers) == statuses, role
        assert (await client.ask("GET", "/v1/tasks")).status_code == 200


async def test_an_admin_key_cannot_revoke_itself(admin: Client) -> None:
    key_id = key_id_of(admin.key)
    assert (await admin.ask("DELETE", f"/v1/keys/{key_id}")).status_code == 409
    assert (await admin.ask("GET", "/v1/keys")).status_code == 200


async def test_keys_of_another_tenant_are_not_there(admin: Client) -> None:
    stranger = await admin.with_role(Role.ADMIN, tenant="other")
    key_id = key_id_of(admin.key)
    for method in ("GET", "DELETE"):
        foreign = await stranger.ask(method, f"/v1/keys/{key_id}")
        absent = await stranger.ask(method, f"/v1/keys/{KEY_ID}")
        assert foreign.status_code == absent.status_code == 404
    assert (await admin.ask("GET", "/v1/keys")).status_code == 200


async def test_a_sign_in_link_works_once_and_its_cookie_is_for_scripts_unreachable(admin: Client) -> None:
    link = admin.node.sign_in_link()
    assert (await admin.http.head(link)).status_code == 303
    answer = await admin.http.get(link)
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert (await admin.http.get(f"{admin.node.url}/v1/tasks")).status_code == 200
    admin.http.cookies.clear()
    assert (await admin.http.get(link)).status_code == 401


@pytest.mark.parametrize("kind, scheme", [("http", "https"), ("websocket", "wss")])
def test_a_page_that_came_in_clear_text_is_not_the_own_page_of_a_node_under_tls(kind: str, scheme: str) -> None:
    for origin, is_own in (("https://node.example", True), ("http://node.example", False)):
        headers = [(b"host", b"node.example"), (b"origin", origin.encode())]
        connection = HTTPConnection({"type": kind, "scheme": scheme, "method": "POST", "headers": headers})
        with nullcontext() if is_own else pytest.raises(HTTPException):
            check_origin(connection)


async def test_with_a_cookie_only_the_own_page_changes_anything(admin: Client) -> None:
    await admin.http.get(admin.node.sign_in_link())
    url, body = f"{admin.node.url}/v1/tasks", {"task_type": "analysis"}
    for origin in (
        {},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://["},
    ):
        answer = await admin.http.post(url, json=body, headers=origin)
        assert answer.status_code == 403, origin
    assert (await admin.http.post(url, json=body, headers={"Origin": admin.node.url})).status_code == 202


@pytest.mark.parametrize(
    ("cookies", "value"),
    [
        ("", ""),
        (f"{COOKIE}=abc", "abc"),
        (f"a=b; {COOKIE} = abc ;c", "abc"),
        (f"x{COOKIE}=abc", ""),
        (f"{COOKIE}", ""),
        (f"{COOKIE}=a=b", "a=b"),
        (f'{COOKIE}="' + "\\" * 16_000 + '"', '"' + "\\" * 16_000 + '"'),
    ],
    ids=["none", "alone", "among_others", "another", "no_value", "equals_sign", "backslashes"],
)
def test_the_session_is_read_from_any_cookie_header(cookies: str, value: str) -> None:
    assert cookie_in(cookies, COOKIE) == value


async def test_signing_out_ends_the_session(admin: Client) -> None:
    await admin.http.get(admin.node.sign_in_link())
    session = admin.http.cookies[COOKIE]
    answer = await admin.http.delete(f"{admin.node.url}/session", headers={"Origin": admin.node.url})
    assert answer.status_code == 204
    answer = await admin.http.get(f"{admin.node.url}/v1/tasks", headers={"Cookie": f"{COOKIE}={session}"})
    assert answer.status_code == 401


async def test_a_session_ends_with_its_key(admin: Client) -> None:
    other = await admin.with_role(Role.ADMIN)
    await admin.http.get(f"{admin.node.url}/session?ticket={admin.node.tickets.issue(digest_of(other.key))}")
    headers = {"Cookie": f"{COOKIE}={admin.http.cookies[COOKIE]}"}
    admin.http.cookies.clear()
    assert (await admin.http.get(f"{admin.node.url}/v1/tasks", headers=headers)).status_code == 200
    await admin.ask("DELETE", f"/v1/keys/{key_id_of(other.key)}")
    assert (await admin.http.get(f"{admin.node.url}/v1/tasks", headers=headers)).status_code == 401


async def test_a_session_outlives_the_node_but_not_its_key(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    async with open_client(settings) as admin:
        other = await admin.with_role(Role.AUDITOR)
        cookies = []
        for key in (admin.key, other.key):
            link = (await Client(admin.node, admin.http, key).ask("POST", "/session")).json()
            await admin.http.get(admin.node.url + link["path"])
            cookies.append({"Cookie": f"{COOKIE}={admin.http.cookies[COOKIE]}"})
            admin.http.cookies.clear()
        await admin.ask("DELETE", f"/v1/keys/{key_id_of(other.key)}")
    async with open_client(settings) as admin:
        statuses = [(await admin.http.get(f"{admin.node.url}/v1/tasks", headers=one)).status_code for one in cookies]
        assert statuses == [200, 401]


async def test_a_link_is_for_the_key_that_asks_and_a_session_makes_none(admin: Client) -> None:
    auditor, agent = await admin.with_role(Role.AUDITOR), await admin.with_role(Role.AGENT)
    assert (await agent.ask("POST", "/session")).status_code == 403
    made = await auditor.ask("POST", "/session")
    assert made.status_code == 201
    await admin.http.get(admin.node.url + made.json()["path"])
    assert (await admin.http.get(f"{admin.node.url}/v1/status")).status_code == 200
    assert (await admin.http.get(f"{admin.node.url}/v1/keys")).status_code == 403
    answer = await admin.http.post(f"{admin.node.url}/session", headers={"Origin": admin.node.url})
    assert answer.status_code == 403
    assert "for the key that asks" in answer.json()["detail"]


class Hand:
    """A clock that is moved by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_tickets_are_bounded_work_once_and_expire() -> None:
    clock = Hand()
    tickets = Tickets(clock)
    names = [tickets.issue(b"d") for _ in range(TICKETS_OF_TENANT_MAX)]
    for _ in range(2 * TICKETS_OF_TENANT_MAX):
        tickets.issue(b"d", tenant="others")
    assert tickets.peek(names[0]) is not None
    names.append(tickets.issue(b"d"))
    assert tickets.redeem(names[0]) is None
    found = tickets.redeem(names[1])
    assert found is not None
    assert found.digest == b"d"
    assert tickets.redeem(names[1]) is None
    late = tickets.issue(b"d", 10.0)
    clock.now += 11.0
    assert tickets.peek(late) is None
    assert tickets.redeem(late) is None

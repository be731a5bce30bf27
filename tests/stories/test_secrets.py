"""No secret stands where it has no business: secrets are planted wherever one enters, and logs, files and answers are searched for them."""

import base64
import io
import json
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio

from aggregates.user import SetPassword
from gateway import cli
from gateway.identity.cookies import COOKIE
from gateway.node import Elements, Node, open_node
from gateway.settings import GavelSettings, load
from gateway.upkeep.starts import settings_facts
from runtime.clock import SystemClock
from runtime.telemetry import LogFormat, configure
from tests.gateway.certificates import Authority
from tests.gateway.clients import AGENT, GUARD_SECONDS, TASK

PURPOSE = {"admin-key", "node-secret", "journal-key", "master-key"}
"""The files of a data folder whose purpose is to hold a secret, for their owner alone."""
WEBHOOK = {"url": "http://127.0.0.1:9/nobody", "kinds": ["task.TaskSubmitted"]}


class Planted:
    """Secrets by what they are, and what was answered."""

    def __init__(self) -> None:
        self.by_name: dict[str, str] = {}
        self.answers: list[tuple[str, str]] = []

    def make(self, name: str, prefix: str = "") -> str:
        """A secret that nobody can come up with by chance."""
        return self.keep(name, f"{prefix}{secrets.token_hex(16)}")

    def keep(self, name: str, secret: str) -> str:
        assert len(secret) >= 16, name
        self.by_name[name] = secret
        return secret

    def found_in(self, content: bytes) -> set[str]:
        """Those that stand in there, as they are, in base64 or in hexadecimal digits."""
        found = set()
        for name, secret in self.by_name.items():
            raw = secret.encode()
            forms = (raw, base64.b64encode(raw).rstrip(b"=")[:-1], raw.hex().encode())
            if any(form in content for form in forms):
                found.add(name)
        return found


class Visitor:
    """Asks, and takes down each answer with the secrets that it alone may tell."""

    def __init__(self, node: Node, http: httpx2.AsyncClient, planted: Planted) -> None:
        self.node, self.http, self.planted = node, http, planted

    async def ask(
        self, method: str, path: str, key: str = "", *, tells: str = "", name: str = "", **sent: Any
    ) -> httpx2.Response:
        """`tells`: the member of the answer that holds a new secret, which is kept under `name`."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.http.cookies.clear()
        answer = await self.http.request(
            method, self.node.url + path, headers=headers | sent.pop("headers", {}), **sent
        )
        text = f"{answer.headers}\n{answer.text}"
        if tells:
            assert answer.status_code in (200, 201), answer.text
            secret = self.planted.keep(name, answer.json()[tells].rpartition("ticket=")[2])
            text = text.replace(secret, "")
        if "set-cookie" in answer.headers and (cookie := answer.headers["set-cookie"].partition(";")[0]):
            secret = self.planted.keep(f"cookie {len(self.planted.answers)}", cookie.partition(".")[2])
            text = text.replace(secret, "")
        self.planted.answers.append((f"{method} {path} → {answer.status_code}", text))
        return answer


async def enter_keys(visitor: Visitor, admin: str) -> str:
    """Keys that are good, replaced, of agents, of webhooks, and none at all."""
    planted = visitor.planted
    once = {"Idempotency-Key": "once"}
    for _ in range(2):
        made = await visitor.ask(
            "POST", "/v1/keys", admin, json={"role": "operator"}, headers=once, tells="key", name="key"
        )
    key_id = made.json()["key_id"]
    await visitor.ask("POST", f"/v1/keys/{key_id}/replacement", admin, tells="key", name="replacement")
    agent = await visitor.ask("POST", "/v1/agents", admin, json=AGENT | {"id": "ann"}, tells="key", name="agent's key")
    await visitor.ask("POST", "/v1/tasks", admin, json=TASK)
    hook = await visitor.ask("POST", "/v1/webhooks", admin, json=WEBHOOK, tells="secret", name="webhook's secret")
    hook_id = hook.json()["webhook_id"]
    await visitor.ask("POST", f"/v1/webhooks/{hook_id}/secret", admin, tells="secret", name="webhook's next secret")
    wrong = planted.make("wrong key", f"gvl_{key_id.replace('-', '')}_")
    forged = f"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.{planted.make('forged token')}"
    for said in (
        f"Bearer {wrong}",
        f"Bearer {forged}",
        f"Bearer {planted.make('junk')}",
        f"Token {planted.make('other scheme')}",
    ):
        answer = await visitor.ask("GET", "/v1/tasks", headers={"Authorization": said})
        assert answer.status_code == 401
    basic = base64.b64encode(f"ann:{planted.make('basic')}".encode()).decode()
    await visitor.ask("GET", "/v1/me", headers={"Authorization": f"Basic {planted.keep('basic as sent', basic)}"})
    cookie = f"{COOKIE}=main.{planted.make('wrong cookie')}"
    assert (await visitor.ask("GET", "/v1/me", headers={"Cookie": cookie})).status_code == 401
    revoked: str = agent.json()["key"]
    return revoked


async def enter_passwords(visitor: Visitor, admin: str) -> None:
    """Passwords that are right, wrong, too short, of another type, in bodies that can't be read; tickets; sessions."""
    planted = visitor.planted
    password = planted.make("password")
    user = {"username": "ann", "email": "ann@example.org", "role": "operator", "password": password}
    user_id = (await visitor.ask("POST", "/v1/users", admin, json=user)).json()["user_id"]
    signed_in = {"name": "ann", "password": password}
    answer = await visitor.ask("POST", "/session/password", json=signed_in)
    assert answer.status_code == 200
    wrong = planted.make("wrong password")
    for body in (
        {"name": "ann", "password": wrong},
        {"name": "nobody", "password": wrong},
        {"name": wrong, "password": wrong},
        {"name": "ann", "password": [wrong]},
        {"name": "ann", "password": wrong, "tenant": 7},
        {"name": "ann", "password": wrong, "also": wrong},
        {"name": "ann", "password": wrong * 100},
    ):
        answer = await visitor.ask("POST", "/session/password", json=body)
        assert answer.status_code in (401, 422), answer.text
    for content in (
        f'{{"name": "ann", "password": "{wrong}"',
        f'"{wrong}"',
        f'{{"password": "{wrong}\\ud800"}}',
        wrong,
    ):
        sent = {"Content-Type": "application/json"}
        answer = await visitor.ask("POST", "/session/password", content=content.encode(), headers=sent)
        assert answer.status_code in (400, 422), answer.text
    unfit = {"username": "bob", "email": "b@example.org", "role": "operator", "password": wrong * 100}
    assert (await visitor.ask("POST", "/v1/users", admin, json=unfit)).status_code == 422
    changed = {"password": planted.make("new password"), "current": wrong}
    await visitor.ask("PUT", f"/v1/users/{user_id}/password", admin, json=changed)
    await visitor.ask("PUT", f"/v1/users/{user_id}/password", admin, json={"password": planted.make("old"), "x": wrong})
    link = await visitor.ask("POST", "/session", admin, tells="path", name="ticket")
    assert (await visitor.ask("GET", link.json()["path"])).status_code == 303
    assert (await visitor.ask("GET", link.json()["path"])).status_code == 401
    await visitor.ask("GET", f"/session?ticket={planted.make('wrong ticket')}")
    await visitor.ask("GET", f"/v1/tasks?api_key={planted.make('in a query')}", admin)
    await visitor.ask("GET", f"/v1/tasks?limit=2&token={planted.make('in a query that is let in')}", admin)


class Clumsy:
    """Fails where secrets are at hand."""

    def __init__(self) -> None:
        self.kinds: set[type] = set()

    def __call__(self, actor: Any, message: Any, go_on: Any) -> Any:
        if type(message) in self.kinds:
            raise LookupError("a bug")
        return go_on(message)


async def enter_crashes(visitor: Visitor, admin: str, clumsy: Clumsy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Routes and actors that fail with secrets in their frames, logged with their tracebacks."""
    planted = visitor.planted

    def broken(token: str) -> bytes:
        raise LookupError("a bug beside a key")

    with monkeypatch.context() as patched:
        patched.setattr("gateway.routes.keys.digest_of", broken)
        assert (await visitor.ask("POST", "/v1/keys", admin, json={"role": "agent"})).status_code == 500
        patched.setattr("gateway.routes.users.check_password", broken)
        crashing = {"username": "carl", "email": "c@example.org", "role": "operator"}
        secret = {"password": planted.make("password beside a bug")}
        assert (await visitor.ask("POST", "/v1/users", admin, json=crashing | secret)).status_code == 500
    clumsy.kinds = {SetPassword}
    (user,) = (await visitor.ask("GET", "/v1/users", admin)).json()["users"]
    path = f"/v1/users/{user['user_id']}/password"
    sent = {"password": planted.make("password of a crash")}
    assert (await visitor.ask("PUT", path, admin, json=sent)).status_code == 500
    clumsy.kinds = set()


async def look_around(visitor: Visitor, admin: str, revoked: str) -> None:
    """Whatever tells of the node tells no secret."""
    await visitor.ask("DELETE", "/v1/agents/ann", admin)
    await visitor.ask("GET", "/v1/me", revoked)
    user_id = (await visitor.ask("GET", "/v1/users", admin)).json()["users"][0]["user_id"]
    for path in (
        f"/v1/log/state?stream=user-{user_id}",
        f"/v1/subjects/{user_id}",
        "/v1/revocations",
        "/v1/status?actors=1000",
        "/metrics",
        "/v1/dead-letters",
        "/v1/keys",
        "/v1/users",
        "/v1/sessions",
        "/v1/webhooks",
        "/v1/audit/trail?limit=500",
        "/v1/log?limit=500&commands=true",
        "/v1/feed?after=0&until=30",
        "/v1/subjects",
        "/openapi.json",
    ):
        answer = await visitor.ask("GET", path, admin)
        assert answer.status_code == 200, answer.text
        assert "$argon2" not in answer.text


@asynccontextmanager
async def open_visitor(settings: GavelSettings, planted: Planted, clumsy: Clumsy) -> AsyncIterator[Visitor]:
    elements = Elements(SystemClock(), interceptors=(clumsy,))
    with trio.fail_after(2 * GUARD_SECONDS):
        async with open_node(settings, elements=elements) as node, httpx2.AsyncClient(verify=False) as http:
            yield Visitor(node, http, planted)


def files_of(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()


def environment_of(folder: Path, planted: Planted) -> dict[str, str]:
    """A node under TLS whose settings have every secret that there is a setting for."""
    password = planted.make("key's password")
    (folder / "password").write_text(password)
    certificate, key = Authority(folder).issue("server", password=password.encode())
    told = {
        "GAVEL_DATA": folder / "data",
        "GAVEL_BIND": "127.0.0.1:0",
        "GAVEL_TLS_CERTIFICATE": certificate,
        "GAVEL_TLS_KEY": key,
        "GAVEL_TLS_KEY_PASSWORD_FILE": folder / "password",
        "GAVEL_MASTER_KEY": planted.keep("master key", secrets.token_hex(32)),
        "GAVEL_OIDC_CLIENT_SECRET": planted.make("secret at the identity provider"),
        "GAVEL_POSTGRES_PASSWORD": planted.make("database's password"),
        "GAVEL_HOUSE_SOLVER": "false",
        "GAVEL_WEBHOOK_HTTP": "true",
        "GAVEL_WEBHOOK_PRIVATE": "true",
        "GAVEL_LOG_LEVEL": "debug",
    }
    return {name: str(value) for name, value in told.items()}


@pytest.mark.usefixtures("logs_as_they_were")
@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_no_secret_is_in_a_log_a_file_or_an_answer_but_the_one_that_tells_it(
    tmp_path: Path, log_format: LogFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted, clumsy, logs = Planted(), Clumsy(), io.StringIO()
    settings = load(environment_of(tmp_path, planted))
    configure(log_format, settings.log_level, logs)
    async with open_visitor(settings, planted, clumsy) as visitor:
        admin = planted.keep("admin's key", visitor.node.admin_token)
        revoked = await enter_keys(visitor, admin)
        await enter_passwords(visitor, admin)
        await enter_crashes(visitor, admin, clumsy, monkeypatch)
        await look_around(visitor, admin, revoked)
        while_running = list(files_of(settings.data))
    said = logs.getvalue()
    assert "a bug beside a key" in said
    assert "Traceback" in said
    assert planted.found_in(said.encode()) == set(), said
    assert "$argon2" not in said
    for what, text in planted.answers:
        assert planted.found_in(text.encode()) == set(), (what, text)
    for name, content in [*while_running, *files_of(settings.data)]:
        if name not in PURPOSE:
            assert planted.found_in(content) == set(), name
            assert b"$argon2" not in content, name
    facts = json.dumps(settings_facts(settings, b"secret"))
    assert planted.found_in(facts.encode()) == set()


@pytest.mark.usefixtures("logs_as_they_were")
def test_commands_show_no_secret_of_their_settings_even_where_they_refuse_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    planted = Planted()
    for name, value in environment_of(tmp_path, planted).items():
        monkeypatch.setenv(name, value)
    assert cli.main(["settings"]) == 0
    assert cli.main(["settings", "--json"]) == 0
    listed = capfd.readouterr()
    assert planted.found_in((listed.out + listed.err).encode()) == set()
    unusable = {
        "GAVEL_JOURNAL": f"mysql://gavel:{planted.make('of another database')}@db/gavel",
        "GAVEL_READ_MODELS": f"mysql://gavel:{planted.make('of the read models')}@db/gavel",
        "GAVEL_MASTER_KEY": planted.make("no master key") + "!",
    }
    for name, value in unusable.items():
        with monkeypatch.context() as patched:
            patched.setenv(name, value)
            assert cli.main(["serve"]) == 2, name
            assert planted.found_in("".join(capfd.readouterr()).encode()) == set(), name
    assert not any("GAVEL_JOURNAL" in name for name in os.environ)

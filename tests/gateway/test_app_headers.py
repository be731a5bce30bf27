"""What every answer tells browsers, whatever the route, the caller and the outcome."""

from pathlib import Path

import httpx2
import trio

from gateway.app import ENDPOINTS, HEADERS
from gateway.routes.console import PAGE_BY_PATH, POLICY
from tests.gateway.certificates import Authority
from tests.gateway.clients import Client, open_client, settings_of

ENDLESS = {"/v1/feed"}
KEPT = {"GET /", "GET /console/{path:path}", "GET /reference"}
"""What may be kept by a browser: it holds none of the node's data."""
SCRIPTS_NOWHERE = "default-src 'none'; frame-ancestors 'none'"


def told(answer: httpx2.Response, *, is_page: bool = False) -> None:
    """What must be told; a page of ours may have more by its own policy."""
    for name, value in HEADERS:
        if name not in (b"content-security-policy", b"cache-control"):
            assert answer.headers[name.decode()] == value.decode(), (answer.url, name)
    policy = answer.headers["Content-Security-Policy"]
    assert policy == (POLICY if is_page else SCRIPTS_NOWHERE), answer.url
    assert "server" not in answer.headers, answer.headers
    assert "access-control-allow-origin" not in answer.headers, "no other site's scripts read what is ours"


async def test_every_route_tells_browsers_to_guess_frame_and_keep_nothing(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path)) as admin:
        stranger = Client(admin.node, admin.http, "gvl_nobody")
        for line in ENDPOINTS:
            if line.path in ENDLESS:
                continue
            path = line.path.replace("{path:path}", "index.html" if line.path.startswith("/console") else "x")
            path = path.replace("{", "").replace("}", "")
            for client in (admin, stranger):
                sent = {"Authorization": f"Bearer {client.key}", "Content-Type": "application/json"}
                body = None if line.method in ("GET", "DELETE") else b"{"
                answer = await admin.http.request(line.method, admin.node.url + path, content=body, headers=sent)
                is_page = line.route in KEPT and answer.status_code == 200
                told(answer, is_page=is_page)
                if line.route not in KEPT:
                    assert answer.headers["Cache-Control"].startswith(("no-store", "private")), line.route
        for path in ("/absent", "/console/absent.js", "/v1/tasks/%00", "/v1/tasks?limit=x"):
            told(await admin.ask("GET", path))
        told(await admin.ask("PUT", "/v1/tasks"))
        async with admin.http.stream(
            "GET", f"{admin.node.url}/v1/feed", headers={"Authorization": f"Bearer {admin.key}"}
        ) as feed:
            told(feed)
            assert feed.headers["Cache-Control"] == "no-store"


async def test_what_tells_a_key_is_kept_by_nobody(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path)) as admin:
        made = await admin.ask("POST", "/v1/keys", {"role": "agent"})
        replaced = await admin.ask("POST", f"/v1/keys/{made.json()['key_id']}/replacement")
        agent = await admin.ask(
            "POST", "/v1/agents", {"id": "a", "name": "A", "agent_type": "performance", "capabilities": ["x"]}
        )
        link = await admin.ask("POST", "/session")
        signed_in = await admin.http.get(admin.node.sign_in_link())
        for answer in (made, replaced, agent, link, signed_in):
            assert answer.status_code in (201, 303), answer.text
            assert answer.headers["Cache-Control"] == "no-store"
        cookie = signed_in.headers["set-cookie"].lower()
        assert {"httponly", "samesite=strict"} <= {part.strip() for part in cookie.split(";")}


async def test_pages_run_no_script_but_their_own_and_reach_no_other_origin(tmp_path: Path) -> None:
    rules = dict(part.partition(" ")[::2] for part in POLICY.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["require-trusted-types-for"] == "'script'"
    assert rules["trusted-types"] == "'none'"
    assert all(rules[name] == "'self'" for name in ("script-src", "style-src", "connect-src", "img-src"))
    for path, page in PAGE_BY_PATH.items():
        if path.endswith(".html"):
            text = page.content.decode()
            assert "<script>" not in text
            assert " style=" not in text
            assert "javascript:" not in text
    async with open_client(settings_of(tmp_path)) as admin:
        answer = await admin.http.get(f"{admin.node.url}/")
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert "camera=()" in answer.headers["Permissions-Policy"]


async def test_under_tls_browsers_are_told_to_insist_on_it(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).issue("server")
    settings = settings_of(tmp_path, tls_certificate=certificate, tls_key=key)
    async with open_client(settings) as admin:
        answer = await admin.ask("GET", "/livez")
        assert answer.headers["Strict-Transport-Security"] == f"max-age={settings.hsts_seconds}"
        told(answer)
        with trio.fail_after(60):
            plain = await trio.open_tcp_stream("127.0.0.1", int(admin.node.url.rpartition(":")[2]))
            async with plain:
                await plain.send_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
                assert not (await plain.receive_some()).startswith(b"HTTP")

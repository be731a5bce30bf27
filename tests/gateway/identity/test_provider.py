"""Signing in at an identity provider: the way there and back, who is let in as what, and everything that could be slipped in between."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest
from joserfc.jwk import OctKey, RSAKey
from starlette.responses import JSONResponse, Response

from aggregates import action
from aggregates.user import UserRegistered
from gateway.identity.cookies import COOKIE, LOGIN_COOKIE
from gateway.identity.login import LOGIN_SECONDS, USED_MAX, Logins
from gateway.identity.provider import FRESH_SECONDS
from gateway.node import Elements, Misconfigured, open_node
from tests.gateway.clients import Client, open_client, settings_of
from tests.gateway.identity.providers import (
    CLIENT_ID,
    CLIENT_SECRET,
    RSA_KEY,
    Hand,
    Provider,
    encoded,
    open_provider,
    sign,
)

HTML = {"Accept": "text/html,application/xhtml+xml"}


@dataclass
class Browser:
    """Follows where it is led, as far as a test lets it, and sends the cookies that it has been given."""

    node_url: str
    http: httpx2.AsyncClient
    cookies: dict[str, str] = field(default_factory=dict)

    async def get(self, url: str, **headers: str) -> httpx2.Response:
        is_ours = url.startswith(self.node_url)
        jar = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if is_ours else {}
        self.http.cookies.clear()
        answer = await self.http.get(url, headers=HTML | jar | headers)
        for name, value in answer.cookies.items() if is_ours else ():
            self.cookies[name] = value
        return answer

    async def away(self, where: str = "") -> str:
        """Begins, and signs in at the provider; the URL to which that sends it back."""
        begun = await self.get(f"{self.node_url}/session/oidc{where}")
        assert begun.status_code == 303, begun.text
        back = await self.get(begun.headers["location"])
        assert back.status_code == 302, back.text
        url: str = back.headers["location"]
        return url

    async def sign_in(self) -> httpx2.Response:
        return await self.get(await self.away())


class Scene:
    """A node whose people sign in at a provider."""

    def __init__(self, admin: Client, provider: Provider, clock: Hand) -> None:
        self.admin, self.provider, self.clock = admin, provider, clock

    def browser(self) -> Browser:
        return Browser(self.admin.node.url, self.admin.http)

    async def me(self, browser: Browser) -> Any:
        answer = await browser.get(f"{self.admin.node.url}/v1/me")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refused(self, answer: httpx2.Response) -> str:
        """Why nobody was signed in."""
        assert answer.status_code == 401, answer.text
        assert answer.headers["content-type"].startswith("text/html")
        assert COOKIE not in answer.cookies
        text: str = answer.text
        return text.partition("<p>")[2].partition("</p>")[0]

    async def positions(self, kind: str) -> int:
        return sum(one.kind == kind for one in await self.admin.node.system.journal.read(0, 10_000))


@asynccontextmanager
async def open_scene(folder: Path, **changed: Any) -> AsyncIterator[Scene]:
    clock = Hand()
    async with open_provider(clock.now) as provider:
        named = {
            "oidc_issuer": provider.url,
            "oidc_client_id": CLIENT_ID,
            "oidc_client_secret": CLIENT_SECRET,
            "oidc_roles": ("boss=admin", "ops=operator", "eyes=auditor"),
            "identity_insecure": True,
        }
        async with open_client(settings_of(folder, **named | changed), elements=Elements(clock)) as admin:
            yield Scene(admin, provider, clock)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(tmp_path) as scene:
        yield scene


# ---- who is let in


async def test_somebody_signs_in_and_is_registered_once_in_the_role_that_the_claims_give(scene: Scene) -> None:
    ways = (await scene.admin.http.get(f"{scene.admin.node.url}/session/ways")).json()
    assert ways == {"password": False, "provider": {"name": "127.0.0.1", "path": "/session/oidc", "sign_out": None}}
    browser = scene.browser()
    landed = await browser.get(await browser.away("?next=/console/app.js"))
    assert landed.status_code == 200
    assert 'content="0;url=/console/app.js"' in landed.text
    cookies = landed.headers.get_list("set-cookie")
    assert any(one.startswith(f"{COOKIE}=") and "HttpOnly" in one and "SameSite=strict" in one for one in cookies)
    me = await scene.me(browser)
    assert (me["role"], me["tenant"]) == ("operator", "default")
    row = await scene.admin.get(f"/v1/users/{me['user_id']}")
    assert (row["username"], row["email"], row["issuer"]) == ("jane", "jane@example.org", scene.provider.url)
    again = scene.browser()
    assert (await again.sign_in()).status_code == 200
    assert (await scene.me(again))["user_id"] == me["user_id"]
    assert await scene.positions("user.UserRegistered") == 1
    assert await scene.positions("user.UserChanged") == 0
    begun = [
        one.event for one in await scene.admin.node.system.journal.read(0) if isinstance(one.event, action.ActionBegun)
    ]
    assert [one.action for one in begun] == ["provider.sign_in"] * 2
    sessions = (await scene.admin.get(f"/v1/sessions?user_id={me['user_id']}"))["sessions"]
    assert {one["way"] for one in sessions} == {"provider"}
    ways = (await scene.admin.http.get(f"{scene.admin.node.url}/session/ways")).json()
    assert ways["provider"]["sign_out"].startswith(f"{scene.provider.url}/logout?client_id={CLIENT_ID}")
    assert scene.provider.asked.count("/keys") == 1
    assert scene.provider.asked.count("/.well-known/openid-configuration") == 1


async def test_a_role_that_the_provider_changes_is_the_users_from_the_next_sign_in_on(scene: Scene) -> None:
    browser = scene.browser()
    await browser.sign_in()
    scene.provider.user |= {"roles": ["eyes"], "email": "jane@example.com"}
    await scene.browser().sign_in()
    me = await scene.me(browser)  # of the session that was open before, too
    assert me["role"] == "auditor"
    assert (await scene.admin.get(f"/v1/users/{me['user_id']}"))["email"] == "jane@example.com"
    scene.provider.user |= {"roles": []}
    assert "no role" in await scene.refused(await scene.browser().sign_in())


async def test_who_is_disabled_here_is_not_let_in_by_the_provider(scene: Scene) -> None:
    browser = scene.browser()
    await browser.sign_in()
    user_id = (await scene.me(browser))["user_id"]
    assert (await scene.admin.ask("POST", f"/v1/users/{user_id}/disable")).status_code == 200
    assert (await browser.get(f"{scene.admin.node.url}/v1/me")).status_code == 401
    assert "user disabled" in await scene.refused(await scene.browser().sign_in())


async def test_names_that_are_taken_or_make_no_sense_are_made_good(tmp_path: Path) -> None:
    async with open_scene(tmp_path, oidc_default_role="read_only", oidc_tenant="acme") as scene:
        for number, name in enumerate(("jane", "jane", "a b", "", 7, "x" * 60)):
            said = {"preferred_username": name, "name": "Jane\0Doe"}
            scene.provider.user = {"sub": f"s{number}", "email": f"s{number}@example.org", **said}
            browser = scene.browser()
            assert (await browser.sign_in()).status_code == 200
            me = await scene.me(browser)
            assert (me["role"], me["tenant"]) == ("read_only", "acme")
        for nobody in ({"sub": "none"}, {"sub": "none", "email": "a\0b@example.org"}):
            scene.provider.user = nobody
            assert "no email address" in await scene.refused(await scene.browser().sign_in())
        assert await scene.positions("user.UserRegistered") == 6
        events = [record.event for record in await scene.admin.node.system.journal.read(0)]
        assert {event.name for event in events if isinstance(event, UserRegistered)} == {"Jane\ufffdDoe"}


async def test_who_is_taken_out_of_a_group_there_loses_the_role_here(tmp_path: Path) -> None:
    async with open_scene(tmp_path, oidc_default_role="read_only") as scene:
        scene.provider.user |= {"roles": ["boss"]}
        browser = scene.browser()
        await browser.sign_in()
        assert (await scene.me(browser))["role"] == "admin"
        scene.provider.user |= {"roles": []}
        await scene.browser().sign_in()
        assert (await scene.me(browser))["role"] == "read_only"


async def test_where_claims_mean_nothing_admins_decide_here(tmp_path: Path) -> None:
    async with open_scene(tmp_path, oidc_default_role="read_only", oidc_roles=()) as scene:
        browser = scene.browser()
        await browser.sign_in()
        user_id = (await scene.me(browser))["user_id"]
        assert (await scene.admin.ask("PATCH", f"/v1/users/{user_id}", {"role": "operator"})).status_code == 200
        await scene.browser().sign_in()
        assert (await scene.me(browser))["role"] == "operator"


async def test_what_the_id_token_lacks_is_asked_beside_it(scene: Scene) -> None:
    scene.provider.claims = {"email": None, "roles": None}
    browser = scene.browser()
    assert (await browser.sign_in()).status_code == 200
    assert (await scene.me(browser))["role"] == "operator"
    assert scene.provider.asked[-1] == "/userinfo"
    scene.provider.answers["/userinfo"] = lambda: JSONResponse(scene.provider.user | {"sub": "somebody else"})
    assert "somebody else" in await scene.refused(await scene.browser().sign_in())


# ---- what is slipped in on the way back


async def test_an_answer_is_taken_once_by_the_browser_that_asked(scene: Scene) -> None:
    browser, thief = scene.browser(), scene.browser()
    url = await browser.away()
    own = await thief.away()
    # somebody's own code in the browser of another, the state changed or not; and no cookie at all
    swapped = url.replace(parse_qs(urlsplit(url).query)["code"][0], parse_qs(urlsplit(own).query)["code"][0])
    nobody = scene.browser()
    for who, where in ((browser, own), (nobody, url), (thief, swapped)):
        assert "not begun in this browser" in await scene.refused(await who.get(where))
    assert "not taken" in await scene.refused(await browser.get(url.replace("iss=http", "iss=https")))
    assert "ended already" in await scene.refused(await browser.get(url))
    assert (await thief.get(own)).status_code == 200
    assert await scene.refused(await thief.get(own))
    assert await scene.positions("session.SessionOpened") == 1


async def test_a_replayed_code_and_an_old_sign_in_open_nothing(scene: Scene) -> None:
    browser = scene.browser()
    url = await browser.away()
    kept = browser.cookies[LOGIN_COOKIE]
    assert (await browser.get(url)).status_code == 200
    browser.cookies[LOGIN_COOKIE] = kept
    assert "ended already" in await scene.refused(await browser.get(url))
    used = parse_qs(urlsplit(url).query)["code"][0]
    late = await browser.away()
    replayed = late.replace(parse_qs(urlsplit(late).query)["code"][0], used)
    assert "not confirmed" in await scene.refused(await browser.get(replayed))
    url = await browser.away()
    scene.clock.ahead += LOGIN_SECONDS + 1
    assert "ten minutes" in await scene.refused(await browser.get(url))
    assert await scene.positions("session.SessionOpened") == 1


@pytest.mark.parametrize(
    ("bent", "why"),
    [
        ({"state": "x"}, "not begun"),
        ({"state": ""}, "not begun"),
        ({"iss": "https://evil.example"}, "not of the identity provider"),
        ({"iss": ""}, "not of the identity provider"),
        ({"code": ""}, "no code"),
        ({"code": "' OR 1=1"}, "not confirmed"),
        ({"error": "access_denied"}, "access_denied"),
        ({"error": "<script>alert(1)</script>"}, "says no"),
    ],
)
async def test_an_answer_that_was_bent_opens_nothing(scene: Scene, bent: dict[str, str], why: str) -> None:
    scene.provider.callback = bent
    answer = await scene.browser().sign_in()
    assert why in await scene.refused(answer)
    assert "<script" not in answer.text


async def test_id_tokens_that_do_not_hold_open_nothing(scene: Scene) -> None:
    now = scene.clock.now()
    refused: dict[str, list[dict[str, Any]]] = {
        "another one": [{"iss": "https://evil.example"}, {"iss": None}],
        "another audience": [{"aud": "other"}, {"aud": None}, {"azp": "other"}, {"aud": [CLIENT_ID, "x"], "azp": "x"}],
        "for several": [{"aud": [CLIENT_ID, "other"]}],
        "expired": [{"exp": now - 60}],
        "as a time": [{"exp": None}, {"iat": None}],
        "not good yet": [{"iat": now + 60}],
        "not of this sign-in": [{"nonce": "x"}, {"nonce": None}, {"nonce": 7}],
        "access token": [{"at_hash": "x"}, {"at_hash": 1}],
        "as a text": [{"sub": None}, {"sub": ""}],
    }
    for why, claims in refused.items():
        for bent in claims:
            scene.provider.claims = bent
            assert why in await scene.refused(await scene.browser().sign_in()), bent
    assert await scene.positions("user.UserRegistered") == 0
    half = encoded(sha256(b"an access token").digest()[:16])
    good = {"aud": [CLIENT_ID, "other"], "azp": CLIENT_ID, "exp": now - 10, "iat": now - 30, "at_hash": half}
    scene.provider.claims = good
    assert (await scene.browser().sign_in()).status_code == 200


async def test_forged_id_tokens_open_nothing(scene: Scene) -> None:
    thief, provider = RSAKey.generate_key(2048, {"kid": "rsa"}), scene.provider
    secret = OctKey.import_key(CLIENT_SECRET)

    def claims(asked: dict[str, str]) -> dict[str, Any]:
        now = int(scene.clock.now())
        times = {"iat": now, "exp": now + 60, "nonce": asked["nonce"]}
        return {"iss": provider.url, "aud": CLIENT_ID, "roles": ["boss"], **times, **provider.user}

    forged = (
        lambda one, asked: sign({"alg": "none"}, claims(asked), None) + "eA",
        lambda one, asked: sign({"alg": "HS256"}, claims(asked), secret),
        lambda one, asked: sign({"alg": "RS256", "kid": "rsa"}, claims(asked), thief),
        lambda one, asked: sign(
            {"alg": "RS256", "jwk": thief.as_dict(private=False), "jku": "http://127.0.0.1:9/k"}, claims(asked), thief
        ),
        lambda one, asked: sign({"alg": "PS256", "kid": "rsa"}, claims(asked), RSA_KEY),
        lambda one, asked: one.token({"typ": "at+jwt"}, aud=CLIENT_ID, nonce=asked["nonce"]),  # an access token
        lambda one, asked: "an access token",
        lambda one, asked: f"{encoded(b'{}')}.{encoded(b'{}')}.",
        lambda one, asked: one.signed_id_token(asked, padding="x" * 10_000),
    )
    for make in forged:
        provider.id_token = make
        assert await scene.refused(await scene.browser().sign_in())
    provider.answers["/token"] = lambda: JSONResponse({"access_token": "alone"})
    assert "no ID token" in await scene.refused(await scene.browser().sign_in())
    assert await scene.positions("user.UserRegistered") == 0


async def test_the_providers_keys_rotate_and_poisoned_documents_change_nothing(scene: Scene) -> None:
    assert (await scene.browser().sign_in()).status_code == 200
    scene.provider.rotate("new")
    scene.clock.ahead += 10
    assert (await scene.browser().sign_in()).status_code == 200
    discovery = "/.well-known/openid-configuration"
    for bad in (
        {"issuer": "https://evil.example"},
        {"token_endpoint": "http://evil.example/token"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"jwks_uri": "file:///etc/passwd"},
        {"code_challenge_methods_supported": ["plain"]},
        {"padding": "x" * 300_000},
    ):
        scene.provider.discovery = bad
        scene.clock.ahead += FRESH_SECONDS
        assert (await scene.browser().sign_in()).status_code == 200, bad  # by what was published before
    assert scene.provider.asked.count(discovery) == 7


async def test_a_provider_that_is_away_is_told_and_holds_up_nobody_else(tmp_path: Path) -> None:
    async with open_scene(tmp_path) as scene:
        scene.provider.answers["/.well-known/openid-configuration"] = lambda: Response(status_code=503)
        for _ in range(3):
            answer = await scene.browser().get(f"{scene.admin.node.url}/session/oidc")
            assert answer.status_code == 502
        assert len(scene.provider.asked) == 1
        assert (await scene.admin.ask("GET", "/v1/me")).status_code == 200
        scene.provider.answers.clear()
        scene.clock.ahead += 10
        browser = scene.browser()
        url = await browser.away()
        scene.provider.answers["/token"] = lambda: Response(status_code=500)
        assert "not confirmed" in await scene.refused(await browser.get(url))


@pytest.mark.parametrize(
    "where", ["//evil.example", "/\\evil.example", "https://evil.example", "evil", "/a\\b", "/x\r\nSet-Cookie: a=b", ""]
)
async def test_nobody_is_led_elsewhere(scene: Scene, where: str) -> None:
    answer = await scene.browser().get(f"{scene.admin.node.url}/session/oidc?{urlencode({'next': where})}")
    assert answer.status_code == 422
    assert "location" not in answer.headers


async def test_a_node_without_a_provider_sends_nobody_anywhere(admin: Client) -> None:
    ways = (await admin.http.get(f"{admin.node.url}/session/ways")).json()
    assert ways == {"password": True, "provider": None}
    for path in ("/session/oidc", "/session/oidc/callback?state=x&code=y"):
        assert (await admin.http.get(admin.node.url + path)).status_code == 404


async def test_settings_that_make_no_sense_are_told_at_the_start(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("")
    secret.chmod(0o600)
    named = {"oidc_issuer": "http://id.example", "oidc_client_id": "x", "oidc_roles": ("ops", "a=king", "b=agent")}
    with pytest.raises(Misconfigured) as caught:
        async with open_node(settings_of(tmp_path, **named, oidc_client_secret_file=secret), door=False):
            pass
    for fault in ("not https", "'ops'", "'a=king'", "'b=agent'", "no secret"):
        assert fault in str(caught.value)


def test_logins_are_bound_to_their_maker_and_the_ended_ones_are_bounded() -> None:
    logins, others = Logins(lambda: 0.0), Logins(lambda: 0.0)
    login = logins.begin("/x")
    assert logins.read(logins.cookie(login)) == login
    assert others.read(logins.cookie(login)) is None
    assert len({login.state, login.nonce, login.verifier, login.challenge}) == 4
    for cookie in ("", "...", "a.b.c.d", logins.cookie(login)[:-1], "é.1.x.y"):
        assert logins.read(cookie) is None
    assert [logins.end(login), logins.end(login)] == [True, False]
    logins._used.update((number.to_bytes(8, "big"), 1.0) for number in range(USED_MAX))
    logins.end(logins.begin("/"))
    assert len(logins._used) == USED_MAX

"""Tokens of an identity provider as credentials: the good ones, forgeries, rotation, revocation, a provider that is away."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from hmac import digest as hmac_digest
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from joserfc.jwk import ECKey, OctKey, RSAKey
from starlette.responses import JSONResponse, RedirectResponse, Response

from aggregates.revocation import TokensRevoked
from aggregates.values.roles import Role
from gateway.identity import bearers, key_sets
from gateway.identity.bearers import REMEMBERED_MAX
from gateway.identity.fetching import BYTES_MAX
from gateway.identity.issuers import IssuersFaulty, read_issuers
from gateway.identity.key_sets import FRESH_SECONDS, PAUSE_SECONDS, STALE_SECONDS_MAX, KeySet
from gateway.identity.signed import LEEWAY_SECONDS, TOKEN_CHARACTERS_MAX, Signed, check_signature
from gateway.node import Elements, Misconfigured, open_node
from tests.gateway.clients import Client, open_client, settings_of
from tests.gateway.identity.providers import RSA_KEY, SUBJECT, Hand, Provider, encoded, key_of, open_provider, sign
from tests.gateway.test_users import files_with

ISSUER = """
[[issuer]]
url = "{url}"
audience = "gavel"
keys = "{keys}"
algorithms = ["RS256", "ES256", "EdDSA"]
roles = {{ boss = "admin", ops = "operator", ci = "agent", eyes = "read_only" }}
{more}
"""


class Scene:
    """A node that trusts a provider."""

    def __init__(self, admin: Client, provider: Provider, clock: Hand) -> None:
        self.admin, self.provider, self.clock = admin, provider, clock

    async def ask(self, token: str, method: str = "GET", path: str = "/v1/me", body: Any = None) -> Any:
        return await Client(self.admin.node, self.admin.http, token).ask(method, path, body)

    async def refused(self, token: str) -> str:
        """Why a token opens nothing."""
        answer = await self.ask(token)
        assert answer.status_code == 401, answer.text
        said: str = answer.json()["detail"]
        assert token[:40] not in said
        return said.removeprefix("this token opens nothing: ")


@asynccontextmanager
async def open_scene(folder: Path, more: str = "", keys: str = "", **changed: Any) -> AsyncIterator[Scene]:
    clock = Hand()
    async with open_provider(clock.now) as provider:
        file = folder / "issuers.toml"
        file.write_text(ISSUER.format(url=provider.url, keys=keys or f"{provider.url}/keys", more=more))
        settings = settings_of(folder, token_issuers=file, identity_insecure=True, **changed)
        async with open_client(settings, elements=Elements(clock)) as admin:
            yield Scene(admin, provider, clock)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(tmp_path) as scene:
        yield scene


# ---- what is let in


async def test_a_token_opens_what_its_role_may_and_is_recorded_by_digits_alone(scene: Scene, tmp_path: Path) -> None:
    token = scene.provider.token(sub="jane@example.org")
    me = (await scene.ask(token)).json()
    assert (me["role"], me["tenant"]) == ("operator", "default")
    assert me["principal"].startswith("service:")
    made = await scene.ask(token, "POST", "/v1/tasks", {"task_type": "analysis"})
    assert made.status_code == 202
    assert (await scene.ask(token, "GET", "/v1/keys")).status_code == 403
    row = await scene.admin.get(f"/v1/tasks/{made.json()['task_id']}")
    assert row["submitted_by"] == me["principal"]
    again = (await scene.ask(scene.provider.token(sub="jane@example.org", jti="other"))).json()
    assert again["principal"] == me["principal"]
    other = (await scene.ask(scene.provider.token(sub="john@example.org"))).json()
    assert other["principal"] != me["principal"]
    assert scene.provider.asked == ["/keys"]
    assert files_with(tmp_path, b"jane@") == []
    assert (await scene.ask(token, "POST", "/session")).status_code == 403  # a link is for keys


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_each_algorithm_that_the_issuer_may_use_is_taken(scene: Scene, algorithm: str) -> None:
    scene.provider.rotate("k", algorithm)
    assert (await scene.ask(scene.provider.token())).status_code == 200
    assert (await scene.ask(scene.provider.token({"typ": "at+jwt"}, aud=["x", "gavel"]))).status_code == 200
    assert (await scene.ask(scene.provider.token({"kid": None}))).status_code == 200


async def test_the_first_role_of_the_table_counts_and_machines_enroll_agents(scene: Scene) -> None:
    for roles, role in ((["eyes", "ops"], "operator"), ("eyes other", "read_only"), (["boss", "ops"], "admin")):
        assert (await scene.ask(scene.provider.token(roles=roles))).json()["role"] == role
    machine = scene.provider.token(roles=["ci"])
    offer = {"id": "ann", "name": "ann", "agent_type": "operations", "capabilities": ["x"]}
    assert (await scene.ask(machine, "POST", "/v1/agents", offer)).status_code == 201


async def test_a_token_says_its_tenant_and_its_scopes(tmp_path: Path) -> None:
    more = 'tenant_claim = "org.name"\ntenants = ["acme", "apart"]\nscope_claim = "scope"\nscope_prefix = "gavel:"'
    async with open_scene(tmp_path, more) as scene:
        await scene.admin.ask("POST", "/v1/journals", {"name": "apart"})
        for tenant, journal in (("acme", "main"), ("apart", "apart")):
            token = scene.provider.token(org={"name": tenant}, scope="openid gavel:tasks:read gavel:status:read")
            me = (await scene.ask(token)).json()
            assert (me["tenant"], me["journal"]) == (tenant, journal)
            assert me["permissions"] == ["status:read", "tasks:read"]
            assert (await scene.ask(token, "POST", "/v1/tasks", {"task_type": "analysis"})).status_code == 403
        # of the tenant that looks after the node only whoever is named so, never who names none
        for changed in ({}, {"org": {"name": "default"}}, {"org": {"name": "../x"}}, {"org": "acme"}):
            assert "tenant" in await scene.refused(scene.provider.token(scope="gavel:tasks:read", **changed))
        for scope in (None, "", "tasks:read", "gavel:keys:manage", ["gavel:nothing"]):
            said = await scene.refused(scene.provider.token(org={"name": "acme"}, scope=scope))
            assert "names nothing" in said


# ---- what is not


async def test_claims_that_do_not_hold_open_nothing(scene: Scene) -> None:
    now, token = scene.clock.now(), scene.provider.token
    refused = {
        "expired": [token(exp=now - LEEWAY_SECONDS - 1, iat=now - 90)],
        "not good yet": [token(nbf=now + LEEWAY_SECONDS + 5), token(iat=now + 40, exp=now + 60)],
        "longer than tokens": [token(exp=now + 90_000)],
        "as a time": [token(exp=None), token(iat=None), token(exp="soon"), token(iat=True), token(exp=1e300)],
        "another audience": [token(aud="other"), token(aud=None), token(aud=[]), token(aud={"gavel": 1})],
        "not one that is trusted": [token(iss="https://evil.example"), token(iss=None), token(iss=["x"])],
        "as a text": [token(sub=None), token(sub=""), token(sub=7), token(sub="x" * 256), token(jti=1)],
        "names no role": [token(roles=[]), token(roles=None), token(roles={"ops": 1}), token(roles=["king"])],
        "ID token": [token(nonce="n"), token(at_hash="x")],
    }
    for why, tokens in refused.items():
        for one in tokens:
            assert why in await scene.refused(one)
    for good in (
        token(exp=now - LEEWAY_SECONDS + 5, iat=now - 90),
        token(nbf=now + LEEWAY_SECONDS - 5),
        token(iat=now + 20),
    ):
        assert (await scene.ask(good)).status_code == 200


async def test_forged_headers_and_signatures_open_nothing(scene: Scene) -> None:
    provider, thief = scene.provider, RSAKey.generate_key(2048, {"kid": "rsa"})
    good = provider.token(roles=["boss"])
    _, payload, signature = good.split(".")
    claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=="))
    public = RSA_KEY.as_pem(private=False)
    secret = OctKey.import_key(public.replace(b"-----", b"").decode())
    confused = f"{encoded(msgspec.json.encode(provider.header | {'alg': 'HS256'}))}.{payload}"
    forged = {
        "none": sign({"alg": "none", "typ": "JWT"}, claims, None) + "eA",
        "None": sign({"alg": "nOnE"}, claims, None) + "eA",
        "no algorithm": sign({"typ": "JWT", "kid": "rsa"}, claims, provider.key, "RS256"),
        "a shared secret": f"{confused}.{encoded(hmac_digest(public, confused.encode(), sha256))}",
        "a shared secret by joserfc": sign(provider.header | {"alg": "HS256"}, claims, secret),
        "an algorithm that the issuer has not": sign(provider.header | {"alg": "PS256"}, claims, provider.key),
        "another key of that name": sign(provider.header, claims, thief),
        "a key in the token": sign(provider.header | {"jwk": thief.as_dict(private=False)}, claims, thief),
        "a key elsewhere": sign(provider.header | {"jku": f"{provider.url}/evil"}, claims, thief),
        "a certificate elsewhere": sign(provider.header | {"x5u": f"{provider.url}/evil", "x5c": ["x"]}, claims, thief),
        "another kind of key": sign(
            provider.header | {"alg": "ES256"}, claims, ECKey.generate_key("P-256", {"kid": "rsa"})
        ),
        "other claims": f"{good.split('.')[0]}.{encoded(msgspec.json.encode(claims | {'sub': 'x'}))}.{signature}",
        "a shorter signature": good[:-8],
        "critical extensions": sign(provider.header | {"crit": ["exp"]}, claims, provider.key),
        "an unencoded payload": sign(provider.header | {"b64": False, "crit": ["b64"]}, claims, provider.key),
        "another type": sign(provider.header | {"typ": "logout+jwt"}, claims, provider.key),
        "no type": sign(provider.header | {"typ": 7}, claims, provider.key),
        "a list of claims": sign(provider.header, ["iss"], provider.key),
        "deep claims": "ey." + encoded(b"[" * 5000) + ".eA",
        "no JSON": "eyJ9.eyJ9.eA",
        "a longer one": provider.token(more="x" * TOKEN_CHARACTERS_MAX),
    }
    for what, token in forged.items():
        assert await scene.refused(token), what
    names = ("../../etc/passwd", "x' OR '1'='1", "http://evil.example/k", "\u0000", "rsa\n", "r" * 300, "")
    for name in names:
        assert await scene.refused(sign(provider.header | {"kid": name}, claims, provider.key))
    for header in ({"kid": 7}, {"kid": ["rsa"]}, {"kid": {"rsa": 1}}):
        assert await scene.refused(sign(provider.header | header, claims, provider.key))
    assert set(provider.asked) == {"/keys"}
    assert (await scene.ask(good)).status_code == 200


async def test_keys_that_do_not_sign_are_passed_over(scene: Scene) -> None:
    provider, weak = scene.provider, RSA_KEY.as_dict(private=False)
    shared = OctKey.import_key("s" * 32, {"kid": "rsa"})
    for published in (
        {**weak, "use": "enc"},
        {**weak, "key_ops": ["encrypt"]},
        {**weak, "alg": "PS256"},
        {**weak, "n": weak["n"][:100]},
        {**weak, "n": "x" * 20_000},
        {**weak, "n": 7},
        {"kty": "RSA", "kid": "rsa"},
        RSA_KEY.as_dict(private=True),
        shared.as_dict(private=True),
    ):
        provider.published = [published, "nonsense"]  # type: ignore[list-item]
        scene.clock.ahead += FRESH_SECONDS + 1
        assert "no key" in await scene.refused(provider.token())
    provider.published = [weak]
    scene.clock.ahead += FRESH_SECONDS + 1
    assert (await scene.ask(provider.token())).status_code == 200


async def test_a_flood_of_bad_tokens_is_turned_away_before_they_are_verified_and_refuses_no_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified = 0

    async def counted(signed: Signed, keys: KeySet) -> None:
        nonlocal verified
        verified += 1
        await check_signature(signed, keys)

    monkeypatch.setattr(bearers, "check_signature", counted)
    async with open_scene(tmp_path, strangers_per_second=0.02) as scene:
        provider = scene.provider
        good, thief = provider.token(), key_of("RS256", "rsa")
        assert (await scene.ask(good)).status_code == 200
        bad = [
            sign(provider.header, msgspec.json.decode(_payload(provider.token(sub=f"s{n}"))), thief) for n in range(8)
        ]
        told = [(await scene.ask(token)) for token in bad]
        assert (told[0].status_code, told[-1].status_code) == (401, 429)
        assert verified == 1 + sum(answer.status_code == 401 for answer in told) < len(bad)
        assert told[-1].headers["ratelimit-policy"].startswith('"stranger";')
        for token in (good, provider.token(jti="the next"), scene.admin.key):  # from the same address
            assert (await scene.ask(token)).status_code == 200
        stolen = [
            sign(provider.header, msgspec.json.decode(_payload(provider.token(jti=f"t{n}"))), thief) for n in range(8)
        ]
        assert {(await scene.ask(token)).status_code for token in stolen} == {429}  # of somebody who is known
        assert verified < len(bad) + len(stolen)
        assert (await scene.ask(good, "GET", "/nowhere")).status_code == 404


# ---- the provider's keys


async def test_a_new_key_is_known_at_once_and_an_old_one_forgotten_without_a_restart(scene: Scene) -> None:
    provider = scene.provider
    old = provider.token()
    assert (await scene.ask(old)).status_code == 200
    scene.clock.ahead += PAUSE_SECONDS
    provider.rotate("new", "ES256", keep=True)
    assert (await scene.ask(provider.token())).status_code == 200
    assert (await scene.ask(old)).status_code == 200
    assert provider.asked == ["/keys"] * 2
    provider.published = provider.published[1:]
    old = sign({"alg": "RS256", "kid": "rsa"}, msgspec.json.decode(_payload(provider.token())), RSA_KEY)
    assert (await scene.ask(old)).status_code == 200  # for as long as keys are taken for fresh
    scene.clock.ahead += FRESH_SECONDS
    assert "no key" in await scene.refused(old)
    assert (await scene.ask(provider.token())).status_code == 200


def _payload(token: str) -> bytes:
    return base64.urlsafe_b64decode(token.split(".")[1] + "==")


async def test_nobody_makes_us_fetch_more_than_once_in_a_while(scene: Scene) -> None:
    provider = scene.provider
    assert (await scene.ask(provider.token())).status_code == 200
    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(scene.refused, provider.token({"kid": f"k{number}"}))
    assert len(provider.asked) == 1
    scene.clock.ahead += PAUSE_SECONDS
    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(scene.refused, provider.token({"kid": f"k{number}"}))
    assert len(provider.asked) == 2


async def test_while_the_provider_is_away_its_last_keys_go_on_for_a_day(scene: Scene) -> None:
    provider = scene.provider
    assert (await scene.ask(provider.token())).status_code == 200
    provider.answers["/keys"] = lambda: Response(status_code=503)
    scene.clock.ahead += FRESH_SECONDS
    assert (await scene.ask(provider.token())).status_code == 200
    assert (await scene.ask(provider.token())).status_code == 200
    assert len(provider.asked) == 2
    scene.clock.ahead += STALE_SECONDS_MAX
    answer = await scene.ask(provider.token())
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
    provider.answers.clear()
    scene.clock.ahead += PAUSE_SECONDS
    assert (await scene.ask(provider.token())).status_code == 200
    assert (await scene.admin.ask("GET", "/v1/me")).status_code == 200


async def test_what_is_no_set_of_keys_is_not_taken_for_one(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = scene.provider
    key = RSA_KEY.as_dict(private=False)
    bad = (
        lambda: JSONResponse({"keys": [key], "padding": "x" * BYTES_MAX}),
        lambda: JSONResponse({"keys": [key] * (key_sets.KEYS_MAX + 1)}),
        lambda: RedirectResponse(f"{provider.url}/elsewhere", 302),
        lambda: Response(b"[" * 100_000),
        lambda: JSONResponse([key]),
        lambda: JSONResponse({"keys": {"0": key}}),
        lambda: Response(b"\x1f\x8b", headers={"Content-Encoding": "gzip"}),
    )
    for answer in bad:
        provider.answers["/keys"] = answer
        assert (await scene.ask(provider.token())).status_code == 503
        scene.clock.ahead += PAUSE_SECONDS
    assert set(provider.asked) == {"/keys"}
    provider.answers.clear()
    assert (await scene.ask(provider.token())).status_code == 200
    provider.answers["/keys"] = bad[0]  # keys that were poisoned later do not replace the good ones
    scene.clock.ahead += FRESH_SECONDS
    assert (await scene.ask(provider.token())).status_code == 200


async def test_keys_can_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_bytes(msgspec.json.encode({"keys": [RSA_KEY.as_dict(private=False)]}))
    async with open_scene(tmp_path, keys="keys.json") as scene:
        assert (await scene.ask(scene.provider.token())).status_code == 200
        assert scene.provider.asked == []
        key = key_of("RS256", "later")
        (tmp_path / "keys.json").write_bytes(msgspec.json.encode({"keys": [key.as_dict(private=False)]}))
        scene.clock.ahead += PAUSE_SECONDS
        scene.provider.key = key
        assert (await scene.ask(scene.provider.token())).status_code == 200


async def test_a_verified_token_is_remembered_until_it_ends(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    bearers, token = scene.admin.node.bearers, scene.provider.token()
    assert (await scene.ask(token)).status_code == 200
    with monkeypatch.context() as patched:
        patched.setattr(bearers, "_verify", None)
        assert (await scene.ask(token)).status_code == 200
    monkeypatch.setattr("gateway.identity.bearers.REMEMBERED_MAX", 3)
    for number in range(10):
        assert (await scene.ask(scene.provider.token(jti=f"j{number}"))).status_code == 200
    assert len(bearers._vouched_by_digest) == 3
    last = scene.provider.token(jti="j9")
    scene.clock.ahead += 300 + LEEWAY_SECONDS
    assert "expired" in await scene.refused(last)
    assert REMEMBERED_MAX >= 1000


# ---- revocation


async def revoke(scene: Scene, **body: Any) -> Any:
    answer = await scene.admin.ask("POST", "/v1/revocations", {"issuer": scene.provider.url} | body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_revoked_token_opens_nothing_from_the_next_request_on(scene: Scene) -> None:
    one, other = scene.provider.token(jti="one"), scene.provider.token(jti="other")
    for token in (one, other):
        assert (await scene.ask(token)).status_code == 200
    made = await revoke(scene, jti="one", reason="leaked")
    assert "revoked" in await scene.refused(one)
    assert (await scene.ask(other)).status_code == 200
    (held,) = (await scene.admin.get("/v1/revocations"))["revocations"]
    assert held == made
    assert "one" not in str(made).replace("None", "")


async def test_all_tokens_of_a_subject_are_revoked_but_those_issued_later(scene: Scene) -> None:
    now, token = scene.clock.now(), scene.provider.token
    old, other = token(iat=now - 20), token(sub="other", iat=now - 20)
    await revoke(scene, subject=SUBJECT, issued_before=now - 10)
    assert "revoked" in await scene.refused(old)
    assert (await scene.ask(other)).status_code == 200
    assert (await scene.ask(token(iat=now - 5))).status_code == 200
    await revoke(scene, subject=SUBJECT)
    assert "revoked" in await scene.refused(token(iat=now + LEEWAY_SECONDS - 10))
    await revoke(scene, subject=SUBJECT, issued_before=now - 1000)  # never takes a later one back
    assert "revoked" in await scene.refused(token())


async def test_a_principal_of_the_log_is_revoked_without_knowing_who_it_is_and_by_its_own_tenant_alone(
    scene: Scene,
) -> None:
    token = scene.provider.token()
    principal = (await scene.ask(token)).json()["principal"]
    stranger = await scene.admin.with_role(Role.ADMIN, tenant="other")
    assert (await stranger.ask("POST", "/v1/revocations", {"principal": principal})).status_code == 201
    assert (await stranger.get("/v1/revocations"))["revocations"]
    assert (await scene.ask(token)).status_code == 200
    assert (await scene.admin.get("/v1/revocations"))["revocations"] == []
    assert (await scene.admin.ask("POST", "/v1/revocations", {"principal": principal})).status_code == 201
    assert "revoked" in await scene.refused(token)


async def test_a_revocation_outlives_the_node_is_of_one_tenant_and_is_forgotten_when_it_concerns_nobody(
    tmp_path: Path,
) -> None:
    clock = Hand()
    async with open_provider(clock.now) as provider:
        file = tmp_path / "issuers.toml"
        more = 'tenant_claim = "org"'
        file.write_text(ISSUER.format(url=provider.url, keys=f"{provider.url}/keys", more=more))
        settings = settings_of(tmp_path, token_issuers=file, identity_insecure=True)
        async with open_client(settings, elements=Elements(clock)) as admin:
            scene = Scene(admin, provider, clock)
            await revoke(scene, subject=SUBJECT)
            answer = await admin.ask("POST", "/v1/revocations?tenant=acme", {"issuer": provider.url, "jti": "j"})
            assert answer.status_code == 201
        async with open_client(settings, elements=Elements(clock)) as admin:
            scene = Scene(admin, provider, clock)
            assert "revoked" in await scene.refused(provider.token(org="default"))
            assert (await scene.ask(provider.token(org="acme"))).status_code == 200
            assert "revoked" in await scene.refused(provider.token(org="acme", jti="j"))
            assert len((await admin.get("/v1/revocations"))["revocations"]) == 1
            clock.ahead += 2 * 86_400
            assert (await admin.get("/v1/revocations"))["revocations"] == []
            await revoke(scene, jti="another")
            ended = [one for one in await admin.node.system.journal.read(0) if isinstance(one.event, TokensRevoked)]
            assert len(ended) == 3


@pytest.mark.parametrize(
    "body",
    [
        {"jti": "x", "issuer": "https://other.example"},
        {"jti": "x", "subject": "y"},
        {"principal": "service:" + "0" * 32, "subject": "y"},
        {"principal": "admin:x"},
        {},
        {"jti": ""},
        {"subject": "x", "issued_before": 10.0, "more": 1},
    ],
)
async def test_an_unclear_revocation_is_refused(scene: Scene, body: dict[str, Any]) -> None:
    answer = await scene.admin.ask("POST", "/v1/revocations", {"issuer": scene.provider.url} | body)
    assert answer.status_code == (201 if body == {"jti": ""} else 422), answer.text


async def test_a_feed_ends_within_a_second_of_the_revocation(scene: Scene) -> None:
    token = scene.provider.token(jti="feed")
    url, headers = f"{scene.admin.node.url}/v1/feed", {"Authorization": f"Bearer {token}"}
    async with scene.admin.http.stream("GET", url, headers=headers) as feed:
        assert feed.status_code == 200
        lines = feed.aiter_lines()
        await scene.admin.submit()
        while not (await anext(lines)).startswith("data"):
            pass
        await revoke(scene, jti="feed")
        with trio.fail_after(5):  # no assertion about speed: without a revocation it would be ten seconds
            async for _ in lines:
                pass


# ---- the file


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "issuer"),
        ("[[issuer]", "Expected"),
        ('[[issuer]]\nurl = "https://a"\naudience = "x"\nkeys = "https://a/k"\n', "open nothing"),
        (ISSUER.format(url="u", keys="https://a/k", more='colour = "red"'), "colour"),
        (ISSUER.format(url="u", keys="http://a/k", more=""), "not https"),
        (ISSUER.format(url="u", keys="https://u:p@a/k", more=""), "no URL of a host"),
        (ISSUER.format(url="u", keys="nothing.json", more=""), "there is no file"),
        (ISSUER.format(url="u", keys="https://a/k", more='default_role = "agent_own"'), "registration"),
        (ISSUER.format(url="u", keys="https://a/k", more='default_role = "king"'), "king"),
        (ISSUER.format(url="u", keys="https://a/k", more='tenants = ["a"]'), "tenant_claim"),
        (ISSUER.format(url="u", keys="https://a/k", more="").replace("EdDSA", "HS256"), "HS256 is not taken"),
        (ISSUER.format(url="u", keys="https://a/k", more="").replace("EdDSA", "none"), "none is not taken"),
        (ISSUER.format(url="u", keys="https://a/k", more="") * 2, "named twice"),
    ],
)
def test_a_file_that_makes_no_sense_is_told_by_its_faults(tmp_path: Path, text: str, fault: str) -> None:
    file = tmp_path / "issuers.toml"
    file.write_text(text)
    with pytest.raises(IssuersFaulty, match=fault):
        read_issuers(file, allow_http=False)


async def test_a_node_does_not_start_with_it(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="GAVEL_TOKEN_ISSUERS"):
        async with open_node(settings_of(tmp_path, token_issuers=tmp_path / "nothing.toml"), door=False):
            pass

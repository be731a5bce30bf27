"""Whatever somebody sends as a token, it is verified or refused with a reason; nothing else comes of it."""

import base64
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregates.values.roles import Role
from gateway.identity.bearers import Bearers, Vouched
from gateway.identity.fetching import Fetcher
from gateway.identity.issuers import KEY_BY_ALGORITHM, Issuer
from gateway.identity.signed import BadToken, parse
from tests.gateway.identity.providers import AUDIENCE, RSA_KEY, key_of, sign

NOW = 1_800_000_000.0
URL = "https://id.example"
GOOD: dict[str, Any] = {"iss": URL, "aud": AUDIENCE, "sub": "s", "iat": NOW, "exp": NOW + 60, "roles": ["ops"]}
ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


class Kept(Fetcher):
    """Somebody who is never asked over the wire."""

    published: tuple[Any, ...] = (RSA_KEY.as_dict(private=False),)

    async def get(self, url: str, headers: Any = None) -> dict[str, Any]:
        return {"keys": list(self.published)}


def verified(token: str, **changed: Any) -> Vouched:
    fields = {"url": URL, "audience": AUDIENCE, "keys": f"{URL}/keys", "roles": {"ops": Role.OPERATOR}}
    issuer = Issuer(**(fields | {"tenant_claim": "", "scope_claim": ""} | changed))
    return trio.run(Bearers((issuer,), Kept(), lambda: NOW).vouched, token, lambda _: None)


@given(st.text(max_size=60) | st.from_regex(r"\A[A-Za-z0-9_-]{0,12}\.[A-Za-z0-9_-]{0,12}\.[A-Za-z0-9_-]{0,12}\Z"))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        parsed = parse(text)
    except BadToken:
        return
    assert isinstance(parsed.header, dict)
    assert isinstance(parsed.claims, dict)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "x"]), ODD, max_size=3),
    st.dictionaries(st.sampled_from([*GOOD, "nbf", "jti", "nonce", "org", "scope"]), ODD, max_size=3),
)
def test_any_claims_of_the_issuer_are_taken_or_refused(header: dict[str, Any], claims: dict[str, Any]) -> None:
    token = sign({"alg": "RS256", "kid": "rsa"} | header, GOOD | claims, RSA_KEY, "RS256")
    try:
        found = verified(token, tenant_claim="org" if "org" in claims else "", scope_claim="")
    except BadToken:
        return
    assert (found.role, found.issuer) == (Role.OPERATOR, URL)
    assert 0 < len(found.subject) <= 255


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_token_that_was_changed_anywhere_is_refused(data: st.DataObject) -> None:
    token = sign({"alg": "RS256", "kid": "rsa"}, GOOD, RSA_KEY)
    assert verified(token).subject == "s"
    where = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from([c for c in "ABYZabyz0189-_." if c != token[where]]))
    changed = token[:where] + other + token[where + 1 :]
    try:
        verified(changed)
    except BadToken:
        return
    # the last digit of a part has bits that mean nothing: the same bytes, written in another way
    parts = zip(changed.split("."), token.split("."), strict=True)
    assert all(base64.urlsafe_b64decode(a + "==") == base64.urlsafe_b64decode(b + "==") for a, b in parts)


def test_every_algorithm_is_taken_with_its_own_kind_of_key_alone(monkeypatch: Any) -> None:
    keys = {name: key_of(name, "k") for name in KEY_BY_ALGORITHM}
    for used, key in keys.items():
        monkeypatch.setattr(Kept, "published", (key.as_dict(private=False),))
        for said in KEY_BY_ALGORITHM:
            token = sign({"alg": said, "kid": "k"}, GOOD, key, used)
            try:
                verified(token, algorithms=tuple(KEY_BY_ALGORITHM))
            except BadToken:
                assert said != used
                assert {said, used} != {"EdDSA", "Ed25519"}
            else:
                assert said == used or {said, used} == {"EdDSA", "Ed25519"}
